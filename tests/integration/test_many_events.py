"""Very many events in batches with upserts: DynamoDB has exactly what was sent, item by item.

The model of batches mixes few events in every way. This test compares many: 1,000 events for each STRESS.
"""

from collections.abc import Iterator
from random import Random
from typing import Any
from uuid import uuid4

from boto3.dynamodb.types import TypeDeserializer
from mypy_boto3_dynamodb import DynamoDBClient

from builders import an_entry, as_sent, send_batch
from domain.outcomes import Outcome
from engines import aws_engine_only, new_table
from figures import STRESS, Figures
from stored import everything
from table import Account

BATCHES = 10
SIZE = 100
SEED = 20261130


def entries(random: Random, number: int) -> Iterator[dict[str, Any]]:
    """Yield a batch of about 20 new users: 98 plain events and two orders, with up to eight fields."""
    for index in range(SIZE):
        fields: dict[str, Any] = {
            f"field{n}": random.choice(["é", n / 8, True, None, [n], {"in": n}]) for n in range(random.randrange(8))
        }
        event = {"confirmation": {"orderId": f"{number}-{index}", "total": index / 4, "items": []} | fields}
        if index >= 2:
            event = {"search": {"query": f"shoes {index}"} | fields}
        yield an_entry(event, email=f"customer-{number}-{random.randrange(SIZE // 5)}@example.com")


@aws_engine_only
def test_many_events_in_batches_with_upserts_are_stored_as_they_were_sent(
    engine: DynamoDBClient, figures: Figures
) -> None:
    random, compared = Random(SEED), 0
    for _ in range(STRESS):
        with new_table(engine, f"many-{uuid4()}") as table:
            account = Account(table, "shop")
            expected: dict[tuple[str, str], Any] = {}
            for number in range(BATCHES):
                batch = list(entries(random, number))
                for repeat in range(1 + (number == 0)):
                    outcomes = send_batch(account, batch, upsert=True)
                    assert {isinstance(each, Outcome) and each.status for each in outcomes} == {
                        "duplicate" if repeat else "created"
                    }
                for sent, outcome in zip(batch, outcomes, strict=True):
                    assert isinstance(outcome, Outcome)
                    [(name, payload)] = sent["event"].items()
                    user, email = f"shop#USER#{outcome.user_id}", sent["user"]["email"]
                    expected[user, f"EVENT#{sent['eventId']}"] = (name, as_sent(payload))
                    expected[f"shop#EMAIL#{email}", "EMAIL"] = outcome.user_id
                    bought = expected.setdefault((user, "PROFILE"), [email, 0, 0.0])
                    if name == "confirmation":
                        expected[f"shop#ORDER#{payload['orderId']}", "ORDER"] = sent["eventId"]
                        bought[1:] = bought[1] + 1, bought[2] + payload["total"]
            stored = {(item["pk"]["S"], item["sk"]["S"]): shown(item) for item in everything(table)}
            assert stored == expected
            compared += len(stored)
    events = STRESS * BATCHES * SIZE
    figures("`test_many_events.py`", f"{events:,} events in batches with upserts, {compared:,} items compared", 0)


def shown(item: dict[str, Any]) -> Any:
    """Return of an item what the caller decided."""
    match item["sk"]["S"]:
        case "PROFILE":
            number, total = (item.get(name, {"N": "0"})["N"] for name in ("numberOfPurchases", "totalPurchasesValue"))
            return [item["email"]["S"], int(number), float(total)]
        case "EMAIL":
            return item["userId"]["S"]
        case "ORDER":
            return item["eventId"]["S"]
    return item["type"]["S"], TypeDeserializer().deserialize(item["payload"])
