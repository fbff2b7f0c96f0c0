"""Everything that can be wrong with a request, closed: contract sections 1, 2, 6 and 7.

    Refused                  nothing was stored; `problems` lists all that is wrong
    ├── Invalid              the request is wrong; mend it
    ├── Unauthorized         no account: the key is missing, unknown, expired or revoked
    ├── NotFound             the user, the path or the method does not exist
    ├── Conflict             a taken email, or an _id that is not free yet
    ├── TooLarge             the body, or the item it would become
    ├── KeyReused            an Idempotency-Key that came with another body before
    └── Unavailable          the store throttles or does not answer; send it again later

A `Problem` is one entry of the `errors` list that callers see. It never carries a value that was sent.
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong (`message`), what to do (`description`), where (`field`, a dotted path)."""

    message: str
    description: str
    field: str | None = None


@dataclass(frozen=True, slots=True)
class Warning:
    """Something of an accepted request that was kept out or changed."""

    field: str
    message: str


class Refused(Exception):
    """Nothing was stored. Only its subclasses are raised."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(problem.message for problem in self.problems))


class Invalid(Refused): ...


class Unauthorized(Refused): ...


class NotFound(Refused): ...


class Conflict(Refused): ...


class TooLarge(Refused): ...


class KeyReused(Refused): ...


class Unavailable(Refused): ...


# The two documented bodies: without `field`, to the letter.
MISSING_EVENT = Problem("Missing event information", "Please send event information along with user")
UNKNOWN_EMAIL = Problem("User not found", "This email does not exist in our database.")

UNKNOWN_ID = Problem("User not found", "This _id does not exist in our database.")
UNKNOWN_PATH = Problem("Not found", "There is no such path or method.")
UNAUTHORIZED = Problem(
    "Unauthorized", "Send a valid API key in the Authorization header, as it is: no Bearer, no Basic."
)
MISSING_USER = Problem("Missing user information", "Please send user information along with event", "user")
MISSING_IDENTIFIER = Problem("Missing user identifier", "Please send the user's email or _id", "user")
IDENTIFIERS_DISAGREE = Problem(
    "User identifiers disagree", "email and _id belong to different users. Send one of them.", "user"
)
EMAIL_TAKEN = Problem("User already exists", "Another user has this email.", "email")
BEING_ERASED = Problem(
    "User is being erased", "This _id is free when nothing of its user is left, after a few minutes.", "_id"
)
KEY_REUSED = Problem(
    "Idempotency-Key reused", "This key came with another body before. Use a new key for a new request."
)
BODY_TOO_LARGE = Problem("Request too large", "A body may have 256 KiB at most.")
STORE_UNAVAILABLE = Problem("Service unavailable", "The store is busy. Send the request again later.")


def invalid_json(description: str) -> Problem:
    return Problem("Invalid JSON", description)


def invalid_email(field: str) -> Problem:
    return Problem("Invalid email", "This is not an email address.", field)


def invalid_attribute(field: str) -> Problem:
    return Problem("Invalid data format/type", "Error validating user attributes", field)


def invalid_parameter(name: str, description: str) -> Problem:
    """A header or a query parameter with a wrong value."""
    return Problem(f"Invalid {name}", description, name)


def too_large(field: str) -> Problem:
    return Problem("Item too large", "With this the stored item would exceed DynamoDB's 400 KB.", field)
