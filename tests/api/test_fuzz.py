"""The functions do what docs/openapi.json says, for any request: schemathesis generates the requests."""

import contextlib
import os
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import negative_data_rejection

from api.gateway import invoke
from api.wsgi import application
from builders import a_moment
from docs import openapi
from domain.email import normal_email
from domain.ids import is_id
from domain.problems import Conflict
from domain.times import iso
from engines import new_table
from figures import STRESS, VIOLATION
from table import Account
from use_cases import users

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

ACCOUNT = "fuzz"
CONFIG = schemathesis.Config.from_dict(
    {
        "generation": {"max-examples": 150 * STRESS, "with-security-parameters": False},
        "phases": {"coverage": {"generate-duplicate-query-parameters": True}},
        "checks": {
            "unsupported_method": {"enabled": False},  # contract section 1: no such method is a 404
            "positive_data_acceptance": {"expected-statuses": ["2xx", "400", "404", "409", "422"]},
        },
    }
)
IDENTIFIERS = ("idn-email", "uuid")
# Rules that a schema cannot express: values that DynamoDB cannot hold, and identities.
BEYOND_SCHEMAS = {
    "Invalid number",
    "Invalid text",
    "Invalid name",
    "Too many levels",
    "Invalid data format/type",
    "User identifiers disagree",
    "Invalid cursor",
    "Missing eventTime",
    "User not found",
    "Attribute kept by the system",
    "Invalid email",  # schemathesis knows the format, but not within lists
}
MINUTES = 10


def document() -> dict[str, Any]:
    """Return the document, narrowed so that more generated requests are accepted.

    Paths name real users, and times are recent. Batches are small, so that they do not take most of the time.
    """
    described = openapi.document()
    for path in described["paths"].values():
        for operation in path.values():
            for parameter in operation.get("parameters", ()):
                if (parameter["in"], parameter["name"]) == ("path", "id"):
                    parameter["schema"] = {"anyOf": [{"type": "string", "format": each} for each in IDENTIFIERS]}
    schemas = described["components"]["schemas"]
    times = [iso(a_moment() - timedelta(minutes=minutes)) for minutes in range(MINUTES)]
    for name in ("EventRequest", "BatchEvent"):
        schemas[name]["properties"]["eventTime"] = {"enum": [*times, None]}
    schemas["BatchRequest"]["properties"]["events"]["maxItems"] = 3
    return described


api = schemathesis.openapi.from_dict(document(), config=CONFIG)
api.app = application


@pytest.fixture
def account(dynamodb_local_client: "DynamoDBClient", monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    monkeypatch.setattr("handlers.runtime.client", dynamodb_local_client)
    monkeypatch.setattr("handlers.runtime._impatient_client", lambda: dynamodb_local_client)
    with new_table(dynamodb_local_client, os.environ["TABLE_NAME"]) as table:
        yield Account(table, ACCOUNT)


@pytest.fixture
def key(account: Account) -> dict[str, str]:
    return {"Authorization": invoke("KeyFunction", {"action": "create", "account": ACCOUNT})["apiKey"]}


def a_test_of(operation: str) -> Any:
    @api.include(operation_id=operation).parametrize()
    @settings(deadline=None, suppress_health_check=list(HealthCheck))
    def answers_as_documented(case: Any, key: dict[str, str], account: Account, outcomes: Counter[str]) -> None:
        for identifier in named_by(case):
            with contextlib.suppress(Conflict):
                users.change(identifier, {}, True, account, a_moment())
        answer = case.call(headers=key)
        outcomes[VIOLATION] += 1
        outcomes[str(answer.status_code)] += 1
        # Any text may name an attribute; of a batch, one event may be wrong and another right.
        may_be_wrong = operation == "removeAttribute" or answer.status_code == 207
        case.validate_response(
            answer,
            headers=key,
            transport_kwargs={"headers": key},
            excluded_checks=[negative_data_rejection] if may_be_wrong else [],
        )
        if answer.status_code in (207, 400) and case.meta.generation.mode.is_positive:
            told = answer.json()
            for errors in [each.get("errors", []) for each in told.get("results", [told])]:
                assert foreseeable(errors, BEYOND_SCHEMAS) == []
        outcomes[VIOLATION] -= 1

    return answers_as_documented


def foreseeable(errors: list[dict[str, Any]], beyond_schemas: set[str]) -> list[dict[str, Any]]:
    """The errors about fields with which nothing is wrong that is beyond schemas."""
    beyond = [place(error) for error in errors if error["message"] in beyond_schemas]
    return [error for error in errors if place(error) not in beyond]


def place(error: dict[str, Any]) -> str:
    """The field; that of an order is the same flat and under `generic`."""
    return str(error.get("field")).replace(".generic.", ".")


# The tests that schemathesis makes of one share their node id, and pytest-xdist runs one of them: so one of each.
for path in openapi.document()["paths"].values():
    for operation in path.values():
        globals()[f"test_{operation['operationId']}"] = a_test_of(operation["operationId"])


def named_by(case: Any) -> list[str]:
    """Return the users that a request names, if its identifiers are valid."""
    body = case.body if isinstance(case.body, dict) else {}
    events = [body, *(body["events"] if isinstance(body.get("events"), list) else ())]
    users_named = [each.get("user") for each in events if isinstance(each, dict)]
    named = [each.get("email") or each.get("_id") for each in users_named if isinstance(each, dict)]
    named.append(unquote(str(case.path_parameters.get("id"))))
    return [each for each in named if isinstance(each, str) and (normal_email(each) or is_id(each))]
