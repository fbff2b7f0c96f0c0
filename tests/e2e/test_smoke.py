"""`make smoke` holds on the local stack, and says so of nothing else."""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from uuid import uuid4

import pytest

from local import aws, stack
from tools.smoke.checks import all_checks

DIFFERS = {"A long answer is compressed", "An answer names its request"}


def smoke(url: str, key: str) -> tuple[int, dict[str, str]]:
    """The exit code, and the result of each check by its promise and note."""
    env = os.environ | {"API_URL": url, "API_KEY": key}
    command = [sys.executable, "-m", "tools.smoke"]
    done = subprocess.run(command, cwd=stack.ROOT, env=env, capture_output=True, text=True, check=False)
    print(done.stdout, done.stderr)
    lines = re.findall(r"^(held|differs|FAILED) +(.+)$", done.stdout, re.MULTILINE)
    assert len(lines) == len(all_checks(burst=0))
    return done.returncode, {what: result for result, what in lines}


def test_it_holds_on_the_local_stack(deployed: stack.Stack) -> None:
    code, results = smoke(deployed.api_url, deployed.create_key("smoke"))
    assert code == 0
    assert set(results.values()) <= {"held", "differs"}
    differs = [what for what, result in results.items() if result == "differs"]
    assert len(differs) == len(DIFFERS)
    assert all(what.startswith(tuple(DIFFERS)) for what in differs)


class SaysYes(BaseHTTPRequestHandler):
    """Answers everything with 200 and another user, with a header of AWS's gateway."""

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("x-amz-apigw-id", "any")
        self.end_headers()
        user = {"_id": uuid4().hex}
        self.wfile.write(json.dumps({**user, "object": user, "events": [], "results": [], "refusals": {}}).encode())

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = answer

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def yes() -> Iterator[str]:
    server = ThreadingHTTPServer((aws.HOST, 0), SaysYes)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://{aws.HOST}:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_nothing_holds_where_every_answer_is_yes(yes: str) -> None:
    code, results = smoke(yes, "key")
    assert code == 1
    assert set(results.values()) == {"FAILED"}
