"""The client that only obeys (contract, section 8) over HTTP, while connections are cut and the stack goes and comes.

The stack is stopped as `make run` stops it, and killed in the middle of its work. The data is on DynamoDB Local,
because it outlives a stack, as DynamoDB does. The emulator's own tables do not.
"""

import contextlib
import http.client
import json
import os
import signal
import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from builders import an_entry
from figures import STRESS, Figures
from local import dynamodb, stack

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

SEED = 20261124
BATCHES, ROUNDS = 12, STRESS  # in each round the stack is stopped once, and killed once
PATIENCE = 120  # seconds until a batch is settled
EMAILS = [f"user{n}@example.com" for n in range(4)]
ASK_AGAIN = (429, 500, 502, 503, 504)  # on AWS, template.yaml makes a 503 of the emulator's 502 and 504

pytestmark = pytest.mark.http


@dataclass
class Network:
    """Cuts every third connection, before the request is sent or before its answer is read."""

    random: Random
    running: stack.Stack | None = None
    """None while it restarts: nobody listens."""
    key: str = ""
    cut: Counter[str] = field(default_factory=Counter)

    def post(self, path: str, body: Any) -> tuple[int, Any] | None:
        it = self.running
        fate = self.random.choice(["goes well", "goes well", "goes well", "goes well", "request lost", "answer lost"])
        if it is None or fate == "request lost":
            self.cut["no connection" if it is None else fate] += 1
            time.sleep(0.05)
            return None
        url = urlsplit(it.api_url)
        connection = http.client.HTTPConnection(url.netloc, timeout=30)
        with contextlib.closing(connection):
            try:
                connection.request("POST", url.path + path, json.dumps(body), {"Authorization": self.key})
                response = connection.getresponse()
                answer = response.status, json.loads(response.read())
            except (OSError, http.client.HTTPException, ValueError):
                self.cut["broken by a stop"] += 1
                time.sleep(0.05)
                return None
        if fate == "answer lost":
            self.cut[fate] += 1
            return None
        return answer


def settle(network: Network, batch: list[dict[str, Any]]) -> list[dict[str, Any]]:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        answer = network.post("/events/", {"events": batch})
        if answer is None or answer[0] in ASK_AGAIN:
            continue
        status, body = answer
        if status == 207 and any(result["status"] == "failed" for result in body["results"]):
            continue
        assert status == 200, body
        results: list[dict[str, Any]] = body["results"]
        return results
    raise AssertionError("a batch was not settled")


def batches(random: Random, how_many: int) -> list[list[dict[str, Any]]]:
    numbers = iter(range(100_000))

    def event() -> dict[str, Any]:
        number = next(numbers)
        update = {"update": {f"a{number}": number, "last": number}}
        order = {"confirmation": {"orderId": number, "total": 1}}
        return random.choice([update, order, {"search": {"query": f"{number}"}}])

    return [
        [an_entry(event(), email=random.choice(EMAILS)) for _ in range(random.randint(1, 30))] for _ in range(how_many)
    ]


def test_a_client_that_only_obeys_stores_each_event_once_though_the_stack_is_stopped_and_killed(
    tmp_path: Path, dynamodb_local_client: "DynamoDBClient", figures: Figures
) -> None:
    random = Random(SEED)
    network, sent, settled = Network(random), batches(random, BATCHES * STRESS), Counter[str]()
    parameters = {"DynamoDBEndpoint": dynamodb_local_client.meta.endpoint_url}

    def send_all() -> None:
        for batch in sent:
            settled.update(result["status"] for result in settle(network, batch))

    pool = ThreadPoolExecutor(1)
    ends = [stop, kill] * ROUNDS
    for number, end in enumerate([*ends, None]):
        with stack.running(folder=tmp_path, parameters=parameters) as it:
            if number == 0:
                network.key = opened(it, dynamodb_local_client)
                client = pool.submit(send_all)
            network.running = it
            if end is None:
                client.result()
                compare(it, network.key, sent)
            else:
                wait_for(client, settled, (number + 1) * len(sent) // (len(ends) + 1), sent)
                end(it)
        network.running = None
    events = sum(map(len, sent))
    assert settled.total() == events, settled
    assert settled.keys() <= {"created", "duplicate"}
    cut = ", ".join(f"{name}: {times}" for name, times in sorted(network.cut.items()))
    tried = f"{events:,} events in {len(sent):,} batches; {ROUNDS} stops, {ROUNDS} kills; {cut}"
    figures("`test_restarts.py`", tried, 0)


def opened(it: stack.Stack, client: "DynamoDBClient") -> str:
    """A key for the shop, which has its users."""
    dynamodb.create_table(client, stack.outputs(it.endpoint)["TableName"])
    key = it.create_key("restarts")
    for email in EMAILS:
        look(it, key, "POST", "/user/", {"email": email})
    return key


def stop(_: stack.Stack) -> None:
    """The block's end does it."""


def kill(it: stack.Stack) -> None:
    os.killpg(it.emulator.pid, signal.SIGKILL)


def wait_for(client: Future[None], settled: Counter[str], how_many: int, sent: list[list[dict[str, Any]]]) -> None:
    enough = sum(map(len, sent[:how_many]))
    while not client.done() and settled.total() < enough:
        time.sleep(0.02)


def compare(it: stack.Stack, key: str, sent: list[list[dict[str, Any]]]) -> None:
    """Each event is in its user's timeline once, and the profile is as the last update left it."""
    for email in EMAILS:
        own = [entry for batch in sent for entry in batch if entry["user"] == {"email": email}]
        found: list[str] = []
        query = "?limit=100"
        while query:
            page = look(it, key, "GET", f"/user/{email}/events{query}")
            found += [event["_id"] for event in page["events"]]
            query = f"?limit=100&cursor={page['cursor']}" if "cursor" in page else ""
        assert Counter(found) == Counter(entry["eventId"] for entry in own)
        profile = look(it, key, "GET", f"/user/{email}")
        updates = [entry["event"]["update"] for entry in own if "update" in entry["event"]]
        assert {name: profile[name] for update in updates for name in update} == {
            name: value for update in updates for name, value in update.items()
        }
        orders = sum("confirmation" in entry["event"] for entry in own)
        assert profile.get("numberOfPurchases", 0) == profile.get("totalPurchasesValue", 0) == orders


def look(it: stack.Stack, key: str, method: str, path: str, body: Any = None) -> Any:
    url = urlsplit(it.api_url)
    connection = http.client.HTTPConnection(url.netloc, timeout=60)
    with contextlib.closing(connection):
        connection.request(method, url.path + path, body and json.dumps(body), {"Authorization": key})
        response = connection.getresponse()
        assert response.status == 200
        return json.loads(response.read())
