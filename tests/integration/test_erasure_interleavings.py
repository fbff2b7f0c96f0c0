"""Contract section 6, DELETE: an erased _id never comes back, with any request between two calls of its erasure.

Erasures run each minute and can take five, so two runs often overlap. Here another request comes before the first call
of a run, after it, before the second, and so on.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest

from builders import a_moment, a_user, as_sent, send, the_events, the_profile
from domain.ids import new_id
from domain.outcomes import IdempotencyKey
from domain.problems import Conflict
from engines import aws_engine_only
from faults import at_each_call
from stored import as_text, keyed_events_of_1_0, put
from table import Account
from table.calls import Table
from use_cases import users
from use_cases.erasure import erase_leftovers

pytestmark = aws_engine_only
LATER = timedelta(minutes=5)  # by then no request is in flight, and an erasure may end
SEARCH: dict[str, Any] = {"search": {"query": "x"}}
OPEN: dict[str, Any] = {"emailopen": {}}
ERASED = ["User was erased"]


@dataclass(frozen=True)
class Person:
    """A user with an order, and with an event and an open window under keys."""

    id: str
    email: str
    keys: tuple[IdempotencyKey, IdempotencyKey]


def a_person(account: Account, name: str) -> Person:
    email, keys = f"ana{name}@example.com", [IdempotencyKey.of(f"{kind} {name}", b"body") for kind in ("key", "open")]
    profile = a_user(account, email, tags=["vip"])
    for event, key in zip((SEARCH, OPEN), keys, strict=True):
        send(account, event, key=key, email=email)
    send(account, {"confirmation": {"orderId": f"order {name}", "total": 1}}, email=email)
    return Person(profile.id, email, (keys[0], keys[1]))


def an_erased_person(account: Account, name: str, now: datetime) -> Person:
    person = a_person(account, name)
    users.erase(person.id, account, now)
    return person


def upsert(person: Person, account: Account, **attributes: Any) -> list[str]:
    """Upsert the person's _id; return the messages of the Conflict, or an empty list."""
    try:
        users.change(person.id, as_sent(attributes), True, account, a_moment())
    except Conflict as conflict:
        return [problem.message for problem in conflict.problems]
    return []


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


# --- Who returns ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Returned:
    """The user with the erased address, and the answers to an event and an open with the old keys."""

    person: Person
    user_id: str
    event_ids: list[str]


def return_as_new(account: Account, person: Person) -> Returned:
    """The old _id is refused. The new user sends the same requests as the erased one."""
    assert upsert(person, account) == upsert(person, account, email=person.email) == ERASED
    user_id = a_user(account, person.email).id
    answers = [send(account, each, key=key, email=person.email) for each, key in sent_by(person)]
    assert [(answer.restriction, answer.replayed, answer.user_id) for answer in answers] == [(None, False, user_id)] * 2
    return Returned(person, user_id, [answer.event_id for answer in answers])


def sent_by(person: Person) -> list[tuple[dict[str, Any], IdempotencyKey]]:
    return list(zip((SEARCH, OPEN), person.keys, strict=True))


def check_all_there(account: Account, returned: Returned) -> None:
    person = returned.person
    assert the_profile(account, person.email)["_id"] == returned.user_id
    assert send(account, OPEN, email=person.email).restriction, "the window that opened is open"
    repeats = [send(account, each, key=key, email=person.email) for each, key in sent_by(person)]
    assert [each.event_id for each in repeats] == returned.event_ids
    assert [(each.user_id, each.replayed) for each in repeats] == [(returned.user_id, True)] * 2
    assert sorted(the_events(account, person.email)) == sorted(returned.event_ids)
    assert upsert(person, account) == ERASED


@pytest.mark.parametrize("overlapping", [True, False], ids=["two runs overlap", "one run"])
def test_a_user_who_returns_at_any_call_of_an_erasure_loses_nothing(
    table: Table, account: Account, overlapping: bool
) -> None:
    now = a_moment()
    end = now + LATER

    def another_request(person: Person) -> Returned:
        if overlapping:
            erase_leftovers(table, end)
        return return_as_new(account, person)

    outcomes = at_each_call(
        table.client,
        lambda name: an_erased_person(account, name, now),
        lambda _: erase_leftovers(table, end),
        another_request,
    )
    for person, returned, _ in outcomes:
        check_all_there(account, returned)
        assert erase_leftovers(table, end + LATER) == []
        check_all_there(account, returned)
        assert person.id not in as_text(table)


def test_a_user_who_returns_and_is_erased_again_at_any_call_leaves_nothing(table: Table, account: Account) -> None:
    """A stale run must not end the later erasure before what is in flight for it has landed."""
    now = a_moment()
    again = now + LATER

    def another_request(person: Person) -> str:
        erase_leftovers(table, again)
        returned = return_as_new(account, person)
        users.erase(returned.user_id, account, again)
        return returned.user_id

    outcomes = at_each_call(
        table.client,
        lambda name: an_erased_person(account, name, now),
        lambda _: erase_leftovers(table, again),
        another_request,
    )
    for person, user_id, _ in outcomes:
        key_hash = person.keys[0].key_hash
        put(table, *keyed_events_of_1_0(user_id, [new_id(again)], [key_hash], again + timedelta(days=1)))
        assert erase_leftovers(table, again + LATER) == []
        left = as_text(table)
        assert [each for each in (person.id, user_id) if each in left] == []
        assert upsert(person, account) == ERASED
