"""The functions without a network: processes that do one request at a time, as Lambda's execution environments do."""

import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPMessage
from multiprocessing import get_context
from pathlib import Path
from time import monotonic
from urllib.parse import parse_qsl, urlsplit

from load.callers import Outcome, Request, parsed


@dataclass(frozen=True)
class Functions:
    """`resident` has, for each process, the bytes that it took after each of its answers."""

    processes: ProcessPoolExecutor
    account: str
    resident: dict[int, list[int]] = field(default_factory=dict)

    @contextmanager
    def connection(self) -> Iterator["Functions"]:
        yield self

    def send(self, request: Request) -> Outcome:
        body = None if request.body is None else json.dumps(request.body)
        begun = monotonic()
        done = self.processes.submit(answer, request.method, request.path, body, self.account).result()
        self.resident.setdefault(done.process, []).append(done.resident)
        headers = HTTPMessage()
        for name, value in done.headers:
            headers[name] = value
        return Outcome(done.status, headers, parsed(done.text), monotonic() - begun)


@contextmanager
def functions(processes: int, environment: Mapping[str, str], account: str) -> Iterator[Functions]:
    """The functions in so many processes, called for the account."""
    with ProcessPoolExecutor(processes, get_context("spawn"), begin, (dict(environment),)) as pool:
        yield Functions(pool, account)


# --- In the processes -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Done:
    status: int
    headers: list[tuple[str, str]]
    text: str
    process: int
    resident: int


def begin(environment: dict[str, str]) -> None:
    """Set the environment before the handlers are imported, which read it once. Discard what they print."""
    os.environ.update(environment)
    sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 as long as the process lives


def answer(method: str, path: str, body: str | None, account: str) -> Done:
    from api.gateway import call

    url = urlsplit(path)
    resource = re.sub("^/user/[^/]+", "/user/{id}", url.path.rstrip("/"))
    parts = {"pathParameters": {"id": path.split("/")[2]}, "queryStringParameters": dict(parse_qsl(url.query))}
    got = call(method, resource, body, account, **parts)
    return Done(got.status, list(got.headers.items()), got.text, os.getpid(), resident())


def resident() -> int:
    """Bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
