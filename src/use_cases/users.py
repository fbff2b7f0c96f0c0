"""The use cases of /v1/user/...: contract, section 6."""

import hmac
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache, partial
from itertools import accumulate
from typing import Any, NamedTuple
from uuid import UUID

import simplejson

from domain import problems
from domain.email import normal_email
from domain.event_types import CATALOGUE, TAGS_FAULT, WIRE_NAMES, are_tags
from domain.ids import is_id, new_id
from domain.outcomes import StoredEvent
from domain.problems import Conflict, Invalid, NotFound, Notice, Problem, Refused
from domain.profile import Profile, change_attributes, is_attribute
from domain.request import UserReference
from domain.times import EPOCH, milliseconds_of, parse_rfc_3339
from domain.values import letters_of, unstorable
from table import Account, erasures, events, profiles
from table.erasures import Receipt
from table.events import Entry, Wanted
from use_cases.pages import SIGNATURE_BYTES, cursor_of, limit_of, parameter, position_of

ATTEMPTS = 5  # another request changed the user each time
# Lambda returns at most 6 MB. It contains the JSON as a string, so each quote and backslash takes two characters.
MAX_PAGE_CHARACTERS = 2_500_000
EMAIL_NAMES = {"email", "emailaddress", "mail"}  # without case and punctuation

TYPES = f"type must be one of {', '.join(CATALOGUE)}, spelled exactly so."
CURSOR = "Send the cursor of the previous page for the same user, unchanged. To start again, leave it out."
TIME_FORM = "like 2026-11-24T08:00:00Z. In a URL the + of an offset is written %2B."

json_text = partial(simplejson.dumps, use_decimal=True)  # numbers stay exact


class User(NamedTuple):
    id: str
    email: str | None
    is_new: bool = False


class People:
    """The results of looking up the users of events."""

    def __init__(self, account: Account, entries: Sequence[Entry], *, upsert: bool) -> None:
        self.account, self.upsert = account, upsert
        self.new_ids: defaultdict[str, str] = defaultdict(lambda: new_id(datetime.now(UTC)))
        """By email: the id of the user that is to be created with it."""
        self.owners: dict[str, str | Refused | None] = {}
        """By email: the id of the user who has it. None: no user has it. Refused: it could not be read."""
        self.profiles: dict[str, Profile | Refused | None] = {}
        """By id: the profile, None or Refused in the same way."""
        self.is_erased = cache(partial(erasures.is_erased, account))
        self.taken: dict[str, bool] = {}
        """By an _id that came with an email: whether a user has it."""
        self.look_up(entries)

    def look_up(self, entries: Sequence[Entry]) -> None:
        """Read the users that the events name, and the emails that they claim, with one call.

        An item that cannot be read fails only the events that need it.
        """
        named = [entry.request.user for entry in entries]
        emails = [each for entry in entries for each in (entry.request.user.email, entry.claims) if each]
        ids = [user.id for user in named if not user.email and user.id and is_id(user.id)]
        owners, found = profiles.look_up(self.account, list(dict.fromkeys(emails)), list(dict.fromkeys(ids)))
        self.owners |= owners
        self.profiles |= found
        self.taken.clear()
        for email in owners:  # the user who was created with it may be erased, and an id never comes back
            self.new_ids.pop(email, None)
        for profile in found.values():  # a login may claim the email between the two reads
            if isinstance(profile, Profile) and profile.email in owners and owners[profile.email] is None:
                self.owners[profile.email] = profile.id

    def find(self, entry: Entry) -> User | Refused:
        """Return the user of an event, or why it is refused.

        If a user without an email logs in with the email of another user, the event belongs to that other user (section
        5). A repeat of such a login still belongs to the other user, even if the first user has an email now.
        """
        user = self._named(entry.request.user)
        if not isinstance(user, User) or entry.claims in (None, user.email):
            return user
        owner = self.owners[str(entry.claims)]
        if isinstance(owner, Refused):
            return owner
        is_theirs = owner and (user.email is None or self._is_repeat(entry, owner))
        return User(str(owner), entry.claims) if is_theirs else user

    def possible(self, entry: Entry) -> list[str]:
        """Return the ids of the event's possible users."""
        user = entry.request.user
        owners = [self.owners.get(email) for email in (user.email, entry.claims) if email]
        ids = [each for each in owners if isinstance(each, str)]
        if self.is_new(user) and user.email:
            return [user.id or self.new_ids[user.email]]
        return ids if user.email or not user.id else [*ids, user.id]

    def is_new(self, reference: UserReference) -> bool:
        """Return whether `upsert` has to create the user, according to the look-up."""
        if not self.upsert:
            return False
        return (self.owners.get(reference.email) if reference.email else self.profiles.get(str(reference.id))) is None

    def _create(self, reference: UserReference) -> User | Refused:
        """Return the new user, by the rules of a PUT with upsert, or why the event is refused."""
        email, user_id = reference.email, reference.id
        if user_id is None:
            return User(self.new_ids[str(email)], email, is_new=True)
        if not is_id(user_id):
            return Invalid([replace(problems.INVALID_ID, field="user._id")])
        if email and self._is_taken(user_id):
            return Invalid([problems.IDENTIFIERS_DISAGREE])
        if self.is_erased(user_id):  # a discarded event has no write that would check it
            return Conflict([problems.ERASED_USER])
        return User(user_id, email, is_new=True)

    def identify(self, user: User) -> None:
        """Record that the user exists, and has this email now."""
        self.taken[user.id] = True
        if user.email:
            self.owners[user.email] = user.id
        known = self.profiles.get(user.id)
        self.profiles[user.id] = replace(known if isinstance(known, Profile) else Profile(user.id), email=user.email)

    def _named(self, reference: UserReference) -> User | Refused:
        if self.is_new(reference):
            return self._create(reference)
        if reference.email:
            user_id = self.owners[reference.email]
            if user_id is None:
                return NotFound([problems.UNKNOWN_EMAIL])
            if isinstance(user_id, str) and reference.id not in (None, user_id):
                other = reference.id and is_id(reference.id) and self._is_taken(reference.id)
                return Invalid([problems.IDENTIFIERS_DISAGREE if other else problems.NO_USER_WITH_ID])
            return User(user_id, reference.email) if isinstance(user_id, str) else user_id
        profile = self.profiles.get(str(reference.id))
        if isinstance(profile, Refused):
            return profile
        return User(profile.id, profile.email) if profile else NotFound([problems.UNKNOWN_ID])

    def _is_taken(self, user_id: str) -> bool:
        taken = self.taken.get(user_id)
        if taken is None:  # another lane may forget all that is known at any moment
            taken = self.taken[user_id] = profiles.read(self.account, user_id) is not None
        return taken

    def _is_repeat(self, entry: Entry, user_id: str) -> bool:
        """Return whether the event is stored as an event of this user."""
        uuid = entry.uuid_of(user_id)
        return entry.own_id and events.find(self.account, user_id, uuid, entry.received_at) is not None


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
    """Set the email of a user, also of an anonymous one. Return the new profile.

    Raise Invalid, NotFound, and Conflict if another user has the email.
    """
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
