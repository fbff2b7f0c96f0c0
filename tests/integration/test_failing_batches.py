"""Contract section 8: what one event of a batch meets harms no other, and what was settled stays so when it is sent
again.
"""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest

from builders import (
    ANA,
    EMAIL_OPEN_WINDOW,
    a_moment,
    a_user,
    an_entry,
    as_sent,
    send,
    send_batch,
    the_events,
    the_profile,
)
from domain.outcomes import IdempotencyKey, Outcome
from domain.problems import Refused
from domain.request import EventRequest, parse_batch
from engines import aws_engine_only
from faults import Clock, Fault, at_call, cancelled, error, faults, throttled, unanswered
from stored import profile_key
from table import Account, calls, profiles
from table import primary_keys as keys
from table.calls import Table, new_client
from table.events import Entry
from table.write import Writer, read_ahead
from use_cases import collect, users
from use_cases.collect import ATTEMPTS

MANY = 20  # more attempts than are made
HALF = "x" * 200_000  # two of them are nearly all that a profile holds
MOST = "x" * 250_000


@pytest.fixture
def account(table: Table, monkeypatch: pytest.MonkeyPatch) -> Account:
    """With the client that the functions use: its time limits and its few retries."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", table.client.meta.endpoint_url)
    return Account(Table(new_client(), table.name, time.monotonic() + 600), "shop")


def labels(outcomes: list[Outcome | Refused]) -> list[str]:
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
        assert labels(send_batch(account, orders)) == ["created", "unavailable", "unavailable"]
    assert the_profile(account)["numberOfPurchases"] == 1
    assert labels(send_batch(account, orders)) == ["duplicate", "created", "created"]


def test_a_repeat_is_a_duplicate_although_the_profile_is_full_now(account: Account) -> None:
    user_id = a_user(account).id
    first = an_entry({"update": {"a": HALF}}, _id=user_id)
    assert labels(send_batch(account, [first])) == ["created"]
    users.remove_attribute(ANA, "a", account)
    send(account, {"update": {"b": HALF}}, _id=user_id)
    assert labels(send_batch(account, [first, an_entry({"update": {"c": MOST}}, _id=user_id)])) == [
        "duplicate",
        "item_too_large",
    ]


@aws_engine_only
def test_a_repeat_under_a_key_gets_its_answer_although_the_profile_is_full_now(account: Account) -> None:
    user_id, key = a_user(account).id, IdempotencyKey.of("key", b"body")
    first = send(account, {"update": {"a": HALF}}, key=key, _id=user_id)
    users.remove_attribute(ANA, "a", account)
    send(account, {"update": {"b": HALF}}, _id=user_id)
    again = send(account, {"update": {"a": HALF}}, key=key, _id=user_id)
    assert (again.status, again.replayed, again.event_id) == ("created", True, first.event_id)


def test_after_a_failed_login_no_change_of_its_users_is_stored(account: Account) -> None:
    """No change of its user, of the owner of the address, or of the user that the address would name."""
    a_user(account)
    anonymous = a_user(account, None).id
    of_ana = [an_entry({"login": {"email": ANA, "a": 0}}, _id=anonymous), an_entry({"update": {"a": 1}}, email=ANA)]
    claims = [an_entry({"login": {"email": "b@example.com"}}, _id=anonymous)]
    named = [*claims, an_entry({"update": {"a": 1}}, email="b@example.com")]
    after = [an_entry({"update": {"a": 1}}, _id=anonymous), *claims]
    for batch in (of_ana, named, after):
        with faults(account.table.client, "TransactWriteItems", *[throttled_with(batch[0])] * MANY):
            assert labels(send_batch(account, batch)) == ["unavailable", "unavailable"]


def throttled_with(entry: dict[str, Any]) -> Fault:
    """Throttle any transaction with this event."""

    def answer(request: AWSPreparedRequest) -> Any:
        assert isinstance(request.body, bytes)
        return throttled(request) if entry["eventId"].encode() in request.body else None

    return answer


def test_a_login_is_a_duplicate_although_its_user_has_got_another_address_since(account: Account) -> None:
    a_user(account)
    anonymous = a_user(account, None).id
    batch = [
        an_entry({"login": {"email": ANA, "a": 1}}, eventId="e-1", _id=anonymous),
        an_entry({"login": {"email": "b@example.com"}}, _id=anonymous),
    ]
    assert labels(send_batch(account, batch)) == ["created", "created"]
    assert labels(send_batch(account, batch)) == ["duplicate", "duplicate"]
    assert "a" not in the_profile(account, anonymous)


@aws_engine_only
def test_later_changes_wait_for_a_login_whose_user_is_unknown(account: Account) -> None:
    anonymous, ana = a_user(account, None).id, a_user(account).id
    batch = [
        an_entry({"login": {"email": ANA, "size": 1}}, _id=anonymous),
        an_entry({"update": {"size": 2}}, email=ANA),
        an_entry({"update": {"size": 3}}, _id=ana),
        an_entry({"search": {"query": "x"}}, email=ANA),
    ]
    client = account.table.client
    with faults(client, "BatchGetItem", without(ANA)), faults(client, "GetItem", *[throttled] * MANY):
        assert labels(send_batch(account, batch)) == ["unavailable"] * 4
    assert labels(send_batch(account, batch)) == ["created"] * 4
    assert the_profile(account)["size"] == 3


@aws_engine_only
def test_a_second_login_with_the_same_new_email_is_not_stored_before_the_failed_first(account: Account) -> None:
    first, second = a_user(account, None).id, a_user(account, None).id
    batch = [an_entry({"login": {"email": ANA}}, _id=each) for each in (first, second)]
    with faults(account.table.client, "TransactWriteItems", *[throttled_with(batch[0])] * MANY):
        assert labels(send_batch(account, batch)) == ["unavailable", "unavailable"]
    assert labels(send_batch(account, batch)) == ["created", "created"]
    assert the_profile(account)["_id"] == first


@aws_engine_only
def test_an_event_by_the_email_of_a_failed_login_creates_no_user_with_it(account: Account) -> None:
    anonymous = a_user(account, None).id
    batch = [an_entry({"login": {"email": ANA}}, _id=anonymous), an_entry({"search": {"query": "x"}})]
    with faults(account.table.client, "TransactWriteItems", *[throttled_with(batch[0])] * MANY):
        assert labels(send_batch(account, batch, upsert=True)) == ["unavailable", "unavailable"]
    assert labels(send_batch(account, batch, upsert=True)) == ["created", "created"]
    assert the_profile(account)["_id"] == anonymous


@aws_engine_only
def test_after_a_change_of_a_user_who_is_never_found_as_looked_up_no_later_one_is_made(account: Account) -> None:
    a_user(account)
    orders = [an_entry({"confirmation": {"orderId": "A-1", "total": total}}) for total in (1, 2)]
    not_there = cancelled(*["None"] * 3, {"Code": "ConditionalCheckFailed"})  # no profile, though one was looked up
    with faults(account.table.client, "TransactWriteItems", *[not_there] * ATTEMPTS):
        outcomes = labels(send_batch(account, [*orders, an_entry({"update": {"size": 1}})]))
    assert outcomes == ["unavailable", "unavailable", "unavailable"]
    assert the_events(account) == []


def succeeds(_: AWSPreparedRequest) -> None: ...


# --- What time there is ---------------------------------------------------------------------------

CALL_SECONDS = 0.1


@pytest.fixture
def clock(account: Account, monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    """Each call takes a tenth of a second, and a pause no more than it says."""
    it = Clock()
    for module in (calls, collect):
        monkeypatch.setattr(module, "time", it)

    def take_time(**_: Any) -> None:
        it.sleep(CALL_SECONDS)

    account.table.client.meta.events.register("before-parameter-build.dynamodb", take_time)
    yield it
    account.table.client.meta.events.unregister("before-parameter-build.dynamodb", take_time)


def send_in(seconds: float, account: Account, clock: Clock, batch: list[dict[str, Any]]) -> list[str]:
    return labels(send_batch(replace(account, table=replace(account.table, deadline=clock.now + seconds)), batch))


def of_two_users(account: Account) -> list[dict[str, Any]]:
    """Return orders of two users with the same ids, so that they share a lane."""
    users = [a_user(account, f"user{number}@example.com").id for number in range(2)]
    return [an_entry({"confirmation": {"orderId": n // 2 % 30, "n": n}}, _id=users[n % 2]) for n in range(100)]


def of_many_users(account: Account) -> list[dict[str, Any]]:
    """Return orders that are stored already."""
    a_user(account)
    orders = [{"confirmation": {"orderId": number}} for number in range(100)]
    send_batch(account, [an_entry(each) for each in orders])
    users = [a_user(account, f"user{number}@example.com").id for number in range(100)]
    return [an_entry(each, _id=user) for each, user in zip(orders, users, strict=True)]


@pytest.mark.parametrize("make", [of_two_users, of_many_users])
def test_a_batch_that_runs_out_of_time_gets_further_each_time_it_is_sent(
    make: Callable[[Account], list[dict[str, Any]]], account: Account, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The events that an earlier request settled are read together, regardless of their outcomes."""
    monkeypatch.setattr(calls, "THREADS", 1)
    batch = make(account)
    settled = [0]
    while settled[-1] < len(batch):
        outcomes = send_in(4, account, clock, batch)
        settled.append(len(batch) - outcomes.count("unavailable"))
        assert settled[-1] > settled[-2]


@aws_engine_only
def test_users_that_other_requests_keep_changing_take_no_time_of_other_users(account: Account, clock: Clock) -> None:
    """Ten of them, more than there are threads, each with ten events."""
    hot = [a_user(account, f"hot{number}@example.com").id for number in range(10)]
    calm = [a_user(account, f"calm{number}@example.com").id for number in range(5)]
    event = {"update": {"size": 1}}
    batch = [an_entry(event, _id=each) for each in hot for _ in range(9)] + [an_entry(event, _id=each) for each in calm]

    def conflict(request: AWSPreparedRequest) -> Any:
        is_hot = isinstance(request.body, bytes) and any(each.encode() in request.body for each in hot)
        return cancelled("TransactionConflict")(request) if is_hot else None

    with faults(account.table.client, "TransactWriteItems", *[conflict] * 1000):
        outcomes = send_in(6, account, clock, batch)
    assert outcomes == [*["unavailable"] * 90, *["created"] * 5]


def test_one_user_of_many_throttled_events_takes_no_time_of_others(account: Account, clock: Clock) -> None:
    hot, *others = (a_user(account, f"user{number}@example.com").id for number in range(9))
    event = {"search": {"query": "x"}}
    batch = [an_entry(event, _id=hot) for _ in range(92)] + [an_entry(event, _id=each) for each in others]

    def slow(request: AWSPreparedRequest) -> Any:
        assert isinstance(request.body, bytes)
        if hot.encode() not in request.body:
            return None
        clock.sleep(1)
        return throttled(request)

    with faults(account.table.client, "PutItem", *[slow] * 1000):
        assert send_in(6, account, clock, batch)[92:] == ["created"] * 8


@pytest.mark.parametrize("event", [{"emailopen": {}}, {"search": {"query": "x"}}], ids=["lock", "disagreement"])
def test_a_throttled_read_fails_one_event(account: Account, event: dict[str, Any]) -> None:
    """It is a lock, and which user has the _id that disagrees with an address."""
    ana, bob, eve = (a_user(account, f"{name}@example.com").id for name in ("ana", "bob", "eve"))
    user = {"_id": ana} if "emailopen" in event else {"email": ANA, "_id": bob}
    others = [an_entry({"update": {"size": 1}}, _id=eve), an_entry({"search": {"query": "x"}}, _id=ana)]
    with faults(account.table.client, "GetItem", *[throttled] * MANY):
        assert labels(send_batch(account, [an_entry(event, **user), *others])) == ["unavailable", "created", "created"]


def test_a_read_that_fails_for_a_reason_that_is_not_foreseen_ends_a_run(account: Account) -> None:
    """It is which of two opens, an hour apart, are stored. Each of them alone needs no such read."""
    user_id, now = a_user(account).id, a_moment() - timedelta(days=1)
    opens = [an_entry({"emailopen": {}}, eventTime=now + n * timedelta(hours=1), _id=user_id) for n in range(2)]
    with faults(account.table.client, "BatchGetItem", *[error("AccessDeniedException")] * MANY):
        assert labels(send_batch(account, opens)) == ["created", "created"]


def test_a_late_change_does_not_read_the_profile(account: Account) -> None:
    a_user(account), a_user(account, "bob@example.com")
    then = a_moment() - timedelta(hours=1)
    batch = [
        an_entry({"update": {"size": 1}}, eventTime=then),
        an_entry({"search": {"query": "x"}}, email="bob@example.com"),
    ]
    with faults(account.table.client, "GetItem", *[throttled] * MANY):
        assert labels(send_batch(account, batch)) == ["created", "created"]


def test_a_user_who_cannot_be_read_fails_only_the_events_of_that_user(account: Account) -> None:
    ana, bob = a_user(account).id, a_user(account, "bob@example.com").id
    key = profile_key(ana)
    account.table.client.put_item(TableName=account.table.name, Item={**key, "createdOn": {"S": "unreadable"}})
    batch = [an_entry({"search": {"query": "x"}}, _id=each) for each in (ana, bob)]
    assert labels(send_batch(account, batch)) == ["internal_error", "created"]


def without(address: str) -> Fault:
    """BatchGetItem never answers this address."""

    def answer(request: AWSPreparedRequest) -> Any:
        assert isinstance(request.body, bytes)
        return unanswered(lambda key: key["pk"]["S"].endswith(f"#EMAIL#{address}"))(request)

    return answer


# --- Repeats, and what cannot be known ------------------------------------------------------------


def test_no_later_change_is_stored_before_an_open_that_fails_on_a_second_read(account: Account, table: Table) -> None:
    """Another open was stored in between, and its effect on this one cannot be read."""
    a_user(account)
    earlier = a_moment() - 3 * EMAIL_OPEN_WINDOW
    batch = [
        an_entry({"emailopen": {}}, eventTime=earlier, email=ANA, city="Bern"),
        an_entry({"update": {"city": "Rome"}}, eventTime=earlier),
    ]

    def store_another_open(_: AWSPreparedRequest) -> None:
        send(Account(table, "shop"), {"emailopen": {}}, earlier + 2 * EMAIL_OPEN_WINDOW)

    with (
        faults(account.table.client, "TransactWriteItems", store_another_open),
        faults(account.table.client, "Query", succeeds, *[throttled] * MANY),
    ):
        assert labels(send_batch(account, batch)) == ["unavailable", "unavailable"]
    assert labels(send_batch(account, batch)) == ["created", "created"]
    assert the_profile(account)["city"] == "Rome"


def test_no_later_change_is_stored_before_one_that_may_be_a_repeat_or_too_large(account: Account) -> None:
    user_id = a_user(account, a=MOST).id
    batch = [an_entry({"update": {"b": MOST}}, _id=user_id), an_entry({"update": {"c": 1}})]
    # The first call reads the users, and the next one reads which of the two events are stored.
    with faults(account.table.client, "BatchGetItem", succeeds, *[throttled] * MANY):
        assert labels(send_batch(account, batch)) == ["unavailable", "unavailable"]
    assert labels(send_batch(account, batch)) == ["item_too_large", "created"]


def test_a_login_of_another_user_is_searched_only_among_that_users_events(account: Account) -> None:
    """An id is unique within one user, and the anonymous user may have used it."""
    a_user(account)
    anonymous, now = a_user(account, None).id, a_moment()
    send_batch(account, [an_entry({"update": {"size": 1}}, eventId="e-1", eventTime=now, _id=anonymous)])
    batch = [
        an_entry({"search": {"query": "x"}}, _id=anonymous),
        an_entry({"login": {"email": ANA}}, eventId="e-1", eventTime=now, _id=anonymous),
        an_entry({"login": {"email": ANA}}, _id=anonymous),
    ]
    assert labels(send_batch(account, batch)) == ["created", "created", "created"]
    assert labels(send_batch(account, batch)) == ["duplicate", "duplicate", "duplicate"]


def test_a_look_up_that_reads_the_address_before_a_login_and_the_profile_after_it_knows_the_user(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DynamoDB reads the items of one BatchGetItem at different moments."""
    user = a_user(account)
    whole = profiles.look_up

    def inconsistent_look_up(*asked: Any) -> Any:
        owners, found = whole(*asked)
        return dict.fromkeys(owners), found

    monkeypatch.setattr(profiles, "look_up", inconsistent_look_up)
    login, search = {"login": {"email": ANA}}, {"search": {"query": "x"}}
    batch = [an_entry(login, _id=user.id), an_entry(search, eventId="by-address")]
    assert labels(send_batch(account, batch)) == ["created", "created"]


@pytest.mark.parametrize("by_another_thread", [True, False])
def test_an_event_that_another_request_stores_first_is_a_duplicate_and_never_discarded(
    account: Account, by_another_thread: bool
) -> None:
    """It was read as absent before. The lock that it put is known from a read after that, or from a failed write."""
    user, now = a_user(account), a_moment()
    sent = an_entry({"emailopen": {}}, eventId="open", eventTime=now)
    [request] = parse_batch(as_sent({"events": [sent]}), now, lambda _: None)
    assert isinstance(request, EventRequest)
    entry, writer = Entry(request, now), Writer(account, now)
    entry.of_user(user.id, user.email, is_first=False)
    lock = keys.window(account.name, user.id, "emailopen")

    def another_request() -> None:
        assert labels(send_batch(account, [sent])) == ["created"]
        if by_another_thread:
            writer.known.items[lock] = account.table.get(lock) or {}

    if by_another_thread:  # while it reads ahead for this lane
        with at_call(account.table.client, "after", 2, another_request):
            read_ahead(account, [(writer, entry, [user.id])])
    else:
        writer.known.read([keys.event(account.name, user.id, entry.uuid)])
        another_request()
        writer.known.read([lock])
    list(writer.write([entry]))
    assert entry.outcome
    assert labels([entry.outcome]) == ["duplicate"]
