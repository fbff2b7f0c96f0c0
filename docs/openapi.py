"""Makes docs/openapi.json from what validates and answers: `make openapi`.

The payloads come from the catalogue of event types, the errors from the closed list of problems. Client generators
read the document, so no schema refers to itself, no `$ref` has neighbours, and what callers build has a name.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic.json_schema import models_json_schema

from domain.events import CATALOGUE, TAGS_SCHEMA, EventType
from domain.idempotency import MAX_KEY_LENGTH
from domain.problems import (
    BEING_ERASED,
    BODY_TOO_LARGE,
    EMAIL_TAKEN,
    IDENTIFIERS_DISAGREE,
    KEY_REUSED,
    STORE_UNAVAILABLE,
    UNAUTHORIZED,
    UNKNOWN_EMAIL,
    UNKNOWN_ID,
    Conflict,
    Invalid,
    KeyReused,
    NotFound,
    Problem,
    Refused,
    TooLarge,
    Unauthorized,
    Unavailable,
    invalid_attribute,
    invalid_json,
    invalid_parameter,
    too_large,
)
from domain.request import USER_ATTRIBUTES, parse_request
from domain.restrictions import Restriction
from domain.users import DEFAULT_LIMIT, MAX_LIMIT
from domain.values import MAX_LEVELS
from handlers.rest import RETRY_AFTER_SECONDS, STATUS, errors_of, json_object

Json = dict[str, Any]

FILE = Path(__file__).with_name("openapi.json")
SCHEMAS = "#/components/schemas/"
EMAIL = "ana@example.com"
USER_ID = "01a20788-5653-7117-8650-7680cb8c2cb9"
EVENT_ID = "01a20788-5a84-78c8-9a0e-41facae8e785"
CURSOR = "AaIHiFqEeMiaDkH6yujnhTb0cV5Jb2mXx0V0p2b3v1Q"
TIME = "2026-11-23T08:31:45.234Z"
CREATED_USER = {"_id": USER_ID, "email": EMAIL, "createdOn": TIME, "firstname": "Ana"}
CHANGED_USER = {**CREATED_USER, "tags": ["vip"]}
CREATED = {"message": "Event created", "email": "Event was created for the specified user"}

ABOUT = """\
Collects what the customers of an online shop do, and keeps their profiles.

Begin with `POST /v1/user/`: events are about users who exist. Then send events with `POST /v1/event/`. \
What came of them is in `GET /v1/user/{id}` and `GET /v1/user/{id}/events`.

Bodies are JSON of 256 KiB at most, whatever the `Content-Type`. Unknown fields and parameters are ignored. \
Every path works with and without its last slash."""
TAGS = {"Events": "What customers do, one event in a request.", "Users": "Profiles, and the events of each user."}

# What a status means, whichever problem it tells of.
MEANINGS = {
    400: "The request is wrong. Each error says what to mend. Nothing was stored.",
    401: "The API key is missing, unknown, expired or revoked.",
    404: "The user does not exist.",
    409: "The email belongs to another user, or the `_id` is not free.",
    413: "The body is too large, or the item that would be stored.",
    422: "The `Idempotency-Key` was already used with a different body.",
    429: "The rate limit is reached. Send the request again after `Retry-After` seconds.",
    500: "The request failed on our side. The description has the id of the request, for whoever looks into it.",
    503: "The store is busy or does not answer. Send the request again after `Retry-After` seconds.",
}

Errors = Mapping[type[Refused], Iterable[Problem]]
EVERYWHERE: Errors = {Unauthorized: [UNAUTHORIZED], Unavailable: [STORE_UNAVAILABLE]}
OF_BODIES: Errors = {TooLarge: [BODY_TOO_LARGE, too_large("event")]}
UNKNOWN_USER: Errors = {NotFound: [UNKNOWN_EMAIL, UNKNOWN_ID]}
BROKEN_JSON = invalid_json("Expecting ',' delimiter at line 1, column 39.")


def document() -> Json:
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Event API",
            "version": "1.0.0",
            "description": ABOUT,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/v1", "description": "On the host that the stack's output ApiUrl names."}],
        "security": [{"apiKey": []}],
        "tags": [{"name": name, "description": description} for name, description in TAGS.items()],
        "paths": paths(),
        "components": {
            "securitySchemes": {
                "apiKey": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "The API key as it is: no Bearer, no Basic.",
                }
            },
            "schemas": {**general_schemas(), **event_schemas()},
        },
    }


def ref(name: str) -> Json:
    return {"$ref": SCHEMAS + name}


# --- Paths ----------------------------------------------------------------------------------------


def paths() -> Json:
    identifier = parameter("path", "id", {"type": "string"}, "The user's email or `_id`.", EMAIL)
    of_attributes: Errors = {Invalid: [BROKEN_JSON, invalid_attribute("email")], **OF_BODIES}
    return {
        "/event/": {"post": send_event()},
        "/user/": {
            "post": operation(
                "createUser",
                "Create a user",
                "Makes a user with an email, or an anonymous one without. The other fields are the user's attributes. "
                "What the system maintains, as `_id`, is left out with a warning.",
                answer("UserResult", {"results": [done("added new")], "object": CREATED_USER}, to_the_user()),
                {**of_attributes, Conflict: [EMAIL_TAKEN]},
                body=content(ref("UserAttributes"), {"user": {"email": EMAIL, "firstname": "Ana"}}),
            )
        },
        "/user/{id}": {
            "get": operation(
                "readUser",
                "Read a user",
                "Answers the profile as one flat object: what was set, and what the system counts of purchases and "
                "email opens.",
                answer("User", CHANGED_USER),
                UNKNOWN_USER,
                parameters=[identifier],
            ),
            "put": operation(
                "changeUser",
                "Set attributes of a user",
                "Sets the attributes that are sent and leaves the others. `tags` adds tags, and removes those with a "
                "minus before them. The email stays as it is.",
                answer("UserResult", {"results": [done("updated")], "object": CHANGED_USER}, to_the_user()),
                {**of_attributes, **UNKNOWN_USER, Conflict: [EMAIL_TAKEN, BEING_ERASED]},
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
                "from the answer on; the rest follows within minutes.",
                answer("Erased", {"results": [done("deleted")]}),
                UNKNOWN_USER,
                parameters=[identifier],
            ),
        },
        "/user/{id}/events": {"get": list_events(identifier)},
    }


def send_event() -> Json:
    examples = {
        name: {"user": {"email": EMAIL}, "event": {name: example_of(model)}} for name, model in CATALOGUE.items()
    }
    answers = {"created": {"results": CREATED}} | {
        restriction.name.lower(): {"results": {"message": "Event discarded", "email": restriction.value}}
        for restriction in Restriction
    }
    status = {"type": "string", "enum": ["created", "discarded"]}
    headers = {
        "X-Event-Id": header({"type": "string", "format": "uuid", "examples": [EVENT_ID]}, "The event's id."),
        "X-Event-Status": header(status, "Discarded: do not send it again."),
        "X-User-Id": header({"type": "string", "format": "uuid", "examples": [USER_ID]}, "Whose event it is."),
    }
    replayed = header(
        {"type": "string", "const": "true"}, "There when this is the first answer to the Idempotency-Key, again."
    )
    key = {"type": "string", "minLength": 1, "maxLength": MAX_KEY_LENGTH, "pattern": "\\S"}
    return operation(
        "sendEvent",
        "Send an event",
        "Stores one event of a user who exists. A second confirmation of an order, a second email open within 20 "
        "minutes, and what a bot does are discarded: the answer is 200 as well, because sending them again is of no "
        "use. After a 429, a 5xx or no answer, send the same request again with the same `Idempotency-Key`.",
        {
            "description": "Created, or discarded by a rule: `X-Event-Status` says which.",
            "headers": {**headers, "Idempotent-Replayed": {**replayed, "required": False}},
            **content(ref("EventResult"), answers),
            "links": links("$response.header.X-User-Id", "listEvents", "readUser"),
        },
        {Invalid: list(invalid_events()), **UNKNOWN_USER, **OF_BODIES, KeyReused: [KEY_REUSED]},
        parameters=[parameter("header", "Idempotency-Key", key, "A repeat within 24 hours gets the first answer.")],
        body=content(ref("EventRequest"), examples),
    )


def list_events(identifier: Json) -> Json:
    limit = {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT}
    cursor = {"type": "string", "pattern": "^[A-Za-z0-9_-]{43}$"}
    listed = {"_id": EVENT_ID, "type": "search", "payload": example_of(CATALOGUE["search"]), "createdOn": TIME}
    wrong = [
        invalid_parameter("limit", f"limit is a whole number from 1 to {MAX_LIMIT}."),
        invalid_parameter("type", "type is the name of an event type."),
        invalid_parameter("cursor", "cursor is the one that the page before gave for this user."),
    ]
    return operation(
        "listEvents",
        "List a user's events, newest first",
        "Answers a page of the user's events, and the `cursor` of the next page unless this one is the last. Send it "
        "with the same `type`.",
        answer("EventList", {"events": [listed]}),
        {Invalid: wrong, **UNKNOWN_USER},
        parameters=[
            identifier,
            parameter("query", "limit", limit, "How many events a page has at most."),
            parameter("query", "type", {"type": "string", "enum": list(CATALOGUE)}, "Only events of this type."),
            parameter("query", "cursor", cursor, "From the page before."),
        ],
    )


def operation(
    name: str, summary: str, description: str, ok: Json, errors: Errors, parameters: Iterable[Json] = (), **body: Json
) -> Json:
    described: Json = {
        "operationId": name,
        "summary": summary,
        "description": description,
        "tags": ["Events" if name == "sendEvent" else "Users"],
    }
    if parameters:
        described["parameters"] = list(parameters)
    if "body" in body:
        described["requestBody"] = {"required": True, **body["body"]}
    return described | {"responses": {"200": ok, **error_responses({**EVERYWHERE, **errors})}}


def answer(schema: str, example: Json, more: Json | None = None) -> Json:
    return {"description": "Done.", **content(ref(schema), {"done": example}), **(more or {})}


def done(what: str) -> Json:
    return {"message": f"Successfully {what} user.", "email": EMAIL}


def to_the_user() -> Json:
    return {"links": links("$response.body#/object/_id", "readUser", "changeUser", "listEvents", "eraseUser")}


def links(user_id: str, *operations: str) -> Json:
    """What may be called next, about the user of this answer."""
    return {name: {"operationId": name, "parameters": {"id": user_id}} for name in operations}


def content(schema: Json, examples: Mapping[str, Any]) -> Json:
    shown = {name: {"value": value} for name, value in examples.items()}
    return {"content": {"application/json": {"schema": schema, "examples": shown}}}


def parameter(where: str, name: str, schema: Json, description: str, example: str | None = None) -> Json:
    described = {"name": name, "in": where, "required": where == "path", "description": description, "schema": schema}
    return described | ({"example": example} if example else {})


def header(schema: Json, description: str) -> Json:
    return {"description": description, "required": True, "schema": schema}


# --- Errors ---------------------------------------------------------------------------------------


def error_responses(errors: Errors) -> Json:
    """What the functions refuse, by status, and the two answers that need no problem of the domain."""
    answered = {STATUS[kind]: list(problems) for kind, problems in errors.items()}
    answered[429] = [Problem("Too many requests", "The rate limit is reached. Send the request again later.")]
    answered[500] = [Problem("Internal server error", "The request failed on our side. Request id: 7e8f1c1e-4b8e")]
    return {str(status): error_response(status, answered[status]) for status in sorted(answered)}


def error_response(status: int, problems: list[Problem]) -> Json:
    seconds = {"type": "integer", "examples": [RETRY_AFTER_SECONDS]}
    retry = {"headers": {"Retry-After": header(seconds, "Seconds to wait.")}} if status in (429, 503) else {}
    return {"description": MEANINGS[status], **retry, **content(ref("ErrorResponse"), dict(error_examples(problems)))}


def error_examples(problems: Iterable[Problem]) -> Iterator[tuple[str, Json]]:
    """An example for each problem, named after it; those of one name are numbered."""
    seen: Counter[str] = Counter()
    for problem in problems:
        name = re.sub(r"\W+", "_", problem.message).lower()
        seen[name] += 1
        yield (name if seen[name] == 1 else f"{name}_{seen[name]}"), errors_of([problem])


def invalid_events() -> Iterator[Problem]:
    """Everything that may be wrong with a request to send an event, as the code tells it of one that is."""
    yield BROKEN_JSON
    two = {"search": {"query": "red shoes"}, "login": {}}
    events: tuple[object, ...] = ({}, [], two, {"viewItem": {}}, {"viewitem": {}}, {"viewitem": {"itemId": ""}})
    for event in (*events, {"update": {}}):
        yield from problems_of(event=event)
    for value in ("\ud800", 1e200, {"": 1}, nested(MAX_LEVELS)):
        yield from problems_of(event={"update": {"size": value}})
    for user in ({}, "ana", {"firstname": "Ana"}, {"email": "ana@"}, {"_id": 7}, {"email": EMAIL, "tel": 600}):
        yield from problems_of(user=user)
    yield IDENTIFIERS_DISAGREE
    yield invalid_parameter("Idempotency-Key", f"The key has 1 to {MAX_KEY_LENGTH} characters.")


def problems_of(**wrong: object) -> Iterable[Problem]:
    request = {"user": {"email": EMAIL}, "event": {"emailopen": {}}, **wrong}
    try:
        parse_request(json_object(json.dumps(request).encode()))
    except Invalid as refused:
        return refused.problems
    raise AssertionError(f"{wrong} is not wrong")


def nested(levels: int) -> object:
    return [nested(levels - 1)] if levels else 1


# --- Schemas --------------------------------------------------------------------------------------


def an_object(properties: Json, required: Iterable[str], **more: Any) -> Json:
    """Of which other fields may be sent as well, unless `more` says no."""
    return {"type": "object", "properties": properties, "required": list(required), **more}


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
        description="What was left out or changed. Absent when there is nothing of the kind.",
    )
    user = {
        "_id": uuid,
        "email": email,
        "createdOn": date,
        "isCustomer": {"type": "boolean"},
        "numberOfPurchases": {"type": "integer"},
        "totalPurchasesValue": {"type": "number"},
        "lastPurchaseValue": {"type": "number"},
        "lastPurchaseDate": date,
        "lastEmailOpenDate": date,
        "tags": {"type": "array", "items": text},
    }
    listed = {
        "_id": uuid,
        "type": {"type": "string", "enum": list(CATALOGUE)},
        "payload": {"type": "object", "additionalProperties": True, "description": "What was sent, value for value."},
        "createdOn": date,
    }
    beside = dict.fromkeys(("userAgent", *USER_ATTRIBUTES), or_null(text))
    return {
        "ErrorResponse": an_object({"errors": a_list("Problem", minItems=1)}, ["errors"]),
        "Problem": an_object(
            {"message": text, "description": text, "field": {**text, "description": "The dotted path to it."}},
            ["message", "description"],
        ),
        "FieldWarning": an_object({"field": text, "message": text}, ["field", "message"]),
        "EventRequest": an_object({"user": ref("UserReference"), "event": ref("AnyEvent")}, ["user", "event"]),
        "UserReference": {
            "description": "By email, by `_id`, or both. The strings beside them are set on the profile; `userAgent` "
            "is the visitor's.",
            "anyOf": [ref("UserByEmail"), ref("UserById")],
        },
        "UserByEmail": an_object({"email": email, "_id": or_null(text), **beside}, ["email"]),
        "UserById": an_object({"_id": text, "email": or_null(email), **beside}, ["_id"]),
        "AnyEvent": {
            "description": "One event, with its type as the key.",
            "oneOf": [ref(sent_as(model)) for model in CATALOGUE.values()],
        },
        "EventResult": an_object({"results": ref("Result"), "warnings": warnings}, ["results"]),
        "Result": an_object({"message": text, "email": text}, ["message"]),
        "User": an_object(
            user,
            ["_id", "createdOn"],
            additionalProperties=True,
            description="One flat object, with all its attributes.",
        ),
        "UserAttributes": an_object(
            {"email": or_null(email), "tags": TAGS_SCHEMA}, [], **ANYTHING_ELSE, description="Attributes, by name."
        ),
        "UserResult": an_object(
            {"results": a_list("Result"), "object": ref("User"), "warnings": warnings}, ["results", "object"]
        ),
        "Erased": an_object({"results": a_list("Result")}, ["results"]),
        "EventList": an_object(
            {
                "events": a_list("ListedEvent"),
                "cursor": {**text, "description": "For the next page. Absent on the last one."},
            },
            ["events"],
        ),
        "ListedEvent": an_object(listed, list(listed)),
    }


# What DynamoDB cannot hold, no schema tells: numbers beyond 38 digits, more than 32 levels, an empty name within.
ANYTHING_ELSE = {"propertyNames": {"minLength": 1}, "additionalProperties": True}


def sent_as(model: type[EventType]) -> str:
    """The name of the object whose one key is the type."""
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
    """The payload by its name, and where fields may stand under `generic` as well, both of its forms by theirs."""
    name = model.__name__
    if not model.under_generic:
        return {name: flat}
    fields = {field: flat["properties"][field] for field in model.under_generic}
    beside = {field: schema for field, schema in flat["properties"].items() if field not in fields}
    generic = an_object(fields, flat["required"], **ANYTHING_ELSE)
    nested = {**flat, "properties": {"generic": generic, **beside}, "required": ["generic"]}
    forms = {f"{name}Flat": flat, f"{name}Nested": nested}
    return {name: {"description": flat["description"], "anyOf": [ref(form) for form in forms]}, **forms}


def payload_schema(model: type[EventType], schema: Json) -> Json:
    """pydantic's schema, in which every other field may hold anything."""
    properties = {name: field_schema(field) for name, field in schema.get("properties", {}).items()}
    shown = an_object(properties, schema.get("required", []), description=schema["description"], **ANYTHING_ELSE)
    return shown if model.may_be_empty else {**shown, "minProperties": 1}


def field_schema(field: Json) -> Json:
    known = {name: value for name, value in field.items() if name not in ("title", "default")}
    if known.get("items") == {"type": "object"}:  # which to some means one without fields
        known["items"] = {"type": "object", "additionalProperties": True}
    return {name: with_integers(value) if name in ("anyOf", "type") else value for name, value in known.items()}


def with_integers(types: Any) -> Any:
    """Clients read a long number as a float unless they are told that it may be an integer."""
    if isinstance(types, str):
        return types
    integer = "integer" if "number" in types else {"type": "integer"}
    numbers = ("number", {"type": "number"})
    return [each for kind in types for each in ((integer, kind) if kind in numbers else (kind,))]


def example_of(model: type[EventType]) -> Json:
    """The payload that the fields' own examples make."""
    fields = model.model_fields.items()
    return {name: field.examples[0] for name, field in fields if field.examples}


def text() -> str:
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())
