"""Contract section 7: a request repeated under its Idempotency-Key."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from builders import ANA, a_moment, a_user, an_entry, send, send_batch, the_events
from declared import RESTRICTED, Once, Windowed, every_restriction, restriction_of, with_declared_types
from domain.outcomes import IdempotencyKey
from domain.problems import Invalid, KeyReused, NotFound
from domain.restrictions import BOT
from engines import both_engines
from stored import as_text, everything
from table import Account

pytestmark = [with_declared_types, both_engines]

KEY, OTHER_BODY = (IdempotencyKey.of("a secret key", body) for body in (b"a secret body", b"other body"))
OF_BOT = IdempotencyKey.of("another key", b"body")
SECOND = timedelta(seconds=1)
DAY = timedelta(hours=24)
EVERY_KIND: list[dict[str, Any]] = [
    {"search": {"query": "x"}},
    {"update": {"city": "Madrid", "_id": "left out"}},
    {"login": {"visits": 1}},
    {"confirmation": {"orderId": "A-1", "total": "ten"}},
    *(kind.event() for kind in RESTRICTED[1:]),
]
every_kind = pytest.mark.parametrize("event", EVERY_KIND, ids=lambda event: next(iter(event)))


@every_kind
def test_a_repeat_gets_the_first_answer_and_another_body_is_refused(account: Account, event: dict[str, Any]) -> None:
    a_user(account)
    now = a_moment()
    first = send(account, event, now=now, key=KEY)
    before = everything(account.table)
    at_once = send(account, event, now=now, key=KEY)
    late = send(account, event, now=now + DAY - SECOND, key=KEY)
    assert not first.replayed
    assert at_once == late == replace(first, replayed=True)
    for other in (event, {"search": {"query": "other"}}):
        with pytest.raises(KeyReused):
            send(account, other, key=OTHER_BODY)
    assert everything(account.table) == before
    assert the_events(account) == [first.event_id]
    assert "secret" not in as_text(account.table), "neither the key nor the body is stored"


@every_restriction
def test_that_an_event_was_discarded_is_remembered(account: Account, kind: Once | Windowed) -> None:
    ana = a_user(account)
    of_bot, again = (send(account, kind.event(), key=OF_BOT, email=ANA, userAgent="Googlebot/2.1") for _ in "12")
    assert (of_bot.replayed, again) == (False, replace(of_bot, replayed=True))
    assert of_bot.restriction == BOT
    event = kind.event()
    send_batch(account, [an_entry(event, eventId="mine")])
    first = send(account, event, key=KEY)
    assert (first.restriction, first.first and first.first.event_id) == (restriction_of(kind), "mine")
    later = a_moment() + timedelta(hours=1)  # without its key one of the window would get in by now
    repeat = send(account, event, now=later, key=KEY)
    assert (repeat.event_id, repeat.restriction, repeat.replayed) == (first.event_id, first.restriction, True)
    assert (repeat.status, repeat.first, repeat.user_id) == ("discarded", first.first, ana.id)
    with pytest.raises(KeyReused):
        send(account, event, key=OTHER_BODY)


def test_a_key_is_remembered_for_24_hours_even_while_its_record_is_still_there(account: Account) -> None:
    a_user(account)
    now = a_moment().replace(microsecond=999_000)  # TTL counts in seconds
    first = send(account, {"search": {"query": "x"}}, now=now, key=KEY)
    assert send(account, {"search": {"query": "x"}}, now=now + DAY, key=KEY).replayed
    # No engine here deletes by TTL: the record lies there past its time.
    again = send(account, {"search": {"query": "x"}}, now=now + DAY + SECOND, key=KEY)
    assert (again.replayed, again.event_id != first.event_id) == (False, True)
    assert send(account, {"search": {"query": "x"}}, now=now + DAY + 2 * SECOND, key=KEY).event_id == again.event_id


def test_a_refused_request_may_be_corrected_under_its_key(account: Account) -> None:
    with pytest.raises(NotFound):
        send(account, {"search": {"query": "x"}}, key=KEY)
    ana, bob = a_user(account), a_user(account, "bob@example.com")
    with pytest.raises(Invalid):
        send(account, {"search": {"query": "x"}}, key=KEY, email=ana.email, _id=bob.id)
    assert not send(account, {"search": {"query": "x"}}, key=OTHER_BODY).replayed
