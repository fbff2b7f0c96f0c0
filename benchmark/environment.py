"""A function in AWS's runtime interface emulator, with AWS's runtime client for Python. For Linux.

with execution_environment(python, [task, runtime], "event_api.handler", variables, {"body": ...}) as function:
    print(function.start)
    function.invoke({"body": ...})
    print(function.cpu_seconds(), function.peak_megabytes())
"""

import contextlib
import http.client
import json
import os
import platform
import re
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import samcli.local.rapid

from benchmark.cpu_share import limited
from local import aws, stack

START_SECONDS = 60
INVOKE_PATH = "/2015-03-31/functions/function/invocations"
INIT_REPORT = re.compile(r"INIT REPORT\(durationMs: ([0-9.]+)\)")


@dataclass(frozen=True)
class Start:
    """The parts of a cold start that a caller waits for, in milliseconds."""

    init: float
    """From the start of the process until it asked for its first event."""
    first: float
    """From that request until the first event was answered."""
    cpu: float
    """The time of the processor in both parts."""
    answer: Any

    @property
    def total(self) -> float:
        return self.init + self.first


@dataclass(frozen=True)
class Function:
    connection: http.client.HTTPConnection
    process: Path
    start: Start

    def invoke(self, event: Mapping[str, Any]) -> Any:
        return invoke(self.connection, event)

    def cpu_seconds(self) -> float:
        return cpu_seconds(self.process)

    def peak_megabytes(self) -> float:
        found = re.search(r"VmHWM:\s+(\d+) kB", (self.process / "status").read_text())
        assert found
        return int(found[1]) / 1024


@contextlib.contextmanager
def execution_environment(
    python: str,
    folders: Sequence[Path],
    handler: str,
    variables: Mapping[str, str],
    first: Mapping[str, Any],
    memory: int | None = None,
) -> Iterator[Function]:
    """Start a function with its first event. Raise StackError and NotAllowed.

    With a memory size in megabytes, its CPU is limited as on Lambda.
    """
    port, runtime_port = stack.free_port(), stack.free_port()
    command = [
        *("--runtime-interface-emulator-address", f"{aws.HOST}:{port}"),
        *("--runtime-api-address", f"{aws.HOST}:{runtime_port}"),
        *(python, "-m", "awslambdaric", handler),
    ]
    with tempfile.TemporaryDirectory() as work:
        emulator, log = executable_copy(Path(work)), Path(work) / "log"
        with log.open("w") as output:
            process = subprocess.Popen(
                [emulator, *command], env=environment(folders, variables), cwd=work, stdout=output, stderr=output
            )
        try:
            scarcity = limited(process.pid, memory) if memory else contextlib.nullcontext()
            with contextlib.closing(connect(port, process)) as connection, scarcity:
                yield start(connection, process.pid, log, first)
        finally:
            process.terminate()
            process.wait()


def start(connection: http.client.HTTPConnection, emulator_pid: int, log: Path, event: Mapping[str, Any]) -> Function:
    begun = time.perf_counter()
    answer = invoke(connection, event)
    milliseconds = (time.perf_counter() - begun) * 1000
    process = child_of(emulator_pid)
    cpu = cpu_seconds(process) * 1000
    found = INIT_REPORT.search(log.read_text())
    if not found:
        raise stack.StackError(f"The function did not start:\n{log.read_text()}")
    init = float(found[1])
    return Function(connection, process, Start(init, milliseconds - init, cpu, answer))


def invoke(connection: http.client.HTTPConnection, event: Mapping[str, Any]) -> Any:
    connection.request("POST", INVOKE_PATH, json.dumps(event))
    result = json.load(connection.getresponse())
    assert "errorType" not in result, result
    return result


def child_of(emulator_pid: int) -> Path:
    """Return the process of the function, a child of the emulator."""
    tasks = Path(f"/proc/{emulator_pid}/task").glob("*/children")
    [pid] = [child for task in tasks for child in task.read_text().split()]
    return Path("/proc") / pid


def cpu_seconds(process: Path) -> float:
    """Spent so far, by the program and by the kernel for it."""
    return sum(int(each.read_text().split()[0]) for each in process.glob("task/*/schedstat")) / 1e9


def executable_copy(folder: Path) -> Path:
    """Return an executable copy of the SAM CLI's emulator, which is installed as not executable."""
    architecture = {"aarch64": "arm64"}.get(platform.machine(), platform.machine())
    emulator = folder / "aws-lambda-rie"
    emulator.write_bytes((Path(samcli.local.rapid.__path__[0]) / f"aws-lambda-rie-{architecture}").read_bytes())
    emulator.chmod(stat.S_IRWXU)
    return emulator


def environment(folders: Sequence[Path], variables: Mapping[str, str]) -> dict[str, str]:
    """As in Lambda, whose folder of the function cannot be written to."""
    return {
        "PATH": os.defpath,
        "PYTHONPATH": os.pathsep.join(map(str, folders)),
        "PYTHONDONTWRITEBYTECODE": "1",
        "AWS_REGION": aws.REGION,
        "AWS_DEFAULT_REGION": aws.REGION,
        "AWS_ACCESS_KEY_ID": aws.ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": aws.SECRET_KEY,
        "AWS_LAMBDA_FUNCTION_TIMEOUT": "60",
        **variables,
    }


def connect(port: int, process: "subprocess.Popen[bytes]") -> http.client.HTTPConnection:
    deadline = time.monotonic() + START_SECONDS
    while True:
        connection = http.client.HTTPConnection(aws.HOST, port, timeout=START_SECONDS)
        with contextlib.suppress(OSError):
            connection.connect()
            return connection
        if process.poll() is not None or time.monotonic() > deadline:
            raise stack.StackError("The runtime interface emulator did not start")
        time.sleep(0.02)
