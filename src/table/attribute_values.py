"""JSON values as DynamoDB's attribute values, in the form of the low-level API, and their sizes.

Sizes: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
"""

import json
from collections.abc import Mapping
from decimal import Decimal
from functools import cached_property
from hashlib import sha256
from typing import Any, TypeAlias

from domain.values import NUMBERS

AttributeValue: TypeAlias = dict[str, Any]
ITEMS = {"Item", "Key", "ExclusiveStartKey", "ExpressionAttributeValues"}  # parameters of calls
DIGEST_LENGTH = 32  # of the 64 hexadecimal digits


class Document(dict[str, Any]):
    """A JSON object that is serialized only once: its size, digest and item use the same result."""

    @cached_property
    def attribute(self) -> AttributeValue:
        return {"M": {name: serialize(value) for name, value in self.items()}}


def to_item(values: Mapping[str, Any]) -> dict[str, AttributeValue]:
    return {name: serialize(value) for name, value in values.items()}


def serialized(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of a call, with attribute values in those that consist of them."""
    return {name: to_item(value) if name in ITEMS else value for name, value in parameters.items()}


def from_item(item: Mapping[str, Any]) -> dict[str, Any]:
    return {name: deserialize(value) for name, value in item.items()}


def serialize(value: object) -> AttributeValue:
    """Return the attribute value of a JSON value without `unstorable` parts. Raise TypeError for other values."""
    if isinstance(value, str):
        return {"S": value}
    if isinstance(value, bool):
        return {"BOOL": value}
    if value is None:
        return {"NULL": True}
    if isinstance(value, Decimal | int):
        return {"N": _number_text(Decimal(value))}
    if isinstance(value, Mapping):
        known = value.attribute if isinstance(value, Document) else None
        return known or {"M": {name: serialize(item) for name, item in value.items()}}
    if isinstance(value, list | tuple):
        return {"L": [serialize(item) for item in value]}
    raise TypeError(f"{type(value).__name__} is not a JSON value")


def deserialize(attribute: AttributeValue) -> Any:
    """Return the JSON value of an attribute value: the reverse of `serialize`."""
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


def size_of(value: object, *, exact: bool = False) -> int:
    """Return the bytes that DynamoDB counts for a JSON value.

    Numbers are overestimated, because DynamoDB documents their size only approximately. `exact` is the best estimate.
    """
    if isinstance(value, str):
        return len(value.encode())
    if value is None or isinstance(value, bool):
        return 1
    if isinstance(value, Mapping):
        return 3 + sum(1 + len(name.encode()) + size_of(each, exact=exact) for name, each in value.items())
    if isinstance(value, list | tuple):
        return 3 + sum(1 + size_of(each, exact=exact) for each in value)
    assert isinstance(value, Decimal | int)
    return _number_size(Decimal(value)) if exact else len(Decimal(value).as_tuple().digits) // 2 + 3


def _number_size(number: Decimal) -> int:
    """Return one byte, one for each pair of digits counted from the decimal point, and one for a minus."""
    sign, digits, exponent = NUMBERS.normalize(number).as_tuple()
    assert isinstance(exponent, int)
    return 1 + sign + (len(digits) + exponent % 2 + 1) // 2 if number else 1


def digest_of(event_type: str, payload: Mapping[str, Any]) -> str:
    """Return the digest of an event. It is equal for equal events: 1 equals 1.0, and the order of names is ignored."""
    return sha256(canonical(event_type, payload)).hexdigest()[:DIGEST_LENGTH]


def canonical(event_type: str, payload: Mapping[str, Any]) -> bytes:
    """Return the canonical form of an event. It has at least as many bytes as DynamoDB counts for the payload."""
    return json.dumps([event_type, serialize(payload)], sort_keys=True, separators=(",", ":")).encode()


def _number_text(number: Decimal) -> str:
    number = NUMBERS.normalize(number) or Decimal(0)  # DynamoDB has no -0
    return f"{number:f}" if -38 <= number.adjusted() < 38 else str(number)
