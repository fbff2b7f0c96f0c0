"""Moments and their texts: contract sections 6 and 9.

A moment is a datetime with an offset. It is exact to the millisecond when it is stored or compared.
"""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# RFC 3339, section 5.6. Python knows no leap second, so one is not accepted.
RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]([01]\d|2[0-3]):[0-5]\d)", re.ASCII)


def iso(moment: datetime) -> str:
    """Return ISO 8601 in UTC, to the millisecond: 2026-11-23T07:25:00.000Z."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def milliseconds_of(moment: datetime) -> int:
    """Return the whole milliseconds since 1970."""
    return (moment - EPOCH) // timedelta(milliseconds=1)


def seconds_of(moment: datetime) -> int:
    """Return the seconds since 1970, rounded up: nothing ends before the moment at which it has to end."""
    return -(-milliseconds_of(moment) // 1000)


def moment_of(milliseconds: int) -> datetime:
    """Return the moment that many milliseconds after 1970, in UTC."""
    return EPOCH + timedelta(milliseconds=milliseconds)


def to_the_millisecond(moment: datetime) -> datetime:
    """Return the moment, cut off to the millisecond."""
    return moment_of(milliseconds_of(moment))


# Forms that callers write instead, and the fault of each.
FAULTS = {
    r"-?\d+(\.\d+)?": " This is a Unix time.",
    r"\d{4}-\d\d-\d\d": " The time of day is missing.",
    r"\d{4}-\d\d-\d\d\s.*": " There is no T between date and time.",
    r"\d{4}-\d\d-\d\dT\d\d:\d\d([Zz]|[+-].*)?": " The seconds are missing.",
    r"\d{4}-\d\d-\d\dT[\d:.]+": " The offset is missing.",
    r".*[+-]\d{4}": " The offset lacks its colon.",
    r".*[+-]\d\d:\d\d": " There is no such date, time or offset.",
    r"\d{4}-\d\d-\d\dT[\d:.]+[Zz]": " There is no such date or time.",
}


def parse_rfc_3339(text: object) -> datetime | None:
    """Return the moment that a text in RFC 3339 names, to the millisecond and in UTC. None if it names none."""
    if not isinstance(text, str) or not RFC_3339.fullmatch(text):
        return None
    try:
        return to_the_millisecond(datetime.fromisoformat(text.upper()).astimezone(UTC))
    except (ValueError, OverflowError):  # February 30; after the year 9999 in UTC
        return None


def fault_of_rfc_3339(value: object) -> str:
    """Return a sentence that says what is wrong with a time that cannot be parsed; "" if that is not known."""
    text = value if isinstance(value, str) else "0" if isinstance(value, Decimal) else ""
    return next((fault for form, fault in FAULTS.items() if re.fullmatch(form, text[:64], re.ASCII)), "")
