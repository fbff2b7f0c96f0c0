"""The use cases of /v1/user/...: contract, section 6."""

import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from itertools import accumulate
from typing import Any, NamedTuple
from uuid import UUID

import simplejson

from domain import problems
from domain.email import normal_email
from domain.event_types import CATALOGUE, TAGS_FAULT, WIRE_NAMES, are_tags
from domain.ids import is_id
from domain.outcomes import StoredEvent
from domain.problems import Conflict, Invalid, NotFound, Notice, Problem
from domain.profile import Profile, change_attributes, is_attribute
from domain.times import EPOCH, milliseconds_of, parse_rfc_3339
from domain.values import letters_of, unstorable
from table import Account, erasures, events, profiles
from table.erasures import Receipt
from table.events import Wanted
from use_cases.pages import SIGNATURE_BYTES, cursor_of, limit_of, parameter, position_of

ATTEMPTS = 5  # another request changed the user each time
# Lambda returns at most 6 MB. It contains the JSON as a string, so each quote and backslash takes two characters.
MAX_PAGE_CHARACTERS = 2_500_000
EMAIL_NAMES = {"email", "emailaddress", "mail"}  # without case and punctuation

TYPES = f"type must be one of {', '.join(CATALOGUE)}, spelled exactly so."
CURSOR = "Send the cursor of the previous page for the same user, unchanged. To start again, leave it out."
TIME_FORM = "like 2026-11-24T08:00:00Z. In a URL the + of an offset is written %2B."

json_text = partial(simplejson.dumps, use_decimal=True)  # numbers stay exact


class Changed(NamedTuple):
    profile: Profile
    warnings: tuple[Notice, ...]
    is_new: bool = False


def get(identifier: str, account: Account) -> Profile:
    """Return the user with an email or an _id. Raise NotFound."""
    if "@" in identifier:
        email = normal_email(identifier)
        user_id, unknown = profiles.user_id_of(account, email) if email else None, problems.UNKNOWN_EMAIL
    else:
        user_id, unknown = identifier if is_id(identifier) else None, problems.UNKNOWN_ID
    profile = profiles.read(account, user_id) if user_id else None
    if profile is None:
        raise NotFound([unknown])
    return profile


def create(sent: Mapping[str, Any], account: Account, now: datetime) -> Changed:
    """Create a user, who is anonymous without an email. Raise Invalid, TooLarge, and Conflict for a taken email."""
    _check(sent)
    created = _create(None, normal_email(sent.get("email")), sent, account, now)
    if created is None:
        raise Conflict([problems.EMAIL_TAKEN])
    return created


def change(
    identifier: str,
    sent: Mapping[str, Any],
    upsert: bool,
    account: Account,
    now: datetime,
    other_problems: Sequence[Problem] = (),
) -> Changed:
    """Set attributes of a user. With `upsert` create the user if there is none.

    Raise Invalid, NotFound, TooLarge, and Conflict if the new user has a taken email or an erased _id.
    """
    _check(sent, other_problems)
    for _ in range(ATTEMPTS):
        try:
            profile = get(identifier, account)
        except NotFound:
            if not upsert:
                raise
            created = _create_as(identifier, sent, account, now)
            if created:
                return created
            continue
        wanted = change_attributes(sent, profile.email, "", milliseconds_of(now))
        if not wanted:
            return Changed(profile, wanted.warnings)
        changed = profiles.change(account, profile.id, wanted, profile)
        if changed:
            return Changed(changed, wanted.warnings)
    raise problems.unavailable("UserChanged")


def change_email(identifier: str, sent: Mapping[str, Any], account: Account) -> Profile:
    """Set the email of a user and return the profile. Raise Invalid, NotFound, and Conflict if another user has it."""
    email = normal_email(sent.get("email"))
    if email is None:
        raise Invalid([problems.invalid_email("email")])
    for _ in range(ATTEMPTS):
        profile = get(identifier, account)
        if profile.email == email:
            return profile
        owner = profiles.change_email(account, profile, email)
        if owner in (None, profile.id):  # done, perhaps by an attempt whose response was lost
            return get(profile.id, account)
        if owner:
            raise Conflict([problems.OTHERS_EMAIL])
    raise problems.unavailable("UserChanged")


def remove_attribute(identifier: str, name: str, account: Account) -> Profile:
    """Remove an attribute if the user has it. Raise NotFound, and Invalid for an attribute of the system."""
    if name != "tags" and not is_attribute(name):
        raise Invalid([problems.EMAIL_STAYS if name == "email" else problems.SYSTEM_ATTRIBUTE])
    for _ in range(ATTEMPTS):
        profile = get(identifier, account)
        if name not in profile.attributes and not (name == "tags" and profile.tags):
            return profile
        if profiles.remove_attribute(account, profile.id, name):
            return get(identifier, account)
    raise problems.unavailable("UserChanged")


def erase(identifier: str, account: Account, now: datetime) -> tuple[Profile, str]:
    """Begin the erasure of a user, which `erasure` continues. After this call the user does not exist.

    Return the user, and when the erasure was requested. Raise NotFound.
    """
    for _ in range(ATTEMPTS):
        profile = get(identifier, account)
        requested_on = erasures.begin(account, profile, now)
        if requested_on:
            return profile, requested_on
    raise problems.unavailable("UserChanged")


def receipt(user_id: str, account: Account) -> Receipt:
    """Return the receipt of the erasure of an _id. Raise NotFound."""
    found = erasures.receipt(account, user_id) if is_id(user_id) else None
    if found is None:
        raise NotFound([problems.ERASURE_NOT_FOUND])
    return found


def timeline(
    identifier: str, query: Mapping[str, str], account: Account, now: datetime
) -> tuple[list[StoredEvent], str | None]:
    """Return a page of a user's events, newest first, and the cursor of the next one. Raise NotFound and Invalid."""
    profile = get(identifier, account)
    sign = partial(_sign, profile)
    wrong: list[Problem] = []
    limit = limit_of(query, wrong)
    event_type = parameter(query, wrong, "type", WIRE_NAMES.get, TYPES)
    position = parameter(query, wrong, "cursor", partial(position_of, sign=sign), CURSOR)
    moments = [parameter(query, wrong, name, parse_rfc_3339, f"Write {name} {TIME_FORM}") for name in ("from", "to")]
    since, until = (moment and max(moment, EPOCH) for moment in moments)  # no event is older
    if since and until and since > until:
        wrong.append(problems.invalid_parameter("to", "to must not be earlier than from."))
    if wrong:
        raise Invalid(wrong)
    before = str(UUID(bytes=position)) if position else None
    wanted = Wanted(limit, before, event_type.type_name() if event_type else None, (since, until))
    page, last = events.timeline(account, profile.id, wanted, now)
    sizes = accumulate(len(json_text(event.payload)) + len(event.id) for event in page)
    fits = max(1, sum(size <= MAX_PAGE_CHARACTERS for size in sizes))  # a single event always fits
    if fits < len(page):
        page, last = page[:fits], page[fits - 1].uuid
    return page, cursor_of(UUID(last).bytes, sign) if last else None


def _create_as(identifier: str, sent: Mapping[str, Any], account: Account, now: datetime) -> Changed | None:
    """Create the user that the path names. Return None if the user exists now."""
    email = normal_email(identifier)
    if email:
        return _create(None, email, sent, account, now)
    if "@" in identifier:
        raise Invalid([problems.invalid_attribute("email", problems.invalid_email("email").description)])
    if not is_id(identifier):
        raise Invalid([problems.INVALID_ID])
    email = normal_email(sent.get("email"))
    created = _create(identifier, email, sent, account, now)
    if created is None and erasures.is_erased(account, identifier):
        raise Conflict([problems.ERASED])
    # A request at the same time may have created this user with the same email.
    if created is None and email and profiles.user_id_of(account, email) not in (None, identifier):
        raise Conflict([problems.EMAIL_TAKEN])
    return created


def _create(
    chosen_id: str | None, email: str | None, sent: Mapping[str, Any], account: Account, now: datetime
) -> Changed | None:
    wanted = change_attributes(sent, email, "", milliseconds_of(now))
    profile = profiles.create(account, chosen_id, email, wanted, now)
    misplaced = _misplaced_email(sent) if email is None else None
    warnings = (*wanted.warnings, *([problems.notice("user_without_email", misplaced)] if misplaced else []))
    return Changed(profile, warnings, is_new=True) if profile else None


def _misplaced_email(sent: Mapping[str, Any]) -> str | None:
    """Return the field that looks like an email in a wrong place: `Email`, or `email` in another object."""
    named = {name: value for name, value in sent.items() if name != "email"}
    places = [(name,) for name in named]
    inner = [(name, each) for name, value in named.items() if isinstance(value, dict) for each in value]
    return next((".".join(place) for place in (*places, *inner) if letters_of(place[-1]) in EMAIL_NAMES), None)


def _check(sent: Mapping[str, Any], other_problems: Sequence[Problem] = ()) -> None:
    """Raise Invalid with all problems of the attributes that a caller sends, and `other_problems`."""
    wrong = {problem.field: problem.description for problem in unstorable(dict(sent), "")}
    if sent.get("email") is not None and normal_email(sent["email"]) is None:
        wrong["email"] = problems.invalid_email("email").description
    if "tags" in sent and not are_tags(sent["tags"]):
        wrong["tags"] = f"tags {TAGS_FAULT}."
    if wrong or other_problems:
        found = [problems.invalid_attribute(field or None, hint) for field, hint in wrong.items()]
        raise Invalid([*found, *other_problems])


def _sign(profile: Profile, position: bytes) -> bytes:
    """Return the signature of a position, made with the user's own key."""
    return hmac.digest(bytes.fromhex(profile.cursor_key), position, "sha256")[:SIGNATURE_BYTES]
