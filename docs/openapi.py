"""Makes docs/openapi.json from what validates and answers: `make openapi`.

The payloads come from the catalogue of event types, the errors from the closed list of problems. Client generators
read the document, so no schema refers to itself, no `$ref` has neighbours, and what callers build has a name.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic.json_schema import models_json_schema

from domain.accounts import SCOPES
from domain.event_types import CATALOGUE, TAGS_SCHEMA, EventType, restrictions
from domain.outcomes import MAX_KEY_LENGTH
from domain.problems import (
    BATCH_TOO_LARGE,
    BODY_TOO_LARGE,
    EMAIL_TAKEN,
    ERASED,
    ERASED_USER,
    ERASURE_NOT_FOUND,
    IDENTIFIERS_DISAGREE,
    INTERNAL_ERROR,
    INVALID_EVENTS,
    INVALID_ID,
    INVALID_IMPORT,
    KEY_NOT_FOR_BATCHES,
    KEY_REUSED,
    MISSING_EVENTS,
    OTHERS_EMAIL,
    STORE_UNAVAILABLE,
    SYSTEM_ATTRIBUTE,
    TOO_MANY_EVENTS,
    UNAUTHORIZED,
    UNKNOWN_EMAIL,
    UNKNOWN_ID,
    UNSUPPORTED_ENCODING,
    WARNINGS,
    Conflict,
    Failed,
    Forbidden,
    Invalid,
    KeyReused,
    NotFound,
    Problem,
    Refused,
    TooLarge,
    Unauthorized,
    Unavailable,
    UnsupportedEncoding,
    forbidden,
    invalid_attribute,
    invalid_email,
    invalid_json,
    invalid_parameter,
    of_a_batch,
    too_large,
)
from domain.profile import SYSTEM_ATTRIBUTES
from domain.request import MAX_EVENT_ID_LENGTH, MAX_EVENTS, USER_ATTRIBUTES, parse_request
from domain.values import MAX_LEVELS
from handlers import event_api, user_api
from handlers.bodies import json_object
from handlers.rest import RETRY_AFTER, errors_of
from use_cases import refusals
from use_cases.pages import DEFAULT_LIMIT, LIMIT, MAX_LIMIT
from use_cases.users import CURSOR, TIME_FORM, TYPES

Json = dict[str, Any]

FILE = Path(__file__).with_name("openapi.json")
SCHEMAS = "#/components/schemas/"
EMAIL = "ana@example.com"
USER_ID = "01a20788-5653-7117-8650-7680cb8c2cb9"
EVENT_ID = "01a20788-5a84-78c8-9a0e-41facae8e785"
GATEWAY_ID = "JKJaXmPLvHcESHA="
TIME = "2026-11-23T08:31:45.234Z"
LATER = "2026-11-23T08:33:00.120Z"
CREATED_USER = {"_id": USER_ID, "email": EMAIL, "createdOn": TIME, "firstname": "Ana"}
CHANGED_USER = {**CREATED_USER, "tags": ["vip"]}
CREATED = {"message": "Event created", "email": "Event was created for the specified user"}
FIRST = {"eventId": EVENT_ID, "createdOn": TIME, "samePayload": True}

ABOUT = """\
Collects what the customers of an online shop do, and keeps their profiles.

Send events with `POST /v1/event/`, or many at once with `POST /v1/events/`. With `upsert=true` the first event of a \
user creates the user; otherwise create users with `POST /v1/user/`. Read the results with `GET /v1/user/{id}` and \
`GET /v1/user/{id}/events`.

Bodies are JSON, regardless of `Content-Type`, with at most 256 KiB, or 1 MiB for a batch. They may be compressed with \
gzip. Unknown fields and parameters are ignored. Every path works with and without its last slash."""
TAGS = {
    "Events": "Send what customers do: orders, logins, product views, email opens, custom events.",
    "Users": "Read and change the profiles of customers, list their events, and erase customers.",
    "Refusals": "Find out which requests were refused, and why, without access to the logs.",
}

# The meaning of each status, for any problem.
MEANINGS = {
    400: "The request is wrong. Each error says what to correct. Nothing was stored.",
    401: "The API key is missing, unknown, expired or revoked.",
    403: "The API key does not have the scope that the request needs. Nothing was processed.",
    404: "The user does not exist. An unknown path or method gets the same status.",
    409: "The email belongs to another user, or the `_id` was erased.",
    413: "The body, the event or the profile is too large.",
    415: "The body is compressed in another way than gzip.",
    422: "The `Idempotency-Key` was already used with a different body.",
    429: "The rate limit is reached. Send the request again after `Retry-After` seconds.",
    500: "The request failed on our side. Send it again; the description has the id of the request.",
    503: "The store is busy or does not answer. Send the request again after `Retry-After` seconds.",
}
OF_A_BATCH = {
    200: "Every event is settled.",
    207: "Some events are settled, others were refused or failed. If any failed, there is `Retry-After`.",
    400: "The body has `results`: all events were refused. Or it has `errors`: the batch itself is wrong. Nothing was "
    "stored.",
    503: "No event is settled, and some failed. Send the batch again after `Retry-After` seconds.",
}
TOO_MANY_REQUESTS = Problem(
    "too_many_requests",
    "Too many requests",
    "The rate limit is reached. Wait Retry-After seconds and send the same request again.",
)
GATEWAYS = {TOO_MANY_REQUESTS.code: 429}  # statuses of API Gateway that no function returns
# The kind of refusal of each code. A code never changes its meaning.
CODES: dict[str, type[Refused]] = {
    code: kind
    for kind, codes in {
        Invalid: (
            "invalid_json missing_event invalid_event more_than_one_event unknown_event_type invalid_payload "
            "missing_field invalid_field invalid_text invalid_number invalid_name too_many_levels missing_user "
            "invalid_user missing_identifier identifiers_disagree invalid_email invalid_id invalid_attribute "
            "system_attribute missing_event_id invalid_event_id missing_event_time invalid_event_time "
            "missing_events invalid_events too_many_events invalid_import invalid_parameter"
        ),
        Unauthorized: "unauthorized",
        Forbidden: "forbidden",
        NotFound: "user_not_found erasure_not_found not_found key_not_found",
        Conflict: "user_exists email_taken user_erased key_revoked",
        TooLarge: "body_too_large item_too_large",
        UnsupportedEncoding: "unsupported_encoding",
        KeyReused: "idempotency_key_reused",
        Unavailable: "unavailable",
        Failed: "internal_error",
    }.items()
    for code in codes.split()
}
OF_STATUS = {code: kind.status for code, kind in CODES.items()} | GATEWAYS

EVERYWHERE = [UNAUTHORIZED, TOO_MANY_REQUESTS, INTERNAL_ERROR, STORE_UNAVAILABLE]
BROKEN_JSON = invalid_json("A comma or a closing bracket is missing at line 1, column 39.")
OF_BODIES = [BROKEN_JSON, BODY_TOO_LARGE, UNSUPPORTED_ENCODING]
UNKNOWN_USER = [UNKNOWN_EMAIL, UNKNOWN_ID]
OF_LIMITS = invalid_parameter("limit", LIMIT)
OF_CURSORS = invalid_parameter("cursor", CURSOR)


def document() -> Json:
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Event API",
            "version": "1.2.0",
            "description": ABOUT,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/v1", "description": "On the host that the stack's output ApiUrl names."}],
        "security": [{"apiKey": []}],
        "tags": [{"name": name, "description": description} for name, description in TAGS.items()],
        "paths": with_scopes(paths()),
        "components": {
            "securitySchemes": {
                "apiKey": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "The API key, alone or after `Bearer `. The scopes of a key: "
                    + "; ".join(f"`{scope}`, to {allows}" for scope, allows in SCOPES.items())
                    + ".",
                }
            },
            "schemas": {**general_schemas(), **event_schemas()},
        },
    }


def scope_of(method: str, path: str) -> str:
    """Return the scope that a key needs for an operation of the document."""
    return {**event_api.ROUTES, **user_api.ROUTES}[f"{method.upper()} {path.rstrip('/')}"].scope


def with_scopes(described: Json) -> Json:
    """Add to each operation the scope that it needs, and the answer to a key without it."""
    for path, methods in described.items():
        for method, operation in methods.items():
            scope = scope_of(method, path)
            operation["security"] = [{"apiKey": [scope]}]
            operation["description"] += f" The key needs the scope `{scope}`."
            operation["responses"] |= error_responses([forbidden(scope)])
            operation["responses"] = dict(sorted(operation["responses"].items()))
    return described


def ref(name: str) -> Json:
    return {"$ref": SCHEMAS + name}


# --- Paths ----------------------------------------------------------------------------------------


def paths() -> Json:
    identifier = parameter("path", "id", {"type": "string"}, "The user's email or `_id`.", EMAIL)
    of_attributes = [
        *OF_BODIES,
        invalid_attribute("email", invalid_email("email").description),
        *too_large("user").problems,
        EMAIL_TAKEN,
    ]
    return {
        "/event/": {"post": send_event()},
        "/events/": {"post": send_events()},
        "/events/check": {"post": check_events()},
        "/user/": {
            "post": operation(
                "createUser",
                "Create a user",
                "Creates a user with an email, or an anonymous user without one. The other fields are attributes of "
                "the user. Those that the system maintains, such as `_id`, are dropped with a warning.",
                answer("UserResult", {"results": [done("added new")], "object": CREATED_USER}, to_the_user()),
                of_attributes,
                body=content(ref("UserAttributes"), {"user": {"email": EMAIL, "firstname": "Ana"}}),
            )
        },
        "/user/{id}": {
            "get": operation(
                "readUser",
                "Read a user",
                "Returns the profile as one flat object: the attributes that were set, and those that the system "
                "maintains, such as the number of purchases.",
                answer("User", CHANGED_USER),
                UNKNOWN_USER,
                parameters=[identifier],
            ),
            "put": operation(
                "changeUser",
                "Set attributes of a user",
                "Sets the attributes that are sent and keeps the others. `tags` adds tags, and removes those with a "
                "minus before them. This request cannot change the email: see `changeEmail`.",
                answer("UserResult", {"results": [done("updated")], "object": CHANGED_USER}, to_the_user()),
                [*of_attributes, INVALID_ID, *UNKNOWN_USER, ERASED],
                parameters=[
                    identifier,
                    parameter(
                        "query", "upsert", {"type": "string"}, "`true` creates the user if there is none.", "true"
                    ),
                ],
                body=content(ref("UserAttributes"), {"attributes": {"firstname": "Ana", "tags": ["vip", "-trial"]}}),
            ),
            "delete": operation(
                "eraseUser",
                "Erase a user and all events",
                "Erases the profile, its events and everything else that names the person. The user does not exist "
                "any more after the response; the events are deleted within minutes. The `_id` never comes back. "
                "Keep the `_id` of `erasure` to read the receipt with `readErasure`.",
                answer(
                    "Erased",
                    {"results": [done("deleted")], "erasure": {"_id": USER_ID, "requestedOn": TIME}},
                    {"links": links("$response.body#/erasure/_id", "readErasure")},
                ),
                UNKNOWN_USER,
                parameters=[identifier],
            ),
        },
        "/user/{id}/email": {
            "put": operation(
                "changeEmail",
                "Change the email of a user",
                "Gives the user another email, or an anonymous user a first one, in one write. The `_id` and the "
                "events stay. The old email is free at once. If you repeat the request after a lost response, name the "
                "user by `_id`, because the old email may be unknown by then.",
                answer("UserResult", {"results": [done("updated")], "object": CREATED_USER}, to_the_user()),
                [*OF_BODIES, invalid_email("email"), *UNKNOWN_USER, OTHERS_EMAIL],
                parameters=[identifier],
                body=content(ref("NewEmail"), {"email": {"email": EMAIL}}),
            )
        },
        "/user/{id}/attributes/{name}": {
            "delete": operation(
                "removeAttribute",
                "Remove an attribute of a user",
                "Removes one attribute. If the user has no such attribute, the response is the same.",
                answer("UserResult", {"results": [done("updated")], "object": CREATED_USER}, to_the_user()),
                [SYSTEM_ATTRIBUTE, *UNKNOWN_USER],
                parameters=[
                    identifier,
                    parameter("path", "name", {"type": "string"}, "The name of the attribute to remove.", "city"),
                ],
            ),
        },
        "/user/{id}/events": {"get": list_events(identifier)},
        "/erasures/{id}": {"get": read_erasure()},
        "/refusals": {"get": list_refusals()},
    }


UPSERT: Json = {
    "name": "upsert",
    "in": "query",
    "required": False,
    "description": "`true` creates the user of an event, if the user does not exist, in the same write.",
    "schema": {"type": "string"},
}


def send_event() -> Json:
    examples = {
        name: {"user": {"email": EMAIL}, "event": {name: example_of(model)}} for name, model in CATALOGUE.items()
    }
    answers = {"created": {"results": CREATED}} | {
        code: {"results": {"message": "Event discarded", "email": restriction.text}} | first_of(restriction.code)
        for code, restriction in restrictions().items()
    }
    status = {"type": "string", "examples": ["created", "discarded"]}
    headers = {
        "X-Event-Id": header(
            {"type": "string", "examples": [EVENT_ID]},
            "The id of the event: your `eventId`, or a UUID that the API made. After a discard it names no stored "
            "event.",
        ),
        "X-Event-Status": header(status, "Whether the event was stored. Do not send a discarded event again."),
    }
    of_the_user = {
        "X-User-Id": header(
            {"type": "string", "format": "uuid", "examples": [USER_ID]},
            "The `_id` of the user. Absent if an upsert discarded the event and therefore created no user.",
        ),
        "X-User-Created": header({"type": "string", "examples": ["true"]}, "Present if the request created the user."),
    }
    headers |= {name: {**each, "required": False} for name, each in of_the_user.items()}
    replayed = header(
        {"type": "string", "examples": ["true"]},
        "Present if this request repeats an earlier one. The response is that of the earlier request.",
    )
    key = {"type": "string", "minLength": 1, "maxLength": MAX_KEY_LENGTH, "pattern": "\\S"}
    return operation(
        "sendEvent",
        "Send an event",
        "Stores one event. With `upsert` it creates the user if there is none, in the same write. A second "
        "confirmation of an order, a second email open within 20 minutes, and events of bots are discarded: the "
        "response is a 200 too, because sending them again changes nothing. After a 429, a 5xx or no response, send "
        "the same request again with the same `Idempotency-Key` or `eventId`.",
        {
            "description": "Created, or discarded by a rule: `X-Event-Status` says which.",
            "headers": {**REQUEST_ID, **headers, "Idempotent-Replayed": {**replayed, "required": False}},
            **content(ref("EventResult"), answers),
            "links": links("$response.header.X-User-Id", "listEvents", "readUser"),
        },
        [
            *[*invalid_events(), *UNKNOWN_USER, ERASED_USER],
            *[BODY_TOO_LARGE, *too_large("event").problems, UNSUPPORTED_ENCODING, KEY_REUSED],
        ],
        parameters=[
            parameter("header", "Idempotency-Key", key, "A repeat within 24 hours gets the first response."),
            UPSERT,
        ],
        body=content(ref("EventRequest"), examples),
    )


def send_events() -> Json:
    return batch_operation(
        "sendEvents",
        "Send many events",
        "Has the same effect as sending the events one after the other, in the order of the list. The response has the "
        "result of each event: read its `status`, because the HTTP status depends on all of them. If every event was "
        "refused, the response is a 400 with `results`. Send the whole batch again after a 207 with `failed` events, "
        "after a 429, 500 or 503, and after no response: a stored event is then a `duplicate`.",
        "BatchResult",
        {},
    )


def check_events() -> Json:
    return batch_operation(
        "checkEvents",
        "Check events without storing them",
        "Takes a batch and returns the result that each event would get. It changes nothing. Use it to test an "
        "integration or an import on real data.",
        "CheckResult",
        {"stored": False},
    )


def batch_operation(name: str, summary: str, description: str, result: str, beside: Json) -> Json:
    """Describe a batch operation. 200 and 207 have results; 400 and 503 have results or errors."""
    settled, refused, failed = settled_events(), refused_event(), failed_event()
    described = operation(
        name,
        summary,
        description,
        {
            "description": OF_A_BATCH[200],
            "headers": REQUEST_ID,
            **content(ref(result), {"settled": {**beside, "results": settled}}),
        },
        [*OF_BODIES[:1], *invalid_batches(), BATCH_TOO_LARGE, UNSUPPORTED_ENCODING],
        parameters=[UPSERT],
        body=content(ref("BatchRequest"), {"batch": example_of_a_batch()}),
    )
    responses = described["responses"]
    some = {"some_refused": [settled[0], refused], "some_failed": [settled[0], refused, failed]}
    responses["207"] = {
        "description": OF_A_BATCH[207],
        "headers": {
            **REQUEST_ID,
            "X-Error-Code": error_code(STORE_UNAVAILABLE),
            "Retry-After": {**retry_after(), "required": False},
        },
        **content(ref(result), {each: {**beside, "results": results} for each, results in some.items()}),
    }
    for status, entry in ((400, refused), (503, failed)):
        response = responses[str(status)]
        media = response["content"]["application/json"]
        media["schema"] = {"anyOf": [ref(result), media["schema"]]}
        media["examples"] = {f"all_{entry['status']}": {"value": {**beside, "results": [entry]}}, **media["examples"]}
        response["description"] = OF_A_BATCH[status]
    described["responses"] = dict(sorted(responses.items()))
    return described


def example_of_a_batch() -> Json:
    user = {"email": EMAIL}
    view = {"eventId": "view-77", "eventTime": TIME, "user": user, "event": {"viewitem": {"itemId": "SHOE-42-RED"}}}
    order = {"eventId": EVENT_ID, "user": user, "event": {"confirmation": {"orderId": "A-1001", "total": "59.90"}}}
    return {"events": [view, order]}


def settled_events() -> list[Json]:
    """One for each way in which an event is settled."""
    whose = {"eventId": "view-77", "userId": USER_ID}
    [seen, *_] = restrictions().values()
    return [
        {"status": "created", **whose, "warnings": []},
        {"status": "duplicate", **whose, "createdOn": TIME, "samePayload": True},
        {"status": "discarded", **whose, "code": seen.code, "message": seen.text, "first": FIRST},
    ]


def refused_event() -> Json:
    return {"status": "refused", "eventId": "view-78", **errors_of([UNKNOWN_EMAIL.under("events.1")])}


def failed_event() -> Json:
    return {"status": "failed", "eventId": "view-79", **errors_of([of_a_batch(STORE_UNAVAILABLE)], GATEWAY_ID)}


def first_of(code: str) -> Json:
    return {} if code == "bot" else {"first": FIRST}


def list_events(identifier: Json) -> Json:
    listed = {"_id": EVENT_ID, "type": "search", "payload": example_of(CATALOGUE["search"]), "createdOn": TIME}
    of_types = invalid_parameter("type", TYPES)
    types = {"type": "string", "enum": list(CATALOGUE)}
    moment = {"type": "string", "format": "date-time"}
    return operation(
        "listEvents",
        "List a user's events, newest first",
        "Returns a page of the user's events, by the time at which they happened. `cursor` leads to the next page; "
        "send it with the same `type`, `from` and `to`. The last page has none.",
        answer("EventList", {"events": [listed]}),
        [OF_LIMITS, of_types, invalid_parameter("from", f"Write from {TIME_FORM}"), OF_CURSORS, *UNKNOWN_USER],
        parameters=[
            identifier,
            limit("The maximum number of events in the response."),
            parameter("query", "type", types, "Only events of this type."),
            parameter("query", "from", moment, "Only events that happened at this time or later."),
            parameter("query", "to", moment, "Only events that happened before this time."),
            cursor({"pattern": "^[A-Za-z0-9_-]{43}$"}),
        ],
    )


def read_erasure() -> Json:
    receipt = {"_id": USER_ID, "status": "finished", "requestedOn": TIME, "finishedOn": LATER, "eventsDeleted": 42}
    return operation(
        "readErasure",
        "Read the receipt of an erasure",
        "Returns when the erasure of a user was requested and finished, and how many events it deleted. The receipt "
        "has no time limit, and names the person only by the `_id` in the request.",
        answer("Erasure", receipt),
        [ERASURE_NOT_FOUND],
        parameters=[parameter("path", "id", {"type": "string"}, "The `_id` of the user who was erased.", USER_ID)],
    )


def list_refusals() -> Json:
    hour = {"hour": "2026-11-23T08:00:00.000Z", "code": "missing_field", "type": "viewitem"}
    listed = {**hour, "field": "event.viewitem.itemId", "count": 17, "lastRequestId": GATEWAY_ID}
    return operation(
        "listRefusals",
        "List what was refused, newest hour first",
        "Counts the account's refused requests and events of the last 30 days, by hour, code, type and field. No value "
        "that was sent is in it.",
        answer("RefusalList", {"refusals": [listed]}),
        [OF_LIMITS, invalid_parameter("cursor", refusals.CURSOR)],
        parameters=[limit("The maximum number of entries in the response."), cursor({})],
    )


def operation(
    name: str,
    summary: str,
    description: str,
    ok: Json,
    errors: Iterable[Problem],
    parameters: Iterable[Json] = (),
    **body: Json,
) -> Json:
    described: Json = {
        "operationId": name,
        "summary": summary,
        "description": description,
        "tags": [TAGGED.get(name, "Users")],
    }
    if parameters:
        described["parameters"] = list(parameters)
    if "body" in body:
        described["requestBody"] = {"required": True, **body["body"]}
    return described | {"responses": {"200": ok, **error_responses([*EVERYWHERE, *errors])}}


TAGGED = {"sendEvent": "Events", "sendEvents": "Events", "checkEvents": "Events", "listRefusals": "Refusals"}


def limit(description: str) -> Json:
    schema = {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT}
    return parameter("query", "limit", schema, description)


def cursor(more: Json) -> Json:
    return parameter(
        "query",
        "cursor",
        {"type": "string", **more},
        "The `cursor` of the previous page. Without it the list starts with the newest.",
    )


DONE = {
    "UserResult": "The user was created or changed. `object` is the user.",
    "User": "The profile of the user.",
    "Erased": "The user is erased. Events that arrive later for this `_id` are refused.",
    "EventList": "A page of events, newest first. It can be empty.",
    "Erasure": "The user was erased, or is being erased.",
    "RefusalList": "A page of refusals. It is empty if nothing was refused in 30 days.",
}
"""The meaning of a 200, by the schema of its body."""


def answer(schema: str, example: Json, more: Json | None = None) -> Json:
    return {
        "description": DONE[schema],
        "headers": REQUEST_ID,
        **content(ref(schema), {"done": example}),
        **(more or {}),
    }


def done(what: str) -> Json:
    return {"message": f"Successfully {what} user.", "email": EMAIL}


def to_the_user() -> Json:
    return {"links": links("$response.body#/object/_id", "readUser", "changeUser", "listEvents", "eraseUser")}


def links(user_id: str, *operations: str) -> Json:
    """Return the links to calls about the user of this answer."""
    return {name: {"operationId": name, "parameters": {"id": user_id}} for name in operations}


def content(schema: Json, examples: Mapping[str, Any]) -> Json:
    shown = {name: {"value": value} for name, value in examples.items()}
    return {"content": {"application/json": {"schema": schema, "examples": shown}}}


def parameter(where: str, name: str, schema: Json, description: str, example: str | None = None) -> Json:
    described = {"name": name, "in": where, "required": where == "path", "description": description, "schema": schema}
    return described | ({"example": example} if example else {})


def header(schema: Json, description: str) -> Json:
    return {"description": description, "required": True, "schema": schema}


REQUEST_ID = {
    "X-Request-Id": header(
        {"type": "string", "examples": [GATEWAY_ID]},
        "The id of this request. Name it when you ask the operator about the request.",
    )
}


# --- Errors ---------------------------------------------------------------------------------------


def error_responses(problems: Iterable[Problem]) -> Json:
    """Return the error responses by status."""
    told: dict[int, list[Problem]] = {}
    for problem in problems:
        told.setdefault(OF_STATUS[problem.code], []).append(problem)
    return {str(status): error_response(status, told[status]) for status in sorted(told)}


def error_response(status: int, problems: list[Problem]) -> Json:
    headers = {**REQUEST_ID, "X-Error-Code": error_code(problems[0])}
    if status == 401:
        headers["WWW-Authenticate"] = header(
            {"type": "string", "examples": ["Bearer"]}, "The scheme under which a key can be sent."
        )
    if status in (429, 503):
        headers["Retry-After"] = retry_after()
    if status == 415:
        headers["Accept-Encoding"] = header(
            {"type": "string", "examples": ["gzip"]}, "The compression that the API reads."
        )
    return {
        "description": MEANINGS[status],
        "headers": headers,
        **content(ref("ErrorResponse"), dict(error_examples(problems))),
    }


def error_code(problem: Problem) -> Json:
    return header({"type": "string", "examples": [problem.code]}, "The code of the first error.")


def retry_after() -> Json:
    return header(
        {"type": "integer", "examples": [int(RETRY_AFTER["Retry-After"])]},
        "The number of seconds to wait before the next attempt.",
    )


def error_examples(problems: Iterable[Problem]) -> Iterator[tuple[str, Json]]:
    """Yield an example for each problem, by its code. Several examples of one code are numbered."""
    seen: Counter[str] = Counter()
    for problem in problems:
        seen[problem.code] += 1
        number = seen[problem.code]
        request_id = GATEWAY_ID if OF_STATUS[problem.code] >= 500 else ""
        yield problem.code if number == 1 else f"{problem.code}_{number}", errors_of([problem], request_id)


def invalid_events() -> Iterator[Problem]:
    """Yield all problems of a request to send an event, as the code reports them."""
    yield BROKEN_JSON
    two = {"search": {"query": "red shoes"}, "login": {}}
    events: tuple[object, ...] = ({}, [], two, {"viewItem": {}}, {"viewitem": {}}, {"viewitem": {"itemId": ""}})
    for event in (*events, {"update": {}}):
        yield from problems_of(event=event)
    for value in ("\ud800", 1e200, {"": 1}, nested(MAX_LEVELS)):
        yield from problems_of(event={"update": {"size": value}})
    for user in ({}, "ana", {"firstname": "Ana"}, {"email": "ana@"}, {"_id": 7}, {"email": EMAIL, "tel": 600}):
        yield from problems_of(user=user)
    for time in ("yesterday", "2030-01-01T00:00:00Z", "2026-01-01T00:00:00Z", "1999-12-31T23:59:59Z"):
        yield from problems_of(eventTime=time)
    yield from problems_of(eventId="view-77")
    yield from problems_of(eventId="", eventTime=TIME)
    yield IDENTIFIERS_DISAGREE
    yield invalid_parameter("Idempotency-Key", f"The key has 1 to {MAX_KEY_LENGTH} characters.")


def problems_of(**wrong: object) -> Iterable[Problem]:
    request = {"user": {"email": EMAIL}, "event": {"emailopen": {}}, **wrong}
    try:
        parse_request(json_object(json.dumps(request).encode()), datetime.fromisoformat(TIME))
    except Invalid as refused:
        return refused.problems
    raise AssertionError(f"{wrong} is not wrong")


def invalid_batches() -> list[Problem]:
    """Return the problems of a batch itself. Its events have the problems of a single event."""
    return [
        MISSING_EVENTS,
        TOO_MANY_EVENTS,
        INVALID_EVENTS,
        INVALID_IMPORT,
        invalid_parameter("Idempotency-Key", KEY_NOT_FOR_BATCHES),
    ]


def nested(levels: int) -> object:
    return [nested(levels - 1)] if levels else 1


FIELDS = {
    "_id": "The id of the user, a UUID. It never changes and is never reused.",
    "email": "The email address of the user.",
    "userAgent": "The user agent of the visitor. An event from a crawler is discarded.",
    "tel": "The telephone number of the user.",
    "firstname": "The first name of the user.",
    "lastname": "The last name of the user.",
    "country": "The country of the user.",
    "city": "The city of the user.",
    "tags": "The tags of the user: lower case, only letters, digits and `_`.",
    "createdOn": "When the user was created.",
    "isCustomer": "Whether the user has an order.",
    "numberOfPurchases": "The number of orders.",
    "totalPurchasesValue": "The sum of the totals of all orders, without regard to refunds.",
    "lastPurchaseValue": "The total of the latest order. Absent if that total does not count.",
    "lastPurchaseDate": "When the latest order happened.",
    "numberOfRefunds": "The number of refunds.",
    "totalRefundsValue": "The sum of the totals of all refunds.",
    "lastRefundDate": "When the latest refund happened.",
    "lastEmailOpenDate": "When the latest email open happened.",
    "eventId": "The id of the event.",
    "samePayload": "Whether its payload equals the one that was sent now.",
    "requestedOn": "When the erasure was requested.",
    "erasure": "The erasure that this request began.",
    "field": "The dotted path of the field.",
    "message": "A text for people.",
    "results": "The results, in a form that clients of 1.0 know.",
    "events": "The events, in their order.",
    "errors": "Everything that is wrong with the request.",
    "refusals": "The refusals, by hour, code, type and field.",
    "generic": "The fields that servers nest under `generic`. Browsers send them flat.",
}
"""The descriptions of fields that several schemas have, and of the attributes that the system maintains."""


# --- Schemas --------------------------------------------------------------------------------------


def an_object(properties: Json, required: Iterable[str], **more: Any) -> Json:
    """Return the schema of an object, which may have other fields unless `more` forbids it."""
    described = {name: with_description(name, schema) for name, schema in properties.items()}
    return {"type": "object", "properties": described, "required": list(required), **more}


def with_description(name: str, schema: Json) -> Json:
    """Return the schema of a field with its description from FIELDS, unless it has one."""
    is_described = "$ref" in schema or "description" in schema or name not in FIELDS
    return schema if is_described else {**schema, "description": FIELDS[name]}


def a_list(item: str, **more: Any) -> Json:
    return {"type": "array", "items": ref(item), **more}


def or_null(schema: Json) -> Json:
    return {**schema, "type": [schema["type"], "null"]}


def general_schemas() -> Json:
    text, email = {"type": "string"}, {"type": "string", "format": "idn-email"}
    uuid, date = {"type": "string", "format": "uuid"}, {"type": "string", "format": "date-time", "examples": [TIME]}
    warnings = a_list(
        "FieldWarning",
        minItems=1,
        description="The parts of the request that were dropped or changed. Absent if there are none.",
    )
    warning_code = {
        **text,
        "description": "The name of the warning for programs. There may be new ones. Warnings that 1.1 stored have "
        "none.",
        "examples": list(WARNINGS),
    }
    event_id = {
        "type": "string",
        "minLength": 1,
        "maxLength": MAX_EVENT_ID_LENGTH,
        "pattern": "^[!-~]+$",
        "description": "Your id of the event, for example the id of its row in your database. It makes retries safe.",
    }
    event_time = {
        "type": ["string", "null"],
        "format": "date-time",
        "description": "When the event happened, with an offset. Required with an `eventId` that is not a UUIDv7.",
    }
    event = {"user": ref("UserReference"), "event": ref("AnyEvent")}
    user = {
        "_id": uuid,
        "email": email,
        **{name: system_attribute(name, kind) for name, kind in SYSTEM_ATTRIBUTES.items() if name != "_id"},
        "tags": {"type": "array", "items": text},
    }
    # Lists are open in responses: a later version may add to them.
    event_type = {**text, "description": "The type of the event. There may be new types.", "examples": list(CATALOGUE)}
    listed = {
        "_id": {**text, "description": "The id of the event: the caller's `eventId`, or a UUID that the API made."},
        "type": event_type,
        "payload": {
            "type": "object",
            "additionalProperties": True,
            "description": "The payload exactly as it was sent.",
        },
        "createdOn": {**date, "description": "When the event happened."},
    }
    received = {
        "receivedOn": {
            **date,
            "description": "When the API received the event. Present if `createdOn` is the caller's `eventTime`.",
        },
        "warnings": {
            **warnings,
            "description": "The warnings in the response to the event. Absent if there were none.",
        },
    }
    refusal = {
        "hour": {**date, "description": "The start of the hour."},
        "code": {**text, "description": "The code of the error."},
        "type": event_type,
        "field": {**text, "description": "The dotted path of the wrong field."},
        "count": {"type": "integer", "minimum": 1, "description": "How many events or requests were refused."},
        "lastRequestId": {**text, "description": "The `X-Request-Id` of the latest refused request."},
    }
    erasure = {
        "_id": uuid,
        "status": {
            **text,
            "description": "Whether all events of the user are deleted.",
            "examples": ["in_progress", "finished"],
        },
        "requestedOn": date,
        "finishedOn": {
            **date,
            "description": "When the last event was deleted. Absent while the erasure is in progress.",
        },
        "eventsDeleted": {
            "type": "integer",
            "minimum": 0,
            "description": "The number of deleted events. Absent before the erasure is finished, and if 1.1 finished "
            "it.",
        },
    }
    next_page = {"cursor": {**text, "description": "The parameter for the next page. Absent on the last page."}}
    beside = dict.fromkeys(("userAgent", *USER_ATTRIBUTES), or_null(text))
    return {
        "ErrorResponse": an_object({"errors": a_list("Problem", minItems=1)}, ["errors"]),
        "Problem": an_object(
            {
                "code": {**text, "description": CODE, "examples": list(CODES)},
                "message": {**text, "description": "What is wrong, in a few words."},
                "description": {**text, "description": "What to do, in a sentence."},
                "field": {
                    **text,
                    "description": "The dotted path of the wrong field. Absent if no single field is wrong.",
                },
                "hint": {**text, "description": "What to do, if `description` does not say it."},
            },
            ["message", "description"],
        ),
        "FieldWarning": an_object({"field": text, "message": text, "code": warning_code}, ["field", "message"]),
        "EventRequest": an_object({**event, "eventId": or_null(event_id), "eventTime": event_time}, ["user", "event"]),
        "BatchRequest": an_object(
            {
                "events": a_list("BatchEvent", minItems=1, maxItems=MAX_EVENTS),
                "import": {
                    "type": ["boolean", "null"],
                    "description": "`true` accepts events that are older than 35 days.",
                },
            },
            ["events"],
        ),
        "BatchEvent": an_object({**event, "eventId": event_id, "eventTime": event_time}, ["user", "event", "eventId"]),
        "UserReference": {
            "description": "The user, named by `email`, by `_id`, or by both. The other strings are set on the "
            "profile, except `userAgent`: the user agent of the visitor, from which the API recognizes crawlers.",
            "anyOf": [ref("UserByEmail"), ref("UserById")],
        },
        "UserByEmail": an_object({"email": email, "_id": or_null(text), **beside}, ["email"]),
        "UserById": an_object({"_id": text, "email": or_null(email), **beside}, ["_id"]),
        "AnyEvent": {
            "description": "An object with one key, the event type. Its value is the payload.",
            "oneOf": [ref(sent_as(model)) for model in CATALOGUE.values()],
        },
        "EventResult": an_object({"results": ref("Result"), "warnings": warnings, "first": ref("First")}, ["results"]),
        "First": an_object(
            {
                "eventId": text,
                "createdOn": {**date, "description": "When the stored event happened."},
                "samePayload": {"type": "boolean"},
            },
            ["eventId", "createdOn"],
            description="The stored event that has the same `orderId` or `refundId`, or is less than 20 minutes away.",
        ),
        **batch_schemas(text, uuid, date, warnings),
        "Result": an_object(
            {"message": text, "email": {**text, "description": "A second text, or the email of the user."}}, ["message"]
        ),
        "User": an_object(
            user,
            ["_id", "createdOn"],
            additionalProperties=True,
            description="A customer: one flat object with all attributes.",
        ),
        "UserAttributes": an_object(
            {"email": or_null(email), "tags": TAGS_SCHEMA},
            [],
            **ANYTHING_ELSE,
            description="The attributes to set, by name.",
        ),
        "NewEmail": an_object({"email": email}, ["email"]),
        "UserResult": an_object(
            {"results": a_list("Result"), "object": ref("User"), "warnings": warnings}, ["results", "object"]
        ),
        "Erased": an_object(
            {
                "results": a_list("Result"),
                "erasure": an_object({"_id": uuid, "requestedOn": date}, ["_id", "requestedOn"]),
            },
            ["results", "erasure"],
        ),
        "Erasure": an_object(erasure, ["_id", "status", "requestedOn"]),
        "EventList": an_object({"events": a_list("ListedEvent"), **next_page}, ["events"]),
        "ListedEvent": an_object({**listed, **received}, list(listed)),
        "RefusalList": an_object({"refusals": a_list("Refusal"), **next_page}, ["refusals"]),
        "Refusal": an_object(refusal, ["hour", "code", "count", "lastRequestId"]),
    }


CODE = (
    "The name of the error for programs. Two bodies of 1.0 are without it: the header `X-Error-Code` has it. "
    "There may be new codes."
)


def system_attribute(name: str, kind: str) -> Json:
    """Return the schema of an attribute that the system maintains: each text is a date, and each number of is whole."""
    if kind == "string":
        return {"type": "string", "format": "date-time", "examples": [TIME]}
    return {"type": "integer" if name.startswith("numberOf") else kind}


def batch_schemas(text: Json, uuid: Json, date: Json, warnings: Json) -> Json:
    """Return the schemas of a batch's response.

    The result of an event is one object, whose fields depend on `status`. So an old client can read a new status.
    """
    statuses = ["created", "duplicate", "discarded", "refused", "failed"]
    outcome = {
        "status": {**text, "description": "The result of the event. There may be new statuses.", "examples": statuses},
        "eventId": or_null(text),
        "userId": {
            **uuid,
            "description": "The `_id` of the user, if the event is settled and the user exists. A check shows an "
            "example for a user that would be created.",
        },
        "userCreated": {
            "type": "boolean",
            "description": "`true` if the event created its user. Only of a created event.",
        },
        "warnings": a_list("FieldWarning", description="What was dropped or changed. Only of a created event."),
        "createdOn": {**date, "description": "When the stored event happened. Only of a duplicate."},
        "samePayload": {
            "type": "boolean",
            "description": "Whether the stored event has the same type and payload. Only of a duplicate.",
        },
        "code": {**text, "description": "The rule that discarded the event. Only of a discarded event."},
        "message": {**text, "description": "The text of that rule. Only of a discarded event."},
        "first": ref("First"),
        "errors": a_list("Problem", description="Why the event was refused or failed."),
    }
    results = {
        "results": a_list("EventOutcome", minItems=1, description="The results of the events, in their order."),
        "warnings": warnings,
    }
    return {
        "BatchResult": an_object(results, ["results"], description="The result of each event, in their order."),
        "CheckResult": an_object(
            {"stored": {"type": "boolean", "description": "Always false: a check stores nothing."}, **results},
            ["stored", "results"],
            description="The result that each event would get, in their order.",
        ),
        "EventOutcome": an_object(outcome, ["status", "eventId"]),
    }


# A schema cannot express what DynamoDB cannot hold: more than 38 digits or 32 levels, an empty name inside.
ANYTHING_ELSE = {"propertyNames": {"minLength": 1}, "additionalProperties": True}


def sent_as(model: type[EventType]) -> str:
    """Return the name of the schema of an object with the type as its only key."""
    return f"{model.__name__}Event"


def event_schemas() -> Json:
    models = [(model, "validation") for model in CATALOGUE.values()]
    _, made = models_json_schema(models, ref_template=SCHEMAS + "{model}")  # type: ignore[arg-type]
    schemas: Json = {}
    for model in CATALOGUE.values():
        name, key = model.__name__, model.type_name()
        schemas[sent_as(model)] = an_object({key: ref(name)}, [key], additionalProperties=False)
        schemas |= payload_schemas(model, payload_schema(model, made["$defs"][name]))
    return schemas


def payload_schemas(model: type[EventType], flat: Json) -> Json:
    """Return the schema of the payload by its name, and of both forms if fields can be under `generic`."""
    name = model.__name__
    if not model.under_generic:
        return {name: flat}
    fields = {field: flat["properties"][field] for field in model.under_generic}
    beside = {field: schema for field, schema in flat["properties"].items() if field not in fields}
    generic = an_object(fields, flat["required"], **ANYTHING_ELSE)
    nested = {
        **flat,
        "properties": {"generic": with_description("generic", generic), **beside},
        "required": ["generic"],
    }
    forms = {f"{name}Flat": flat, f"{name}Nested": nested}
    return {name: {"description": flat["description"], "anyOf": [ref(form) for form in forms]}, **forms}


def payload_schema(model: type[EventType], schema: Json) -> Json:
    """Return pydantic's schema, in which other fields may have any value."""
    assert "description" in schema, f"write a docstring for the class {model.__name__}"
    properties = {name: field_schema(field) for name, field in schema.get("properties", {}).items()}
    shown = an_object(properties, schema.get("required", []), description=schema["description"], **ANYTHING_ELSE)
    return shown if model.may_be_empty else {**shown, "minProperties": 1}


def field_schema(field: Json) -> Json:
    known = {name: value for name, value in field.items() if name not in ("title", "default")}
    if known.get("items") == {"type": "object"}:  # which to some means one without fields
        known["items"] = {"type": "object", "additionalProperties": True}
    return {name: with_integers(value) if name in ("anyOf", "type") else value for name, value in known.items()}


def with_integers(types: Any) -> Any:
    """Allow integers for numbers, because clients otherwise read a long number as a float."""
    if isinstance(types, str):
        return types
    integer = "integer" if "number" in types else {"type": "integer"}
    numbers = ("number", {"type": "number"})
    return [each for kind in types for each in ((integer, kind) if kind in numbers else (kind,))]


def example_of(model: type[EventType]) -> Json:
    """Return a payload from the examples of the fields."""
    fields = model.model_fields.items()
    return {name: field.examples[0] for name, field in fields if field.examples}


def text() -> str:
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())
