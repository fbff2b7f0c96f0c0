"""What each event costs: its calls of DynamoDB and their capacity units, exactly.

Counted by AWS's published rules from the calls that are made and the items that are there; engines under-count:
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
"""

import contextlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from builders import ANA, a_user, an_example, send
from domain.dynamodb import Table
from domain.events import CATALOGUE
from domain.idempotency import IdempotencyKey
from domain.store import Store

PLAIN = sorted(CATALOGUE.keys() - {"update", "login", "confirmation", "emailopen"})


@dataclass
class Bill:
    calls: list[str] = field(default_factory=list)
    rru: float = 0
    wru: int = 0


@contextlib.contextmanager
def bill(table: Table) -> Iterator[Bill]:
    """Counts what the block asks of DynamoDB."""
    counted = Bill()

    def count(params: dict[str, Any], model: Any, **_: Any) -> None:
        counted.calls.append(model.name)
        if model.name == "GetItem":
            units = max(1, math.ceil(size(read(table, params["Key"])) / 4096))
            counted.rru += units if params["ConsistentRead"] else units / 2
        elif model.name == "PutItem":
            counted.wru += written(params["Item"])
        else:
            counted.wru += sum(2 * action_units(table, action) for action in params["TransactItems"])

    events = ("GetItem", "PutItem", "TransactWriteItems")
    for event in events:
        table.client.meta.events.register(f"before-parameter-build.dynamodb.{event}", count)
    try:
        yield counted
    finally:
        for event in events:
            table.client.meta.events.unregister(f"before-parameter-build.dynamodb.{event}", count)


def action_units(table: Table, action: dict[str, Any]) -> int:
    """An update counts the larger of the item before and after; the values it sets bound the growth."""
    if "Put" in action:
        return written(action["Put"]["Item"])
    update = action["Update"]
    growth = {"values": {"M": update["ExpressionAttributeValues"]}} | {
        name: {"NULL": True} for name in update["ExpressionAttributeNames"].values()
    }
    return max(1, math.ceil((size(read(table, update["Key"])) + size(growth)) / 1024))


def written(item: dict[str, Any]) -> int:
    return max(1, math.ceil(size(item) / 1024))


def read(table: Table, key: dict[str, Any]) -> dict[str, Any]:
    pages = table.client.get_paginator("scan").paginate(TableName=table.name)
    found = [item for page in pages for item in page["Items"] if (item["pk"], item["sk"]) == (key["pk"], key["sk"])]
    return dict(found[0]) if found else {}


def size(item: dict[str, Any]) -> int:
    return sum(len(name.encode()) + value_size(value) for name, value in item.items())


def value_size(attribute: dict[str, Any]) -> int:
    ((kind, value),) = attribute.items()
    match kind:
        case "S":
            return len(value.encode())
        case "N":
            return math.ceil(len(value) / 2) + 1
        case "M":
            return 3 + sum(1 + len(name.encode()) + value_size(each) for name, each in value.items())
        case "L":
            return 3 + sum(1 + value_size(each) for each in value)
        case _:
            return 1


def filled(event_type: str) -> dict[str, Any]:
    """An event of the type whose request has a body of 1 KB, in fields as long as shops' usually are."""
    event = {event_type: an_example(event_type)}
    while len(json.dumps({"user": {"email": ANA}, "event": event})) < 1024 - 40:
        event[event_type][f"attribute{len(event[event_type])}"] = "with a usual value"
    return event


@pytest.mark.parametrize("event_type", PLAIN)
def test_a_plain_event_of_1_kb_costs_one_look_up_and_one_write(store: Store, event_type: str) -> None:
    a_user(store)
    with bill(store.table) as it:
        assert send(store, filled(event_type)).discarded is None
    assert it == Bill(["GetItem", "PutItem"], rru=1, wru=1)


@pytest.mark.parametrize("event_type", ["update", "login"])
def test_an_update_or_login_costs_one_read_and_four_writes(store: Store, event_type: str) -> None:
    a_user(store)
    with bill(store.table) as it:
        send(store, {event_type: {"firstname": "Ana", "tags": ["vip"]}})
    assert it == Bill(["GetItem", "TransactWriteItems"], rru=1, wru=4)


def test_a_login_that_adds_an_address_costs_two_reads_and_six_writes(store: Store) -> None:
    user = a_user(store, None)
    with bill(store.table) as it:
        send(store, {"login": {"email": ANA}}, _id=user.id)
    assert it == Bill(["GetItem", "GetItem", "TransactWriteItems"], rru=2, wru=6)


def test_a_confirmation_costs_one_read_and_six_writes_and_a_duplicate_no_more(store: Store) -> None:
    a_user(store)
    for _ in range(2):
        with bill(store.table) as it:
            send(store, {"confirmation": an_example("confirmation")})
        assert it == Bill(["GetItem", "TransactWriteItems"], rru=1, wru=6)


def test_an_email_open_costs_six_writes_and_a_discarded_one_none(store: Store) -> None:
    a_user(store)
    with bill(store.table) as it:
        send(store, {"emailopen": {}})
    assert it == Bill(["GetItem", "GetItem", "TransactWriteItems"], rru=1.5, wru=6)
    with bill(store.table) as it:
        assert send(store, {"emailopen": {}}).discarded
    assert it == Bill(["GetItem", "GetItem"], rru=1.5, wru=0)


def test_a_bots_event_costs_no_write(store: Store) -> None:
    a_user(store)
    with bill(store.table) as it:
        assert send(store, {"search": {"query": "x"}}, email=ANA, userAgent="Googlebot/2.1").discarded
    assert it == Bill(["GetItem"], rru=1, wru=0)


def test_an_idempotency_key_makes_a_transaction_of_a_plain_event(store: Store) -> None:
    a_user(store)
    with bill(store.table) as it:
        send(store, {"search": {"query": "x"}}, key=IdempotencyKey.of("key", b"body"))
    assert it == Bill(["GetItem", "TransactWriteItems"], rru=1, wru=4)
