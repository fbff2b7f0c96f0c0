"""Contract sections 4 and 9: what a restriction promises, for each type that declares one, also the made-up ones."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise, product
from typing import Any

import pytest

from builders import ANA, a_moment, a_user, an_entry, at_once, send, send_batch, the_events
from declared import ONCES, WINDOWED, Once, Windowed, every_once, every_restriction, every_window, restriction_of
from domain.ids import time_of
from domain.outcomes import Outcome
from domain.problems import Refused
from domain.times import iso
from engines import both_engines, not_on_moto
from faults import at_call
from stored import everything
from table import Account
from use_cases import users

pytestmark = [pytest.mark.usefixtures("declared_types", "ana"), both_engines]

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


def test_a_value_is_stored_once_for_each_type_in_an_account(account: Account) -> None:
    """Values are case-sensitive."""
    a_user(account, BOB)
    for value in ("a-1", "A-1", "review#A-1", "ORDER", "#", "0123", 123, "ñ#ONCE", "ñ"):
        assert [send(account, once.event(value)).restriction for once in ONCES] == [None] * len(ONCES)
    before, late = everything(account.table), a_moment() + timedelta(days=4000)
    for again, once in product([123, "123", " 123 ", 123.0], ONCES):
        discarded = send(account, once.event(again, more="x"), now=late, email=BOB, city="Madrid")
        assert discarded.restriction == restriction_of(once)
    assert everything(account.table) == before, "a discarded event changes nothing at all"


@every_once
@pytest.mark.parametrize("own_id", [None, "view-77"])
def test_a_discarded_value_names_the_event_that_came_first(account: Account, once: Once, own_id: str | None) -> None:
    a_user(account, BOB)
    moment = a_moment() - DAY
    first = send_at(account, once.event(), moment, eventId=own_id)
    for event, is_same in ((once.event(" A-1 "), False), (once.event(), True), (once.event(other=1), False)):
        told = send(account, event, email=BOB).first
        assert told
        assert (told.event_id, told.created_on, told.same_payload) == (first.event_id, iso(moment), is_same)


@every_once
@not_on_moto
def test_of_many_events_with_one_value_exactly_one_is_created(account: Account, once: Once) -> None:
    a_user(account, BOB)
    answers = at_once(40, lambda n: send(account, once.event(), email=(ANA, BOB)[n % 2]))
    [created] = [answer for answer in answers if answer.restriction is None]
    assert {answer.first.event_id for answer in answers if answer.first} == {created.event_id}
    assert [*the_events(account), *the_events(account, BOB)] == [created.event_id]


# --- A window -------------------------------------------------------------------------------------


@every_window
def test_an_event_is_accepted_once_in_a_window_from_the_first(account: Account, windowed: Windowed) -> None:
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
    for late in (timedelta(), SECOND, 2 * DAY, 60 * DAY):
        first += window + late
        assert is_created(timedelta())
        [expires] = [int(item["expiresAt"]["N"]) for item in everything(account.table) if "expiresAt" in item]
        assert (first + window).timestamp() <= expires <= (first + window).timestamp() + 60
        assert not is_created(window - MILLISECOND)
    assert len(the_events(account)) == 5


@every_window
def test_of_a_batch_only_events_a_window_apart_are_created(account: Account, windowed: Windowed) -> None:
    begin, window = a_moment() - DAY, windowed.window
    for step, email in ((1, ANA), (-1, a_user(account, BOB).email)):
        times = [begin + step * each for each in (timedelta(), window, 2 * window - MILLISECOND, 2 * window)]
        batch = [an_entry(windowed.event(), eventTime=each, email=email) for each in times]
        statuses = [each.status for each in settled(send_batch(account, batch))]
        assert statuses == ["created", "created", "discarded", "created"]


@every_window
def test_without_a_lock_the_timeline_shows_which_event_is_too_close(account: Account, windowed: Windowed) -> None:
    """TTL has taken the lock, and then an event comes late that happened in its window."""
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
    now, window = a_moment(), windowed.window
    send(account, windowed.event(), now=now - window)
    ttl_takes_locks(account)
    assert send_at(account, windowed.event(), now - 3 * window, now=now).restriction is None
    assert send_at(account, windowed.event(), now - MILLISECOND, now=now).restriction is not None
    assert send(account, windowed.event(), now=now).restriction is None
    times_apart(account, windowed)


def test_each_user_and_each_type_has_a_window_of_its_own(account: Account) -> None:
    a_user(account, BOB)
    for email in (ANA, BOB):
        assert [send(account, each.event(), email=email).restriction for each in WINDOWED] == [None] * len(WINDOWED)
        assert send(account, {"search": {"query": "x"}}, email=email).restriction is None


@every_window
@not_on_moto
def test_of_many_in_a_window_or_at_its_end_one_is_created(account: Account, windowed: Windowed) -> None:
    first = a_moment()
    end = first + windowed.window

    def created_of_40(moment: datetime, step: timedelta) -> str:
        answers = at_once(40, lambda n: send(account, windowed.event(), now=moment + (n - 20) * step))
        [created] = [answer for answer in answers if answer.restriction is None]
        assert step or {answer.first.event_id for answer in answers if answer.first} == {created.event_id}
        return created.event_id

    in_window, at_end = created_of_40(first, timedelta()), created_of_40(end, MILLISECOND)
    assert time_of(at_end) >= end
    assert the_events(account) == [at_end, in_window]


LONGEST_REQUEST = timedelta(seconds=15)  # the time limit of the function
CALLS = 6  # of a late event: user, lock, timeline, profile, write; and one that does not come


@every_window
@not_on_moto
@pytest.mark.parametrize("number", range(1, CALLS + 1))
def test_two_late_ones_are_a_window_apart_whenever_ttl_runs(account: Account, windowed: Windowed, number: int) -> None:
    """It deletes expired items at once, which is the fastest that TTL can be."""
    now = a_moment()
    one, other = (now - 5 * windowed.window, now - 4.5 * windowed.window)

    def send_other() -> None:
        assert send_at(account, windowed.event(), other, now=now).status == "created"
        ttl_takes_locks(account, now + LONGEST_REQUEST)

    with at_call(account.table.client, "before", number, send_other):
        send_at(account, windowed.event(), one, now=now)
    assert len(times_apart(account, windowed)) == 1


def ttl_takes_locks(account: Account, now: datetime | None = None) -> None:
    """Delete the locks that have expired by `now`, as TTL may at any later time; without `now`, all of them."""
    for item in everything(account.table):
        if "expiresAt" in item and (now is None or int(item["expiresAt"]["N"]) < now.timestamp()):
            key: Any = {"pk": item["pk"], "sk": item["sk"]}
            account.table.client.delete_item(TableName=account.table.name, Key=key)


def times_apart(account: Account, windowed: Windowed) -> list[datetime]:
    """Return the times of the stored events, which must be a window apart."""
    page, _ = users.timeline(ANA, {"limit": "100", "type": windowed.type}, account, a_moment())
    times = [event.happened_at for event in page]
    assert all(later - earlier >= windowed.window for later, earlier in pairwise(times))
    return times


# --- Both kinds -----------------------------------------------------------------------------------


@every_restriction
def test_a_repeat_is_a_duplicate_and_another_event_is_discarded(account: Account, kind: Once | Windowed) -> None:
    moment = a_moment()
    first = an_entry(kind.event(), eventId="mine", eventTime=moment)
    other = an_entry(kind.event(), eventId="other", eventTime=moment)
    created, again, discarded = settled(send_batch(account, [first, first, other]))
    assert [each.status for each in (created, again, discarded)] == ["created", "duplicate", "discarded"]
    assert (discarded.restriction, discarded.first and discarded.first.event_id) == (restriction_of(kind), "mine")
    [later] = settled(send_batch(account, [first]))
    assert (later.status, later.same_payload) == ("duplicate", True)
    assert the_events(account) == ["mine"]
