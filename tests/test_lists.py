"""Each list of the API is the same in the code, in the template and in the documents.

A route, field, status, restriction or attribute that is missing in one of these places fails here.
Codes: tests/unit/test_codes.py. Metrics: tests/test_template.py. Event types: tests/unit/test_events.py.
"""

import json
import re
from importlib import import_module
from typing import Any

from api.gateway import FUNCTIONS
from api.gateway import ROUTES as BY_ROUTE
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
GATEWAYS_STATUS = 429


def test_the_reference_has_the_lists_that_the_code_makes() -> None:
    page = reference.PAGE.read_text()
    assert page == reference.page(page), "run `make openapi`"


GATEWAY: dict[str, set[str]] = {name: set() for name in FUNCTIONS}
for (method, path), name in BY_ROUTE.items():
    if method != "ANY":
        GATEWAY[name].add(f"{method} {path}")
ROUTES = set().union(*GATEWAY.values())


def test_a_function_answers_each_route_that_the_gateway_leads_to_it_and_no_other() -> None:
    for name, routes in GATEWAY.items():
        assert not routes or import_module(FUNCTIONS[name].rsplit(".", 1)[0]).ROUTES.keys() == routes


def test_each_route_is_documented_in_the_contract_and_in_an_event_file_and_no_other_is() -> None:
    methods = [(method.upper(), path) for path, methods in DOCUMENT["paths"].items() for method in methods]
    page = re.sub(r"{email or _id}|{_id}", "{id}", text("docs/contract.md"))
    in_contract = re.findall(r"`(GET|POST|PUT|DELETE) /v1(/[^`?\s…]*)`", page)
    for documented in (methods, in_contract):
        assert {f"{method} {path.rstrip('/')}" for method, path in documented} == ROUTES
    events = [json.loads(path.read_text()) for path in (ROOT / "events").glob("*.json")]
    shown = {f"{event['httpMethod']} {event['resource']}" for event in events if "httpMethod" in event}
    assert {route for route in shown if not route.endswith("{proxy+}")} == ROUTES


def test_the_document_and_the_changelog_have_the_version_of_the_contract() -> None:
    [version] = re.findall(r"^# The HTTP contract, version (\d+\.\d+)$", text("docs/contract.md"), re.MULTILINE)
    assert DOCUMENT["info"]["version"].startswith(f"{version}.")
    assert re.findall(r"^## (\S+)", text("CHANGELOG.md"), re.MULTILINE)[0].startswith(f"{version}.")


class Read(dict[str, Any]):
    """An object of a request that remembers which of its fields were asked for."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.asked: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        self.asked.add(name)
        return super().get(name, default)


def test_the_fields_of_the_document_are_those_that_are_read_and_the_refusals_may_name_each() -> None:
    sent = Read(as_sent({"user": {"email": ANA}, "event": {"search": {"query": "x"}}}))
    parse_request(sent, a_moment())
    assert sent.asked == SCHEMAS["EventRequest"]["properties"].keys() == SCHEMAS["BatchEvent"]["properties"].keys()
    batch = Read(as_sent({"events": [{}]}))
    parse_batch(batch, a_moment(), lambda _: None)
    assert batch.asked == SCHEMAS["BatchRequest"]["properties"].keys()
    for schema in ("UserByEmail", "UserById"):
        assert SCHEMAS[schema]["properties"].keys() == {*USER_FIELDS}
    named = {*sent.asked, *batch.asked, *(f"user.{name}" for name in USER_FIELDS)} - {"events"}
    assert [name for name in named if known_field(name) != name] == []


def test_each_status_is_in_every_list() -> None:
    answered = {200, 207, GATEWAYS_STATUS, *(kind.status for kind in CODES.values())}
    operations = [each for methods in DOCUMENT["paths"].values() for each in methods.values()]
    documented = {int(status) for each in operations for status in each["responses"]}
    assert answered == documented == {200, 207, *openapi.MEANINGS}


def test_each_restriction_has_an_example_and_a_separate_code() -> None:
    answers = DOCUMENT["paths"]["/event/"]["post"]["responses"]["200"]["content"]["application/json"]["examples"]
    shown = {code: each["value"]["results"]["email"] for code, each in answers.items() if code != "created"}
    assert shown == {code: restriction.text for code, restriction in restrictions().items()}
    assert len({restriction.text for restriction in restrictions().values()}) == len(restrictions())


def test_each_attribute_of_the_system_is_kept_and_documented_with_its_type(functions_table: Table) -> None:
    kinds = {name: each["type"].replace("integer", "number") for name, each in SCHEMAS["User"]["properties"].items()}
    assert kinds == {**SYSTEM_ATTRIBUTES, "email": "string", "tags": "array"}
    account = Account(functions_table, "shop")
    a_user(account)
    for event_type in (name for name, cls in CATALOGUE.items() if cls.maintains):
        send(account, {event_type: an_example(event_type)})
    in_json = {str: "string", bool: "boolean"}
    profile = the_profile(account)
    kept = {name: in_json.get(type(value), "number") for name, value in profile.items() if name != "email"}
    assert kept == SYSTEM_ATTRIBUTES
