"""CONTRIBUTING.md's walkthrough, walked in a clone: its text is what is done here."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from clone import make
from documents import blocks, text

[WALKTHROUGH] = re.findall(r"^## Add an event type\n(.*?)^## ", text("CONTRIBUTING.md"), re.MULTILINE | re.DOTALL)
# The tests that walk the catalogue have one of these names.
READERS = re.compile(r"\b(CATALOGUE|restrictions|event_file)\b")


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


def add_its_row(clone: Path) -> None:
    with (clone / "events" / "README.md").open("a") as table:
        table.write("| `pianotuned` | EventFunction | 200 |  |\n")


def make_openapi(clone: Path) -> None:
    subprocess.run(make("openapi"), cwd=clone, check=True)


# The words of the walkthrough, and what they mean.
STEPS: dict[str, Callable[[Path], None]] = {
    "Write one class in the catalogue of `src/domain/event_types.py`": write_the_class,
    "`events/pianotuned.json`: copy `events/search.json` and change the event in its body": add_the_example,
    "Add its row\n   to `events/README.md`": add_its_row,
    "Run `make openapi`": make_openapi,
}
# The messages of the tests if only the class exists.
NAMED = ("events/pianotuned.json", "add a row to events/README.md", "run `make openapi`")


def run_tests(clone: Path) -> "subprocess.CompletedProcess[str]":
    """Run the tests that walk the catalogue, those of the other types apart."""
    files = [
        *clone.glob("tests/unit/test_*.py"),
        clone / "tests/test_lists.py",
        clone / "tests/api/test_event_files.py",
        clone / "tests/integration/test_events.py",
        clone / "tests/integration/test_capacity.py",
    ]
    readers = [str(path) for path in files if READERS.search(path.read_text())]
    of_the_type = ["-m", "not (hypothesis or dynamodb_local)", "-k", "pianotuned or tuning_id_seen or not ["]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *of_the_type, *readers]
    return subprocess.run(command, cwd=clone, capture_output=True, text=True, check=False)


def test_the_walkthrough_has_these_steps_in_this_order() -> None:
    places = [WALKTHROUGH.find(words) for words in STEPS]
    assert -1 not in places
    assert places == sorted(places)
    assert re.findall(r"^(\d)\. ", WALKTHROUGH, re.MULTILINE) == ["1", "2", "3"]


def test_the_walkthrough_adds_an_event_type_and_a_step_that_is_left_out_is_named(clone: Path) -> None:
    """Its type has a restriction."""
    first, *others = STEPS.values()
    first(clone)
    told = run_tests(clone).stdout
    assert [step for step in NAMED if step not in told] == []
    assert not re.search(r"^E +(Key|Value|Type|Lookup)Error", told, re.MULTILINE), told
    for step in others:
        step(clone)
    done = run_tests(clone)
    assert done.returncode == 0, done.stdout
