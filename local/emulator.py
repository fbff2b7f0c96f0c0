"""MiniStack as a child process that cannot outlive its parent.

It runs until its standard input ends, because the parent closed it or died. It saves its state only if it has read
READY by then: a start that failed half-way is not remembered.

Resources that MiniStack 1.5 does not know are deployed as names only. So releases reach the functions at once, and
there are no saved queries.

MiniStack has EventBridge's connections and API destinations, but CloudFormation does not know of them there.

MiniStack keeps how far its functions have read a table's stream, but not the stream.

MiniStack decodes the path of a request. A REST API of API Gateway does not: its functions get `path` and
`pathParameters` undecoded.
"""

import json
import os
import runpy
import signal
import sys
import threading
from collections.abc import Awaitable, Callable
from typing import Any, TextIO

from local.access_log import Recorder

Call = Callable[[dict[str, Any]], tuple[int, Any, bytes]]
Asgi = Callable[[dict[str, Any], Any, Any], Awaitable[None]]

READY = b"ready"
UNKNOWN_TYPES = (
    "AWS::CodeDeploy::Application",
    "AWS::CodeDeploy::DeploymentGroup",
    "AWS::Logs::QueryDefinition",
    "AWS::WAFv2::WebACLAssociation",
)
API_PATH = "/_aws/execute-api/"


def stop_with_parent() -> None:
    ready = sys.stdin.buffer.read() == READY
    os.kill(os.getpid(), signal.SIGTERM if ready else signal.SIGKILL)


def accept_unknown_types() -> None:
    # Here, because the parent imports READY from this module and must not become an emulator itself.
    from ministack.services.cloudformation.provisioners import _RESOURCE_HANDLERS

    for each in UNKNOWN_TYPES:
        _RESOURCE_HANDLERS[each] = {"create": create_nothing, "delete": delete_nothing}


def create_nothing(logical_id: str, properties: dict[str, Any], stack_name: str) -> tuple[str, dict[str, Any]]:
    return f"{stack_name}-{logical_id}", {}


def delete_nothing(*_: object) -> None: ...


def accept_metric_math() -> None:
    """Accept alarms on an expression: in the emulator they watch its first metric."""
    from ministack.services.cloudformation import provisioners

    record = provisioners._cw_metric_alarm_record  # noqa: SLF001

    def on_one_metric(name: str, properties: dict[str, Any]) -> Any:
        for each in properties.get("Metrics", []):
            if "MetricStat" in each:
                shown = {**each["MetricStat"]["Metric"], "Statistic": each["MetricStat"]["Stat"]}
                return record(name, {**properties, "Metrics": None, **shown})
        return record(name, properties)

    provisioners._cw_metric_alarm_record = on_one_metric  # noqa: SLF001


def accept_webhooks() -> None:
    from ministack.services import eventbridge
    from ministack.services.cloudformation.provisioners import _RESOURCE_HANDLERS

    connections = eventbridge._create_connection, eventbridge._delete_connection  # noqa: SLF001
    destinations = eventbridge._create_api_destination, eventbridge._delete_api_destination  # noqa: SLF001
    _RESOURCE_HANDLERS["AWS::Events::Connection"] = made_by(*connections, "ConnectionArn")
    _RESOURCE_HANDLERS["AWS::Events::ApiDestination"] = made_by(*destinations, "ApiDestinationArn")


def made_by(create_call: Call, delete_call: Call, arn: str) -> dict[str, Any]:
    """Handle a resource as CloudFormation does, if its properties are the parameters of the call that creates it."""

    def create(logical_id: str, properties: dict[str, Any], stack_name: str) -> tuple[str, dict[str, Any]]:
        name = properties.get("Name", f"{stack_name}-{logical_id}")
        status, _, body = create_call({**properties, "Name": name})
        if status >= 400:
            raise ValueError(body)
        return name, {"Arn": json.loads(body)[arn]}

    def delete(physical_id: str, properties: dict[str, Any]) -> None:
        delete_call({"Name": physical_id})

    return {"create": create, "delete": delete}


def read_streams_from_their_beginning() -> None:
    from ministack.services import lambda_svc

    load = lambda_svc.load_persisted_state
    # Otherwise a function would pass over as many records as there were before the restart.
    lambda_svc.load_persisted_state = lambda state: load((state or {}) | {"dynamodb_stream_positions": {}})


def wrap_the_api() -> None:
    from ministack import app as ministack

    ministack.app = of_the_api(ministack.app, open(os.environ["ACCESS_LOG"], "w"))  # noqa: PTH123, SIM115 until the end


def of_the_api(app: Asgi, log: TextIO) -> Asgi:
    """Record the requests to the API, and keep their paths encoded."""

    async def wrapped(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"].startswith(API_PATH):
            request = Recorder(scope, send, log)
            await app({**scope, "path": scope["raw_path"].decode("ascii")}, receive, request.send)
            request.write()
        else:
            await app(scope, receive, send)

    return wrapped


if __name__ == "__main__":
    threading.Thread(target=stop_with_parent, daemon=True).start()
    accept_unknown_types()
    accept_metric_math()
    accept_webhooks()
    read_streams_from_their_beginning()
    wrap_the_api()
    runpy.run_module("ministack", run_name="__main__", alter_sys=True)
