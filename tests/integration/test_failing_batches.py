"""Contract section 8: what one event of a batch meets harms no other, and what was settled stays so when it is sent
again.
"""

import json
from typing import Any

from botocore.awsrequest import AWSPreparedRequest

from builders import ANA, a_user, an_entry, send, send_batch, the_profile
from domain import users
from domain.outcomes import IdempotencyKey, Outcome
from domain.problems import Refused
from domain.table import Account
from engines import aws_engine_only
from faults import Fault, cancelled, faults, throttled

MANY = 20  # more attempts than are made
HALF = "x" * 200_000  # two of them are more than a profile holds


def told(outcomes: list[Outcome | Refused]) -> list[str]:
    """The status of each event, or the code of its problem."""
    return [each.status if isinstance(each, Outcome) else each.problems[0].code for each in outcomes]


def throttled_order(order_id: str) -> Fault:
    """Too much traffic for the mark of one order, in whatever transaction it is."""

    def answer(request: AWSPreparedRequest) -> Any:
        assert isinstance(request.body, bytes)
        actions = json.loads(request.body)["TransactItems"]
        marks = [action.get("Put", {}).get("Item", {}).get("pk") for action in actions]
        busy = [mark == {"S": f"shop#ORDER#{order_id}"} for mark in marks]
        return cancelled(*("ThrottlingError" if each else "None" for each in busy))(request) if any(busy) else None

    return answer


@aws_engine_only
def test_an_item_that_is_throttled_fails_its_own_event_and_the_later_changes(account: Account) -> None:
    a_user(account)
    orders = [an_entry({"confirmation": {"orderId": order_id, "total": 1}}) for order_id in ("1", "2", "3")]
    with faults(account.table.client, "TransactWriteItems", *[throttled_order("2")] * MANY):
        assert told(send_batch(account, orders)) == ["created", "unavailable", "unavailable"]
    assert the_profile(account)["numberOfPurchases"] == 1
    assert told(send_batch(account, orders)) == ["duplicate", "created", "created"]


@aws_engine_only
def test_a_repeat_is_a_duplicate_although_the_profile_has_no_room_for_it_any_more(account: Account) -> None:
    user_id = a_user(account).id
    first = an_entry({"update": {"a": HALF}}, _id=user_id)
    assert told(send_batch(account, [first])) == ["created"]
    users.remove_attribute(ANA, "a", account)
    send(account, {"update": {"b": HALF}}, _id=user_id)
    assert told(send_batch(account, [first, an_entry({"update": {"c": HALF}}, _id=user_id)])) == [
        "duplicate",
        "item_too_large",
    ]


@aws_engine_only
def test_a_repeat_under_a_key_gets_its_answer_although_the_profile_has_no_room_any_more(account: Account) -> None:
    user_id, key = a_user(account).id, IdempotencyKey.of("key", b"body")
    first = send(account, {"update": {"a": HALF}}, key=key, _id=user_id)
    users.remove_attribute(ANA, "a", account)
    send(account, {"update": {"b": HALF}}, _id=user_id)
    again = send(account, {"update": {"a": HALF}}, key=key, _id=user_id)
    assert (again.status, again.replayed, again.event_id) == ("created", True, first.event_id)


@aws_engine_only
def test_after_a_login_that_failed_no_change_of_whom_it_names_is_made(account: Account) -> None:
    """Of its user, of the one who has the address, and of whom the address would name."""
    a_user(account)
    anonymous = a_user(account, None).id
    of_ana = [an_entry({"login": {"email": ANA, "a": 0}}, _id=anonymous), an_entry({"update": {"a": 1}}, email=ANA)]
    claims = [an_entry({"login": {"email": "b@example.com"}}, _id=anonymous)]
    named = [*claims, an_entry({"update": {"a": 1}}, email="b@example.com")]
    after = [an_entry({"update": {"a": 1}}, _id=anonymous), *claims]
    for batch in (of_ana, named, after):
        with faults(account.table.client, "TransactWriteItems", *[throttled_with(batch[0])] * MANY):
            assert told(send_batch(account, batch)) == ["unavailable", "unavailable"]


def throttled_with(entry: dict[str, Any]) -> Fault:
    """Too much traffic, in whatever transaction this event is."""

    def answer(request: AWSPreparedRequest) -> Any:
        assert isinstance(request.body, bytes)
        return throttled(request) if entry["eventId"].encode() in request.body else None

    return answer


@aws_engine_only
def test_a_login_is_a_duplicate_although_its_user_has_got_another_address_since(account: Account) -> None:
    a_user(account)
    anonymous = a_user(account, None).id
    batch = [
        an_entry({"login": {"email": ANA, "a": 1}}, eventId="e-1", _id=anonymous),
        an_entry({"login": {"email": "b@example.com"}}, _id=anonymous),
    ]
    assert told(send_batch(account, batch)) == ["created", "created"]
    assert told(send_batch(account, batch)) == ["duplicate", "duplicate"]
    assert "a" not in the_profile(account, anonymous)
