"""Runs the functions of one version of the code: python tests/release_process.py SRC. See releases.py.

Each line of the input asks for one invocation: {"handler": module, "event": ..., "at": ISO date, "table": name}. Each
line of the output is what the handler returned. The functions log to the standard error.
"""

import json
import os
import sys
from datetime import datetime, tzinfo
from importlib import import_module
from typing import Any


class Clock(datetime):
    moment: datetime

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        return cls.moment.astimezone(tz)


class Context:
    aws_request_id = "lambda-request"
    function_name = "function"
    memory_limit_in_mb = 512
    invoked_function_arn = "arn"

    def get_remaining_time_in_millis(self) -> int:
        return 60_000


def invoke(asked: dict[str, Any]) -> Any:
    module = import_module(f"handlers.{asked['handler']}")
    for name, each in list(sys.modules.items()):
        if name.startswith("handlers.") and getattr(each, "datetime", None) is datetime:
            each.datetime = Clock  # type: ignore[attr-defined]
    Clock.moment = datetime.fromisoformat(asked["at"])
    import_module("handlers.runtime").TABLE_NAME = asked["table"]  # type: ignore[attr-defined]
    return module.handler(asked["event"], Context())


def main(source: str) -> None:
    sys.path[0] = source
    with os.fdopen(os.dup(sys.stdout.fileno()), "w") as answers:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        for line in sys.stdin:
            answers.write(json.dumps(invoke(json.loads(line))) + "\n")
            answers.flush()


if __name__ == "__main__":
    main(sys.argv[1])
