"""Contract sections 4 and 9: what a restriction promises, for each type that declares one, also the made-up ones."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from builders import ANA, a_moment, a_user, an_entry, at_once, send, send_batch, the_events
from declared import (
    ONCES,
    WINDOWED,
    Once,
    Windowed,
    every_once,
    every_restriction,
    every_window,
    restriction_of,
    with_declared_types,
)
from domain.ids import time_of
from domain.outcomes import First, Outcome
from domain.problems import Refused
from domain.times import iso
from engines import both_engines, not_on_moto
from stored import as_text, everything
from table import Account
from use_cases import users
from use_cases.erasure import IN_FLIGHT, erase_leftovers

pytestmark = [with_declared_types, both_engines]

BOB = "bob@example.com"
MILLISECOND = timedelta(milliseconds=1)
SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)


def settled(outcomes: Sequence[Outcome | Refused]) -> list[Outcome]:
    """The outcomes, of which none is a refusal."""
    assert [each for each in outcomes if isinstance(each, Refused)] == []
    return [each for each in outcomes if isinstance(each, Outcome)]


def send_at(
    account: Account, event: dict[str, Any], moment: datetime, *, now: datetime | None = None, **more: Any
) -> Outcome:
    """Send an event with an eventTime; return its outcome."""
    received = now or max(moment, a_moment())
    [outcome] = settled(send_batch(account, [an_entry(event, eventTime=moment, **more)], received, imported=True))
    return outcome


# --- Once for each value --------------------------------------------------------------------------


@every_once
@pytest.mark.parametrize("again", [123, "123", " 123 ", 123.0])
def test_a_unique_value_is_stored_once_in_an_account(account: Account, once: Once, again: object) -> None:
    a_user(account), a_user(account, BOB)
    assert send(account, once.event(123)).restriction is None
    before = everything(account.table)
    late = a_moment() + timedelta(days=4000)
    discarded = send(account, once.event(again, more="x"), now=late, email=BOB, city="Madrid")
    assert discarded.restriction == restriction_of(once)
    assert everything(account.table) == before, "a discarded event changes nothing at all"


@every_once
def test_values_are_case_sensitive(account: Account, once: Once) -> None:
    a_user(account)
    answers = [send(account, once.event(value)) for value in ("a-1", "A-1", "0123", 123, "ñ#ONCE", "ñ")]
    assert [answer.restriction for answer in answers] == [None] * 6


def test_a_value_of_one_type_is_not_that_of_another(account: Account) -> None:
    a_user(account)
    for value in ("A-1", "review#A-1", "ORDER", "#"):
        assert [send(account, once.event(value)).restriction for once in ONCES] == [None] * len(ONCES)


@every_once
@pytest.mark.parametrize("own_id", [None, "view-77"])
def test_a_discarded_value_names_the_event_that_came_first(account: Account, once: Once, own_id: str | None) -> None:
    a_user(account), a_user(account, BOB)
    moment = a_moment() - DAY
    first = send_at(account, once.event(), moment, eventId=own_id)
    for event, is_same in ((once.event(" A-1 "), False), (once.event(), True), (once.event(other=1), False)):
        again = send(account, event, email=BOB)
        assert again.first == replace(again.first or First("", ""), event_id=first.event_id)
        assert again.first
        assert (again.first.created_on, again.first.same_payload) == (iso(moment), is_same)


@every_once
@not_on_moto
def test_of_many_events_with_one_value_exactly_one_is_created(account: Account, once: Once) -> None:
    a_user(account), a_user(account, BOB)
    answers = at_once(40, lambda n: send(account, once.event(), email=(ANA, BOB)[n % 2]))
    [created] = [answer for answer in answers if answer.restriction is None]
    assert {answer.first.event_id for answer in answers if answer.first} == {created.event_id}
    assert [*the_events(account), *the_events(account, BOB)] == [created.event_id]


# --- A window -------------------------------------------------------------------------------------


@every_window
def test_an_event_is_accepted_once_in_a_window_from_the_first(account: Account, windowed: Windowed) -> None:
    a_user(account)
    first, window = a_moment(), windowed.window

    def is_created(after: timedelta) -> bool:
        return send(account, windowed.event(), now=first + after).restriction is None

    assert is_created(timedelta())
    before = everything(account.table)
    assert not is_created(timedelta())
    assert not is_created(window / 2)
    assert not is_created(window - MILLISECOND)
    assert everything(account.table) == before, "discarded events neither change anything nor extend the window"
    # The lock is still there: no engine here deletes by TTL. Its time decides.
    assert is_created(window)
    assert not is_created(2 * window - MILLISECOND)
    assert is_created(2 * window)
    assert len(the_events(account)) == 3


@every_window
@pytest.mark.parametrize("newest_first", [False, True])
def test_events_of_a_batch_a_window_apart_are_created_and_a_millisecond_less_is_discarded(
    account: Account, windowed: Windowed, newest_first: bool
) -> None:
    a_user(account)
    begin, window, step = a_moment() - DAY, windowed.window, -1 if newest_first else 1
    times = [begin + step * each for each in (timedelta(), window, 2 * window - MILLISECOND, 2 * window)]
    batch = [an_entry(windowed.event(), eventTime=each) for each in times]
    statuses = [each.status for each in settled(send_batch(account, batch))]
    assert statuses == ["created", "created", "discarded", "created"]


@every_window
def test_the_lock_is_left_to_ttl_after_its_window(account: Account, windowed: Windowed) -> None:
    a_user(account)
    now = a_moment()
    send(account, windowed.event(), now=now)
    [expires] = [int(item["expiresAt"]["N"]) for item in everything(account.table) if "expiresAt" in item]
    end = (now + windowed.window).timestamp()
    assert end <= expires <= end + 60


@every_window
@pytest.mark.parametrize("late", [timedelta(), SECOND, 2 * DAY, 60 * DAY], ids=timedelta.total_seconds)
def test_a_lock_that_ttl_removes_late_discards_no_event(account: Account, windowed: Windowed, late: timedelta) -> None:
    a_user(account)
    now = a_moment()
    first = send(account, windowed.event(), now=now)
    again = send(account, windowed.event(), now=now + windowed.window + late)
    assert (again.restriction, the_events(account)) == (None, [again.event_id, first.event_id])


@every_window
def test_without_a_lock_the_timeline_shows_which_event_is_too_close(account: Account, windowed: Windowed) -> None:
    """TTL has taken the lock, and then an event comes late that happened in its window."""
    a_user(account)
    first, window = a_moment() - DAY, windowed.window
    stored = send_at(account, windowed.event(), first)
    for after in (MILLISECOND - window, -MILLISECOND, timedelta(), MILLISECOND, window - MILLISECOND):
        ttl_takes_locks(account)
        answer = send_at(account, windowed.event(), first + after)
        assert answer.restriction == restriction_of(windowed)
        assert answer.first
        assert (answer.first.event_id, answer.first.created_on) == (stored.event_id, iso(first))
    for after in (-window, window):
        ttl_takes_locks(account)
        assert send_at(account, windowed.event(), first + after).restriction is None
    assert len(the_events(account)) == 3


@every_window
def test_a_lock_put_anew_after_ttl_took_it_keeps_what_is_stored_apart(account: Account, windowed: Windowed) -> None:
    """A late event puts a lock; one that happens now must not take it for the end of all that is stored."""
    a_user(account)
    now, window = a_moment(), windowed.window
    send(account, windowed.event(), now=now - window)
    ttl_takes_locks(account)
    assert send_at(account, windowed.event(), now - 3 * window, now=now).restriction is None
    assert send_at(account, windowed.event(), now - MILLISECOND, now=now).restriction is not None
    assert send(account, windowed.event(), now=now).restriction is None
    assert_apart(account, windowed)


def test_each_user_and_each_type_has_a_window_of_its_own(account: Account) -> None:
    a_user(account), a_user(account, BOB)
    for email in (ANA, BOB):
        assert [send(account, each.event(), email=email).restriction for each in WINDOWED] == [None] * len(WINDOWED)
        assert send(account, {"search": {"query": "x"}}, email=email).restriction is None


@every_window
@not_on_moto
def test_of_many_in_a_window_exactly_one_is_created(account: Account, windowed: Windowed) -> None:
    a_user(account)
    now = a_moment()
    answers = at_once(40, lambda _: send(account, windowed.event(), now=now))
    [created] = [answer for answer in answers if answer.restriction is None]
    assert {answer.first.event_id for answer in answers if answer.first} == {created.event_id}
    assert the_events(account) == [created.event_id]


@every_window
@not_on_moto
def test_of_many_at_the_end_of_a_window_by_clocks_that_differ_exactly_one_is_created(
    account: Account, windowed: Windowed
) -> None:
    a_user(account)
    first = a_moment()
    send(account, windowed.event(), now=first)
    end = first + windowed.window
    answers = at_once(40, lambda n: send(account, windowed.event(), now=end + (n - 20) * MILLISECOND))
    [created] = [answer.event_id for answer in answers if answer.restriction is None]
    assert time_of(created) >= end
    assert len(the_events(account)) == 2


@every_window
@not_on_moto
def test_late_ones_that_come_at_once_in_any_order_lie_apart(account: Account, windowed: Windowed) -> None:
    a_user(account)
    begin, step = a_moment() - DAY, windowed.window / 4
    places = [n * 7 % 16 for n in range(16)]
    answers = at_once(
        16, lambda n: send_at(account, windowed.event(), begin + places[n] * step, eventId=f"late-{places[n]}")
    )
    assert_apart(account, windowed)
    stored = stored_times(account, windowed)
    assert len(stored) == sum(answer.status == "created" for answer in answers)
    for place, answer in zip(places, answers, strict=True):
        moment = begin + place * step
        assert answer.status == "created" or any(abs(moment - each) < windowed.window for each in stored)


def ttl_takes_locks(account: Account, now: datetime | None = None) -> None:
    """Delete the locks that have expired by `now`, as TTL may at any later time; without `now`, all of them."""
    for item in everything(account.table):
        if "expiresAt" in item and (now is None or int(item["expiresAt"]["N"]) < now.timestamp()):
            key: Any = {"pk": item["pk"], "sk": item["sk"]}
            account.table.client.delete_item(TableName=account.table.name, Key=key)


def stored_times(account: Account, windowed: Windowed) -> list[datetime]:
    page, _ = users.timeline(ANA, {"limit": "100", "type": windowed.type}, account, a_moment())
    return [event.happened_at for event in page]


def assert_apart(account: Account, windowed: Windowed) -> None:
    times = stored_times(account, windowed)
    assert all(later - earlier >= windowed.window for later, earlier in pairwise(times))


# --- Both kinds -----------------------------------------------------------------------------------


@every_restriction
def test_a_repeat_of_a_stored_event_is_a_duplicate_and_another_one_is_discarded(
    account: Account, kind: Once | Windowed
) -> None:
    a_user(account)
    moment = a_moment()
    first = an_entry(kind.event(), eventId="mine", eventTime=moment)
    other = an_entry(kind.event(), eventId="other", eventTime=moment)
    created, again, discarded = settled(send_batch(account, [first, first, other]))
    assert [each.status for each in (created, again, discarded)] == ["created", "duplicate", "discarded"]
    assert (discarded.restriction, discarded.first and discarded.first.event_id) == (restriction_of(kind), "mine")
    [later] = settled(send_batch(account, [first]))
    assert (later.status, later.same_payload) == ("duplicate", True)
    assert the_events(account) == ["mine"]


@every_restriction
def test_an_erasure_leaves_nothing_of_the_person(account: Account, kind: Once | Windowed) -> None:
    """Also not the id that the caller made up, in the mark of the value or in the lock."""
    ana, now = a_user(account), a_moment()
    send_at(account, kind.event(note="Lovelace"), now, eventId="ana-lovelace-1")
    users.erase(ANA, account, now)
    erase_leftovers(account.table, now)
    assert erase_leftovers(account.table, now + IN_FLIGHT + SECOND) == []
    left = as_text(account.table)
    assert [name for name in (ANA, ana.id, "lovelace", "Lovelace") if name in left] == []
    assert len(everything(account.table)) == (2 if isinstance(kind, Once) else 1), "the _id, and the value, are used"
    a_user(account)
    again = send(account, kind.event(), now=now)
    assert (again.restriction is not None) == isinstance(kind, Once), "a value comes once, whoever sent it"
    assert not again.first or "lovelace" not in again.first.event_id
