"""Contract section 6, DELETE: an anonymous mark is all that is left of the person, and the _id never comes back.

Contract section 7: an Idempotency-Key of the person is free again, for one who has left and come back.

Erasures run each minute and can take five, so two runs often overlap. In the last tests, another request comes before
the first call of a run, after it, before the second, and so on.
"""

import contextlib
import itertools
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest
from mypy_boto3_dynamodb import DynamoDBClient

from builders import ANA, a_moment, a_user, an_entry, as_sent, send, send_batch, the_events, the_profile
from declared import ONCES, RESTRICTED, WINDOWED, with_declared_types
from domain.ids import new_id
from domain.outcomes import IdempotencyKey, Outcome
from domain.problems import Conflict, NotFound
from domain.request import parse_request
from domain.times import iso
from engines import aws_engine_only, both_engines
from faults import (
    CRASH_POINTS,
    Clock,
    Crash,
    Fault,
    at_each_call,
    cancelled,
    crash,
    error,
    hooked,
    on_text,
    text_of,
    throttled,
)
from local import aws
from stored import as_text, erased_key, event_key, everything, item_at, keyed_events_of_1_0, put, put_many
from table import Account, erasures
from table.attribute_values import digest_of
from table.calls import Table
from table.erasures import Receipt
from use_cases import users
from use_cases.collect import collect_one
from use_cases.erasure import IN_FLIGHT, erase_leftovers

BOB = "bob@example.com"
LATER = timedelta(minutes=5)  # by then no request is in flight, and an erasure may end
KEY, OTHER, THIRD = (IdempotencyKey.of(name, b"body") for name in ("key", "other", "third"))
SEARCH: dict[str, Any] = {"search": {"query": "x"}}
OPEN: dict[str, Any] = {"emailopen": {}}
ERASED = ["User was erased"]


@both_engines
@with_declared_types
def test_nothing_is_left_of_an_erased_person_but_marks_and_what_others_have(account: Account) -> None:
    """A digest of a short payload reveals it: with the order's number one can try all telephone numbers."""
    ana, now = a_user(account, tel="+34 600 000 000", tags=["vip"]), a_moment()
    a_user(account, BOB)
    order = {"orderId": "A-1", "phone": "+34 600 000 000"}
    events: list[dict[str, Any]] = [{"update": {"firstname": "Ana"}}, {"confirmation": order}]
    events += [each.event(note=1) for each in RESTRICTED[1:] if each.type != "emailopen"]
    entries = [an_entry(event, eventId=f"chosen-{n}", eventTime=now) for n, event in enumerate(events)]
    assert {isinstance(each, Outcome) and each.status for each in send_batch(account, entries, now)} == {"created"}
    for key in (KEY, OTHER):
        send(account, SEARCH, now - timedelta(hours=25), key)
    send(account, {"search": {"query": "+34 600 000 000"}}, key=KEY)
    collect_one(parse_request(as_sent(an_entry(OPEN, eventId="chosen")), a_moment()), account, now, THIRD)
    assert send(account, OPEN, key=IdempotencyKey.of("fourth", b"body")).restriction
    of_bob = send(account, SEARCH, key=OTHER, email=BOB)
    users.erase(ANA, account, now)
    erase_leftovers(account.table, now)
    assert erase_leftovers(account.table, now + LATER) == []
    left = as_text(account.table)
    digest = digest_of("confirmation", order)
    texts = (ANA, ana.id, ana.id.upper(), "600 000 000", "Ana", "chosen", KEY.key_hash, THIRD.key_hash, digest)
    assert [text for text in texts if text in left] == []
    left_items = 1 + len(ONCES) + 1 + 4  # the _id, the values, the answer to a discarded event, and those of Bob
    assert len(everything(account.table)) == left_items
    mark = item_at(account.table, erased_key(ana.id)) or {}
    assert mark.keys() - {"eventsDeleted"} == {"pk", "sk", "erasedAt", "finishedOn"}
    assert mark["erasedAt"] == {"S": iso(now)}
    repeat = send(account, SEARCH, key=OTHER, email=BOB)
    assert (repeat.event_id, repeat.replayed) == (of_bob.event_id, True)
    a_user(account)
    again = [send(account, each.event(), now) for each in RESTRICTED]
    assert [each.restriction is not None for each in again] == [True] * len(ONCES) + [False] * len(WINDOWED)
    assert not [each.first for each in again if each.first and "chosen" in each.first.event_id]


def test_of_two_erasures_in_one_millisecond_one_erases_the_user(account: Account) -> None:
    ana, now = a_user(account), a_moment()
    assert [erasures.begin(account, ana, now) for _ in range(2)] == [iso(now), None]


def test_an_erased_id_never_comes_back(account: Account) -> None:
    """Also if another user has its email."""
    ana, now, table = a_user(account), a_moment(), account.table

    def is_refused(**attributes: str) -> bool:
        with pytest.raises(Conflict) as refused:
            users.change(ana.id, attributes, True, account, a_moment())
        return "User was erased" in [problem.message for problem in refused.value.problems]

    users.erase(ana.id, account, now)
    for end in (now, now + LATER, now + 2 * LATER):
        assert is_refused()
        assert is_refused(email=ANA, city="Vigo")
        unfinished = erase_leftovers(table, end)
        if end == now:
            a_user(account)
    assert unfinished == []
    assert is_refused()
    assert is_refused(email="another@example.com")
    attempts: list[Callable[[], object]] = [
        lambda: users.change(ana.id, {}, False, account, a_moment()),
        lambda: users.get(ana.id, account),
        lambda: send(account, SEARCH, _id=ana.id),
    ]
    for attempt in attempts:
        with pytest.raises(NotFound):
            attempt()


# --- Receipts -------------------------------------------------------------------------------------


def test_a_receipt_has_the_times_of_an_erasure_and_its_number_of_events(account: Account) -> None:
    """There are more events than a step or a page of 1 MB holds, and one lands last."""
    ana, now, table = a_user(account), a_moment(), account.table
    with pytest.raises(NotFound):
        users.receipt(ana.id, account)
    for number in range(erasures.STEP + 5):
        key = IdempotencyKey.of(str(number), b"") if number < 5 else None
        send(account, {"search": {"query": "x" * (60_000 if number < 20 else 1)}}, key=key)
    send(account, {"emailopen": {}})
    assert users.erase(ANA, account, now)[1] == iso(now)
    assert users.receipt(ana.id, account) == Receipt(iso(now), is_finished=False)
    assert erase_leftovers(table, now) == [iso(now)]
    put(table, {**event_key(ana.id, new_id(a_moment())), "type": {"S": "search"}, "payload": {"M": {}}})
    assert erase_leftovers(table, now + IN_FLIGHT - timedelta(milliseconds=1)) == [iso(now)], "one may be in flight"
    assert not users.receipt(ana.id, account).is_finished
    assert erase_leftovers(table, now + IN_FLIGHT) == erase_leftovers(table, now + 2 * IN_FLIGHT) == []
    assert ana.id not in as_text(table)
    receipt = users.receipt(ana.id, account)
    assert (receipt.requested_on, receipt.is_finished, receipt.events_deleted) == (iso(now), True, erasures.STEP + 7)
    assert iso(now + IN_FLIGHT) <= str(receipt.finished_on) < iso(now + 2 * IN_FLIGHT)
    for identifier in (ANA, "x", ana.id.upper()):
        with pytest.raises(NotFound):
            users.receipt(identifier, account)


def test_a_receipt_counts_each_event_once_though_another_run_does_the_same(account: Account) -> None:
    now = a_moment()

    def prepare(name: str) -> str:
        user_id = a_user(account, f"{name}@example.com").id
        for _ in range(3):
            send(account, SEARCH, _id=user_id)
        users.erase(user_id, account, now)
        return user_id

    def sweep(_: str) -> list[str]:
        return erase_leftovers(account.table, now + LATER)

    for user_id, _, _ in at_each_call(account.table.client, prepare, sweep, sweep):
        sweep(user_id)
        assert users.receipt(user_id, account).events_deleted == 3
    for _, _, receipt in at_each_call(account.table.client, prepare, lambda each: users.receipt(each, account), sweep):
        assert receipt.requested_on == iso(now)


def test_an_erasure_ends_though_another_run_counts_an_event_and_stops_at_any_call(account: Account) -> None:
    now, table = a_moment(), account.table

    def prepare(name: str) -> dict[str, Any]:
        user = a_user(account, f"{name}@example.com")
        users.erase(user.id, account, now)
        return erased_key(user.id)

    def count(mark: dict[str, Any]) -> None:
        table.client.update_item(
            TableName=table.name, Key=mark, UpdateExpression="ADD eventsDeleted :n",
            ExpressionAttributeValues={":n": {"N": "1"}},
        )  # fmt: skip

    for mark, _, _ in at_each_call(table.client, prepare, lambda _: erase_leftovers(table, now + LATER), count):
        assert erase_leftovers(table, now + LATER) == []
        assert "finishedOn" in (item_at(table, mark) or {})


# --- Keys -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("event", [
    SEARCH, {"update": {"city": "Madrid"}}, {"login": {"visits": 1}}, {"emailopen": {}},
    {"confirmation": {"orderId": "A-1", "total": 10}},
], ids=lambda event: next(iter(event)))  # fmt: skip
def test_a_repeat_for_a_returned_user_is_stored_for_the_new_one(account: Account, event: dict[str, Any]) -> None:
    erased = a_user(account)
    first = send(account, event, key=KEY)
    users.erase(erased.id, account, a_moment())
    ana = a_user(account)
    answer = send(account, event, key=KEY)
    assert (answer.user_id, answer.replayed) == (ana.id, False)
    assert answer.event_id != first.event_id
    assert bool(answer.restriction) == ("confirmation" in event), "the order counts once"
    assert the_events(account) == [answer.event_id] * ("confirmation" not in event)
    for now in (a_moment(), a_moment() + LATER):
        repeat = send(account, event, key=KEY)
        assert (repeat.event_id, repeat.user_id, repeat.replayed) == (answer.event_id, ana.id, True)
        assert repeat.restriction == answer.restriction
        erase_leftovers(account.table, now)
    assert erased.id not in as_text(account.table)
    assert the_profile(account)["_id"] == ana.id


def test_keys_of_a_login_and_of_a_discarded_event_name_no_erased_owner(account: Account) -> None:
    """The stored answer to a discarded event names no user, so it may stay."""
    owner, anonymous = a_user(account), a_user(account, None)
    login: dict[str, Any] = {"login": {"email": ANA, "visits": 1}}
    send(account, OPEN)
    assert send(account, OPEN, key=OTHER).restriction
    assert send(account, login, key=KEY, _id=anonymous.id).user_id == owner.id
    users.erase(owner.id, account, a_moment())
    answer = send(account, login, key=KEY, _id=anonymous.id)
    assert (answer.user_id, answer.replayed) == (anonymous.id, False)
    assert (the_profile(account)["_id"], the_profile(account)["visits"]) == (anonymous.id, 1)
    assert the_events(account) == [answer.event_id]
    assert send(account, OPEN, key=OTHER).user_id == anonymous.id
    assert erase_leftovers(account.table, a_moment() + LATER) == []
    assert send(account, OPEN, key=OTHER).user_id == anonymous.id


# --- Another request at any call ------------------------------------------------------------------


@dataclass(frozen=True)
class Person:
    """A user with an order, and with an event and an open window under keys."""

    id: str
    email: str
    requests: list[tuple[dict[str, Any], IdempotencyKey]]


def a_person(account: Account, name: str) -> Person:
    email = f"ana{name}@example.com"
    requests = [(event, IdempotencyKey.of(f"{list(event)} {name}", b"body")) for event in (SEARCH, OPEN)]
    profile = a_user(account, email, tags=["vip"])
    for event, key in requests:
        send(account, event, key=key, email=email)
    send(account, {"confirmation": {"orderId": f"order {name}", "total": 1}}, email=email)
    return Person(profile.id, email, requests)


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
    answers = [send(account, each, key=key, email=person.email) for each, key in person.requests]
    assert [(answer.restriction, answer.replayed, answer.user_id) for answer in answers] == [(None, False, user_id)] * 2
    return Returned(person, user_id, [answer.event_id for answer in answers])


def check_all_there(account: Account, returned: Returned) -> None:
    person = returned.person
    assert the_profile(account, person.email)["_id"] == returned.user_id
    assert send(account, OPEN, email=person.email).restriction, "the window that opened is open"
    repeats = [send(account, each, key=key, email=person.email) for each, key in person.requests]
    assert [each.event_id for each in repeats] == returned.event_ids
    assert [(each.user_id, each.replayed) for each in repeats] == [(returned.user_id, True)] * 2
    assert sorted(the_events(account, person.email)) == sorted(returned.event_ids)
    assert upsert(person, account) == ERASED


@aws_engine_only
@pytest.mark.parametrize("overlapping", [True, False], ids=["two runs overlap", "one run"])
def test_a_user_who_returns_at_any_call_of_an_erasure_loses_nothing(account: Account, overlapping: bool) -> None:
    now, table = a_moment(), account.table
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


@aws_engine_only
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
        key_hash = person.requests[0][1].key_hash
        put(table, *keyed_events_of_1_0(user_id, [new_id(again)], [key_hash], again + timedelta(days=1)))
        assert erase_leftovers(table, again + LATER) == []
        left = as_text(table)
        assert [each for each in (person.id, user_id) if each in left] == []
        assert upsert(person, account) == ERASED


# --- What one run cannot do -------------------------------------------------------------------------
# Each call of DynamoDB advances the clock of these tests by a second, so a run can be made as short as needed.


@contextlib.contextmanager
def a_clock(client: DynamoDBClient) -> Iterator[Clock]:
    """Each call of the client takes a second, and a pause no more than it says."""
    clock = Clock()
    with hooked(client, CRASH_POINTS["before"], lambda **_: clock.sleep(1)), pytest.MonkeyPatch.context() as patched:
        patched.setattr(time, "monotonic", clock.monotonic)
        patched.setattr(time, "sleep", clock.sleep)
        yield clock


@pytest.fixture
def clock(table: Table) -> Iterator[Clock]:
    with a_clock(table.client) as clock:
        yield clock


def an_erased_user(table: Table, account: Account, email: str, events: int, now: datetime) -> str:
    """Return the id. All events were sent under keys; nothing is removed yet."""
    user_id = a_user(account, email).id
    hashes = [f"{user_id.replace('-', '')}{n:032x}" for n in range(events)]
    put_many(table, keyed_events_of_1_0(user_id, [new_id(now) for _ in hashes], hashes, now + timedelta(days=1)))
    users.erase(user_id, account, now)
    return user_id


def short_run(table: Table, clock: Clock, calls: float, now: datetime) -> list[str]:
    return erase_leftovers(Table(table.client, table.name, clock.now + calls), now)


@aws_engine_only
def test_the_oldest_erasure_gets_further_in_each_run(table: Table, account: Account, clock: Clock) -> None:
    """A run reports when each unfinished erasure began."""
    now = a_moment()

    def erased() -> list[str]:
        """Return the erased users by their keys; the last one is the oldest erasure."""
        begun = [now + timedelta(seconds=(n + 1) % 12) for n in range(12)]
        return [an_erased_user(table, account, f"user{n}@example.com", 60, at) for n, at in enumerate(begun)]

    erased()
    begun = clock.now
    assert erase_leftovers(table, now + LATER) == []
    calls = (clock.now - begun) // 4
    *others, oldest = erased()
    left = as_text(table).count(oldest)
    while left:
        unfinished = short_run(table, clock, calls, now + LATER)
        before, left = left, as_text(table).count(oldest)
        assert left < before
        assert (iso(now) in unfinished) == bool(left)
    for _ in range(8):
        short_run(table, clock, calls, now + LATER)
    text = as_text(table)
    assert [each for each in others if each in text] == []


@aws_engine_only
def test_a_run_that_dies_leaves_no_key_without_its_event(table: Table, account: Account) -> None:
    """An event that went first would leave a key that names the person and that nothing finds any more."""
    now = a_moment()
    for number in itertools.count(1):
        user_id = an_erased_user(table, account, f"ana{number}@example.com", 5, now)
        with contextlib.suppress(Crash), crash(table.client, number):
            erase_leftovers(table, now + LATER)
            break
        assert erase_leftovers(table, now + LATER) == []
        assert user_id not in as_text(table)
    assert number > 3


def conflict(request: AWSPreparedRequest) -> Any:
    """Another transaction is in the way of each transaction."""
    actions = json.loads(text_of(request)).get("TransactItems")
    return cancelled(*["TransactionConflict"] * len(actions))(request) if actions else None


def unprocessed(request: AWSPreparedRequest) -> Any:
    """DynamoDB takes nothing of a batch."""
    batch = json.loads(text_of(request)).get("RequestItems")
    return error("", status=200, UnprocessedItems=batch)(request) if batch else None


@aws_engine_only
@pytest.mark.parametrize("fault", [throttled, conflict, unprocessed], ids=["throttled", "in conflict", "not processed"])
@pytest.mark.parametrize("names", [("hot", "cold"), ("cold", "hot")], ids="-".join)
def test_an_erasure_that_dynamodb_throttles_delays_no_other(
    account: Account, table: Table, monkeypatch: pytest.MonkeyPatch, fault: Fault, names: tuple[str, str]
) -> None:
    now = a_moment()
    ids = {name: an_erased_user(table, account, f"{name}@example.com", 30, now) for name in names}
    without_key = {**event_key(ids["hot"], new_id(now)), "type": {"S": "search"}, "payload": {"M": {}}}
    put(table, without_key)  # deleted in a batch and not in a transaction
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")  # as if the client had made its attempts already
    client: DynamoDBClient = aws.client("dynamodb", table.client.meta.endpoint_url)

    def refuse(request: AWSPreparedRequest, **_: Any) -> Any:
        return on_text(fault, ids["hot"])(request)

    with hooked(client, "before-send.dynamodb", refuse), a_clock(client):
        unfinished = erase_leftovers(Table(client, table.name, 100), now + LATER)
    assert unfinished == [iso(now)] * (ids["hot"] in as_text(table))
    assert ids["cold"] not in as_text(table)
    assert erase_leftovers(table, now + LATER) == []
    assert ids["hot"] not in as_text(table)
