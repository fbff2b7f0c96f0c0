"""The stream of a table in AWS's engine, pumped into the feed function: no fault loses an event."""

import io
import itertools
import json
import uuid
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from mypy_boto3_dynamodb import DynamoDBClient
from mypy_boto3_dynamodbstreams import DynamoDBStreamsClient

from builders import ANA, a_moment, a_user, an_entry, send, send_batch
from domain.ids import new_id
from domain.times import iso
from engines import new_table
from faults import Crash
from handlers import bus as eventbridge
from handlers.runtime import logger
from local import aws
from stream import Bus, Pump, Record, invoke_feed, malformed, records_of, throttled
from table import Account
from table import primary_keys as keys
from table.attribute_values import from_item, to_item
from table.calls import Table
from table.expressions import Put

pytestmark = pytest.mark.dynamodb_local


@pytest.fixture
def table(dynamodb_local_client: DynamoDBClient) -> Iterator[Table]:
    with new_table(dynamodb_local_client, f"test-{uuid.uuid4()}") as made:
        specification: Any = {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"}
        dynamodb_local_client.update_table(TableName=made.name, StreamSpecification=specification)
        yield made


@pytest.fixture(autouse=True)
def bus(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bus]:
    monkeypatch.setattr(eventbridge, "backoff", lambda *_: itertools.repeat(0))
    with Bus.running() as running:
        yield running


def stream(table: Table) -> list[Record]:
    """Read the table's stream."""
    streams: DynamoDBStreamsClient = aws.client("dynamodbstreams", table.client.meta.endpoint_url)
    return records_of(streams, table.client.describe_table(TableName=table.name)["Table"]["LatestStreamArn"])


def put_events(table: Table, number: int) -> list[str]:
    """Stores events of one user and returns their ids."""
    user_id, ids = new_id(a_moment()), [new_id(a_moment()) for _ in range(number)]
    for event_id in ids:
        item = {"type": "search", "payload": {"query": "x"}}
        table.write_one(Put(keys.Key(f"shop#USER#{user_id}", f"EVENT#{event_id}"), item))
    return ids


def ids(bus: Bus) -> list[str]:
    """Return the ids of the events that were published."""
    return [detail["eventId"] for detail in bus.published()]


@pytest.mark.parametrize("ttl", [False, True], ids=["still there", "deleted"])
def test_an_event_that_replaces_an_ended_one_is_published(table: Table, account: Account, bus: Bus, ttl: bool) -> None:
    """The deletion by TTL is not published."""
    a_user(account)
    shop, now = account._replace(event_days=40), a_moment()
    entry = an_entry({"search": {"query": "x"}}, eventId="mine", eventTime=now)
    send_batch(shop, [entry], now)
    if ttl:
        table.delete_all([keys.key_of(from_item(stream(table)[-1]["dynamodb"]["Keys"]))])
    send_batch(shop, [entry], now + timedelta(days=41), imported=True)
    Pump().pump(stream(table))
    assert [detail["receivedOn"] for detail in bus.published()] == [iso(now), iso(now + timedelta(days=41))]
    assert len(bus.sent) == 2


def test_a_crash_between_delivery_and_response_publishes_twice_and_loses_nothing(table: Table, bus: Bus) -> None:
    stored, pump = put_events(table, 30), Pump()

    def crashing(event: Any) -> Any:
        answer = invoke_feed(event)
        if len(pump.invocations) <= 2:
            raise Crash
        return answer

    pump.pump(stream(table), crashing)
    assert set(ids(bus)) == set(stored)
    assert len(bus.published()) > len(stored)
    assert pump.queue == []


@pytest.mark.parametrize("how", ["not an event", "refused by the bus", "deadly"])
def test_one_poison_record_among_a_hundred_goes_to_the_queue_alone(table: Table, bus: Bus, how: str) -> None:
    stored, pump = put_events(table, 100), Pump()
    poisoned, records = stored[31], stream(table)
    [poison] = [each for each in records if poisoned in each["dynamodb"]["Keys"]["sk"]["S"]]
    if how == "not an event":
        del poison["dynamodb"]["NewImage"]["type"]
    if how == "refused by the bus":
        bus.faults = itertools.repeat(malformed(poisoned))

    def invoke_mortal(event: Any) -> Any:
        if how == "deadly" and poisoned in json.dumps(event):
            raise Crash
        return invoke_feed(event)

    pump.pump(records, invoke_mortal)
    assert set(ids(bus)) == set(stored) - {poisoned}
    assert len(bus.published()) < 500, "the others are not told again and again"
    [message] = pump.queue
    info, number = message["DDBStreamBatchInfo"], poison["dynamodb"]["SequenceNumber"]
    assert (info["startSequenceNumber"], info["endSequenceNumber"], info["batchSize"]) == (number, number, 1)


def test_a_bus_that_is_down_for_longer_than_an_invocation_loses_nothing(
    table: Table, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored, pump = put_events(table, 100), Pump()
    monkeypatch.setattr(eventbridge, "backoff", lambda *_: itertools.repeat(60))  # one attempt an invocation

    def invoke_while_down(event: Any) -> Any:
        bus.faults = itertools.repeat(throttled) if len(pump.invocations) < 6 else iter(())
        return invoke_feed(event)

    pump.pump(stream(table), invoke_while_down)
    assert len(pump.invocations) > 6
    assert set(ids(bus)) == set(stored)
    assert pump.queue == []


def test_records_that_are_no_news_are_done_without_being_published(table: Table, account: Account, bus: Bus) -> None:
    """A replay passes all records between two positions of the stream."""
    a_user(account)
    send(account, {"update": {"firstname": "Ana"}})
    table.delete_all([keys.email("shop", "ana@example.com")])
    everything = stream(table)
    assert invoke_feed({"Records": json.loads(json.dumps(everything))}) == {"batchItemFailures": []}
    assert len(everything) > len(bus.sent) == 1


def test_neither_log_nor_error_holds_anything_of_a_record(
    table: Table, account: Account, bus: Bus, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logger.registered_handler, "stream", log := io.StringIO())
    a_user(account)
    for text in ("a secret", "another secret"):
        send(account, {"search": {"query": text}})
    records = [each for each in stream(table) if "EVENT#" in each["dynamodb"]["Keys"]["sk"]["S"]]
    records[0]["dynamodb"]["NewImage"]["payload"] = to_item({"n": Decimal(1)})["n"] | {"S": "a secret"}
    bus.faults = itertools.repeat(malformed("another secret"))
    with pytest.raises(Exception, match=r"^2 of 2 records$") as failure:
        invoke_feed({"Records": json.loads(json.dumps(records))})
    printed = capsys.readouterr()
    assert '"failed":{"ValueError":1,"MalformedDetail":1}' in log.getvalue()
    told = log.getvalue() + printed.out + printed.err + str(failure.value)
    assert not [text for text in ("secret", ANA, "#USER#") if text in told]
