"""Compare the functions with a bare one that makes the same DynamoDB calls: `make bench`. For Linux.

All functions run in AWS's runtime interface emulator with AWS's runtime client, on Python 3.13 if it is installed. They
reach DynamoDB Local over TLS. They run alternately and in random order, so that a noisy machine disturbs all alike.
Compare the ratios; the times are this machine's. A third function, benchmark/powertools.py, is what a team usually
writes. With --before, the function of events of another checkout is a fourth one.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from operator import truediv
from pathlib import Path
from statistics import median
from typing import Any

import trustme
from samcli.yamlhelper import yaml_parse

from benchmark import tls
from benchmark.cpu_share import NotAllowed
from benchmark.environment import Function, Start, execution_environment
from local import aws, dynamodb, stack

BARE, POWERTOOLS, BEFORE, NOT_COMPILED = "bare", "Powertools", "before", "EventFunction, not compiled"
EVENT_FUNCTION = "EventFunction"
OURS = (EVENT_FUNCTION, "UserFunction", "AuthorizerFunction")  # what a caller may wait for
FUNCTIONS = (*OURS, "KeyFunction")
RIVALS = (BARE, POWERTOOLS)
IN_LAMBDA = {"LAMBDA_TASK_ROOT": "/var/task"}  # without it the Tracer does nothing
PLAIN = "search"
EVENT_TYPES = (PLAIN, "update", "confirmation", "emailopen")  # of the opens nearly all are discarded, as in life
TABLE_NAME = "benchmark"
ACCOUNT, RIVALS_ACCOUNT = "demo", "rivals"  # the first as in events/; apart, because the rivals' items are simpler
WARM_UP = 20
MEMORY = (512, 1024, 1769)  # with less, init takes up to 10 seconds on a busy machine, after which Lambda ends it
# US dollars, x86, us-east-1: https://aws.amazon.com/lambda/pricing/
REQUEST_PRICE, GIGABYTE_SECOND_PRICE = 0.20e-6, 0.0000166667

template = yaml_parse((stack.ROOT / "template.yaml").read_text())
orders = count()


@dataclass(frozen=True)
class Subject:
    """A function that is measured: the folders its process imports from, its own first, and its handler."""

    folders: Sequence[Path]
    handler: str
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Burst:
    """The time that each of some requests took."""

    milliseconds: float
    cpu_milliseconds: float


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmark", description=__doc__)
    parser.add_argument("--starts", type=int, default=15, help="cold starts of each function")
    parser.add_argument("--rounds", type=int, default=50, help="bursts of requests of each event type")
    parser.add_argument("--requests", type=int, default=20, help="requests in a burst")
    parser.add_argument("--before", type=Path, help="a folder with another version of the project")
    arguments = parser.parse_args()
    try:
        with prepared(arguments.before) as bench:
            print(f"{python_version(bench.python)}; bare is boto3 and the same DynamoDB calls; medians.\n")
            print("\n".join(bench.comparison(arguments.starts, arguments.rounds, arguments.requests)), flush=True)
            print("\n".join(["", *bench.memory_curve(arguments.starts, arguments.requests)]), flush=True)
    except (stack.StackError, dynamodb.ToolMissing) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


# --- What is run ----------------------------------------------------------------------------------


@contextlib.contextmanager
def prepared(before: Path | None) -> Iterator["Bench"]:
    """Install the functions, and start DynamoDB Local with an API key and the user of the requests."""
    authority, python = trustme.CA(), runtime_python()
    with (
        tempfile.TemporaryDirectory() as folder,
        dynamodb.running() as plain,
        tls.in_front_of(plain, authority) as endpoint,
    ):
        dynamodb.create_table(aws.client("dynamodb", plain), TABLE_NAME)
        bench = Bench(python, variables(endpoint), install(python, Path(folder), authority, before))
        bench.first_events["AuthorizerFunction"] = event_file("authorizer") | {"authorizationToken": bench.new_key()}
        user = event_file("user-post") | {"body": json.dumps({"email": "ana@example.com"})}
        for account in (ACCOUNT, RIVALS_ACCOUNT):
            with bench.started("UserFunction", of_account(user, account)) as function:
                assert_answered(function.start.answer)
        yield bench


def runtime_python() -> str:
    """Python 3.13, the functions' runtime, or else the Python that runs this."""
    # PYENV_VERSION is for machines whose Pythons pyenv looks after.
    command = ["/usr/bin/env", "PYENV_VERSION=3.13", "python3.13", "-c", "import sys; print(sys.executable)"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout.strip() or sys.executable


def python_version(python: str) -> str:
    return subprocess.run([python, "-V"], capture_output=True, text=True, check=True).stdout.strip()


def install(python: str, folder: Path, authority: trustme.CA, before: Path | None) -> dict[str, Subject]:
    """Package each function as for a deployment, with the packages of Lambda's runtime."""
    names = ("runtime", "package", "source", BEFORE, BARE, POWERTOOLS)
    runtime, package, source, earlier, bare, powertools = (folder / name for name in names)
    uv_install(python, runtime, "awslambdaric", "boto3", "--constraint", "requirements-dev.txt")
    packages = {package: stack.ROOT} | ({earlier: before} if before else {})
    for target, project in packages.items():
        uv_install(python, target, "--requirement", str(project / "src" / "requirements.txt"))
        shutil.copytree(project / "src", target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(package, source)
    uv_install(python, powertools, "aws-lambda-powertools[parser,tracer]", "--constraint", "requirements-dev.txt")
    for one in (bare, powertools):
        one.mkdir(exist_ok=True)
        shutil.copy(stack.ROOT / "benchmark" / f"{one.name.lower()}.py", one)
    for each in (runtime, *packages, bare, powertools):
        subprocess.run([python, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", each], check=True)
    all_roots = trusting(runtime / "botocore" / "cacert.pem", authority, folder / "all.pem")
    few_roots = trusting(package / "amazon-roots.pem", authority, folder / "few.pem")
    resources = template["Resources"]
    ours = {
        name: Subject([package, runtime], resources[name]["Properties"]["Handler"], few_roots) for name in FUNCTIONS
    }
    if before:
        ours[BEFORE] = Subject([earlier, runtime], ours[EVENT_FUNCTION].handler, few_roots)
    return {
        BARE: Subject([bare, runtime], "bare.handler", all_roots),
        POWERTOOLS: Subject([powertools, runtime], "powertools.handler", all_roots | IN_LAMBDA),
        NOT_COMPILED: Subject([source, runtime], ours[EVENT_FUNCTION].handler, few_roots),
        **ours,
    }


def trusting(roots: Path, authority: trustme.CA, bundle: Path) -> dict[str, str]:
    """Return the variable that makes botocore trust `roots` and the certificate of DynamoDB Local."""
    bundle.write_bytes(roots.read_bytes() + authority.cert_pem.bytes())
    return {"AWS_CA_BUNDLE": str(bundle)}


def uv_install(python: str, target: Path, *what: str) -> None:
    uv = str(Path(sys.executable).with_name("uv"))
    command = [uv, "pip", "install", "--quiet", "--python", python, "--target", str(target), *what]
    subprocess.run(command, cwd=stack.ROOT, check=True)


def variables(endpoint: str) -> dict[str, str]:
    """Return the functions' environment: the template's text values, and those that the stack would add."""
    of_template: Mapping[str, Any] = template["Globals"]["Function"]["Environment"]["Variables"]
    return {name: value for name, value in of_template.items() if isinstance(value, str)} | {
        "TABLE_NAME": TABLE_NAME,
        "POWERTOOLS_SERVICE_NAME": "benchmark",
        "POWERTOOLS_LOG_LEVEL": "INFO",
        "AWS_ENDPOINT_URL_DYNAMODB": endpoint,
    }


def event_file(name: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((stack.ROOT / "events" / f"{name}.json").read_text())
    return event


def of_account(event: dict[str, Any], account: str) -> dict[str, Any]:
    """Return the event with the account, as after the authorizer."""
    context = event["requestContext"]
    return event | {"requestContext": context | {"authorizer": context["authorizer"] | {"account": account}}}


def request(event_type: str, name: str) -> dict[str, Any]:
    """Return what API Gateway sends for an event of events/. The plain one has 1 KB; each order is new."""
    event = event_file(event_type)
    body = json.loads(event["body"])
    payload = body["event"][event_type]
    if event_type == PLAIN:
        payload |= {f"attribute{n}": "with a usual value" for n in range(22)}
    if event_type == "confirmation":
        del payload["generic"]  # which has orderId and total in their other place
        payload |= {"orderId": f"{os.getpid()}-{next(orders)}", "total": "19.90"}
    return of_account(event | {"body": json.dumps(body)}, RIVALS_ACCOUNT if name in RIVALS else ACCOUNT)


# --- What is measured -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Bench:
    python: str
    variables: Mapping[str, str]
    subjects: Mapping[str, Subject]
    first_events: dict[str, dict[str, Any]] = field(default_factory=lambda: {"UserFunction": event_file("user-get")})
    """The first event of a function, by its name; the others get a plain one."""

    @contextlib.contextmanager
    def started(
        self, name: str, first: Mapping[str, Any] | None = None, memory: int | None = None
    ) -> Iterator[Function]:
        subject = self.subjects[name]
        settings = {**self.variables, **subject.variables}
        first = first or self.first_events.get(name) or request(PLAIN, name)
        with execution_environment(self.python, subject.folders, subject.handler, settings, first, memory) as function:
            yield function

    def new_key(self) -> str:
        with self.started("KeyFunction", {"action": "create", "account": ACCOUNT}) as function:
            key: str = function.start.answer["apiKey"]
            return key

    def comparison(self, starts: int, rounds: int, requests: int) -> Iterator[str]:
        others = [name for name in (POWERTOOLS, BEFORE) if name in self.subjects]
        titles = ["what", "ours", "bare", *(f"{name} / bare" for name in ("ours", *others))]
        yield from (f"| {' | '.join(titles)} |", "| --- " * len(titles) + "|")
        found = self.starts(starts)
        for name in (*OURS, NOT_COMPILED):
            for what, measure in MEASURES.items():
                compared = [found[each] if name == EVENT_FUNCTION else [] for each in others]
                values = ([measure(start) for start in each] for each in (found[name], found[BARE], *compared))
                yield row(f"{what}, {name}", "ms", *values)
        bursts, memory = self.bursts(rounds, requests)
        subjects = (EVENT_FUNCTION, BARE, *others)
        for what in ("cpu_milliseconds", "milliseconds"):
            for event_type in EVENT_TYPES:
                each_burst = (bursts.get((name, event_type), ()) for name in subjects)
                values = ([getattr(burst, what) for burst in each] for each in each_burst)
                yield row(f"warm {'time' if what == 'milliseconds' else 'CPU'}, {event_type}", "ms", *values)
        yield row("peak memory", "MB", *([memory[name]] for name in subjects))
        size = megabytes(self.subjects[EVENT_FUNCTION].folders[0])
        yield f"| package, unzipped | {size:.1f} MB |{' |' * len(titles[2:])}"

    def starts(self, times: int) -> dict[str, list[Start]]:
        """Measure how long new execution environments need to answer their first event."""
        names = [name for name in self.subjects if name != "KeyFunction"]
        found: dict[str, list[Start]] = {name: [] for name in names}
        for _ in range(times):
            for name in random.sample(names, len(names)):
                with self.started(name) as function:
                    assert_answered(function.start.answer)
                    found[name].append(function.start)
        return found

    def bursts(self, rounds: int, requests: int) -> tuple[dict[tuple[str, str], list[Burst]], dict[str, float]]:
        """Bursts of requests by function and event type, and the function's peak memory after them."""
        found: dict[tuple[str, str], list[Burst]] = {}
        with contextlib.ExitStack() as environments:
            names = [name for name in (BARE, EVENT_FUNCTION, POWERTOOLS, BEFORE) if name in self.subjects]
            functions = {name: environments.enter_context(self.started(name)) for name in names}
            pairs = [(name, each) for each in EVENT_TYPES for name in names if name != POWERTOOLS or each == PLAIN]
            for name, event_type in pairs:
                burst(functions[name], [request(event_type, name) for _ in range(WARM_UP)])
            for _ in range(rounds):
                for name, event_type in random.sample(pairs, len(pairs)):
                    events = [request(event_type, name) for _ in range(requests)]
                    found.setdefault((name, event_type), []).append(burst(functions[name], events))
            return found, {name: function.peak_megabytes() for name, function in functions.items()}

    def memory_curve(self, starts: int, requests: int) -> Iterator[str]:
        yield f"| EventFunction with | init | first request | {PLAIN}, warm | Lambda, US$ a million |"
        yield "| --- | --- | --- | --- | --- |"
        for memory in MEMORY:
            found, warm = [], []
            try:
                for _ in range(max(1, starts // 5)):
                    with self.started(EVENT_FUNCTION, memory=memory) as function:
                        found.append(function.start)
                        burst(function, [request(PLAIN, EVENT_FUNCTION) for _ in range(WARM_UP)])
                        events = [request(PLAIN, EVENT_FUNCTION) for _ in range(requests)]
                        warm.append(burst(function, events).milliseconds)
            except NotAllowed as reason:
                yield f"| {memory} MB | not measured: it needs root and control groups ({reason}) | | | |"
                return
            price = REQUEST_PRICE + median(warm) / 1000 * memory / 1024 * GIGABYTE_SECOND_PRICE
            init, first = (median(getattr(each, what) for each in found) for what in ("init", "first"))
            yield f"| {memory} MB | {init:.0f} ms | {first:.0f} ms | {median(warm):.1f} ms | {price * 1e6:.2f} |"


def burst(function: Function, events: Sequence[Mapping[str, Any]]) -> Burst:
    begun, cpu_begun = time.perf_counter(), function.cpu_seconds()
    for event in events:
        answer = function.invoke(event)
        assert_answered(answer)
    seconds, cpu_seconds = time.perf_counter() - begun, function.cpu_seconds() - cpu_begun
    return Burst(seconds * 1000 / len(events), cpu_seconds * 1000 / len(events))


def assert_answered(answer: Any) -> None:
    assert answer.get("statusCode") == 200 or answer.get("principalId") == ACCOUNT, answer


# --- How it is told -------------------------------------------------------------------------------


def megabytes(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6


MEASURES: Mapping[str, Callable[[Start], float]] = {
    "init": lambda start: start.init,
    "first request": lambda start: start.first,
    "**their sum**": lambda start: start.total,
    "CPU of both": lambda start: start.cpu,
}


def row(what: str, unit: str, ours: Sequence[float], bare: Sequence[float], *others: Sequence[float]) -> str:
    values = f"{median(ours):.1f} {unit} | {median(bare):.1f} {unit}"
    # Ratios of consecutive runs, so that a slow minute counts for both.
    ratios = [f"{median(map(truediv, each, bare)):.2f} |" if each else "|" for each in (ours, *others)]
    return f"| {what} | {values} | {' '.join(ratios)}"


if __name__ == "__main__":
    sys.exit(main())
