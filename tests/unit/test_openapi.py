"""docs/openapi.json says what the code does: it is made of it, and what it calls valid is accepted."""

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from builders import as_sent
from docs import openapi
from domain.events import CATALOGUE
from domain.problems import Invalid
from domain.request import parse_request
from handlers.rest import STATUS

DOCUMENT: dict[str, Any] = json.loads(openapi.FILE.read_text())
REQUESTS = DOCUMENT["paths"]["/event/"]["post"]["requestBody"]["content"]["application/json"]["examples"]
REFUSED: list[dict[str, Any]] = [
    {},
    {"viewitem": {}},
    {"viewitem": {"itemId": " "}},
    {"update": {}},
    {"generic": {"event_name": ""}},
    {"confirmation": {"orderId": "1", "items": [1]}},
    {"unknown": {}},
]


def is_valid(request: dict[str, Any]) -> bool:
    schema = {"$ref": "#/components/schemas/EventRequest", "components": DOCUMENT["components"]}
    return bool(Draft202012Validator(schema).is_valid(request))


def test_the_document_is_up_to_date() -> None:
    assert openapi.FILE.read_text() == openapi.text(), "run `make openapi`"


@pytest.mark.parametrize("event_type", CATALOGUE)
def test_each_event_type_has_an_example_that_is_valid_and_accepted(event_type: str) -> None:
    request = REQUESTS[event_type]["value"]
    assert list(request["event"]) == [event_type]
    assert is_valid(request)
    assert parse_request(as_sent(request)).event.type == event_type


@pytest.mark.parametrize("event", REFUSED, ids=json.dumps)
def test_what_the_document_forbids_is_refused(event: dict[str, Any]) -> None:
    request = {"user": {"email": "ana@example.com"}, "event": event}
    assert not is_valid(request)
    with pytest.raises(Invalid):
        parse_request(as_sent(request))


def test_each_status_is_documented() -> None:
    operations = [operation for path in DOCUMENT["paths"].values() for operation in path.values()]
    documented = {int(status) for each in operations for status in each["responses"]}
    assert documented == {200, 429, 500, *STATUS.values()}
