"""CONTRIBUTING.md's walkthrough, walked in a clone: its text is what is done here."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from clone import make
from documents import blocks, text

[WALKTHROUGH] = re.findall(r"^## Add an event type\n(.*?)^## ", text("CONTRIBUTING.md"), re.MULTILINE | re.DOTALL)
WHERE_TYPES_ARE_READ = ["tests/unit/test_events.py", "tests/unit/test_openapi.py", "tests/api/test_event_files.py"]


def write_the_class(clone: Path) -> None:
    [block] = blocks("CONTRIBUTING.md", "python")
    types = clone / "src" / "domain" / "event_types.py"
    classes, function, rest = types.read_text().partition("def restrictions()")
    types.write_text(f"{classes}{block}\n\n{function}{rest}")


def add_the_example(clone: Path) -> None:
    example = json.loads((clone / "events" / "search.json").read_text())
    body = json.loads(example["body"])
    example["body"] = json.dumps(body | {"event": {"pianotuned": {"tuningId": "T-88"}}})
    (clone / "events" / "pianotuned.json").write_text(json.dumps(example))
    with (clone / "events" / "README.md").open("a") as table:
        table.write("| `pianotuned` | EventFunction | 200 |  |\n")


def make_openapi(clone: Path) -> None:
    subprocess.run(make("openapi"), cwd=clone, check=True)


# The words of the walkthrough, and what they mean.
STEPS: dict[str, Callable[[Path], None]] = {
    "Write one class in the catalogue of `src/domain/event_types.py`": write_the_class,
    "`events/pianotuned.json`: copy `events/search.json` and change the event in its body": add_the_example,
    "Run `make openapi`": make_openapi,
}


def run_tests(clone: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(command, cwd=clone, capture_output=True, text=True, check=False)


def test_the_walkthrough_has_these_steps_in_this_order() -> None:
    places = [WALKTHROUGH.find(words) for words in STEPS]
    assert -1 not in places
    assert places == sorted(places)
    assert re.findall(r"^(\d)\. ", WALKTHROUGH, re.MULTILINE) == ["1", "2", "3"]


def test_the_walkthrough_adds_an_event_type(clone: Path) -> None:
    for step in STEPS.values():
        step(clone)
    done = run_tests(clone, "tests/unit", "tests/api/test_event_files.py", "tests/test_house_rules.py")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("left_out", "told"),
    [
        (add_the_example, "events/pianotuned.json"),
        (make_openapi, "run `make openapi`"),
    ],
)
def test_a_missing_step_fails_a_test(clone: Path, left_out: Callable[[Path], None], told: str) -> None:
    for step in STEPS.values():
        if step is not left_out:
            step(clone)
    done = run_tests(clone, *WHERE_TYPES_ARE_READ)
    assert done.returncode == 1, done.stdout
    assert told in done.stdout
