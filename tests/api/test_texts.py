"""The text of each error and warning, with a request that causes it."""

import base64
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from api.gateway import ROUTES, Answer, call, invoke, timeline, user
from builders import ANA, a_moment
from domain.event_types import CATALOGUE
from domain.profile import Profile
from domain.times import iso
from faults import hooked
from handlers.runtime import client

NOW = a_moment()
VIEW: dict[str, Any] = {"viewitem": {"itemId": "SKU-1"}}
BODY = json.dumps({"user": {"email": ANA}, "event": VIEW})
ATTRIBUTE = "/user/{id}/attributes/{name}"
ZSTD = {"Content-Encoding": "zstd"}


def post(text: str, **parts: Any) -> Answer:
    return call("POST", "/event", text, **parts)


def event(sent: Any = VIEW, **beside: Any) -> Answer:
    return post(json.dumps({"user": {"email": ANA}, "event": sent, **beside}))


def batch(**entry: Any) -> Answer:
    body = {"user": {"email": ANA}, "event": VIEW, "eventId": "e-1", "eventTime": iso(NOW), **entry}
    return call("POST", "/events", {"events": [body]})


def key(**changed: Any) -> Answer:
    return Answer(200, {}, json.dumps(invoke("KeyFunction", {"action": "list", "account": "demo", **changed})))


def told(answer: Answer) -> str:
    """Return the texts of the first error, warning or result."""
    body = answer.body
    if isinstance(body.get("results"), list):
        [body, *_] = body["results"]
    [first, *_] = body.get("errors") or body.get("warnings") or [body.get("results", body)]
    return " ".join(map(str, first.values()))


BROKEN = {
    '{"user": {"email': "The text that starts at line 1, column 11 has no closing quote.",
    '{"user": "a\tb"}': r"a raw line break or tab at line 1, column 12. Write it as \n or \t.",
    r'{"user": "\p"}': r"a backslash that starts no escape at line 1, column 11. Write a backslash as \\.",
    '{"a": 1': "A comma or a closing bracket is missing at line 1, column 8, where the body ends. Was it cut off?",
    '{"a": 1\n "b": 2}': "A comma or a closing bracket is missing at line 2, column 2.",
    '{"a" 1}': "A colon is missing after a name at line 1, column 6.",
    "{a: 1}": "A name in double quotes is missing at line 1, column 2.",
    '{"a": yes}': "A value is missing or misspelt at line 1, column 7. Text needs double quotes.",
    '{"a": 1,}': "There is a comma too many at line 1, column 8.",
    "{}}": "The body goes on after the end of its JSON object at line 1, column 3.",
    "user=ana&event=x": "The body is not JSON; it looks like form fields. Send JSON",
    "": "The body is empty. Send a JSON object",
    "[]": "The body must be one JSON object",
    "7": 'To send several events, use POST /v1/events/ with {"events": [...]}.',
    '{"a": 1, "a": 2}': 'The name "a" is given twice in one object.',
}
DELETED = {"id": ANA, "name": "email"}
PACKED = base64.b64encode(b"\x28\xb5\x2f\xfd").decode()
# The requests are sent in this order. Each has a part of the texts of its answer.
SENT: list[tuple[Callable[[], Answer], str]] = [
    (lambda: event(["viewitem"]), "Send event as an object with one key, the event type: {"),
    (lambda: event({**VIEW, "login": {}}), "It must have exactly one key, the event type: {"),
    (lambda: event({"viewItem": {}}), "Type names are case-sensitive. Closest: viewitem. All types: viewitem, "),
    (lambda: event({"viewItem": {}}), "For your own events use generic."),
    (lambda: event({"viewitem": {}}), "Add itemId to event.viewitem: the id of the product"),
    (lambda: event({"viewitem": {"itemid": 1}}), "It has itemid; did you mean itemId? Names are case-sensitive."),
    (lambda: event({"update": {"a": "\ud800"}}), "half of a character, for example half an emoji. Cut text by whole"),
    (lambda: event(user={"email": ANA, "tel": 7}), "tel must be a string."),
    (lambda: event(user=None, events=[]), "A list events goes to POST /v1/events/."),
    (lambda: call("POST", "/events", BODY), "a list of 1 to 100 events; a single event goes to POST /v1/event/."),
    (lambda: batch(eventId=None), "Add an eventId to every event of the batch. Keep it and send the same one when"),
    (lambda: event(eventId="a b"), "Use 1 to 128 ASCII letters, digits or punctuation, without spaces. A UUID works."),
    (lambda: event(eventId="a"), "Add eventTime: this eventId contains no time. (Only a UUIDv7 does.)"),
    (
        lambda: event(eventTime="soon"),
        "Write eventTime like 2026-11-24T08:00:00Z: a T before the time, and Z or an off",
    ),
    (lambda: event(eventTime=1795420800), "This is a Unix time."),
    (lambda: event(eventTime="2026-11-24"), "The time of day is missing."),
    (lambda: event(eventTime="2026-11-24 08:00:00Z"), "There is no T between date and time."),
    (lambda: event(eventTime="2026-11-24T08:00Z"), "The seconds are missing."),
    (lambda: event(eventTime="2026-11-24T08:00:00"), "The offset is missing."),
    (lambda: event(eventTime="2026-11-24T08:00:00+0100"), "The offset lacks its colon."),
    (lambda: event(eventTime="2026-11-24T08:00:00+05:60"), "There is no such date, time or offset."),
    (lambda: event(eventTime="2026-13-24T08:00:00Z"), "There is no such date or time."),
    (
        lambda: event(eventTime="2100-01-01T00:00:00Z"),
        "is more than 5 minutes in the future. Check your server's clock.",
    ),
    (lambda: event(eventTime="2020-01-01T00:00:00Z"), 'Send old events with POST /v1/events/ and "import": true'),
    (lambda: event(eventTime="2020-01-01T00:00:00Z"), "POST /v1/event/ ignores import."),
    (lambda: event(eventTime="0001-01-01T00:00:00Z"), "eventTime is before the year 2000."),
    (lambda: post(BODY, queryStringParameters={"upsert": "1"}), "upsert must be true or false."),
    (lambda: post(PACKED, isBase64Encoded=True, headers=ZSTD), "Send the body uncompressed, or compressed with gzip."),
    (lambda: event({"confirmation": {"orderId": 1, "total": "59 \u20ac"}}), "Use a dot and no currency sign: 59.90."),
    (lambda: event({"confirmation": {"orderId": 1}}), "A confirmation with this orderId was already received"),
    (lambda: event({"emailopen": {}}), "Event was created for the specified user"),
    (lambda: event({"emailopen": {}}), "This user already has an email open within 20 minutes of this one"),
    (
        lambda: event({"update": {"email": "bo@example.com"}}),
        "email was ignored: this request cannot change the user's",
    ),
    (lambda: event({"login": {"email": "bo@example.com"}}), "Use PUT /v1/user/{id}/email."),
    (
        lambda: user("PUT", "", {}, queryStringParameters={"upsert": "true"}),
        "The path must contain an email address or",
    ),
    (lambda: user("PUT", ANA, {"": 1}), "A name in it is empty, not valid Unicode, or longer than 50,000 bytes."),
    (lambda: user("PUT", ANA, {"tags": 7}), "tags must be a list of strings, or one string with ; between tags"),
    (lambda: user("PUT", ANA, {"notes": "x" * 210_000}), "Successfully updated user."),
    (
        lambda: user("PUT", ANA, {"more": "x" * 210_000}),
        "Delete attributes with DELETE /v1/user/{id}/attributes/{name}",
    ),
    (lambda: call("DELETE", ATTRIBUTE, pathParameters=DELETED), "To change it, use PUT /v1/user/{id}/email."),
    (lambda: timeline(ANA, {"type": "viewItem"}), f"type must be one of {', '.join(CATALOGUE)}, spelled exactly so."),
    (lambda: timeline(ANA, {"cursor": "x"}), "Send the cursor of the previous page for the same user, unchanged."),
    (lambda: key(account="-a"), "Use 1 to 63 characters: a-z, 0-9 and -, not starting with -."),
]


def test_broken_json_is_described_in_our_own_words(ana: Profile) -> None:
    assert [(body, text) for body, text in BROKEN.items() if text not in told(post(body))] == []


def test_each_text_says_what_to_do(ana: Profile) -> None:
    answers = [told(send()) for send, _ in SENT]
    assert [(answer, text) for answer, (_, text) in zip(answers, SENT, strict=True) if text not in answer] == []


@pytest.mark.parametrize(
    ("fault", "alone", "in_batch"),
    [
        (
            "ThrottlingException",
            "Wait Retry-After seconds and send the same",
            "and send the batch again: events",
        ),
        (
            "ResourceNotFoundException",
            "Send it again with the same Idempotency-Key",
            "failed on our side. Send the batch",
        ),
    ],
)
def test_a_fault_of_ours_says_what_to_send_again_and_names_the_request(
    fault: str, alone: str, in_batch: str, ana: Profile
) -> None:
    broken = {"Error": {"Code": fault, "Message": "x"}, "ResponseMetadata": {"HTTPStatusCode": 400}}

    def fail(model: Any, **_: Any) -> Any:
        return (SimpleNamespace(status_code=400), broken) if model.name == "PutItem" else None

    with hooked(client, "before-call.dynamodb", fail):
        for text, answer in ((alone, event()), (in_batch, batch())):
            assert text in told(answer)
            assert f"Request id: {answer.headers['X-Request-Id']}" in told(answer)


@pytest.mark.parametrize("path", sorted({path for _, path in ROUTES if path != "/" and "proxy" not in path}))
def test_a_wrong_method_is_told_with_the_right_ones(path: str) -> None:
    right = sorted(method for method, each in ROUTES if each == path)
    proxy = path.strip("/").replace("{id}", ANA).replace("{name}", "city") + "/"
    answer = call("PATCH", "/{proxy+}", pathParameters={"proxy": proxy})
    do = "do" if len(right) > 1 else "does"
    assert answer.status == 404
    assert f"PATCH /v1{path} does not exist; {', '.join(right)} {do}." in told(answer)
    assert "There is no such path or method." in told(call("GET", "/{proxy+}", pathParameters={"proxy": "users"}))
