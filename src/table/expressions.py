"""Conditions and updates as data.

`calls` writes them for DynamoDB. `overlay` applies them to an item in memory, so that the check of a batch predicts the
result of a write. tests/integration/test_expressions.py compares the two on all engines. A path is the attribute's name
and the names inside it. Any name works, also reserved words, dots and #.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Context, Decimal
from operator import gt, le
from typing import Any

from table.values import serialize, to_item

Item = dict[str, Any]
Path = tuple[str, ...]
SUMS = Context(prec=38)  # DynamoDB's digits
ORDERS: Mapping[str, Callable[[Any, Any], bool]] = {"<=": le, ">": gt}


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition on the item that exists; {} if there is none."""

    def __and__(self, other: "Condition") -> "Condition":
        return Both("AND", self, other)

    def __or__(self, other: "Condition") -> "Condition":
        return Both("OR", self, other)

    def holds(self, item: Item) -> bool:
        raise NotImplementedError

    def written(self, placeholders: "Placeholders") -> str:
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Exists(Condition):
    name: str

    def holds(self, item: Item) -> bool:
        return self.name in item

    def written(self, placeholders: "Placeholders") -> str:
        return f"attribute_exists({placeholders.path((self.name,))})"


@dataclass(frozen=True, slots=True)
class Absent(Condition):
    name: str

    def holds(self, item: Item) -> bool:
        return self.name not in item

    def written(self, placeholders: "Placeholders") -> str:
        return f"attribute_not_exists({placeholders.path((self.name,))})"


@dataclass(frozen=True, slots=True)
class Compare(Condition):
    """Compares an attribute. False if it is absent or has another type, as in DynamoDB: True is not 1."""

    name: str
    operator: str
    value: Any

    def holds(self, item: Item) -> bool:
        if self.name not in item:
            return False
        there, wanted = serialize(item[self.name]), serialize(self.value)
        if self.operator == "=":
            return there == wanted
        return there.keys() == wanted.keys() and ORDERS[self.operator](item[self.name], self.value)

    def written(self, placeholders: "Placeholders") -> str:
        return f"{placeholders.path((self.name,))} {self.operator} {placeholders.value(self.value)}"


@dataclass(frozen=True, slots=True)
class Both(Condition):
    word: str
    first: Condition
    second: Condition

    def holds(self, item: Item) -> bool:
        held = (self.first.holds(item), self.second.holds(item))
        return all(held) if self.word == "AND" else any(held)

    def written(self, placeholders: "Placeholders") -> str:
        return f"({self.first.written(placeholders)} {self.word} {self.second.written(placeholders)})"


IS_NEW = Absent("pk")  # no item has the key


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """The changes of an item. `adds` are numbers; an absent attribute counts as 0."""

    sets: Mapping[Path, Any] = field(default_factory=dict)
    removes: tuple[Path, ...] = ()
    adds: Mapping[str, Decimal] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.sets or self.removes or self.adds)

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


@dataclass(frozen=True, slots=True)
class Put:
    item: Item
    condition: Condition | None = None

    @property
    def key(self) -> dict[str, str]:
        return {"pk": self.item["pk"], "sk": self.item["sk"]}

    def applied(self, _: Item) -> Item | None:
        return self.item

    def written(self) -> dict[str, Any]:
        placeholders = Placeholders()
        condition = _written_condition(self.condition, placeholders)
        return {"Item": to_item(self.item), **condition, **placeholders.parameters()}


@dataclass(frozen=True, slots=True)
class Update:
    key: dict[str, str]
    changes: Changes
    condition: Condition | None = None

    def applied(self, item: Item) -> Item | None:
        return self.changes.applied(item or self.key)

    def written(self) -> dict[str, Any]:
        placeholders = Placeholders()
        update = {"UpdateExpression": self.changes.written(placeholders)}
        condition = _written_condition(self.condition, placeholders)
        return {"Key": to_item(self.key), **update, **condition, **placeholders.parameters()}


@dataclass(frozen=True, slots=True)
class Delete:
    key: dict[str, str]
    condition: Condition | None = None

    def applied(self, _: Item) -> Item | None:
        return None

    def written(self) -> dict[str, Any]:
        placeholders = Placeholders()
        condition = _written_condition(self.condition, placeholders)
        return {"Key": to_item(self.key), **condition, **placeholders.parameters()}


@dataclass(frozen=True, slots=True)
class Check:
    """An action that changes nothing, and fails if its condition does not hold."""

    key: dict[str, str]
    condition: Condition

    def applied(self, item: Item) -> Item | None:
        return item or None

    def written(self) -> dict[str, Any]:
        placeholders = Placeholders()
        condition = _written_condition(self.condition, placeholders)
        return {"Key": to_item(self.key), **condition, **placeholders.parameters()}


Action = Put | Update | Delete | Check
VERBS: Mapping[type[Action], str] = {Put: "Put", Update: "Update", Delete: "Delete", Check: "ConditionCheck"}


class Placeholders:
    """Placeholders of an expression for names, which can be reserved words, and for values."""

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
        parameters: dict[str, Any] = {"ExpressionAttributeNames": names} if names else {}
        return parameters | ({"ExpressionAttributeValues": to_item(self._values)} if self._values else {})


def _written_condition(condition: Condition | None, placeholders: Placeholders) -> dict[str, str]:
    return {"ConditionExpression": condition.written(placeholders)} if condition else {}


def _inner(item: Item, path: Path) -> Item:
    for name in path[:-1]:
        item = item[name]
    return item


def _copied(item: Item) -> Item:
    """Return a copy of an item and of the maps in its attributes."""
    return {name: dict(value) if isinstance(value, dict) else value for name, value in item.items()}
