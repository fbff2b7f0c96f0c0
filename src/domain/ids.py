"""UUIDs (RFC 9562) that begin with the millisecond of an event, so that they sort by time."""

from datetime import UTC, datetime
from hashlib import sha256
from secrets import randbits
from uuid import UUID

from domain.times import milliseconds_of, moment_of

VERSION_OF_NEW, VERSION_OF_DERIVED = 7, 8
RANDOM_BITS = 74  # the 80 bits after the time, without version and variant
LAST_MILLISECOND = milliseconds_of(datetime.max.replace(tzinfo=UTC))  # a UUID could name the year 10889


def new_id(moment: datetime) -> str:
    """Return a new UUIDv7 of the moment."""
    return _uuid(moment, VERSION_OF_NEW, randbits(RANDOM_BITS))


def derived_id(moment: datetime, *names: str) -> str:
    """Return a UUIDv8 of the moment. The bits after the millisecond are a digest of the names, in their order."""
    digest = sha256("\n".join(names).encode()).digest()
    return _uuid(moment, VERSION_OF_DERIVED, int.from_bytes(digest) >> (256 - RANDOM_BITS))


def time_of(an_id: str) -> datetime:
    """Return the moment of an id that this module made."""
    return moment_of(UUID(an_id).int >> 80)


def is_id(text: str) -> bool:
    """Return whether `text` is a UUID in its canonical form, as our ids are."""
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


def is_uuid7(text: str) -> bool:
    """Return whether `text` is a UUIDv7 in its canonical form whose time fits into a datetime."""
    return is_id(text) and text[14] == "7" and text[19] in "89ab" and UUID(text).int >> 80 <= LAST_MILLISECOND


def _uuid(moment: datetime, version: int, bits: int) -> str:
    high, low = bits >> 62, bits & ((1 << 62) - 1)
    return str(UUID(int=milliseconds_of(moment) << 80 | version << 76 | high << 64 | 2 << 62 | low))
