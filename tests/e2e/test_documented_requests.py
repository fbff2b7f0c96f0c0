"""The documented requests get the documented answers, over HTTP, from the stack that `make run` deploys."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from e2e.conftest import Caller
from local import stack

CREATED = '{"results": {"message": "Event created", "email": "Event was created for the specified user"}}'
MISSING_EVENT = (
    '{"errors": [{"message": "Missing event information", '
    '"description": "Please send event information along with user"}]}'
)
UNKNOWN_EMAIL = (
    '{"errors": [{"message": "User not found", "description": "This email does not exist in our database."}]}'
)

Ana = dict[str, str]


def test_the_update_example_creates_an_event_and_shows_on_the_profile(caller: Caller, ana: Ana) -> None:
    answer = caller.event(ana, {"update": {"firstname": "Ana"}})
    assert (answer.status, answer.text) == (200, CREATED)
    assert answer.headers["X-Event-Status"] == "created"
    assert answer.headers["Content-Type"] == "application/json"
    profile = caller.send("GET", "/user/ana@example.com").body
    assert (profile["email"], profile["firstname"]) == ("ana@example.com", "Ana")
    assert profile["_id"] == answer.headers["X-User-Id"]


@pytest.mark.parametrize(
    "payload", [{"generic": {"event_name": "my_event", "colour": "red"}}, {"event_name": "my_event", "colour": "red"}]
)
def test_the_generic_example_creates_an_event(caller: Caller, ana: Ana, payload: dict[str, object]) -> None:
    answer = caller.event(ana, {"generic": payload})
    assert (answer.status, answer.text) == (200, CREATED)
    timeline = caller.send("GET", "/user/ana@example.com/events").body
    [event] = timeline["events"]
    assert (event["_id"], event["type"]) == (answer.headers["X-Event-Id"], "generic")
    assert event["payload"] == payload


def test_a_missing_event_gets_the_documented_body(caller: Caller, ana: Ana) -> None:
    answer = caller.send("POST", "/event/", {"user": ana})
    assert (answer.status, answer.text) == (400, MISSING_EVENT)


def test_an_unknown_user_gets_the_documented_body(caller: Caller) -> None:
    answer = caller.event({"email": "nobody@example.com"}, {"update": {"firstname": "No"}})
    assert (answer.status, answer.text) == (404, UNKNOWN_EMAIL)


def test_a_second_confirmation_with_the_same_order_id_is_discarded(caller: Caller, ana: Ana) -> None:
    first = caller.event(ana, {"confirmation": {"generic": {"orderId": 123, "total": "19.90"}, "items": []}})
    second = caller.event(ana, {"confirmation": {"orderId": "123", "total": 100}})
    assert (first.status, first.text) == (200, CREATED)
    assert second.status == 200
    said = "A confirmation with this orderId was already received"
    assert second.body["results"] == {"message": "Event discarded", "email": said}
    assert second.body["first"]["eventId"] == first.headers["X-Event-Id"]
    assert second.headers["X-Event-Status"] == "discarded"
    profile = caller.send("GET", "/user/ana@example.com").body
    assert (profile["isCustomer"], profile["numberOfPurchases"], profile["totalPurchasesValue"]) == (True, 1, 19.9)


def test_a_second_email_open_is_discarded(caller: Caller, ana: Ana) -> None:
    first = caller.event(ana, {"emailopen": {}})
    second = caller.event(ana, {"emailOpen": {}})
    assert [each.headers["X-Event-Status"] for each in (first, second)] == ["created", "discarded"]
    assert second.status == 200


def test_a_login_adds_an_address_to_an_anonymous_user(caller: Caller) -> None:
    anonymous = caller.send("POST", "/user/", {}).body["object"]["_id"]
    answer = caller.event({"_id": anonymous}, {"login": {"email": " Bob@Example.com", "newsletter": True}})
    assert (answer.status, answer.text) == (200, CREATED)
    profile = caller.send("GET", "/user/bob@example.com").body
    assert (profile["_id"], profile["email"], profile["newsletter"]) == (anonymous, "bob@example.com", True)


def test_a_login_with_an_address_in_use_goes_to_its_owner(caller: Caller, ana: Ana) -> None:
    owner = caller.send("GET", "/user/ana@example.com").body["_id"]
    anonymous = caller.send("POST", "/user/", {}).body["object"]["_id"]
    answer = caller.event({"_id": anonymous}, {"login": {"email": ana["email"], "visits": 2}})
    assert answer.headers["X-User-Id"] == owner
    assert caller.send("GET", f"/user/{owner}").body["visits"] == 2


@pytest.mark.parametrize("path", ["/event", "/event/"])
def test_a_path_works_with_and_without_its_last_slash(caller: Caller, ana: Ana, path: str) -> None:
    assert caller.send("POST", path, {"user": ana, "event": {"search": {"query": "shoes"}}}).status == 200


@pytest.mark.parametrize(
    "wrong",
    [
        lambda _: "",
        lambda _: " ",
        lambda _: "unknown",
        lambda key: f"Bearer {key}",
        lambda key: f"{key}x",
        lambda key: f"{key},{key}",
        lambda key: f"{key}=",
        lambda key: key[:-1],
        lambda key: key[1:],
        lambda key: key.removeprefix("key_"),
        str.swapcase,
        str.upper,
        lambda key: key + "é",
    ],
)
def test_a_key_that_is_not_the_key_is_401(caller: Caller, wrong: Callable[[str], str]) -> None:
    """Nor is what the gateway remembers of one key taken for another."""
    stranger = Caller(caller.api_url, wrong(caller.key))
    for _ in range(2):
        answer = stranger.send("GET", "/user/ana@example.com")
        assert answer.status == 401
        assert answer.body["errors"][0].keys() == {"message", "description", "code"}
        assert caller.send("GET", "/user/ana@example.com").status == 404


def test_a_header_name_arrives_in_any_case(caller: Caller, ana: Ana) -> None:
    answer = Caller(caller.api_url, "").send("GET", "/user/ana@example.com", headers={"AUTHORIZATION": caller.key})
    assert answer.status == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/event"),
        ("POST", "/nothing"),
        ("PATCH", "/user"),
        ("GET", "/"),
        ("PUT", "/a/b/c"),
        ("GET", ""),
        ("POST", ""),
    ],
)
def test_an_unknown_path_or_method_is_404_in_the_one_shape(caller: Caller, method: str, path: str) -> None:
    answer = caller.send(method, path)
    assert (answer.status, answer.body["errors"][0]["message"]) == (404, "Not found")


@pytest.mark.parametrize("size", [256 * 1024 + 1, 11 * 1024 * 1024])
def test_a_body_over_256_kib_is_413_in_the_one_shape(caller: Caller, size: int) -> None:
    answer = caller.send("POST", "/event/", b'"' + b"x" * (size - 2) + b'"')
    assert (answer.status, answer.body["errors"][0]["message"]) == (413, "Request too large")


def test_broken_json_is_answered_with_line_and_column(caller: Caller) -> None:
    answer = caller.send("POST", "/event/", b'{"user": {"email": "ana@example.com"}\n "event": {}}')
    assert answer.status == 400
    description = "Expecting ',' delimiter at line 2, column 2."
    assert answer.body["errors"] == [{"message": "Invalid JSON", "description": description, "code": "invalid_json"}]


def test_a_repeat_under_an_idempotency_key_stores_nothing_and_gets_the_first_answer(caller: Caller, ana: Ana) -> None:
    key = {"Idempotency-Key": uuid4().hex}
    request = {"user": ana, "event": {"viewitem": {"itemId": "SKU-1"}}}
    first = caller.send("POST", "/event/", request, key)
    repeat = caller.send("POST", "/event/", request, key)
    assert (repeat.status, repeat.text) == (first.status, first.text)
    assert repeat.headers["X-Event-Id"] == first.headers["X-Event-Id"]
    assert (first.headers["Idempotent-Replayed"], repeat.headers["Idempotent-Replayed"]) == (None, "true")
    assert len(caller.send("GET", "/user/ana@example.com/events").body["events"]) == 1
    other: dict[str, Any] = {"user": ana, "event": {"viewitem": {"itemId": "SKU-2"}}}
    assert caller.send("POST", "/event/", other, key).status == 422


def test_an_erased_user_is_404_at_once(caller: Caller, ana: Ana) -> None:
    assert caller.send("DELETE", "/user/ana@example.com").status == 200
    assert caller.send("GET", "/user/ana@example.com").text == UNKNOWN_EMAIL
    assert caller.event(ana, {"search": {"query": "x"}}).status == 404
    assert caller.send("DELETE", "/user/ana@example.com").status == 404


def test_accounts_are_apart(caller: Caller, ana: Ana, deployed: stack.Stack) -> None:
    other = Caller(deployed.api_url, deployed.create_key(f"other-{uuid4().hex[:8]}"))
    mine = caller.send("GET", "/user/ana@example.com").body["_id"]
    assert other.send("GET", "/user/ana@example.com").status == 404
    assert other.send("GET", f"/user/{mine}").status == 404
    assert other.event({"_id": mine}, {"search": {"query": "x"}}).status == 404
    assert other.send("POST", "/user/", ana).status == 200
    order = {"confirmation": {"orderId": "A-1"}}
    assert [each.event(ana, order).headers["X-Event-Status"] for each in (caller, other)] == ["created", "created"]


def test_the_timeline_pages_newest_first_and_to_the_end(caller: Caller, ana: Ana) -> None:
    sent = [caller.event(ana, {"search": {"query": str(n)}}).headers["X-Event-Id"] for n in range(5)]
    read, path = [], "/user/ana@example.com/events?limit=2"
    while path:
        page = caller.send("GET", path).body
        read += [event["_id"] for event in page["events"]]
        path = f"/user/ana@example.com/events?limit=2&cursor={page['cursor']}" if "cursor" in page else ""
    assert read == sent[::-1]
