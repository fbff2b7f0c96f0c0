"""A table that keeps its writes in memory, for the check of a batch.

The check uses the same code as a batch that is stored. Each event is checked against the stored items and the events
before it. Conditions (expressions.py) are evaluated on the items that were read.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from domain.problems import Unavailable
from table.attribute_values import size_of
from table.calls import MAX_ITEM_BYTES, Reasons, Store
from table.expressions import Action, Item
from table.primary_keys import Key


@dataclass(frozen=True, slots=True)
class Overlay(Store):
    """A table that is never written. `written` has the items as writes would leave them (None: deleted)."""

    threads: ClassVar[int] = 1
    written: dict[Key, Item | None] = field(default_factory=dict)

    @classmethod
    def over(cls, table: Store) -> "Overlay":
        return cls(table.client, table.name, table.deadline)

    def get_all(self, wanted: Sequence[Key], *, consistent: bool = True) -> list[Item | Unavailable | None]:
        others = [key for key in wanted if key not in self.written]
        found = Store.get_all(self, others, consistent=consistent)
        known = self.written | dict(zip(others, found, strict=True))
        return [known[key] for key in wanted]

    def partition(self, pk: str, between: tuple[str, str] | None = None, **options: Any) -> Iterator[Item]:
        found: dict[str, Item | None] = {item["sk"]: item for item in Store.partition(self, pk, between, **options)}
        for (written_pk, sk), item in self.written.items():
            if written_pk == pk and (between is None or between[0] <= sk <= between[1]):
                found[sk] = item
        yield from (item for _, item in sorted(found.items()) if item is not None)

    def try_write(self, actions: Sequence[Action], *, field: str = "") -> Reasons | None:  # noqa: ARG002 Table's
        there = self.get_all([action.key for action in actions])
        reasons = Reasons()
        after: dict[Key, Item | None] = {}
        for index, (action, found) in enumerate(zip(actions, there, strict=True)):
            if isinstance(found, Unavailable):
                raise found
            item = found or {}
            if action.condition is not None and not action.condition.holds(item):
                reasons.failed[index] = item
                continue
            changed = after[action.key] = action.applied(item)
            if changed and _size(changed) > MAX_ITEM_BYTES:
                reasons.too_large.add(index)
        if reasons != Reasons():
            return reasons
        self.written.update(after)
        return None


def _size(item: Item) -> int:
    return sum(len(name.encode()) + size_of(value, exact=True) for name, value in item.items())
