"""The memory of a function's process does not grow with the requests that it has answered.

Each value by which something could be cached is new in each request: emails, orderIds, keys, names, user agents.
"""

import gc
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from api.gateway import ENVELOPE, call, event_file, invoke, post_event, timeline, user
from builders import ANA
from engines import new_table
from local import aws
from local.stack import ROOT

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

pytestmark = pytest.mark.long
WARM, REQUESTS = 480, 240  # bounded caches of Python and its libraries grow during the first thousand requests
LIMIT = 100  # bytes a request: an object of 1 KB kept from one request in ten is too much
SEARCH = {"search": {"query": "x"}}


def under_key(number: int) -> int:
    headers = {**ENVELOPE["headers"], "Idempotency-Key": f"key-{number}"}
    return post_event({"confirmation": {"orderId": f"K-{number}", "total": "0.10"}}, headers=headers).status


def unknown_key(number: int) -> int:
    event = event_file("authorizer") | {"authorizationToken": f"unknown-{number}"}
    return {"Deny": 401}[invoke("AuthorizerFunction", event)["policyDocument"]["Statement"][0]["Effect"]]


REQUEST: list[tuple[int, Callable[[int], int]]] = [
    (200, lambda n: call("POST", "/user", {"email": f"person{n}@example{n}.com", f"attribute{n}": n}).status),
    (200, lambda n: post_event({"update": {f"attribute{n % 50}": f"{n}", "tags": [f"tag{n % 50}"]}}).status),
    (200, under_key),
    (200, lambda n: post_event(SEARCH, {"email": ANA, "userAgent": f"Googlebot/{n}"}).status),
    (200, lambda _: timeline(ANA, {"limit": "10"}).status),
    (404, lambda n: post_event(SEARCH, {"email": f"nobody{n}@example.com"}).status),
    (404, lambda n: user("GET", f"nobody{n}@example.com").status),
    (404, lambda n: call("GET", "/{proxy+}", path=f"/v1/nothing/{n}").status),
    (400, lambda n: post_event({f"unknown{n}": {}}).status),
    (400, lambda n: post_event({"confirmation": {f"attribute{n}": n}}).status),
    (400, lambda n: call("POST", "/event", f'{{"user": {n}').status),
    (401, unknown_key),
]


def traced(numbers: range) -> int:
    """Send the requests with these numbers; return how many bytes all objects of Python take then."""
    for number in numbers:
        status, request = REQUEST[number % len(REQUEST)]
        assert request(number) == status, number % len(REQUEST)
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def grown() -> int:
    assert call("POST", "/user", {"email": ANA}).status == 200
    traced(range(WARM))
    tracemalloc.start()
    before = traced(range(WARM, 2 * WARM))
    return traced(range(2 * WARM, 2 * WARM + REQUESTS)) - before


def test_a_process_does_not_grow_with_the_requests_it_answers(dynamodb_local_client: "DynamoDBClient") -> None:
    """Run in a separate process, where nothing collects what the functions print."""
    with new_table(dynamodb_local_client, f"memory-{uuid4()}") as table:
        env = aws.environment(dynamodb_local_client.meta.endpoint_url) | {
            "PYTHONPATH": os.pathsep.join(str(ROOT / folder) for folder in (".", "src", "tests")),
            "POWERTOOLS_SERVICE_NAME": "test",
            "TABLE_NAME": table.name,
        }
        command = [sys.executable, "-m", "api.test_memory"]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.splitlines()[-1]) < LIMIT * REQUESTS


if __name__ == "__main__":
    print(grown())
