"""What each event costs: its calls of DynamoDB and their capacity units, exactly."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from builders import ANA, a_moment, a_user, an_entry, an_example, send, send_batch
from capacity import bill, size
from declared import Once, Windowed, every_once, every_window, with_declared_types
from docs.units import AUTHORIZER, BATCHES, BILLS, LATE
from domain.accounts import new_api_key
from domain.event_types import CATALOGUE
from domain.outcomes import IdempotencyKey, Outcome
from domain.problems import Invalid, Refused, invalid_field
from stored import everything
from table import Account, api_keys
from table.overlay import Overlay
from use_cases.refusals import count_refused

PLAIN = sorted(CATALOGUE.keys() - {"update", "login", "confirmation", "refund", "emailopen"})


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


# --- Batches --------------------------------------------------------------------------------------

PEOPLE = [f"user{number}@example.com" for number in range(100)]
HOUR = timedelta(hours=1)


def statuses(outcomes: Sequence[Outcome | Refused]) -> set[str]:
    assert not [outcome for outcome in outcomes if isinstance(outcome, Refused)]
    return {outcome.status for outcome in outcomes if isinstance(outcome, Outcome)}


@pytest.mark.parametrize("own_ids", [False, True], ids=["UUIDv7", "own ids"])
def test_100_plain_events_of_100_users_cost_one_look_up_and_a_unit_each_and_so_do_their_duplicates(
    account: Account, own_ids: bool
) -> None:
    for email in PEOPLE:
        a_user(account, email)
    search = {"search": an_example("search")}
    entries = [an_entry(search, email=email, eventId=f"e-{email}" if own_ids else None) for email in PEOPLE]
    for status in ("created", "duplicate"):
        with bill(account.table) as it:
            assert statuses(send_batch(account, entries)) == {status}
        assert it == BATCHES["100 plain events of 100 users, new or duplicate"]
        assert it.items == [100]


def test_30_orders_of_30_users_are_one_transaction_of_90_actions(account: Account) -> None:
    for email in PEOPLE[:30]:
        a_user(account, email)
    orders = [{"confirmation": {"orderId": f"A-{number}", "total": 1}} for number in range(30)]
    entries = [an_entry(order, email=email) for order, email in zip(orders, PEOPLE[:30], strict=True)]
    with bill(account.table) as it:
        assert statuses(send_batch(account, entries)) == {"created"}
    assert it == BATCHES["30 confirmations of 30 users"]
    assert it.items == [30, 90]


def test_30_updates_of_a_user_change_the_profile_once(account: Account) -> None:
    a_user(account)
    entries = [an_entry({"update": {f"a{number}": number}}) for number in range(30)]
    with bill(account.table) as it:
        assert statuses(send_batch(account, entries)) == {"created"}
    assert it == BATCHES["30 updates of one user"]
    assert it.items == [31]


@pytest.mark.parametrize("own_id", [None, "open-2"], ids=["UUIDv7", "own id"])
def test_an_open_of_its_own_time_costs_no_more_than_one_of_now(account: Account, own_id: str | None) -> None:
    a_user(account)
    now = a_moment()
    send_batch(account, [an_entry({"emailopen": {}}, eventTime=now)], now)
    in_time = an_entry({"emailopen": {}}, eventTime=now + HOUR, eventId=own_id)
    with bill(account.table) as it:
        assert statuses(send_batch(account, [in_time], now + 2 * HOUR)) == {"created"}
    assert it == BILLS["emailopen"]


@pytest.mark.parametrize("event_type", LATE)
def test_a_late_event_is_written_once(account: Account, event_type: str) -> None:
    a_user(account)
    now = a_moment()

    def send_at(place: int, received_at: datetime) -> set[str]:
        event = {event_type: {**an_example(event_type), "orderId": place}}
        return statuses(send_batch(account, [an_entry(event, eventTime=now + place * HOUR)], received_at))

    assert send_at(0, now) == send_at(2, now + 2 * HOUR) == {"created"}
    with bill(account.table) as it:
        assert send_at(1, now + 3 * HOUR) == {"created"}
    assert it == LATE[event_type]


def test_a_check_costs_no_write(account: Account) -> None:
    a_user(account)
    entries = [an_entry({event_type: an_example(event_type)}) for event_type in CATALOGUE]
    checked = Account(Overlay.over(account.table), account.name)
    with bill(account.table) as it:
        assert statuses(send_batch(checked, entries)) == {"created"}
    assert it.wru == 0


def test_a_refused_request_or_batch_costs_one_write_unit_at_most(account: Account) -> None:
    """Whatever a batch is refused for, and what was refused before in the hour: the longest names that there are."""
    fields = sorted(CATALOGUE["confirmation"].model_fields, key=len, reverse=True)
    refused = [Invalid([invalid_field("", "", f"event.confirmation.{name}")]) for name in fields]
    for each in refused:
        each.event_type = "confirmation"
    with bill(account.table) as it:
        for number in range(1, len(refused) + 1):
            count_refused(refused[:number] * 2, account.name, account.table, f"{number:0>36}", a_moment())
    assert len(it.calls) == it.wru == len(fields)
    largest = max(size(item) for item in everything(account.table) if "lastRequestId" in item)
    assert largest <= 1024
