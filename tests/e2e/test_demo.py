"""The shop that `make demo` sends."""

from collections import Counter
from datetime import UTC, datetime

import pytest

from e2e.conftest import Caller
from local import demo


def test_the_shop_is_the_same_each_time_and_has_what_a_month_brings() -> None:
    first, second = (demo.Shop(datetime(2026, 11, 24, tzinfo=UTC)).customers() for _ in range(2))
    assert first == second
    events = [event for _, of_user in first for event in of_user]
    types = Counter(type_ for event in events for type_ in event["event"])
    assert types.keys() >= {
        "update",
        "login",
        "emailopen",
        "viewitem",
        "viewcategory",
        "search",
        "addtocart",
        "checkout",
    }
    assert types["confirmation"] > 100
    assert types["refund"] > 5
    assert {event["eventTime"][:10] for event in events} <= {f"2026-{day}" for day in days()}


def days() -> list[str]:
    return [f"10-{day}" for day in range(25, 32)] + [f"11-{day:02}" for day in range(1, 24)]


@pytest.mark.http
def test_a_small_shop_is_stored_once_with_what_goes_wrong_in_every_shop(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "CUSTOMERS", 24)
    assert caller.send("POST", "/user/", {"email": demo.ANA}).status == 200
    users, events, _ = demo.send(caller.api_url, caller.key)
    assert users == "24 customers"
    assert sorted(word.strip(",") for word in events.split()[3::2]) == ["created", "discarded"]
    *_, again, _ = demo.send(caller.api_url, caller.key)
    assert sorted(word.strip(",") for word in again.split()[3::2]) == ["discarded", "duplicate"]
    refused = {each["code"]: each["count"] for each in caller.send("GET", "/refusals").body["refusals"]}
    assert refused["user_not_found"] == 2 * 12
    assert refused.keys() >= {"unknown_event_type", "missing_field", "invalid_email", "invalid_event_time"}
    timelines = [caller.send("GET", f"/user/{user.get('email') or user['_id']}/events").body for user in some_users()]
    warned = [each for page in timelines for each in page["events"] if each.get("warnings")]
    assert [each["type"] for each in warned] == ["confirmation"]


def some_users() -> list[demo.Event]:
    return [user for user, _ in demo.Shop(datetime(2026, 11, 24, tzinfo=UTC)).customers()]
