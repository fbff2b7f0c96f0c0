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
    """Runs processes of the shop at the same time, and returns how many were killed."""
    env = os.environ | {"API_URL": stub.url, "API_KEY": "key", "PYTHONPATH": str(SRC)}
    command = [sys.executable, "-W", "error", str(SHOP), str(tmp_path / "events.db")]
    with subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as shop:
        assert shop.stdin
        assert shop.stdout

        def processes(*each: dict[str, Any]) -> int:
            assert shop.stdin
            assert shop.stdout
            shop.stdin.write(json.dumps(each) + "\n")
            shop.stdin.flush()
            return int(shop.stdout.readline())

        yield processes
        shop.stdin.close()


def added(folder: Path) -> set[str]:
    path = folder / "events.db.added"
    return set(path.read_text().split()) if path.exists() else set()


def in_order_and_once(added: set[str], stub: Stub) -> None:
    """Check that added events are stored once. An event whose `add` did not return may be stored too."""
    stored = [entry["eventId"] for entry in stub.stored]
    assert added <= set(stored)
    assert len(set(stored)) == len(stored)
    for numbers in stub.by_user().values():
        assert numbers == sorted(numbers)


def test_a_process_that_is_killed_at_any_step_loses_nothing(run: Run, stub: Stub, tmp_path: Path) -> None:
    kill_at, first = 1, 0
    while run({"name": "ana", "first": first, "last": first + 6, "users": 2, "kill_at": kill_at}):
        kill_at += 1
        first = max((int(event_id.partition("-")[2]) for event_id in added(tmp_path)), default=-1) + 1
    assert kill_at > 15, "there were steps"
    in_order_and_once(added(tmp_path), stub)


def test_two_processes_on_one_file_that_are_killed_at_any_moment_lose_nothing(
    run: Run, stub: Stub, tmp_path: Path
) -> None:
    random = Random(23)
    stub.before = stub.after = lambda _: DROP if random.random() < 0.2 else None
    stub.fails = lambda _: random.random() < 0.05
    killed = 0
    for number in range(RUNS):
        killed += run(
            *(
                {
                    "name": name,
                    "first": 20 * number,
                    "last": 20 * number + 20,
                    "users": 3,
                    "kill_after": random.choice([0.0, random.uniform(0, 0.2)]),
                }
                for name in ("ana", "bob")
            )
        )
    run({"name": "ana", "first": 0, "last": 0, "users": 1})
    assert killed
    in_order_and_once(added(tmp_path), stub)
