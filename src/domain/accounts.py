"""Accounts and their API keys: contract, section 12. Only the SHA-256 of a key is stored; the key is shown once."""

import re
from datetime import datetime
from hashlib import sha256
from secrets import token_urlsafe
from typing import NamedTuple

from domain.ids import new_id
from domain.times import iso

ACCOUNT_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
# The scopes of a key by name, with what each allows.
SCOPES = {
    "send": "send and check events",
    "read": "read users, timelines, refusals and receipts",
    "write": "create and change users",
    "erase": "erase users",
}
ALL_SCOPES = tuple(SCOPES)


class ApiKey(NamedTuple):
    """The stored data of a key. Dates are ISO 8601 in UTC. `scopes` are in the order of SCOPES."""

    id: str
    hash: str
    created_on: str
    expires_on: str | None = None
    revoked_on: str | None = None
    scopes: tuple[str, ...] = ALL_SCOPES


class FoundKey(NamedTuple):
    """The data of a key that the authorizer reads."""

    account: str
    id: str
    expires_on: str | None
    scopes: tuple[str, ...] = ALL_SCOPES


def new_api_key(now: datetime, expires_on: str | None, scopes: tuple[str, ...] = ALL_SCOPES) -> tuple[str, ApiKey]:
    """Return a key of 256 random bits as its owner will send it, and what is stored of it."""
    secret = f"key_{token_urlsafe(32)}"
    return secret, ApiKey(new_id(now), hash_of(secret), iso(now), expires_on, scopes=scopes)


def hash_of(secret: str) -> str:
    """Return the hash by which a key is looked up. The look-up takes the same time for any guessed key."""
    return sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def is_account_name(name: object) -> bool:
    return isinstance(name, str) and ACCOUNT_NAME.fullmatch(name) is not None


def parse_scopes(names: object) -> tuple[str, ...] | None:
    """Return the scopes of a list of their names, each once and in the order of SCOPES. None if it names another."""
    if not isinstance(names, list) or not names or not all(name in ALL_SCOPES for name in names):
        return None
    return tuple(scope for scope in ALL_SCOPES if scope in names)


def is_expired(expires_on: str | None, now: datetime) -> bool:
    return expires_on is not None and expires_on <= iso(now)


def parse_date(text: object) -> str | None:
    """Return a date in ISO 8601 with an offset in the form that is stored. None if the text is not one."""
    try:
        moment = datetime.fromisoformat(text) if isinstance(text, str) else None
        return iso(moment) if moment and moment.tzinfo else None
    except (ValueError, OverflowError):  # after the year 9999 in UTC
        return None
