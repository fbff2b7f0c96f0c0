"""The list of what can go wrong is closed, and any exception of a route is an answer in the usual shape: section 1."""

import json
import re
from dataclasses import replace
from inspect import getdoc
from pathlib import Path
from typing import Any

import pytest
from botocore.session import get_session

from api.gateway import Context, event_file
from docs.openapi import CODES
from domain import problems
from domain.problems import INTERNAL_ERROR, INVALID_EVENT, NotFound, Problem, Refused, Unavailable
from handlers import rest
from handlers.rest import errors_of
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
    drawn = re.findall(r"[├└]── (\w+) ", str(getdoc(problems)))
    assert drawn == [kind.__name__ for kind in KINDS]
    assert all(kind in KINDS for kind in CODES.values())
    source = Path(problems.__file__).read_text()
    assert all(re.search(rf'Problem\(\s*"{code}"', source) for code in CODES)
    assert {problem.code for problem in PROBLEMS.values()} <= CODES.keys()
    for name, problem in PROBLEMS.items():
        [shown] = errors_of([replace(problem, as_documented=False)])["errors"]
        assert all(shown.values()), name
        assert shown["message"] != shown["description"]
        assert list(shown)[:2] == ["message", "description"]
    for name in ("MISSING_EVENT", "UNKNOWN_EMAIL"):
        assert errors_of([PROBLEMS[name]])["errors"][0].keys() == {"message", "description"}, "as documented"


def test_each_error_code_that_dynamodb_documents_has_a_meaning() -> None:
    """botocore's model lists the codes of each operation; a new one has to be judged here."""
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
def test_each_error_is_an_answer_that_names_the_request_and_nothing_else(
    raised: Exception, functions_table: Table
) -> None:
    """A refusal without problems is one too."""
    status, body = answer_to(raised)
    description = f"{INTERNAL_ERROR.description} Request id: {REQUEST_ID}"
    error = {"message": "Internal server error", "description": description, "code": "internal_error"}
    assert (status, body) == (500, {"errors": [error]})
