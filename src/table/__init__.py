"""The table: one module for each kind of item.

    primary_keys      the keys of all items
    profiles          users and their email addresses
    events            stored events
    marks             restrictions: marks of unique values, and locks of windows
    replies           responses stored under an Idempotency-Key
    write             the write path: decide and store events
    known             items that were read while events are written
    erasures          erased users and receipts
    api_keys          the API keys of accounts
    refusal_counts    counts of refused requests
    images            records of the table's stream
    expressions       conditions and updates, as data
    calls             calls of DynamoDB: time limits, retries, errors
    overlay           a table that keeps its writes in memory, for the check of a batch
    attribute_values  JSON values as DynamoDB's attribute values

No other package builds a key.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from table.calls import Store


@dataclass(frozen=True, slots=True)
class Account:
    """An account and its table. Every key that is built from it belongs to the account."""

    table: "Store"
    name: str
    event_days: int = 0
    """The number of days for which new events are kept. 0: without a limit."""
