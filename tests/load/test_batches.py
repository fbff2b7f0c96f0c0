"""Many callers send the everyday mix in full batches, to functions on AWS's own engine.

Afterwards every profile and event is compared with the callers' answers. All other items are counted, and the memory of
the functions is compared with the start.
"""

from collections import Counter
from typing import TYPE_CHECKING
from uuid import uuid4

from engines import new_table
from figures import STRESS, Figures
from load.callers import Request, send_all
from load.functions import functions
from load.model import Model, is_replay, told
from load.traffic import BATCH, Traffic
from local import aws
from table.calls import Table

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

BATCHES = 10 * STRESS
CALLERS = 200
PROCESSES = 4
SEED = 20261124
EVENTS_OF_A_USER = 100  # so that no profile gets full
ONE_IN_TWENTY = 0.05
WARM = 0.2  # of a process's answers, until what is kept once is there
READ = 100_000  # items; to read a million takes DynamoDB Local hours
MAX_GROWTH = 16_000_000  # bytes afterwards, for any number of answers: freed memory that is not given back


def test_batches_of_many_callers_leave_what_they_were_answered_and_nothing_else(
    dynamodb_local_client: "DynamoDBClient", figures: Figures
) -> None:
    with new_table(dynamodb_local_client, f"batches-{uuid4()}") as table:
        environment = aws.environment(dynamodb_local_client.meta.endpoint_url) | {"TABLE_NAME": table.name}
        with functions(PROCESSES, environment, "shop") as shop:
            traffic = Traffic(shop, SEED)
            regulars = traffic.customers(max(20, BATCHES * BATCH // EVENTS_OF_A_USER))
            batches = traffic.everyday_batches(regulars, BATCHES, repeated=ONE_IN_TWENTY)
            exchanges = send_all(shop, batches, CALLERS)
            growth = max(map(grown, shop.resident.values()))
            events = traffic.signed_up + list(told(exchanges))
            model = Model(events)
            found = model.violations(lambda path: shop.send(Request("GET", path))) + wrong_items(model, table)
    created = sum(each.answer.headers["X-Event-Status"] == "created" and not is_replay(each) for each in events)
    again = sum(each.answer.status != 200 for each in exchanges)
    figures(
        "`test_batches.py`",
        f"{BATCHES * BATCH:,} events in {len(exchanges):,} batches of {CALLERS} callers, {again:,} to be sent again; "
        f"{created:,} created; profiles and timelines compared, items counted; "
        f"a process grew by {growth / 1e6:.1f} MB after a fifth of them",
        len(found),
    )
    assert found == []
    assert growth < MAX_GROWTH


def grown(resident: list[int]) -> int:
    return resident[-1] - resident[int(len(resident) * WARM)]


def wrong_items(model: Model, table: Table) -> list[str]:
    """How many items there are, by kind if they can be read in time, and how many there must be."""
    people = model.people.values()
    types = Counter(event.type for person in people for event in person.events.values())
    must = Counter(EVENT=types.total(), PROFILE=len(people), ORDER=types["confirmation"])
    must["EMAIL"] = sum(bool(person.email) for person in people)
    must["EMAILOPEN"] = sum(bool(person.of_type("emailopen")) for person in people)
    count = table.client.describe_table(TableName=table.name)["Table"]["ItemCount"]  # DynamoDB Local's is exact
    if count != must.total():
        return [f"{count} items, not {must}"]
    if count > READ:
        return []
    pages = table.client.get_paginator("scan").paginate(TableName=table.name, ProjectionExpression="sk")
    there = Counter(item["sk"]["S"].partition("#")[0] for page in pages for item in page["Items"])
    return [f"{there[kind]} items {kind}, not {must[kind]}" for kind in must | there if there[kind] != must[kind]]
