"""Makes docs/openapi.json from what validates and answers: `make openapi`.

The payloads come from the catalogue of event types, the errors from the closed list of problems.
"""

import json
from collections.abc import Iterable, Mapping
from math import nextafter
from pathlib import Path
from typing import Any

from pydantic.json_schema import models_json_schema

from domain.events import CATALOGUE, TAGS_SCHEMA, WIRE_NAMES, EventType
from domain.idempotency import MAX_KEY_LENGTH
from domain.problems import (
    BEING_ERASED,
    BODY_TOO_LARGE,
    EMAIL_TAKEN,
    IDENTIFIERS_DISAGREE,
    KEY_REUSED,
    MISSING_EVENT,
    MISSING_IDENTIFIER,
    MISSING_USER,
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
    invalid_email,
    invalid_json,
    invalid_parameter,
    too_large,
)
from domain.request import USER_ATTRIBUTES
from domain.restrictions import Restriction
from domain.users import DEFAULT_LIMIT, MAX_LIMIT
from handlers.rest import RETRY_AFTER_SECONDS, STATUS, errors_of

Json = dict[str, Any]

FILE = Path(__file__).with_name("openapi.json")
SCHEMAS = "#/components/schemas/"
ABOUT_EVENTS = ("sendEvent", "listEvents")
EMAIL = "ana@example.com"
USER_ID = "01a20788-5653-7117-8650-7680cb8c2cb9"
EVENT_ID = "01a20788-5a84-78c8-9a0e-41facae8e785"
LARGEST = nextafter(1e126, 0)  # the largest double that DynamoDB holds
TIME = "2026-11-23T08:31:45.234Z"
CREATED_USER = {"_id": USER_ID, "email": EMAIL, "createdOn": TIME, "firstname": "Ana"}
CHANGED_USER = {**CREATED_USER, "tags": ["vip"]}
CREATED = {"message": "Event created", "email": "Event was created for the specified user"}

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
            "description": "Collects what the customers of an online shop do, and keeps their profiles. Bodies are "
            "JSON of 256 KiB at most, whatever the Content-Type. Every path works with and without its last slash.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/v1", "description": "On the host that the stack's output ApiUrl names."}],
        "security": [{"apiKey": []}],
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
    email_or_id = {"anyOf": [{"type": "string", "format": "idn-email"}, {"type": "string", "format": "uuid"}]}
    identifier = parameter("path", "id", email_or_id, "The user's email or _id.", EMAIL)
    listed = {"_id": EVENT_ID, "type": "search", "payload": example_of(CATALOGUE["search"]), "createdOn": TIME}
    of_attributes: Errors = {Invalid: [BROKEN_JSON, invalid_attribute("email")], **OF_BODIES}
    return {
        "/event/": {"post": post_event()},
        "/user/": {
            "post": operation(
                "createUser",
                "Create a user; without email, an anonymous one",
                answer("UserResult", {"results": [done("added new")], "object": CREATED_USER}),
                {**of_attributes, Conflict: [EMAIL_TAKEN]},
                body=content(ref("UserAttributes"), {"user": {"email": EMAIL, "firstname": "Ana"}}),
            )
        },
        "/user/{id}": {
            "get": operation(
                "readUser", "Read a user", answer("User", CHANGED_USER), UNKNOWN_USER, parameters=[identifier]
            ),
            "put": operation(
                "changeUser",
                "Set attributes of a user",
                answer("UserResult", {"results": [done("updated")], "object": CHANGED_USER}),
                {**of_attributes, **UNKNOWN_USER, Conflict: [EMAIL_TAKEN, BEING_ERASED]},
                parameters=[
                    identifier,
                    parameter("query", "upsert", {"type": "string"}, "`true` creates the user if need be.", "true"),
                ],
                body=content(ref("UserAttributes"), {"attributes": {"firstname": "Ana", "tags": ["vip", "-trial"]}}),
            ),
            "delete": operation(
                "eraseUser",
                "Erase a user and all events",
                answer("Erased", {"results": [done("deleted")]}),
                UNKNOWN_USER,
                parameters=[identifier],
            ),
        },
        "/user/{id}/events": {
            "get": operation(
                "listEvents",
                "List a user's events, newest first",
                answer("EventList", {"events": [listed]}),
                {Invalid: [invalid_parameter("limit", f"limit is a whole number from 1 to {MAX_LIMIT}.")]}
                | dict(UNKNOWN_USER),
                parameters=[
                    identifier,
                    parameter(
                        "query",
                        "limit",
                        {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
                        "How many events a page has at most.",
                    ),
                    parameter("query", "type", {"type": "string", "enum": list(WIRE_NAMES)}, "Only this event type."),
                    parameter(
                        "query", "cursor", {"type": "string", "pattern": "^[A-Za-z0-9_-]{43}$"}, "From the page before."
                    ),
                ],
            ),
        },
    }


def post_event() -> Json:
    wrong = [
        MISSING_EVENT,
        MISSING_USER,
        MISSING_IDENTIFIER,
        IDENTIFIERS_DISAGREE,
        BROKEN_JSON,
        invalid_email("user.email"),
        invalid_attribute("user.tel"),
    ]
    examples = {
        name: {"user": {"email": EMAIL}, "event": {name: example_of(model)}} for name, model in CATALOGUE.items()
    }
    answers = {"created": {"results": CREATED}} | {
        restriction.name: {"results": {"message": "Event discarded", "email": restriction.value}}
        for restriction in Restriction
    }
    headers = {
        "X-Event-Id": header({"type": "string", "format": "uuid", "examples": [EVENT_ID]}, "The event's id."),
        "X-Event-Status": header({"enum": ["created", "discarded"]}, "Discarded: do not send it again."),
        "X-User-Id": header({"type": "string", "format": "uuid", "examples": [USER_ID]}, "Whose event it is."),
    }
    replayed = header({"const": "true"}, "There when this is the first answer to the Idempotency-Key, again.")
    key = {"type": "string", "minLength": 1, "maxLength": MAX_KEY_LENGTH, "pattern": "\\S"}
    return operation(
        "sendEvent",
        "Send an event",
        {
            "description": "Created, or discarded by a rule: `X-Event-Status` says which.",
            "headers": {**headers, "Idempotent-Replayed": {**replayed, "required": False}},
            **content(ref("EventResult"), answers),
        },
        {Invalid: wrong, **UNKNOWN_USER, **OF_BODIES, KeyReused: [KEY_REUSED]},
        parameters=[parameter("header", "Idempotency-Key", key, "A repeat within 24 hours gets the first answer.")],
        body=content(ref("EventRequest"), examples),
    )


def operation(name: str, summary: str, ok: Json, errors: Errors, parameters: Iterable[Json] = (), **body: Json) -> Json:
    described: Json = {"operationId": name, "summary": summary, "tags": ["Events" if name in ABOUT_EVENTS else "Users"]}
    if parameters:
        described["parameters"] = list(parameters)
    if "body" in body:
        described["requestBody"] = {"required": True, **body["body"]}
    return described | {"responses": {"200": ok, **error_responses({**EVERYWHERE, **errors})}}


def error_responses(errors: Errors) -> Json:
    """What the functions refuse, by status, and the two answers that need no problem of the domain."""
    answered = {STATUS[kind]: list(problems) for kind, problems in errors.items()}
    answered[429] = [Problem("Too many requests", "The rate limit is reached. Send the request again later.")]
    answered[500] = [Problem("Internal server error", "The request failed on our side. Request id: 7e8f1c1e-4b8e")]
    return {str(status): error_response(status, answered[status]) for status in sorted(answered)}


def error_response(status: int, problems: list[Problem]) -> Json:
    examples = {f"{problem.message} ({number})": errors_of([problem]) for number, problem in enumerate(problems, 1)}
    seconds = {"type": "integer", "examples": [RETRY_AFTER_SECONDS]}
    retry = {"headers": {"Retry-After": header(seconds, "Seconds to wait.")}} if status in (429, 503) else {}
    return {"description": problems[0].message, **retry, **content(ref("Errors"), examples)}


def answer(schema: str, example: Json) -> Json:
    return {"description": "Done.", **content(ref(schema), {"done": example})}


def done(what: str) -> Json:
    return {"message": f"Successfully {what} user.", "email": EMAIL}


def content(schema: Json, examples: Mapping[str, Any]) -> Json:
    shown = {name: {"value": value} for name, value in examples.items()}
    return {"content": {"application/json": {"schema": schema, "examples": shown}}}


def parameter(where: str, name: str, schema: Json, description: str, example: str | None = None) -> Json:
    described = {"name": name, "in": where, "required": where == "path", "description": description, "schema": schema}
    return described | ({"example": example} if example else {})


def header(schema: Json, description: str) -> Json:
    return {"description": description, "required": True, "schema": schema}


# --- Schemas --------------------------------------------------------------------------------------


def an_object(properties: Json, required: Iterable[str], **more: Any) -> Json:
    return {"type": "object", "properties": properties, "required": list(required), **more}


def or_null(schema: Json) -> Json:
    return {**schema, "type": [schema["type"], "null"]}


def general_schemas() -> Json:
    text, email, tags = {"type": "string"}, {"type": "string", "format": "idn-email"}, {"type": "string"}
    uuid, date = {"type": "string", "format": "uuid"}, {"type": "string", "format": "date-time", "examples": [TIME]}
    warnings = {
        "type": "array",
        "minItems": 1,
        "description": "What was left out or changed. Absent when there is nothing of the kind.",
        "items": an_object({"field": text, "message": text}, ["field", "message"]),
    }
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
        "tags": {"type": "array", "items": tags},
    }
    result = an_object({"message": text, "email": text}, ["message"])
    listed = an_object(
        {"_id": uuid, "type": {"enum": list(CATALOGUE)}, "payload": {"type": "object"}, "createdOn": date},
        ["_id", "type", "payload", "createdOn"],
    )
    problem = an_object({"message": text, "description": text, "field": text}, ["message", "description"])
    return {
        "Value": value_schema(),
        "Errors": an_object({"errors": {"type": "array", "minItems": 1, "items": problem}}, ["errors"]),
        "EventRequest": an_object({"user": ref("UserReference"), "event": ref("AnyEvent")}, ["user", "event"]),
        "UserReference": an_object(
            {"email": or_null(email), **dict.fromkeys(("_id", "userAgent", *USER_ATTRIBUTES), or_null(text))},
            [],
            anyOf=[an_object({name: text}, [name]) for name in ("email", "_id")],
            description="By email, by _id, or both. The strings beside them are set on the profile; userAgent is the "
            "visitor's.",
        ),
        "AnyEvent": {
            "type": "object",
            "description": "One event, with its type as the key.",
            "minProperties": 1,
            "maxProperties": 1,
            "additionalProperties": False,
            "properties": {name: ref(model.__name__) for name, model in WIRE_NAMES.items()},
        },
        "EventResult": an_object({"results": result, "warnings": warnings}, ["results"]),
        "User": an_object(user, ["_id", "createdOn"], description="One flat object, with all its attributes."),
        "UserAttributes": {
            "type": "object",
            "properties": {
                "email": or_null(email),
                "tags": TAGS_SCHEMA,
            },
            "propertyNames": {"minLength": 1},
            "additionalProperties": ref("Value"),
        },
        "UserResult": an_object(
            {"results": {"type": "array", "items": result}, "object": ref("User"), "warnings": warnings},
            ["results", "object"],
        ),
        "Erased": an_object({"results": {"type": "array", "items": result}}, ["results"]),
        "EventList": an_object(
            {
                "events": {"type": "array", "items": listed},
                "cursor": {**text, "description": "For the next page. Absent on the last one."},
            },
            ["events"],
        ),
    }


def value_schema() -> Json:
    return {
        "description": "What DynamoDB can hold: numbers of at most 38 digits, 32 levels, no empty names.",
        "anyOf": [
            {"type": ["string", "boolean", "null"]},
            {"const": 0},
            {"type": "number", "minimum": 1e-130, "maximum": LARGEST},
            {"type": "number", "minimum": -LARGEST, "maximum": -1e-130},
            {"type": "array", "items": ref("Value")},
            {"type": "object", "propertyNames": {"minLength": 1}, "additionalProperties": ref("Value")},
        ],
    }


def event_schemas() -> Json:
    models = [(model, "validation") for model in CATALOGUE.values()]
    _, made = models_json_schema(models, ref_template=SCHEMAS + "{model}")  # type: ignore[arg-type]
    schemas: Json = {name: payload_schema(CATALOGUE[name.lower()], schema) for name, schema in made["$defs"].items()}
    return {name: flat_or_nested(CATALOGUE[name.lower()], schema) for name, schema in schemas.items()}


def flat_or_nested(model: type[EventType], flat: Json) -> Json:
    """A required field may stand in either place."""
    if not model.under_generic:
        return flat
    description, properties = flat.pop("description"), flat["properties"]
    fields = {name: properties[name] for name in model.under_generic}
    generic = an_object(fields, flat["required"], additionalProperties=ref("Value"), propertyNames={"minLength": 1})
    beside = {name: field for name, field in properties.items() if name not in fields}
    nested = {**flat, "properties": {"generic": generic, **beside}, "required": ["generic"]}
    return {"description": description, "anyOf": [flat, nested]}


def payload_schema(model: type[EventType], schema: Json) -> Json:
    """pydantic's schema, with what any other field may hold."""
    properties = {name: field_schema(field) for name, field in schema.get("properties", {}).items()}
    shown: Json = {"type": "object", "description": schema["description"]}
    if properties:
        shown |= {"properties": properties, "required": schema.get("required", [])}
    if not model.may_be_empty:
        shown["minProperties"] = 1
    return shown | {"propertyNames": {"minLength": 1}, "additionalProperties": ref("Value")}


def field_schema(field: Json) -> Json:
    """What the field asks for, on top of what any value has to be."""
    known = {name: value for name, value in field.items() if name not in ("title", "default")}
    if known.get("items") == {"type": "object"}:
        known["items"] = {"type": "object", "propertyNames": {"minLength": 1}, "additionalProperties": ref("Value")}
    return known | ref("Value")


def example_of(model: type[EventType]) -> Json:
    """The payload that the fields' own examples make."""
    fields = model.model_fields.items()
    return {name: field.examples[0] for name, field in fields if field.examples}


def text() -> str:
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())
