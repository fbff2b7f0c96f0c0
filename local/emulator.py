"""MiniStack as a child process that cannot outlive its parent.

It runs until its standard input ends, because the parent closed it or died. It saves its state only if it has read
READY by then: a start that failed half-way is not remembered.

What MiniStack 1.5 does not know of the template is deployed as a name with nothing behind it: releases reach the
functions at once, and the saved queries are nowhere to be seen.

MiniStack decodes the path of a request. A REST API of API Gateway does not: its functions get `path` and
`pathParameters` as they were sent.
"""

import os
import runpy
import signal
import sys
import threading
from collections.abc import Awaitable, Callable
from typing import Any

Asgi = Callable[[dict[str, Any], Any, Any], Awaitable[None]]

READY = b"ready"
UNKNOWN_TYPES = ("AWS::CodeDeploy::Application", "AWS::CodeDeploy::DeploymentGroup", "AWS::Logs::QueryDefinition")
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


def keep_paths_encoded() -> None:
    from ministack import app as ministack

    ministack.app = with_encoded_path(ministack.app)


def with_encoded_path(app: Asgi) -> Asgi:
    async def wrapped(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"].startswith(API_PATH):
            scope = {**scope, "path": scope["raw_path"].decode("ascii")}
        await app(scope, receive, send)

    return wrapped


if __name__ == "__main__":
    threading.Thread(target=stop_with_parent, daemon=True).start()
    accept_unknown_types()
    keep_paths_encoded()
    runpy.run_module("ministack", run_name="__main__", alter_sys=True)
