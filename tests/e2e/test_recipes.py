"""Run the programs of docs/recipes against the API, and against one that fails."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
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


class Case(NamedTuple):
    """The API gives these answers, and repeats the last. `requests` counts equal requests; `said` is printed."""

    recipe: str
    answers: list[Answer]
    requests: int
    said: str
    succeeds: bool | None = True
    """None if the documents promise neither."""


CASES = {
    "warning": Case("one", [single("created", warnings=[WARNING])], 1, WARNING["message"]),
    "discarded": Case("one", [single("discarded")], 1, "discarded"),
    "wrong": Case("one", [WRONG_REQUEST], 1, MISSING_EVENT.message, succeeds=False),
    "told when": Case("one", [(429, {"Retry-After": "2"}, {}), CREATED], 2, "created"),
    "not told": Case("one", [(500, {}, {}), CREATED], 2, "created"),
    "no answer": Case("one", [NO_ANSWER, CREATED], 2, "created"),
    "warnings": Case("many", [batch(200, "warned", "warned")], 1, WARNING["message"]),
    "an event is wrong": Case("many", [batch(207, "created", "refused")], 1, UNKNOWN_EMAIL.message, succeeds=None),
    "the batch is wrong": Case("many", [WRONG_REQUEST], 1, MISSING_EVENT.message, succeeds=False),
    "the batch is 500": Case("many", [(500, AT_ONCE, {}), ALL_CREATED], 2, ""),
    "the batch is 503": Case("many", [(503, AT_ONCE, errors_of([STORE_UNAVAILABLE])), ALL_CREATED], 2, ""),
    "no answer to the batch": Case("many", [NO_ANSWER, ALL_CREATED], 2, ""),
    "429 each time": Case("many", [(429, AT_ONCE, {})], 5, "", succeeds=None),
}


@every_language
@pytest.mark.parametrize("name", CASES)
def test_a_recipe_sends_again_as_it_was_what_is_not_settled_and_shows_the_rest(
    language: str, name: str, tmp_path: Path
) -> None:
    case = CASES[name]
    if (language, name) == ("sh", "no answer"):  # curl gives up
        case = case._replace(requests=1, said="", succeeds=False)
    with api_that_answers(*case.answers) as (api_url, requests):
        done = run(language, tmp_path, api_url, "key", case.recipe)
    assert (len(requests), len({(each.key, each.body) for each in requests})) == (case.requests, 1)
    assert case.said in done.stdout + done.stderr
    assert case.succeeds in (None, done.returncode == 0), done.stderr
    if case.recipe == "one":
        assert requests[0].key
    else:
        assert len({event["eventId"] for event in json.loads(requests[0].body)["events"]}) == 2
    if wait := float(case.answers[0][1].get("Retry-After", 0)):
        assert requests[1].at - requests[0].at > wait - 0.1, "if it is not told when, it waits a second"


@every_language
@pytest.mark.parametrize("status", [207, 503])
def test_only_what_failed_is_sent_again(language: str, status: int, tmp_path: Path) -> None:
    then = ALL_CREATED if language == "sh" else batch(200, "created")
    with api_that_answers(batch(status, "created", "failed", **AT_ONCE), then) as (api_url, requests):
        done = run(language, tmp_path, api_url, "key", "many")
    first, second = (json.loads(each.body)["events"] for each in requests)
    assert second == (first if language == "sh" else first[1:])
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("language", sorted(LANGUAGES.keys() - {"sh"}))
def test_what_was_refused_before_an_error_is_shown(language: str, tmp_path: Path) -> None:
    with api_that_answers(batch(207, "refused", "failed", **AT_ONCE), WRONG_REQUEST) as (api_url, requests):
        done = run(language, tmp_path, api_url, "key", "many")
    assert [len(json.loads(each.body)["events"]) for each in requests] == [2, 1]
    assert (done.returncode != 0, UNKNOWN_EMAIL.message in done.stdout) == (True, True)
    assert MISSING_EVENT.message in done.stdout + done.stderr
