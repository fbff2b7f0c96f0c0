"""The exact costs of each event: its calls of DynamoDB and their capacity units."""

import json
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from itertools import product
from typing import Any

import pytest

from builders import ANA, a_moment, a_user, an_entry, an_example, send, send_batch
from capacity import bill, size
from declared import Once, Windowed, every_restriction, with_declared_types
from docs import simulation
from docs.growth import Inputs
from docs.units import AUTHORIZER, BATCHES, BILLS, LATE
from domain.accounts import new_api_key
from domain.event_types import CATALOGUE
from domain.ids import new_id
from domain.outcomes import IdempotencyKey, Outcome
from domain.problems import Invalid, Refused, invalid_field
from engines import aws_engine_only
from stored import everything
from table import Account, api_keys
from table.overlay import Overlay
from use_cases import users
from use_cases.refusals import count_refused

pytestmark = pytest.mark.usefixtures("ana")
PLAIN = [name for name, cls in CATALOGUE.items() if not cls.restriction and name not in ("update", "login")]


def filled(event_type: str) -> dict[str, Any]:
    """An event of the type whose request has a body of 1 KB, in fields as long as shops' usually are."""
    event = {event_type: an_example(event_type)}
    while len(json.dumps({"user": {"email": ANA}, "event": event})) < 1024 - 40:
        event[event_type][f"attribute{len(event[event_type])}"] = "with a usual value"
    return event


@pytest.mark.parametrize("event_type", PLAIN)
def test_a_plain_event_of_1_kb_costs_one_look_up_and_one_write(account: Account, event_type: str) -> None:
    """Also with a limit of days."""
    for days in (0, 40):
        with bill(account.table) as it:
            assert send(account._replace(event_days=days), filled(event_type)).restriction is None
        assert it == BILLS["plain"]


UPDATE: dict[str, Any] = {"firstname": "Ana", "tags": ["vip"]}
SEARCH: dict[str, Any] = {"search": {"query": "x"}}
BOT = {"email": ANA, "userAgent": "Googlebot/2.1"}


@pytest.mark.parametrize(
    ("kind", "event", "more"),
    [
        ("update", {"update": UPDATE}, {}),
        ("update", {"login": UPDATE}, {}),
        ("bot", SEARCH, BOT),
        ("plain-idempotent", SEARCH, {"key": IdempotencyKey.of("key", b"body")}),
    ],
    ids=["update", "login", "of a bot", "under an Idempotency-Key"],
)
def test_an_event_costs_its_bill(account: Account, kind: str, event: dict[str, Any], more: dict[str, Any]) -> None:
    """An event of a bot costs no write; an Idempotency-Key makes a transaction of a plain event."""
    with bill(account.table) as it:
        assert (send(account._replace(event_days=40), event, **more).restriction is not None) == (kind == "bot")
    assert it == BILLS[kind]


def test_a_login_that_adds_an_address_costs_two_reads_and_six_writes(account: Account) -> None:
    user = a_user(account, None)
    with bill(account.table) as it:
        send(account, {"login": {"email": "new@example.com"}}, _id=user.id)
    assert it == BILLS["login-new-address"]


@with_declared_types
@every_restriction
@pytest.mark.parametrize("days", [0, 40])
def test_a_restricted_event_costs_six_writes_at_most(account: Account, kind: Once | Windowed, days: int) -> None:
    """A limit of days costs no unit of a created event."""
    created, discarded = ("confirmation",) * 2 if isinstance(kind, Once) else ("emailopen", "emailopen-discarded")
    for name in (created, discarded)[: 1 if days else 2]:
        with bill(account.table) as it:
            send(account._replace(event_days=days), kind.event())
        assert it == BILLS[name]


def test_a_key_that_the_gateway_does_not_remember_costs_one_read(account: Account) -> None:
    _, key = new_api_key(a_moment(), None)
    api_keys.add(account, key)
    with bill(account.table) as it:
        assert api_keys.find(account.table, key.hash)
    assert it == AUTHORIZER


# --- Batches --------------------------------------------------------------------------------------

PEOPLE = [f"user{number}@example.com" for number in range(100)]
MINUTES, HOUR = timedelta(minutes=1), timedelta(hours=1)


def statuses(outcomes: Sequence[Outcome | Refused]) -> set[str]:
    return {outcome.status if isinstance(outcome, Outcome) else "refused" for outcome in outcomes}


def test_100_plain_events_cost_one_look_up_and_a_unit_each_and_so_do_their_duplicates(account: Account) -> None:
    search = {"search": an_example("search")}
    send_batch(account, [an_entry(search, email=email) for email in PEOPLE], upsert=True)
    uuids, own_ids = ([an_entry(search, email=each, eventId=own and f"e-{each}") for each in PEOPLE] for own in (0, 1))
    for entries, status in product((uuids, own_ids), ("created", "duplicate")):
        with bill(account.table) as it:
            assert statuses(send_batch(account, entries)) == {status}
        assert (it, it.items) == (BATCHES["100 plain events of 100 users, new or duplicate"], [100])


def test_30_orders_of_30_users_are_30_transactions_of_3_actions(account: Account) -> None:
    for email in PEOPLE[:30]:
        a_user(account, email)
    orders = [an_entry({"confirmation": {"orderId": n, "total": 1}}, email=PEOPLE[n]) for n in range(30)]
    with bill(account.table) as it:
        assert statuses(send_batch(account, orders)) == {"created"}
    assert (it, it.items) == (BATCHES["30 confirmations of 30 users"], [30, *[3] * 30])


def test_30_updates_of_a_user_change_the_profile_once(account: Account) -> None:
    with bill(account.table) as it:
        assert statuses(send_batch(account, [an_entry({"update": {f"a{n}": n}}) for n in range(30)])) == {"created"}
    assert (it, it.items) == (BATCHES["30 updates of one user"], [31])


def an_entry_of(user: int, kind: str, place: int, now: datetime) -> dict[str, Any]:
    """Return an event of a kind of units.py. The user opened an email at `now`."""
    event_type = {"plain": "search", "bot": "search"}.get(kind, kind.partition("-")[0])
    event = {event_type: {**an_example(event_type), "orderId": place}}
    later = now + (MINUTES if kind == "emailopen-discarded" else (place + 1) * HOUR)
    of_bot = {"userAgent": "Googlebot/2.1"} if kind == "bot" else {}
    return an_entry(event, eventTime=later, email=PEOPLE[user], **of_bot)


def test_a_batch_sorted_by_user_costs_what_the_simulation_of_growth_md_says(account: Account) -> None:
    now = a_moment() - timedelta(days=9)
    for email in PEOPLE[:4]:
        a_user(account, email)
    send_batch(account, [an_entry({"emailopen": {}}, eventTime=now, email=email) for email in PEOPLE[:4]])
    [batch, *_] = simulation.sorted_batches(Inputs(batch=40, mix={**Inputs().mix, "plain": 10}))
    with bill(account.table) as it:
        statuses(send_batch(account, [an_entry_of(*each, place, now) for place, each in enumerate(batch)]))
    assert it.wru == sum(BILLS[kind].wru for _, kind in batch) - simulation.saved(batch)
    assert it.calls.count("TransactWriteItems") == 4


def opens_apart(minutes: int) -> list[dict[str, Any]]:
    now = a_moment() - timedelta(days=9)
    return [an_entry({"emailopen": {}}, eventTime=now + number * minutes * MINUTES) for number in range(100)]


def newcomers() -> list[dict[str, Any]]:
    """Users log in for the first time, and then do something by their new address."""
    batch: list[dict[str, Any]] = []
    for email, user_id in zip(PEOPLE[:33], SOMEBODY, strict=True):
        batch.append(an_entry({"login": {"email": email}}, _id=user_id))
        batch += [an_entry(event, email=email) for event in ({"update": {"city": "Vigo"}}, SEARCH)]
    return batch


def twice(event: Callable[[int], dict[str, Any]]) -> list[dict[str, Any]]:
    now = a_moment()
    return [an_entry(event(n // 2), eventId=f"e-{n // 2}", eventTime=now) for n in range(100)]


SOMEBODY = [new_id(a_moment()) for _ in range(33)]
AT_MOST: dict[str, tuple[Callable[[], list[dict[str, Any]]], list[int]]] = {
    "33 newcomers, named by the new address": (newcomers, [140]),
    "100 opens 21 minutes apart, and again": (lambda: opens_apart(21), [12, 6]),
    "100 opens too close to one another": (lambda: opens_apart(0), [6, 6]),
    "50 updates, each twice": (lambda: twice(lambda n: {"update": {f"a{n}": n}}), [10]),
    "50 orders, each twice": (lambda: twice(lambda n: {"confirmation": {"orderId": n}}), [10]),
}


@pytest.mark.parametrize("name", AT_MOST)
def test_a_batch_of_one_user_or_of_newcomers_needs_few_calls(account: Account, name: str) -> None:
    """Their repeats and what a restriction discards are decided in memory."""
    make, limits = AT_MOST[name]
    if make == newcomers:
        for user_id in SOMEBODY:
            users.change(user_id, {}, True, account, a_moment())
    batch = make()
    for number, limit in enumerate(limits):
        with bill(account.table) as it:
            settled = statuses(send_batch(account, batch))
        assert ("created" in settled, "refused" in settled) == (number == 0, False)
        assert len(it.calls) <= limit


@pytest.mark.parametrize("email", [ANA, "new@example.com"])
def test_the_id_of_another_user_is_read_once_for_a_batch(account: Account, email: str) -> None:
    other = a_user(account, None)
    batch = [an_entry({"update": {"n": number}}, email=email, _id=other.id) for number in range(10)]
    with bill(account.table) as it:
        assert {type(each) for each in send_batch(account, batch, upsert=True)} == {Invalid}
    assert it.calls == ["GetItem"] * 2


def test_the_logins_of_a_bot_cause_no_look_up(account: Account) -> None:
    """The other user's orders have the order numbers of the first one, so all events are settled one by one."""
    user_id = a_user(account, None).id
    batch = [an_entry({"confirmation": {"orderId": 1}}, _id=user_id)]
    for number in range(10):
        batch.append(an_entry({"login": {"email": PEOPLE[number]}}, _id=user_id, userAgent="Googlebot/2.1"))
        batch.append(an_entry({"confirmation": {"orderId": 1, "n": number}}))
    with bill(account.table) as it:
        assert statuses(send_batch(account, batch)) == {"created", "discarded"}
    assert [number for number in it.items if number > 3] == [12], "the first look-up reads 11 addresses and an _id"


@aws_engine_only
def test_an_event_that_cannot_be_stored_costs_few_calls_among_98_others(account: Account) -> None:
    """Nothing says which one it is, so the run is halved until it is alone."""
    batch = [an_entry({"update": {f"a{number}": number}}) for number in range(98)]
    batch.insert(60, an_entry({"confirmation": {"orderId": 1, "note": "x" * 410_000}}))
    with bill(account.table) as it:
        outcomes = send_batch(account, batch)
    assert [place for place, each in enumerate(outcomes) if isinstance(each, Refused)] == [60]
    assert len(it.calls) <= 16


@pytest.mark.parametrize("own_id", [None, "open-2"], ids=["UUIDv7", "own id"])
def test_an_open_with_an_event_time_costs_no_more_than_one_without(account: Account, own_id: str | None) -> None:
    now = a_moment()
    send_batch(account, [an_entry({"emailopen": {}}, eventTime=now)], now)
    in_time = an_entry({"emailopen": {}}, eventTime=now + HOUR, eventId=own_id)
    with bill(account.table) as it:
        assert statuses(send_batch(account, [in_time], now + 2 * HOUR)) == {"created"}
    assert it == BILLS["emailopen"]


@pytest.mark.parametrize("event_type", LATE)
def test_a_late_event_is_written_once(account: Account, event_type: str) -> None:
    now = a_moment()

    def send_at(place: int, received_at: datetime) -> set[str]:
        event = {event_type: {**an_example(event_type), "orderId": place}}
        return statuses(send_batch(account, [an_entry(event, eventTime=now + place * HOUR)], received_at))

    assert send_at(0, now) == send_at(2, now + 2 * HOUR) == {"created"}
    with bill(account.table) as it:
        assert send_at(1, now + 3 * HOUR) == {"created"}
    assert it == LATE[event_type]


def test_a_check_costs_no_write(account: Account) -> None:
    entries = [an_entry({event_type: an_example(event_type)}) for event_type in CATALOGUE]
    checked = Account(Overlay.over(account.table), account.name)
    with bill(account.table) as it:
        assert statuses(send_batch(checked, entries)) == {"created"}
    assert it.wru == 0


def test_a_refused_request_or_batch_costs_one_write_unit_at_most(account: Account) -> None:
    """The worst case: the longest names, and other refusals in the same hour."""
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
