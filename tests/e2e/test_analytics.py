"""Run the commands of docs/analytics.md unchanged: on the local stack, and on moto's server for AWS."""

import json
import logging
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from builders import a_user, send
from clone import make
from documents import blocks
from e2e.conftest import Caller, shell
from e2e.test_commands import running
from engines import new_table
from local import aws
from local.stack import ROOT
from table import Account

ON_THIS_MACHINE, ON_AWS, _INCREMENTAL, LIFECYCLE = blocks("docs/analytics.md")
[_, ASK] = re.split(r"(?=^duckdb )", ON_THIS_MACHINE, flags=re.MULTILINE)
BUCKET = "exports-on-aws"  # moto in this process has the same buckets as its server


def in_the_clone(commands: str) -> str:
    """Replace `make` by a command that keeps the environment."""
    return commands.replace("make export", shlex.join(make("export")))


def cells(printed: str) -> list[list[str]]:
    """The rows of DuckDB's drawing, without its head."""
    lines = [re.findall(r"[^│\s]+", line) for line in printed.splitlines() if line.startswith("│")]
    return lines[2:]


@pytest.mark.http
def test_events_of_make_run_are_counted_and_those_of_erased_users_are_not(clone: Path) -> None:
    with running(clone) as found:
        caller, ana = Caller(found["API_URL"], found["API_KEY"]), {"email": "ana@example.com"}
        for event in ({"search": {"query": "shoes"}}, {"confirmation": {"orderId": "A-1", "total": "59.90"}}):
            assert caller.event(ana, event).status == 200
        counted = shell(in_the_clone(ON_THIS_MACHINE), found["API_URL"], clone)
        assert re.search(r"^Wrote \d+ items to export/AWSDynamoDB/\d{14}-[0-9a-f]{8}$", counted, re.MULTILINE)
        assert cells(counted) == [["demo", "confirmation", "1"], ["demo", "search", "1"]]
        assert caller.send("DELETE", "/user/ana@example.com").status == 200
        assert cells(shell(in_the_clone(ON_THIS_MACHINE), found["API_URL"], clone)) == []
    assert manifest(clone)["outputFormat"] == "DYNAMODB_JSON"


def manifest(clone: Path) -> dict[str, Any]:
    """The summary of the one export, after a look at whether the files are where the manifests say."""
    [summary] = (clone / "export").rglob("manifest-summary.json")
    told: dict[str, Any] = json.loads(summary.read_text())
    [file] = map(json.loads, (clone / "export" / told["manifestFilesS3Key"]).read_text().splitlines())
    assert (clone / "export" / file["dataFileS3Key"]).exists()
    assert file["itemCount"] == told["itemCount"]
    return told


@pytest.fixture
def moto_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """An AWS that makes exports, and the command `aws`."""
    from moto.moto_server.threaded_moto_server import ThreadedMotoServer  # slow to import

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    command = tmp_path / "bin" / "aws"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} {ROOT}/tests/aws_cli.py "$@"\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(command.parent), prepend=":")
    server = ThreadedMotoServer(aws.HOST, port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


def test_an_export_of_the_table_on_aws_is_asked_and_ends_by_the_lifecycle_rule(
    moto_server: str, tmp_path: Path
) -> None:
    dynamodb, s3 = aws.client("dynamodb", moto_server), aws.client("s3", moto_server)
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": aws.REGION})
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    with new_table(dynamodb, "events") as table:
        backups = {"PointInTimeRecoveryEnabled": True}
        dynamodb.update_continuous_backups(TableName=table.name, PointInTimeRecoverySpecification=backups)
        a_user(Account(table, "shop"))
        send(Account(table, "shop"), {"search": {"query": "shoes"}})
        for _ in range(2):  # the second export takes the place of the first
            counted = shell(ON_AWS + ASK, moto_server, tmp_path, TABLE=table.name, BUCKET=BUCKET)
            assert cells(counted) == [["shop", "search", "1"]]
    shell(LIFECYCLE, moto_server, tmp_path, BUCKET=BUCKET)
    [rule] = s3.get_bucket_lifecycle_configuration(Bucket=BUCKET)["Rules"]
    assert all(
        each["Key"].startswith(rule["Filter"]["Prefix"]) for each in s3.list_objects_v2(Bucket=BUCKET)["Contents"]
    )
