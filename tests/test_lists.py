"""Each list of the API is the same in the code, in the template and in the documents.

A route, field, status, restriction or attribute that is missing in one of these places fails here.
Codes: tests/unit/test_codes.py. Metrics: tests/test_template.py. Event types: tests/unit/test_events.py.
"""

import json
import re
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import pytest

from api.gateway import FUNCTIONS, RESOURCES
from builders import ANA, a_moment, a_user, an_example, as_sent, send, the_profile
from docs import openapi, reference
from docs.openapi import CODES
from documents import text
from domain.event_types import CATALOGUE, restrictions
from domain.profile import SYSTEM_ATTRIBUTES
from domain.request import USER_FIELDS, parse_batch, parse_request
from local.stack import ROOT
from table import Account
from table.calls import Table
from use_cases.refusals import known_field

DOCUMENT = openapi.document()
SCHEMAS: dict[str, Any] = DOCUMENT["components"]["schemas"]
EVENT_FILES = [json.loads(path.read_text()) for path in (ROOT / "events").glob("*.json")]
GATEWAYS_STATUS = 429


def test_the_reference_has_the_lists_that_the_code_makes() -> None:
    page = reference.PAGE.read_text()
    assert page == reference.page(page), "run `make openapi`"


# --- Routes ---------------------------------------------------------------------------------------

GATEWAY = {
    name: {
        f"{event['Properties']['Method']} {event['Properties']['Path']}"
        for event in RESOURCES[name]["Properties"].get("Events", {}).values()
        if event["Type"] == "Api" and event["Properties"]["Method"] != "ANY"
    }
    for name in FUNCTIONS
}
ROUTES = set().union(*GATEWAY.values())
HTTP = [name for name in FUNCTIONS if GATEWAY[name]]


@pytest.mark.parametrize("name", HTTP)
def test_a_function_answers_each_route_that_the_gateway_leads_to_it_and_no_other(name: str) -> None:
    handler = import_module(FUNCTIONS[name].rsplit(".", 1)[0])
    assert handler.ROUTES.keys() == GATEWAY[name]


def test_each_route_is_documented_and_each_documented_one_is_a_route() -> None:
    documented = {
        f"{method.upper()} {path.rstrip('/')}" for path, methods in DOCUMENT["paths"].items() for method in methods
    }
    assert documented == ROUTES


def test_each_route_has_an_event_file() -> None:
    shown = {f"{event['httpMethod']} {event['resource']}" for event in EVENT_FILES if "httpMethod" in event}
    assert {route for route in shown if not route.endswith("{proxy+}")} == ROUTES


def test_each_route_is_in_the_contract() -> None:
    page = text("docs/contract.md").replace("{email or _id}", "{id}").replace("{_id}", "{id}")
    written = re.findall(r"`(GET|POST|PUT|DELETE) /v1(/[^`?\s…]*)`", page)
    assert {f"{method} {path.rstrip('/')}" for method, path in written} == ROUTES


def test_the_document_and_the_changelog_have_the_version_of_the_contract() -> None:
    [version] = re.findall(r"^# The HTTP contract, version (\d+\.\d+)$", text("docs/contract.md"), re.MULTILINE)
    assert DOCUMENT["info"]["version"].startswith(f"{version}.")
    assert re.findall(r"^## (\S+)", text("CHANGELOG.md"), re.MULTILINE)[0].startswith(f"{version}.")


# --- What callers send ----------------------------------------------------------------------------


class Read(dict[str, Any]):
    """An object of a request that remembers which of its fields were asked for."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.asked: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        self.asked.add(name)
        return super().get(name, default)


def test_the_fields_of_an_event_are_those_that_are_read() -> None:
    sent = Read(as_sent({"user": {"email": ANA}, "event": {"search": {"query": "x"}}}))
    parse_request(sent, a_moment())
    assert sent.asked == SCHEMAS["EventRequest"]["properties"].keys() == SCHEMAS["BatchEvent"]["properties"].keys()


def test_the_fields_of_a_batch_are_those_that_are_read() -> None:
    sent = Read(as_sent({"events": [{}]}))
    parse_batch(sent, a_moment(), lambda _: None)
    assert sent.asked == SCHEMAS["BatchRequest"]["properties"].keys()


@pytest.mark.parametrize("schema", ["UserByEmail", "UserById"])
def test_the_fields_of_a_user_are_those_of_the_document(schema: str) -> None:
    assert SCHEMAS[schema]["properties"].keys() == {*USER_FIELDS}


def test_each_field_that_is_read_can_be_named_in_the_refusals() -> None:
    named = [*SCHEMAS["EventRequest"]["properties"], *SCHEMAS["BatchRequest"]["properties"]]
    assert [name for name in named if known_field(name) != name and name != "events"] == []
    assert [name for name in USER_FIELDS if known_field(f"user.{name}") != f"user.{name}"] == []


# --- What callers get -----------------------------------------------------------------------------


def test_each_status_is_in_every_list() -> None:
    answered = {200, 207, GATEWAYS_STATUS, *(kind.status for kind in CODES.values())}
    documented = {int(status) for each in operations() for status in each["responses"]}
    assert answered == documented == {200, 207, *openapi.MEANINGS}


def test_each_restriction_has_an_example_and_a_separate_code() -> None:
    answers = DOCUMENT["paths"]["/event/"]["post"]["responses"]["200"]["content"]["application/json"]["examples"]
    shown = {code: each["value"]["results"]["email"] for code, each in answers.items() if code != "created"}
    assert shown == {code: restriction.text for code, restriction in restrictions().items()}
    assert len({restriction.text for restriction in restrictions().values()}) == len(restrictions())


def operations() -> list[Mapping[str, Any]]:
    return [operation for methods in DOCUMENT["paths"].values() for operation in methods.values()]


def kind_in_document(schema: Mapping[str, Any]) -> str:
    return "number" if schema["type"] == "integer" else str(schema["type"])


def test_each_attribute_of_the_system_is_documented_with_its_type() -> None:
    documented = {name: kind_in_document(schema) for name, schema in SCHEMAS["User"]["properties"].items()}
    assert documented == {**SYSTEM_ATTRIBUTES, "email": "string", "tags": "array"}


def test_each_attribute_of_the_system_is_kept_and_has_its_type(functions_table: Table) -> None:
    account = Account(functions_table, "shop")
    a_user(account)
    for event_type in (name for name, cls in CATALOGUE.items() if cls.maintains):
        send(account, {event_type: an_example(event_type)})
    profile = the_profile(account)
    kinds = {str: "string", bool: "boolean"}
    kept = {name: kinds.get(type(value), "number") for name, value in profile.items() if name != "email"}
    assert kept == SYSTEM_ATTRIBUTES
