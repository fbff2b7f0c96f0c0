"""Contract section 6, DELETE: each run gets further, for any amount to erase and any hindrance.

Each call of DynamoDB advances the clock of these tests by a second, so a run can be made as short as needed.
"""

import itertools
import json
import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from botocore.awsrequest import AWSPreparedRequest

from builders import a_moment, a_user
from domain.ids import new_id
from domain.times import iso
from engines import aws_engine_only
from faults import CRASH_POINTS, Crash, Fault, cancelled, crash, error, throttled
from local import aws
from stored import ACCOUNT, as_text, everything, keyed_events_of_1_0, put_many
from table import Account
from table.calls import Table
from use_cases import users
from use_cases.erasure import erase_leftovers

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

pytestmark = aws_engine_only

LATER = timedelta(minutes=5)  # by then no request is in flight, and an erasure may end
MANY = 400


class Clock:
    """Each call of DynamoDB takes a second, and waiting takes as long as it takes."""

    def __init__(self) -> None:
        self.now = 0.0

    def call(self, **_: Any) -> None:
        self.now += 1

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(table: Table, monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", lambda: clock.now)
    monkeypatch.setattr(time, "sleep", clock.sleep)
    table.client.meta.events.register_first(CRASH_POINTS["before"], clock.call)
    yield clock
    table.client.meta.events.unregister(CRASH_POINTS["before"], clock.call)


def an_erased_user(table: Table, account: Account, email: str, events: int, now: datetime) -> str:
    """Their id. All their events were sent under keys; nothing is removed yet."""
    user_id = a_user(account, email).id
    ids = [new_id(now) for _ in range(events)]
    hashes = [f"{user_id.replace('-', '')}{n:032x}" for n in range(events)]
    put_many(table, keyed_events_of_1_0(user_id, ids, hashes, now + timedelta(days=1)))
    users.erase(user_id, account, now)
    return user_id


def left(table: Table, user_id: str) -> int:
    """How many items still name the user, without the tombstone and the task."""
    named = [item for item in everything(table) if user_id in json.dumps(item) and item["sk"]["S"] != "PROFILE"]
    return len(named) - 1


def keys_and_events_left(table: Table, user_id: str) -> tuple[set[str], set[str]]:
    """The ids of the events that the user's keys name, and of the events that are there."""
    items = everything(table)
    of_keys = {item["eventId"]["S"] for item in items if item.get("userId", {}).get("S") == user_id}
    of_events = [item["sk"]["S"] for item in items if item["pk"]["S"] == f"{ACCOUNT}#USER#{user_id}"]
    return of_keys, {sk.removeprefix("EVENT#") for sk in of_events if sk.startswith("EVENT#")}


def short_run(table: Table, clock: Clock, calls: float, now: datetime) -> list[str]:
    return erase_leftovers(Table(table.client, table.name, clock.now + calls), now)


def calls_of_a_run(table: Table, clock: Clock, now: datetime) -> float:
    begun = clock.now
    assert erase_leftovers(table, now) == []
    return clock.now - begun


# --- More than one run can do ---------------------------------------------------------------------


@pytest.mark.parametrize("oldest_at", [0, -1], ids=["first by its key", "last by its key"])
def test_the_oldest_erasure_gets_further_in_each_run_however_many_there_are(
    table: Table, account: Account, clock: Clock, oldest_at: int
) -> None:
    now = a_moment()
    emails = [f"user{n}@example.com" for n in range(12)]

    def erased() -> Sequence[str]:
        """Return the erased users in the order of their ids, in which they were created."""
        by_key = [a_user(account, email).id for email in emails]
        for user_id in by_key:
            hashes = [f"{user_id.replace('-', '')}{n:032x}" for n in range(60)]
            put_many(
                table,
                keyed_events_of_1_0(user_id, [new_id(now) for _ in hashes], hashes, now + timedelta(days=1)),
            )
        oldest = by_key[oldest_at]
        for seconds, user_id in enumerate([oldest, *(each for each in by_key if each != oldest)]):
            users.erase(user_id, account, now + timedelta(seconds=seconds))
        return [oldest, *(each for each in by_key if each != oldest)]

    erased()
    calls = calls_of_a_run(table, clock, now + LATER) // 4
    oldest, *others = erased()
    before = left(table, oldest)
    while oldest in as_text(table):
        short_run(table, clock, calls, now + LATER)
        assert left(table, oldest) < before
        before = left(table, oldest)
    for _ in range(8):
        short_run(table, clock, calls, now + LATER)
    text = as_text(table)
    assert [each for each in others if each in text] == []


def test_what_is_not_done_is_told_with_its_beginning(table: Table, account: Account, clock: Clock) -> None:
    begun = a_moment()
    an_erased_user(table, account, "many@example.com", MANY, begun)
    assert short_run(table, clock, 4, begun + LATER) == [iso(begun)]
    assert erase_leftovers(table, begun + LATER) == []


# --- A step is done or not ------------------------------------------------------------------------


@pytest.mark.parametrize("when", CRASH_POINTS)
def test_an_event_and_its_key_are_deleted_together_if_the_process_dies_at_any_call(
    table: Table, account: Account, when: str
) -> None:
    """An event that went first would leave a key that names the person and that nothing finds any more."""
    now = a_moment()
    for number in itertools.count(1):
        user_id = an_erased_user(table, account, f"ana{number}@example.com", 5, now)
        try:
            with crash(table.client, when, number):
                erase_leftovers(table, now + LATER)
        except Crash:
            of_keys, of_events = keys_and_events_left(table, user_id)
            assert of_keys == of_events
            assert erase_leftovers(table, now + LATER) == []
            assert user_id not in as_text(table)
        else:
            break
    assert number > 3


# --- What stands in the way -----------------------------------------------------------------------


def conflict(request: AWSPreparedRequest) -> Any:
    """Another transaction is in the way of each transaction."""
    sent = _sent(request)
    return (
        cancelled(*["TransactionConflict"] * len(sent["TransactItems"]))(request) if "TransactItems" in sent else None
    )


def unprocessed(request: AWSPreparedRequest) -> Any:
    """DynamoDB takes nothing of a batch."""
    batch = _sent(request).get("RequestItems")
    return error("", status=200, UnprocessedItems=batch)(request) if batch else None


def _sent(request: AWSPreparedRequest) -> Any:
    body: Any = request.body
    return json.loads(body or "{}")


@pytest.fixture
def client_without_retries(table: Table, monkeypatch: pytest.MonkeyPatch) -> "DynamoDBClient":
    """A client without retries, as if it had made them already."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    client: DynamoDBClient = aws.client("dynamodb", table.client.meta.endpoint_url)
    return client


@pytest.mark.parametrize("fault", [throttled, conflict, unprocessed], ids=["throttled", "in conflict", "not processed"])
@pytest.mark.parametrize("first", ["hot", "cold"])
def test_an_erasure_that_dynamodb_throttles_delays_no_other(
    account: Account,
    table: Table,
    client_without_retries: "DynamoDBClient",
    monkeypatch: pytest.MonkeyPatch,
    fault: Fault,
    first: str,
) -> None:
    now = a_moment()
    emails = ["hot", "cold"] if first == "hot" else ["cold", "hot"]
    ids = {name: an_erased_user(table, account, f"{name}@example.com", 30, now) for name in emails}

    def refuse(request: AWSPreparedRequest, **_: Any) -> Any:
        body = request.body.decode() if isinstance(request.body, bytes) else str(request.body)
        return fault(request) if ids["hot"] in body else None

    clock = Clock()
    client_without_retries.meta.events.register_first("before-send.dynamodb", refuse)
    client_without_retries.meta.events.register_first(CRASH_POINTS["before"], clock.call)
    with monkeypatch.context() as patched:
        patched.setattr(time, "monotonic", lambda: clock.now)
        patched.setattr(time, "sleep", clock.sleep)
        erase_leftovers(Table(client_without_retries, table.name, 100), now + LATER)
    assert ids["cold"] not in as_text(table)
    assert erase_leftovers(table, now + LATER) == []
    assert ids["hot"] not in as_text(table)


def test_a_refused_erasure_is_told_among_those_that_are_not_done(
    account: Account, table: Table, client_without_retries: "DynamoDBClient"
) -> None:
    now = a_moment()
    hot = an_erased_user(table, account, "hot@example.com", 3, now)
    an_erased_user(table, account, "cold@example.com", 3, now + timedelta(seconds=1))

    def refuse(request: AWSPreparedRequest, **_: Any) -> Any:
        body = request.body.decode() if isinstance(request.body, bytes) else str(request.body)
        return throttled(request) if hot in body else None

    client_without_retries.meta.events.register_first("before-send.dynamodb", refuse)
    assert erase_leftovers(Table(client_without_retries, table.name, table.deadline), now + LATER) == [iso(now)]
    assert hot in as_text(table)
