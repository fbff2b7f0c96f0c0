"""The messages of the live feed, for new events and erased users."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any

import simplejson

from domain.ids import derived_id

# PutEvents takes less than 1 MB, counted by the entry, and so do a queue and a function behind a rule, counted by the
# event that EventBridge makes of it. The difference is for its envelope.
MAX_DETAIL_BYTES = 950_000
# The range of an integer: https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html
LEAST, GREATEST = -(2**63), 2**63 - 1

VERSION = 1  # of the details: another one where a field means something else
json_text = partial(simplejson.dumps, use_decimal=True, ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class EventCreated:
    """An event that was stored. Times are ISO 8601 in UTC."""

    account: str
    user_id: str
    event_id: str
    type: str
    created_on: str
    """When it happened."""
    received_on: str
    imported: bool
    payload: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class UserErased:
    """A user was erased. This is the last message about the user."""

    account: str
    user_id: str
    erased_on: str


News = EventCreated | UserErased


@dataclass(frozen=True, slots=True)
class Message:
    """The parts of an EventBridge event that this service sets."""

    detail_type: str
    detail: str
    """JSON."""

    @property
    def size(self) -> int:
        """Return the bytes of the detail, which is nearly all of the message."""
        return len(self.detail.encode())


def message_of(news: News) -> Message:
    """Return the message for the bus. `payloadAt` replaces a payload that the bus cannot carry."""
    if isinstance(news, UserErased):
        erased = _head(news, news.erased_on, "UserErased") | {"erasedOn": news.erased_on}
        return Message("UserErased", json_text(erased))
    detail = _head(news, news.created_on, news.event_id) | {
        "eventId": news.event_id,
        "type": news.type,
        "createdOn": news.created_on,
        "receivedOn": news.received_on,
        "imported": news.imported,
    }
    whole = Message("EventCreated", json_text(detail | {"payload": news.payload}))
    if whole.size <= MAX_DETAIL_BYTES and all(LEAST <= number <= GREATEST for number in _integers(news.payload)):
        return whole
    return Message("EventCreated", json_text(detail | {"payloadAt": f"/v1/user/{news.user_id}/events"}))


def _head(news: News, moment: str, name: str) -> dict[str, Any]:
    """Return the common fields. A message that is published again has the same id."""
    id_ = derived_id(datetime.fromisoformat(moment), news.account, news.user_id, name)
    return {"version": VERSION, "id": id_, "account": news.account, "userId": news.user_id}


def _integers(value: object) -> Iterator[Decimal]:
    """Yield every whole number in a JSON value."""
    if isinstance(value, Decimal):
        if value == value.to_integral_value():
            yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _integers(each)
    elif isinstance(value, list):
        for each in value:
            yield from _integers(each)
