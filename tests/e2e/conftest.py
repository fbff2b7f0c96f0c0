"""One deployed stack for all HTTP tests, on a free port; nothing of it is kept."""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen
from uuid import uuid4

import pytest

import programs
from engines import LANE_SKIPPED, skip_lane
from local import aws, stack

if TYPE_CHECKING:
    from selenium.webdriver import Chrome


Ana = dict[str, str]  # the user of the fixture `ana`, as requests name her


@dataclass(frozen=True)
class Answer:
    """`text` is the body without the line feed that ends it."""

    status: int
    headers: Message
    text: str

    @property
    def body(self) -> Any:
        return json.loads(self.text)


@dataclass(frozen=True)
class Caller:
    """A client of the API, as strict as a caller's: it sends bytes and reads bytes."""

    api_url: str
    key: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def send(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        sent = {"Authorization": self.key, **(headers or {})}
        request = Request(self.api_url + path, data, {k: v for k, v in sent.items() if v}, method=method)
        try:
            with urlopen(request, timeout=60) as response:
                return Answer(response.status, response.headers, response.read().decode().removesuffix("\n"))
        except HTTPError as error:
            return Answer(error.code, error.headers, error.read().decode().removesuffix("\n"))

    def event(self, user: Mapping[str, Any], event: Mapping[str, Any], **headers: str) -> Answer:
        return self.send("POST", "/event/", {"user": user, "event": event}, headers)


@pytest.fixture(scope="session")
def python_of_lambda() -> None:
    """The emulator runs functions on its own Python, and `sam build` makes packages for the template's."""
    if sys.version_info[:2] != (3, 13):
        pytest.skip(f"{LANE_SKIPPED}the built functions need Python 3.13")


@pytest.fixture(scope="session")
def deployed() -> Iterator[stack.Stack]:
    with stack.running(parameters={"Feed": "on"}) as it:
        yield it


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Chrome"]:
    from e2e.browsing import chromium  # selenium takes long to import, and few tests need it

    with chromium(tmp_path_factory.mktemp("chromium")) as chrome:
        yield chrome


@pytest.fixture
def account() -> str:
    """The account of the test, so that tests do not affect each other."""
    return f"test-{uuid4().hex[:12]}"


@pytest.fixture
def caller(deployed: stack.Stack, account: str) -> Caller:
    return Caller(deployed.api_url, deployed.create_key(account))


@pytest.fixture
def ana(caller: Caller) -> Ana:
    user = {"email": "ana@example.com"}
    assert caller.send("POST", "/user/", user).status == 200
    return user


@contextmanager
def answering(answer: Callable[[Message, bytes], tuple[int, Mapping[str, str], bytes] | None]) -> Iterator[str]:
    """Serve what `answer` makes of the headers and the body of a request, or drop the request. Yield the address."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            reply = answer(self.headers, self.rfile.read(int(self.headers.get("Content-Length", 0))))
            if not reply:
                return
            status, headers, content = reply
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = answer

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer((aws.HOST, 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield f"http://{aws.HOST}:{server.server_port}"
        finally:
            server.shutdown()


def shell(commands: str, endpoint: str, folder: Path, **variables: str) -> str:
    """Run commands of the documents in a folder, with the emulator instead of AWS; return what they print."""
    if "curl " in commands and shutil.which("curl") is None:
        skip_lane("the documents' commands need curl")
    path = [str(programs.folder())] if re.search(r"\b(sam|aws) ", commands) else []
    settings = {
        "PATH": os.pathsep.join([*path, f"{sys.prefix}/bin", os.environ["PATH"]]),
        "SAM_CLI_TELEMETRY": "0",
        "SAM_CLI_POLL_DELAY": "0.5",
        "STACK": stack.STACK_NAME,
    }
    env = aws.environment(endpoint) | settings | variables
    command = ["bash", "-euo", "pipefail", "-c", commands]
    done = subprocess.run(command, cwd=folder, env=env, input="y\n", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def resources(endpoint: str) -> list[dict[str, Any]]:
    cloudformation: Any = aws.client("cloudformation", endpoint)
    pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=stack.STACK_NAME)
    return [each for page in pages for each in page["StackResourceSummaries"]]
