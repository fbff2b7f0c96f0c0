"""Processes that share an outbox are killed, at every step and at any moment: nothing is lost or stored twice."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from api_stub import DROP, Stub

pytestmark = pytest.mark.long
SHOP = Path(__file__).parent / "shop.py"
SRC = Path(__file__).parents[1] / "src"
RUNS = 5 * int(os.environ.get("STRESS", "1"))
Run = Callable[..., int]


@pytest.fixture
def run(stub: Stub, tmp_path: Path) -> Iterator[Run]:
    env = os.environ | {"API_URL": stub.url, "API_KEY": "key", "PYTHONPATH": str(SRC)}
    command = [sys.executable, "-W", "error", str(SHOP), str(tmp_path / "events.db")]
    with subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as shop:
        given, printed = shop.stdin, shop.stdout
        assert given
        assert printed

        def processes(*each: dict[str, Any]) -> int:
            given.write(json.dumps(each) + "\n")
            given.flush()
            return int(printed.readline())

        yield processes
        given.close()


def added(folder: Path) -> set[str]:
    path = folder / "events.db.added"
    return set(path.read_text().split()) if path.exists() else set()


def in_order_and_once(added: set[str], stub: Stub) -> None:
    """Check that added events are stored once. An event whose `add` did not return may be stored too."""
    stored = [entry["eventId"] for entry in stub.stored]
    assert added <= set(stored)
    assert len(set(stored)) == len(stored)
    assert stub.stored_in_order()


def test_a_process_that_is_killed_at_any_step_loses_nothing(run: Run, stub: Stub, tmp_path: Path) -> None:
    kill_at, first = 1, 0
    while run({"name": "ana", "first": first, "last": first + 6, "users": 2, "kill_at": kill_at}):
        kill_at += 1
        first = max((int(event_id.partition("-")[2]) for event_id in added(tmp_path)), default=-1) + 1
    assert kill_at > 15, "there were steps"
    in_order_and_once(added(tmp_path), stub)


def test_two_processes_on_one_file_killed_at_any_moment_lose_nothing(run: Run, stub: Stub, tmp_path: Path) -> None:
    random, killed = Random(23), 0
    stub.before = stub.after = lambda _: DROP if random.random() < 0.2 else None
    stub.fails = lambda _: random.random() < 0.05
    for first in range(0, 20 * RUNS, 20):
        both = {"first": first, "last": first + 20, "users": 3}
        after = [random.choice([0.0, random.uniform(0, 0.2)]) for _ in range(2)]
        killed += run({"name": "ana", "kill_after": after[0], **both}, {"name": "bob", "kill_after": after[1], **both})
    run({"name": "ana", "first": 0, "last": 0, "users": 1})
    assert killed
    in_order_and_once(added(tmp_path), stub)
