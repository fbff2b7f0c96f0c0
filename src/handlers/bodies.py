"""Read the body of a request (base64, gzip, UTF-8, JSON, sizes, duplicate names) and the headers about it."""

import base64
import json
import re
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import Any

from domain import problems
from domain.outcomes import MAX_KEY_LENGTH, IdempotencyKey
from domain.problems import Invalid, Problem, Refused, TooLarge, UnsupportedEncoding
from domain.values import parts

MAX_BODY_BYTES = 256 * 1024
GZIP = b"\x1f\x8b"
GZIP_FORMAT = 16 + zlib.MAX_WBITS
MAX_MEMBERS = 100

NOT_UTF_8 = "The body is not text in UTF-8. It may be compressed with gzip, once."
TOO_DEEP = "Lists and objects are nested too deeply."
BROKEN_GZIP = "The body begins like gzip, but it is cut off or broken."
EMPTY = "The body is empty. Send a JSON object, which starts with { at line 1, column 1."
FORM_FIELDS = "The body is not JSON; it looks like form fields. Send JSON, which starts with { at line 1, column 1."
NOT_AN_OBJECT = (
    "The body must be one JSON object, which starts with { at line 1, column 1. "
    'To send several events, use POST /v1/events/ with {"events": [...]}.'
)
# By the beginning of the parser's message, whose text differs between versions of Python.
FAULTS = {
    "Unterminated string": "The text that starts {at} has no closing quote.",
    "Invalid control character": r"The text contains a raw line break or tab {at}. Write it as \n or \t.",
    "Invalid \\": r"The text contains a backslash that starts no escape {at}. Write a backslash as \\.",
    "Expecting property name": "A name in double quotes is missing {at}.",
    "Expecting ':'": "A colon is missing after a name {at}.",
    "Expecting ','": "A comma or a closing bracket is missing {at}.",
    "Expecting value": "A value is missing or misspelt {at}. Text needs double quotes.",
    "Extra data": "The body goes on after the end of its JSON object {at}.",
}
BROKEN = "The JSON is broken {at}."
TRAILING_COMMA = "There is a comma too many {at}."
FORM = re.compile(r"\s*(--|[\w.~%+*\[\]-]+=)")


class DuplicateName(dict[str, Any]):
    """An object with a duplicate name. Such a body is refused, because it is unclear which value counts."""

    name: str


Event = Mapping[str, Any]
Refuse = Callable[[object], Refused | None]


def body_of(event: Event, limit: int = MAX_BODY_BYTES, too_large: Problem = problems.BODY_TOO_LARGE) -> bytes:
    """Return the bytes of the body, decompressed. Raise TooLarge, Invalid and UnsupportedEncoding."""
    body = event.get("body") or ""
    try:
        raw = base64.b64decode(body, validate=True) if event.get("isBase64Encoded") else body.encode()
    except ValueError as error:
        raise _invalid(NOT_UTF_8) from error
    # The first bytes decide, because the gateway may have decompressed the body and kept the header.
    if raw.startswith(GZIP):
        raw = _unpacked(raw, limit)
    elif _is_packed(raw, header(event, "Content-Encoding")):
        raise UnsupportedEncoding([problems.UNSUPPORTED_ENCODING])
    if len(raw) > limit:
        raise TooLarge([too_large])
    return raw


def header(event: Event, name: str) -> str | None:
    """Return the value of a header. Its name is not case-sensitive."""
    for given, value in (event.get("headers") or {}).items():
        if given.lower() == name.lower() and value is not None:
            return str(value)
    return None


def json_of(event: Event) -> dict[str, Any]:
    """Return the JSON object in the body of a request. Raise TooLarge, Invalid and UnsupportedEncoding."""
    return json_object(body_of(event))


def json_and_key_of(event: Event) -> tuple[dict[str, Any], IdempotencyKey | None, list[Problem]]:
    """Return the same as `json_of`, the key of the Idempotency-Key header, and the key's problems."""
    body = body_of(event)
    key, found = header(event, "Idempotency-Key"), []
    if key is not None and not 1 <= len(key) <= MAX_KEY_LENGTH:
        found.append(problems.invalid_parameter("Idempotency-Key", f"The key has 1 to {MAX_KEY_LENGTH} characters."))
    return json_object(body), IdempotencyKey.of(key, body) if key and not found else None, found


def json_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in a body, with its numbers as Decimal. Raise Invalid."""
    duplicates: list[DuplicateName] = []
    sent = _parsed(body, duplicates)
    if duplicates:
        raise _duplicate_name(duplicates[0])
    return sent


def json_batch(body: bytes) -> tuple[dict[str, Any], Refuse]:
    """Return the JSON object of a batch, and a function that returns the Refused for one of its events, or None.

    Raise Invalid for a problem outside the events.
    """
    duplicates: list[DuplicateName] = []
    sent = _parsed(body, duplicates)
    around = None
    if duplicates:
        around = sent if isinstance(sent, DuplicateName) else _find_duplicate({**sent, "events": []})
    if around:
        raise _duplicate_name(around)
    return sent, partial(_refuse, is_long=len(body) > MAX_BODY_BYTES, duplicates=bool(duplicates))


def _invalid(description: str) -> Invalid:
    return Invalid([problems.invalid_json(description)])


# --- Compression ----------------------------------------------------------------------------------


def _unpacked(raw: bytes, limit: int) -> bytes:
    """Return the decompressed body, but at most one byte more than `limit`."""
    unpacked = b""
    for _ in range(MAX_MEMBERS):  # RFC 1952: a file may be several members, one after the other
        member = zlib.decompressobj(GZIP_FORMAT)
        try:
            unpacked += member.decompress(raw, limit + 1 - len(unpacked))
        except zlib.error:
            break
        raw = member.unused_data
        if len(unpacked) > limit or (member.eof and not raw):
            return unpacked
        if not member.eof:
            break
    raise _invalid(BROKEN_GZIP)


def _is_packed(raw: bytes, encoding: str | None) -> bool:
    """Return whether a body is still compressed, as its header says. JSON was decompressed by the gateway."""
    if not encoding or encoding.strip().lower() in ("identity", "gzip", "x-gzip"):
        return False
    try:
        text = raw.decode("utf-8-sig").lstrip()
    except UnicodeDecodeError:
        return True
    return bool(text) and text[0] not in "{["


# --- JSON -----------------------------------------------------------------------------------------


def _parsed(body: bytes, duplicates: list[DuplicateName]) -> dict[str, Any]:
    """Return the JSON object in a body. Add its objects with a duplicate name to `duplicates`."""
    try:
        text = body.decode("utf-8-sig")  # some editors write a byte order mark
        value = json.loads(
            text,
            parse_int=_number,
            parse_float=_number,
            parse_constant=_number,
            object_pairs_hook=partial(_object, duplicates),
        )
    except json.JSONDecodeError as error:
        raise _invalid(_fault(text, error)) from error
    except UnicodeDecodeError as error:
        raise _invalid(NOT_UTF_8) from error
    except RecursionError as error:
        raise _invalid(TOO_DEEP) from error
    if not isinstance(value, dict):
        raise _invalid(NOT_AN_OBJECT)
    return value


def _fault(text: str, error: json.JSONDecodeError) -> str:
    """Return the description of what is wrong with a text that is not JSON, and where."""
    if not text.strip():
        return EMPTY
    if FORM.match(text):
        return FORM_FIELDS
    rest = text[error.pos :].lstrip(", \t\r\n")
    comma = text.rfind(",", 0, error.pos + 1)
    if rest[:1] in ("}", "]") and comma >= 0 and not text[comma + 1 : error.pos].strip():
        return TRAILING_COMMA.format(at=_place(text, comma))
    said = next((said for begins, said in FAULTS.items() if error.msg.startswith(begins)), BROKEN)
    at = _place(text, error.pos)
    if error.msg.startswith("Expecting") and not rest:
        return said.format(at=f"{at}, where the body ends") + " Was it cut off?"
    return said.format(at=at)


def _place(text: str, position: int) -> str:
    line_start = text.rfind("\n", 0, position) + 1
    return f"at line {text.count(chr(10), 0, position) + 1}, column {position - line_start + 1}"


def _number(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:  # an exponent beyond Python's: not a number that can be stored
        return Decimal("NaN")


def _object(duplicates: list[DuplicateName], pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) == len(pairs):
        return value
    times = Counter(name for name, _ in pairs)
    found = DuplicateName(value)
    found.name = next(name for name in times if times[name] > 1)
    duplicates.append(found)
    return found


def _duplicate_name(value: DuplicateName) -> Invalid:
    return _invalid(f"The name {json.dumps(value.name[:64])} is given twice in one object.")


def _find_duplicate(value: object) -> DuplicateName | None:
    """Return an object with a duplicate name in a JSON value, if there is one."""
    return next((part for part in parts(value) if isinstance(part, DuplicateName)), None)


# --- Events of a batch ----------------------------------------------------------------------------


def _refuse(entry: object, *, is_long: bool, duplicates: bool) -> Refused | None:
    """Return the Refused for the JSON or size of an event of a batch. Search only in a body that may have one."""
    try:
        if is_long and _is_too_large(entry):
            return TooLarge([problems.EVENT_TOO_LARGE])
    except RecursionError:  # as deep as the parser allows
        return _invalid(TOO_DEEP)
    wrong = _find_duplicate(entry) if duplicates else None
    return _duplicate_name(wrong) if wrong else None


def _is_too_large(entry: object) -> bool:
    """Return whether an event is too large without spaces and escapes. An event that fits alone is never too large."""
    text = json.dumps(entry, default=lambda _: "", ensure_ascii=False, separators=(",", ":"))
    numbers = sum(_shortest(part) - len('""') for part in parts(entry) if isinstance(part, Decimal))
    return len(text.encode("utf-8", "surrogatepass")) + numbers > MAX_BODY_BYTES


def _shortest(value: Decimal) -> int:
    """Return the bytes of the shortest form in which a number may have been sent, with an exponent or without."""
    sign, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int) or exponent == 0:
        return sign + len(digits)
    with_exponent = len(digits) + len(f"e{exponent}")
    with_point = max(len(digits), 1 - exponent) + len(".")
    return sign + (with_exponent if exponent > 0 else min(with_exponent, with_point))
