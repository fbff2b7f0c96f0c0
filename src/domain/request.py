"""Parse requests with one event or a batch, and report all problems at once: contract, sections 2, 8 and 9."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

from domain import problems
from domain.email import normal_email
from domain.event_types import ParsedEvent, parse_event
from domain.ids import is_uuid7, new_id, time_of
from domain.problems import Invalid, Notice, Problem, Refused, guarded
from domain.profile import Change, change_attributes, merge
from domain.times import fault_of_rfc_3339, milliseconds_of, parse_rfc_3339
from domain.values import similar_names, unstorable

USER_ATTRIBUTES = ("tel", "firstname", "lastname", "country", "city")
BATCH_FIELDS = ("events", "import")
EVENT_FIELDS = ("user", "event", "eventId", "eventTime")
USER_FIELDS = ("email", "_id", *USER_ATTRIBUTES, "userAgent")
MAX_EVENTS = 100
MAX_EVENT_ID_LENGTH = 128
EVENT_ID = re.compile(f"[!-~]{{1,{MAX_EVENT_ID_LENGTH}}}")
AHEAD, BACK = timedelta(minutes=5), timedelta(days=35)
FIRST_MOMENT = datetime(2000, 1, 1, tzinfo=UTC)


class UserReference(NamedTuple):
    """The user of a request, by `email` in its normal form, by `id`, or by both."""

    email: str | None = None
    id: str | None = None
    attributes: Mapping[str, Any] = {}
    user_agent: str = ""

    def names_as(self, other: "UserReference") -> bool:
        """Return whether both have the same email and id."""
        return (self.email, self.id) == (other.email, other.id)


class EventRequest(NamedTuple):
    """A valid request with one event. `own_id` and `own_time`: the caller sent its id, or when it happened."""

    user: UserReference
    event: ParsedEvent
    event_id: str
    happened_at: datetime
    own_id: bool = False
    own_time: bool = False
    imported: bool = False
    warnings: tuple[Notice, ...] = ()

    def change(self, email: str | None) -> Change:
        """Return the change that the event makes to the profile of its user, who has `email`, if any."""
        sent = self.user.attributes
        changes = [self.event.model.changes(self.event.payload, email, self.happened_at)]
        if sent:
            changes.insert(0, change_attributes(sent, email, "user.", milliseconds_of(self.happened_at)))
        is_other = email and self.event.claims not in (None, email)
        warnings = (*self.warnings, *([problems.notice("email_ignored", "event.login.email")] if is_other else []))
        if warnings:
            changes.insert(0, Change(warnings=warnings))
        return merge(changes) if len(changes) > 1 else changes[0]


def parse_request(
    body: Mapping[str, Any], received_at: datetime, other_problems: Iterable[Problem] = (), *, imported: bool = False
) -> EventRequest:
    """Return the request in a JSON object, which was received at a moment to the millisecond.

    Raise Invalid with all its problems and `other_problems`.
    """
    event, found = _parse_event(body.get("event"))
    user, user_problems = _parse_user(body.get("user"))
    if problems.MISSING_USER in user_problems and "events" in body:
        user_problems = (problems.MISSING_USER._replace(hint=problems.LIST_OF_EVENTS),)
    identity, identity_problems = _parse_identity(body, received_at, imported)
    found = (*found, *user_problems, *identity_problems, *other_problems)
    if event is None or identity is None or found:
        raise Invalid(found)
    warnings = (*unread(body, EVENT_FIELDS, ""), *unread(body["user"], USER_FIELDS, "user."), *event.warnings)
    return EventRequest(user=user, event=event, imported=imported, warnings=warnings, **identity)


def unread(sent: Mapping[str, Any], known: Sequence[str], prefix: str) -> list[Notice]:
    """Return a warning for each field that differs from a known one only in case or punctuation.

    There are as many as known fields at most, because a caller can vary a name in any number of ways.
    """
    if all(name in known for name in sent):
        return []
    similar = islice(similar_names(sent, known).items(), len(known))
    return [problems.notice("similar_name", prefix + name, prefix + meant) for name, meant in similar]


def parse_batch(
    body: Mapping[str, Any], received_at: datetime, refuse: Callable[[object], Refused | None]
) -> list[EventRequest | Refused]:
    """Return the request of each event of a batch, or the Refused for an invalid event. Raise Invalid for the batch.

    `refuse` returns the Refused for an event whose JSON or size is wrong, or None.
    """
    events, imported = body.get("events"), body.get("import")
    if events is None or events == []:
        raise Invalid([problems.MISSING_EVENTS])
    if not isinstance(events, list):
        raise Invalid([problems.INVALID_EVENTS])
    if len(events) > MAX_EVENTS:
        raise Invalid([problems.TOO_MANY_EVENTS])
    if not isinstance(imported, bool | None):
        raise Invalid([problems.INVALID_IMPORT])
    return [refuse(entry) or _parse_entry(entry, received_at, imported=bool(imported)) for entry in events]


def _parse_entry(entry: object, received_at: datetime, *, imported: bool) -> EventRequest | Refused:
    if not isinstance(entry, dict):
        return Invalid([problems.INVALID_ENTRY])
    missing = [problems.MISSING_EVENT_ID] if entry.get("eventId") is None else []
    return guarded(partial(parse_request, entry, received_at, missing, imported=imported))


def _parse_identity(
    body: Mapping[str, Any], received_at: datetime, imported: bool
) -> tuple[dict[str, Any] | None, list[Problem]]:
    """Return the id and the time of the event, or None and their problems."""
    event_id, event_time = body.get("eventId"), body.get("eventTime")
    is_valid = event_id is None or (isinstance(event_id, str) and EVENT_ID.fullmatch(event_id))
    found = [] if is_valid else [problems.INVALID_EVENT_ID]
    happened_at = None if event_time is None else parse_rfc_3339(event_time)
    if event_time is not None and happened_at is None:
        found.append(problems.invalid_event_time(f"{problems.EVENT_TIME_FORM}{fault_of_rfc_3339(event_time)}"))
    elif event_time is None and event_id is not None and not found:
        if is_uuid7(event_id.lower()):
            happened_at = time_of(event_id)
        else:
            found.append(problems.MISSING_EVENT_TIME)
    if happened_at is not None:
        found += _time_problems(happened_at, received_at, imported)
    if found:  # an id cannot contain a time out of range
        return None, found
    moment = happened_at or received_at
    identity = {
        "event_id": event_id or new_id(moment),
        "happened_at": moment,
        "own_id": event_id is not None,
        "own_time": happened_at is not None,
    }
    return identity, found


def _time_problems(happened_at: datetime, received_at: datetime, imported: bool) -> list[Problem]:
    if happened_at > received_at + AHEAD:
        return [problems.invalid_event_time(problems.EVENT_TIME_AHEAD)]
    if happened_at < FIRST_MOMENT:
        return [problems.invalid_event_time(problems.EVENT_TIME_BEFORE_2000)]
    if happened_at < received_at - BACK and not imported:
        return [problems.invalid_event_time(problems.EVENT_TIME_BACK)]
    return []


def _parse_event(event: object) -> tuple[ParsedEvent | None, tuple[Problem, ...]]:
    if event is None or event == {}:
        return None, (problems.MISSING_EVENT,)
    if not isinstance(event, dict):
        return None, (problems.INVALID_EVENT,)
    if len(event) > 1:
        return None, (problems.MORE_THAN_ONE_EVENT,)
    ((wire_name, payload),) = event.items()
    parsed = parse_event(wire_name, payload)
    return (parsed, ()) if isinstance(parsed, ParsedEvent) else (None, parsed)


def _parse_user(user: object) -> tuple[UserReference, tuple[Problem, ...]]:
    if user is None or user == {}:
        return UserReference(), (problems.MISSING_USER,)
    if not isinstance(user, dict):
        return UserReference(), (problems.INVALID_USER,)
    given = {name: value for name, value in user.items() if value is not None}
    email = normal_email(given.get("email"))
    found = [*_identifier_problems(given, email), *_attribute_problems(given)]
    attributes = {name: given[name] for name in USER_ATTRIBUTES if name in given}
    return UserReference(email, given.get("_id"), attributes, given.get("userAgent", "")), tuple(found)


def _identifier_problems(user: Mapping[str, Any], email: str | None) -> list[Problem]:
    if "email" not in user and "_id" not in user:
        return [problems.missing_identifier(similar_names(user, ("email", "_id")))]
    found = []
    if "email" in user and email is None:
        found.append(problems.invalid_email("user.email"))
    if "_id" in user and not isinstance(user["_id"], str):
        found.append(problems.INVALID_USER_ID)
    return found


def _attribute_problems(user: Mapping[str, Any]) -> list[Problem]:
    found = []
    for name in (name for name in (*USER_ATTRIBUTES, "userAgent") if name in user):
        if not isinstance(user[name], str):
            found.append(problems.invalid_attribute(f"user.{name}", f"{name} must be a string."))
        elif name in USER_ATTRIBUTES:
            found += unstorable(user[name], f"user.{name}")
    return found
