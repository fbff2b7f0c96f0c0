"""The functions answer as docs/openapi.json says, for very many requests that are made up from it.

schemathesis makes some valid and some invalid requests of each operation. They are taken apart, and their parts are put
where they do not belong. The functions' answers must agree with the document.
"""

import copy
import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import chain
from random import Random
from typing import TYPE_CHECKING, Any

import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.generation import GenerationMode

from api.gateway import ENVELOPE, Answer, call
from builders import a_moment
from docs import openapi
from domain.times import iso
from engines import new_table
from figures import STRESS, VIOLATION
from table import Account
from use_cases import users
from use_cases.erasure import IN_FLIGHT, erase_leftovers

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from schemathesis import Case

ACCOUNT = "made-up"

REQUESTS = 100 * STRESS
CORPUS = min(10 * STRESS, 100)  # requests that schemathesis makes up, of each operation, right ones and wrong ones
SEED = 20261124
KNOWN = [f"person{number}@example.com" for number in range(40)]
MISSING = object()
# Causes that a schema of the body cannot express: values that DynamoDB cannot hold, formats (schemathesis knows that of
# emails, but not within lists), identities, the path and the headers.
BEYOND_SCHEMAS = {
    "Invalid email", "Invalid upsert", "Invalid eventTime", "Invalid eventId", "Invalid _id", "Invalid Idempotency-Key",
    "Invalid number", "Invalid text", "Invalid name", "Too many levels", "Invalid data format/type", "Invalid cursor",
    "User identifiers disagree", "Missing eventTime", "User not found", "Attribute kept by the system",
}  # fmt: skip


def document() -> dict[str, Any]:
    """Return the document, narrowed so that more generated requests are accepted.

    Paths name real users, and times are recent. Batches are small, so that they do not take most of the time.
    """
    described = openapi.document()
    for path in described["paths"].values():
        for operation in path.values():
            for parameter in operation.get("parameters", ()):
                if (parameter["in"], parameter["name"]) == ("path", "id"):
                    formats = ("idn-email", "uuid")
                    parameter["schema"] = {"anyOf": [{"type": "string", "format": each} for each in formats]}
    schemas = described["components"]["schemas"]
    times = [iso(a_moment() - timedelta(minutes=minutes)) for minutes in range(10)]
    for name in ("EventRequest", "BatchEvent"):
        schemas[name]["properties"]["eventTime"] = {"enum": [*times, None]}
    schemas["BatchRequest"]["properties"]["events"]["maxItems"] = 3
    return described


CONFIG = schemathesis.Config.from_dict({"generation": {"with-security-parameters": False}})
api = schemathesis.openapi.from_dict(document(), config=CONFIG)
DOCUMENT = openapi.document()
OPERATIONS = [(path, method) for path, item in DOCUMENT["paths"].items() for method in item]


def validator(schema: dict[str, Any]) -> jsonschema_rs.Validator:
    return jsonschema_rs.Draft202012Validator({**schema, "components": DOCUMENT["components"]})


def resolved(described: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in described:
        found: Any = DOCUMENT
        for name in described["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        described = found
    return described


def content(described: dict[str, Any]) -> jsonschema_rs.Validator:
    return validator(resolved(described)["content"]["application/json"]["schema"])


@dataclass
class Parts:
    """The generated parts for one operation, and values from the bodies of all operations."""

    right: list["Case[Any]"]
    wrong: list["Case[Any]"]
    values: list[Any]
    identifiers: list[str] = field(default_factory=lambda: KNOWN)
    random: Random = field(default_factory=lambda: Random(SEED))

    def case(self) -> "Case[Any]":
        return self.random.choice(self.right if self.random.random() < 0.8 else self.wrong)

    def body(self) -> Any:
        made = copy.deepcopy(self.case().body)
        for _ in range(self.random.choice((0, 0, 1, 1, 2))):
            self.change(made)
        for name, _, holder in list(places(made)):
            if name == "user" and self.random.random() < 0.8:
                minutes = timedelta(minutes=self.random.randrange(600))
                holder |= {"user": {"email": self.random.choice(KNOWN)}, "eventTime": iso(a_moment() - minutes)}
        return made

    def change(self, made: Any) -> None:
        found = list(places(made))
        if not found:
            return
        name, _, holder = self.random.choice(found)
        value = self.random.choice([MISSING, *self.random.choices(self.values, k=4)])
        if value is MISSING:
            del holder[name]
        else:
            holder[name] = copy.deepcopy(value)

    def path(self) -> dict[str, str]:
        parameters = {name: str(value) for name, value in self.case().path_parameters.items()}
        if "id" in parameters and self.random.random() < 0.7:
            parameters["id"] = self.random.choice(self.identifiers)
        return parameters

    def query(self) -> dict[str, str]:
        """As API Gateway hands it over: the last value of each name."""
        query = self.case().query
        return {name: str(value[-1] if isinstance(value, list) and value else value) for name, value in query.items()}

    def headers(self) -> dict[str, str]:
        return {name: str(value) for name, value in self.case().headers.items()}


def places(value: Any) -> Iterator[tuple[Any, Any, Any]]:
    """Each name or index in a JSON value, with what stands there, and the object or list that holds it."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in list(entries):
        yield name, inner, value
        yield from places(inner)


@pytest.fixture
def account(dynamodb_local_client: "DynamoDBClient", monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    monkeypatch.setattr("handlers.runtime.client", dynamodb_local_client)
    monkeypatch.setattr("handlers.runtime._fail_fast_client", lambda: dynamodb_local_client)
    with new_table(dynamodb_local_client, os.environ["TABLE_NAME"]) as table:
        monkeypatch.setattr("handlers.rest.table", lambda: table)  # without a deadline, for a slow machine
        yield Account(table, ACCOUNT)


@pytest.fixture(scope="module")
def made_up() -> dict[tuple[str, str], list[list["Case[Any]"]]]:
    return {
        (path, method): [cases_of(path, method, mode) for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)]
        for path, method in OPERATIONS
    }


UNCHECKED: Any = {"deadline": None, "suppress_health_check": list(HealthCheck)}


def cases_of(path: str, method: str, mode: GenerationMode) -> list["Case[Any]"]:
    cases: list[Case[Any]] = []

    @settings(max_examples=CORPUS // 2, derandomize=True, database=None, phases=[Phase.generate], **UNCHECKED)
    @given(case=api[path][method.upper()].as_strategy(generation_mode=mode))
    def make_up(case: "Case[Any]") -> None:
        if "requestBody" not in DOCUMENT["paths"][path][method] or isinstance(case.body, dict | list):
            cases.append(case)

    make_up()
    return cases


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: f"{each[1].upper()} {each[0]}")
def test_requests_of_any_parts_are_answered_as_documented(
    operation: tuple[str, str],
    account: Account,
    made_up: dict[tuple[str, str], list[list["Case[Any]"]]],
    outcomes: Counter[str],
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    path, method = operation
    described = DOCUMENT["paths"][path][method]
    answers = {status: content(answer) for status, answer in described["responses"].items()}
    allowed = content(described["requestBody"]) if "requestBody" in described else None
    cases = chain.from_iterable(chain.from_iterable(made_up.values()))
    right, wrong = made_up[operation]
    parts = Parts(right, wrong, [value for case in cases for _, value, _ in places(case.body)])
    for known in KNOWN:
        users.change(known, {}, True, account, a_moment())
    if path.startswith("/erasures/"):
        parts.identifiers = erased(account)
    for number in range(REQUESTS):
        if number % 100 == 0:  # the logs of so many requests would fill a gigabyte
            capsys.readouterr()
            caplog.clear()
        outcomes[VIOLATION] += 1
        parameters, body = parts.path(), parts.body() if allowed else None
        if method == "delete" and parameters["id"] in KNOWN:
            users.change(parameters["id"], {}, True, account, a_moment())
        query = {"pathParameters": parameters or None, "queryStringParameters": parts.query() or None}
        sent, headers = json.dumps(body) if allowed else None, {**ENVELOPE["headers"], **parts.headers()}
        answer = call(method.upper(), path.rstrip("/"), sent, ACCOUNT, headers=headers, **query)
        outcomes[str(answer.status)] += 1
        assert str(answer.status) in answers, (parameters, body, answer)
        assert answer.headers["Content-Type"] == "application/json"
        documented = described["responses"][str(answer.status)].get("headers", {})
        assert documented.keys() >= answer.headers.keys() - {"Content-Type"}
        answers[str(answer.status)].validate(answer.body)
        if allowed:
            agrees(allowed, body, answer, is_batch=path.startswith("/events/"))
        outcomes[VIOLATION] -= 1


def erased(account: Account) -> list[str]:
    """Erase the known users and return their ids. Every second erasure ends."""
    times = [a_moment() - IN_FLIGHT * (number % 2) for number in range(len(KNOWN))]
    ids = [users.erase(known, account, time)[0].id for known, time in zip(KNOWN, times, strict=True)]
    assert len(erase_leftovers(account.table, a_moment())) == len(ids) // 2
    return ids


def place(error: dict[str, Any]) -> str:
    """The field; that of an order is the same flat and under `generic`."""
    return str(error.get("field")).replace(".generic.", ".")


def agrees(allowed: jsonschema_rs.Validator, body: Any, answer: Answer, *, is_batch: bool) -> None:
    """Assert that a request is refused if the document does not allow it.

    A request that the document allows may be refused only for a reason that a schema cannot express. In a batch this
    holds for each event.
    """
    if is_batch and "results" in answer.body:
        for entry, result in zip(body["events"], answer.body["results"], strict=True):
            refused = result["status"] == "refused"
            assert refused or BATCH_EVENT.is_valid(entry), (entry, result)
            assert wrongly_refused(BATCH_EVENT, entry, result.get("errors", [])) == [], entry
        return
    assert answer.status != 200 or allowed.is_valid(body), (body, answer)
    assert answer.status != 400 or wrongly_refused(allowed, body, answer.body["errors"]) == [], body


def wrongly_refused(allowed: jsonschema_rs.Validator, body: Any, errors: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the errors of a valid body about fields with which nothing is wrong that is beyond schemas."""
    beyond = [place(error) for error in errors if error["message"] in BEYOND_SCHEMAS]
    return [error for error in errors if place(error) not in beyond] if allowed.is_valid(body) else []


BATCH_EVENT = validator({"$ref": "#/components/schemas/BatchEvent"})
