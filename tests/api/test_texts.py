"""Texts that docs/codes.md does not show: tests/unit/test_codes.py compares that page with real responses."""

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from api.gateway import ROUTES, Answer, call, invoke, timeline, user
from builders import ANA, an_entry
from domain.event_types import CATALOGUE
from domain.profile import Profile
from faults import hooked
from handlers.runtime import client

VIEW: dict[str, Any] = {"viewitem": {"itemId": "SKU-1"}}


def event(**beside: Any) -> Answer:
    return call("POST", "/event", {"user": {"email": ANA}, "event": VIEW, **beside})


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
TIMES = {
    "soon": "Write eventTime like 2026-11-24T08:00:00Z: a T before the time, and Z or an off",
    "2026-11-24": "The time of day is missing.",
    "2026-11-24T08:00Z": "The seconds are missing.",
    "2026-11-24T08:00:00": "The offset is missing.",
    "2026-11-24T08:00:00+0100": "The offset lacks its colon.",
    "2026-11-24T08:00:00+05:60": "There is no such date, time or offset.",
    "2026-13-24T08:00:00Z": "There is no such date or time.",
    "2100-01-01T00:00:00Z": "is more than 5 minutes in the future. Check your server's clock.",
    "2020-01-01T00:00:00Z": 'Send old events with POST /v1/events/ and "import": true',
    "2020-01-01T00:00:00+00:00": "POST /v1/event/ ignores import.",
    "0001-01-01T00:00:00Z": "eventTime is before the year 2000.",
}
EMAIL = {"id": ANA, "name": "email"}
ATTRIBUTE = "/user/{id}/attributes/{name}"
NAME = {"action": "list", "account": "-a"}
OTHERS: list[tuple[Callable[[], Answer], str]] = [
    (lambda: event(user=None, events=[]), "A list events goes to POST /v1/events/."),
    (lambda: user("PUT", ANA, {}, queryStringParameters={"upsert": "1"}), "upsert must be true or false."),
    (lambda: user("PUT", ANA, {"": 1}), "A name in it is empty, not valid Unicode, or longer than 50,000 bytes."),
    (lambda: call("DELETE", ATTRIBUTE, pathParameters=EMAIL), "To change it, use PUT /v1/user/{id}/email."),
    (lambda: timeline(ANA, {"type": "viewItem"}), f"type must be one of {', '.join(CATALOGUE)}, spelled exactly so."),
    (lambda: timeline(ANA, {"cursor": "x"}), "Send the cursor of the previous page for the same user, unchanged."),
    (lambda: Answer(400, {}, json.dumps(invoke("KeyFunction", NAME))), "63 characters: a-z, 0-9 and -, not starting"),
]


def test_each_text_says_what_to_do(ana: Profile) -> None:
    answers = [(told(call("POST", "/event", body)), text) for body, text in BROKEN.items()]
    answers += [(told(event(eventTime=time)), text) for time, text in TIMES.items()]
    answers += [(told(send()), text) for send, text in OTHERS]
    assert [(answer, text) for answer, text in answers if text not in answer] == []


@pytest.mark.parametrize(("fault", "alone", "in_batch"), [
    ("ThrottlingException", "Wait Retry-After seconds and send the same", "and send the batch again: events"),
    ("ResourceNotFoundException", "Send it again with the same Idempotency-Key", "failed on our side. Send the batch"),
])  # fmt: skip
def test_a_failure_says_what_to_send_again_and_names_the_request(
    fault: str, alone: str, in_batch: str, ana: Profile
) -> None:
    broken = {"Error": {"Code": fault, "Message": "x"}, "ResponseMetadata": {"HTTPStatusCode": 400}}

    def fail(model: Any, **_: Any) -> Any:
        return (SimpleNamespace(status_code=400), broken) if model.name == "PutItem" else None

    with hooked(client, "before-call.dynamodb", fail):
        for text, answer in ((alone, event()), (in_batch, call("POST", "/events", {"events": [an_entry(VIEW)]}))):
            assert text in told(answer)
            assert f"Request id: {answer.headers['X-Request-Id']}" in told(answer)


def test_a_wrong_method_is_refused_with_the_right_ones(ana: Profile) -> None:
    for path in {path for _, path in ROUTES if path != "/" and "proxy" not in path}:
        right = sorted(method for method, each in ROUTES if each == path)
        proxy = path.strip("/").replace("{id}", ANA).replace("{name}", "city") + "/"
        answer = call("PATCH", "/{proxy+}", pathParameters={"proxy": proxy})
        do = "do" if len(right) > 1 else "does"
        assert answer.status == 404
        assert f"PATCH /v1{path} does not exist; {', '.join(right)} {do}." in told(answer)
    assert "There is no such path or method." in told(call("GET", "/{proxy+}", pathParameters={"proxy": "users"}))
