"""Two versions of the code on one table: an old one, from the history, and the present one.

    old, new = releases.of(table, VERSION_1_0)
    old.send({"search": {"query": "shoes"}}, at=a_moment())

Each runs in its own process with its own modules, and its handlers get API Gateway's events. The test sets the clock,
so a recorded table has the age that it had.
"""

import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from api.gateway import FUNCTIONS, Answer, function_of, proxy_event
from domain.ids import new_id
from domain.times import iso
from engines import skip_lane
from local import aws
from local.stack import ROOT
from table.calls import Table

VERSION_1_0 = "797feb6f5ddfdd0fb2ba167f49182edbb170548b"
VERSION_1_1 = "6a94aa0bd51bbc01767b5876283114d12e5f2f41"
ACCOUNT = "shop"


class Process:
    """The functions of one version, at one endpoint of DynamoDB."""

    def __init__(self, source: Path, endpoint: str, **settings: str) -> None:
        self._child = subprocess.Popen(
            [sys.executable, str(ROOT / "tests" / "release_process.py"), str(source)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=aws.environment(endpoint) | {"TABLE_NAME": "none", "POWERTOOLS_SERVICE_NAME": "test"} | settings,
        )

    def ask(self, asked: dict[str, Any]) -> Any:
        assert self._child.stdin
        assert self._child.stdout
        self._child.stdin.write(json.dumps(asked) + "\n")
        self._child.stdin.flush()
        answer = self._child.stdout.readline()
        assert answer, "the process of the release has ended; its standard error says why"
        return json.loads(answer)

    def end(self) -> None:
        for stream in (self._child.stdin, self._child.stdout):
            assert stream
            stream.close()
        self._child.wait(timeout=10)


@dataclass(frozen=True)
class Release:
    """A version of the functions over one table. `at` is what time its clock shows."""

    process: Process
    table: str

    def invoke(self, handler: str, event: dict[str, Any], at: datetime) -> Any:
        return self.process.ask({"handler": handler, "event": event, "at": iso(at), "table": self.table})

    def call(self, method: str, resource: str, body: Any = None, *, at: datetime, **parts: Any) -> Answer:
        """call("GET", "/user/{id}", pathParameters={"id": "ana@example.com"}, at=...)"""
        event = proxy_event(method, resource, body, ACCOUNT, **parts)
        module = FUNCTIONS[function_of(event)].split(".")[1]
        response = self.invoke(module, event, at)
        return Answer(response["statusCode"], response["headers"], response["body"].removesuffix("\n"))

    def send(self, event: dict[str, Any], at: datetime, *, key: str | None = None, **more: Any) -> Answer:
        """POST /v1/event/. `more` are other fields of the body: user, eventId, eventTime. Without a user: ana."""
        headers = {"Idempotency-Key": key} if key else None
        body = {"user": {"email": "ana@example.com"}, "event": event, **more}
        return self.call("POST", "/event", body, at=at, headers=headers)

    def user(self, identifier: str, at: datetime, method: str = "GET", body: Any = None, **parts: Any) -> Answer:
        return self.call(method, "/user/{id}", body, at=at, pathParameters={"id": identifier}, **parts)

    def page(self, identifier: str, at: datetime, **query: str) -> Answer:
        parts = {"pathParameters": {"id": identifier}, "queryStringParameters": query or None}
        return self.call("GET", "/user/{id}/events", at=at, **parts)

    def events(self, identifier: str, at: datetime, limit: int = 7) -> list[dict[str, Any]]:
        """The whole timeline, newest first, page by page."""
        found: list[dict[str, Any]] = []
        query = {"limit": str(limit)}
        while True:
            body = self.page(identifier, at, **query).body
            found += body["events"]
            if "cursor" not in body:
                return found
            query["cursor"] = body["cursor"]

    def erase_leftovers(self, at: datetime) -> int:
        """How many erasures are not done yet after a run of the function that goes on with them."""
        unfinished: int = self.invoke("erasure", {}, at)["unfinished"]
        return unfinished

    def key_function(self, action: str, at: datetime, **more: Any) -> Any:
        return self.invoke("keys", {"action": action, "account": ACCOUNT, **more}, at)

    def is_allowed(self, api_key: str, at: datetime) -> bool:
        policy = self._authorized(api_key, at)["policyDocument"]
        return bool(policy["Statement"][0]["Effect"] == "Allow")

    def scopes_of(self, api_key: str, at: datetime) -> set[str]:
        return set(self._authorized(api_key, at)["context"]["scopes"].split())

    def _authorized(self, api_key: str, at: datetime) -> Any:
        asked = {"authorizationToken": api_key, "methodArn": "arn:aws:execute-api:eu-west-1:1:api/v1/GET/user"}
        return self.invoke("authorizer", asked, at)


@dataclass(frozen=True)
class Releases:
    """Processes are started once."""

    folder: Path
    running: dict[tuple[object, ...], Process]

    def of(self, table: Table, version: str, **settings: str) -> tuple[Release, Release]:
        """Return an old version and this one, over the table. `settings` are variables of this one's functions."""
        endpoint = table.client.meta.endpoint_url
        processes = self._running(version, endpoint), self._running("", endpoint, **settings)
        return Release(processes[0], table.name), Release(processes[1], table.name)

    def _running(self, version: str, endpoint: str, **settings: str) -> Process:
        key = (version, endpoint, *settings.items())
        if key not in self.running:
            source = self._archive(version) if version else ROOT / "src"
            self.running[key] = Process(source, endpoint, **settings)
        return self.running[key]

    def _archive(self, commit: str) -> Path:
        """Unpack `src` of a commit."""
        command = ["git", "archive", "--format=zip", commit, "src"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
        if done.returncode:
            skip_lane("the code of old versions is in the whole history: run `git fetch --unshallow`")
        with zipfile.ZipFile(io.BytesIO(done.stdout)) as packed:
            packed.extractall(self.folder / commit)
        return self.folder / commit / "src"


@pytest.fixture(scope="session")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Releases]:
    made = Releases(tmp_path_factory.mktemp("releases"), {})
    yield made
    for process in made.running.values():
        process.end()


def ok(answer: Answer) -> Any:
    assert answer.status == 200, answer
    return answer.body


def entry(event: dict[str, Any], at: datetime, event_id: str | None = None, **user: Any) -> dict[str, Any]:
    """Return an event of a batch. Without a user it is ana's."""
    user = user or {"email": "ana@example.com"}
    return {"eventId": event_id or new_id(at), "eventTime": iso(at), "user": user, "event": event}
