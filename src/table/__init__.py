"""The table: one module for each stored thing. Only this folder knows a key.

primary_keys  the keys of all items
profiles     users, and the addresses that name them
events       events as they are stored
marks        what keeps an event out: values that come once, windows of time
replies      answers that an Idempotency-Key gives again
write        the write path: how events are stored
known        what is known of items while events are written
erasures     what is left of users who were erased
api_keys     the keys of accounts
refusal_counts  counts of what was refused
images       what the table's stream shows
expressions  conditions and updates, as data
calls        DynamoDB's calls: time limits, retries, errors
overlay      a table that remembers what would have been written
attribute_values  JSON values as DynamoDB's attribute values
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from table.calls import Store


@dataclass(frozen=True, slots=True)
class Account:
    """The items of one account. Whoever has it reaches nothing outside of that account."""

    table: "Store"
    name: str
