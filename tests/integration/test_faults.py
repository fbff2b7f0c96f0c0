"""For any fault between the function and DynamoDB, the answer is true and nothing is half-stored."""

import time
from datetime import datetime
from typing import Any

import pytest

from builders import ANA, a_moment, a_user, send, the_events, the_profile
from declared import RESTRICTED, with_declared_types
from domain.ids import new_id
from domain.outcomes import IdempotencyKey
from domain.problems import NotFound, Unavailable
from domain.times import milliseconds_of
from engines import aws_engine_only
from faults import (
    Fault,
    cancelled,
    done_then,
    error,
    faults,
    internal_error,
    lost_answer,
    no_connection,
    raw,
    throttled,
    without_token,
)
from table import Account
from table.calls import Table, new_client
from use_cases import users

pytestmark = [aws_engine_only, with_declared_types]

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
with_and_without_key = pytest.mark.parametrize("key", [None, IdempotencyKey.of("key", b"body")], ids=["no key", "key"])


@pytest.fixture
def account(table: Table, monkeypatch: pytest.MonkeyPatch) -> Account:
    """With the client that the functions use: its time limits and its retries."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", table.client.meta.endpoint_url)
    return Account(Table(new_client(), table.name, time.monotonic() + 600), "shop")


def write_of(event: dict[str, Any], key: IdempotencyKey | None) -> str:
    return "PutItem" if "search" in event and key is None else "TransactWriteItems"


def about_to_give_up(account: Account) -> Account:
    """The same store for a request whose time is nearly up."""
    return Account(Table(account.table.client, account.table.name, time.monotonic() + 0.3), account.name)


@every_event
@with_and_without_key
@with_and_without_token
def test_a_write_whose_answer_was_lost_is_reported_as_created_once(
    account: Account, event: dict[str, Any], key: IdempotencyKey | None, lost: list[Fault]
) -> None:
    a_user(account)
    with faults(account.table.client, write_of(event, key), *lost) as attempts:
        answer = send(account, event, key=key)
    assert len(attempts) == 2
    assert (answer.restriction, answer.replayed) == (None, False)
    assert the_events(account) == [answer.event_id]
    if "confirmation" in event:
        assert the_profile(account)["numberOfPurchases"] == 1


@with_and_without_token
def test_a_claimed_address_is_the_claimants_though_the_answer_was_lost(account: Account, lost: list[Fault]) -> None:
    anonymous = a_user(account, None)
    with faults(account.table.client, "TransactWriteItems", *lost):
        answer = send(account, {"login": {"email": ANA}}, _id=anonymous.id)
    assert (answer.user_id, answer.warnings) == (anonymous.id, ())
    assert the_profile(account)["_id"] == anonymous.id
    assert the_events(account) == [answer.event_id]


@with_and_without_token
@pytest.mark.parametrize("email", [ANA, None])
def test_a_user_is_created_though_the_answer_was_lost(account: Account, email: str | None, lost: list[Fault]) -> None:
    with faults(account.table.client, "TransactWriteItems", *lost):
        made = a_user(account, email)
    assert the_profile(account, made.id)["_id"] == made.id


@with_and_without_token
def test_a_user_is_erased_though_the_answer_was_lost(account: Account, lost: list[Fault]) -> None:
    a_user(account)
    with faults(account.table.client, "TransactWriteItems", *lost):
        users.erase(ANA, account, a_moment())
    with pytest.raises(NotFound):
        users.get(ANA, account)


@pytest.mark.parametrize("event", [EVENTS[0], EVENTS[2]], ids=["put", "transaction"])
@pytest.mark.parametrize("fault", [throttled, internal_error, no_connection], ids=["throttled", "500", "no connection"])
def test_a_fault_that_passes_is_not_noticed_and_one_that_stays_is_unavailable(
    account: Account, event: dict[str, Any], fault: Fault
) -> None:
    a_user(account)
    with faults(account.table.client, write_of(event, None), fault, fault), pytest.raises(Unavailable):
        send(account, event)
    assert the_events(account) == []
    with faults(account.table.client, write_of(event, None), fault) as attempts:
        assert send(account, event).restriction is None
    assert len(attempts) == 2
    assert len(the_events(account)) == 1


def test_a_lasting_conflict_is_unavailable_before_the_time_is_up(account: Account) -> None:
    a_user(account)
    conflict = cancelled("None", "TransactionConflict", "None")
    with faults(account.table.client, "TransactWriteItems", *[conflict] * 500), pytest.raises(Unavailable):
        send(about_to_give_up(account), {"confirmation": {"orderId": "A-1"}})
    assert the_events(account) == []


MET = "ConditionalCheckFailed"


def met(now: datetime) -> dict[str, Any]:
    """The reason, with a mark or a lock that is there, and what each needs."""
    until = milliseconds_of(now) + 15 * 60 * 1000
    return {"Code": MET, "Item": {"eventId": {"S": new_id(now)}, "until": {"N": str(until)}}}


@pytest.mark.parametrize(
    ("reasons", "event"),
    [
        (("None", MET, "TransactionConflict"), {"confirmation": {"orderId": "A-1"}}),
        (("TransactionConflict", MET, "None"), {"emailopen": {}}),
        (("None", MET, "ThrottlingError"), {"emailopen": {}}),
        (("None", MET, "TransactionConflict"), {"review": {"reviewId": "A-1"}}),
        (("TransactionConflict", MET, "None"), {"emailclick": {}}),
    ],
)
def test_of_mixed_reasons_a_failed_condition_is_the_answer(
    account: Account, reasons: tuple[str, ...], event: dict[str, Any]
) -> None:
    a_user(account)
    told = [met(a_moment()) if reason == MET else reason for reason in reasons]
    with faults(account.table.client, "TransactWriteItems", cancelled(*told)) as attempts:
        answer = send(account, event)
    assert answer.restriction
    assert len(attempts) == 1


@pytest.mark.parametrize("code", ["ThrottlingError", "ProvisionedThroughputExceeded"])
def test_a_transaction_that_is_throttled_is_unavailable(account: Account, code: str) -> None:
    a_user(account)
    reasons = cancelled("None", code, "None")
    with faults(account.table.client, "TransactWriteItems", reasons, reasons), pytest.raises(Unavailable):
        send(account, {"emailopen": {}})


def test_a_transaction_still_in_progress_under_our_token_is_unavailable_at_worst(account: Account) -> None:
    a_user(account)
    in_progress = error("TransactionInProgressException")
    with faults(account.table.client, "TransactWriteItems", *[in_progress] * 5), pytest.raises(Unavailable):
        send(account, {"emailopen": {}})


def test_no_call_starts_after_the_deadline(account: Account) -> None:
    a_user(account)
    late = Account(Table(account.table.client, account.table.name, time.monotonic()), "shop")
    with faults(account.table.client, "GetItem") as attempts, pytest.raises(Unavailable):
        send(late, {"search": {"query": "x"}})
    assert attempts == []


HTML = b"<html><body><b>Http/1.1 Service Unavailable</b></body></html>"
GARBAGE = {
    "nothing": raw(b""), "half": raw(b'{"Item'), "a list": raw(b"[]"), "no text": raw(b"\xff"), "HTML": raw(HTML),
    "400 and HTML": raw(HTML, 400), "503 and HTML": raw(HTML, 503), "503 and no text": raw(b"\xff", 503),
}  # fmt: skip


@pytest.mark.parametrize("garbage", GARBAGE)
@pytest.mark.parametrize("operation", ["GetItem", "TransactWriteItems"])
def test_an_answer_that_is_none_is_unavailable_and_a_repeat_tells_the_truth(
    account: Account, operation: str, garbage: str
) -> None:
    a_user(account)
    key, search = IdempotencyKey.of("key", b"body"), {"search": {"query": "x"}}
    fault = done_then(GARBAGE[garbage])
    with faults(account.table.client, operation, fault, fault), pytest.raises(Unavailable):
        send(account, search, key=key)
    repeat = send(account, search, key=key)
    assert repeat.replayed == (operation == "TransactWriteItems")
    assert the_events(account) == [repeat.event_id]
