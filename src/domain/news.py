"""The messages of the live feed, for new events and erased users."""

from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple

import simplejson

from domain.ids import derived_id
from domain.outcomes import StoredEvent
from domain.times import iso
from domain.values import parts

# PutEvents takes less than 1 MB, counted by the entry, and so do a queue and a function behind a rule, counted by the
# event that EventBridge makes of it. The difference is for its envelope.
MAX_DETAIL_BYTES = 950_000
# The range of an integer: https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html
LEAST, GREATEST = -(2**63), 2**63 - 1

VERSION = 1  # of the details: another one where a field means something else
json_text = partial(simplejson.dumps, use_decimal=True, ensure_ascii=False, separators=(",", ":"))


class Message(NamedTuple):
    """The parts of an EventBridge event that this service sets."""

    detail_type: str
    detail: str  # JSON

    @property
    def size(self) -> int:
        """Return the bytes of the detail, which is nearly all of the message."""
        return len(self.detail.encode())


def event_created(account: str, user_id: str, event: StoredEvent) -> Message:
    """Return the message of a new event. `payloadAt` replaces a payload that the bus cannot carry."""
    created_on = iso(event.happened_at)
    detail = _head(account, user_id, created_on, event.id) | {
        "eventId": event.id,
        "type": event.type,
        "createdOn": created_on,
        "receivedOn": event.received_on or created_on,
        "imported": event.imported,
    }
    whole = Message("EventCreated", json_text(detail | {"payload": event.payload}))
    if whole.size <= MAX_DETAIL_BYTES and not any(map(_is_out_of_range, parts(event.payload))):
        return whole
    return Message("EventCreated", json_text(detail | {"payloadAt": f"/v1/user/{user_id}/events"}))


def user_erased(account: str, user_id: str, erased_on: str) -> Message:
    """Return the message of an erased user, which is the last one about the user."""
    detail = _head(account, user_id, erased_on, "UserErased") | {"erasedOn": erased_on}
    return Message("UserErased", json_text(detail))


def _head(account: str, user_id: str, moment: str, name: str) -> dict[str, Any]:
    """Return the common fields. A message that is published again has the same id."""
    id_ = derived_id(datetime.fromisoformat(moment), account, user_id, name)
    return {"version": VERSION, "id": id_, "account": account, "userId": user_id}


def _is_out_of_range(value: object) -> bool:
    """Return whether a JSON value is a whole number that the bus cannot carry."""
    return isinstance(value, Decimal) and value == value.to_integral_value() and not LEAST <= value <= GREATEST
