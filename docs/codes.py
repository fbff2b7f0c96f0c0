"""Make docs/codes.md from the closed lists of codes: `make openapi`. The meaning of each code is written here.

The page shows for each code a request and its response. The requests are executed, on moto, when the page is made.
"""

import base64
import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import NamedTuple

from moto import mock_aws

from docs.openapi import EMAIL, EVENT_ID, GATEWAY_ID, OF_STATUS, TIME, TOO_MANY_REQUESTS, USER_ID
from domain.event_types import CATALOGUE, restrictions
from domain.problems import INTERNAL_ERROR, STORE_UNAVAILABLE, Problem, notice
from domain.restrictions import Restriction
from domain.times import iso
from handlers import event_api, keys, user_api
from handlers.rest import errors_of, warnings_of
from handlers.runtime import TABLE_NAME, client
from local.dynamodb import create_table

FILE = Path(__file__).with_name("codes.md")


class About(NamedTuple):
    means: str
    do: str


MEANS: dict[str, About] = {
    "invalid_json": About(
        "The body is not a JSON object in UTF-8, a name is in it twice, or its gzip is broken.",
        "Let a library write the JSON.",
    ),
    "missing_event": About("There is no `event`, or it is empty.", "Send `event` with one type as its key."),
    "invalid_event": About("`event` is not an object.", "Send an object with one type as its key."),
    "more_than_one_event": About(
        "`event` has several keys.", "Send one event in each request, or all of them in a batch."
    ),
    "unknown_event_type": About(
        "There is no such event type.",
        "Send the type that is meant, with its capital letters, or your own event as `generic`.",
    ),
    "invalid_payload": About(
        "The payload is not an object, or an `update` without attributes.",
        "Send an object; an `update` needs an attribute.",
    ),
    "missing_field": About("The event lacks a field that its type needs.", "Send the field that `field` names."),
    "invalid_field": About("A field of the event has a wrong value.", "Send what the description asks for."),
    "invalid_text": About(
        "A text holds half of a surrogate pair, which is not a character.", "Cut texts between whole characters."
    ),
    "invalid_number": About(
        "A number has more than 38 digits, or is too large or too small for DynamoDB.",
        "Round it, or send it as a string.",
    ),
    "invalid_name": About("The name of a field is empty, too long or not Unicode.", "Give the field another name."),
    "too_many_levels": About("Lists and objects are nested too deep.", "Send a flatter value, or send it as a string."),
    "missing_user": About("There is no `user`, or it is empty.", "Send `user` with `email` or `_id`."),
    "invalid_user": About("`user` is not an object.", "Send an object with `email` or `_id`."),
    "missing_identifier": About("`user` has neither `email` nor `_id`.", "Send one of them."),
    "identifiers_disagree": About("`email` and `_id` do not name the same user.", "Send one of them."),
    "invalid_email": About("This is not an email address.", "Send only the address, without a name."),
    "invalid_id": About("This cannot be the `_id` of a user.", "Send the `_id` as an answer gave it."),
    "invalid_attribute": About(
        "An attribute has a value that it cannot have, or that cannot be stored.",
        "Correct the attribute that `field` names; `hint` says how.",
    ),
    "system_attribute": About(
        "The API maintains this attribute.", "Remove another attribute; this one cannot be removed."
    ),
    "missing_event_id": About(
        "An event of a batch has no `eventId`.", "Give each event its own id, and keep it for retries."
    ),
    "invalid_event_id": About("The `eventId` is empty, too long, or has other characters.", "Send a UUID."),
    "missing_event_time": About(
        "The `eventId` is not a UUIDv7, and there is no `eventTime`.", "Send the time at which the event happened."
    ),
    "invalid_event_time": About(
        "The `eventTime` is not written as RFC 3339 asks, or it lies too far ahead or back.",
        "Send an offset, check your clock, and import old events with `import`.",
    ),
    "missing_events": About("The batch has no events.", "Send `events`, a list of 1 to 100 events."),
    "invalid_events": About("`events` is not a list, or an entry is not an object.", "Send a list of objects."),
    "too_many_events": About("The batch has more than 100 events.", "Send several batches."),
    "invalid_import": About("`import` is neither true nor false.", "Send `true`, or leave it out."),
    "invalid_parameter": About(
        "A header or a query parameter has a wrong value.", "Correct the one that `field` names."
    ),
    "bad_request": About("API Gateway refused the request.", "Check the URL and the headers."),
    "unauthorized": About(
        "The API key is missing, unknown, expired or revoked.",
        "Send a valid key in `Authorization`, alone or after `Bearer `.",
    ),
    "forbidden": About(
        "The API key does not have the scope that the request needs. The description names the scope.",
        "Use a key that has the scope, or ask the operator for one.",
    ),
    "user_not_found": About(
        "There is no such user in this account.", "Create the user first, or send the event with `?upsert=true`."
    ),
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
    "too_many_requests": About(
        "The rate limit is reached.", "Wait `Retry-After` seconds and send the same request again."
    ),
    "internal_error": About(
        "The request failed on our side.",
        "Send it again with the same `Idempotency-Key` or `eventId`. If it fails again, report the request id.",
    ),
    "unavailable": About(
        "The service is busy.",
        "Wait `Retry-After` seconds and send the request again, with the same `Idempotency-Key` or `eventId`.",
    ),
}


# Warnings: the request was accepted.
WARNED: dict[str, About] = {
    "system_attribute_ignored": About(
        "The API maintains this attribute, so the value that was sent was ignored.", "Do not send the attribute."
    ),
    "email_ignored": About(
        "The email is not the user's, and this request cannot change it. It was ignored.",
        "To change it, use `PUT /v1/user/{email or _id}/email`.",
    ),
    "older_than_profile": About(
        "The event is older than the newest change of the profile, so it did not replace or remove anything there.",
        "Do nothing: the profile has the newer value.",
    ),
    "profile_full": About(
        "The event is stored, but the profile is full, so these attributes were not set.",
        "Remove attributes with `DELETE /v1/user/{email or _id}/attributes/{name}`.",
    ),
    "tag_ignored": About(
        "The tag contains no letter and no digit, so it was ignored.", "Give each tag a letter or a digit."
    ),
    "comma_in_tags": About(
        "A string of tags contains a comma, which does not separate tags.", "Separate tags with `;`, or send a list."
    ),
    "total_not_counted": About(
        "The order is stored, but its `total` is not a number below 10^15, so no total of the customer contains it.",
        "Send a number, or a string such as `59.90`, without a currency sign.",
    ),
    "similar_name": About(
        "A field was not read: its name differs from a known one in case or punctuation, or it is another system's "
        "name for `total`, such as `total_price`.",
        "Send the name that `message` suggests.",
    ),
    "user_without_email": About(
        "The user was created without an email, although a field looks like one.",
        "Send `email` at the top of the body, and erase this user.",
    ),
    "event_id_reused": About(
        "The `eventId` belongs to another event of the same time. Nothing was stored.",
        "Give each event its own `eventId`. If this event is the same one, do nothing.",
    ),
}


def about(restriction: Restriction) -> About:
    """Return the description of a restriction's code. An event type declares its restriction."""
    means = "The user agent of the visitor says that it is a crawler."
    if restriction.field:
        means = f"An event with this `{restriction.field}` was received before; `first` names it."
    elif restriction.window:
        minutes = restriction.window // timedelta(minutes=1)
        means = f"The user has such an event less than {minutes} minutes before or after it; `first` names that one."
    return About(means, "Do nothing; do not send this event again.")


DISCARDED = {code: about(restriction) for code, restriction in restrictions().items()}
ALL = DISCARDED | WARNED | MEANS
# Codes whose response does not say what to do: the page says it.
UNSAID = {
    "older_than_profile",
    "profile_full",
    "user_without_email",
    "event_id_reused",
    "invalid_id",
    "bad_request",
    "user_not_found",
    "erasure_not_found",
    "not_found",
    "key_not_found",
    "email_taken",
}
STATUS = {**OF_STATUS, "bad_request": 400, **dict.fromkeys([*DISCARDED, *WARNED], 200)}
# No request can cause these: they come from the gateway, or the service failed.
WITHOUT_REQUEST = [
    Problem("bad_request", "Request refused", "The gateway refused the request: BAD_REQUEST_BODY."),
    TOO_MANY_REQUESTS,
    INTERNAL_ERROR,
    STORE_UNAVAILABLE,
]

# --- Requests -------------------------------------------------------------------------------------
#
# A request is the text on the page. Text in angle brackets is replaced before the request is sent: by a long text, a
# time, or the value with this name of an earlier response.

STARTED = datetime.now(UTC)
USER = {"email": EMAIL}
SEARCH = {"search": {"query": "shoes"}}
FILLED: dict[str, Callable[[str], str]] = {
    r'"<(\d+) events>"': lambda number: json.dumps([{}] * int(number)),
    r'"<(\d+) nested lists>"': lambda number: "[" * int(number) + "]" * int(number),
    r"<(\d+) characters>": lambda number: "x" * int(number),
    r"<(now)>": lambda _: iso(STARTED),
    r"<(hour) ago>": lambda _: iso(STARTED - timedelta(hours=1)),
}


def ask(call: str, body: object = None, *headers: str) -> str:
    shown = body if isinstance(body, str) else json.dumps(body)
    return "\n".join([call, *headers]) + ("" if body is None else f"\n\n{shown}")


def event(sent: object, *headers: str, **more: object) -> str:
    return ask("POST /v1/event/", {"user": USER, "event": sent, **more}, *headers)


def batch(*events: object, **more: object) -> str:
    return ask("POST /v1/events/", {"events": list(events), **more})


def entry(event_id: str, sent: object, **user: str) -> dict[str, object]:
    return {"eventId": event_id, "eventTime": "<now>", "user": {**USER, **user}, "event": sent}


def user(call: str, body: object = None, *, who: str = EMAIL) -> str:
    method, _, rest = call.partition(" ")
    return ask(f"{method} /v1/user/{who}{rest}", body)


OTHER = user("PUT ?upsert=true", {}, who="bo@example.com")
ANOTHER_KEY = {"account": "shop", "keyId": "<keyId>", "action": "revoke"}
TWICE = {"eventId": "view-77", "eventTime": "<now>"}

REQUESTS: dict[str, list[str]] = {
    "invalid_json": [ask("POST /v1/event/", '{"user": {"email": "ana@example.com"} "event": {"login": {}}}')],
    "missing_event": [ask("POST /v1/event/", {"user": USER})],
    "invalid_event": [event("search")],
    "more_than_one_event": [event({**SEARCH, "viewitem": {"itemId": "SKU-1"}})],
    "unknown_event_type": [event({"viewItem": {"itemId": "SKU-1"}})],
    "invalid_payload": [event({"update": {}})],
    "missing_field": [event({"viewitem": {"itemid": "SKU-1"}})],
    "invalid_field": [event({"viewitem": {"itemId": ""}})],
    "invalid_text": [event({"update": {"size": "\ud83d"}})],
    "invalid_number": [event({"update": {"size": 10**40 + 1}})],
    "invalid_name": [event({"update": {"size": {"": 1}}})],
    "too_many_levels": [event({"update": {"size": "<40 nested lists>"}})],
    "missing_user": [ask("POST /v1/event/", {"event": SEARCH})],
    "invalid_user": [event(SEARCH, user="ana")],
    "missing_identifier": [event(SEARCH, user={"firstname": "Ana"})],
    "identifiers_disagree": [OTHER, event(SEARCH, user={**USER, "_id": "<_id>"})],
    "invalid_email": [event(SEARCH, user={"email": "Ana <ana@example.com>"})],
    "invalid_id": [user("PUT ?upsert=true", {}, who="ana")],
    "invalid_attribute": [user("PUT ", {"tags": 7})],
    "system_attribute": [user("DELETE /attributes/createdOn")],
    "missing_event_id": [batch({"user": USER, "event": SEARCH})],
    "invalid_event_id": [event(SEARCH, eventId="view 77")],
    "missing_event_time": [event(SEARCH, eventId="view-77")],
    "invalid_event_time": [event(SEARCH, eventTime="2026-11-24 08:00:00")],
    "missing_events": [ask("POST /v1/events/", {"user": USER, "event": SEARCH})],
    "invalid_events": [ask("POST /v1/events/", {"events": "all"})],
    "too_many_events": [ask("POST /v1/events/", {"events": "<101 events>"})],
    "invalid_import": [batch(entry("view-77", SEARCH), **{"import": "yes"})],
    "invalid_parameter": [user("GET /events?limit=1000")],
    "unauthorized": [ask("GET /v1/refusals", None, "Authorization: <a key that was revoked>")],
    "forbidden": [ask("GET /v1/refusals", None, "Authorization: <a key that has only the scope send>")],
    "user_not_found": [event(SEARCH, user={"email": "nobody@example.com"})],
    "erasure_not_found": [ask(f"GET /v1/erasures/{USER_ID}")],
    "not_found": [ask("GET /v1/users")],
    "key_not_found": [ask("KeyFunction", {**ANOTHER_KEY, "keyId": USER_ID})],
    "user_exists": [ask("POST /v1/user/", USER)],
    "email_taken": [OTHER, user("PUT /email", {"email": "bo@example.com"})],
    "user_erased": [user("GET "), user("DELETE "), user("PUT ?upsert=true", {}, who="<_id>")],
    "key_revoked": [
        ask("KeyFunction", {"account": "shop", "action": "create"}),
        *[ask("KeyFunction", ANOTHER_KEY)] * 2,
    ],
    "body_too_large": [event({"search": {"query": "<300000 characters>"}})],
    "item_too_large": [user("PUT ", {name: "<210000 characters>"}) for name in ("notes", "more")],
    "unsupported_encoding": [ask("POST /v1/event/", "<zstd>", "Content-Encoding: zstd")],
    "idempotency_key_reused": [
        event({"search": {"query": each}}, "Idempotency-Key: search-77") for each in ("shoes", "hats")
    ],
    "bot": [batch(entry("view-77", SEARCH, userAgent="Googlebot/2.1"))],
    "system_attribute_ignored": [event({"update": {"createdOn": "today"}})],
    "email_ignored": [event({"update": {"email": "bo@example.com", "city": "Vigo"}})],
    "older_than_profile": [
        event({"update": {"city": "Vigo"}}),
        event({"update": {"city": "Lugo"}}, eventTime="<hour ago>"),
    ],
    "profile_full": [
        user("PUT ", {"notes": "<200000 characters>"}),
        user("PUT ", {"more": "<196000 characters>"}),
        event({"confirmation": {"orderId": "A-1001", "total": 59.9}}, user={**USER, "city": "<6000 characters>"}),
    ],
    "tag_ignored": [event({"update": {"tags": ["vip", "!!!"]}})],
    "comma_in_tags": [event({"update": {"tags": "VIP, repeat"}})],
    "total_not_counted": [event({"confirmation": {"orderId": "A-1001", "total": "59,90 EUR"}})],
    "similar_name": [event(SEARCH, eventID="view-77")],
    "user_without_email": [ask("POST /v1/user/", {"Email": "bo@example.com"})],
    "event_id_reused": [event({"search": {"query": each}}, **TWICE) for each in ("shoes", "hats")],
}


def requests(code: str) -> list[str]:
    """Return the requests of a code, the last of which causes it. A new restriction needs none here."""
    types = {each.restriction.code: name for name, each in CATALOGUE.items() if each.restriction}
    if code not in types:
        return REQUESTS[code]
    fields = CATALOGUE[types[code]].model_fields.items()
    sent = {types[code]: {name: field.examples[0] for name, field in fields if field.is_required() and field.examples}}
    return [event(sent), batch(entry("second", sent))]


# --- Responses ------------------------------------------------------------------------------------


def send(text: str, account: str, earlier: str) -> str:
    """Return the body of the response to a request. `earlier` are the bodies before it."""
    for name in set(re.findall(r"<(_id|keyId)>", text)):
        text = text.replace(f"<{name}>", re.findall(rf'"{name}": "([^"]+)"', earlier)[-1])
    for form, made in FILLED.items():
        text = re.sub(form, lambda found, made=made: made(found[1]), text)  # type: ignore[misc]
    head, _, body = text.partition("\n\n")
    call, *headers = head.split("\n")
    if call == "KeyFunction":
        return json.dumps(keys.handler(json.loads(body) | {"account": account}, Context()))
    method, _, address = call.partition(" /v1")
    path, _, query = address.partition("?")
    named = dict(each.split(": ", 1) for each in headers)
    is_zstd = body == "<zstd>"
    gateway_event = {
        "httpMethod": method,
        "headers": named,
        "queryStringParameters": dict(each.split("=") for each in query.split("&") if each),
        "body": base64.b64encode(b"\x28\xb5\x2f\xfd").decode() if is_zstd else body,
        "isBase64Encoded": is_zstd,
        "requestContext": {
            "extendedRequestId": GATEWAY_ID,
            "authorizer": {
                "account": "" if "revoked" in named.get("Authorization", "") else account,
                "scopes": "send" if "only" in named.get("Authorization", "") else "send read write erase",
            },
        },
    }
    for handler, routes in ((event_api.handler, event_api.ROUTES), (user_api.handler, user_api.ROUTES)):
        for route in routes:
            found = re.fullmatch(re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", route), f"{method} {path.rstrip('/')}")
            if found:
                resource = route.partition(" ")[2]
                return str(
                    handler({**gateway_event, "resource": resource, "pathParameters": found.groupdict()}, Context())[
                        "body"
                    ]
                )
    return str(user_api.handler({**gateway_event, "resource": "/{proxy+}"}, Context())["body"])


UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"


class Context:
    """The context of an invocation of Lambda."""

    aws_request_id = function_name = invoked_function_arn = "docs"
    memory_limit_in_mb = 1024


@cache
def responses() -> dict[str, str]:
    """Return the body of the response to the last request of each code; ids and times are examples."""
    found = {
        problem.code: json.dumps(errors_of([problem], GATEWAY_ID if STATUS[problem.code] >= 500 else ""))
        for problem in WITHOUT_REQUEST
    }
    # moto counts what an update replaces as well, so there a full profile takes nothing: see test_full_profiles.py.
    full = {"results": event_api.CREATED, "warnings": warnings_of([notice("profile_full", "user.city")])}
    found["profile_full"] = json.dumps(full)
    with mock_aws():
        create_table(client, TABLE_NAME)
        for code in ALL.keys() - found.keys():
            account = code.replace("_", "-")
            bodies = [send(user("PUT ?upsert=true", {}), account, "")]
            for text in requests(code):
                bodies.append(send(text, account, "\n".join(bodies)))
            with_times = re.sub(r"\d{4}-\d\d-\d\dT[\d:]+\.\d+Z", TIME, bodies[-1])
            with_event = re.sub(rf'"eventId": "{UUID}"', f'"eventId": "{EVENT_ID}"', with_times)
            found[code] = re.sub(UUID, lambda uuid: uuid[0] if uuid[0] == EVENT_ID else USER_ID, with_event)
        client.delete_table(TableName=TABLE_NAME)
    return found


HEAD = """\
# Codes

<!-- Made by `make openapi`. -->

The request that causes each code, and the response, which usually says what to do. Two bodies have no `code`, because
clients of 1.0 know them without it; the header `X-Error-Code` has it.

`ana@example.com` and `bo@example.com` are users. Angle brackets replace long texts, times, and values of earlier
responses.
"""


DISCARDS, WARNS = "200: the event was discarded", "200: warnings"


def sections() -> Iterator[str]:
    yield HEAD
    titles = {DISCARDS: DISCARDED, WARNS: WARNED}
    for status in sorted({STATUS[code] for code in MEANS}):
        titles[str(status)] = {code: MEANS[code] for code in MEANS if STATUS[code] == status}
    for title, codes in titles.items():
        yield f"## {title}\n" + {
            DISCARDS: "\nDo not send the event again. Only the response to a batch has the code.\n",
            WARNS: "\nThe request was accepted. `warnings` is next to `results`.\n",
        }.get(title, "")
        for code, told in codes.items():
            shown = [] if code in {each.code for each in WITHOUT_REQUEST} else requests(code)
            asked = "\n\n".join(text for text in shown if text != OTHER)
            do = f"{told.do}\n\n" if code in UNSAID else ""
            block = asked and f"```http\n{asked}\n```\n\n"
            yield f"### `{code}`\n\n{do}{block}```json\n{response(code)}\n```\n"


def response(code: str) -> str:
    """Return the response that the page shows: of an accepted request only its warnings."""
    body = responses()[code].strip()
    return json.dumps({"warnings": json.loads(body)["warnings"]}, ensure_ascii=False) if code in WARNED else body


def text() -> str:
    return "\n".join(sections())


def explanations() -> str:
    """Return what the pages of `make run` say about each code, as JSON."""
    about = {code: each._asdict() for code, each in ALL.items()}
    return json.dumps(about, ensure_ascii=False, indent=1) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())
    FILE.with_suffix(".json").write_text(explanations())
