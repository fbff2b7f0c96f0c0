"""Contract section 8: the check of a batch predicts the result of each event and changes nothing.

hypothesis generates batches of every kind of event, on users and orders of 1.0 or of an earlier batch. On AWS's own
engine, which measures items and evaluates conditions as DynamoDB does.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from builders import ANA, a_moment, a_user, an_entry, send_batch
from declared import with_declared_types
from domain.ids import new_id
from domain.outcomes import Outcome
from domain.problems import Problem, Refused, TooLarge
from engines import aws_engine_only, new_table
from figures import STRESS, Figures
from stored import ACCOUNT, a_profile_of_1_0, everything, put
from table import Account
from table.overlay import Overlay

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

pytestmark = with_declared_types

EXAMPLES = 60 * STRESS
BOB, OLD, NEW = "bob@example.com", "old@example.com", "new@example.com"
ANONYMOUS, OF_1_0 = "01900000-0000-7000-8000-000000000000", "01900000-0000-7000-8000-000000000001"
MANY = {f"a{n}": n for n in range(101)}  # more than one expression can set

values = st.sampled_from([None, True, 1, "0.10", "x" * 50_000, "x" * 200_000, {"a.b": [{"#": None}]}])
attributes = st.dictionaries(st.sampled_from(["colour", "size", "a.b", "tel", "_id", "isCustomer"]), values, max_size=3)
tags = st.lists(st.sampled_from(["vip", "-vip", "new", "-new"]), max_size=2)
totals = st.sampled_from([None, 1, "0.10", "many"])
order_ids = st.sampled_from(["A-1", "A-2", 7, ""])
payloads: dict[str, st.SearchStrategy[Any]] = {
    "search": st.builds(dict, query=st.sampled_from(["x", "y", 7, None])),
    "viewitem": st.builds(dict, itemId=values),
    "update": st.one_of(st.builds(lambda sent, tags: {**sent, "tags": tags}, attributes, tags), st.just(MANY)),
    "login": st.builds(lambda sent, email: {**sent, "email": email}, attributes, st.sampled_from([ANA, BOB, NEW, "x"])),
    "confirmation": st.builds(dict, orderId=order_ids, total=totals),
    "refund": st.builds(dict, refundId=order_ids),
    "emailopen": st.builds(dict),
    "emailclick": st.builds(dict),
    "nonsense": st.builds(dict),
}
events = st.sampled_from(sorted(payloads)).flatmap(lambda name: payloads[name].map(lambda payload: {name: payload}))
people = st.sampled_from([
    {"email": ANA}, {"email": ANA}, {"email": ANA}, {"email": BOB}, {"email": OLD}, {"_id": ANONYMOUS}, {"_id": OF_1_0},
    {"email": NEW}, {"email": ANA, "_id": ANONYMOUS}, {"email": "x"}, {"email": ANA, "userAgent": "Googlebot/2.1"},
    {"email": ANA, "city": "Vigo"}, {"_id": ANONYMOUS, "city": "Vigo"},
])  # fmt: skip
minutes = st.sampled_from([0, 0, 0, 0, -1, -5, -6, -10, -19, -20, -25, -60, 4, 6, -60 * 24 * 40])
# A user, an event, minutes from now, and which of a few ids it has: now and then one comes again.
NO_ID, NOTHING = 0, -1
numbers = st.sampled_from([*range(1, 20), NO_ID, NOTHING])
sketches = st.tuples(people, events, minutes, numbers)
batches = st.lists(sketches, min_size=1, max_size=7)


# A profile that is nearly full, attributes that do not fit, and an event without a user.
FULL: Any = ({"email": ANA}, {"update": {"colour": "x" * 200_000, "size": "x" * 190_000}}, 0, 1)
MORE: Any = ({"email": ANA}, {"update": {"a.b": "x" * 50_000}}, 0, 2)
SEARCH: Any = ({"email": ANA}, {"search": {"query": "x"}}, 0, 3)
MISPLACED: Any = ({"email": NEW}, {"search": {"query": "x"}}, 0, 4)


def batch(sketched: Sequence[Any], now: datetime) -> list[Any]:
    """Return the entries of a batch, some without an id or not objects, which are refused."""
    entries: list[Any] = []
    for user, event, offset, number in sketched:
        entry = an_entry(event, eventTime=now + timedelta(minutes=offset), eventId=f"e-{number}") | {"user": user}
        if number == NO_ID:
            del entry["eventId"]
        entries.append(entry if number != NOTHING else "nothing")
    return entries


def told(outcome: Outcome | Refused) -> tuple[object, ...] | Outcome:
    """All that an answer is made of."""
    if isinstance(outcome, Outcome):
        return outcome
    problems: tuple[Problem, ...] = outcome.problems
    return type(outcome), problems, outcome.event_type


def test_a_check_tells_what_comes_of_the_batch_and_leaves_every_byte(
    dynamodb_local_client: "DynamoDBClient", figures: Figures
) -> None:
    counted: Counter[str] = Counter()

    @settings(deadline=None, max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
    @given(first=batches, second=batches, later=st.sampled_from([0, 10, 30]), imported=st.booleans())
    @example(first=[FULL, SEARCH], second=[MORE, FULL, SEARCH, MISPLACED], later=0, imported=False)
    def foretells(first: list[Any], second: list[Any], later: int, imported: bool) -> None:
        now = a_moment()
        with new_table(dynamodb_local_client, f"check-{uuid4()}") as table:
            account = Account(table, ACCOUNT)
            a_user(account), a_user(account, BOB, colour="x" * 100_000)
            put(table, *a_profile_of_1_0(OF_1_0, OLD, now - timedelta(days=9), {"colour": "red"}))
            put(table, *a_profile_of_1_0(ANONYMOUS, None, now - timedelta(days=9)))
            put(table, an_order_of_1_0("A-2", now))
            again = [*first[:2], *second] if later == 0 else second
            for sketched, moment in ((first, now), (again, now + timedelta(minutes=later))):
                entries = batch(sketched, moment)
                before = everything(table)
                above = replace(account, table=Overlay.over(table))
                foretold = send_batch(above, entries, moment, imported=imported)
                assert everything(table) == before
                done = send_batch(account, entries, moment, imported=imported)
                assert list(map(told, foretold)) == list(map(told, done))
                counted.update(each.status if isinstance(each, Outcome) else type(each).__name__ for each in done)

    foretells()
    assert {"created", "duplicate", "discarded", "Invalid", "NotFound", "TooLarge"} <= counted.keys()
    assert not {"Failed", "Unavailable"} & counted.keys()
    of_each = ", ".join(f"{outcome}: {number:,}" for outcome, number in sorted(counted.items()))
    figures("`test_check.py`", f"{counted.total():,} events checked and then sent, {of_each}", 0)


@aws_engine_only
@pytest.mark.parametrize(("number", "size"), [(1, 2), (10, 2), (12, 2), (123, 3), (1.5, 3), (0.1, 2), (-1, 3)])
def test_a_check_measures_numbers_as_the_table_does(number: float, size: int, account: Account) -> None:
    """In a list each takes a byte more. The rest of the item takes less than 400 bytes."""
    a_user(account)
    fits, too_many = (400 * 1024 - 400) // (size + 1), 400 * 1024 // (size + 1)
    entries = [an_entry({"search": {"query": "x", "n": [number] * count}}) for count in (fits, too_many)]
    for each in (replace(account, table=Overlay.over(account.table)), account):
        created, refused = send_batch(each, entries)
        assert isinstance(created, Outcome)
        assert isinstance(refused, TooLarge)


def an_order_of_1_0(order_id: str, now: datetime) -> dict[str, Any]:
    key = {"pk": {"S": f"{ACCOUNT}#ORDER#{order_id}"}, "sk": {"S": "ORDER"}}
    return {**key, "eventId": {"S": new_id(now - timedelta(days=9))}}
