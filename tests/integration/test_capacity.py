"""What each event costs: its calls of DynamoDB and their capacity units, exactly."""

import json
from typing import Any

import pytest

from builders import ANA, a_moment, a_user, an_example, send
from capacity import bill
from declared import Once, Windowed, every_once, every_window, with_declared_types
from docs.units import AUTHORIZER, BILLS
from domain.accounts import new_api_key
from domain.event_types import CATALOGUE
from domain.outcomes import IdempotencyKey
from domain.table import Account, api_keys

PLAIN = sorted(CATALOGUE.keys() - {"update", "login", "confirmation", "emailopen"})


def filled(event_type: str) -> dict[str, Any]:
    """An event of the type whose request has a body of 1 KB, in fields as long as shops' usually are."""
    event = {event_type: an_example(event_type)}
    while len(json.dumps({"user": {"email": ANA}, "event": event})) < 1024 - 40:
        event[event_type][f"attribute{len(event[event_type])}"] = "with a usual value"
    return event


@pytest.mark.parametrize("event_type", PLAIN)
def test_a_plain_event_of_1_kb_costs_one_look_up_and_one_write(account: Account, event_type: str) -> None:
    a_user(account)
    with bill(account.table) as it:
        assert send(account, filled(event_type)).restriction is None
    assert it == BILLS["plain"]


@pytest.mark.parametrize("event_type", ["update", "login"])
def test_an_update_or_login_costs_one_read_and_four_writes(account: Account, event_type: str) -> None:
    a_user(account)
    with bill(account.table) as it:
        send(account, {event_type: {"firstname": "Ana", "tags": ["vip"]}})
    assert it == BILLS["update"]


def test_a_login_that_adds_an_address_costs_two_reads_and_six_writes(account: Account) -> None:
    user = a_user(account, None)
    with bill(account.table) as it:
        send(account, {"login": {"email": ANA}}, _id=user.id)
    assert it == BILLS["login-new-address"]


@with_declared_types
@every_once
def test_what_comes_once_costs_one_read_and_six_writes_and_a_duplicate_no_more(account: Account, once: Once) -> None:
    a_user(account)
    for _ in range(2):
        with bill(account.table) as it:
            send(account, {once.type: an_example(once.type)})
        assert it == BILLS["confirmation"]


@with_declared_types
@every_window
def test_one_in_a_window_costs_six_writes_and_a_discarded_one_none(account: Account, windowed: Windowed) -> None:
    a_user(account)
    with bill(account.table) as it:
        send(account, windowed.event())
    assert it == BILLS["emailopen"]
    with bill(account.table) as it:
        assert send(account, windowed.event()).restriction
    assert it == BILLS["emailopen-discarded"]


def test_a_bots_event_costs_no_write(account: Account) -> None:
    a_user(account)
    with bill(account.table) as it:
        assert send(account, {"search": {"query": "x"}}, email=ANA, userAgent="Googlebot/2.1").restriction
    assert it == BILLS["bot"]


def test_an_idempotency_key_makes_a_transaction_of_a_plain_event(account: Account) -> None:
    a_user(account)
    with bill(account.table) as it:
        send(account, {"search": {"query": "x"}}, key=IdempotencyKey.of("key", b"body"))
    assert it == BILLS["plain-idempotent"]


def test_a_key_that_the_gateway_does_not_remember_costs_one_read(account: Account) -> None:
    _, key = new_api_key(a_moment(), None)
    api_keys.add(account, key)
    with bill(account.table) as it:
        assert api_keys.find(account.table, key.hash)
    assert it == AUTHORIZER
