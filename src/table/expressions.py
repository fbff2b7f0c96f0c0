"""Conditions and updates as data.

`calls` writes them for DynamoDB, and `overlay` applies them to an item in memory. So the check of a batch predicts the
result of a write. `tests/integration/test_expressions.py` compares the two on all engines. A path is the attribute's
name and the names inside it. Any name works, also reserved words, dots and #.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Context, Decimal
from operator import gt, le
from typing import Any, NamedTuple

from table.attribute_values import serialize, serialized
from table.primary_keys import Key

Item = dict[str, Any]
Path = tuple[str, ...]
SUMS = Context(prec=38)  # DynamoDB's digits
ORDERS: Mapping[str, Callable[[Any, Any], bool]] = {"<=": le, ">": gt}


class Condition(NamedTuple):
    """A condition on the existing item. It has no truth value, so that `if condition` is never written for `holds`."""

    operator: str
    operands: tuple[Any, ...]  # an attribute's name and, for a comparison, a value; or two conditions

    def __and__(self, other: "Condition") -> "Condition":
        return Condition("AND", (self, other))

    def __or__(self, other: "Condition") -> "Condition":
        return Condition("OR", (self, other))

    def __bool__(self) -> bool:
        raise TypeError("a condition is not a truth value")

    def holds(self, item: Item) -> bool:
        """Return whether the condition is true of an item ({}: there is none).

        As in DynamoDB, a comparison is false if the attribute is absent or has another type: True is not 1.
        """
        if self.operator in ("AND", "OR"):
            held = [each.holds(item) for each in self.operands]
            return all(held) if self.operator == "AND" else any(held)
        name, *values = self.operands
        if not values or name not in item:
            return (name in item) == (self.operator == "attribute_exists") and not values
        there, wanted = serialize(item[name]), serialize(values[0])
        if self.operator == "=":
            return there == wanted
        return there.keys() == wanted.keys() and ORDERS[self.operator](item[name], values[0])

    def written(self, placeholders: "Placeholders") -> str:
        if self.operator in ("AND", "OR"):
            return f"({f' {self.operator} '.join(each.written(placeholders) for each in self.operands)})"
        name, *values = self.operands
        path = placeholders.path((name,))
        return f"{path} {self.operator} {placeholders.value(values[0])}" if values else f"{self.operator}({path})"


def Exists(name: str) -> Condition:  # noqa: N802 reads as the kind of condition that it makes
    return Condition("attribute_exists", (name,))


def Absent(name: str) -> Condition:  # noqa: N802
    return Condition("attribute_not_exists", (name,))


def Compare(name: str, operator: str, value: Any) -> Condition:  # noqa: N802
    return Condition(operator, (name, value))


def Equals(name: str, value: Any) -> Condition:  # noqa: N802
    """Return the condition that an attribute has this value. None: that it is absent."""
    return Absent(name) if value is None else Compare(name, "=", value)


IS_NEW = Absent("pk")  # no item has the key


def Ended(now: datetime, name: str = "expiresAt") -> Condition:  # noqa: N802
    """Return the condition that an item has ended. It then counts as absent, because TTL deletes items late."""
    return Compare(name, "<=", int(now.timestamp()))


def Free(now: datetime) -> Condition:  # noqa: N802
    """Return the condition that no item has the key, or only one that has ended.

    |-- the item counts -------- expiresAt --|-- the key is free (TTL deletes the item later)
    """
    return IS_NEW | Ended(now)


def has_ended(item: Item, now: datetime, name: str = "expiresAt") -> bool:
    return Ended(now, name).holds(item)


@dataclass(slots=True, kw_only=True)
class Changes:
    """The changes of an item. `adds` are numbers; an absent attribute counts as 0."""

    sets: dict[Path, Any] = field(default_factory=dict)
    removes: list[Path] = field(default_factory=list)
    adds: dict[str, Decimal] = field(default_factory=dict)

    def written(self, placeholders: "Placeholders") -> str:
        clauses = {
            "SET": [f"{placeholders.path(path)} = {placeholders.value(value)}" for path, value in self.sets.items()],
            "REMOVE": [placeholders.path(path) for path in self.removes],
            "ADD": [f"{placeholders.path((name,))} {placeholders.value(value)}" for name, value in self.adds.items()],
        }
        return " ".join(f"{verb} {', '.join(parts)}" for verb, parts in clauses.items() if parts)

    def applied(self, item: Item) -> Item:
        changed = _copied(item)
        for path, value in self.sets.items():
            _inner(changed, path)[path[-1]] = value
        for path in self.removes:
            _inner(changed, path).pop(path[-1], None)
        for name, value in self.adds.items():
            changed[name] = SUMS.add(changed.get(name, Decimal(0)), value)
        return changed


class Put(NamedTuple):
    key: Key
    attributes: Item
    condition: Condition | None = None

    @property
    def item(self) -> Item:
        return {**self.attributes, **self.key._asdict()}

    def applied(self, _: Item) -> Item | None:
        return self.item


class Update(NamedTuple):
    key: Key
    changes: Changes
    condition: Condition | None = None

    def applied(self, item: Item) -> Item | None:
        return self.changes.applied(item or self.key._asdict())


class Delete(NamedTuple):
    key: Key
    condition: Condition | None = None

    def applied(self, _: Item) -> Item | None:
        return None


class Check(NamedTuple):
    """An action that changes nothing and fails if its condition is false."""

    key: Key
    condition: Condition

    def applied(self, item: Item) -> Item | None:
        return item or None


Action = Put | Update | Delete | Check
VERBS: Mapping[type[Action], str] = {Put: "Put", Update: "Update", Delete: "Delete", Check: "ConditionCheck"}


def written(action: Action, table: str) -> dict[str, Any]:
    """Return an action in the form of the low-level API. If its condition fails, it returns the existing item."""
    placeholders = Placeholders()
    parameters: dict[str, Any] = {"TableName": table}
    parameters |= {"Item": action.item} if isinstance(action, Put) else {"Key": action.key._asdict()}
    if isinstance(action, Update):
        parameters["UpdateExpression"] = action.changes.written(placeholders)
    if action.condition is not None:
        parameters["ConditionExpression"] = action.condition.written(placeholders)
        parameters["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
    return serialized(parameters | placeholders.parameters())


def transaction(actions: Iterable[Action], table: str) -> list[Any]:
    """Return actions in the same form, as the items of a transaction."""
    return [{VERBS[type(action)]: written(action, table)} for action in actions]


class Placeholders:
    """The placeholders of an expression: for names, which can be reserved words, and for values."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._values: dict[str, Any] = {}

    def path(self, path: Path) -> str:
        return ".".join(self._names.setdefault(name, f"#{len(self._names)}") for name in path)

    def value(self, value: Any) -> str:
        placeholder = f":{len(self._values)}"
        self._values[placeholder] = value
        return placeholder

    def parameters(self) -> dict[str, Any]:
        names = {placeholder: name for name, placeholder in self._names.items()}
        both = {"ExpressionAttributeNames": names, "ExpressionAttributeValues": self._values}
        return {name: used for name, used in both.items() if used}


def _inner(item: Item, path: Path) -> Item:
    for name in path[:-1]:
        item = item[name]
    return item


def _copied(item: Item) -> Item:
    """Return a copy of an item and of the maps in its attributes."""
    return {name: dict(value) if isinstance(value, dict) else value for name, value in item.items()}
