"""Events with ?upsert=true: one write creates the user with the event; what is refused or discarded creates none."""

from collections import Counter
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from builders import ANA, a_moment, a_user, an_entry, at_once, parsed, send, send_batch, the_events, the_profile
from capacity import bill
from docs.units import BILLS
from domain.ids import new_id
from domain.outcomes import IdempotencyKey, Outcome
from domain.problems import Conflict, Invalid, NotFound, Refused
from engines import both_engines, not_on_moto
from faults import at_call
from table import Account
from table.calls import Table
from table.overlay import Overlay
from use_cases import users
from use_cases.collect import collect_one
from use_cases.erasure import IN_FLIGHT, erase_leftovers

pytestmark = both_engines
BOB = "bob@example.com"
SEARCH = {"search": {"query": "x"}}
ORDER = {"confirmation": {"orderId": "A-1", "total": "9.90"}}


def items(account: Account) -> list[dict[str, Any]]:
    return list(account.table.client.scan(TableName=account.table.name)["Items"])


def outcomes(listed: list[Outcome | Refused]) -> list[tuple[str, bool]]:
    """The status of each event, or the code of its refusal; and whether it created its user."""
    return [
        (each.status, each.user_created) if isinstance(each, Outcome) else (each.problems[0].code, False)
        for each in listed
    ]


def test_a_new_user_with_a_plain_event_costs_one_look_up_and_six_writes(account: Account) -> None:
    with bill(account.table) as it:
        outcome = send(account, SEARCH, upsert=True)
    assert it == BILLS["upsert"]
    assert (outcome.status, outcome.user_created) == ("created", True)
    profile = the_profile(account)
    assert profile == {"_id": outcome.user_id, "email": ANA, "createdOn": profile["createdOn"]}
    assert the_events(account) == [outcome.event_id]
    with bill(account.table) as it:
        assert not send(account, SEARCH, upsert=True).user_created
    assert it == BILLS["plain"]


def test_a_user_who_is_created_by_an_event_is_as_by_a_put_and_the_event(table: Table, account: Account) -> None:
    now, other = a_moment(), Account(table, "other")
    events: list[dict[str, Any]] = [
        {
            "update": {
                "city": "Vigo",
                "tags": ["vip", "-new"],
                "numberOfPurchases": 7,
                **{f"a{n}": n for n in range(120)},
            }
        },
        ORDER,
        {"emailopen": {}},
        {"login": {"email": BOB, "size": 7}},
    ]
    for number, event in enumerate(events):
        user: dict[str, Any] = {"email": f"u{number}@example.com", "tel": "1"}
        users.change(user["email"], {}, True, other, now)
        done = [send(each, event, now, upsert=True, **user) for each in (account, other)]
        assert [outcome.user_created for outcome in done] == [True, False]
        assert done[0].warnings == done[1].warnings
        profiles = [the_profile(each, user["email"]) for each in (account, other)]
        assert profiles[0] | {"_id": ""} == profiles[1] | {"_id": ""}


@pytest.mark.parametrize("named", ["_id", "both"])
def test_a_chosen_id_is_that_of_the_user(account: Account, named: str) -> None:
    user_id = new_id(a_moment())
    user: dict[str, Any] = {"_id": user_id} | ({"email": ANA} if named == "both" else {})
    assert send(account, ORDER, upsert=True, **user).user_id == user_id
    assert the_profile(account, user_id).get("email") == user.get("email")
    assert not send(account, SEARCH, upsert=True, **user).user_created


def test_a_login_of_a_new_user_claims_its_email_or_belongs_to_its_owner(account: Account) -> None:
    user_id = new_id(a_moment())
    outcome = send(account, {"login": {"email": ANA}}, upsert=True, _id=user_id)
    assert (outcome.user_id, outcome.user_created) == (user_id, True)
    assert the_profile(account, ANA)["_id"] == user_id
    other = send(account, {"login": {"email": ANA, "size": 7}}, upsert=True, _id=new_id(a_moment()))
    assert (other.user_id, other.user_created) == (user_id, False)
    assert the_profile(account, ANA)["size"] == 7


def test_an_event_that_is_refused_or_discarded_creates_no_user(account: Account) -> None:
    ana, gone = a_user(account), a_user(account, "gone@example.com")
    send(account, ORDER)
    users.erase(gone.id, account, a_moment())
    before = items(account)
    big = {"update": {"a": "x" * 250_000, "b": "x" * 250_000}}
    refusals: list[tuple[dict[str, Any], dict[str, Any], type[Refused], str]] = [
        ({"_id": "x"}, SEARCH, Invalid, "invalid_id"),
        ({"_id": gone.id}, SEARCH, Conflict, "user_erased"),
        ({"_id": gone.id}, ORDER, Conflict, "user_erased"),
        ({"_id": gone.id}, {"login": {"email": ANA}}, Conflict, "user_erased"),
        ({"_id": gone.id, "email": BOB}, ORDER, Conflict, "user_erased"),
        ({"_id": ana.id, "email": BOB}, SEARCH, Invalid, "identifiers_disagree"),
        ({"_id": new_id(a_moment()), "email": ANA}, SEARCH, Invalid, "identifiers_disagree"),
        ({"email": BOB}, big, Refused, "item_too_large"),
    ]
    for user, event, kind, code in refusals:
        with pytest.raises(kind) as refused:
            send(account, event, upsert=True, **user)
        assert refused.value.problems[0].code == code
    agents: list[dict[str, Any]] = [{}, {"userAgent": "Googlebot/2.1"}]
    for agent in agents:
        outcome = send(account, ORDER, upsert=True, email=BOB, **agent)
        assert (outcome.status, outcome.user_id, outcome.user_created) == ("discarded", "", False)
    with pytest.raises(NotFound):
        send(account, SEARCH, email=BOB)
    assert items(account) == before
    erase_leftovers(account.table, a_moment() + 2 * IN_FLIGHT)
    with pytest.raises(Conflict):
        send(account, SEARCH, upsert=True, _id=gone.id)


def test_a_repeat_gets_the_response_of_the_first_request(account: Account) -> None:
    key = IdempotencyKey.of("key", b"body")
    first, again = (send(account, SEARCH, key=key, upsert=True) for _ in range(2))
    assert (first.user_created, again.user_created, again.replayed) == (True, True, True)
    assert (again.user_id, again.event_id) == (first.user_id, first.event_id)
    entry = an_entry(SEARCH, eventId="e-1", email=BOB)
    created, duplicate = (send_batch(account, [entry], upsert=True)[0] for _ in range(2))
    assert outcomes([created, duplicate]) == [("created", True), ("duplicate", True)]
    request, other = parsed(entry), IdempotencyKey.of("other", b"")
    repeats = [collect_one(request, account, a_moment(), other) for _ in range(2)]
    assert [(each.user_created, each.replayed) for each in repeats] == [(True, False), (True, True)]
    discarded = [send(account, {"emailopen": {}}, key=IdempotencyKey.of(str(n // 2), b""), email=BOB) for n in range(4)]
    assert [each.replayed for each in discarded] == [False, True, False, True]


def a_batch() -> list[dict[str, Any]]:
    now, chosen = a_moment(), new_id(a_moment())
    return [
        an_entry(ORDER, eventId="1", email=BOB),
        an_entry({"confirmation": {"orderId": "A-1"}}, eventId="2", email="discarded@example.com"),
        an_entry({"viewitem": {}}, eventId="3", email="refused@example.com"),
        an_entry(SEARCH, eventId="4", email=ANA),
        an_entry({"update": {"city": "Vigo"}}, eventId="5", email=ANA),
        an_entry({"emailopen": {}}, eventId="6", eventTime=now - timedelta(days=1), email=ANA),
        an_entry(SEARCH, eventId="7", email=ANA, _id=chosen),
        an_entry(SEARCH, eventId="8", _id=chosen),
        an_entry({"login": {"email": "new@example.com"}}, eventId="9", _id=chosen),
        an_entry(SEARCH, eventId="10", email="new@example.com"),
        an_entry({"confirmation": {"orderId": "A-2"}}, eventId="11", email="discarded@example.com"),
        an_entry(SEARCH, eventId="12", email="new@example.com"),
        an_entry(SEARCH, eventId="12", email="new@example.com", eventTime=now - timedelta(hours=1)),
    ]


AS_ONE_AFTER_THE_OTHER = [
    ("created", True), ("discarded", False), ("missing_field", False), ("created", True), ("created", False),
    ("created", False), ("identifiers_disagree", False), ("created", True), ("created", False), ("created", False),
    ("created", True), ("created", False), ("created", False),
]  # fmt: skip


def test_a_batch_creates_users_as_single_events_would_and_a_check_predicts_it(table: Table, account: Account) -> None:
    batch, other = a_batch(), Account(table, "other")
    checked = Account(Overlay.over(account.table), account.name)
    assert outcomes(send_batch(checked, batch, upsert=True)) == AS_ONE_AFTER_THE_OTHER
    assert items(account) == []
    assert outcomes(send_batch(account, batch, upsert=True)) == AS_ONE_AFTER_THE_OTHER
    single = [outcomes(send_batch(other, [entry], upsert=True))[0] for entry in batch]
    assert single == AS_ONE_AFTER_THE_OTHER
    for each in (ANA, BOB, "discarded@example.com", "new@example.com"):
        assert the_profile(account, each).keys() == the_profile(other, each).keys()
        assert len(the_events(account, each)) == len(the_events(other, each))
    again = send_batch(account, batch, upsert=True)
    assert Counter(status for status, _ in outcomes(again)) == {
        "duplicate": 10, "discarded": 1, "missing_field": 1, "identifiers_disagree": 1,
    }  # fmt: skip


X, Y, GONE = (new_id(a_moment()) for _ in range(3))
BATCHES = {
    "the id of another new user": [
        an_entry({"update": {"city": "Vigo"}}, _id=X),
        an_entry({"update": {"city": "Lugo"}}, _id=X, email=ANA),
        an_entry({"update": {"city": "Vigo"}}, _id=Y, email=ANA),
        an_entry({"update": {"city": "Lugo"}}, _id=Y, email=BOB),
    ],
    "an id that no user can have": [
        an_entry({"update": {"city": "Vigo"}}),
        an_entry({"update": {"city": "Lugo"}}, _id=GONE),
        an_entry({"update": {"city": "Lugo"}}, _id=GONE, email=ANA),
    ],
    "a login by id of a user who was created with an email": [
        an_entry(SEARCH, _id=X, email=ANA),
        an_entry({"login": {"email": "taken@example.com", "size": 7}}, _id=X),
    ],
    "a plain event between": [
        an_entry({"confirmation": {"orderId": "taken"}}),
        an_entry(SEARCH),
        an_entry({"update": {"city": "Vigo"}}),
    ],
}


@pytest.mark.parametrize("name", BATCHES)
def test_events_of_new_users_mean_in_a_batch_what_they_mean_one_after_the_other(table: Table, name: str) -> None:
    together, alone = (Account(table, each) for each in ("shop", "other"))
    for account in (together, alone):
        a_user(account, "taken@example.com")
        send(account, {"confirmation": {"orderId": "taken"}}, email="taken@example.com")
        users.change(GONE, {}, True, account, a_moment())
        users.erase(GONE, account, a_moment())
    single = [send_batch(alone, [entry], upsert=True)[0] for entry in BATCHES[name]]
    assert outcomes(send_batch(together, BATCHES[name], upsert=True)) == outcomes(single)
    for email in (ANA, BOB, "taken@example.com"):
        assert seen(together, email) == seen(alone, email)


def seen(account: Account, email: str) -> dict[str, Any] | None:
    """The user's attributes, without those that differ between two accounts."""
    try:
        return the_profile(account, email) | dict.fromkeys(("_id", "createdOn", "lastPurchaseDate"))
    except NotFound:
        return None


def test_a_user_who_is_erased_during_a_batch_is_created_again_with_another_id(account: Account) -> None:
    orders = [an_entry({"confirmation": {"orderId": n}}, email=who) for n, who in [(1, ANA), (1, BOB), (2, ANA)]]
    with at_call(account.table.client, "after", 2, lambda: users.erase(ANA, account, a_moment())):
        first, other, again = send_batch(account, orders, upsert=True)
    assert outcomes([first, other, again]) == [("created", True), ("discarded", False), ("created", True)]
    assert isinstance(first, Outcome)
    assert first.user_id != the_profile(account)["_id"]


def test_many_plain_events_of_one_new_user_cost_one_transaction_and_a_put_each(account: Account) -> None:
    with bill(account.table) as it:
        send_batch(account, [an_entry(SEARCH) for _ in range(20)], upsert=True)
    assert (it.wru, it.calls.count("TransactWriteItems")) == (6 + 19, 1)


def test_an_id_that_comes_with_a_new_email_is_read_once_for_a_batch(account: Account) -> None:
    with bill(account.table) as it:
        send_batch(account, [an_entry({"update": {"n": n}}, email=ANA, _id=X) for n in range(5)], upsert=True)
    assert Counter(it.calls) == {"GetItem": 2, "BatchGetItem": 1, "TransactWriteItems": 1}


@not_on_moto
def test_of_many_upserts_of_one_new_address_one_creates_the_user_and_all_are_stored(account: Account) -> None:
    def send_one(n: int) -> Outcome:
        events: list[dict[str, Any]] = [SEARCH, {"update": {"size": 7}}, {"confirmation": {"orderId": n, "total": 1}}]
        return send(account, events[n % 3], upsert=True)

    answers = at_once(40, send_one)
    assert Counter(answer.user_created for answer in answers) == {True: 1, False: 39}
    profile = the_profile(account)
    assert {answer.user_id for answer in answers} == {profile["_id"]}
    assert sorted(the_events(account)) == sorted(answer.event_id for answer in answers)
    assert (profile["numberOfPurchases"], profile["totalPurchasesValue"]) == (13, Decimal(13))
