"""For any fault between the function and DynamoDB, the answer is true and nothing is half-stored."""

import time
from typing import Any

import pytest

from builders import a_moment, a_user, send, the_events, the_profile
from declared import RESTRICTED, Once, Windowed, every_restriction, with_declared_types
from domain.ids import new_id
from domain.outcomes import IdempotencyKey
from domain.problems import NotFound, Unavailable
from domain.times import milliseconds_of
from engines import aws_engine_only, client_of
from faults import Fault, cancelled, done_then, error, faults, lost_answer, no_connection, raw, throttled, without_token
from table import Account
from table.calls import Table
from use_cases import users

pytestmark = [aws_engine_only, with_declared_types, pytest.mark.usefixtures("ana")]

EVENTS: list[dict[str, Any]] = [
    {"search": {"query": "x"}},
    {"update": {"colour": "red"}},
    {"confirmation": {"orderId": "A-1", "total": 10}},
    *(kind.event() for kind in RESTRICTED[1:]),
]
every_event = pytest.mark.parametrize("event", EVENTS, ids=lambda event: next(iter(event)))
# The first attempt is done but its answer is lost; then the engine knows the second one by its token, or does not.
with_and_without_token = pytest.mark.parametrize(
    "lost", [[lost_answer], [lost_answer, without_token(lambda _: None)]], ids=["token", "no token"]
)


@pytest.fixture
def account(table: Table) -> Account:
    """With the client that the functions use, and its retries. A test injects faults into it alone."""
    return Account(Table(client_of(table.client.meta.endpoint_url), table.name, time.monotonic() + 600), "shop")


def write_of(event: dict[str, Any], key: IdempotencyKey | None) -> str:
    return "PutItem" if "search" in event and key is None else "TransactWriteItems"


def in_time(account: Account, seconds: float) -> Account:
    """The same store for a request that has this much time left."""
    return Account(Table(account.table.client, account.table.name, time.monotonic() + seconds), account.name)


@every_event
@pytest.mark.parametrize("key", [None, IdempotencyKey.of("key", b"body")], ids=["no key", "key"])
@with_and_without_token
def test_a_write_whose_answer_was_lost_is_reported_as_created_once(
    account: Account, event: dict[str, Any], key: IdempotencyKey | None, lost: list[Fault]
) -> None:
    with faults(account.table.client, write_of(event, key), *lost) as attempts:
        answer = send(account, event, key=key)
    assert len(attempts) == 2
    assert (answer.restriction, answer.replayed) == (None, False)
    assert the_events(account) == [answer.event_id]
    if "confirmation" in event:
        assert the_profile(account)["numberOfPurchases"] == 1


@with_and_without_token
def test_users_change_as_asked_though_the_answers_were_lost(account: Account, lost: list[Fault]) -> None:
    client = account.table.client
    bob, cleo = "bob@example.com", "cleo@example.com"
    with faults(client, "TransactWriteItems", *lost):
        assert a_user(account, bob).id == the_profile(account, bob)["_id"]
    with faults(client, "TransactWriteItems", *lost):
        anonymous = a_user(account, None)
    with faults(client, "TransactWriteItems", *lost):
        answer = send(account, {"login": {"email": cleo}}, _id=anonymous.id)
    assert (answer.user_id, answer.warnings) == (anonymous.id, ())
    assert the_profile(account, cleo)["_id"] == anonymous.id
    assert the_events(account, cleo) == [answer.event_id]
    with faults(client, "TransactWriteItems", *lost):
        users.erase(cleo, account, a_moment())
    with pytest.raises(NotFound):
        users.get(cleo, account)


@pytest.mark.parametrize("event", [EVENTS[0], EVENTS[2]], ids=["put", "transaction"])
@pytest.mark.parametrize("fault", [throttled, error("InternalServerError", 500), no_connection])
def test_only_a_fault_that_stays_is_unavailable(account: Account, event: dict[str, Any], fault: Fault) -> None:
    with faults(account.table.client, write_of(event, None), fault, fault), pytest.raises(Unavailable):
        send(account, event)
    assert the_events(account) == []
    with faults(account.table.client, write_of(event, None), fault) as attempts:
        assert send(account, event).restriction is None
    assert len(attempts) == 2
    assert len(the_events(account)) == 1


@pytest.mark.parametrize(
    "fault",
    [
        cancelled("None", "TransactionConflict", "None"),
        cancelled("None", "ThrottlingError", "None"),
        cancelled("None", "ProvisionedThroughputExceeded", "None"),
        error("TransactionInProgressException"),  # under our token
    ],
    ids=["conflict", "throttled", "over its limit", "in progress"],
)
def test_a_transaction_that_stays_in_trouble_is_unavailable_in_time(account: Account, fault: Fault) -> None:
    for event in EVENTS[1:]:
        with faults(account.table.client, "TransactWriteItems", *[fault] * 500), pytest.raises(Unavailable):
            send(in_time(account, 0.3), event)
    assert the_events(account) == []


def test_no_call_starts_after_the_deadline(account: Account) -> None:
    with faults(account.table.client, "GetItem") as attempts, pytest.raises(Unavailable):
        send(in_time(account, 0), {"search": {"query": "x"}})
    assert attempts == []


@every_restriction
@pytest.mark.parametrize("other", ["None TransactionConflict", "TransactionConflict None", "None ThrottlingError"])
def test_of_mixed_reasons_a_failed_condition_is_the_answer(account: Account, other: str, kind: Once | Windowed) -> None:
    """The condition of a mark, or of a lock: the reason has the item that is there, and what each needs."""
    now, until = a_moment(), milliseconds_of(a_moment()) + 9 * 60 * 1000
    item = {"eventId": {"S": new_id(now)}, "until": {"N": str(until)}}
    before, after = other.split()
    reasons = cancelled(before, {"Code": "ConditionalCheckFailed", "Item": item}, after)
    with faults(account.table.client, "TransactWriteItems", reasons) as attempts:
        assert send(account, kind.event(), now).restriction
    assert len(attempts) == 1


HTML = b"<html><body><b>Http/1.1 Service Unavailable</b></body></html>"
GARBAGE = {
    "nothing": raw(b""), "half": raw(b'{"Item'), "a list": raw(b"[]"), "no text": raw(b"\xff"), "HTML": raw(HTML),
    "400 and HTML": raw(HTML, 400), "503 and HTML": raw(HTML, 503), "503 and no text": raw(b"\xff", 503),
}  # fmt: skip


@pytest.mark.parametrize("garbage", GARBAGE)
@pytest.mark.parametrize("operation", ["GetItem", "TransactWriteItems"])
def test_garbage_is_unavailable_and_a_repeat_tells_the_truth(account: Account, operation: str, garbage: str) -> None:
    key, search = IdempotencyKey.of("key", b"body"), {"search": {"query": "x"}}
    fault = done_then(GARBAGE[garbage])
    with faults(account.table.client, operation, fault, fault), pytest.raises(Unavailable):
        send(account, search, key=key)
    repeat = send(account, search, key=key)
    assert repeat.replayed == (operation == "TransactWriteItems")
    assert the_events(account) == [repeat.event_id]
