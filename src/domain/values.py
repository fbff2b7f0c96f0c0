"""JSON values: identifiers and numbers in them, and which of them DynamoDB cannot hold.

Here a JSON value is str, bool, None, Decimal, list or dict. Every number is a Decimal, so it stays exact.
Limits: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
"""

from collections.abc import Iterable, Iterator
from decimal import Context, Decimal, Inexact, InvalidOperation, Overflow, Subnormal
from itertools import islice

from domain.problems import Problem, invalid_name, invalid_number, invalid_text, too_many_levels

MAX_LEVELS = 32  # the innermost holds no list or object, not even an empty one
MAX_NAME_BYTES = 50_000  # DynamoDB takes 64 KB, DynamoDB Local cannot read such a name back
MAX_PROBLEMS = 100
MAX_NAME_SHOWN = 64
# 38 digits between 1E-130 and 9.99...E+125. Trailing zeros do not count, so Rounded is not trapped.
NUMBERS = Context(prec=38, Emin=-130, Emax=125, traps=[Inexact, InvalidOperation, Overflow, Subnormal])


def as_text(value: object) -> str:
    """Return an identifier as trimmed text: 123, 123.0 and "123" are the same. Empty if it is not an identifier."""
    if isinstance(value, Decimal) and value.is_finite() and abs(value.adjusted()) <= 256:
        plain = f"{value or 0:f}"
        return plain.rstrip("0").rstrip(".") if "." in plain else plain
    return value.strip() if isinstance(value, str) else ""


def similar_names(names: Iterable[str], known: Iterable[str]) -> dict[str, str]:
    """Return the names that differ from a known one only in case or punctuation, each with that known name."""
    plain = {letters_of(name): name for name in known}
    return {name: plain[letters_of(name)] for name in names if letters_of(name) in plain and name not in plain.values()}


def letters_of(name: str) -> str:
    """Return a name without case and punctuation."""
    return "".join(each for each in name[:MAX_NAME_SHOWN] if each.isalnum()).lower()


def as_number(value: object) -> Decimal | None:
    """Return the number of a number or of a numeric string in JSON's notation; None for anything else."""
    if isinstance(value, str):
        try:
            value = Decimal(value.strip()) if value.isascii() and "_" not in value else None
        except InvalidOperation:
            return None
    return value if isinstance(value, Decimal) and value.is_finite() else None


def unstorable(value: object, field: str) -> list[Problem]:
    """Return what DynamoDB cannot hold of a JSON value, each part with its dotted path below `field` ("": no field).

    There are MAX_PROBLEMS at most, because Lambda returns at most 6 MB.
    """
    return list(islice(_unstorable(value, field), MAX_PROBLEMS))


def _unstorable(value: object, field: str, level: int = 1) -> Iterator[Problem]:
    if isinstance(value, str):
        if not _is_unicode(value):
            yield invalid_text(field)
    elif isinstance(value, Decimal):
        if not _fits(value):
            yield invalid_number(field)
    elif isinstance(value, dict | list):
        if level >= MAX_LEVELS:
            yield too_many_levels(MAX_LEVELS, field)
            return
        for name, item in value.items() if isinstance(value, dict) else enumerate(value):
            if isinstance(name, str) and not (name and _is_name(name)):
                yield invalid_name(field)
            yield from _unstorable(item, f"{field}.{str(name)[:MAX_NAME_SHOWN]}".removeprefix("."), level + 1)


def parts(value: object) -> Iterator[object]:
    """Yield a JSON value and each value inside it."""
    waiting = [value]
    while waiting:
        part = waiting.pop()
        waiting += part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
        yield part


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_name(text: str) -> bool:
    return _is_unicode(text) and len(text.encode()) <= MAX_NAME_BYTES


def _fits(number: Decimal) -> bool:
    try:
        return NUMBERS.normalize(number).is_finite()
    except (Inexact, InvalidOperation, Overflow, Subnormal):
        return False
