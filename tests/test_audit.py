"""`make audit` against a made-up database of vulnerabilities: what it finds decides, and silence is not "none"."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from local import aws, stack
from local.stack import ROOT


class Database(BaseHTTPRequestHandler):
    """Answers as OSV does: every version of these packages is vulnerable."""

    vulnerable: frozenset[str]

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["package"]
        affected = [{"package": asked, "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}]}]
        found = {"vulns": [{"id": "PYSEC-2026-1", "summary": "Made up", "affected": affected}]}
        body = json.dumps(found if asked["name"] in self.vulnerable else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    database = type("Of", (Database,), {"vulnerable": request.param})
    with ThreadingHTTPServer((aws.HOST, 0), database) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://{aws.HOST}:{server.server_port}/v1/query"
        server.shutdown()


def audit(url: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, ".ci/audit.py", "--vulnerability-service=osv", f"--osv-url={url}"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("url", "code", "printed"), [
    (frozenset(), 0, "packages checked, no known vulnerabilities in the functions"),
    ({"moto"}, 0, "on developers' machines: PYSEC-2026-1"),
    ({"moto", "pydantic"}, 1, "in the functions: PYSEC-2026-1"),
], indirect=["url"])  # fmt: skip
def test_a_known_vulnerability_of_a_package_in_the_functions_fails(url: str, code: int, printed: str) -> None:
    done = audit(url)
    assert done.returncode == code, done.stderr
    assert printed in done.stdout


def test_a_database_that_does_not_answer_is_told_from_one_that_knows_nothing() -> None:
    done = audit(f"http://{aws.HOST}:{stack.free_port()}/")
    assert (done.returncode, done.stdout) == (3, "")
    assert "NOT CHECKED for known vulnerabilities" in done.stderr
