"""Compare batches with the same events one by one: python -m benchmark.batches [--rounds 5]

Both run alternately in this process, through the use case and against DynamoDB Local. So the ratios compare the
function's own work and its waiting. Needs Java and `npm install`. Prints the median of the ratios of each.
"""

import argparse
import math
import os
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count
from statistics import median
from typing import Any

from domain.ids import new_id
from domain.outcomes import Outcome
from domain.request import EventRequest, parse_request
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
        print("| events | CPU, batch / one by one | time, batch / one by one |")
        print("| --- | --- | --- |")
        for name, event, people in cases():
            ratios = [ratio(account, event, people) for _ in range(rounds)]
            cpu, wall = (median(each) for each in zip(*ratios, strict=True))
            print(f"| {name} | {cpu:.2f} | {wall:.2f} |")


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


def ratio(account: Account, event: Callable[[int], Event], people: Sequence[str]) -> tuple[float, float]:
    """CPU time and wall time of a batch, as shares of what its events take one by one."""

    def one_by_one() -> None:
        for number, email in enumerate(people):
            collect_one(request(event(number), email), account, now())

    def batch() -> None:
        outcomes = collect([request(event(number), email) for number, email in enumerate(people)], account, now())
        assert all(isinstance(outcome, Outcome) and outcome.status == "created" for outcome in outcomes)

    single, together = measured(one_by_one), measured(batch)
    return together[0] / single[0], together[1] / single[1]


def request(event: Event, email: str) -> EventRequest:
    """An event with an id of the caller's."""
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
