"""Contract section 7: a request repeated under its Idempotency-Key."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from builders import ANA, a_moment, a_user, send, the_events, the_profile
from domain.idempotency import IdempotencyKey
from domain.problems import Invalid, KeyReused, NotFound
from domain.store import Store

BOB = "bob@example.com"
KEY = IdempotencyKey.of("key", b"body")
SECOND = timedelta(seconds=1)
DAY = timedelta(hours=24)
EVERY_KIND: list[dict[str, Any]] = [
    {"search": {"query": "x"}},
    {"update": {"city": "Madrid", "_id": "left out"}},
    {"login": {"visits": 1}},
    {"confirmation": {"orderId": "A-1", "total": "ten"}},
    {"emailopen": {}},
]
every_kind = pytest.mark.parametrize("event", EVERY_KIND, ids=lambda event: next(iter(event)))


@every_kind
def test_a_repeat_stores_nothing_and_gets_the_first_answer(store: Store, event: dict[str, Any]) -> None:
    a_user(store)
    now = a_moment()
    first = send(store, event, now=now, key=KEY)
    profile = the_profile(store)
    at_once = send(store, event, now=now, key=KEY)
    late = send(store, event, now=now + DAY - SECOND, key=KEY)
    assert not first.replayed
    assert at_once == late == replace(first, replayed=True)
    assert the_profile(store) == profile
    assert the_events(store) == [first.event_id]


@every_kind
def test_a_key_with_another_body_is_refused(store: Store, event: dict[str, Any]) -> None:
    a_user(store)
    send(store, {"search": {"query": "first"}}, key=KEY)
    profile = the_profile(store)
    with pytest.raises(KeyReused):
        send(store, event, key=IdempotencyKey.of("key", b"other body"))
    assert the_profile(store) == profile
    assert len(the_events(store)) == 1


DISCARDED: list[dict[str, Any]] = [{"confirmation": {"orderId": "A-1"}}, {"emailopen": {}}]


@pytest.mark.parametrize("event", DISCARDED, ids=lambda event: next(iter(event)))
def test_that_an_event_was_discarded_is_remembered(store: Store, event: dict[str, Any]) -> None:
    ana = a_user(store)
    send(store, event)
    first = send(store, event, key=KEY)
    assert first.discarded
    later = a_moment() + timedelta(hours=1)  # without its key the open would get in by now
    repeat = send(store, event, now=later, key=KEY)
    assert (repeat.event_id, repeat.discarded, repeat.replayed) == (first.event_id, first.discarded, True)
    assert repeat.user_id == ana.id
    with pytest.raises(KeyReused):
        send(store, event, key=IdempotencyKey.of("key", b"other body"))


def test_that_a_bot_was_discarded_is_remembered(store: Store) -> None:
    a_user(store)
    first, repeat = (send(store, {"search": {"query": "x"}}, key=KEY, email=ANA, userAgent="Googlebot") for _ in "12")
    assert (first.replayed, repeat.replayed, repeat.event_id) == (False, True, first.event_id)


def test_a_key_is_remembered_for_24_hours_even_while_its_record_is_still_there(store: Store) -> None:
    a_user(store)
    now = a_moment().replace(microsecond=0)
    first = send(store, {"search": {"query": "x"}}, now=now, key=KEY)
    assert send(store, {"search": {"query": "x"}}, now=now + DAY - SECOND, key=KEY).replayed
    # No engine here deletes by TTL: the record lies there past its time.
    again = send(store, {"search": {"query": "x"}}, now=now + DAY, key=KEY)
    assert (again.replayed, again.event_id != first.event_id) == (False, True)
    assert send(store, {"search": {"query": "x"}}, now=now + DAY + SECOND, key=KEY).event_id == again.event_id


def test_a_request_that_failed_may_be_mended_under_its_key(store: Store) -> None:
    with pytest.raises(NotFound):
        send(store, {"search": {"query": "x"}}, key=KEY)
    ana, bob = a_user(store), a_user(store, BOB)
    with pytest.raises(Invalid):
        send(store, {"search": {"query": "x"}}, key=KEY, email=ana.email, _id=bob.id)
    answer = send(store, {"search": {"query": "x"}}, key=IdempotencyKey.of("key", b"mended"))
    assert not answer.replayed


def test_a_login_that_identified_is_replayed_as_it_was(store: Store) -> None:
    anonymous = a_user(store, None)
    first, repeat = (send(store, {"login": {"email": ANA}}, key=KEY, _id=anonymous.id) for _ in "12")
    assert (repeat.event_id, repeat.user_id, repeat.replayed) == (first.event_id, anonymous.id, True)


def test_a_login_that_replaced_is_replayed_with_its_owner(store: Store) -> None:
    ana, anonymous = a_user(store), a_user(store, None)
    first, repeat = (send(store, {"login": {"email": ANA}}, key=KEY, _id=anonymous.id) for _ in "12")
    assert (first.user_id, repeat.user_id, repeat.event_id) == (ana.id, ana.id, first.event_id)


def test_neither_the_key_nor_the_body_is_stored(store: Store) -> None:
    a_user(store)
    send(store, {"search": {"query": "x"}}, key=IdempotencyKey.of("a telling key", b"a telling body"))
    items = store.table.client.scan(TableName=store.table.name)["Items"]
    assert "telling" not in repr(items)


def test_without_a_key_each_request_is_an_event(store: Store) -> None:
    a_user(store)
    for _ in range(2):
        send(store, {"search": {"query": "x"}})
    assert len(the_events(store)) == 2
