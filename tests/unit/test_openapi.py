"""docs/openapi.json says what the code does: it is made of it, and what it calls valid is accepted.

Its form is what client generators can read. Each rule of it stands for a generator that failed.
"""

import builtins
import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import jsonschema_rs
import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from builders import a_moment, as_sent
from docs import openapi
from docs.openapi import CODES
from domain.event_types import CATALOGUE, NOT_BLANK, restrictions
from domain.problems import Invalid
from domain.request import EventRequest, parse_batch, parse_request
from domain.times import iso

DOCUMENT: dict[str, Any] = json.loads(openapi.text())
SCHEMAS: dict[str, Any] = DOCUMENT["components"]["schemas"]
OPERATIONS = {each["operationId"]: each for path in DOCUMENT["paths"].values() for each in path.values()}
every_operation = pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
REQUEST = openapi.ref("EventRequest")
REQUESTS = DOCUMENT["paths"]["/event/"]["post"]["requestBody"]["content"]["application/json"]["examples"]
REFUSED: list[dict[str, Any]] = [
    {}, {"viewitem": {}}, {"viewitem": {"itemId": " "}}, {"update": {}}, {"generic": {"event_name": ""}},
    {"confirmation": {"orderId": "1", "items": [1]}}, {"unknown": {}}, {"search": {"query": "x"}, "emailopen": {}},
]  # fmt: skip


def is_valid(value: Any, schema: dict[str, Any] = REQUEST) -> bool:
    return bool(Draft202012Validator(schema | {"components": DOCUMENT["components"]}).is_valid(value))


def nodes(part: Any, *left_out: str) -> Iterator[dict[str, Any]]:
    if isinstance(part, dict):
        yield part
    for name, each in part.items() if isinstance(part, dict) else enumerate(part if isinstance(part, list) else ()):
        if name not in left_out:
            yield from nodes(each, *left_out)


def described(part: Any) -> Iterator[dict[str, Any]]:
    """Every object of a part of the document, examples apart: they are data."""
    return nodes(part, "example", "examples")


def test_the_document_is_up_to_date() -> None:
    assert openapi.FILE.read_text() == openapi.text(), "run `make openapi`"


def test_the_examples_of_each_event_type_and_of_a_batch_are_valid_and_accepted() -> None:
    assert REQUESTS.keys() == CATALOGUE.keys()
    for event_type, each in REQUESTS.items():
        assert is_valid(each["value"])
        assert parse_request(as_sent(each["value"]), a_moment()).event.type == event_type
    [example] = examples(OPERATIONS["sendEvents"]["requestBody"]).values()
    assert is_valid(example["value"], openapi.ref("BatchRequest"))
    parsed = parse_batch(as_sent(example["value"]), datetime.fromisoformat(openapi.TIME), lambda _: None)
    assert all(isinstance(request, EventRequest) for request in parsed)


def test_what_the_document_forbids_is_refused() -> None:
    right = {"user": {"email": "ana@example.com"}, "event": {"emailopen": {}}, "eventTime": iso(a_moment())}
    assert is_valid(right)
    wrong: list[dict[str, Any]] = [{"event": event} for event in REFUSED] + [{"eventTime": 7}]
    for changes in wrong + [{"eventId": each} for each in ("", "a b", "é", "x" * 129, 7)]:
        assert not is_valid(right | changes)
        with pytest.raises(Invalid):
            parse_request(as_sent(right | changes), a_moment())
    batches: list[dict[str, Any]] = [{}, {"events": []}, {"events": {}}, {"events": [{}] * 101}]
    for batch in batches:
        assert not is_valid(batch, openapi.ref("BatchRequest"))
        with pytest.raises(Invalid):
            parse_batch(as_sent(batch), a_moment(), lambda _: None)
    [refused] = parse_batch(as_sent({"events": [right]}), a_moment(), lambda _: None)
    assert isinstance(refused, Invalid), "it has no eventId"
    assert not is_valid(right, openapi.ref("BatchEvent"))


def test_each_code_has_an_example() -> None:
    """But those that no path of the document answers."""
    shown = {code for node in nodes(DOCUMENT["paths"]) if isinstance(code := node.get("code"), str)}
    headers = {"missing_event", "user_not_found"}  # the two documented bodies, which have no code
    elsewhere = {"not_found", "key_not_found", "key_revoked", "missing_event_id"}
    assert shown | headers == ({*CODES} - elsewhere) | openapi.GATEWAYS.keys() | {*list(restrictions())[:1]}


# --- What people read -----------------------------------------------------------------------------


@every_operation
def test_an_operation_says_what_it_does_and_its_examples_are_valid(operation: dict[str, Any]) -> None:
    assert operation["summary"]
    assert operation["description"].endswith(".")
    assert set(operation["tags"]) <= {tag["name"] for tag in DOCUMENT["tags"]}
    for status, response in operation["responses"].items():
        usual = openapi.MEANINGS.get(int(status), response["description"])
        assert response["description"] in {usual, openapi.OF_A_BATCH.get(int(status))}
    for part in (operation.get("requestBody", {"content": {}}), *operation["responses"].values()):
        for media in part["content"].values():
            assert media["examples"]
            assert all(is_valid(example["value"], media["schema"]) for example in media["examples"].values())
    errors = [response for status, response in operation["responses"].items() if int(status) >= 400]
    shown = [each["value"] for part in errors for each in examples(part).values()]
    told = [body["errors"] for body in shown if "errors" in body]
    assert all(len(problems) == 1 for problems in told)
    assert len({json.dumps(problems) for problems in told}) == len(told), "each is of another problem"


def examples(part: dict[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = part["content"]["application/json"]["examples"]
    return shown


def test_a_link_leads_to_an_operation_and_fills_what_it_needs() -> None:
    for operation in OPERATIONS.values():
        for link in operation["responses"]["200"].get("links", {}).values():
            needed = {each["name"] for each in OPERATIONS[link["operationId"]]["parameters"] if each["required"]}
            assert link["parameters"].keys() == needed
    for name in ("createUser", "changeUser", "sendEvent"):
        assert {"readUser", "listEvents"} <= OPERATIONS[name]["responses"]["200"]["links"].keys()


# --- What generators read -------------------------------------------------------------------------


def referred(part: Any) -> set[str]:
    return {node["$ref"].removeprefix(openapi.SCHEMAS) for node in described(part) if "$ref" in node}


def test_no_schema_refers_to_itself() -> None:
    left = {name: referred(schema) for name, schema in SCHEMAS.items()}
    while ready := {name for name, needs in left.items() if not needs & left.keys()}:
        left = {name: needs for name, needs in left.items() if name not in ready}
    assert not left, "these refer to each other"
    assert referred(DOCUMENT) == SCHEMAS.keys(), "each is used"


def test_each_field_has_a_description_of_some_words() -> None:
    fields = {
        f"{name} of {schema}": field
        for schema, about in SCHEMAS.items()
        for node in described(about)
        for name, field in node.get("properties", {}).items()
    }
    without = [name for name, field in fields.items() if "$ref" not in field and "description" not in field]
    assert without == [], "describe them in FIELDS of docs/openapi.py"
    told = [node["description"] for node in described(DOCUMENT) if isinstance(node.get("description"), str)]
    assert [text for text in told if len(text.split()) < 3] == []


def test_each_part_has_the_form_that_generators_read() -> None:
    parts, objects = list(described(DOCUMENT)), [node for node in described(SCHEMAS) if node.get("type") == "object"]
    assert [node for node in parts if "$ref" in node and len(node) > 1] == [], "a reference has no neighbours"
    for names in [SCHEMAS, *(node["enum"] for node in parts if "enum" in node)]:
        assert len({name.lower().replace("_", "") for name in names}) == len(list(names)), "also without case"
    assert {node["type"] for node in parts if "enum" in node or "const" in node} == {"string"}
    assert len(objects) > 30
    assert all("additionalProperties" in node or node["properties"] for node in objects)
    for node in described(SCHEMAS):  # a number may be an integer if a caller chooses its type
        alternatives = [each.get("type") for each in node.get("anyOf", ())]
        types = node["type"] if isinstance(node.get("type"), list) else alternatives
        assert ("number" in types) == ("integer" in types)


def test_no_schema_is_called_like_a_field_of_it_or_a_builtin_of_python() -> None:
    """The methods of a generated class have a variable of the name of each field."""
    assert not SCHEMAS.keys() & vars(builtins).keys()
    for name, schema in SCHEMAS.items():
        assert name.lower() not in {field.lower() for field in schema.get("properties", ())}


def test_an_identifier_is_valid_if_it_has_a_character_that_is_not_trimmed() -> None:
    order = jsonschema_rs.validator_for({"type": "string", "pattern": NOT_BLANK})
    characters = [chr(code) for code in range(0x3100)]
    assert [each for each in characters if order.is_valid(each) != bool(each.strip())] == []
