"""Compares the functions with a bare one that makes the same DynamoDB calls: `make bench`. For Linux.

All run in AWS's runtime interface emulator with AWS's runtime client, on Python 3.13 where it is installed, against
DynamoDB Local, in turns, so that a noisy machine disturbs all alike. Look at the ratios; the times are this machine's.
"""

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from samcli.yamlhelper import yaml_parse

from benchmark.cpu_share import NotAllowed
from benchmark.environment import Function, execution_environment
from capacity import bill
from domain import users
from domain.collect import collect
from domain.dynamodb import Table
from domain.events import CATALOGUE
from domain.request import parse_request
from domain.store import Store
from handlers.rest import json_object
from local import aws, dynamodb, stack

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

BARE = "bare"
EVENT_FUNCTION = "EventFunction"
PLAIN = "search"
EVENT_TYPES = (PLAIN, "update", "confirmation", "emailopen")  # of the opens nearly all are discarded, as in life
TABLE_NAME = "benchmark"
ACCOUNT = "demo"  # as in events/
WARM_UP = 20
MEMORY = (128, 256, 512, 1024, 1769)
# US dollars, x86, us-east-1: https://aws.amazon.com/lambda/pricing/
REQUEST_PRICE, GIGABYTE_SECOND_PRICE = 0.20e-6, 0.0000166667

template = yaml_parse((stack.ROOT / "template.yaml").read_text())
orders = count()


@dataclass(frozen=True)
class Subject:
    """A function that is measured: the folders its process imports from, its own first, and its handler."""

    folders: Sequence[Path]
    handler: str


@dataclass(frozen=True)
class Burst:
    """What each of some requests took."""

    milliseconds: float
    cpu_milliseconds: float


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmark", description=__doc__)
    parser.add_argument("--starts", type=int, default=15, help="cold starts of each function")
    parser.add_argument("--rounds", type=int, default=10, help="bursts of requests of each event type")
    parser.add_argument("--requests", type=int, default=100, help="requests in a burst")
    arguments = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as folder, dynamodb.running() as endpoint:
            client: DynamoDBClient = aws.client("dynamodb", endpoint)
            dynamodb.create_table(client, TABLE_NAME)
            new_store(client, ACCOUNT)
            bench = Bench(runtime_python(), variables(endpoint), install(runtime_python(), Path(folder)))
            print(f"{python_version(bench.python)}; bare is boto3 and the same DynamoDB calls; medians.\n")
            print("\n".join(bench.comparison(arguments.starts, arguments.rounds, arguments.requests)), flush=True)
            print("\n".join(["", *bench.memory_curve(arguments.starts, arguments.requests)]), flush=True)
            print("\n".join(["", *capacity_table(client)]))
    except (stack.StackError, dynamodb.ToolMissing) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


# --- What is run ----------------------------------------------------------------------------------


def runtime_python() -> str:
    """Python 3.13, the functions' runtime, or else the Python that runs this."""
    # PYENV_VERSION is for machines whose Pythons pyenv looks after.
    command = ["/usr/bin/env", "PYENV_VERSION=3.13", "python3.13", "-c", "import sys; print(sys.executable)"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout.strip() or sys.executable


def python_version(python: str) -> str:
    return subprocess.run([python, "-V"], capture_output=True, text=True, check=True).stdout.strip()


def install(python: str, folder: Path) -> dict[str, Subject]:
    """The bare function, and ours packaged as by `make build`, each beside what Lambda's runtime brings."""
    runtime, package, source, bare = (folder / name for name in ("runtime", "package", "source", "bare"))
    uv_install(python, runtime, "awslambdaric", "boto3", "--constraint", "requirements-dev.txt")
    uv_install(python, package, "--requirement", "src/requirements.txt")
    shutil.copytree(stack.ROOT / "src", package, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(package, source)
    bare.mkdir()
    shutil.copy(stack.ROOT / "benchmark" / "bare.py", bare)
    for each in (runtime, package, bare):
        subprocess.run([python, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", each], check=True)
    ours = {
        name: Subject([package, runtime], resource["Properties"]["Handler"])
        for name, resource in template["Resources"].items()
        if resource["Type"] == "AWS::Serverless::Function"
    }
    not_compiled = Subject([source, runtime], ours[EVENT_FUNCTION].handler)
    return {BARE: Subject([bare, runtime], "bare.handler"), **ours, f"{EVENT_FUNCTION} not compiled": not_compiled}


def uv_install(python: str, target: Path, *what: str) -> None:
    uv = str(Path(sys.executable).with_name("uv"))
    command = [uv, "pip", "install", "--quiet", "--python", python, "--target", str(target), *what]
    subprocess.run(command, cwd=stack.ROOT, check=True)


def variables(endpoint: str) -> dict[str, str]:
    """The functions' environment: the template's, as far as it is text, and what the stack would add."""
    of_template: Mapping[str, Any] = template["Globals"]["Function"]["Environment"]["Variables"]
    return {name: value for name, value in of_template.items() if isinstance(value, str)} | {
        "TABLE_NAME": TABLE_NAME,
        "POWERTOOLS_SERVICE_NAME": "benchmark",
        "POWERTOOLS_LOG_LEVEL": "INFO",
        "AWS_ENDPOINT_URL_DYNAMODB": endpoint,
    }


def new_store(client: "DynamoDBClient", account: str) -> Store:
    """An account with the user of the requests in it."""
    store = Store(Table(client, TABLE_NAME, deadline=float("inf")), account)
    users.create({"email": "ana@example.com"}, store, datetime.now(UTC))
    return store


def request(event_type: str) -> dict[str, Any]:
    """What API Gateway sends for an event as in events/, the plain one with a body of 1 KB; each order is a new one."""
    event: dict[str, Any] = json.loads((stack.ROOT / "events" / f"{event_type}.json").read_text())
    body = json.loads(event["body"])
    payload = body["event"][event_type]
    if event_type == PLAIN:
        payload |= {f"attribute{n}": "with a usual value" for n in range(22)}
    if event_type == "confirmation":
        del payload["generic"]  # which has orderId and total in their other place
        payload |= {"orderId": f"{os.getpid()}-{next(orders)}", "total": "19.90"}
    return event | {"body": json.dumps(body)}


# --- What is measured -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Bench:
    python: str
    variables: Mapping[str, str]
    subjects: Mapping[str, Subject]

    @contextlib.contextmanager
    def started(self, name: str, memory: int | None = None) -> Iterator[Function]:
        subject = self.subjects[name]
        with execution_environment(self.python, subject.folders, subject.handler, self.variables, memory) as function:
            yield function

    def comparison(self, starts: int, rounds: int, requests: int) -> Iterator[str]:
        yield from ("| what | ours | bare | ratio |", "| --- | --- | --- | --- |")
        init = self.starts(starts)
        for name, milliseconds in init.items():
            if name != BARE:
                yield row(f"init, {name}", milliseconds, init[BARE], "ms")
        bursts, memory = self.bursts(rounds, requests)
        for what in ("milliseconds", "cpu_milliseconds"):
            for event_type in EVENT_TYPES:
                ours, bare = (
                    [getattr(burst, what) for burst in bursts[name, event_type]] for name in (EVENT_FUNCTION, BARE)
                )
                yield row(f"warm {'time' if what == 'milliseconds' else 'CPU'}, {event_type}", ours, bare, "ms")
        yield row("peak memory", [memory[EVENT_FUNCTION]], [memory[BARE]], "MB")
        sizes = [megabytes(self.subjects[name].folders[0]) for name in (EVENT_FUNCTION, BARE)]
        yield "| package, unzipped | {:.1f} MB | {:.1f} MB | |".format(*sizes)

    def starts(self, times: int) -> dict[str, list[float]]:
        """Milliseconds of the init phase of new execution environments."""
        init: dict[str, list[float]] = {name: [] for name in self.subjects}
        for _ in range(times):
            for name in self.subjects:
                with self.started(name) as function:
                    init[name].append(function.init_milliseconds)
        return init

    def bursts(self, rounds: int, requests: int) -> tuple[dict[tuple[str, str], list[Burst]], dict[str, float]]:
        """Bursts of requests by function and event type, and the function's peak memory after them."""
        found: dict[tuple[str, str], list[Burst]] = {}
        with contextlib.ExitStack() as environments:
            functions = {name: environments.enter_context(self.started(name)) for name in (BARE, EVENT_FUNCTION)}
            for event_type in EVENT_TYPES:
                for function in functions.values():
                    burst(function, event_type, WARM_UP)
            for _ in range(rounds):
                for event_type in EVENT_TYPES:
                    for name, function in functions.items():
                        found.setdefault((name, event_type), []).append(burst(function, event_type, requests))
            return found, {name: function.peak_megabytes() for name, function in functions.items()}

    def memory_curve(self, starts: int, requests: int) -> Iterator[str]:
        yield f"| EventFunction with | init | {PLAIN}, warm | Lambda, US$ a million |"
        yield "| --- | --- | --- | --- |"
        for memory in MEMORY:
            init, warm = [], []
            try:
                for _ in range(max(1, starts // 5)):
                    with self.started(EVENT_FUNCTION, memory) as function:
                        init.append(function.init_milliseconds)
                        burst(function, PLAIN, WARM_UP)
                        warm.append(burst(function, PLAIN, requests).milliseconds)
            except NotAllowed as reason:
                yield f"| {memory} MB | not measured: it needs root and control groups ({reason}) | | |"
                return
            price = REQUEST_PRICE + median(warm) / 1000 * memory / 1024 * GIGABYTE_SECOND_PRICE
            yield f"| {memory} MB | {median(init):.0f} ms | {median(warm):.1f} ms | {price * 1e6:.2f} |"


def burst(function: Function, event_type: str, requests: int) -> Burst:
    events = [request(event_type) for _ in range(requests)]
    begun, cpu_begun = time.perf_counter(), function.cpu_seconds()
    for event in events:
        answer = function.invoke(event)
        assert answer["statusCode"] == 200, answer
    seconds, cpu_seconds = time.perf_counter() - begun, function.cpu_seconds() - cpu_begun
    return Burst(seconds * 1000 / requests, cpu_seconds * 1000 / requests)


def capacity_table(client: "DynamoDBClient") -> Iterator[str]:
    """Counted by AWS's rules while each event is collected here; the tests assert the same."""
    yield from ("| event | DynamoDB calls | RRU | WRU |", "| --- | --- | --- | --- |")
    store = new_store(client, "capacity")
    requests = [request(event_type) for event_type in CATALOGUE]
    again = [each for each in requests if '"confirmation"' in each["body"] or '"emailopen"' in each["body"]]
    for each in (*requests, *again):
        sent = parse_request(json_object(each["body"].encode()))
        with bill(store.table) as counted:
            answer = collect(sent, store, datetime.now(UTC))
        kind = f"{sent.event.type}, discarded" if answer.discarded else sent.event.type
        yield f"| {kind} | {' + '.join(counted.calls)} | {counted.rru:g} | {counted.wru} |"


# --- How it is told -------------------------------------------------------------------------------


def megabytes(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6


def row(what: str, ours: Sequence[float], bare: Sequence[float], unit: str) -> str:
    return f"| {what} | {median(ours):.1f} {unit} | {median(bare):.1f} {unit} | {median(ours) / median(bare):.2f} |"


if __name__ == "__main__":
    sys.exit(main())
