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
from faults import hooked
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
                count_call(counted, operation, params, finder(table))

    def count_query(parsed: Item, **_: Any) -> None:
        counted.rru += read_units(parsed["Items"])

    with (
        hooked(table.client, "before-parameter-build.dynamodb", count),
        hooked(table.client, "after-call.dynamodb.Query", count_query),
    ):
        yield counted


def count_call(counted: Bill, operation: str, params: Item, find: Find) -> None:
    """A batch rounds each item up separately. A write counts also if its condition fails."""
    match operation:
        case "GetItem":
            counted.rru += read_units([find(params["Key"])], consistent=params["ConsistentRead"])
        case "BatchGetItem":
            [asked] = params["RequestItems"].values()
            counted.items.append(len(asked["Keys"]))
            counted.rru += sum(read_units([find(key)], consistent=asked["ConsistentRead"]) for key in asked["Keys"])
        case "PutItem" | "UpdateItem":
            count_write(counted, params, find)
        case "TransactWriteItems":
            counted.items.append(len(params["TransactItems"]))
            for action in params["TransactItems"]:
                [written] = action.values()
                count_write(counted, written, find, times=2)
        case _:
            assert operation == "Query"  # what it reads is known when it is answered


def count_write(counted: Bill, action: Item, find: Find, times: int = 1) -> None:
    """Count the larger one of the item before and after. The values that an update sets bound the growth."""
    key = action.get("Item") or action["Key"]
    before, after = size(find(key)), size(action.get("Item", {}))
    if "UpdateExpression" in action:
        values, names = (action.get(f"ExpressionAttribute{each}", {}) for each in ("Values", "Names"))
        after = before + size({"values": {"M": values}} | {name: {"NULL": True} for name in names.values()})
    units = times * max(1, math.ceil(max(before, after) / 1024))
    counted.wru += units
    counted.user_wru += units if "#USER#" in key["pk"]["S"] else 0


def read_units(items: Iterable[Item], *, consistent: bool = True) -> float:
    """Return the read units of one call."""
    units = max(1, math.ceil(sum(map(size, items)) / 4096))
    return units if consistent else units / 2


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
