"""The list of what can go wrong is closed: each kind has its status, each error code of DynamoDB its meaning."""

import re
from dataclasses import replace
from inspect import getdoc
from pathlib import Path

import pytest
from botocore.session import get_session

from domain import problems
from domain.problems import CODES, Problem, Refused
from handlers.rest import errors_of
from table.calls import RETRYABLE_CODES

KINDS = Refused.__subclasses__()
PROBLEMS = {name: value for name, value in vars(problems).items() if isinstance(value, Problem)}
DOCUMENTED = ("MISSING_EVENT", "UNKNOWN_EMAIL")

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


def test_each_kind_of_refusal_has_a_status() -> None:
    assert {kind.__name__: kind.status for kind in KINDS} == {
        "Invalid": 400, "Unauthorized": 401, "Forbidden": 403, "NotFound": 404, "Conflict": 409,
        "TooLarge": 413, "UnsupportedEncoding": 415, "KeyReused": 422, "Unavailable": 503, "Failed": 500,
    }  # fmt: skip


def test_each_problem_has_a_code_of_the_closed_list_and_each_code_a_kind_with_its_status() -> None:
    assert {problem.code for problem in PROBLEMS.values()} <= CODES.keys()
    assert all(kind in KINDS for kind in CODES.values())
    source = Path(problems.__file__).read_text()
    assert all(re.search(rf'Problem\(\s*"{code}"', source) for code in CODES)


def test_each_kind_of_refusal_is_in_the_drawing() -> None:
    drawn = re.findall(r"[├└]── (\w+) ", str(getdoc(problems)))
    assert drawn == [kind.__name__ for kind in KINDS]


@pytest.mark.parametrize("name", PROBLEMS)
def test_each_problem_says_what_is_wrong_and_what_to_do(name: str) -> None:
    [shown] = errors_of([replace(PROBLEMS[name], as_documented=False)])["errors"]
    assert all(shown.values())
    assert shown["message"] != shown["description"]
    assert list(shown)[:2] == ["message", "description"]


@pytest.mark.parametrize("name", DOCUMENTED)
def test_the_documented_bodies_have_no_field(name: str) -> None:
    [shown] = errors_of([PROBLEMS[name]])["errors"]
    assert set(shown) == {"message", "description"}


def test_each_error_code_that_dynamodb_documents_has_a_meaning() -> None:
    """botocore's model lists the codes of each operation; a new one has to be judged here."""
    model = get_session().get_service_model("dynamodb")
    used = ["GetItem", "BatchGetItem", "PutItem", "UpdateItem", "Query", "TransactWriteItems", "BatchWriteItem"]
    codes = {shape.name for operation in used for shape in model.operation_model(operation).error_shapes}
    assert codes - RETRYABLE_CODES - OURS == set()
