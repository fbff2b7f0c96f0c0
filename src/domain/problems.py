"""Everything that can be wrong with a request, closed: contract, sections 1, 2, 6, 7, 9 and 11.

    Refused                  nothing was stored; `problems` lists all that is wrong
    ├── Invalid              the request is wrong; mend it
    ├── Unauthorized         no account: the key is missing, unknown, expired or revoked
    ├── Forbidden            the key does not have the scope that the request needs
    ├── NotFound             the user, the path or the method does not exist
    ├── Conflict             a taken email, or an _id that was erased
    ├── TooLarge             the body, or the item it would become
    ├── UnsupportedEncoding  a body compressed in another way than gzip
    ├── KeyReused            an Idempotency-Key that was already used with a different body
    ├── Unavailable          the store throttles or does not answer; send it again later
    └── Failed               an error of ours; the cause is in the log

A `Problem` is one entry of the `errors` list that callers see. It never carries a value that was sent.
Nothing outside this module makes one from scratch.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong (`message`), what to do (`description`), where (`field`, a dotted path), for programs (`code`).

    `in_batch` is the field where it is told only of an event of a batch. `as_documented`: outside of a batch the body
    has no `code`, because it is shown so in the public documentation that callers know.
    """

    code: str
    message: str
    description: str
    field: str | None = None
    in_batch: str | None = None
    as_documented: bool = False

    def under(self, place: str) -> "Problem":
        """The same problem of an event of a batch; `place` is where the event stands."""
        field = self.field or self.in_batch
        return replace(self, field=f"{place}.{field}" if field else place, as_documented=False)


@dataclass(frozen=True, slots=True)
class Notice:
    """Something of an accepted request that was kept out or changed: an entry of `warnings`."""

    field: str
    message: str


class Refused(Exception):
    """Nothing was stored. Only its subclasses are raised. `event_type` is the known type of the event in question, if
    any.
    """

    event_type: str | None = None

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(problem.message for problem in self.problems))


class Invalid(Refused): ...


class Unauthorized(Refused): ...


class Forbidden(Refused): ...


class NotFound(Refused): ...


class Conflict(Refused): ...


class TooLarge(Refused): ...


class UnsupportedEncoding(Refused): ...


class KeyReused(Refused): ...


class Unavailable(Refused):
    """`reason` is DynamoDB's code, or NoAnswer, or OutOfTime: for the log, never for callers."""

    def __init__(self, problems: Iterable[Problem], reason: str) -> None:
        super().__init__(problems)
        self.reason = reason


class Failed(Refused):
    """An event met an error of ours: `__cause__` has it. The other events of its batch go on."""

    @classmethod
    def by(cls, error: Exception) -> "Failed":
        failed = cls([INTERNAL_ERROR])
        failed.__cause__ = error
        return failed


# What each code means, whatever its message says: the source of docs/codes.md. Codes never change their meaning.
CODES: dict[str, type[Refused]] = {
    "invalid_json": Invalid,
    "missing_event": Invalid,
    "invalid_event": Invalid,
    "more_than_one_event": Invalid,
    "unknown_event_type": Invalid,
    "invalid_payload": Invalid,
    "missing_field": Invalid,
    "invalid_field": Invalid,
    "invalid_text": Invalid,
    "invalid_number": Invalid,
    "invalid_name": Invalid,
    "too_many_levels": Invalid,
    "missing_user": Invalid,
    "invalid_user": Invalid,
    "missing_identifier": Invalid,
    "identifiers_disagree": Invalid,
    "invalid_email": Invalid,
    "invalid_id": Invalid,
    "invalid_attribute": Invalid,
    "system_attribute": Invalid,
    "missing_event_id": Invalid,
    "invalid_event_id": Invalid,
    "missing_event_time": Invalid,
    "invalid_event_time": Invalid,
    "missing_events": Invalid,
    "invalid_events": Invalid,
    "too_many_events": Invalid,
    "invalid_import": Invalid,
    "invalid_parameter": Invalid,
    "unauthorized": Unauthorized,
    "forbidden": Forbidden,
    "user_not_found": NotFound,
    "erasure_not_found": NotFound,
    "not_found": NotFound,
    "key_not_found": NotFound,
    "user_exists": Conflict,
    "email_taken": Conflict,
    "user_erased": Conflict,
    "key_revoked": Conflict,
    "body_too_large": TooLarge,
    "item_too_large": TooLarge,
    "unsupported_encoding": UnsupportedEncoding,
    "idempotency_key_reused": KeyReused,
    "unavailable": Unavailable,
    "internal_error": Failed,
}

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
    "unauthorized", "Unauthorized", "Send a valid API key in the Authorization header, as it is: no Bearer, no Basic."
)
INVALID_EVENT = Problem(
    "invalid_event", "Invalid event", "event is an object with the event's type as its key.", "event"
)
MORE_THAN_ONE_EVENT = Problem(
    "more_than_one_event", "More than one event", "Send one event in each request. Nothing was stored.", "event"
)
MISSING_USER = Problem(
    "missing_user", "Missing user information", "Please send user information along with event", "user"
)
INVALID_USER = Problem("invalid_user", "Invalid user", "user is an object with email or _id.", "user")
MISSING_IDENTIFIER = Problem(
    "missing_identifier", "Missing user identifier", "Please send the user's email or _id", "user"
)
IDENTIFIERS_DISAGREE = Problem(
    "identifiers_disagree",
    "User identifiers disagree",
    "email and _id belong to different users. Send one of them.",
    "user",
)
ID_OF_NOBODY = Problem(
    "identifiers_disagree",
    "User identifiers disagree",
    "The email belongs to a user, but no user has this _id. Send one of them.",
    "user",
)
INVALID_USER_ID = Problem("invalid_id", "Invalid _id", "_id is a string. Send it as an answer gave it.", "user._id")
INVALID_ID = Problem("invalid_id", "Invalid _id", "An _id is a UUID in lower case.", "_id")
EMAIL_TAKEN = Problem(
    "user_exists", "User already exists", "Another user has this email. Change that user with PUT.", "email"
)
OTHERS_EMAIL = Problem("email_taken", "Email taken", "Another user has this email. Nothing was changed.", "email")
ERASED = Problem(
    "user_erased", "User was erased", "An _id that was erased never comes back. Create a user without it.", "_id"
)
SYSTEM_ATTRIBUTE = Problem(
    "system_attribute",
    "Attribute kept by the system",
    "The system maintains this attribute, so it cannot be removed.",
    "name",
)
MISSING_EVENT_ID = Problem(
    "missing_event_id",
    "Missing eventId",
    "Each event of a batch has an eventId, so that it can be sent again.",
    "eventId",
)
INVALID_EVENT_ID = Problem(
    "invalid_event_id", "Invalid eventId", "An eventId has 1 to 128 visible ASCII characters.", "eventId"
)
MISSING_EVENT_TIME = Problem(
    "missing_event_time", "Missing eventTime", "An eventId that is no UUIDv7 needs an eventTime beside it.", "eventTime"
)
EVENT_TIME_FORM = "eventTime is a time in RFC 3339 with an offset, such as 2026-11-24T08:00:00.120Z."
EVENT_TIME_AHEAD = "eventTime is more than 5 minutes ahead of our clock. Check your own."
EVENT_TIME_BACK = 'eventTime is more than 35 days back. A batch with "import": true may go back to the year 2000.'
EVENT_TIME_BEFORE_2000 = "eventTime is before the year 2000. Send the time at which the event happened."
MISSING_EVENTS = Problem("missing_events", "Missing events", "events is a list of 1 to 100 events.", "events")
INVALID_EVENTS = Problem("invalid_events", "Invalid events", "events is a list of 1 to 100 events.", "events")
TOO_MANY_EVENTS = Problem(
    "too_many_events", "Too many events", "A batch has at most 100 events. Send several batches.", "events"
)
INVALID_ENTRY = Problem("invalid_events", "Invalid event", "Each entry of events is an object.")
INVALID_IMPORT = Problem("invalid_import", "Invalid import", "import is true or false.", "import")
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
    "unsupported_encoding", "Unsupported Content-Encoding", "A body is sent as it is, or compressed with gzip."
)
INTERNAL_ERROR = Problem("internal_error", "Internal server error", "The event failed on our side. Send it again.")
STORE_UNAVAILABLE = Problem("unavailable", "Service unavailable", "The store is busy. Send the request again later.")


def unavailable(reason: str) -> Unavailable:
    return Unavailable([STORE_UNAVAILABLE], reason)


def forbidden(scope: str) -> Problem:
    description = f"This API key does not have the scope {scope}. Use a key that has it. Nothing was processed."
    return Problem("forbidden", "Forbidden", description)


def internal_error(request_id: str) -> Problem:
    return replace(INTERNAL_ERROR, description=f"The request failed on our side. Request id: {request_id}")


def invalid_json(description: str) -> Problem:
    return Problem("invalid_json", "Invalid JSON", description)


def invalid_email(field: str) -> Problem:
    return Problem(
        "invalid_email",
        "Invalid email",
        "This is not an email address. Send the address alone, such as ana@example.com.",
        field,
    )


def invalid_attribute(field: str) -> Problem:
    return Problem("invalid_attribute", "Invalid data format/type", "Error validating user attributes", field)


def invalid_parameter(name: str, description: str) -> Problem:
    """A header or a query parameter with a wrong value."""
    return Problem("invalid_parameter", f"Invalid {name}", description, name)


def invalid_event_time(description: str) -> Problem:
    return Problem("invalid_event_time", "Invalid eventTime", description, "eventTime")


def unknown_event_type(names: str, field: str) -> Problem:
    description = f"The event types are {names}. For an event of your own use generic with an event_name."
    return Problem("unknown_event_type", "Unknown event type", description, field)


def invalid_payload(wire_name: str, needs: str, field: str) -> Problem:
    return Problem("invalid_payload", f"Invalid {wire_name}", f"The payload of {wire_name} is {needs}.", field)


def missing_field(name: str, description: str, field: str) -> Problem:
    return Problem("missing_field", f"Missing {name}", description, field)


def invalid_field(name: str, description: str, field: str) -> Problem:
    return Problem("invalid_field", f"Invalid {name}", description, field)


def invalid_text(field: str) -> Problem:
    return Problem("invalid_text", "Invalid text", "A lone surrogate is not a character. Send valid Unicode.", field)


def invalid_number(field: str) -> Problem:
    description = "A number has at most 38 digits, between 1E-130 and 9.99E+125. Round it, or send it as a string."
    return Problem("invalid_number", "Invalid number", description, field)


def invalid_name(field: str) -> Problem:
    description = "A name is not empty, valid Unicode, 50,000 bytes at most."
    return Problem("invalid_name", "Invalid name", description, field)


def too_many_levels(levels: int, field: str) -> Problem:
    description = f"There may be {levels} levels of lists and objects. Send a flatter value, or send it as a string."
    return Problem("too_many_levels", "Too many levels", description, field)


def too_large(field: str) -> Problem:
    return Problem(
        "item_too_large",
        "Item too large",
        "With this the event or the profile would exceed 400 KB. Send less, or remove attributes.",
        field,
    )
