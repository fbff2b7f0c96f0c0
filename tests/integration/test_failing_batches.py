"""Contract section 8: what one event of a batch meets harms no other, and what was settled stays so when it is sent
again.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest

from builders import ANA, a_moment, a_user, an_entry, as_sent, send, send_batch, the_events, the_profile
from domain.outcomes import IdempotencyKey, Outcome
from domain.problems import Refused
from domain.profile import Profile
from domain.request import EventRequest, parse_batch
from engines import aws_engine_only, both_engines, client_of
from faults import Clock, Fault, at_call, cancelled, error, faults, hooked, on_text, text_of, throttled, unanswered
from stored import profile_key, put
from table import Account, calls, profiles
from table import primary_keys as keys
from table.calls import Table
from table.events import Entry
from table.known import read_ahead
from table.write import Writer
from use_cases import collect, users
from use_cases.collect import ATTEMPTS

pytestmark = pytest.mark.usefixtures("ana")
MANY = 20  # more attempts than are made
HALF = "x" * 200_000  # two of them are nearly all that a profile holds
MOST = "x" * 250_000
SECOND_FAILS: list[Fault] = [lambda _: None, *[throttled] * MANY]


@pytest.fixture
def account(table: Table) -> Account:
    """With the client that the functions use, and its few retries. A test injects faults into it alone."""
    return Account(Table(client_of(table.client.meta.endpoint_url), table.name, time.monotonic() + 600), "shop")


def labels(outcomes: list[Outcome | Refused]) -> list[str]:
    """The status of each event, or the code of its problem."""
    return [each.status if isinstance(each, Outcome) else each.problems[0].code for each in outcomes]


def throttled_order(order_id: str) -> Fault:
    """Throttle the mark of one order, in any transaction."""

    def answer(request: AWSPreparedRequest) -> Any:
        actions = json.loads(text_of(request))["TransactItems"]
        marks = [action.get("Put", {}).get("Item", {}).get("pk") for action in actions]
        busy = [mark == {"S": f"shop#ORDER#{order_id}"} for mark in marks]
        return cancelled(*("ThrottlingError" if each else "None" for each in busy))(request) if any(busy) else None

    return answer


@aws_engine_only
def test_an_item_that_is_throttled_fails_its_own_event_and_the_later_changes(account: Account) -> None:
    orders = [an_entry({"confirmation": {"orderId": order_id, "total": 1}}) for order_id in ("1", "2", "3")]
    with faults(account.table.client, "TransactWriteItems", *[throttled_order("2")] * MANY):
        assert labels(send_batch(account, orders)) == ["created", "unavailable", "unavailable"]
    assert the_profile(account)["numberOfPurchases"] == 1
    assert labels(send_batch(account, orders)) == ["duplicate", "created", "created"]


def test_a_repeat_is_known_although_the_profile_is_full_now(account: Account, ana: Profile) -> None:
    """By its id, and under a key."""
    user_id, key = ana.id, IdempotencyKey.of("key", b"body")
    kept = send(account, {"update": {"a": HALF}}, key=key, _id=user_id)
    users.remove_attribute(ANA, "a", account)
    first = an_entry({"update": {"a": HALF}}, _id=user_id)
    assert labels(send_batch(account, [first])) == ["created"]
    users.remove_attribute(ANA, "a", account)
    send(account, {"update": {"b": HALF}}, _id=user_id)
    batch = [first, an_entry({"update": {"c": MOST}}, _id=user_id)]
    assert labels(send_batch(account, batch)) == ["duplicate", "item_too_large"]
    late = an_entry({"update": {"c": MOST}}, eventTime=a_moment() - timedelta(hours=1))
    assert labels(send_batch(account, [late])) == ["item_too_large"]
    assert send(account, {"update": {"a": HALF}}, key=key, _id=user_id) == kept._replace(replayed=True)


def throttling(account: Account, entry: dict[str, Any]) -> AbstractContextManager[list[str]]:
    """Throttle any transaction with this event."""
    return faults(account.table.client, "TransactWriteItems", *[on_text(throttled, entry["eventId"])] * MANY)


@both_engines
def test_after_a_failed_login_no_change_of_its_users_is_stored_and_all_are_when_sent_again(account: Account) -> None:
    """No change of its user, of the owner of the address, or of the user that the address would name."""
    on_moto = "amazonaws" in account.table.client.meta.endpoint_url  # which does what it is asked in spite of a fault
    emails, update = iter(f"b{n}@example.com" for n in range(9)), {"update": {"a": 1}}

    def login(email: str, user_id: str | None = None) -> dict[str, Any]:
        return an_entry({"login": {"email": email, "a": 0}}, _id=user_id or a_user(account, None).id)

    def pairs() -> Iterator[tuple[list[dict[str, Any]], str]]:
        yield [login(ANA), an_entry(update)], ANA
        for name, value in [("a", 1), ("query", "x")][: 2 - on_moto]:  # the search creates no user in an upsert
            event = {"update" if name == "a" else "search": {name: value}}
            yield [login(email := next(emails)), an_entry(event, email=email)], email
        yield [login(email := next(emails)), login(email)], email
        user_id = a_user(account, None).id
        yield [an_entry(update, _id=user_id), login(next(emails), user_id)], user_id

    for batch, identifier in pairs():
        first_id = batch[0]["user"]["_id"]
        with throttling(account, batch[0]):
            assert labels(send_batch(account, batch, upsert=True)) == ["unavailable", "unavailable"]
        if not on_moto:
            assert labels(send_batch(account, batch, upsert=True)) == ["created", "created"]
            assert identifier == ANA or the_profile(account, identifier)["_id"] == first_id


def test_a_login_is_a_duplicate_although_its_user_has_got_another_address_since(account: Account) -> None:
    anonymous = a_user(account, None).id
    batch = [
        an_entry({"login": {"email": ANA, "a": 1}}, eventId="e-1", _id=anonymous),
        an_entry({"login": {"email": "b@example.com"}}, _id=anonymous),
    ]
    assert labels(send_batch(account, batch)) == ["created", "created"]
    assert labels(send_batch(account, batch)) == ["duplicate", "duplicate"]
    assert "a" not in the_profile(account, anonymous)


@aws_engine_only
def test_a_login_and_a_later_event_with_its_id_and_time_are_settled_in_order(account: Account) -> None:
    """The login is an event of the owner of the address, so the later event repeats it."""
    same, anonymous = {"eventId": "e-1", "eventTime": a_moment()}, a_user(account, None).id
    login = an_entry({"login": {"email": ANA, "a": 1}}, _id=anonymous, **same)
    batch, conflict = [login, an_entry({"search": {"query": "x"}}, **same)], cancelled("TransactionConflict", "None")
    with faults(account.table.client, "TransactWriteItems", conflict, conflict):
        assert labels(send_batch(account, batch)) == ["created", "duplicate"]


@aws_engine_only
def test_later_changes_wait_for_a_login_whose_user_is_unknown(account: Account, ana: Profile) -> None:
    anonymous = a_user(account, None).id
    batch = [
        an_entry({"login": {"email": ANA, "size": 1}}, _id=anonymous),
        an_entry({"update": {"size": 2}}, email=ANA),
        an_entry({"update": {"size": 3}}, _id=ana.id),
        an_entry({"search": {"query": "x"}}, email=ANA),
    ]
    client = account.table.client
    unknown = unanswered(lambda key: key["pk"]["S"].endswith(f"#EMAIL#{ANA}"))
    with faults(client, "BatchGetItem", *[unknown] * 4), faults(client, "GetItem", *[throttled] * MANY):
        assert labels(send_batch(account, batch)) == ["unavailable"] * 4
    assert labels(send_batch(account, batch)) == ["created"] * 4
    assert the_profile(account)["size"] == 3


@aws_engine_only
def test_after_a_change_of_a_user_who_is_never_found_as_looked_up_no_later_one_is_made(account: Account) -> None:
    batch = [an_entry({"confirmation": {"orderId": "A-1", "total": total}}) for total in (1, 2)]
    batch.append(an_entry({"update": {"size": 1}}))
    not_there = cancelled(*["None"] * 3, {"Code": "ConditionalCheckFailed"})  # no profile, though one was looked up
    with faults(account.table.client, "TransactWriteItems", *[not_there] * ATTEMPTS):
        assert labels(send_batch(account, batch)) == ["unavailable", "unavailable", "unavailable"]
    assert the_events(account) == []


# --- What time there is ---------------------------------------------------------------------------


@pytest.fixture
def clock(account: Account, monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    """Each call takes a tenth of a second, and a pause no more than it says. One thread, so that all is in order."""
    it = Clock()
    monkeypatch.setattr(calls.Store, "threads", 1)
    for module in (calls, collect):
        monkeypatch.setattr(module, "time", it)
    with hooked(account.table.client, "before-parameter-build.dynamodb", lambda **_: it.sleep(0.1)):
        yield it


def send_in(seconds: float, account: Account, clock: Clock, batch: list[dict[str, Any]]) -> list[str]:
    return labels(send_batch(account._replace(table=replace(account.table, deadline=clock.now + seconds)), batch))


def of_two_users(account: Account) -> list[dict[str, Any]]:
    """Return orders of two users with the same ids, so that they share a lane."""
    users = [a_user(account, f"user{number}@example.com").id for number in range(2)]
    return [an_entry({"confirmation": {"orderId": n // 2 % 30, "n": n}}, _id=users[n % 2]) for n in range(100)]


def of_many_users(account: Account) -> list[dict[str, Any]]:
    """Return orders that are stored already."""
    orders = [{"confirmation": {"orderId": number}} for number in range(60)]
    send_batch(account, [an_entry(each) for each in orders])
    return [an_entry(each, _id=a_user(account, f"user{n}@example.com").id) for n, each in enumerate(orders)]


@pytest.mark.parametrize("make", [of_two_users, pytest.param(of_many_users, marks=pytest.mark.long)])
def test_a_batch_that_runs_out_of_time_gets_further_each_time_it_is_sent(
    make: Callable[[Account], list[dict[str, Any]]], account: Account, clock: Clock
) -> None:
    """The events that an earlier request settled are read together, regardless of their outcomes."""
    batch, settled = make(account), 0
    while settled < len(batch):
        before, settled = settled, len(batch) - send_in(4, account, clock, batch).count("unavailable")
        assert settled > before


@aws_engine_only
def test_users_that_other_requests_keep_changing_take_no_time_of_other_users(account: Account, clock: Clock) -> None:
    """Ten of them, more than there are threads, each with ten events."""
    hot = [a_user(account, f"hot{number}@example.com").id for number in range(10)]
    calm = [a_user(account, f"calm{number}@example.com").id for number in range(5)]
    batch = [an_entry({"update": {"size": 1}}, _id=each) for each in [each for each in hot for _ in range(9)] + calm]
    conflict = on_text(cancelled("TransactionConflict"), *hot)
    with faults(account.table.client, "TransactWriteItems", *[conflict] * 1000):
        assert send_in(6, account, clock, batch) == [*["unavailable"] * 90, *["created"] * 5]


def test_one_user_of_many_throttled_events_takes_no_time_of_others(account: Account, clock: Clock) -> None:
    hot, *others = (a_user(account, f"user{number}@example.com").id for number in range(9))
    batch = [an_entry({"search": {"query": "x"}}, _id=each) for each in [hot] * 92 + others]

    def slow(request: AWSPreparedRequest) -> Any:
        clock.sleep(1)
        return throttled(request)

    with faults(account.table.client, "PutItem", *[on_text(slow, hot)] * 1000):
        assert send_in(6, account, clock, batch)[92:] == ["created"] * 8


def test_a_throttled_read_fails_one_event(account: Account, ana: Profile) -> None:
    """It is a lock, and which user has the _id that disagrees with an address. A late change needs no read."""
    bob, eve = (a_user(account, f"{name}@example.com").id for name in ("bob", "eve"))
    fails = [an_entry({"emailopen": {}}, _id=ana.id), an_entry({"search": {"query": "x"}}, email=ANA, _id=bob)]
    for entry in fails:
        late = an_entry({"update": {"size": 1}}, eventTime=a_moment() - timedelta(hours=1), _id=eve)
        with faults(account.table.client, "GetItem", *[throttled] * MANY):
            outcomes = send_batch(account, [entry, late, an_entry({"search": {"query": "x"}}, _id=ana.id)])
        assert labels(outcomes) == ["unavailable", "created", "created"]


def test_a_read_that_fails_for_a_reason_that_is_not_foreseen_ends_a_run(account: Account, ana: Profile) -> None:
    """It is which of two opens, an hour apart, are stored. Each of them alone needs no such read."""
    now = a_moment() - timedelta(days=1)
    opens = [an_entry({"emailopen": {}}, eventTime=now + n * timedelta(hours=1), _id=ana.id) for n in range(2)]
    with faults(account.table.client, "BatchGetItem", *[error("AccessDeniedException")] * MANY):
        assert labels(send_batch(account, opens)) == ["created", "created"]


def test_a_user_who_cannot_be_read_fails_only_the_events_of_that_user(account: Account, ana: Profile) -> None:
    put(account.table, {**profile_key(ana.id), "createdOn": {"S": "unreadable"}})
    users = (ana.id, a_user(account, "bob@example.com").id)
    batch = [an_entry({"search": {"query": "x"}}, _id=each) for each in users]
    assert labels(send_batch(account, batch)) == ["internal_error", "created"]


# --- Repeats, and what cannot be known ------------------------------------------------------------


def test_no_later_change_is_stored_before_an_open_that_fails_on_a_second_read(account: Account, table: Table) -> None:
    """Another open was stored in between, and its effect on this one cannot be read."""
    earlier = a_moment() - timedelta(hours=1)
    batch = [
        an_entry({"emailopen": {}}, eventTime=earlier, email=ANA, city="Bern"),
        an_entry({"update": {"city": "Rome"}}, eventTime=earlier),
    ]

    def store_another_open(_: AWSPreparedRequest) -> None:
        send(Account(table, "shop"), {"emailopen": {}}, earlier + timedelta(minutes=40))

    client = account.table.client
    with faults(client, "TransactWriteItems", store_another_open), faults(client, "Query", *SECOND_FAILS):
        assert labels(send_batch(account, batch)) == ["unavailable", "unavailable"]
    assert labels(send_batch(account, batch)) == ["created", "created"]
    assert the_profile(account)["city"] == "Rome"


def test_no_later_change_is_stored_before_one_that_may_be_a_repeat_or_too_large(account: Account, ana: Profile) -> None:
    send(account, {"update": {"a": MOST}})
    batch = [an_entry({"update": {"b": MOST}}, _id=ana.id), an_entry({"update": {"c": 1}})]
    # The first call reads the users, and the next one reads which of the two events are stored.
    with faults(account.table.client, "BatchGetItem", *SECOND_FAILS):
        assert labels(send_batch(account, batch)) == ["unavailable", "unavailable"]
    assert labels(send_batch(account, batch)) == ["item_too_large", "created"]


def test_a_login_of_another_user_is_searched_only_among_that_users_events(account: Account) -> None:
    """An id is unique within one user, and the anonymous user may have used it."""
    anonymous, now = a_user(account, None).id, a_moment()
    send_batch(account, [an_entry({"update": {"size": 1}}, eventId="e-1", eventTime=now, _id=anonymous)])
    batch = [
        an_entry({"search": {"query": "x"}}, _id=anonymous),
        an_entry({"login": {"email": ANA}}, eventId="e-1", eventTime=now, _id=anonymous),
        an_entry({"login": {"email": ANA}}, _id=anonymous),
    ]
    assert labels(send_batch(account, batch)) == ["created", "created", "created"]
    assert labels(send_batch(account, batch)) == ["duplicate", "duplicate", "duplicate"]


def test_a_look_up_across_a_login_knows_the_user(
    account: Account, ana: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DynamoDB reads the items of one BatchGetItem at different moments."""
    whole = profiles.look_up

    def inconsistent_look_up(*asked: Any) -> Any:
        owners, found = whole(*asked)
        return dict.fromkeys(owners), found

    monkeypatch.setattr(profiles, "look_up", inconsistent_look_up)
    search = an_entry({"search": {"query": "x"}}, eventId="by-address")
    batch = [an_entry({"login": {"email": ANA}}, _id=ana.id), search]
    assert labels(send_batch(account, batch)) == ["created", "created"]


@pytest.mark.parametrize("by_another_thread", [True, False])
def test_an_event_that_another_request_stores_first_is_a_duplicate(
    account: Account, ana: Profile, by_another_thread: bool
) -> None:
    """It was read as absent before. The lock that it put is known from a read after that, or from a failed write."""
    now = a_moment()
    sent = an_entry({"emailopen": {}}, eventId="open", eventTime=now)
    [request] = parse_batch(as_sent({"events": [sent]}), now, lambda _: None)
    assert isinstance(request, EventRequest)
    entry, writer = Entry(request, account, now), Writer(account, now)
    entry.of_user(ana.id, ana.email, is_first=False)
    lock = keys.window(account.name, ana.id, "emailopen")

    def another_request() -> None:
        assert labels(send_batch(account, [sent])) == ["created"]
        if by_another_thread:
            writer.known.items[lock] = account.table.get(lock) or {}

    if by_another_thread:  # while it reads ahead for this lane
        with at_call(account.table.client, "after", 2, another_request):
            read_ahead(account, [(writer.known, entry, [ana.id])])
    else:
        writer.known.read([keys.event(account.name, ana.id, entry.uuid)])
        another_request()
        writer.known.read([lock])
    list(writer.write([entry]))
    assert entry.outcome
    assert labels([entry.outcome]) == ["duplicate"]
