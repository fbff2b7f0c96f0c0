"""Problems have a closed list of codes, and each text says what to do. Any exception of a route becomes an answer.

The shape of answers: contract, section 1. docs/codes.md has other texts: tests/unit/test_codes.py runs its requests.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.session import get_session

from api.gateway import ROUTES, Answer, Context, call, event_file, invoke, timeline, user
from builders import ANA, an_entry
from docs.openapi import CODES
from domain import problems
from domain.event_types import CATALOGUE
from domain.problems import INTERNAL_ERROR, INVALID_EVENT, NotFound, Problem, Refused, Unavailable
from domain.profile import Profile
from faults import hooked
from handlers import rest
from handlers.rest import errors_of
from handlers.runtime import client
from table import Account
from table.calls import RETRYABLE_CODES, Table

KINDS = Refused.__subclasses__()
PROBLEMS = {name: value for name, value in vars(problems).items() if isinstance(value, Problem)}
# Codes that cannot be answered by "send it again later": our own mistakes (500), and what the code reads itself.
OURS = {
    "ConditionalCheckFailedException",  # read by Table.put
    "IdempotentParameterMismatchException",  # botocore makes a token for each call
    "InvalidEndpointException",
    "ItemCollectionSizeLimitExceededException",  # there is no local index
    "ReplicatedWriteConflictException",  # there is no global table
    "ResourceNotFoundException",
    "TransactionCanceledException",  # read by Table.write
    "TransactionConflictException",  # read by Table.put
}


def test_each_code_has_a_kind_with_its_status_and_each_problem_a_code_and_a_text() -> None:
    assert {kind.__name__: kind.status for kind in KINDS} == {
        "Invalid": 400, "Unauthorized": 401, "Forbidden": 403, "NotFound": 404, "Conflict": 409,
        "TooLarge": 413, "UnsupportedEncoding": 415, "KeyReused": 422, "Unavailable": 503, "Failed": 500,
    }  # fmt: skip
    assert all(kind in KINDS for kind in CODES.values())
    source = Path(problems.__file__).read_text()
    assert all(re.search(rf'Problem\(\s*"{code}"', source) for code in CODES)
    assert {problem.code for problem in PROBLEMS.values()} <= CODES.keys()
    for name, problem in PROBLEMS.items():
        [shown] = errors_of([problem._replace(as_documented=False)])["errors"]
        assert all(shown.values()), name
        assert shown["message"] != shown["description"]
        assert list(shown)[:2] == ["message", "description"]
    for name in ("MISSING_EVENT", "UNKNOWN_EMAIL"):
        assert errors_of([PROBLEMS[name]])["errors"][0].keys() == {"message", "description"}, "as documented"


def test_each_error_code_that_dynamodb_documents_has_a_meaning() -> None:
    model = get_session().get_service_model("dynamodb")
    used = ["GetItem", "BatchGetItem", "PutItem", "UpdateItem", "Query", "TransactWriteItems", "BatchWriteItem"]
    codes = {shape.name for operation in used for shape in model.operation_model(operation).error_shapes}
    assert codes - RETRYABLE_CODES - OURS == set()


# --- The last resort ------------------------------------------------------------------------------


class Gone(NotFound):
    """A kind of refusal that a later version could add."""


class WithoutText(Exception):
    def __str__(self) -> str:
        raise ValueError("not even this")


FAILURES: list[Exception] = [
    KeyError("status"), ValueError("\ud800"), RecursionError(), MemoryError(), StopIteration(), AssertionError(),
    TimeoutError(), WithoutText(), ExceptionGroup("two", [KeyError(), ValueError()]), Exception(),
]  # fmt: skip
EVENT = event_file("event")
REQUEST_ID = EVENT["requestContext"]["extendedRequestId"]


def answer_to(raised: Exception) -> tuple[int, Any]:
    def route(event: rest.Event, account: Account) -> rest.Response:
        raise raised

    handler = rest.endpoint({f"{EVENT['httpMethod']} {EVENT['resource']}": rest.Route("send", route)})
    response = handler(EVENT, Context())
    body = json.loads(response["body"])
    assert response["headers"]["X-Error-Code"] == body["errors"][0]["code"]
    assert all(error["message"] and error["description"] for error in body["errors"])
    assert response["headers"]["X-Request-Id"] == REQUEST_ID
    return response["statusCode"], body


def test_each_kind_of_refusal_is_an_answer_with_its_status_or_that_of_its_base_class(functions_table: Table) -> None:
    kinds: list[type[Refused]] = [Refused, *KINDS, Gone]
    for kind in kinds:
        refusal = Unavailable([INVALID_EVENT], "Reason") if kind is Unavailable else kind([INVALID_EVENT])
        status, body = answer_to(refusal)
        [error] = body["errors"]
        assert (status, error["code"]) == (404 if kind is Gone else kind.status, INVALID_EVENT.code)
        assert (REQUEST_ID in error["description"]) == (status >= 500)


@pytest.mark.parametrize("raised", [*FAILURES, Gone([]), Refused([])], ids=lambda raised: type(raised).__name__)
def test_an_error_is_an_answer_that_names_only_the_request(raised: Exception, functions_table: Table) -> None:
    status, body = answer_to(raised)
    description = f"{INTERNAL_ERROR.description} Request id: {REQUEST_ID}"
    error = {"message": "Internal server error", "description": description, "code": "internal_error"}
    assert (status, body) == (500, {"errors": [error]})


# --- Texts ----------------------------------------------------------------------------------------

VIEW: dict[str, Any] = {"viewitem": {"itemId": "SKU-1"}}


def event(**beside: Any) -> Answer:
    return call("POST", "/event", {"user": {"email": ANA}, "event": VIEW, **beside})


def texts_of(answer: Answer) -> str:
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
    "\u0662026-11-24": "+02:00 at the end. invalid_event_time",
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
    answers = [(texts_of(call("POST", "/event", body)), text) for body, text in BROKEN.items()]
    answers += [(texts_of(event(eventTime=time)), text) for time, text in TIMES.items()]
    answers += [(texts_of(send()), text) for send, text in OTHERS]
    assert [(answer, text) for answer, text in answers if text not in answer] == []


@pytest.mark.parametrize(("fault", "alone", "in_batch"), [
    ("ThrottlingException", "Wait Retry-After seconds and send the same", "and send the batch again: events"),
    ("ResourceNotFoundException", "Send it again with the same Idempotency-Key", "failed on our side. Send the batch"),
])  # fmt: skip
def test_a_failure_says_what_to_retry_and_its_request(fault: str, alone: str, in_batch: str, ana: Profile) -> None:
    broken = {"Error": {"Code": fault, "Message": "x"}, "ResponseMetadata": {"HTTPStatusCode": 400}}

    def fail(model: Any, **_: Any) -> Any:
        return (SimpleNamespace(status_code=400), broken) if model.name == "PutItem" else None

    with hooked(client, "before-call.dynamodb", fail):
        for text, answer in ((alone, event()), (in_batch, call("POST", "/events", {"events": [an_entry(VIEW)]}))):
            assert text in texts_of(answer)
            assert f"Request id: {answer.headers['X-Request-Id']}" in texts_of(answer)


def test_a_wrong_method_is_refused_with_the_right_ones(ana: Profile) -> None:
    for path in {path for _, path in ROUTES if path != "/" and "proxy" not in path}:
        right = sorted(method for method, each in ROUTES if each == path)
        proxy = path.strip("/").replace("{id}", ANA).replace("{name}", "city") + "/"
        answer = call("PATCH", "/{proxy+}", pathParameters={"proxy": proxy})
        do = "do" if len(right) > 1 else "does"
        assert answer.status == 404
        assert f"PATCH /v1{path} does not exist; {', '.join(right)} {do}." in texts_of(answer)
    assert "There is no such path or method." in texts_of(call("GET", "/{proxy+}", pathParameters={"proxy": "users"}))
