"""Everything that can be wrong with a request, and every warning, closed: contract, sections 1, 2, 6, 7, 9 and 11.

A `Problem` is one entry of the `errors` list that callers see, a `Notice` one of `warnings`. They never contain a value
that was sent. No code outside this module creates one.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import starmap
from typing import NamedTuple, TypeVar

T = TypeVar("T")


class Problem(NamedTuple):
    """A problem: `message`, `description` (what to do), `field` (a dotted path) and `code` (for programs).

    `hint` says what to do if the documented description says too little. `in_batch` is the field that is named only for
    an event of a batch. `as_documented`: outside of a batch the body has no `code`, as in the public documentation.
    """

    code: str
    message: str
    description: str
    field: str | None = None
    hint: str | None = None
    in_batch: str | None = None
    as_documented: bool = False

    def under(self, place: str) -> "Problem":
        """Return the same problem for an event of a batch, which is at `place`."""
        field = self.field or self.in_batch
        return self._replace(field=f"{place}.{field}" if field else place, as_documented=False)


class Notice(NamedTuple):
    """A part of an accepted request that was dropped or changed: an entry of `warnings`. 1.1 stored it without code."""

    field: str
    message: str
    code: str = ""


class Refused(Exception):
    """Nothing was stored; `problems` lists all that is wrong. Only subclasses are raised."""

    status = 500  # of HTTP
    event_type: str | None = None  # of the event, if it is known

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(problem.message for problem in self.problems))

    @property
    def is_server_error(self) -> bool:
        """Return whether the service failed, so the same request may be sent again."""
        return self.status >= 500


class Invalid(Refused):
    status = 400


class Unauthorized(Refused):  # the key is missing, unknown, expired or revoked
    status = 401


class Forbidden(Refused):  # the key does not have the scope that the request needs
    status = 403


class NotFound(Refused):  # the user, the path or the method does not exist
    status = 404


class Conflict(Refused):  # a taken email, an _id that was erased, or a key that is revoked
    status = 409


class TooLarge(Refused):  # the body, or the item it would become
    status = 413


class UnsupportedEncoding(Refused):  # the body is compressed, and not with gzip
    status = 415


class KeyReused(Refused):  # the Idempotency-Key was used with a different body
    status = 422


class Unavailable(Refused):
    """The store throttles or does not answer. `reason`, DynamoDB's code, NoAnswer or OutOfTime, is only logged."""

    status = 503

    def __init__(self, problems: Iterable[Problem], reason: str) -> None:
        super().__init__(problems)
        self.reason = reason


class Failed(Refused):
    """An error on our side, which is in `__cause__`. The other events of its batch are processed."""

    status = 500

    @classmethod
    def by(cls, error: Exception) -> Refused:
        """Return the exception as the outcome of an event: Failed, or the exception itself if it is Refused."""
        if isinstance(error, Refused):
            return error
        failed = cls([INTERNAL_ERROR])
        failed.__cause__ = error
        return failed


def guarded(work: Callable[[], T]) -> T | Refused:
    """Return the result of `work`. If it raises an exception, return that as an outcome."""
    try:
        return work()
    except Exception as error:  # noqa: BLE001 the handler logs its cause
        return Failed.by(error)


# The two documented bodies.
MISSING_EVENT = Problem(
    "missing_event",
    "Missing event information",
    "Please send event information along with user",
    in_batch="event",
    as_documented=True,
)
UNKNOWN_EMAIL = Problem(
    "user_not_found",
    "User not found",
    "This email does not exist in our database.",
    in_batch="user.email",
    as_documented=True,
)

UNKNOWN_ID = Problem(
    "user_not_found", "User not found", "This _id does not exist in our database.", in_batch="user._id"
)
ERASURE_NOT_FOUND = Problem(
    "erasure_not_found", "Erasure not found", "No user with this _id was erased. An _id is a UUID in lower case.", "_id"
)
UNKNOWN_PATH = Problem("not_found", "Not found", "There is no such path or method.")
UNAUTHORIZED = Problem(
    "unauthorized", "Unauthorized", "Send a valid API key in the Authorization header, alone or after Bearer."
)
INVALID_EVENT = Problem(
    "invalid_event",
    "Invalid event",
    'Send event as an object with one key, the event type: {"viewitem": {"itemId": "SKU-1"}}.',
    "event",
)
MORE_THAN_ONE_EVENT = Problem(
    "more_than_one_event",
    "More than one event",
    'event has several keys. It must have exactly one key, the event type: {"viewitem": {"itemId": ...}}. '
    "To send several events, use POST /v1/events/.",
    "event",
)
MISSING_USER = Problem(
    "missing_user", "Missing user information", "Please send user information along with event", "user"
)
LIST_OF_EVENTS = "A list events goes to POST /v1/events/."
INVALID_USER = Problem("invalid_user", "Invalid user", "Send user as an object with email or _id.", "user")
MISSING_IDENTIFIER = Problem(
    "missing_identifier", "Missing user identifier", "Please send the user's email or _id", "user"
)
IDENTIFIERS_DISAGREE = Problem(
    "identifiers_disagree",
    "User identifiers disagree",
    "email and _id belong to different users. Send one of them.",
    "user",
)
NO_USER_WITH_ID = IDENTIFIERS_DISAGREE._replace(
    description="The email belongs to a user, but no user has this _id. Send one of them."
)
INVALID_USER_ID = Problem(
    "invalid_id", "Invalid _id", "Send _id as a string, exactly as a response contained it.", "user._id"
)
INVALID_ID = Problem(
    "invalid_id",
    "Invalid _id",
    "The path must contain an email address or a user _id. An _id is a UUID in lower case.",
    "_id",
)
EMAIL_TAKEN = Problem(
    "user_exists", "User already exists", "Another user has this email. Change that user with PUT.", "email"
)
OTHERS_EMAIL = Problem("email_taken", "Email taken", "Another user has this email. Nothing was changed.", "email")
ERASED = Problem(
    "user_erased", "User was erased", "An _id that was erased never comes back. Create a user without it.", "_id"
)
ERASED_USER = ERASED._replace(field="user._id")
SYSTEM_ATTRIBUTE = Problem(
    "system_attribute",
    "Attribute kept by the system",
    "The system maintains this attribute, so it cannot be removed.",
    "name",
)
EMAIL_STAYS = SYSTEM_ATTRIBUTE._replace(
    description="The email identifies the user and cannot be removed. To change it, use PUT /v1/user/{id}/email.",
)
MISSING_EVENT_ID = Problem(
    "missing_event_id",
    "Missing eventId",
    "Add an eventId to every event of the batch. Keep it and send the same one when you retry.",
    "eventId",
)
INVALID_EVENT_ID = Problem(
    "invalid_event_id",
    "Invalid eventId",
    "Use 1 to 128 ASCII letters, digits or punctuation, without spaces. A UUID works.",
    "eventId",
)
MISSING_EVENT_TIME = Problem(
    "missing_event_time",
    "Missing eventTime",
    "Add eventTime: this eventId contains no time. (Only a UUIDv7 does.)",
    "eventTime",
)
EVENT_TIME_FORM = (
    "Write eventTime like 2026-11-24T08:00:00Z: a T before the time, and Z or an offset such as +02:00 at the end."
)
EVENT_TIME_AHEAD = "eventTime is more than 5 minutes in the future. Check your server's clock."
EVENT_TIME_BACK = (
    'eventTime is more than 35 days old. Send old events with POST /v1/events/ and "import": true next to events. '
    "POST /v1/event/ ignores import."
)
EVENT_TIME_BEFORE_2000 = "eventTime is before the year 2000. Send the time at which the event happened."
MISSING_EVENTS = Problem(
    "missing_events",
    "Missing events",
    "Send events, a list of 1 to 100 events; a single event goes to POST /v1/event/.",
    "events",
)
INVALID_EVENTS = MISSING_EVENTS._replace(code="invalid_events", message="Invalid events")
TOO_MANY_EVENTS = Problem(
    "too_many_events", "Too many events", "A batch has at most 100 events. Send several batches.", "events"
)
INVALID_ENTRY = Problem("invalid_events", "Invalid event", "Send each entry of events as an object.")
INVALID_IMPORT = Problem("invalid_import", "Invalid import", "import must be true or false.", "import")
KEY_REUSED = Problem(
    "idempotency_key_reused",
    "Idempotency-Key reused",
    "This key was already used with a different body. Use a new key for a new request.",
)
KEY_NOT_FOR_BATCHES = "A batch takes no Idempotency-Key: the eventId of each event makes it safe to send again."
KEY_NOT_FOUND = Problem("key_not_found", "Key not found", "The account has no key with this keyId.", "keyId")
KEY_REVOKED = Problem("key_revoked", "Key revoked", "The key is revoked already. Create a new one.", "keyId")
BODY_TOO_LARGE = Problem("body_too_large", "Request too large", "A body may have 256 KiB at most.")
BATCH_TOO_LARGE = Problem("body_too_large", "Request too large", "The body of a batch may have 1 MiB at most.")
EVENT_TOO_LARGE = Problem("body_too_large", "Event too large", "An event may have 256 KiB at most.")
UNSUPPORTED_ENCODING = Problem(
    "unsupported_encoding", "Unsupported Content-Encoding", "Send the body uncompressed, or compressed with gzip."
)
INTERNAL_ERROR = Problem(
    "internal_error",
    "Internal server error",
    "The request failed on our side. Send it again with the same Idempotency-Key or eventId. "
    "If it fails again, report the request id.",
)
STORE_UNAVAILABLE = Problem(
    "unavailable",
    "Service unavailable",
    "The service is busy. Wait Retry-After seconds and send the same request again, with the same Idempotency-Key or "
    "eventId.",
)
SEND_THE_BATCH_AGAIN = {
    INTERNAL_ERROR: "This event failed on our side. Send the batch again: events that are stored are not stored twice.",
    STORE_UNAVAILABLE: "The service is busy. Wait Retry-After seconds and send the batch again: events that are stored "
    "are not stored twice.",
}


def of_a_batch(problem: Problem) -> Problem:
    """Return a failure with the text for an event of a batch."""
    return problem._replace(description=SEND_THE_BATCH_AGAIN.get(problem, problem.description))


def unavailable(reason: str) -> Unavailable:
    return Unavailable([STORE_UNAVAILABLE], reason)


def wrong_method(method: str, form: str, others: Sequence[str]) -> Problem:
    """`form` is that of the path, such as /user/{id}; `others` are its methods."""
    do = "does" if len(others) == 1 else "do"
    return UNKNOWN_PATH._replace(description=f"{method} /v1{form} does not exist; {', '.join(others)} {do}.")


def forbidden(scope: str) -> Problem:
    description = f"This API key does not have the scope {scope}. Use a key that has it. Nothing was processed."
    return Problem("forbidden", "Forbidden", description)


def invalid_json(description: str) -> Problem:
    return Problem("invalid_json", "Invalid JSON", description)


def invalid_email(field: str) -> Problem:
    description = "This is not an email address. Send the address alone, such as name@example.com."
    return Problem("invalid_email", "Invalid email", description, field)


def invalid_attribute(field: str | None, hint: str) -> Problem:
    return Problem("invalid_attribute", "Invalid data format/type", "Error validating user attributes", field, hint)


def invalid_parameter(name: str, description: str) -> Problem:
    """Return the problem of a header or a query parameter with a wrong value."""
    return Problem("invalid_parameter", f"Invalid {name}", description, name)


def invalid_event_time(description: str) -> Problem:
    return Problem("invalid_event_time", "Invalid eventTime", description, "eventTime")


def unknown_event_type(names: Sequence[str], field: str) -> Problem:
    """Return the problem of an unknown type. `names` are all types, the most similar one first."""
    description = (
        f"Type names are case-sensitive. Closest: {names[0]}. All types: {', '.join(names)}. "
        "For your own events use generic."
    )
    return Problem("unknown_event_type", "Unknown event type", description, field)


def invalid_payload(wire_name: str, needs: str, field: str) -> Problem:
    return Problem("invalid_payload", f"Invalid {wire_name}", f"Send the payload of {wire_name} as {needs}.", field)


def missing_identifier(similar: Mapping[str, str]) -> Problem:
    """Return the problem of a user without email and _id. `similar` has similar names that were sent."""
    return MISSING_IDENTIFIER._replace(hint=next(starmap(_did_you_mean, similar.items()), None))


def missing_field(name: str, place: str, about: str, similar: str | None) -> Problem:
    """Return the problem of a missing field, described by `about`. `similar` is a similar name that was sent."""
    description = f"Add {name} to {place}: {about[:1].lower()}{about[1:]}"
    description += f" {_did_you_mean(similar, name)}" if similar else ""
    return Problem("missing_field", f"Missing {name}", description, f"{place}.{name}")


def _did_you_mean(sent: str, name: str) -> str:
    return f"It has {sent[:MAX_PLACE]}; did you mean {name}? Names are case-sensitive."


def invalid_field(name: str, description: str, field: str) -> Problem:
    return Problem("invalid_field", f"Invalid {name}", description, field)


def invalid_text(field: str) -> Problem:
    description = "The text contains half of a character, for example half an emoji. Cut text by whole characters."
    return Problem("invalid_text", "Invalid text", description, field)


def invalid_number(field: str) -> Problem:
    description = "A number has at most 38 digits, between 1E-130 and 9.99E+125. Round it, or send it as a string."
    return Problem("invalid_number", "Invalid number", description, field)


def invalid_name(field: str) -> Problem:
    description = "A name in it is empty, not valid Unicode, or longer than 50,000 bytes. Rename it."
    return Problem("invalid_name", "Invalid name", description, field)


def too_many_levels(levels: int, field: str) -> Problem:
    description = f"There may be {levels} levels of lists and objects. Send a flatter value, or send it as a string."
    return Problem("too_many_levels", "Too many levels", description, field)


TOO_LARGE = {
    "event": "The event would exceed 400 KB. Send less.",
    "user": "The user's profile is full. Delete attributes with DELETE /v1/user/{id}/attributes/{name}, then send this "
    "again.",
}


def too_large(field: str) -> TooLarge:
    """Return the refusal of an item above 400 KB. `field` is event or user."""
    return TooLarge([Problem("item_too_large", "Item too large", TOO_LARGE.get(field, TOO_LARGE["event"]), field)])


# --- Warnings -------------------------------------------------------------------------------------

MAX_NOTICES, MAX_PLACE = 50, 100  # of one kind for one event: entries, and characters of each field

# The message of each warning by its code. The meaning of a code never changes; its message may.
WARNINGS = {
    "system_attribute_ignored": "The system maintains this attribute. What was sent was ignored.",
    "email_ignored": "email was ignored: this request cannot change the user's email. Use PUT /v1/user/{id}/email.",
    "older_than_profile": "This was ignored: the event is older than the newest change of the profile.",
    "profile_full": "This was not set, because the profile is full. The event itself is stored.",
    "tag_ignored": "This tag was ignored: it contains no letter and no digit.",
    "comma_in_tags": "A comma does not separate tags, so this became one tag. Use ; between tags, or send a list.",
    "total_not_counted": "total is not a number below 10^15, so the event is stored but not added to the customer's "
    "totals. Use a dot and no currency sign: 59.90.",
    "similar_name": "This name was not read; did you mean {known}? Names are case-sensitive.",
    "user_without_email": "The user has no email: it was not found in this field. Send email at the top of the body.",
    "event_id_reused": "This eventId was already used for another event of this time. Nothing was stored.",
}


def notice(code: str, field: str, known: str = "") -> Notice:
    """Return the warning with one of WARNINGS for a field. `known` is the name of the contract that it resembles."""
    # The field may have a name that cannot be stored. The warning is stored.
    place = field[:MAX_PLACE].encode(errors="replace").decode()
    return Notice(place, WARNINGS[code].replace("{known}", known), code)


def notices(code: str, fields: Sequence[str]) -> list[Notice]:
    """Return one warning for each field, and one for all fields after the first MAX_NOTICES."""
    listed = [notice(code, field) for field in fields[:MAX_NOTICES]]
    if left := len(fields) - len(listed):
        around = fields[0].rpartition(".")[0][:MAX_PLACE]
        listed.append(Notice(around, f"The same is true of {left} more.", code))
    return listed


OTHER_EVENT = notice("event_id_reused", "eventId")
