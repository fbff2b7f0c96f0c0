"""The use cases of /v1/user/...: contract section 6."""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from itertools import accumulate
from typing import Any
from uuid import UUID

import simplejson

from domain.email import normal_email
from domain.events import WIRE_NAMES, is_tags
from domain.ids import is_id, new_id
from domain.problems import (
    BEING_ERASED,
    EMAIL_TAKEN,
    STORE_UNAVAILABLE,
    UNKNOWN_EMAIL,
    UNKNOWN_ID,
    Conflict,
    Invalid,
    NotFound,
    Problem,
    Unavailable,
    Warning,
    invalid_attribute,
    invalid_parameter,
)
from domain.profile import Profile, change_attributes, iso
from domain.store import Store, StoredEvent
from domain.values import unstorable

ATTEMPTS = 5  # each further one means that somebody else changed the user in between
DEFAULT_LIMIT, MAX_LIMIT = 50, 100
MAX_PAGE_SIZE = 2_500_000  # of JSON, which is a text in Lambda's answer of 6 MB at most, each quote and backslash twice
MAC_BYTES = 16

json_text = partial(simplejson.dumps, use_decimal=True)  # numbers as exact as they were sent


def read(identifier: str, store: Store) -> Profile:
    """The user whom an email or an _id names. Raises NotFound."""
    if "@" in identifier:
        email = normal_email(identifier)
        user_id, unknown = store.user_id_of(email) if email else None, UNKNOWN_EMAIL
    else:
        user_id, unknown = identifier if is_id(identifier) else None, UNKNOWN_ID
    profile = store.profile(user_id) if user_id else None
    if profile is None:
        raise NotFound([unknown])
    return profile


def create(sent: Mapping[str, Any], store: Store, now: datetime) -> tuple[Profile, list[Warning]]:
    """A new user, anonymous without an email. Raises Invalid, and Conflict for a taken email."""
    _check(sent)
    email = normal_email(sent.get("email"))
    created = _create(new_id(now), email, sent, store, now)
    if created is None:
        raise Conflict([EMAIL_TAKEN])
    return created


def change(
    identifier: str, sent: Mapping[str, Any], upsert: bool, store: Store, now: datetime
) -> tuple[Profile, list[Warning], bool]:
    """Sets attributes; with `upsert` of a user who is made if need be, which the last value says.

    Raises Invalid, NotFound, and Conflict when the user to be made has a taken email or an _id that is being erased.
    """
    _check(sent)
    for _ in range(ATTEMPTS):
        try:
            profile = read(identifier, store)
        except NotFound:
            if not upsert:
                raise
            created = _create_as(identifier, sent, store, now)
            if created:
                return *created, True
            continue
        wanted, warnings = change_attributes(sent, profile.email, "")
        if not wanted:
            return profile, warnings, False
        if store.change_user(profile.id, wanted):
            return read(identifier, store), warnings, False
    raise Unavailable([STORE_UNAVAILABLE])


def erase(identifier: str, store: Store, now: datetime) -> Profile:
    """From here on the user does not exist; `erasure` removes what is left. Raises NotFound."""
    for _ in range(ATTEMPTS):
        profile = read(identifier, store)
        if store.begin_erasure(profile, now):
            return profile
    raise Unavailable([STORE_UNAVAILABLE])


def events(identifier: str, query: Mapping[str, str], store: Store) -> tuple[list[StoredEvent], str | None]:
    """A page of the user's events, newest first, and the cursor of the next one. Raises NotFound and Invalid."""
    profile = read(identifier, store)
    limit, limit_problems = _limit(query.get("limit"))
    event_type, type_problems = _type(query.get("type"))
    before, cursor_problems = _before(query.get("cursor"), profile)
    if problems := limit_problems + type_problems + cursor_problems:
        raise Invalid(problems)
    page, last = store.events(profile.id, limit, before, event_type)
    sizes = accumulate(len(json_text(event.payload)) for event in page)
    fits = sum(size <= MAX_PAGE_SIZE for size in sizes)
    if fits < len(page):
        page, last = page[:fits], page[fits - 1].id
    return page, _cursor(last, profile) if last else None


def _create_as(
    identifier: str, sent: Mapping[str, Any], store: Store, now: datetime
) -> tuple[Profile, list[Warning]] | None:
    """Makes the user whom the path names. None when there is one by now."""
    email = normal_email(identifier)
    if email:
        return _create(new_id(now), email, sent, store, now)
    if "@" in identifier:
        raise Invalid([invalid_attribute("email")])
    if not is_id(identifier):
        raise Invalid([Problem("Invalid _id", "An _id is a UUID in lower case.", "_id")])
    email = normal_email(sent.get("email"))
    created = _create(identifier, email, sent, store, now)
    if created is None and email and store.user_id_of(email):
        raise Conflict([EMAIL_TAKEN])
    if created is None and store.is_being_erased(identifier):
        raise Conflict([BEING_ERASED])
    return created


def _create(
    user_id: str, email: str | None, sent: Mapping[str, Any], store: Store, now: datetime
) -> tuple[Profile, list[Warning]] | None:
    wanted, warnings = change_attributes(sent, email, "")
    if not store.create_user(user_id, email, wanted, now):
        return None
    return Profile(user_id, email, {"createdOn": iso(now)}, wanted.attributes, wanted.add_tags), warnings


def _check(sent: Mapping[str, Any]) -> None:
    """Raises Invalid with all that is wrong with the attributes that a caller sends."""
    fields = [str(problem.field).removeprefix("user.") for problem in unstorable(dict(sent), "user")]
    if sent.get("email") is not None and normal_email(sent["email"]) is None:
        fields.append("email")
    if "tags" in sent and not is_tags(sent["tags"]):
        fields.append("tags")
    if fields:
        raise Invalid(invalid_attribute(field) for field in dict.fromkeys(fields))


def _limit(text: str | None) -> tuple[int, list[Problem]]:
    if text is None:
        return DEFAULT_LIMIT, []
    if text.isascii() and text.isdigit() and len(text) <= 3 and 1 <= int(text) <= MAX_LIMIT:
        return int(text), []
    return 0, [invalid_parameter("limit", f"limit is a whole number from 1 to {MAX_LIMIT}.")]


def _type(wire_name: str | None) -> tuple[str | None, list[Problem]]:
    if wire_name is None:
        return None, []
    event_type = WIRE_NAMES.get(wire_name)
    if event_type:
        return event_type.type_name(), []
    return None, [invalid_parameter("type", "type is the name of an event type.")]


def _cursor(event_id: str, profile: Profile) -> str:
    """Where the next page begins, signed with a key of this user's alone."""
    position = UUID(event_id).bytes
    return _encode(position + _mac(position, profile))


def _before(cursor: str | None, profile: Profile) -> tuple[str | None, list[Problem]]:
    if cursor is None:
        return None, []
    try:
        signed = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    except ValueError:
        signed = b""
    position, mac = signed[:16], signed[16:]
    if not hmac.compare_digest(mac, _mac(position, profile)) or _encode(signed) != cursor:
        return None, [invalid_parameter("cursor", "cursor is the one that the page before gave for this user.")]
    return str(UUID(bytes=position)), []


def _encode(signed: bytes) -> str:
    return urlsafe_b64encode(signed).rstrip(b"=").decode()


def _mac(position: bytes, profile: Profile) -> bytes:
    return hmac.digest(bytes.fromhex(profile.cursor_key), position, "sha256")[:MAC_BYTES]
