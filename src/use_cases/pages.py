"""Pages of a list: the limit of entries, and the cursor of the next page."""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from typing import TypeVar

from domain.problems import Problem, invalid_parameter

T = TypeVar("T")
DEFAULT_LIMIT, MAX_LIMIT = 50, 100
LIMIT = f"limit must be a whole number from 1 to {MAX_LIMIT}."
SIGNATURE_BYTES = 16

Sign = Callable[[bytes], bytes]  # returns the signature of a position in a list, of SIGNATURE_BYTES


def parameter(
    query: Mapping[str, str], wrong: list[Problem], name: str, parse: Callable[[str], T | None], hint: str
) -> T | None:
    """Return a parsed parameter of a query; None if it is missing, or if `parse` returns None for its text.

    In the second case add a problem, whose description is `hint`, to `wrong`.
    """
    value = parse(query[name]) if name in query else None
    if name in query and value is None:
        wrong.append(invalid_parameter(name, hint))
    return value


def limit_of(query: Mapping[str, str], wrong: list[Problem]) -> int:
    """Return the number of entries of a page that a query asks for. Add what is wrong with it to `wrong`."""
    return parameter(query, wrong, "limit", _number, LIMIT) or DEFAULT_LIMIT


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 3 and 1 <= int(text) <= MAX_LIMIT else None


def cursor_of(position: bytes, sign: Sign) -> str:
    """Return the text that a caller sends for the page that begins at a position."""
    return urlsafe_b64encode(position + sign(position)).rstrip(b"=").decode()


def position_of(cursor: str, sign: Sign) -> bytes | None:
    """Return the position in a cursor. None: it is not one of this list."""
    try:
        position = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))[:-SIGNATURE_BYTES]
    except ValueError:
        return None
    return position if hmac.compare_digest(cursor_of(position, sign).encode(), cursor.encode()) else None
