"""Stored events, and the results of requests: contract, sections 2, 4, 7 and 8."""

from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Literal, NamedTuple

from domain.problems import Notice
from domain.restrictions import Restriction

KEY_LIFETIME = timedelta(hours=24)
MAX_KEY_LENGTH = 255

Status = Literal["created", "duplicate", "discarded"]


class StoredEvent(NamedTuple):
    """An event in the table. `uuid` is the UUID in its sort key."""

    id: str
    uuid: str
    type: str
    payload: dict[str, Any]
    happened_at: datetime
    received_on: str | None
    imported: bool
    warnings: tuple[Notice, ...] = ()


class First(NamedTuple):
    """The event for which another one is discarded. `same_payload` is None if 1.0 stored it; `uuid` is in its key."""

    event_id: str
    created_on: str
    same_payload: bool | None = None
    uuid: str = ""


class Outcome(NamedTuple):
    """The result of an event that is settled.

    A created event is stored now, or was stored when its Idempotency-Key was first used (`replayed`). A duplicate was
    stored before, at `created_on`; `same_payload` says whether the payloads are equal. A discarded event is not stored
    because of `restriction`; `first` is the stored event that caused this, if there is one.
    """

    status: Status
    event_id: str
    user_id: str
    warnings: tuple[Notice, ...] = ()
    restriction: Restriction | None = None
    first: First | None = None
    created_on: str = ""
    same_payload: bool = True
    replayed: bool = False
    user_created: bool = False
    """Whether the request created the user. `user_id` is "" if the event was discarded before there was a user."""


class IdempotencyKey(NamedTuple):
    """Both parts are SHA-256 in hexadecimal, so that neither the key nor the body is stored."""

    key_hash: str
    body_hash: str

    @classmethod
    def of(cls, key: str, body: bytes) -> "IdempotencyKey":
        return cls(sha256(key.encode("utf-8", "surrogatepass")).hexdigest(), sha256(body).hexdigest())
