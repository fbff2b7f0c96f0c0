"""Short ways to say who exists and what is sent. What a test does not name does not matter to it."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from domain import users
from domain.collect import collect
from domain.events import CATALOGUE, ParsedEvent, parse_event
from domain.idempotency import Answer, IdempotencyKey
from domain.ids import milliseconds_of
from domain.profile import Profile
from domain.request import EventRequest, parse_request
from domain.store import Store

ANA = "ana@example.com"


def a_moment() -> datetime:
    """Now, to the millisecond, so that what is computed from it is exact."""
    return datetime.fromtimestamp(milliseconds_of(datetime.now(UTC)) / 1000, UTC)


def as_sent(value: Any) -> Any:
    """The value as it comes out of a request's JSON: every number is a Decimal."""
    return json.loads(json.dumps(value, default=_number), parse_int=Decimal, parse_float=Decimal)


def _number(value: object) -> float:
    assert isinstance(value, Decimal), f"{value!r} is not JSON"
    return float(value)


def an_example(event_type: str) -> dict[str, Any]:
    """A payload made of the examples that the fields of the type give."""
    fields = CATALOGUE[event_type].model_fields.items()
    payload = {name: field.examples[0] for name, field in fields if field.examples}
    return payload or ({} if CATALOGUE[event_type].may_be_empty else {"firstname": "Ana"})


def a_request(event: dict[str, Any], **user: Any) -> EventRequest:
    """a_request({"search": {"query": "shoes"}}, email="ana@example.com")"""
    return parse_request(as_sent({"user": user or {"email": ANA}, "event": event}))


def an_event(wire_name: str, payload: object) -> ParsedEvent:
    parsed = parse_event(wire_name, as_sent(payload))
    assert isinstance(parsed, ParsedEvent), parsed
    return parsed


def a_user(store: Store, email: str | None = ANA, **attributes: Any) -> Profile:
    """A user who exists; email=None: an anonymous one."""
    sent = attributes | ({"email": email} if email else {})
    return users.create(as_sent(sent), store, a_moment())[0]


def send(
    store: Store, event: dict[str, Any], now: datetime | None = None, key: IdempotencyKey | None = None, **user: Any
) -> Answer:
    """What comes of the event. Without a user: ana's."""
    return collect(a_request(event, **user), store, now or a_moment(), key)


def the_profile(store: Store, identifier: str = ANA) -> dict[str, Any]:
    """The user as callers see it."""
    return users.read(identifier, store).flat()


def the_events(store: Store, identifier: str = ANA) -> list[str]:
    """The ids of all events of the user, newest first, page by page."""
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page, after = users.events(identifier, {"limit": "100", **cursor}, store)
        found += [event.id for event in page]
        if after is None:
            return found
        cursor = {"cursor": after}
