"""JSON values as DynamoDB attribute values, and which of them DynamoDB cannot hold.

A JSON value is here str, bool, None, Decimal, list or dict: every number is a Decimal, so none drifts.
Limits: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
"""

from collections.abc import Iterator, Mapping
from decimal import Context, Decimal, Inexact, InvalidOperation, Overflow, Subnormal
from itertools import islice
from typing import Any, TypeAlias

from domain.problems import Problem

AttributeValue: TypeAlias = dict[str, Any]

MAX_LEVELS = 32  # the innermost holds no list or object, not even an empty one
MAX_NAME_BYTES = 50_000  # DynamoDB takes 64 KB, DynamoDB Local cannot read such a name back
MAX_PROBLEMS = 100
MAX_NAME_SHOWN = 64
# 38 digits between 1E-130 and 9.99...E+125. Trailing zeros are no digits, so Rounded is not trapped.
NUMBERS = Context(prec=38, Emin=-130, Emax=125, traps=[Inexact, InvalidOperation, Overflow, Subnormal])

TOO_DEEP = f"DynamoDB holds at most {MAX_LEVELS} levels of lists and objects."


def as_text(value: object) -> str:
    """An identifier as text: trimmed; 123, 123.0 and "123" are the same. Empty for what is none."""
    if isinstance(value, Decimal) and value.is_finite() and abs(value.adjusted()) <= 256:
        plain = f"{value or 0:f}"
        return plain.rstrip("0").rstrip(".") if "." in plain else plain
    return value.strip() if isinstance(value, str) else ""


def as_number(value: object) -> Decimal | None:
    """A number, or a numeric string in JSON's notation; None for anything else."""
    if isinstance(value, str):
        try:
            value = Decimal(value.strip()) if value.isascii() and "_" not in value else None
        except InvalidOperation:
            return None
    return value if isinstance(value, Decimal) and value.is_finite() else None


def serialize(value: object) -> AttributeValue:
    """The attribute value, in the low-level API's form, of a JSON value without `unstorable` parts."""
    if isinstance(value, str):
        return {"S": value}
    if isinstance(value, bool):
        return {"BOOL": value}
    if value is None:
        return {"NULL": True}
    if isinstance(value, Decimal | int):
        return {"N": _number_text(Decimal(value))}
    if isinstance(value, Mapping):
        return {"M": {name: serialize(item) for name, item in value.items()}}
    if isinstance(value, list | tuple):
        return {"L": [serialize(item) for item in value]}
    raise TypeError(f"{type(value).__name__} is not a JSON value")


def deserialize(attribute: AttributeValue) -> Any:
    """The JSON value that `serialize` made this of."""
    ((kind, value),) = attribute.items()
    if kind == "N":
        number = Decimal(value)
        # DynamoDB may write 1E+125 with all its zeros; as JSON it would be many times larger than what is stored.
        return number if number.adjusted() < 38 else NUMBERS.normalize(number)
    if kind == "M":
        return {name: deserialize(item) for name, item in value.items()}
    if kind == "L":
        return [deserialize(item) for item in value]
    return None if kind == "NULL" else value


def unstorable(value: object, field: str) -> Iterator[Problem]:
    """What of a JSON value DynamoDB cannot hold, each part named by its dotted path below `field`.

    MAX_PROBLEMS of it at most: Lambda returns no answer of more than 6 MB.
    """
    return islice(_unstorable(value, field), MAX_PROBLEMS)


def _unstorable(value: object, field: str, level: int = 1) -> Iterator[Problem]:
    if isinstance(value, str):
        if not _is_unicode(value):
            yield Problem("Invalid text", "A lone surrogate is not a character. Send valid Unicode.", field)
    elif isinstance(value, Decimal):
        if not _fits(value):
            yield Problem("Invalid number", "A number has at most 38 digits, between 1E-130 and 9.99E+125.", field)
    elif isinstance(value, dict | list):
        if level >= MAX_LEVELS:
            yield Problem("Too many levels", TOO_DEEP, field)
            return
        for name, item in value.items() if isinstance(value, dict) else enumerate(value):
            if isinstance(name, str) and not (name and _is_name(name)):
                yield Problem("Invalid name", "A name is not empty, valid Unicode, 50,000 bytes at most.", field)
            yield from _unstorable(item, f"{field}.{str(name)[:MAX_NAME_SHOWN]}", level + 1)


def _number_text(number: Decimal) -> str:
    number = NUMBERS.normalize(number) or Decimal(0)  # DynamoDB has no -0
    return f"{number:f}" if -38 <= number.adjusted() < 38 else str(number)


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
