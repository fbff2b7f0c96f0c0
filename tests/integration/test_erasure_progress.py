"""Contract section 6, DELETE: each run gets further, for any amount to erase and any hindrance.

Each call of DynamoDB advances the clock of these tests by a second, so a run can be made as short as needed.
"""

import contextlib
import itertools
import json
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from botocore.awsrequest import AWSPreparedRequest

from builders import a_moment, a_user
from domain.ids import new_id
from domain.times import iso
from engines import aws_engine_only
from faults import CRASH_POINTS, Clock, Crash, Fault, cancelled, crash, error, hooked, throttled
from local import aws
from stored import ACCOUNT, as_text, event_key, everything, keyed_events_of_1_0, put, put_many
from table import Account
from table.calls import Table
from use_cases import users
from use_cases.erasure import erase_leftovers

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

pytestmark = aws_engine_only

LATER = timedelta(minutes=5)  # by then no request is in flight, and an erasure may end


@contextlib.contextmanager
def a_clock(client: "DynamoDBClient") -> Iterator[Clock]:
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


# --- More than one run can do ---------------------------------------------------------------------


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
    before = left(table, oldest)
    while oldest in as_text(table):
        unfinished = short_run(table, clock, calls, now + LATER)
        assert (iso(now) in unfinished) == (oldest in as_text(table))
        assert left(table, oldest) < before
        before = left(table, oldest)
    for _ in range(8):
        short_run(table, clock, calls, now + LATER)
    text = as_text(table)
    assert [each for each in others if each in text] == []


# --- A step is done or not ------------------------------------------------------------------------


@pytest.mark.parametrize("when", CRASH_POINTS)
def test_a_run_that_dies_leaves_no_key_without_its_event(table: Table, account: Account, when: str) -> None:
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
    actions = _sent(request).get("TransactItems")
    return cancelled(*["TransactionConflict"] * len(actions))(request) if actions else None


def unprocessed(request: AWSPreparedRequest) -> Any:
    """DynamoDB takes nothing of a batch."""
    batch = _sent(request).get("RequestItems")
    return error("", status=200, UnprocessedItems=batch)(request) if batch else None


def _sent(request: AWSPreparedRequest) -> Any:
    body: Any = request.body
    return json.loads(body or "{}")


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
        body = request.body.decode() if isinstance(request.body, bytes) else str(request.body)
        return fault(request) if ids["hot"] in body else None

    with hooked(client, "before-send.dynamodb", refuse), a_clock(client):
        unfinished = erase_leftovers(Table(client, table.name, 100), now + LATER)
    assert unfinished == [iso(now)] * (ids["hot"] in as_text(table))
    assert ids["cold"] not in as_text(table)
    assert erase_leftovers(table, now + LATER) == []
    assert ids["hot"] not in as_text(table)
