"""Counts what DynamoDB is asked for, by AWS's published rules: engines under-count.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
"""

import contextlib
import math
from collections.abc import Iterator
from typing import Any

from docs.units import Bill
from domain.table.calls import Table


@contextlib.contextmanager
def bill(table: Table) -> Iterator[Bill]:
    """Counts what the block asks of DynamoDB."""
    counted = Bill()

    def count_write(key: dict[str, Any], units: int) -> None:
        counted.wru += units
        counted.user_wru += units if "#USER#" in key["pk"]["S"] else 0

    def count(params: dict[str, Any], model: Any, **_: Any) -> None:
        counted.calls.append(model.name)
        if model.name == "GetItem":
            units = max(1, math.ceil(size(read(table, params["Key"])) / 4096))
            counted.rru += units if params["ConsistentRead"] else units / 2
        elif model.name == "PutItem":
            count_write(params["Item"], written(params["Item"]))
        else:
            for action in params["TransactItems"]:
                [written_to] = action.values()
                count_write(written_to.get("Item") or written_to["Key"], 2 * action_units(table, action))

    events = ("GetItem", "PutItem", "TransactWriteItems")
    for event in events:
        table.client.meta.events.register(f"before-parameter-build.dynamodb.{event}", count)
    try:
        yield counted
    finally:
        for event in events:
            table.client.meta.events.unregister(f"before-parameter-build.dynamodb.{event}", count)


def action_units(table: Table, action: dict[str, Any]) -> int:
    """A check counts as a write of the item that is there.

    An update counts the larger of the item before and after; the values it sets bound the growth.
    """
    if "Put" in action:
        return written(action["Put"]["Item"])
    if "ConditionCheck" in action:
        return max(1, math.ceil(size(read(table, action["ConditionCheck"]["Key"])) / 1024))
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
