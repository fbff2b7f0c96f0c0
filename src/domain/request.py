"""Contract section 2: what the body of POST /v1/event/ says, checked as a whole to tell all problems at once."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from domain.email import normal_email
from domain.events import ParsedEvent, parse_event
from domain.problems import (
    MISSING_EVENT,
    MISSING_IDENTIFIER,
    MISSING_USER,
    Invalid,
    Problem,
    invalid_attribute,
    invalid_email,
)
from domain.values import unstorable

USER_ATTRIBUTES = ("tel", "firstname", "lastname", "country", "city")


@dataclass(frozen=True, slots=True)
class UserReference:
    """Whom a request is about: `email` in its normal form, `id`, or both."""

    email: str | None = None
    id: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    user_agent: str = ""


@dataclass(frozen=True, slots=True)
class EventRequest:
    user: UserReference
    event: ParsedEvent


def parse_request(body: Mapping[str, Any], other_problems: Iterable[Problem] = ()) -> EventRequest:
    """The request that a JSON object makes. Raises Invalid with all that is wrong with it, and `other_problems`."""
    event, problems = _parse_event(body.get("event"))
    user, user_problems = _parse_user(body.get("user"))
    problems = (*problems, *user_problems, *other_problems)
    if event is None or problems:
        raise Invalid(problems)
    return EventRequest(user, event)


def _parse_event(event: object) -> tuple[ParsedEvent | None, tuple[Problem, ...]]:
    if event is None or event == {}:
        return None, (MISSING_EVENT,)
    if not isinstance(event, dict):
        return None, (Problem("Invalid event", "event is an object with the event's type as its key.", "event"),)
    if len(event) > 1:
        return None, (Problem("More than one event", "Send one event in each request. Nothing was stored.", "event"),)
    ((wire_name, payload),) = event.items()
    parsed = parse_event(wire_name, payload)
    return (parsed, ()) if isinstance(parsed, ParsedEvent) else (None, parsed)


def _parse_user(user: object) -> tuple[UserReference, tuple[Problem, ...]]:
    if user is None or user == {}:
        return UserReference(), (MISSING_USER,)
    if not isinstance(user, dict):
        return UserReference(), (Problem("Invalid user", "user is an object with email or _id.", "user"),)
    given = {name: value for name, value in user.items() if value is not None}
    email = normal_email(given.get("email"))
    problems = [*_identifier_problems(given, email), *_attribute_problems(given)]
    attributes = {name: given[name] for name in USER_ATTRIBUTES if name in given}
    return UserReference(email, given.get("_id"), attributes, given.get("userAgent", "")), tuple(problems)


def _identifier_problems(user: Mapping[str, Any], email: str | None) -> list[Problem]:
    if "email" not in user and "_id" not in user:
        return [MISSING_IDENTIFIER]
    problems = []
    if "email" in user and email is None:
        problems.append(invalid_email("user.email"))
    if "_id" in user and not isinstance(user["_id"], str):
        problems.append(Problem("Invalid _id", "_id is a string.", "user._id"))
    return problems


def _attribute_problems(user: Mapping[str, Any]) -> list[Problem]:
    problems = []
    for name in (*USER_ATTRIBUTES, "userAgent"):
        if not isinstance(user.get(name, ""), str):
            problems.append(invalid_attribute(f"user.{name}"))
        elif name in USER_ATTRIBUTES:
            problems += unstorable(user.get(name), f"user.{name}")
    return problems
