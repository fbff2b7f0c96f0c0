"""The messages that the feed makes from an item, and the retries of messages that the bus does not accept."""

import itertools
import json
import time
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from domain.backoff import backoff
from domain.ids import derived_id
from domain.news import MAX_DETAIL_BYTES, Message
from handlers import bus as eventbridge
from handlers.feed import client
from stream import Bus, denied, malformed, no_answer, throttled, throttled_but
from table.attribute_values import to_item
from table.images import message_of

USER = "019b6d3a-0000-7a52-9d0c-0c6f8f6f4a10"
EVENT = "019b6d3a-6c1e-7a52-9d0c-0c6f8f6f4a10"
HAPPENED = "2025-12-30T03:08:23.966Z"
KEYS = {"pk": f"shop#USER#{USER}", "sk": f"EVENT#{EVENT}"}
A_SEARCH: dict[str, Any] = {**KEYS, "type": "search", "payload": {"query": "shoes"}}


def message(item: dict[str, Any]) -> Message:
    made = message_of(to_item(item))
    assert made
    return made


def detail_of(**attributes: Any) -> dict[str, Any]:
    made = message(A_SEARCH | attributes)
    assert made.detail_type == "EventCreated"
    detail: dict[str, Any] = json.loads(made.detail, parse_float=Decimal, parse_int=Decimal)
    return detail


def test_an_event_is_published_with_who_what_and_when_and_with_nothing_else() -> None:
    known = {"version": 1, "account": "shop", "userId": USER, "createdOn": HAPPENED, "payload": {"query": "shoes"}}
    now = {"eventId": EVENT, "type": "search", "receivedOn": HAPPENED, "imported": False}
    assert detail_of() == {**known, **now, "id": derived_id(datetime.fromisoformat(HAPPENED), "shop", USER, EVENT)}
    more = {"idempotencyKey": "secret", "nonce": "n", "warnings": [{"field": "f", "message": "m"}], "attribute": "a"}
    assert detail_of(**more) == detail_of()
    own = {"receivedOn": "2026-11-24T08:00:00.120Z", "imported": True}
    detail = detail_of(id="a-1", type="review", **own)
    assert detail == {**known, **own, "eventId": "a-1", "type": "review", "id": detail["id"]}, "of any type"


def test_an_erased_user_is_published_with_nothing_but_who_and_when() -> None:
    tombstone = {"pk": f"shop#USER#{USER}", "sk": "PROFILE", "erasedAt": HAPPENED, "erasureId": "0f"}
    made = message(tombstone)
    assert made.detail_type == "UserErased"
    detail = json.loads(made.detail)
    assert detail == {"version": 1, "id": detail["id"], "account": "shop", "userId": USER, "erasedOn": HAPPENED}


def test_the_id_is_another_one_for_each_news_and_the_same_for_a_copy() -> None:
    """Two users may have events of one id and time, an event may have other ids in two accounts, and so on."""
    others = [{"id": "a-1"}, {"pk": f"other#USER#{USER}"}, {"pk": f"shop#USER#{EVENT}"}, {"sk": f"EVENT#{USER}"}]
    items = [A_SEARCH | other for other in ({}, *others, {"sk": "PROFILE", "erasedAt": HAPPENED})]
    ids = [json.loads(message(item).detail)["id"] for item in items]
    assert len(set(ids)) == len(items)
    assert ids == [json.loads(message(item).detail)["id"] for item in items]


def test_a_payload_is_published_value_for_value_unless_an_integer_is_beyond_the_bus() -> None:
    payloads: list[Any] = [
        {}, {"a": [], "b": {"": None}, "c": [True, "é€😀\u0000\u2028"]},
        {"n": [Decimal(2**63 - 1), Decimal(-(2**63)), Decimal("0.12345678901234567890123456789012345678")]},
    ]  # fmt: skip
    assert [detail_of(payload=payload)["payload"] for payload in payloads] == payloads
    for number in (Decimal(2**63), Decimal(-(2**63) - 1), Decimal("1E+125")):
        detail = detail_of(payload={"deep": [{"n": number}]})
        assert detail["payloadAt"] == f"/v1/user/{USER}/events"
        assert detail.keys() == detail_of().keys() - {"payload"} | {"payloadAt"}


def test_a_payload_as_large_as_the_bus_takes_is_published_and_a_larger_one_is_not() -> None:
    room = MAX_DETAIL_BYTES - message(A_SEARCH | {"payload": {"q": ""}}).size
    assert len(detail_of(payload={"q": "x" * room})["payload"]["q"]) == room
    assert "payload" not in detail_of(payload={"q": "x" * (room + 1)})
    assert "payload" not in detail_of(payload={"q": "\u0000" * (room // 6 + 1)}), "JSON takes six bytes for it"


@pytest.mark.parametrize("changed", [{"sk": "EVENT#no-uuid"}, {"pk": {"n": Decimal(1)}}])
def test_an_image_that_is_not_what_it_seems_to_be_is_an_error(changed: dict[str, Any]) -> None:
    with pytest.raises((AttributeError, TypeError, ValueError)):
        detail_of(**changed)


def test_only_events_and_erased_users_are_published() -> None:
    for key in ("PROFILE", "EMAILOPEN"):
        assert message_of(to_item(A_SEARCH | {"sk": key})) is None
    assert message_of(to_item({"pk": "ERASURES", "sk": f"shop#{USER}", "erasedAt": HAPPENED})) is None
    assert message_of({}) is None, "the item is gone"


@pytest.fixture
def bus() -> Iterator[Bus]:
    with Bus.running() as running:
        yield running


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eventbridge, "backoff", lambda *_: itertools.repeat(0))


def messages(number: int, size: int = 20) -> list[Message]:
    return [Message("EventCreated", json.dumps({"n": f"{n:03}".ljust(size)})) for n in range(number)]


def publish(sent: list[Message], seconds: float = 60) -> dict[int, str]:
    return eventbridge.publish(client, "bus", sent, time.monotonic() + seconds)


def test_messages_go_ten_at_a_time_or_as_many_as_fit(bus: Bus) -> None:
    sent = messages(25)
    assert publish(sent) == {}
    assert bus.published() == [json.loads(message.detail) for message in sent]
    assert {(entry["Source"], entry["EventBusName"]) for entry in bus.sent} == {("event-api", "bus")}
    assert publish(messages(4, MAX_DETAIL_BYTES // 2 - 20)) == publish(messages(3, MAX_DETAIL_BYTES // 2 + 20)) == {}
    assert bus.calls == [10, 10, 5, 2, 2, 1, 1, 1]


@pytest.mark.usefixtures("no_pauses")
def test_what_was_throttled_or_failed_for_a_time_is_sent_again_without_the_rest(bus: Bus) -> None:
    bus.faults = iter([throttled_but(3), None, throttled])
    assert publish(messages(15)) == {}
    assert (bus.calls, len(bus.published())) == ([10, 5, 7, 7], 15)
    bus.faults = iter([no_answer, denied, throttled, None])
    assert publish(messages(3)) == {}
    assert bus.calls[4:] == [3, 3, 3], "and one that nobody answered"
    assert len(bus.published()) == 15 + 3


@pytest.mark.usefixtures("no_pauses")
def test_what_can_never_be_published_is_logged_and_the_rest_is_retried(bus: Bus) -> None:
    bus.faults = itertools.repeat(malformed("004"))
    assert publish(messages(12)) == {4: "MalformedDetail"}
    bus.faults = iter([lambda _: ["MalformedDetail", "ThrottlingException", None]])
    assert publish(messages(3)) == {0: "MalformedDetail"}
    assert bus.calls == [10, 2, 3, 1]


def test_no_pause_and_no_call_is_made_after_the_deadline(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eventbridge, "backoff", lambda *_: itertools.repeat(60))
    bus.faults = itertools.repeat(throttled)
    assert publish(messages(2), seconds=30) == dict.fromkeys(range(2), "ThrottlingException")
    assert publish(messages(2), seconds=0) == dict.fromkeys(range(2), eventbridge.NO_TIME)
    assert bus.calls == [2]


def test_pauses_grow_and_end_growing() -> None:
    pauses = list(itertools.islice(backoff(0.1, 5), 200))
    assert pauses[0] <= 0.1
    assert 1 < max(pauses) <= 5
