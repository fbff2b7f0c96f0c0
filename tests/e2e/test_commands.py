"""Run the commands of README.md and docs/quickstart.md unchanged; those of docs/runbook.md are in test_runbook.py."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from clone import make
from documents import blocks
from e2e.conftest import Caller, shell
from engines import skip_lane
from local import aws, dynamodb, stack
from local.stack import ROOT

# Each block has its name here, or is run elsewhere: `make test` is this, test_tour.py runs the tour.
[ORDER, MAKE_RUN, _DEMO, _MAKE_TEST] = blocks("README.md")
[_MAKE_RUN, SEND, LOOK, MISTAKE, SEND_MANY, *_TOUR] = blocks("docs/quickstart.md")
[CREATED] = blocks("README.md", "json")
[_CREATED, REFUSED] = blocks("docs/quickstart.md", "json")


REQUEST = r"\d\d:\d\d:\d\d  [A-Z]+ +/v1/\S+ +\d{3} +\d+ ms(  [\w ,]+)?"

# --- README.md and docs/quickstart.md, from their beginnings ---


@contextmanager
def running(clone: Path) -> Iterator[dict[str, str]]:
    """`make run` until Ctrl-C, which ends all of it; what it prints: the variables and the command to paste."""
    command, pipe = make(*MAKE_RUN.split()[1:], "PORT=0"), subprocess.PIPE
    with subprocess.Popen(command, cwd=clone, stdout=pipe, stderr=pipe, text=True, start_new_session=True) as process:
        try:
            printed = "".join(takewhile("Ctrl-C stops it\n".__ne__, process.stdout or ()))
            found = dict(re.findall(r"^(export \w+|curl|\w+_URL)(?:=| )(.*)$", printed, re.MULTILINE))
            assert list(found) == ["export API_URL", "export API_KEY", "curl", "DOCS_URL", "USERS_URL", "LIVE_URL"], (
                printed
            )
            found = {name.removeprefix("export "): value for name, value in found.items()}
            yield found
        finally:
            os.killpg(process.pid, signal.SIGINT)
            said, complained = process.communicate(timeout=60)
    *requests, stopping = said.splitlines()
    assert stopping == "Stopping; the data is kept for the next `make run`."
    assert [line for line in requests if line and not re.fullmatch(REQUEST, line)] == []
    assert [line for line in complained.splitlines() if not line.startswith("make")] == []
    for url in (found["API_URL"], found["DOCS_URL"]):
        stack.check_free(urlsplit(url).port or 0)


def make_key(clone: Path, account: str) -> str:
    command = make("key", f"ACCOUNT={account}")
    return subprocess.run(command, cwd=clone, capture_output=True, text=True, check=True).stdout


@pytest.mark.http
def test_make_run_serves_the_documents_requests_makes_keys_and_finds_its_data_again(clone: Path) -> None:
    with running(clone) as first:
        api_url = first["API_URL"]
        assert shell(f"curl {first['curl']}", api_url, clone).rstrip().endswith(CREATED.strip())
        for url in (first["DOCS_URL"], first["USERS_URL"], first["LIVE_URL"]):
            assert shell(f"curl --head {url}", api_url, clone).startswith("HTTP/1.1 200")
        assert shell(ORDER, api_url, clone, **first).strip() == CREATED.strip()
        assert "Event discarded" in shell(ORDER, api_url, clone, **first)
        assert '"totalPurchasesValue": 59.9' in shell(LOOK, api_url, clone, **first)
        answer = shell(SEND, api_url, clone, **first)
        assert answer.startswith("HTTP/1.1 200")
        assert answer.rstrip().endswith(CREATED.strip())
        assert shell(MISTAKE, api_url, clone, **first).strip() == REFUSED.strip()
        assert '"firstname": "Ana"' in shell(LOOK, api_url, clone, **first)
        assert '"status": "created"' in shell(SEND_MANY, api_url, clone, **first)
        assert '"status": "duplicate"' in shell(SEND_MANY, api_url, clone, **first)
        [key] = re.findall(r"\Aexport API_KEY=(\S+)\n\Z", make_key(clone, "shop"))
        assert Caller(api_url, key).send("POST", "/user/", {}).status == 200
    with running(clone) as again:
        assert again["API_KEY"] == first["API_KEY"]
        assert '"firstname": "Ana"' in shell(LOOK, api_url, clone, **again)
    assert (clone / ".stack").exists()
    subprocess.run(make("clean"), cwd=clone, check=True)
    assert not (clone / ".stack").exists()


def invoke_locally(function: str, event: str, endpoint: str) -> str:
    """Invoke a function as `sam local invoke` does, without its container."""
    program = f"from api.gateway import event_file, invoke; print(invoke({function!r}, event_file({event!r})))"
    settings = {"TABLE_NAME": dynamodb.TABLE_NAME, "AWS_ENDPOINT_URL": endpoint, "PYTHONPATH": "src:tests:."}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | settings, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


@pytest.mark.dynamodb_local
def test_make_dynamodb_serves_sam_local_and_reports_a_port_in_use() -> None:
    try:
        dynamodb.command()
    except dynamodb.ToolMissing as missing:
        skip_lane(str(missing))
    port = str(stack.free_port())
    command = [sys.executable, "-m", "local.dynamodb", "--port", port]
    env = os.environ | {"PYTHONPATH": "src"}
    with subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True) as process:
        try:
            printed = "".join(takewhile(lambda line: not line.startswith("Ctrl-C"), process.stdout or ()))
            assert f"API_KEY={dynamodb.API_KEY}\n" in printed
            endpoint = f"http://{aws.HOST}:{port}"
            assert "'Effect': 'Allow'" in invoke_locally("AuthorizerFunction", "authorizer", endpoint)
            assert "'statusCode': 200" in invoke_locally("EventFunction", "update", endpoint)
            again = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
            assert again.stderr == f"Port {port} is taken: does `make dynamodb` run already?\n"
        finally:
            process.send_signal(signal.SIGINT)
