"""Compare batches with the same events one by one: python -m benchmark.batches [--rounds 5].

Both run alternately in this process, through the use case and against DynamoDB Local. So the ratios compare the
function's own work and its waiting. Needs Java and `npm install`. Prints the median of the ratios of each, and
the number of DynamoDB calls of the batch. Also prints the CPU time of storing 1 MB of orders of one user, compared with
parsing them.
"""

import argparse
import contextlib
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count
from statistics import median
from typing import Any

from domain.ids import new_id
from domain.outcomes import Outcome
from domain.problems import Refused
from domain.request import EventRequest, parse_batch, parse_request
from domain.times import to_the_millisecond
from local import aws, dynamodb
from table import Account
from table.calls import Table, new_client
from use_cases import users
from use_cases.collect import collect, collect_one

TABLE_NAME = "batches"
PEOPLE = [f"user-{number}@example.com" for number in range(100)]
PLAIN = {"search": {"query": "x" * 900}}

Event = dict[str, Any]
Case = tuple[str, Callable[[int], Event], Sequence[str]]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmark.batches", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds: int = parser.parse_args().rounds
    with dynamodb.running() as endpoint:
        os.environ |= aws.environment(endpoint) | {"AWS_ENDPOINT_URL_DYNAMODB": endpoint}
        dynamodb.create_table(aws.client("dynamodb", endpoint), TABLE_NAME)
        account = Account(Table(new_client(), TABLE_NAME, math.inf), "shop")
        for email in PEOPLE:
            users.create({"email": email}, account, now())
        print("| events | CPU, batch / one by one | time, batch / one by one | calls, batch |")
        print("| --- | --- | --- | --- |")
        for name, event, people in cases():
            ratios = [ratio(account, event, people) for _ in range(rounds)]
            cpu, wall, calls = (median(each) for each in zip(*ratios, strict=True))
            print(f"| {name} | {cpu:.2f} | {wall:.2f} | {calls:.0f} |")
        shares = [share_of_parsing(account) for _ in range(rounds)]
        print(f"\n100 orders of one user in 1 MB: storing takes {median(shares):.1f} x the CPU of parsing")


def cases() -> list[Case]:
    orders = count()
    return [
        ("100 plain events of 1 KB, of 100 users", lambda _: PLAIN, PEOPLE),
        (
            "30 confirmations of 30 users",
            lambda _: {"confirmation": {"orderId": str(next(orders)), "total": Decimal("59.9")}},
            PEOPLE[:30],
        ),
        ("30 updates of one user", lambda number: {"update": {f"attribute{number}": Decimal(number)}}, PEOPLE[:1] * 30),
    ]


def ratio(account: Account, event: Callable[[int], Event], people: Sequence[str]) -> tuple[float, float, int]:
    """Return the CPU time and the wall time of a batch, as shares of its events one by one, and its calls."""

    def one_by_one() -> None:
        for number, email in enumerate(people):
            collect_one(request(event(number), email), account, now())

    def batch() -> None:
        assert_created(collect([request(event(number), email) for number, email in enumerate(people)], account, now()))

    single = measured(one_by_one)
    with counted(account) as calls:
        together = measured(batch)
    return together[0] / single[0], together[1] / single[1], len(calls)


def share_of_parsing(account: Account) -> float:
    """Return the CPU time of storing a batch of 1 MB, as a share of parsing its JSON and its events."""
    items = [{"itemId": f"SKU-{number}", "price": 1.5 + number, "quantity": number} for number in range(170)]
    moment = now()
    entries = [
        {
            "eventId": new_id(moment),
            "user": {"email": PEOPLE[0]},
            "event": {"confirmation": {"orderId": new_id(moment), "total": "59.9", "items": items}},
        }
        for _ in range(100)
    ]
    body = json.dumps({"events": entries}).encode()
    requests: list[EventRequest | Refused] = []

    def parse() -> None:
        sent = json.loads(body, parse_int=Decimal, parse_float=Decimal)
        requests.extend(parse_batch(sent, moment, lambda _: None))

    parsing, _ = measured(parse)
    storing, _ = measured(lambda: assert_created(collect(requests, account, moment)))
    return storing / parsing


def assert_created(outcomes: Sequence[object]) -> None:
    assert all(isinstance(outcome, Outcome) and outcome.status == "created" for outcome in outcomes)


@contextlib.contextmanager
def counted(account: Account) -> Iterator[list[str]]:
    """Yield the list to which the names of DynamoDB calls are added."""
    calls: list[str] = []

    def count(event_name: str, **_: Any) -> None:
        calls.append(event_name)

    account.table.client.meta.events.register("before-call.dynamodb", count)
    yield calls
    account.table.client.meta.events.unregister("before-call.dynamodb", count)


def request(event: Event, email: str) -> EventRequest:
    """Return a request with an event that has an id of the caller."""
    moment = now()
    return parse_request({"eventId": new_id(moment), "user": {"email": email}, "event": event}, moment)


def measured(work: Callable[[], None]) -> tuple[float, float]:
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - cpu, time.perf_counter() - wall


def now() -> datetime:
    return to_the_millisecond(datetime.now(UTC))


if __name__ == "__main__":
    main()
