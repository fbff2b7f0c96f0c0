"""Run the programs of docs/recipes against the API, and against one that fails."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from domain.problems import MISSING_EVENT, STORE_UNAVAILABLE, UNKNOWN_EMAIL
from e2e.conftest import Caller
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

RECIPES = ("one", "many")
MANY = 1
NO_ANSWER: Answer = (0, {}, None)
AT_ONCE = {"Retry-After": "0"}  # the wait itself is tested once for each language
CREATED: Answer = (200, {"X-Event-Status": "created"}, {"results": {}})
DISCARDED: Answer = (200, {"X-Event-Status": "discarded"}, {"results": {}})
WRONG_REQUEST: Answer = (400, {}, errors_of([MISSING_EVENT]))


class Received(NamedTuple):
    key: str
    body: str
    at: float


def run(language: str, folder: Path, api_url: str, api_key: str, recipe: int = 0) -> "subprocess.CompletedProcess[str]":
    program, name, needed = LANGUAGES[language]
    if not shutil.which(needed):
        skip_lane(f"{needed} is not there")
    shutil.copy(ROOT / "docs" / "recipes" / f"{RECIPES[recipe]}{Path(name).suffix}", folder / name)
    env = os.environ | {"API_URL": api_url, "API_KEY": api_key, "NO_PROXY": aws.HOST, "no_proxy": aws.HOST}
    command = [program, str(folder / name)]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


@contextmanager
def api_that_answers(*answers: Answer) -> Iterator[tuple[str, list[Received]]]:
    """Its URL, and the requests that came. The last answer is repeated."""
    requests: list[Received] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            requests.append(Received(self.headers["Idempotency-Key"], body, time.monotonic()))
            status, headers, content = answers[min(len(requests), len(answers)) - 1]
            if not status:
                return
            sent = json.dumps(content).encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(sent))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(sent)

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer((aws.HOST, 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield f"http://{aws.HOST}:{server.server_port}", requests
        finally:
            server.shutdown()


@every_language
def test_a_recipe_stores_its_event_once(language: str, caller: Caller, ana: dict[str, str], tmp_path: Path) -> None:
    done = run(language, tmp_path, caller.api_url, caller.key)
    assert done.returncode == 0, done.stderr
    assert "created" in done.stdout
    assert len(caller.send("GET", f"/user/{ana['email']}/events").body["events"]) == 1


WARNING = {"field": "event.confirmation.total", "code": "total_not_counted", "message": "The total is not counted"}


@every_language
@pytest.mark.parametrize("recipe", [0, MANY])
def test_a_recipe_shows_what_the_api_dropped(language: str, recipe: int, tmp_path: Path) -> None:
    single = (200, {"X-Event-Status": "created"}, {"results": {}, "warnings": [WARNING]})
    result = RESULTS["created"] | {"warnings": [WARNING]}
    answer: Answer = (200, {}, {"results": [result] * 2}) if recipe else single
    with api_that_answers(answer) as (api_url, requests):
        done = run(language, tmp_path, api_url, "key", recipe)
    assert done.returncode == 0, done.stderr
    assert WARNING["message"] in done.stdout + done.stderr
    assert len(requests) == 1


@every_language
@pytest.mark.parametrize(
    "failure", [(429, {"Retry-After": "2"}, {}), (500, {}, {}), NO_ANSWER], ids=["told when", "not told", "no answer"]
)
def test_a_recipe_tries_again_with_the_same_key(language: str, failure: Answer, tmp_path: Path) -> None:
    with api_that_answers(failure, CREATED) as (api_url, requests):
        done = run(language, tmp_path, api_url, "key")
    if language == "sh" and failure == NO_ANSWER:  # curl gives up
        assert (done.returncode != 0, len(requests)) == (True, 1)
        return
    assert done.returncode == 0, done.stderr
    assert "created" in done.stdout
    first, second = requests
    assert first.key
    assert (second.key, second.body) == (first.key, first.body)
    assert "Retry-After" not in failure[1] or second.at - first.at > 1.9, "if it is not told when, it waits a second"


@every_language
@pytest.mark.parametrize(
    ("answer", "said"), [(DISCARDED, "discarded"), (WRONG_REQUEST, MISSING_EVENT.message)], ids=["discarded", "wrong"]
)
def test_a_recipe_does_not_repeat_what_is_settled(language: str, answer: Answer, said: str, tmp_path: Path) -> None:
    with api_that_answers(answer) as (api_url, requests):
        done = run(language, tmp_path, api_url, "key")
    assert (done.returncode == 0) == (answer == DISCARDED), done.stderr
    assert said in done.stdout + done.stderr
    assert len(requests) == 1


# --- Many events ----------------------------------------------------------------------------------

RESULTS: dict[str, Any] = {
    "created": {"status": "created", "eventId": "x", "userId": "x", "warnings": []},
    "refused": {"status": "refused", "eventId": "x", "errors": errors_of([UNKNOWN_EMAIL])["errors"]},
    "failed": {"status": "failed", "eventId": "x", "errors": errors_of([STORE_UNAVAILABLE])["errors"]},
}


def of_a_batch(status: int, *results: str, **headers: str) -> Answer:
    return status, headers, {"results": [RESULTS[each] for each in results]}


ALL_CREATED = of_a_batch(200, "created", "created")


def batches(
    language: str, folder: Path, *answers: Answer
) -> tuple[list[list[Any]], "subprocess.CompletedProcess[str]"]:
    """The events of each request that came, and how the recipe ended."""
    with api_that_answers(*answers) as (api_url, requests):
        done = run(language, folder, api_url, "key", MANY)
    return [json.loads(request.body)["events"] for request in requests], done


@every_language
def test_many_events_are_stored_once_each(language: str, caller: Caller, ana: dict[str, str], tmp_path: Path) -> None:
    done = run(language, tmp_path, caller.api_url, caller.key, MANY)
    assert done.returncode == 0, done.stdout + done.stderr
    events = caller.send("GET", f"/user/{ana['email']}/events").body["events"]
    assert {event["type"] for event in events} == {"viewitem", "search"}
    assert len(events) == 2
    assert all("receivedOn" in event for event in events)


@every_language
@pytest.mark.parametrize(
    ("answer", "said"),
    [(of_a_batch(207, "created", "refused"), UNKNOWN_EMAIL.message), (WRONG_REQUEST, MISSING_EVENT.message)],
    ids=["an event", "the batch"],
)
def test_what_is_wrong_is_reported_and_not_sent_again(language: str, answer: Answer, said: str, tmp_path: Path) -> None:
    sent, done = batches(language, tmp_path, answer)
    assert len(sent) == 1
    assert said in done.stdout + done.stderr
    assert answer != WRONG_REQUEST or done.returncode != 0


@every_language
@pytest.mark.parametrize(
    "failure",
    [(500, AT_ONCE, {}), (503, AT_ONCE, errors_of([STORE_UNAVAILABLE])), NO_ANSWER],
    ids=lambda failure: str(failure[0] or "no answer"),
)
def test_a_batch_is_sent_again_as_it_was(language: str, failure: Answer, tmp_path: Path) -> None:
    [first, second], done = batches(language, tmp_path, failure, ALL_CREATED)
    assert done.returncode == 0, done.stdout + done.stderr
    assert first == second
    assert len({event["eventId"] for event in first}) == 2


@every_language
@pytest.mark.parametrize("status", [207, 503])
def test_what_failed_is_sent_again(language: str, status: int, tmp_path: Path) -> None:
    failure = of_a_batch(status, "created", "failed", **AT_ONCE)
    then = ALL_CREATED if language == "sh" else of_a_batch(200, "created")
    [first, second], done = batches(language, tmp_path, failure, then)
    assert done.returncode == 0, done.stdout + done.stderr
    assert second == (first if language == "sh" else first[1:])


@every_language
def test_what_fails_each_time_is_sent_five_times(language: str, tmp_path: Path) -> None:
    sent, _ = batches(language, tmp_path, (429, AT_ONCE, {}))
    assert len(sent) == 5
    assert all(events == sent[0] for events in sent)


@pytest.mark.parametrize("language", sorted(LANGUAGES.keys() - {"sh"}))
def test_what_was_refused_before_an_error_is_shown(language: str, tmp_path: Path) -> None:
    sent, done = batches(language, tmp_path, of_a_batch(207, "refused", "failed", **AT_ONCE), WRONG_REQUEST)
    assert (len(sent), len(sent[1])) == (2, 1)
    assert done.returncode != 0
    assert UNKNOWN_EMAIL.message in done.stdout
    assert MISSING_EVENT.message in done.stdout + done.stderr
