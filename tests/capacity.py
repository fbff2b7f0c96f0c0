"""Counts what DynamoDB is asked for, by AWS's published rules: engines under-count.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
"""

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator
from threading import Lock
from typing import Any

from docs.units import Bill
from table.calls import Store

Item = dict[str, Any]
Find = Callable[[Item], Item]
"""The item that is there under the key of another; {} if there is none."""


@contextlib.contextmanager
def bill(table: Store) -> Iterator[Bill]:
    """Counts what the block asks of DynamoDB: calls that begin, and what queries find."""
    counted = Bill()
    one_at_a_time = Lock()  # a batch puts from several threads

    def count(params: Item, event_name: str, **_: Any) -> None:
        operation = event_name.rpartition(".")[2]
        if operation != "TransactGetItems":  # ours
            with one_at_a_time:
                counted.calls.append(operation)
                COUNT[operation](counted, params, finder(table))

    def count_query(parsed: Item, **_: Any) -> None:
        counted.rru += read_units(parsed["Items"])

    hooks: dict[str, Callable[..., None]] = {
        "before-parameter-build.dynamodb": count,
        "after-call.dynamodb.Query": count_query,
    }
    for event, hook in hooks.items():
        table.client.meta.events.register(event, hook)
    try:
        yield counted
    finally:
        for event, hook in hooks.items():
            table.client.meta.events.unregister(event, hook)


def count_get(counted: Bill, params: Item, find: Find) -> None:
    counted.rru += read_units([find(params["Key"])], consistent=params["ConsistentRead"])


def count_batch_get(counted: Bill, params: Item, find: Find) -> None:
    """Count each item rounded up separately."""
    [asked] = params["RequestItems"].values()
    counted.items.append(len(asked["Keys"]))
    counted.rru += sum(read_units([find(key)], consistent=asked["ConsistentRead"]) for key in asked["Keys"])


def count_put(counted: Bill, params: Item, find: Find) -> None:
    """Count the write, also if its condition fails."""
    count_write(counted, params["Item"], write_units(params["Item"], find(params["Item"])))


def count_update(counted: Bill, params: Item, find: Find) -> None:
    count_write(counted, params["Key"], updated_units(params, find(params["Key"])))


def count_transaction(counted: Bill, params: Item, find: Find) -> None:
    counted.items.append(len(params["TransactItems"]))
    for action in params["TransactItems"]:
        [(verb, written)] = action.items()
        key = written.get("Item") or written["Key"]
        units = (
            updated_units(written, find(key)) if verb == "Update" else write_units(written.get("Item", {}), find(key))
        )
        count_write(counted, key, 2 * units)


def count_query(counted: Bill, params: Item, find: Find) -> None:
    """Nothing yet: what it read is known when it is answered."""


COUNT: dict[str, Callable[[Bill, Item, Find], None]] = {
    "GetItem": count_get,
    "BatchGetItem": count_batch_get,
    "PutItem": count_put,
    "UpdateItem": count_update,
    "TransactWriteItems": count_transaction,
    "Query": count_query,
}


def count_write(counted: Bill, key: Item, units: int) -> None:
    counted.wru += units
    counted.user_wru += units if "#USER#" in key["pk"]["S"] else 0


def read_units(items: Iterable[Item], *, consistent: bool = True) -> float:
    """Return the read units of one call."""
    units = max(1, math.ceil(sum(map(size, items)) / 4096))
    return units if consistent else units / 2


def write_units(*items: Item) -> int:
    """The larger one of the item before and after."""
    return max(1, *(math.ceil(size(item) / 1024) for item in items))


def updated_units(update: Item, before: Item) -> int:
    """The values that an update sets bound the growth."""
    growth = {"values": {"M": update.get("ExpressionAttributeValues", {})}} | {
        name: {"NULL": True} for name in update.get("ExpressionAttributeNames", {}).values()
    }
    return max(1, math.ceil((size(before) + size(growth)) / 1024))


def finder(table: Store) -> Find:
    """By the one kind of call that nothing else makes, so it is not counted."""

    def find(item: Item) -> Item:
        get: Any = {"Get": {"TableName": table.name, "Key": {"pk": item["pk"], "sk": item["sk"]}}}
        [found] = table.client.transact_get_items(TransactItems=[get])["Responses"]
        return dict(found.get("Item", {}))

    return find


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
