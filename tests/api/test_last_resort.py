"""For any exception of a route the caller gets an error in the usual shape: contract, section 1."""

import json
from typing import Any

import pytest

from api.gateway import Context, event_file
from domain.problems import INTERNAL_ERROR, INVALID_EVENT, NotFound, Refused, Unavailable
from handlers import rest
from table import Account
from table.calls import Table

EVENT = event_file("event")
PROBLEM = INVALID_EVENT


class Gone(NotFound):
    """A kind of refusal that a later version could add."""


class WithoutText(Exception):
    def __str__(self) -> str:
        raise ValueError("not even this")


def a_refusal(kind: type[Refused]) -> Refused:
    return Unavailable([PROBLEM], "Reason") if kind is Unavailable else kind([PROBLEM])


KINDS = [Refused, *Refused.__subclasses__()]
FAILURES: list[Exception] = [
    KeyError("status"), ValueError("\ud800"), RecursionError(), MemoryError(), StopIteration(), AssertionError(),
    TimeoutError(), WithoutText(), ExceptionGroup("two", [KeyError(), ValueError()]), Exception(),
]  # fmt: skip


def answer_to(raised: Exception) -> tuple[int, Any]:
    def route(event: rest.Event, account: Account) -> rest.Response:
        raise raised

    handler = rest.endpoint({f"{EVENT['httpMethod']} {EVENT['resource']}": rest.Route("send", route)})
    response = handler(EVENT, Context())
    body = json.loads(response["body"])
    assert response["headers"]["X-Error-Code"]
    assert all(error["message"] and error["description"] for error in body["errors"])
    assert body["errors"]
    assert response["headers"]["X-Request-Id"] == EVENT["requestContext"]["extendedRequestId"]
    return response["statusCode"], body


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_each_kind_of_refusal_is_an_answer_with_its_status(kind: type[Refused], functions_table: Table) -> None:
    status, body = answer_to(a_refusal(kind))
    assert status == kind.status
    [error] = body["errors"]
    assert error["code"] == PROBLEM.code
    assert (EVENT["requestContext"]["extendedRequestId"] in error["description"]) == (status >= 500)


def test_a_new_kind_of_refusal_gets_the_status_of_its_base_class(functions_table: Table) -> None:
    class NewKind(Refused): ...

    assert answer_to(Gone([PROBLEM]))[0] == 404
    assert answer_to(NewKind([PROBLEM]))[0] == 500


@pytest.mark.parametrize("kind", [Gone, Refused], ids=lambda kind: kind.__name__)
def test_a_refusal_without_problems_is_a_500(kind: type[Refused], functions_table: Table) -> None:
    status, body = answer_to(kind([]))
    assert (status, body["errors"][0]["code"]) == (500, "internal_error")


@pytest.mark.parametrize("raised", FAILURES, ids=lambda raised: type(raised).__name__)
def test_each_error_is_an_answer_that_names_the_request_and_nothing_else(
    raised: Exception, functions_table: Table
) -> None:
    status, body = answer_to(raised)
    description = f"{INTERNAL_ERROR.description} Request id: {EVENT['requestContext']['extendedRequestId']}"
    error = {"message": "Internal server error", "description": description, "code": "internal_error"}
    assert (status, body) == (500, {"errors": [error]})
