"""Short builders for users and events. A test names only the values that matter to it."""

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, TypeVar

from domain.event_types import CATALOGUE, ParsedEvent, parse_event
from domain.ids import new_id
from domain.outcomes import IdempotencyKey, Outcome, StoredEvent
from domain.problems import Problem, Refused
from domain.profile import Profile
from domain.request import EventRequest, parse_batch, parse_request
from domain.times import iso, to_the_millisecond
from table import Account
from use_cases import users
from use_cases.collect import collect, collect_one

Result = TypeVar("Result")
ANA = "ana@example.com"


def a_moment() -> datetime:
    """Now, to the millisecond, so that what is computed from it is exact."""
    return to_the_millisecond(datetime.now(UTC))


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


def parsed(body: dict[str, Any], *problems: Problem) -> EventRequest:
    """The request that a body makes, received now."""
    return parse_request(body, a_moment(), problems)


def a_request(event: dict[str, Any], now: datetime | None = None, **user: Any) -> EventRequest:
    """a_request({"search": {"query": "shoes"}}, email="ana@example.com")"""
    return parse_request(as_sent({"user": user or {"email": ANA}, "event": event}), now or a_moment())


def an_entry(event: dict[str, Any], **more: Any) -> dict[str, Any]:
    """An event of a batch: an_entry({"search": {"query": "shoes"}}, eventId="e-1", eventTime=a_moment(), email=ANA)

    Without an eventId it has a UUIDv7 of its time.
    """
    moment = more.pop("eventTime", None) or a_moment()
    known = {"eventId": more.pop("eventId", None) or new_id(moment), "eventTime": iso(moment)}
    return {**known, "user": more or {"email": ANA}, "event": event}


def send_batch(
    account: Account,
    entries: Sequence[object],
    now: datetime | None = None,
    *,
    imported: bool = False,
    upsert: bool = False,
) -> list[Outcome | Refused]:
    """Send a batch of events, made with an_entry; return their outcomes."""
    moment = now or a_moment()
    body = as_sent({"events": list(entries), "import": imported})
    return collect(parse_batch(body, moment, lambda _: None), account, moment, upsert=upsert)


def an_event(wire_name: str, payload: object) -> ParsedEvent:
    parsed = parse_event(wire_name, as_sent(payload))
    assert isinstance(parsed, ParsedEvent), parsed
    return parsed


def a_user(account: Account, email: str | None = ANA, **attributes: Any) -> Profile:
    """A user who exists; email=None: an anonymous one."""
    sent = attributes | ({"email": email} if email else {})
    return users.create(as_sent(sent), account, a_moment())[0]


def send(
    account: Account,
    event: dict[str, Any],
    now: datetime | None = None,
    key: IdempotencyKey | None = None,
    *,
    upsert: bool = False,
    **user: Any,
) -> Outcome:
    """Send an event and return its outcome. Without a user it is ana's."""
    moment = now or a_moment()
    return collect_one(a_request(event, moment, **user), account, moment, key, upsert=upsert)


def the_profile(account: Account, identifier: str = ANA) -> dict[str, Any]:
    """The user as callers see it."""
    return users.get(identifier, account).flat()


def the_pages(
    account: Account, identifier: str = ANA, now: datetime | None = None, **query: str
) -> Iterator[list[StoredEvent]]:
    """Yield the pages of the user's timeline."""
    cursor: str | None = ""
    while cursor is not None:
        asked = query | ({"cursor": cursor} if cursor else {})
        page, cursor = users.timeline(identifier, asked, account, now or a_moment())
        yield list(page)


def the_events(account: Account, identifier: str = ANA, **query: str) -> list[str]:
    """Return the ids of all events of the user, newest first."""
    query = {"limit": "100"} | query
    return [event.id for page in the_pages(account, identifier, None, **query) for event in page]


def at_once(times: int, what: Callable[[int], Result]) -> list[Result]:
    """Call a function with each number below `times`, all at the same time; return the results in this order."""
    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(what, range(times)))
