"""The table: one module for each kind of item. No other package builds a key."""

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from table.calls import Store


class Account(NamedTuple):
    """An account and its table. Every key that is built from it belongs to the account."""

    table: "Store"
    name: str
    event_days: int = 0  # the number of days for which new events are kept; 0: without a limit
