"""Run the commands of README.md, docs/quickstart.md and docs/analytics.md unchanged, with `make run` in another process
or on moto's server for AWS. Those of docs/runbook.md are in test_runbook.py."""

import json
import logging
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from api.test_event_files import BATCHES, ROWS
from builders import a_user, send
from clone import make
from documents import blocks
from domain.event_types import CATALOGUE
from e2e.conftest import Caller, shell
from engines import new_table, skip_lane
from local import access_log, aws, dynamodb, stack
from local.feed import LINE_LENGTH
from local.feed import line as event_line
from local.stack import ROOT
from table import Account

# Each block has its name here, or is run elsewhere: test_programs.py runs the demo, `make test` is this.
[ORDER, MAKE_RUN, _DEMO, _MAKE_TEST] = blocks("README.md")
[_MAKE_RUN, SEND, LOOK, MISTAKE, SEND_MANY, _DEMO, FEED, EVENTS, SOLD, REFUSED, ERASE] = blocks("docs/quickstart.md")
[COUNT, ON_AWS, _INCREMENTAL, LIFECYCLE] = blocks("docs/analytics.md")
[CREATED] = blocks("README.md", "json")
[_CREATED, WRONG] = blocks("docs/quickstart.md", "json")
REQUEST = r"\d\d:\d\d:\d\d  [A-Z]+ +/v1/\S+ +\d{3} +\d+ ms(  [\w ,]+)?"


@contextmanager
def running(clone: Path) -> Iterator[tuple[dict[str, str], Iterator[str]]]:
    """`make run` until Ctrl-C, which ends all of it. Yield the variables and command to paste, and further lines."""
    command, pipe = make(*MAKE_RUN.split()[1:], "PORT=0"), subprocess.PIPE
    with subprocess.Popen(command, cwd=clone, stdout=pipe, stderr=pipe, text=True, start_new_session=True) as process:
        try:
            printed = "".join(takewhile("Ctrl-C stops it\n".__ne__, process.stdout or ()))
            found = dict(re.findall(r"^(export \w+|curl|\w+_URL)(?:=| )(.*)$", printed, re.MULTILINE))
            found = {name.removeprefix("export "): value for name, value in found.items()}
            assert list(found) == ["API_URL", "API_KEY", "curl", "DOCS_URL", "USERS_URL", "LIVE_URL"], printed
            yield found, process.stdout or iter(())
        finally:
            os.killpg(process.pid, signal.SIGINT)
            said, complained = process.communicate(timeout=60)
    *requests, stopping = said.splitlines()
    assert stopping == "Stopping; the data is kept for the next `make run`."
    assert [line for line in requests if line and not re.fullmatch(REQUEST, line)] == []
    assert [line for line in complained.splitlines() if not line.startswith("make")] == []
    for url in (found["API_URL"], found["DOCS_URL"]):
        stack.check_free(urlsplit(url).port or 0)


def in_the_clone(commands: str) -> str:
    return re.sub(r"^make(?= )", shlex.join(make()), commands, flags=re.MULTILINE)


def cells(printed: str) -> list[list[str]]:
    """The rows of DuckDB's drawing, without its head."""
    return [re.findall(r"[^│\s]+", line) for line in printed.splitlines() if line.startswith("│")][2:]


@contextmanager
def feed(clone: Path) -> Iterator[Iterator[dict[str, Any]]]:
    command, pipe = shlex.split(in_the_clone(FEED)), subprocess.PIPE
    with subprocess.Popen(command, cwd=clone, stdout=pipe, stderr=pipe, text=True, start_new_session=True) as process:
        try:
            assert process.stderr
            assert "Listening; Ctrl-C ends it\n" in process.stderr
            yield map(json.loads, process.stdout or ())
        finally:
            os.killpg(process.pid, signal.SIGINT)
            assert process.stderr
            assert process.stderr.read() == ""


def rules_of_feeds(api_url: str) -> list[str]:
    events: Any = aws.client("events", api_url.partition("/_aws")[0])
    return [rule["Name"] for rule in events.list_rules(EventBusName=stack.STACK_NAME, NamePrefix="make-feed")["Rules"]]


ERASED = [["NULL", "1", "59.900000000"]]
"""What is sold after the erasure of ana@example.com: to the user of event-upsert.json."""


def wait_until_live(found: dict[str, str], words: str) -> None:
    """Wait until the page Live shows an event: it listens to the same bus, and may hear of it later."""
    deadline = time.monotonic() + 60
    while words not in Caller(found["LIVE_URL"], "").send("GET", "/events").text:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def go_the_tour(clone: Path, found: dict[str, str], arriving: Iterator[dict[str, Any]]) -> None:
    def run(commands: str, **variables: str) -> str:
        return shell(in_the_clone(commands), found["API_URL"], clone, **variables)

    printed = run(EVENTS)
    answers = dict(re.findall(r"^(\S+) +(\d{3} .+)$", printed, re.MULTILINE))
    assert {name: int(answers[name][:3]) for name in answers} == {name: ROWS[name].status for name in answers}
    assert {name for name in answers if "discarded" in ROWS[name].answer} == {
        name for name, answer in answers.items() if answer == "200 discarded"
    }
    assert {name: answers[name][4:].split(", ") for name in BATCHES} == BATCHES
    assert answers["event-id-of-another-payload"] == "200 created before"
    sold = [["EUR", "4", "239.600000000"], ["NULL", "2", "59.900000000"]]
    assert cells(run(SOLD)) == sold
    caller = Caller(found["API_URL"], found["API_KEY"])
    assert caller.event({"email": "ana@example.com"}, {"search": {"query": "line\nbreak"}}).status == 200
    counted = run(COUNT)
    assert re.search(r"^Wrote \d+ items to export/AWSDynamoDB/\d{14}-[0-9a-f]{8}$", counted, re.MULTILINE)
    check_manifest(clone)

    reasons = {each["code"] for each in json.loads(run(REFUSED, **found))["refusals"]}
    assert {"unknown_event_type", "user_not_found", "invalid_json"} <= reasons
    assert "Successfully deleted user." in run(ERASE, **found)
    watched = list(takewhile(lambda event: event["detail-type"] != "UserErased", arriving))
    assert {"query": "line\nbreak"} in [event["detail"].get("payload") for event in watched]
    types = Counter(event["detail"]["type"] for event in watched if event["detail-type"] == "EventCreated")
    assert types.keys() == CATALOGUE.keys()
    assert cells(counted) == [["demo", name, str(types[name])] for name in sorted(types)]
    wait_until_live(found, '"UserErased"')
    assert cells(run(SOLD)) == ERASED
    assert len(rules_of_feeds(found["API_URL"])) == 2, "the pages have one too"


@pytest.mark.http
def test_the_events_of_events_are_sent_watched_counted_and_erased_and_the_next_run_goes_on(clone: Path) -> None:
    def run(commands: str, **variables: str) -> str:
        return shell(in_the_clone(commands), found["API_URL"], clone, **variables)

    stopped = subprocess.run(make("feed"), cwd=clone, capture_output=True, text=True, check=False)
    assert stopped.stderr.startswith("The stack is not running: start it with `make run` in another terminal\n")
    assert stopped.returncode != 0
    with running(clone) as (found, _):
        with feed(clone) as arriving:
            go_the_tour(clone, found, arriving)
        assert len(rules_of_feeds(found["API_URL"])) == 1
    key = found["API_KEY"]
    with running(clone) as (found, printed):
        assert found["API_KEY"] == key
        assert cells(run(SOLD)) == ERASED
        assert run(f"curl {found['curl']}").rstrip().endswith(CREATED.strip())
        for url in (found["DOCS_URL"], found["USERS_URL"], found["LIVE_URL"]):
            assert run(f"curl --head {url}").startswith("HTTP/1.1 200")
        assert run(ORDER, **found).strip() == CREATED.strip()
        assert "Event discarded" in run(ORDER, **found)
        assert '"totalPurchasesValue": 59.9' in run(LOOK, **found)
        answer = run(SEND, **found)
        assert answer.startswith("HTTP/1.1 200")
        assert answer.rstrip().endswith(CREATED.strip())
        assert run(MISTAKE, **found).strip() == WRONG.strip()
        assert '"firstname": "Ana"' in run(LOOK, **found)
        assert '"status": "created"' in run(SEND_MANY, **found)
        assert '"status": "duplicate"' in run(SEND_MANY, **found)
        [other] = re.findall(r"\Aexport API_KEY=(\S+)\n\Z", run("make key ACCOUNT=shop"))
        wait_until_live(found, '"confirmation"')
        fail_in_the_end(Caller(found["API_URL"], other), found["API_URL"].partition("/_aws")[0])
        lines = [next(printed)]
        while "errors.log" not in lines[-1]:
            lines.append(next(printed))
    assert [re.sub(r"^[\d:]{8}  | +\d+ ms|(?<= ) +|:\d+(?=;)", "", line).strip() for line in lines[-6:]] == [
        "POST /v1/user/ 200",
        "POST /v1/events/ 207 1 created, 1 duplicate, 1 refused, missing_event",
        "GET /v1/user/…/attributes/… 404 not_found",
        "POST /v1/event/ 401 unauthorized",
        "POST /v1/event/ 500 internal_error",
        "ResourceNotFoundException at table/calls.py; the log is .stack/errors.log",
    ]
    assert '"level":"ERROR"' in (clone / ".stack" / "errors.log").read_text()
    subprocess.run(make("clean"), cwd=clone, check=True)
    assert not (clone / ".stack").exists()


def check_manifest(clone: Path) -> None:
    [summary] = (clone / "export").rglob("manifest-summary.json")
    told = json.loads(summary.read_text())
    [file] = map(json.loads, (clone / "export" / told["manifestFilesS3Key"]).read_text().splitlines())
    assert (clone / "export" / file["dataFileS3Key"]).exists()
    assert (file["itemCount"], told["outputFormat"]) == (told["itemCount"], "DYNAMODB_JSON")


def fail_in_the_end(caller: Caller, endpoint: str) -> None:
    """Send requests whose lines hold nothing of them, and one without a table, whose line has its cause."""
    ana = {"email": "ana@example.com"}
    caller.send("POST", "/user/", ana)
    search = {"user": ana, "event": {"search": {"query": "shoes"}}}
    batch = [{"eventId": f"e-{number}", "eventTime": "2000-01-01T00:00:00Z", **search} for number in (1, 1)]
    caller.send("POST", "/events/", {"events": [*batch, {}], "import": True})
    caller.send("GET", "/user/ana%40example.com/attributes/ana@example.com?email=ana@example.com")
    caller.send("GET", "/user/ana@example.com", headers={"User-Agent": access_log.PAGES_AGENT})
    caller.send("POST", "/event/", search, {"Authorization": "other"})
    dynamodb, table = aws.client("dynamodb", endpoint), stack.outputs(endpoint)["TableName"]
    dynamodb.update_table(TableName=table, DeletionProtectionEnabled=False)
    dynamodb.delete_table(TableName=table)
    assert caller.send("POST", "/event/", search).status == 500


def test_an_event_of_the_bus_is_one_short_line_that_a_terminal_shows_as_text() -> None:
    detail = {"account": "shop", "userId": "u-1", "type": "search", "createdOn": "2026-11-24T08:00:00Z"}
    event = {"detail": detail | {"payload": {"query": "shoes\x9b2J", "note": "x" * 500}}}
    line = event_line(json.dumps(event))
    assert line.startswith('2026-11-24T08:00:00Z  shop  u-1  search         query: "shoes?2J", note: "xxx')
    assert len(line) == LINE_LENGTH + 1
    erased = {"account": "shop", "userId": "u-1", "erasedOn": "2026-11-24T08:00:00Z"}
    assert event_line(json.dumps({"detail": erased})) == "2026-11-24T08:00:00Z  shop  u-1  erased"


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


@pytest.fixture
def moto_server() -> Iterator[str]:
    from moto.moto_server.threaded_moto_server import ThreadedMotoServer  # slow to import

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(aws.HOST, port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


def test_an_export_on_aws_is_asked_and_ends_by_the_lifecycle_rule(moto_server: str, tmp_path: Path) -> None:
    dynamodb, s3 = aws.client("dynamodb", moto_server), aws.client("s3", moto_server)
    bucket = "exports-on-aws"  # moto in this process has the same buckets as its server
    [_, ask] = re.split(r"(?=^duckdb )", COUNT, flags=re.MULTILINE)
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": aws.REGION})
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    with new_table(dynamodb, "events") as table:
        backups = {"PointInTimeRecoveryEnabled": True}
        dynamodb.update_continuous_backups(TableName=table.name, PointInTimeRecoverySpecification=backups)
        a_user(Account(table, "shop"))
        send(Account(table, "shop"), {"search": {"query": "shoes"}})
        for _ in range(2):  # the second export takes the place of the first
            counted = shell(ON_AWS + ask, moto_server, tmp_path, TABLE=table.name, BUCKET=bucket)
            assert cells(counted) == [["shop", "search", "1"]]
    shell(LIFECYCLE, moto_server, tmp_path, BUCKET=bucket)
    [rule] = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    keys = [each["Key"] for each in s3.list_objects_v2(Bucket=bucket)["Contents"]]
    assert all(key.startswith(rule["Filter"]["Prefix"]) for key in keys)
