"""Ids: UUIDs of version 7 (RFC 9562), which sort by the time they were made."""

from datetime import UTC, datetime, timedelta
from secrets import randbits
from uuid import UUID

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def new_id(now: datetime) -> str:
    """A UUIDv7 of `now`, to the millisecond; the other 74 bits are random."""
    milliseconds = milliseconds_of(now)
    return str(UUID(int=milliseconds << 80 | 7 << 76 | randbits(12) << 64 | 2 << 62 | randbits(62)))


def time_of(new_id: str) -> datetime:
    """When the id was made."""
    return datetime.fromtimestamp((UUID(new_id).int >> 80) / 1000, UTC)


def is_id(text: str) -> bool:
    """Whether `text` could be an id of ours: a UUID in its canonical form."""
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


def milliseconds_of(moment: datetime) -> int:
    """Whole milliseconds since 1970."""
    return (moment - EPOCH) // timedelta(milliseconds=1)
