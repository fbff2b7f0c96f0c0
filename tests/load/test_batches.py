"""Many callers send the everyday mix in full batches, to functions on AWS's own engine. Afterwards every item of the
table is compared with what the callers were answered, and the memory of the functions with what it was.
"""

from collections import Counter
from typing import TYPE_CHECKING
from uuid import uuid4

from domain.table.calls import Table
from engines import new_table
from figures import STRESS, Figures
from load.callers import Request, send_all, until_settled
from load.functions import functions
from load.model import Model, is_replay, told
from load.traffic import BATCH, Traffic
from local import aws

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

BATCHES = 10 * STRESS
CALLERS = 200
PROCESSES = 4
SEED = 20261124
EVENTS_OF_A_USER = 100  # so that no profile gets full
ONE_IN_TWENTY = 0.05
WARM = 0.2  # of a process's answers, until what is kept once is there
MAX_GROWTH = 16_000_000  # bytes afterwards, however many the answers were: freed memory that is not given back


def test_batches_of_many_callers_leave_what_they_were_answered_and_nothing_else(
    dynamodb_local_client: "DynamoDBClient", figures: Figures
) -> None:
    with new_table(dynamodb_local_client, f"batches-{uuid4()}") as table:
        environment = aws.environment(dynamodb_local_client.meta.endpoint_url) | {"TABLE_NAME": table.name}
        with functions(PROCESSES, environment, "shop") as shop:
            traffic = Traffic(shop, SEED)
            regulars = traffic.customers(max(20, BATCHES * BATCH // EVENTS_OF_A_USER))
            batches = traffic.everyday_batches(regulars, BATCHES, repeated=ONE_IN_TWENTY)
            exchanges = send_all(shop, batches, CALLERS, PROCESSES, until_settled)
            growth = max(map(grown, shop.resident.values()))
            events = traffic.signed_up + list(told(exchanges))
            model = Model(events)
            found = model.violations(lambda path: shop.send(Request("GET", path))) + wrong_items(model, table)
    created = sum(each.answer.headers["X-Event-Status"] == "created" and not is_replay(each) for each in events)
    again = sum(each.answer.status != 200 for each in exchanges)
    figures(
        "`test_batches.py`",
        f"{BATCHES * BATCH:,} events in {len(exchanges):,} batches of {CALLERS} callers, {again:,} to be sent again; "
        f"{created:,} created; every item compared; a process grew by {growth / 1e6:.1f} MB after a fifth of them",
        len(found),
    )
    assert found == []
    assert growth < MAX_GROWTH


def grown(resident: list[int]) -> int:
    return resident[-1] - resident[int(len(resident) * WARM)]


def wrong_items(model: Model, table: Table) -> list[str]:
    """Whether there are more items than what the model knows of, or less. DynamoDB Local counts them exactly."""
    people = model.people.values()
    must = Counter(profiles=len(people), emails=sum(bool(person.email) for person in people), key=2)
    must["events"] = sum(len(person.events) for person in people)
    must["orders"] = sum(len(person.of_type("confirmation")) for person in people)
    must["windows"] = sum(bool(person.of_type("emailopen")) for person in people)
    there = table.client.describe_table(TableName=table.name)["Table"]["ItemCount"]
    return [] if there == must.total() else [f"{there} items, not {must}"]
