"""Callers of the API: threads with one connection each. Their answers are recorded."""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from decimal import Decimal
from http.client import HTTPConnection, HTTPMessage
from threading import Lock, Semaphore
from typing import Any, Protocol, Self
from urllib.parse import urlsplit

AT_FIRST = 4
IDLE_SECONDS = 2  # the emulator closes a connection that was idle for 5


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    body: Any = None
    key: str | None = None
    """The Idempotency-Key."""


@dataclass(frozen=True)
class Outcome:
    status: int
    headers: Mapping[str, str] | HTTPMessage
    body: Any
    """Its numbers are Decimals."""
    seconds: float


@dataclass(frozen=True)
class Exchange:
    request: Request
    answer: Outcome


class Sender(Protocol):
    def send(self, request: Request) -> Outcome: ...


@dataclass(frozen=True)
class Api:
    url: str
    key: str

    def connection(self) -> "Connection":
        return Connection(self)


class Target(Protocol):
    def connection(self) -> AbstractContextManager[Sender]: ...


def once(connection: Sender, request: Request) -> Iterator[Exchange]:
    yield Exchange(request, connection.send(request))


def until_settled(connection: Sender, request: Request) -> Iterator[Exchange]:
    """As the contract says (section 8): a batch is sent again after a 5xx, and as long as an event of it `failed`."""
    answer = connection.send(request)
    yield Exchange(request, answer)
    while answer.status >= 500 or any(result["status"] == "failed" for result in answer.body["results"]):
        time.sleep(int(answer.headers["Retry-After"]))
        answer = connection.send(request)
        yield Exchange(request, answer)


def send_all(
    target: Target,
    requests: Iterable[Request],
    callers: int,
    at_once: int,
    send: Callable[[Sender, Request], Iterator[Exchange]] = once,
) -> list[Exchange]:
    """Every request with its answer, in the order of the answers. A request is made when a caller is free. Raises what
    a caller without an answer raises.
    """
    waiting, taking, done, slots = iter(requests), Lock(), list[Exchange](), Slots(at_once)

    def take() -> Request | None:
        with taking:
            return next(waiting, None)

    def call(_: int) -> None:
        with target.connection() as connection:
            while True:
                with slots:
                    request = take()
                    if request is None:
                        return
                    done.extend(send(connection, request))

    with ThreadPoolExecutor(callers) as pool:
        list(pool.map(call, range(callers)))
    return done


class Slots:
    """How many requests are under way at once: a few at first, one more after each answer, up to a limit."""

    def __init__(self, limit: int) -> None:
        self._free = Semaphore(min(AT_FIRST, limit))
        self._to_come = limit - AT_FIRST
        self._lock = Lock()

    def __enter__(self) -> None:
        self._free.acquire()

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._to_come -= 1
            grows = self._to_come >= 0
        self._free.release(2 if grows else 1)


class Connection:
    """Stays open from one request to the next."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.url = urlsplit(api.url)
        self.connection = HTTPConnection(self.url.netloc, timeout=60)
        self.used = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def send(self, request: Request) -> Outcome:
        if time.monotonic() - self.used > IDLE_SECONDS:
            self.connection.close()  # the next request opens it again
        headers = {"Authorization": self.api.key} | ({"Idempotency-Key": request.key} if request.key else {})
        body = None if request.body is None else json.dumps(request.body)
        begun = time.monotonic()
        self.connection.request(request.method, self.url.path + request.path, body, headers)
        response = self.connection.getresponse()
        text = response.read()
        self.used = time.monotonic()
        return Outcome(response.status, response.headers, parsed(text), self.used - begun)


def parsed(text: str | bytes) -> Any:
    """Parse JSON with every number as an exact Decimal."""
    return json.loads(text, parse_int=Decimal, parse_float=Decimal)
