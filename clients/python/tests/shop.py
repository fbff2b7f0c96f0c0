"""A shop whose processes add events to one outbox and are killed: run with python, it reads runs from stdin.

A run is a list of processes, each {"name", "first", "last", "users", "kill_at"?, "kill_after"?}. A process adds the
events from `first` to `last`. It kills itself with SIGKILL at a step, or is killed after some seconds. There is a step
before and after each write of the file and each request. For each run it prints how many processes were killed.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from event_api_client import Outbox, outbox
from event_api_client.api import Api
from event_api_client.store import Store

PATH = Path(sys.argv[1])
START = datetime.now(timezone.utc) - timedelta(hours=1)


def steps(kill_at: int) -> None:
    taken = 0

    def step() -> None:
        nonlocal taken
        taken += 1
        if taken == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def with_steps(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **named: Any) -> Any:
            step()
            value = function(*arguments, **named)
            step()
            return value

        return wrapped

    Store.write = with_steps(Store.write)  # type: ignore[method-assign]
    Api.send = with_steps(Api.send)  # type: ignore[method-assign]


def process(name: str, first: int, last: int, users: int, kill_at: int = 0, **_: Any) -> None:
    """Add the events; what was added is written to a file, so that the test knows what must arrive."""
    steps(kill_at)
    outbox.LONGEST_WAIT, outbox.COLLECT_SECONDS, outbox.IDLE_SECONDS = 0.01, 0.001, 0.01
    added = os.open(f"{PATH}.added", os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    with Outbox(PATH) as made:
        for n in range(first, last):
            user, moment = {"email": f"{name}-{n % users}@example.com"}, START + timedelta(milliseconds=n)
            event_id = made.add(user, {"search": {"n": n}}, f"{name}-{n}", moment)
            os.write(added, f"{event_id}\n".encode())
        made.flush(120)


if __name__ == "__main__":
    for line in sys.stdin:
        children: list[tuple[int, float]] = []
        for each in json.loads(line):
            child = os.fork()
            if not child:
                process(**each)
                os._exit(0)
            children.append((child, each.get("kill_after", 0.0)))
        for child, kill_after in children:
            if kill_after:
                time.sleep(kill_after)
                os.kill(child, signal.SIGKILL)
        print(sum(os.waitpid(child, 0)[1] == signal.SIGKILL for child, _ in children), flush=True)
