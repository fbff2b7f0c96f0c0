"""MiniStack as a child process that cannot outlive its parent.

It runs until its standard input ends, because the parent closed it or died. It saves its state only if it has read
READY by then: a start that failed half-way is not remembered.

What MiniStack 1.5 does not know of the template is deployed as a name with nothing behind it: releases reach the
functions at once, and the saved queries are nowhere to be seen.
"""

import os
import runpy
import signal
import sys
import threading
from typing import Any

READY = b"ready"
UNKNOWN_TYPES = ("AWS::CodeDeploy::Application", "AWS::CodeDeploy::DeploymentGroup", "AWS::Logs::QueryDefinition")


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


if __name__ == "__main__":
    threading.Thread(target=stop_with_parent, daemon=True).start()
    accept_unknown_types()
    runpy.run_module("ministack", run_name="__main__", alter_sys=True)
