"""Run the programs of docs/recipes against the API, and against one that fails."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from email.message import Message
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from domain.problems import MISSING_EVENT, STORE_UNAVAILABLE, UNKNOWN_EMAIL
from e2e.conftest import Ana, Caller, answering
from engines import skip_lane
from handlers.rest import errors_of
from local import aws
from local.stack import ROOT

# A language, the program that runs it, the name of its file, and the needed tool.
LANGUAGES = {
    "sh": ("bash", "recipe.sh", "curl"),
    "python": (sys.executable, "recipe.py", sys.executable),
    "php": ("php", "recipe.php", "php"),
    "js": ("node", "recipe.mjs", "node"),
}
every_language = pytest.mark.parametrize("language", LANGUAGES)
Answer = tuple[int, Mapping[str, str], Any]


class Received(NamedTuple):
    key: str
    body: str
    at: float


def run(language: str, folder: Path, api_url: str, api_key: str, recipe: str) -> "subprocess.CompletedProcess[str]":
    program, name, needed = LANGUAGES[language]
    if not shutil.which(needed):
        skip_lane(f"{needed} is not there")
    shutil.copy(ROOT / "docs" / "recipes" / f"{recipe}{Path(name).suffix}", folder / name)
    env = os.environ | {"API_URL": api_url, "API_KEY": api_key, "NO_PROXY": aws.HOST, "no_proxy": aws.HOST}
    command = [program, str(folder / name)]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


@contextmanager
def api_that_answers(*answers: Answer) -> Iterator[tuple[str, list[Received]]]:
    """Its URL, and the requests that came. The last answer is repeated."""
    requests: list[Received] = []

    def answer(sent: Message, body: bytes) -> tuple[int, Mapping[str, str], bytes] | None:
        requests.append(Received(sent["Idempotency-Key"], body.decode(), time.monotonic()))
        status, headers, content = answers[min(len(requests), len(answers)) - 1]
        return (status, headers, json.dumps(content).encode()) if status else None

    with answering(answer) as url:
        yield url, requests


@every_language
def test_a_recipe_stores_each_event_once(language: str, caller: Caller, ana: Ana, tmp_path: Path) -> None:
    timelines = []
    for recipe in ("one", "many"):
        done = run(language, tmp_path, caller.api_url, caller.key, recipe)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "created" in done.stdout or recipe == "many"
        timelines.append(caller.send("GET", f"/user/{ana['email']}/events").body["events"])
    [first], both = timelines
    assert sorted(each["type"] for each in both if each != first) == ["search", "viewitem"]
    assert all("receivedOn" in each for each in both if each != first)


# --- An API that fails ----------------------------------------------------------------------------

WARNING = {"field": "event.confirmation.total", "code": "total_not_counted", "message": "The total is not counted"}
RESULTS: dict[str, Any] = {
    "created": {"status": "created", "eventId": "x", "userId": "x", "warnings": []},
    "warned": {"status": "created", "eventId": "x", "userId": "x", "warnings": [WARNING]},
    "refused": {"status": "refused", "eventId": "x", "errors": errors_of([UNKNOWN_EMAIL])["errors"]},
    "failed": {"status": "failed", "eventId": "x", "errors": errors_of([STORE_UNAVAILABLE])["errors"]},
}


def single(status: str, **more: Any) -> Answer:
    return 200, {"X-Event-Status": status}, {"results": {}, **more}


def batch(status: int, *results: str, **headers: str) -> Answer:
    return status, headers, {"results": [RESULTS[each] for each in results]}


NO_ANSWER: Answer = (0, {}, None)
AT_ONCE = {"Retry-After": "0"}  # the wait itself is tested once for each language
CREATED, ALL_CREATED = single("created"), batch(200, "created", "created")
WRONG_REQUEST: Answer = (400, {}, errors_of([MISSING_EVENT]))
REFUSED, FAILED = (batch(207, each, "failed", **AT_ONCE) for each in ("refused", "created"))
BOTH = [0, 1]


class Case(NamedTuple):
    """The API gives these answers, and repeats the last. `sent` has the places of the events of each request."""

    recipe: str
    answers: list[Answer]
    sent: list[list[int]]
    said: tuple[str, ...] = ()
    succeeds: bool | None = True
    """None if the documents promise neither."""


CASES = {
    "warning": Case("one", [single("created", warnings=[WARNING])], [[0]], (WARNING["message"],)),
    "discarded": Case("one", [single("discarded")], [[0]], ("discarded",)),
    "wrong": Case("one", [WRONG_REQUEST], [[0]], (MISSING_EVENT.message,), succeeds=False),
    "told when": Case("one", [(429, {"Retry-After": "2"}, {}), CREATED], [[0], [0]], ("created",)),
    "not told": Case("one", [(500, {}, {}), CREATED], [[0], [0]], ("created",)),
    "no answer": Case("one", [NO_ANSWER, CREATED], [[0], [0]], ("created",)),
    "warnings": Case("many", [batch(200, "warned", "warned")], [BOTH], (WARNING["message"],)),
    "an event is wrong": Case("many", [batch(207, "created", "refused")], [BOTH], (UNKNOWN_EMAIL.message,), None),
    "the batch is wrong": Case("many", [WRONG_REQUEST], [BOTH], (MISSING_EVENT.message,), succeeds=False),
    "the batch is 500": Case("many", [(500, AT_ONCE, {}), ALL_CREATED], [BOTH] * 2),
    "the batch is 503": Case("many", [(503, AT_ONCE, errors_of([STORE_UNAVAILABLE])), ALL_CREATED], [BOTH] * 2),
    "no answer to the batch": Case("many", [NO_ANSWER, ALL_CREATED], [BOTH] * 2),
    "429 each time": Case("many", [(429, AT_ONCE, {})], [BOTH] * 5, (), None),
    "one failed": Case("many", [FAILED, batch(200, "created")], [BOTH, [1]]),
    "one failed, and 503": Case("many", [(503, *FAILED[1:]), batch(200, "created")], [BOTH, [1]]),
    "one refused, and an error": Case(
        "many", [REFUSED, WRONG_REQUEST], [BOTH, [1]], (UNKNOWN_EMAIL.message, MISSING_EVENT.message), succeeds=False
    ),
}
# curl gives up without an answer, and the script sends the whole batch again.
OF_CURL = {
    "no answer": CASES["no answer"]._replace(sent=[[0]], said=(), succeeds=False),
    "one failed": Case("many", [FAILED, ALL_CREATED], [BOTH, BOTH]),
    "one failed, and 503": Case("many", [(503, *FAILED[1:]), ALL_CREATED], [BOTH, BOTH]),
}


@every_language
def test_a_recipe_sends_again_as_it_was_what_is_not_settled_and_shows_the_rest(language: str, tmp_path: Path) -> None:
    cases = CASES | OF_CURL if language == "sh" else CASES
    if language == "sh":
        del cases["one refused, and an error"]

    def failure(name: str) -> str:
        (tmp_path / name).mkdir()
        return difference(language, cases[name], tmp_path / name)

    with ThreadPoolExecutor(4) as threads:  # most of the time is waited
        failures = dict(zip(cases, threads.map(failure, cases), strict=True))
    assert {name: failed for name, failed in failures.items() if failed} == {}


def difference(language: str, case: Case, folder: Path) -> str:
    """Return how a run of a recipe differs from its case, or nothing."""
    with api_that_answers(*case.answers) as (api_url, requests):
        done = run(language, folder, api_url, "key", case.recipe)
    printed, bodies = done.stdout + done.stderr, [json.loads(each.body) for each in requests]
    events = [body.get("events", [body]) for body in bodies]
    holds = {
        "sent": [[events[0].index(event) for event in each] for each in events] == case.sent,
        "key": len({each.key for each in requests}) == 1 and bool(requests[0].key) == (case.recipe == "one"),
        "ids": case.recipe == "one" or len({event["eventId"] for event in events[0]}) == 2,
        "said": all(each in printed for each in case.said),
        "succeeds": case.succeeds in (None, done.returncode == 0),
    }
    if wait := float(case.answers[0][1].get("Retry-After", 0)):
        holds["waits"] = requests[1].at - requests[0].at > wait - 0.1  # if it is not told when, it waits a second
    failed = [name for name, held in holds.items() if not held]
    return f"{failed}: {bodies}\n{printed}" if failed else ""
