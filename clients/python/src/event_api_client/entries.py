"""Entries: the events of a batch in the form that is sent, each a JSON object in UTF-8 (contract, sections 8 and 9)."""

import re
import secrets
import time
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import simplejson

MAX_EVENTS = 100
MAX_BATCH_BYTES = 1024 * 1024
MAX_ENTRY_BYTES = 256 * 1024
ENVELOPE_BYTES = len(b'{"import":true,"events":[]}')
OLDEST = timedelta(days=35) - timedelta(hours=1)
"""How old an event may be when it is sent. The API accepts 35 days; the hour lets no request arrive too late."""

_RFC_3339 = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,6})\d*)?(?:([Zz])|([+-]\d\d:\d\d))", re.ASCII)


def to_json(value: object) -> bytes:
    """Return compact JSON in UTF-8. Decimals keep their digits. Raises TypeError or ValueError for what is not JSON."""
    try:
        text = simplejson.dumps(value, use_decimal=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode()
    except RecursionError as error:
        raise ValueError("The value has too many levels") from error
    except UnicodeEncodeError as error:
        raise ValueError(
            f"A text is not Unicode: it contains {error.object[error.start]!a}, half of a character"
        ) from error


def from_json(text: bytes | str) -> Any:
    """Return the value of a JSON text, its fractions as Decimals. Raises ValueError."""
    return simplejson.loads(text, use_decimal=True)


def entry_of(
    user: Mapping[str, Any], event: Mapping[str, Any], event_id: str | None, event_time: datetime | str | None
) -> tuple[str, datetime, bytes]:
    """Return the id, the time and the JSON of an event. Raises TypeError and ValueError."""
    for name, value in {"user": user, "event": event}.items():
        if not isinstance(value, Mapping):
            raise TypeError(f"{name} is a mapping, not {type(value).__name__}")
    if not isinstance(event_id, str | None):
        raise TypeError(f"event_id is a text, not {type(event_id).__name__}")
    if not isinstance(event_time, datetime | str | None):
        raise TypeError(f"event_time is a datetime or an RFC 3339 text, not {type(event_time).__name__}")
    if event_time is None and event_id is not None:
        event_time = time_of_uuid7(event_id)
        if event_time is None:
            raise ValueError(
                "event_id needs an event_time, because the two together identify the event: "
                "added again at another time, the event would be stored twice"
            )
    moment = parse_time(event_time) if isinstance(event_time, str) else event_time or datetime.now(timezone.utc)
    if moment.tzinfo is None:
        raise ValueError("event_time has no time zone: use datetime.now(timezone.utc), for example")
    if moment.timestamp() < time.time() - OLDEST.total_seconds():
        raise ValueError(
            f"event_time {iso(moment)} is 35 days ago or more. The API refuses it, except in an import: "
            "write the event to a file and run `event-api import FILE --from jsonl`"
        )
    event_id = event_id or new_uuid7(moment)
    sent_time = event_time if isinstance(event_time, str) else iso(moment)
    entry = to_json({"eventId": event_id, "eventTime": sent_time, "user": dict(user), "event": dict(event)})
    if len(entry) > MAX_ENTRY_BYTES:
        raise ValueError(f"The event has {len(entry):,} bytes of JSON. The API accepts {MAX_ENTRY_BYTES:,} at most")
    return event_id, moment, entry


def body_of(entries: Iterable[bytes], *, imported: bool = False) -> bytes:
    """Return the body of a batch."""
    start = b'{"import":true,"events":[' if imported else b'{"events":['
    return start + b",".join(entries) + b"]}"


def identifiers(entry: Mapping[str, Any]) -> set[str]:
    """Return the names that an entry gives to its user: `_id`, `email`, and the `email` of a login."""
    user, event = entry.get("user"), entry.get("event")
    login = event.get("login") if isinstance(event, dict) else None
    found = [user.get("_id"), user.get("email")] if isinstance(user, dict) else []
    found += [login.get("email")] if isinstance(login, dict) else []
    return {name.strip().lower() for name in found if isinstance(name, str) and name.strip()}


# --- Times and ids --------------------------------------------------------------------------------


def iso(moment: datetime) -> str:
    """Return a time as the API writes it: UTC, with milliseconds."""
    return moment.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_time(text: str) -> datetime:
    """Return the time that an RFC 3339 text names. Raises ValueError."""
    found = _RFC_3339.fullmatch(text)
    if not found:
        raise ValueError(f"{text!r} is not a time with an offset, such as 2026-11-24T08:00:00.120Z (RFC 3339)")
    day, clock, fraction, zulu, offset = found.groups()
    try:
        moment = datetime.fromisoformat(f"{day}T{clock}.{fraction or '0':0<6}{'+00:00' if zulu else offset}")
        return moment.astimezone(timezone.utc)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"There is no time {text!r}") from error


def new_uuid7(moment: datetime) -> str:
    """Return a UUIDv7 (RFC 9562) of a time. Ids of one millisecond sort by when they were made."""
    milliseconds = int(moment.timestamp() * 1000)
    if not 0 <= milliseconds < 1 << 48:
        raise ValueError(f"event_time is outside of what an id can hold: {moment}")
    within = time.time_ns() % 1_000_000 * 4096 // 1_000_000
    return str(UUID(int=milliseconds << 80 | 7 << 76 | within << 64 | 2 << 62 | secrets.randbits(62)))


def time_of_uuid7(event_id: str) -> datetime | None:
    """Return the time in a UUIDv7. None for other ids."""
    try:
        found = UUID(event_id)
    except ValueError:
        return None
    if str(found) != event_id.lower() or found.version != 7:
        return None
    try:
        return datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(milliseconds=found.int >> 80)
    except OverflowError:
        return None
