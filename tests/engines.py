"""Tests of what is stored run on moto. If a condition decides, they run on DynamoDB Local too, which is AWS's own.

    def test_...(table): ...                 runs on moto
    @both_engines
    def test_...(table): ...                 runs on moto (`make quick`) and on DynamoDB Local (`make test`)
    @aws_engine_only
    def test_...(table): ...                 runs on DynamoDB Local: what moto lacks, or what concerns engine or SDK
    @every_engine
    def test_...(table): ...                 runs on MiniStack too, the emulator of `make run`

moto lacks: threads in transactions, tokens of transactions, the limits of nesting, numbers, names and expressions.
"""

import contextlib
import math
import os
from collections import Counter
from collections.abc import Iterator
from threading import RLock
from typing import Any, NoReturn
from unittest.mock import patch
from uuid import uuid4

import pytest
from botocore.config import Config
from moto import mock_aws
from moto.core.botocore_stubber import BotocoreStubber
from mypy_boto3_dynamodb import DynamoDBClient

from local import aws, dynamodb, stack
from table.calls import CLIENT_CONFIG, Table, new_client

ALL = [pytest.param(name, marks=getattr(pytest.mark, name)) for name in ("moto", "dynamodb_local", "ministack")]
LANE_SKIPPED = "lane skipped: "

both_engines = pytest.mark.both_engines
aws_engine_only = not_on_moto = pytest.mark.parametrize("engine", ALL[1:2], indirect=True)
every_engine = pytest.mark.parametrize("engine", ALL, indirect=True)
every_engine_but_moto = pytest.mark.parametrize("engine", ALL[1:], indirect=True)


def client_of(endpoint: str) -> DynamoDBClient:
    """Return the functions' client for an engine. It waits longer, so that a slow machine gets the same answers."""
    with patch.dict(os.environ, AWS_ENDPOINT_URL_DYNAMODB=endpoint):
        return new_client(CLIENT_CONFIG.merge(Config(connect_timeout=60, read_timeout=60)))


@pytest.fixture(scope="session")
def moto_client() -> Iterator[DynamoDBClient]:
    one_at_a_time, process = RLock(), BotocoreStubber.process_request  # moto's transactions know no threads

    def process_alone(*arguments: Any) -> Any:
        with one_at_a_time:
            return process(*arguments)

    with mock_aws(), patch.object(BotocoreStubber, "process_request", process_alone):
        yield client_of(f"https://dynamodb.{aws.REGION}.amazonaws.com")


@pytest.fixture(scope="session")
def dynamodb_local_client() -> Iterator[DynamoDBClient]:
    try:
        dynamodb.command()
    except dynamodb.ToolMissing as missing:
        skip_lane(str(missing))
    with dynamodb.running() as endpoint:
        yield client_of(endpoint)


@pytest.fixture(scope="session")
def ministack_client() -> Iterator[DynamoDBClient]:
    """The emulator bare: nothing is deployed into it."""
    port = stack.free_port()
    with stack.working_folder(None) as folder, stack.emulator(port, folder, persist=False):
        yield aws.client("dynamodb", f"http://{aws.HOST}:{port}")


def skip_lane(reason: str) -> NoReturn:
    """On a user's machine; where all must run (CI=true) it is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(f"{LANE_SKIPPED}{reason}")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    named = [mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")]
    if "engine" in metafunc.fixturenames and "engine" not in named:
        both = metafunc.definition.get_closest_marker("both_engines")
        metafunc.parametrize("engine", ALL[: 2 if both else 1], indirect=True)


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> DynamoDBClient:
    client: DynamoDBClient = request.getfixturevalue(f"{request.param}_client")
    return client


@pytest.fixture
def table(engine: DynamoDBClient) -> Iterator[Table]:
    """Yield an empty table for each test."""
    with new_table(engine, f"test-{uuid4()}") as made:
        yield made


@pytest.fixture
def functions_table(moto_client: DynamoDBClient, monkeypatch: pytest.MonkeyPatch) -> Iterator[Table]:
    """The table of the handlers, empty for each test: they find it by their environment."""
    from handlers import runtime  # it reads the environment that conftest.py sets

    with new_table(moto_client, os.environ["TABLE_NAME"]) as made:
        # Without a deadline, so that a slow machine gets the same answers. test_template.py compares the time limits.
        monkeypatch.setattr("handlers.rest.table", lambda: Table(runtime.client, made.name, math.inf))
        yield made


@contextlib.contextmanager
def new_table(client: DynamoDBClient, name: str) -> Iterator[Table]:
    dynamodb.create_table(client, name)
    yield Table(client, name, deadline=math.inf)
    client.delete_table(TableName=name)


def pytest_collection_modifyitems(items: list[pytest.Function]) -> None:
    """Marks what `make quick` leaves out: HTTP tests, and those that print figures or work in a clone."""
    for item in items:
        if "deployed" in item.fixturenames:
            item.add_marker(pytest.mark.http)
        if {"figures", "clone"} & {*item.fixturenames}:
            item.add_marker(pytest.mark.long)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print a red line for each missing tool, with the number of tests that it skips."""
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = [report.longrepr[2].removeprefix("Skipped: ") for report in skipped if isinstance(report.longrepr, tuple)]
    for reason, number in Counter(each for each in reasons if each.startswith(LANE_SKIPPED)).most_common():
        line = f"{number} TESTS SKIPPED: {reason.removeprefix(LANE_SKIPPED)}"
        terminalreporter.write_line(line, red=True, bold=True)
