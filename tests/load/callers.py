"""Callers of the API: threads with one connection each. Their answers are recorded."""

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from decimal import Decimal
from http.client import HTTPMessage
from threading import Lock
from typing import Any, Protocol


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


class Target(Protocol):
    def connection(self) -> AbstractContextManager[Sender]: ...


def until_settled(connection: Sender, request: Request) -> Iterator[Exchange]:
    """As the contract says (section 8): a batch is sent again after a 5xx, and as long as an event of it `failed`."""
    answer = connection.send(request)
    yield Exchange(request, answer)
    while answer.status >= 500 or any(result["status"] == "failed" for result in answer.body["results"]):
        time.sleep(int(answer.headers["Retry-After"]))
        answer = connection.send(request)
        yield Exchange(request, answer)


def send_all(target: Target, requests: Iterable[Request], callers: int) -> list[Exchange]:
    """Send every request, and return each with its answer, in the order of the answers. A request is made when a caller
    is free. Raises what a caller without an answer raises.
    """
    waiting, taking, done = iter(requests), Lock(), list[Exchange]()

    def take() -> Request | None:
        with taking:
            return next(waiting, None)

    def call(_: int) -> None:
        with target.connection() as connection:
            while request := take():
                done.extend(until_settled(connection, request))

    with ThreadPoolExecutor(callers) as pool:
        list(pool.map(call, range(callers)))
    return done


def parsed(text: str | bytes) -> Any:
    """Parse JSON with every number as an exact Decimal."""
    return json.loads(text, parse_int=Decimal, parse_float=Decimal)
