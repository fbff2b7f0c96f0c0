"""Calls the functions as API Gateway does: by the routes of template.yaml, with the events of events/."""

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from documents import RESOURCES
from local.stack import ROOT

FUNCTIONS: dict[str, str] = {
    name: resource["Properties"]["Handler"]
    for name, resource in RESOURCES.items()
    if resource["Type"] == "AWS::Serverless::Function"
}
ROUTES: dict[tuple[str, str], str] = {
    (event["Properties"]["Method"], event["Properties"]["Path"]): name
    for name in FUNCTIONS
    for event in RESOURCES[name]["Properties"].get("Events", {}).values()
    if event["Type"] == "Api"
}
MAX_ANSWER_BYTES = 6 * 1024 * 1024  # of what Lambda returns
ENVELOPE: dict[str, Any] = json.loads((ROOT / "events" / "user-get.json").read_text())


@dataclass
class Context:
    aws_request_id: str = "lambda-request"
    function_name: str = "function"
    memory_limit_in_mb: int = 512
    invoked_function_arn: str = "arn"
    seconds: float = 60

    def get_remaining_time_in_millis(self) -> int:
        return int(self.seconds * 1000)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def body(self) -> Any:
        return json.loads(self.text)

    @property
    def errors(self) -> list[tuple[str, str | None]]:
        return [(error["message"], error.get("field")) for error in self.body["errors"]]


def event_file(name: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((ROOT / "events" / f"{name}.json").read_text())
    return event


def invoke(function: str, event: dict[str, Any]) -> Any:
    module, name = FUNCTIONS[function].rsplit(".", 1)
    handler: Callable[[dict[str, Any], Context], Any] = getattr(import_module(module), name)
    return handler(event, Context())


def function_of(event: dict[str, Any]) -> str:
    method, path = event["httpMethod"], event["resource"]
    return ROUTES.get((method, path)) or ROUTES["ANY", path]


def answer_to(event: dict[str, Any]) -> Answer:
    response = invoke(function_of(event), event)
    assert response.keys() == {"statusCode", "headers", "body"}
    assert response["body"].endswith("}\n")
    assert response["headers"]["X-Request-Id"] == event["requestContext"]["extendedRequestId"]
    assert len(json.dumps(response, ensure_ascii=False).encode()) < MAX_ANSWER_BYTES
    return Answer(response["statusCode"], response["headers"], response["body"].removesuffix("\n"))


def replay(name: str) -> Answer:
    return answer_to(event_file(name))


def proxy_event(method: str, resource: str, body: Any = None, account: str = "demo", **parts: Any) -> dict[str, Any]:
    """Return the event of API Gateway; a body that is not text becomes JSON."""
    event = copy.deepcopy(ENVELOPE)
    event |= {"httpMethod": method, "resource": resource, "pathParameters": None, **parts}
    event["body"] = body if isinstance(body, str | None) else json.dumps(body)
    event["requestContext"]["authorizer"]["account"] = account
    return event


def call(method: str, resource: str, body: Any = None, account: str = "demo", **parts: Any) -> Answer:
    """call("GET", "/user/{id}", pathParameters={"id": "ana@example.com"})"""
    return answer_to(proxy_event(method, resource, body, account, **parts))


def post_event(event: Any, user: Any = None, **parts: Any) -> Answer:
    return call("POST", "/event", {"user": user or {"email": "ana@example.com"}, "event": event}, **parts)


def user(method: str, identifier: str, body: Any = None, **parts: Any) -> Answer:
    return call(method, "/user/{id}", body, pathParameters={"id": identifier}, **parts)


def timeline(identifier: str, query: dict[str, str] | None = None, **parts: Any) -> Answer:
    parts |= {"pathParameters": {"id": identifier}, "queryStringParameters": query}
    return call("GET", "/user/{id}/events", **parts)
