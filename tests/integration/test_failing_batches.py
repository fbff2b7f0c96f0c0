"""Contract section 8: what one event of a batch meets harms no other, and what was settled stays so when it is sent
again.
"""

import json
import time
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest

from builders import ANA, EMAIL_OPEN_WINDOW, a_moment, a_user, an_entry, send, send_batch, the_events, the_profile
from domain.outcomes import IdempotencyKey, Outcome
from domain.problems import Refused, unavailable
from engines import aws_engine_only
from faults import Fault, cancelled, faults, meanwhile, throttled
from table import Account
from table.calls import Table, new_client
from use_cases import users
from use_cases.collect import ATTEMPTS

MANY = 20  # more attempts than are made
HALF = "x" * 200_000  # two of them are more than a profile holds
MOST = "x" * 250_000  # as well


@pytest.fixture
def account(table: Table, monkeypatch: pytest.MonkeyPatch) -> Account:
    """With the client that the functions use: its time limits and its few retries."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", table.client.meta.endpoint_url)
    return Account(Table(new_client(), table.name, time.monotonic() + 60), "shop")


def told(outcomes: list[Outcome | Refused]) -> list[str]:
    """The status of each event, or the code of its problem."""
    return [each.status if isinstance(each, Outcome) else each.problems[0].code for each in outcomes]


def throttled_order(order_id: str) -> Fault:
    """Throttle the mark of one order, in any transaction."""

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
    """No change of its user, of the owner of the address, or of the user that the address would name."""
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
    """Throttle any transaction with this event."""

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


@aws_engine_only
def test_a_login_of_which_is_not_known_whom_it_names_keeps_its_place_before_their_changes(account: Account) -> None:
    anonymous, ana = a_user(account, None).id, a_user(account).id
    batch = [
        an_entry({"login": {"email": ANA, "size": 1}}, _id=anonymous),
        an_entry({"update": {"size": 2}}, email=ANA),
        an_entry({"update": {"size": 3}}, _id=ana),
        an_entry({"search": {"query": "x"}}, email=ANA),
    ]
    # One call of several keys finds the senders; another call of one key finds the owner of the login's address.
    with faults(account.table.client, "GetItem", *[throttled] * MANY):
        assert told(send_batch(account, batch)) == ["unavailable", "unavailable", "unavailable", "created"]
    assert told(send_batch(account, batch)) == ["created", "created", "created", "duplicate"]
    assert the_profile(account)["size"] == 3


@aws_engine_only
def test_of_two_logins_with_one_new_address_the_second_does_not_overtake_the_first_that_fails(account: Account) -> None:
    first, second = a_user(account, None).id, a_user(account, None).id
    batch = [an_entry({"login": {"email": ANA}}, _id=each) for each in (first, second)]
    with faults(account.table.client, "TransactWriteItems", *[throttled_with(batch[0])] * MANY):
        assert told(send_batch(account, batch)) == ["unavailable", "unavailable"]
    assert told(send_batch(account, batch)) == ["created", "created"]
    assert the_profile(account)["_id"] == first


@aws_engine_only
def test_after_a_change_of_a_user_who_is_never_found_as_looked_up_no_later_one_is_made(account: Account) -> None:
    a_user(account)
    orders = [an_entry({"confirmation": {"orderId": "A-1", "total": total}}) for total in (1, 2)]
    not_there = cancelled("None", "None", {"Code": "ConditionalCheckFailed"})  # no profile, though one was looked up
    with faults(account.table.client, "TransactWriteItems", *[not_there] * ATTEMPTS):
        outcomes = told(send_batch(account, [*orders, an_entry({"update": {"size": 1}})]))
    assert outcomes == ["unavailable", "unavailable", "unavailable"]
    assert the_events(account) == []


def goes_well(_: AWSPreparedRequest) -> None: ...


def out_of_time() -> None:
    raise unavailable("OutOfTime")


CHAINS: dict[str, list[dict[str, Any]]] = {
    "opens": [{"emailopen": {"number": number}} for number in range(12)],
    "logins": [{"login": {"email": f"ana{number}@example.com"}} for number in range(12)],
}


@aws_engine_only
@pytest.mark.parametrize("events", CHAINS.values(), ids=CHAINS)
def test_a_batch_that_takes_more_turns_than_there_is_time_for_gets_further_each_time_it_is_sent(
    events: list[dict[str, Any]], account: Account
) -> None:
    """Its repeats take no turns again."""
    user_id, now = a_user(account, None).id, a_moment()
    moments = [now - EMAIL_OPEN_WINDOW * number for number in range(len(events))]
    batch = [an_entry(event, eventTime=moment, _id=user_id) for event, moment in zip(events, moments, strict=True)]
    settled = [0]
    while settled[-1] < len(batch):
        with meanwhile(account.table.client, "before", 20, out_of_time):
            settled.append(sum(isinstance(each, Outcome) for each in send_batch(account, batch)))
        assert settled[-1] > settled[-2]
    assert len(settled) > 2, "there was too much time for this to say anything"
    assert len(the_events(account, user_id)) == len(batch)


@aws_engine_only
def test_no_later_change_overtakes_an_open_that_fails_on_a_second_look(account: Account, table: Table) -> None:
    """Another open was stored in between, and its effect on this one cannot be read."""
    a_user(account)
    earlier = a_moment() - 3 * EMAIL_OPEN_WINDOW
    batch = [
        an_entry({"emailopen": {}}, eventTime=earlier, email=ANA, city="Bern"),
        an_entry({"update": {"city": "Rome"}}, eventTime=earlier),
    ]

    def another_open(_: AWSPreparedRequest) -> None:
        send(Account(table, "shop"), {"emailopen": {}}, earlier + 2 * EMAIL_OPEN_WINDOW)

    with (
        faults(account.table.client, "TransactWriteItems", another_open),
        faults(account.table.client, "Query", goes_well, *[throttled] * MANY),
    ):
        assert told(send_batch(account, batch)) == ["unavailable", "unavailable"]
    assert told(send_batch(account, batch)) == ["created", "created"]
    assert the_profile(account)["city"] == "Rome"


@aws_engine_only
def test_no_later_change_overtakes_one_of_which_is_not_known_whether_it_is_a_repeat_or_too_large(
    account: Account,
) -> None:
    user_id = a_user(account, a=MOST).id
    batch = [an_entry({"update": {"b": MOST}}, _id=user_id), an_entry({"update": {"c": 1}})]
    # One call of two keys finds the sender; another call of one key shows whether it is a repeat.
    with faults(account.table.client, "GetItem", *[throttled] * MANY):
        assert told(send_batch(account, batch)) == ["unavailable", "unavailable"]
    assert told(send_batch(account, batch)) == ["item_too_large", "created"]


@aws_engine_only
def test_a_login_that_another_user_replaces_is_looked_for_among_the_events_of_that_user_alone(account: Account) -> None:
    """An id is unique within one user, and the former user may have used it."""
    a_user(account)
    anonymous, now = a_user(account, None).id, a_moment()
    send_batch(account, [an_entry({"update": {"size": 1}}, eventId="e-1", eventTime=now, _id=anonymous)])
    batch = [
        an_entry({"search": {"query": "x"}}, _id=anonymous),
        an_entry({"login": {"email": ANA}}, eventId="e-1", eventTime=now, _id=anonymous),
        an_entry({"login": {"email": ANA}}, _id=anonymous),
    ]
    assert told(send_batch(account, batch)) == ["created", "created", "created"]
    assert told(send_batch(account, batch)) == ["duplicate", "duplicate", "duplicate"]
