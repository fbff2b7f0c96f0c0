"""Ids: UUIDs (RFC 9562) that begin with the millisecond at which something happened, so they sort by it."""

from datetime import UTC, datetime
from hashlib import sha256
from secrets import randbits
from uuid import UUID

from domain.times import milliseconds_of, moment_of

VERSION_OF_OURS, VERSION_OF_DERIVED = 7, 8
RANDOM_BITS = 74  # what version and variant leave of the 80 bits behind the time
LAST_MILLISECOND = milliseconds_of(datetime.max.replace(tzinfo=UTC))  # a UUID could name the year 10889


def new_id(moment: datetime) -> str:
    """A UUIDv7 of the moment; the bits behind the millisecond are random."""
    return _uuid(moment, VERSION_OF_OURS, randbits(RANDOM_BITS))


def derived_id(moment: datetime, *names: str) -> str:
    """A UUIDv8 of the moment; the bits behind the millisecond are a digest of the names, in their order."""
    digest = sha256("\n".join(names).encode()).digest()
    return _uuid(moment, VERSION_OF_DERIVED, int.from_bytes(digest) >> (256 - RANDOM_BITS))


def time_of(an_id: str) -> datetime:
    """The moment of an id that this module made."""
    return moment_of(UUID(an_id).int >> 80)


def is_id(text: str) -> bool:
    """Whether `text` could be an id of ours: a UUID in its canonical form."""
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


def is_uuid7(text: str) -> bool:
    """Whether `text` is a UUIDv7 in its canonical form, which brings its own time, of a year that a date can have."""
    return is_id(text) and text[14] == "7" and text[19] in "89ab" and UUID(text).int >> 80 <= LAST_MILLISECOND


def _uuid(moment: datetime, version: int, bits: int) -> str:
    high, low = bits >> 62, bits & ((1 << 62) - 1)
    return str(UUID(int=milliseconds_of(moment) << 80 | version << 76 | high << 64 | 2 << 62 | low))
