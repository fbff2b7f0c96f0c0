"""Contract section 6, DELETE: an erased _id never comes back, with any request between two calls of its erasure.

Erasures run each minute and can take five, so two runs often overlap. Here another request comes before the first call
of a run, after it, before the second, and so on.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from builders import a_moment, a_user, as_sent, send, the_events, the_profile
from domain.ids import new_id
from domain.outcomes import IdempotencyKey
from domain.problems import Conflict, NotFound
from domain.times import iso
from engines import aws_engine_only
from faults import at_each_call
from stored import (
    as_text,
    erased_key,
    event_key,
    item_at,
    keyed_events_of_1_0,
    put,
)
from table import Account
from table.calls import Table
from use_cases import users
from use_cases.erasure import erase_leftovers

LATER = timedelta(minutes=5)  # by then no request is in flight, and an erasure may end
SEARCH: dict[str, Any] = {"search": {"query": "x"}}
OPEN: dict[str, Any] = {"emailopen": {}}
ERASED = ["User was erased"]


@dataclass(frozen=True)
class Person:
    """A user with an order, an open window and an event under a key."""

    id: str
    email: str
    key: IdempotencyKey


def a_person(account: Account, name: object = "") -> Person:
    email, key = f"ana{name}@example.com", IdempotencyKey.of(f"key {name}", b"body")
    profile = a_user(account, email, tags=["vip"])
    send(account, SEARCH, key=key, email=email)
    send(account, OPEN, email=email)
    send(account, {"confirmation": {"orderId": f"order {name}", "total": 1}}, email=email)
    return Person(profile.id, email, key)


def upsert(person: Person, account: Account, **attributes: Any) -> list[str]:
    """Upsert the person's _id; return the messages of the Conflict, or an empty list."""
    try:
        users.change(person.id, as_sent(attributes), True, account, a_moment())
    except Conflict as conflict:
        return [problem.message for problem in conflict.problems]
    return []


# --- The _id ----------------------------------------------------------------------------------------


def test_an_erased_id_never_comes_back(table: Table, account: Account) -> None:
    person, now = a_person(account), a_moment()
    users.erase(person.id, account, now)
    for end in (now, now + LATER, now + 2 * LATER):
        assert upsert(person, account) == ERASED
        assert upsert(person, account, email=person.email, city="Vigo") == ERASED
        unfinished = erase_leftovers(table, end)
    assert unfinished == []
    assert upsert(person, account) == ERASED
    assert upsert(person, account, email="another@example.com") == ERASED
    attempts: list[Callable[[], object]] = [
        lambda: users.change(person.id, {}, False, account, a_moment()),
        lambda: users.get(person.id, account),
        lambda: send(account, SEARCH, _id=person.id),
    ]
    for attempt in attempts:
        with pytest.raises(NotFound):
            attempt()


def test_an_erased_id_is_refused_as_erased_even_if_another_user_has_the_email(table: Table, account: Account) -> None:
    person, now = a_person(account), a_moment()
    users.erase(person.id, account, now)
    a_user(account, person.email)
    assert ERASED[0] in upsert(person, account, email=person.email)
    erase_leftovers(table, now + LATER)
    assert ERASED[0] in upsert(person, account, email=person.email)


def test_the_mark_of_an_erased_id_identifies_no_person(table: Table, account: Account) -> None:
    person, now = a_person(account), a_moment()
    users.erase(person.id, account, now)
    erase_leftovers(table, now)
    assert erase_leftovers(table, now + LATER) == []
    left = as_text(table)
    assert [name for name in (person.id, person.id.upper(), person.email, person.key.key_hash) if name in left] == []
    left_of_it = item_at(table, erased_key(person.id)) or {}
    assert left_of_it.keys() - {"eventsDeleted"} == {"pk", "sk", "erasedAt", "finishedOn"}
    assert left_of_it["erasedAt"] == {"S": iso(now)}


@aws_engine_only
def test_an_upsert_at_any_call_of_an_erasures_run_is_refused(table: Table, account: Account) -> None:
    now = a_moment()

    def prepare(name: str) -> Person:
        person = a_person(account, name)
        users.erase(person.id, account, now)
        return person

    outcomes = at_each_call(
        table.client, prepare, lambda _: erase_leftovers(table, now + LATER), lambda person: upsert(person, account)
    )
    for person, messages, _ in outcomes:
        assert messages == ERASED
        assert erase_leftovers(table, now + LATER) == []
        assert upsert(person, account) == ERASED
        assert person.id not in as_text(table)


@aws_engine_only
def test_an_upsert_at_any_call_of_the_delete_changes_who_is_there_or_is_refused(table: Table, account: Account) -> None:
    now = a_moment()
    outcomes = at_each_call(
        table.client,
        lambda name: a_person(account, name),
        lambda person: users.erase(person.id, account, now),
        lambda person: upsert(person, account, city="Vigo"),
    )
    for person, messages, _ in outcomes:
        assert messages in ([], ERASED)
        assert upsert(person, account) == ERASED
        assert erase_leftovers(table, now + LATER) == []
        assert person.id not in as_text(table)


# --- Who comes returned -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Returned:
    """The answers to a new user with an erased address: to an open, and to an event with the old key."""

    email: str
    key: IdempotencyKey
    user_id: str
    event_ids: list[str]


def return_as_new(account: Account, person: Person) -> Returned:
    """By the old _id if we let them, else by the address; opens an email and sends an event under the old key."""
    if upsert(person, account, email=person.email):
        a_user(account, person.email)
    answers = [send(account, OPEN, email=person.email), send(account, SEARCH, key=person.key, email=person.email)]
    user_id = the_profile(account, person.email)["_id"]
    assert [(answer.restriction, answer.replayed, answer.user_id) for answer in answers] == [(None, False, user_id)] * 2
    return Returned(person.email, person.key, user_id, [answer.event_id for answer in answers])


def check_all_there(account: Account, returned: Returned) -> None:
    assert sorted(the_events(account, returned.email)) == sorted(returned.event_ids)
    assert send(account, OPEN, email=returned.email).restriction, "the window that opened is open"
    repeat = send(account, SEARCH, key=returned.key, email=returned.email)
    assert (repeat.event_id, repeat.user_id, repeat.replayed) == (returned.event_ids[1], returned.user_id, True)
    assert sorted(the_events(account, returned.email)) == sorted(returned.event_ids)


@aws_engine_only
@pytest.mark.parametrize("overlapping", [True, False], ids=["two runs overlap", "one run"])
def test_a_user_who_returns_at_any_call_of_an_erasure_loses_nothing(
    table: Table, account: Account, overlapping: bool
) -> None:
    now = a_moment()

    def prepare(name: str) -> Person:
        person = a_person(account, name)
        users.erase(person.id, account, now)
        return person

    def another_request(person: Person) -> Returned:
        if overlapping:
            erase_leftovers(table, now + LATER)
        return return_as_new(account, person)

    outcomes = at_each_call(table.client, prepare, lambda _: erase_leftovers(table, now + LATER), another_request)
    for person, returned, _ in outcomes:
        check_all_there(account, returned)
        assert erase_leftovers(table, now + 2 * LATER) == []
        check_all_there(account, returned)
        assert person.id not in as_text(table)


@aws_engine_only
def test_a_user_who_returns_and_is_erased_again_at_any_call_leaves_nothing(table: Table, account: Account) -> None:
    """A stale run must not end the later erasure before what is in flight for it has landed."""
    now = a_moment()
    again = now + LATER

    def prepare(name: str) -> Person:
        person = a_person(account, name)
        users.erase(person.id, account, now)
        return person

    def another_request(person: Person) -> str:
        erase_leftovers(table, again)
        returned = return_as_new(account, person)
        users.erase(returned.user_id, account, again)
        return returned.user_id

    outcomes = at_each_call(table.client, prepare, lambda _: erase_leftovers(table, again), another_request)
    for person, user_id, _ in outcomes:
        in_flight = keyed_events_of_1_0(user_id, [new_id(again)], [person.key.key_hash], again + timedelta(days=1))
        put(table, *in_flight)
        assert erase_leftovers(table, again + LATER) == []
        left = as_text(table)
        assert [each for each in (person.id, user_id) if each in left] == []
        assert upsert(person, account) == ERASED


def test_an_event_of_an_erased_user_that_lands_last_is_removed_too(table: Table, account: Account) -> None:
    person, now = a_person(account), a_moment()
    users.erase(person.id, account, now)
    erase_leftovers(table, now)
    late = {**event_key(person.id, new_id(now)), "type": {"S": "search"}, "payload": {"M": {}}}
    put(table, late)
    assert erase_leftovers(table, now + LATER) == []
    assert person.id not in as_text(table)
