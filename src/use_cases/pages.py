"""Pages of a list: the limit of entries, and the cursor of the next page."""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable

from domain.problems import Problem, invalid_parameter

DEFAULT_LIMIT, MAX_LIMIT = 50, 100
LIMIT = f"limit must be a whole number from 1 to {MAX_LIMIT}."
SIGNATURE_BYTES = 16

Sign = Callable[[bytes], bytes]
"""A function that returns SIGNATURE_BYTES, the signature of a position in a list."""


def parse_limit(text: str | None) -> tuple[int, list[Problem]]:
    """Return the number of entries of a page that a query asks for, and what is wrong with it."""
    if text is None:
        return DEFAULT_LIMIT, []
    if text.isascii() and text.isdigit() and len(text) <= 3 and 1 <= int(text) <= MAX_LIMIT:
        return int(text), []
    return 0, [invalid_parameter("limit", LIMIT)]


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
