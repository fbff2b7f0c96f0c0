"""Make docs/codes.md from the closed lists of codes: `make openapi`. The meaning of each code is written here."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

from docs.openapi import FIRST, OF_STATUS, document
from domain.event_types import restrictions
from domain.problems import KEY_NOT_FOUND, KEY_REVOKED, MISSING_EVENT_ID, UNKNOWN_PATH, Problem
from domain.restrictions import OnceForEachValue, OnceInWindow, Restriction
from handlers.rest import errors_of

FILE = Path(__file__).with_name("codes.md")


class About(NamedTuple):
    means: str
    do: str


MEANS: dict[str, About] = {
    "invalid_json": About(
        "The body is not a JSON object in UTF-8, a name is in it twice, or its gzip is broken.",
        "Look at the line and the column in the description. Let a library write the JSON.",
    ),
    "missing_event": About("There is no `event`, or it is empty.", "Send `event` with one type as its key."),
    "invalid_event": About("`event` is not an object.", "Send an object with one type as its key."),
    "more_than_one_event": About("`event` has several keys.", "Send each event by itself, or all in a batch."),
    "unknown_event_type": About(
        "There is no such event type.",
        "Mind capital letters: the description begins with the nearest type. Send an event of your own as `generic`.",
    ),
    "invalid_payload": About("The payload is not an object, or an `update` without attributes.", "Send an object."),
    "missing_field": About("The event lacks a field that its type needs.", "Send the field that `field` names."),
    "invalid_field": About("A field of the event has a wrong value.", "Send what the description asks for."),
    "invalid_text": About(
        "A text holds half of a surrogate pair, which is no character.", "Do not cut texts between the two halves."
    ),
    "invalid_number": About(
        "A number has more than 38 digits, or is too large or too small for DynamoDB.",
        "Round it, or send it as a string.",
    ),
    "invalid_name": About("The name of a field is empty, too long or no Unicode.", "Give the field another name."),
    "too_many_levels": About("Lists and objects are nested too deep.", "Send a flatter value, or send it as a string."),
    "missing_user": About("There is no `user`, or it is empty.", "Send `user` with `email` or `_id`."),
    "invalid_user": About("`user` is not an object.", "Send an object with `email` or `_id`."),
    "missing_identifier": About("`user` has neither `email` nor `_id`.", "Send one of them."),
    "identifiers_disagree": About("`email` and `_id` do not name the same user.", "Send one of them."),
    "invalid_email": About("This is not an email address.", "Send the address alone, without a name."),
    "invalid_id": About("This cannot be the `_id` of a user.", "Send the `_id` as an answer gave it."),
    "invalid_attribute": About(
        "An attribute has a value that it cannot have, or that cannot be stored.", "Mend the one that `field` names."
    ),
    "system_attribute": About("The attribute is kept by the system.", "Leave it."),
    "missing_event_id": About(
        "An event of a batch has no `eventId`.", "Give each event an id of its own, and keep it."
    ),
    "invalid_event_id": About("The `eventId` is empty, too long, or has other characters.", "Send a UUID."),
    "missing_event_time": About(
        "The `eventId` is no UUIDv7, and there is no `eventTime`.", "Send the time at which the event happened."
    ),
    "invalid_event_time": About(
        "The `eventTime` is not written as RFC 3339 asks, or it lies too far ahead or back.",
        "Send an offset, check your clock, and import old events with `import`.",
    ),
    "missing_events": About("The batch has no events.", "Send `events`, a list of 1 to 100 events."),
    "invalid_events": About("`events` is not a list, or an entry is not an object.", "Send a list of objects."),
    "too_many_events": About("The batch has more than 100 events.", "Send several batches."),
    "invalid_import": About("`import` is neither true nor false.", "Send `true`, or leave it out."),
    "invalid_parameter": About("A header or a query parameter has a wrong value.", "Mend the one that `field` names."),
    "bad_request": About("API Gateway refused the request by itself.", "Check the URL and the headers."),
    "unauthorized": About(
        "The API key is missing, unknown, expired or revoked.", "Send a valid key in `Authorization`, without `Bearer`."
    ),
    "forbidden": About(
        "The API key does not have the scope that the request needs. The description names the scope.",
        "Use a key that has the scope, or ask the operator for one.",
    ),
    "user_not_found": About("There is no such user in this account.", "Create the user, then send the event again."),
    "erasure_not_found": About(
        "No user with this `_id` was erased in this account.",
        "Send the `_id` that the response to the `DELETE` contained.",
    ),
    "not_found": About("There is no such path or method.", "Check the URL: it begins with `/v1`."),
    "key_not_found": About("The account has no such key. Only operators see this.", "List the keys of the account."),
    "user_exists": About("Another user has this email.", "Change that user with PUT."),
    "email_taken": About(
        "The new email of a user belongs to another user.",
        "Choose another email, or erase or change the other user first.",
    ),
    "user_erased": About("This `_id` was erased, and never comes back.", "Create the user without an `_id`."),
    "key_revoked": About("The key was revoked before. Only operators see this.", "Create a new key."),
    "body_too_large": About("The body, or an event of a batch, is too large.", "Send less at once."),
    "item_too_large": About(
        "With this the event or the profile would not fit into DynamoDB's 400 KB.", "Send less, or remove attributes."
    ),
    "unsupported_encoding": About("The body is compressed in another way than gzip.", "Use gzip, or do not compress."),
    "idempotency_key_reused": About(
        "This `Idempotency-Key` was already used with a different body.", "Use a new key for a new request."
    ),
    "too_many_requests": About("The rate limit is reached.", "Send the request again after `Retry-After` seconds."),
    "internal_error": About("The request failed on our side.", "Send it again, and tell us the id of the request."),
    "unavailable": About("The store is busy.", "Send the request again after `Retry-After` seconds."),
}


def about(restriction: Restriction) -> About:
    """Return the description of a restriction's code. An event type declares its restriction."""
    means = "The user agent of the visitor says that it is a crawler."
    if isinstance(restriction, OnceForEachValue):
        means = f"An event with this `{restriction.field}` was received before; `first` names it."
    elif isinstance(restriction, OnceInWindow):
        minutes = restriction.window // timedelta(minutes=1)
        means = f"The user has such an event less than {minutes} minutes before or after it; `first` names that one."
    return About(means, "There is nothing to do: it is settled.")


ALL = MEANS | {code: about(restriction) for code, restriction in restrictions().items()}
STATUS = {**OF_STATUS, "bad_request": 400, **dict.fromkeys(restrictions(), 200)}
BAD_REQUEST = Problem("bad_request", "Request refused", "The gateway refused the request: BAD_REQUEST_BODY.")
NOT_IN_THE_DOCUMENT = [BAD_REQUEST, UNKNOWN_PATH, KEY_NOT_FOUND, KEY_REVOKED, MISSING_EVENT_ID.under("events.0")]
HEAD = """\
# Codes

<!-- Made by `make openapi`. -->

Each error has a `code`, and the header `X-Error-Code` names the first one. A code never changes its meaning. There may
be new codes. Two bodies are as clients of 1.0 know them and have no `code`: the header has it. A discarded event is no
error; its code is in the results of a batch.
"""


def examples() -> dict[str, Any]:
    """One for each code: what the API answers."""
    shown = {problem.code: errors_of([problem])["errors"][0] for problem in NOT_IN_THE_DOCUMENT}
    for path in document()["paths"].values():
        for operation in path.values():
            for response in operation["responses"].values():
                media = response["content"]["application/json"]["examples"]
                shown |= {code: each["value"]["errors"][0] for code, each in media.items() if code in OF_STATUS}
    for code, restriction in restrictions().items():
        first = {} if code == "bot" else {"first": FIRST}
        shown[code] = {"status": "discarded", "code": code, "message": restriction.text, **first}
    return shown


def text() -> str:
    shown = examples()
    sections = [HEAD]
    for status in sorted(set(STATUS.values())):
        sections.append(f"## {status}\n")
        for code in (code for code in ALL if STATUS[code] == status):
            example = json.dumps(shown[code], ensure_ascii=False)
            sections.append(f"### `{code}`\n\n{' '.join(ALL[code])}\n\n```json\n{example}\n```\n")
    return "\n".join(sections)


if __name__ == "__main__":
    FILE.write_text(text())
