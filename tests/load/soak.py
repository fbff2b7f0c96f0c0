"""Measure how much the memory of a function's process grows, request after request.

    python -m load.soak REQUESTS FILE       in the environment of a function; writes a Growth as JSON to the file

The functions are the real ones, called as API Gateway does, also with requests that they refuse. Every value by which
something could be cached is new each time: emails, orderIds, keys, names of attributes, user agents.
"""

import gc
import json
import os
import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from api.gateway import ENVELOPE, call, event_file, invoke, post_event, timeline, user

STARTED, WARM = 300, 600  # requests until all is imported, and until what is kept once is there
ANA = {"email": "ana@example.com"}
BOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"


@dataclass(frozen=True)
class Growth:
    """In bytes for each 1,000 requests after the warm-up."""

    traced: float
    """What Python objects take, exactly."""
    resident: float
    """What the process takes, which the allocator and the kernel round."""


def post(body: Any) -> int:
    return call("POST", "/event", body).status


def under_key(number: int) -> int:
    headers = {**ENVELOPE["headers"], "Idempotency-Key": f"key-{number}"}
    return post_event({"confirmation": {"orderId": f"K-{number}", "total": "0.10"}}, headers=headers).status


def unknown_key(number: int) -> int:
    event = event_file("authorizer") | {"authorizationToken": f"unknown-{number}"}
    [statement] = invoke("AuthorizerFunction", event)["policyDocument"]["Statement"]
    return 401 if statement["Effect"] == "Deny" else 200


REQUESTS: list[tuple[int, Callable[[int], int]]] = [
    (200, lambda n: call("POST", "/user", {"email": f"person{n}@example{n}.com", f"attribute{n}": n}).status),
    (200, lambda n: post_event({"search": {"query": f"{n}"}}).status),
    (200, lambda n: post_event({"update": {f"attribute{n % 50}": f"{n}", "tags": [f"tag{n % 50}"]}}).status),
    (200, lambda n: post_event({"login": {"city": f"{n}"}}).status),
    (200, lambda n: post_event({"emailOpen": {"newsletter": n}}).status),
    (200, lambda n: post_event({"confirmation": {"orderId": f"A-{n}", "total": "19.99"}}).status),
    (200, lambda _: post_event({"confirmation": {"orderId": "A-1"}}).status),
    (200, under_key),
    (200, lambda n: post_event({"search": {"query": "x"}}, {**ANA, "userAgent": f"{BOT} {n}"}).status),
    (200, lambda _: user("GET", ANA["email"]).status),
    (200, lambda _: timeline(ANA["email"], {"limit": "10"}).status),
    (404, lambda n: post_event({"search": {"query": "x"}}, {"email": f"nobody{n}@example.com"}).status),
    (404, lambda n: user("GET", f"nobody{n}@example.com").status),
    (404, lambda n: call("GET", "/{proxy+}", path=f"/v1/nothing/{n}").status),
    (400, lambda _: post({"user": ANA})),
    (400, lambda n: post_event({f"unknown{n}": {}}).status),
    (400, lambda n: post_event({"confirmation": {f"attribute{n}": n}}).status),
    (400, lambda n: post_event({"search": {"query": "x"}}, {"email": f"no address {n}"}).status),
    (400, lambda n: post(f'{{"user": {n}')),
    (401, unknown_key),
]


def send(numbers: range) -> None:
    for number in numbers:
        status, request = REQUESTS[number % len(REQUESTS)]
        answered = request(number)
        assert answered == status, f"request {number % len(REQUESTS)} of REQUESTS was answered with {answered}"


def memory() -> tuple[int, int]:
    """Bytes traced, and bytes resident."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return tracemalloc.get_traced_memory()[0], pages * os.sysconf("SC_PAGE_SIZE")


def growth(requests: int) -> Growth:
    assert call("POST", "/user", ANA).status == 200
    send(range(STARTED))
    tracemalloc.start()
    send(range(STARTED, WARM))
    before = memory()
    send(range(WARM, WARM + requests))
    traced, resident = (1000 * (end - start) / requests for start, end in zip(before, memory(), strict=True))
    return Growth(traced, resident)


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(asdict(growth(int(sys.argv[1])))))
