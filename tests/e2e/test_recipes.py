"""docs/recipes.md, run as written: against the API, and against one that has a bad day."""

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

from documents import blocks
from domain.problems import MISSING_EVENT
from e2e.conftest import Caller
from engines import skip_lane
from handlers.rest import errors_of
from local import aws

# The language of a block, the program that runs it, what its file is called, and what has to be there.
LANGUAGES = {
    "sh": ("bash", "recipe.sh", "curl"),
    "python": (sys.executable, "recipe.py", sys.executable),
    "php": ("php", "recipe.php", "php"),
    "js": ("node", "recipe.mjs", "node"),
}
every_language = pytest.mark.parametrize("language", LANGUAGES)
Answer = tuple[int, Mapping[str, str], Any]

NO_ANSWER: Answer = (0, {}, None)
CREATED: Answer = (200, {"X-Event-Status": "created"}, {"results": {}})
DISCARDED: Answer = (200, {"X-Event-Status": "discarded"}, {"results": {}})
MENDABLE: Answer = (400, {}, errors_of([MISSING_EVENT]))


class Received(NamedTuple):
    key: str
    body: str
    at: float


def run(language: str, folder: Path, api_url: str, api_key: str) -> "subprocess.CompletedProcess[str]":
    program, name, needed = LANGUAGES[language]
    if not shutil.which(needed):
        skip_lane(f"{needed} is not there")
    [block] = blocks("docs/recipes.md", language)
    (folder / name).write_text(block)
    env = os.environ | {"API_URL": api_url, "API_KEY": api_key, "NO_PROXY": aws.HOST, "no_proxy": aws.HOST}
    return subprocess.run([program, folder / name], env=env, capture_output=True, text=True, check=False)


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


def attempts(language: str, folder: Path, failure: Answer) -> list[Received]:
    """What came, when the first answer is a failure and the second one is good."""
    with api_that_answers(failure, CREATED) as (api_url, requests):
        done = run(language, folder, api_url, "key")
    assert done.returncode == 0, done.stderr
    assert "created" in done.stdout
    return requests


def assert_the_same(first: Received, second: Received) -> None:
    assert first.key
    assert (second.key, second.body) == (first.key, first.body)


@every_language
@pytest.mark.parametrize("status", [429, 503])
def test_a_recipe_tries_again_with_the_same_key_when_it_is_told(language: str, status: int, tmp_path: Path) -> None:
    first, second = attempts(language, tmp_path, (status, {"Retry-After": "2"}, {}))
    assert_the_same(first, second)
    assert second.at - first.at > 1.9, "untold, each waits a second"


@every_language
def test_a_recipe_tries_again_when_it_is_not_told_when(language: str, tmp_path: Path) -> None:
    assert_the_same(*attempts(language, tmp_path, (500, {}, {})))


@pytest.mark.parametrize("language", sorted(LANGUAGES.keys() - {"sh"}))
def test_a_recipe_tries_again_when_the_connection_breaks(language: str, tmp_path: Path) -> None:
    assert_the_same(*attempts(language, tmp_path, NO_ANSWER))


def test_curl_gives_up_when_the_connection_breaks(tmp_path: Path) -> None:
    with api_that_answers(NO_ANSWER, CREATED) as (api_url, requests):
        done = run("sh", tmp_path, api_url, "key")
    assert done.returncode != 0
    assert len(requests) == 1


@every_language
def test_a_discarded_event_is_not_sent_again(language: str, tmp_path: Path) -> None:
    with api_that_answers(DISCARDED) as (api_url, requests):
        done = run(language, tmp_path, api_url, "key")
    assert done.returncode == 0, done.stderr
    assert "discarded" in done.stdout
    assert len(requests) == 1


@every_language
def test_a_recipe_does_not_repeat_what_has_to_be_mended(language: str, tmp_path: Path) -> None:
    with api_that_answers(MENDABLE) as (api_url, requests):
        done = run(language, tmp_path, api_url, "key")
    assert done.returncode != 0
    assert MISSING_EVENT.message in done.stdout + done.stderr
    assert len(requests) == 1
