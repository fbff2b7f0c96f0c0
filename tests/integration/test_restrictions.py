"""Contract sections 4 and 9: what a restriction promises, for each type that declares one, also the made-up ones."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from builders import ANA, a_moment, a_user, an_entry, send, send_batch, the_events
from declared import (
    ONCES,
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
from engines import not_on_moto
from stored import as_text, everything
from table import Account
from use_cases import users
from use_cases.erasure import IN_FLIGHT, erase_leftovers

pytestmark = with_declared_types

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


@every_window
def test_each_user_has_a_window_of_their_own(account: Account, windowed: Windowed) -> None:
    a_user(account), a_user(account, BOB)
    assert [send(account, windowed.event(), email=email).restriction for email in (ANA, BOB)] == [None, None]


@every_window
def test_another_type_is_not_kept_out_by_a_window(account: Account, windowed: Windowed) -> None:
    a_user(account)
    send(account, windowed.event())
    others: list[dict[str, Any]] = [
        {"search": {"query": "x"}},
        {"emailclick" if windowed.type == "emailopen" else "emailopen": {}},
    ]
    assert [send(account, event).restriction for event in others] == [None, None]


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


# The times of a user's events in milliseconds, near quarters of a window; and whether TTL runs before each.
moments = st.tuples(st.integers(-12, 4), st.sampled_from([-1, 0, 1]), st.booleans())


@every_window
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(happened=st.lists(moments, min_size=1, max_size=8), in_batches=st.booleans())
def test_no_two_events_are_closer_than_the_window_in_any_order(
    account: Account, windowed: Windowed, happened: list[tuple[int, int, bool]], in_batches: bool
) -> None:
    """Late, imported, ahead of us by up to 4 minutes, with and without the lock: the stored ones alone decide."""
    email = f"{uuid4()}@example.com"
    a_user(account, email)
    now, accepted = a_moment(), dict[str, datetime]()
    entries = []
    for number, (quarters, beside, ttl) in enumerate(happened):
        part = timedelta(minutes=1) if quarters > 0 else windowed.window / 4
        moment = now + quarters * part + beside * MILLISECOND
        entries.append(an_entry(windowed.event(), eventTime=moment, eventId=f"e-{number}", email=email))
        if not in_batches:
            if ttl:
                ttl_takes_locks(account, now)
            judge(settled(send_batch(account, entries[-1:], now, imported=True)), entries[-1:], accepted, windowed)
    if in_batches:
        judge(settled(send_batch(account, entries, now, imported=True)), entries, accepted, windowed)


def judge(
    outcomes: Sequence[Outcome], entries: Sequence[Any], accepted: dict[str, datetime], windowed: Windowed
) -> None:
    """Assert that each outcome follows from the accepted ones before it, and from nothing else."""
    for outcome, entry in zip(outcomes, entries, strict=True):
        moment = datetime.fromisoformat(entry["eventTime"])
        close = {each: iso(at) for each, at in accepted.items() if abs(at - moment) < windowed.window}
        assert (outcome.status == "created") == (not close), (entry, accepted)
        if outcome.status == "created":
            accepted[outcome.event_id] = moment
        else:
            assert outcome.first
            assert close[outcome.first.event_id] == outcome.first.created_on


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


def at_once(times: int, what: Any) -> list[Any]:
    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(what, range(times)))
