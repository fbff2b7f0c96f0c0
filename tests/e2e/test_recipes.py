"""docs/recipes.md, run as written: against the API, and against one that has a bad day."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from documents import blocks
from domain.problems import MISSING_EVENT
from e2e.conftest import Caller
from engines import skip_lane
from handlers.rest import errors_of
from local import aws

# The language of a block, the program that runs it, and what its file is called.
LANGUAGES = {
    "sh": ("bash", "recipe.sh"),
    "python": (sys.executable, "recipe.py"),
    "php": ("php", "recipe.php"),
    "js": ("node", "recipe.mjs"),
}
every_language = pytest.mark.parametrize("language", LANGUAGES)
Answer = tuple[int, Mapping[str, str], Any]

CREATED: Answer = (200, {"X-Event-Id": "1", "X-Event-Status": "created"}, {"results": {}})
MENDABLE: Answer = (400, {}, errors_of([MISSING_EVENT]))


def run(language: str, folder: Path, api_url: str, api_key: str) -> "subprocess.CompletedProcess[str]":
    program, name = LANGUAGES[language]
    if not shutil.which(program):
        skip_lane(f"{program} is not there")
    [block] = blocks("docs/recipes.md", language)
    (folder / name).write_text(block)
    env = os.environ | {"API_URL": api_url, "API_KEY": api_key, "NO_PROXY": aws.HOST, "no_proxy": aws.HOST}
    return subprocess.run([program, folder / name], env=env, capture_output=True, text=True, check=False)


@contextmanager
def api_that_answers(*answers: Answer) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Its URL, and the Idempotency-Key and the body of each request that came. The last answer is repeated."""
    requests: list[tuple[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            requests.append((self.headers["Idempotency-Key"], body))
            status, headers, content = answers[min(len(requests), len(answers)) - 1]
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


@every_language
@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_recipe_tries_again_with_the_same_key(language: str, status: int, tmp_path: Path) -> None:
    with api_that_answers((status, {"Retry-After": "1"}, {}), CREATED) as (api_url, requests):
        done = run(language, tmp_path, api_url, "key")
    assert done.returncode == 0, done.stderr
    assert "created" in done.stdout
    [(key, body), repeated] = requests
    assert key
    assert repeated == (key, body)


@every_language
def test_a_recipe_does_not_repeat_what_has_to_be_mended(language: str, tmp_path: Path) -> None:
    with api_that_answers(MENDABLE) as (api_url, requests):
        done = run(language, tmp_path, api_url, "key")
    assert done.returncode != 0
    assert MISSING_EVENT.message in done.stdout + done.stderr
    assert len(requests) == 1
