"""Moments and how they are written: contract sections 6 and 9.

A moment is a datetime with an offset, exact to the millisecond wherever it is stored or compared.
"""

import re
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# RFC 3339, section 5.6. A leap second is no moment that Python knows, so it is none here.
RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def iso(moment: datetime) -> str:
    """ISO 8601 in UTC, to the millisecond: 2026-11-23T07:25:00.000Z."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def milliseconds_of(moment: datetime) -> int:
    """Whole milliseconds since 1970."""
    return (moment - EPOCH) // timedelta(milliseconds=1)


def moment_of(milliseconds: int) -> datetime:
    """The moment so many milliseconds after 1970, in UTC."""
    return EPOCH + timedelta(milliseconds=milliseconds)


def to_the_millisecond(moment: datetime) -> datetime:
    """The moment without what is finer than a millisecond."""
    return moment_of(milliseconds_of(moment))


def parse_rfc_3339(text: object) -> datetime | None:
    """The moment that a text in RFC 3339 names, to the millisecond and in UTC. None when it names none."""
    if not isinstance(text, str) or not RFC_3339.fullmatch(text):
        return None
    try:
        return to_the_millisecond(datetime.fromisoformat(text.upper()).astimezone(UTC))
    except (ValueError, OverflowError):  # the 30th of February; beyond the year 9999 in UTC
        return None
