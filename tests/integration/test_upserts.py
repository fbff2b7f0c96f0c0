"""Upserts: one write creates the user with the event; what is refused or discarded creates none; equal ones agree."""

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from builders import ANA, a_moment, a_user, an_entry, send, send_batch, the_events, the_profile
from capacity import bill
from docs.units import BILLS
from domain.ids import new_id
from domain.outcomes import IdempotencyKey, Outcome
from domain.problems import Conflict, Invalid, NotFound, Refused
from domain.request import parse_request
from engines import both_engines
from faults import at_call
from stored import everything
from table import Account
from table.calls import Table
from table.overlay import Overlay
from use_cases import users
from use_cases.collect import collect_one
from use_cases.erasure import IN_FLIGHT, erase_leftovers

pytestmark = both_engines
BOB = "bob@example.com"
SEARCH = {"search": {"query": "x"}}
MOVES = {"update": {"city": "Vigo"}}
MOVES_AGAIN = {"update": {"city": "Lugo"}}
ORDER = {"confirmation": {"orderId": "A-1", "total": "9.90"}}


def outcomes(listed: list[Outcome | Refused]) -> list[tuple[str, bool]]:
    """The status of each event, or the code of its refusal; and whether it created its user."""
    return [
        (each.status, each.user_created) if isinstance(each, Outcome) else (each.problems[0].code, False)
        for each in listed
    ]


def test_a_new_user_costs_one_look_up_and_six_writes_and_later_events_of_a_batch_a_put_each(account: Account) -> None:
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
    with bill(account.table) as it:
        send_batch(account, [an_entry(SEARCH, email="bea@example.com") for _ in range(20)], upsert=True)
    assert (it.wru, it.calls.count("TransactWriteItems")) == (6 + 19, 1)
    with bill(account.table) as it:
        send_batch(account, [an_entry({"update": {"n": n}}, email=BOB, _id=X) for n in range(5)], upsert=True)
    assert Counter(it.calls) == {"GetItem": 2, "BatchGetItem": 1, "TransactWriteItems": 1}, "the _id is read once"


def test_a_user_who_is_created_by_an_event_is_as_by_a_put_and_the_event(table: Table, account: Account) -> None:
    now, other = a_moment(), Account(table, "other")
    many = {"city": "Vigo", "tags": ["vip", "-new"], "numberOfPurchases": 7, **{f"a{n}": n for n in range(120)}}
    events: list[dict[str, Any]] = [{"update": many}, ORDER, {"emailopen": {}}, {"login": {"email": BOB, "size": 7}}]
    for number, event in enumerate(events):
        user: dict[str, Any] = {"email": f"u{number}@example.com", "tel": "1"}
        users.change(user["email"], {}, True, other, now)
        done = [send(each, event, now, upsert=True, **user) for each in (account, other)]
        assert [outcome.user_created for outcome in done] == [True, False]
        assert done[0].warnings == done[1].warnings
        profiles = [the_profile(each, user["email"]) for each in (account, other)]
        assert profiles[0] | {"_id": ""} == profiles[1] | {"_id": ""}


def test_a_chosen_id_is_that_of_the_user_unless_a_login_names_an_email_that_has_an_owner(account: Account) -> None:
    chosen: list[dict[str, Any]] = [{"_id": X}, {"_id": Y, "email": BOB}]
    for number, user in enumerate(chosen):
        outcome = send(account, {"confirmation": {"orderId": number}}, upsert=True, **user)
        assert (outcome.user_id, outcome.user_created) == (user["_id"], True)
        assert the_profile(account, user["_id"]).get("email") == user.get("email")
        assert not send(account, SEARCH, upsert=True, **user).user_created
    owner = new_id(a_moment())
    for user_id, created in ((owner, True), (new_id(a_moment()), False)):
        outcome = send(account, {"login": {"email": ANA, f"{created}": 7}}, upsert=True, _id=user_id)
        assert (outcome.user_id, outcome.user_created) == (owner, created)
    profile = the_profile(account, ANA)
    assert (profile["_id"], profile["True"], profile["False"]) == (owner, 7, 7)


def test_an_event_that_is_refused_or_discarded_creates_no_user(account: Account) -> None:
    ana, gone = a_user(account), a_user(account, "gone@example.com")
    send(account, ORDER)
    users.erase(gone.id, account, a_moment())
    before = everything(account.table)
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
    assert everything(account.table) == before
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
    request, other = parse_request(entry, a_moment()), IdempotencyKey.of("other", b"")
    repeats = [collect_one(request, account, a_moment(), other) for _ in range(2)]
    assert [(each.user_created, each.replayed) for each in repeats] == [(True, False), (True, True)]
    discarded = [send(account, {"emailopen": {}}, key=IdempotencyKey.of(str(n // 2), b""), email=BOB) for n in range(4)]
    assert [each.replayed for each in discarded] == [False, True, False, True]


X, Y, CHOSEN, GONE = (new_id(a_moment()) for _ in range(4))
DISCARDED, NEW, TAKEN = "discarded@example.com", "new@example.com", "taken@example.com"
BATCHES: dict[str, list[tuple[dict[str, Any], tuple[str, bool]]]] = {
    "all kinds": [
        (an_entry(ORDER, eventId="1", email=BOB), ("created", True)),
        (an_entry({"confirmation": {"orderId": "A-1"}}, eventId="2", email=DISCARDED), ("discarded", False)),
        (an_entry({"viewitem": {}}, eventId="3", email="refused@example.com"), ("missing_field", False)),
        (an_entry(SEARCH, eventId="4"), ("created", True)),
        (an_entry(MOVES, eventId="5"), ("created", False)),
        (an_entry({"emailopen": {}}, eventId="6", eventTime=a_moment() - timedelta(days=1)), ("created", False)),
        (an_entry(SEARCH, eventId="7", email=ANA, _id=CHOSEN), ("identifiers_disagree", False)),
        (an_entry(SEARCH, eventId="8", _id=CHOSEN), ("created", True)),
        (an_entry({"login": {"email": NEW}}, eventId="9", _id=CHOSEN), ("created", False)),
        (an_entry(SEARCH, eventId="10", email=NEW), ("created", False)),
        (an_entry({"confirmation": {"orderId": "A-2"}}, eventId="11", email=DISCARDED), ("created", True)),
        (an_entry(SEARCH, eventId="12", email=NEW), ("created", False)),
        (an_entry(SEARCH, eventId="12", eventTime=a_moment() - timedelta(hours=1), email=NEW), ("created", False)),
    ],
    "the id of another new user": [
        (an_entry(MOVES, _id=X), ("created", True)),
        (an_entry(MOVES_AGAIN, _id=X, email=ANA), ("identifiers_disagree", False)),
        (an_entry(MOVES, _id=Y, email=ANA), ("created", True)),
        (an_entry(MOVES_AGAIN, _id=Y, email=BOB), ("identifiers_disagree", False)),
    ],
    "an id that no user can have": [
        (an_entry(MOVES), ("created", True)),
        (an_entry(MOVES_AGAIN, _id=GONE), ("user_erased", False)),
        (an_entry(MOVES_AGAIN, _id=GONE, email=ANA), ("identifiers_disagree", False)),
    ],
    "a login by id of a user who was created with an email": [
        (an_entry(SEARCH, _id=X, email=ANA), ("created", True)),
        (an_entry({"login": {"email": TAKEN, "size": 7}}, _id=X), ("created", False)),
    ],
    "a plain event between": [
        (an_entry({"confirmation": {"orderId": "taken"}}), ("discarded", False)),
        (an_entry(SEARCH), ("created", True)),
        (an_entry(MOVES), ("created", False)),
    ],
}


@pytest.mark.parametrize("name", BATCHES)
def test_a_batch_creates_users_as_single_events_would_and_a_check_predicts_it(table: Table, name: str) -> None:
    batch, expected = zip(*BATCHES[name], strict=True)
    together, alone = (Account(table, each) for each in ("shop", "other"))
    for account in (together, alone):
        a_user(account, TAKEN)
        send(account, {"confirmation": {"orderId": "taken"}}, email=TAKEN)
        users.change(GONE, {}, True, account, a_moment())
        users.erase(GONE, account, a_moment())
    before = everything(table)
    checked = Account(Overlay.over(table), together.name)
    assert tuple(outcomes(send_batch(checked, batch, upsert=True))) == expected
    assert everything(table) == before
    assert tuple(outcomes(send_batch(together, batch, upsert=True))) == expected
    assert tuple(outcomes(send_batch(alone, [entry], upsert=True))[0] for entry in batch) == expected
    for email in (ANA, BOB, TAKEN, DISCARDED, NEW):
        assert seen(together, email) == seen(alone, email)
    again = [status for status, _ in outcomes(send_batch(together, batch, upsert=True))]
    assert again == ["duplicate" if status == "created" else status for status, _ in expected]


def seen(account: Account, email: str) -> tuple[dict[str, Any], int] | None:
    """The user's attributes, without those that differ between two accounts, and the number of events."""
    try:
        profile = the_profile(account, email) | dict.fromkeys(("_id", "createdOn", "lastPurchaseDate"))
    except NotFound:
        return None
    return profile, len(the_events(account, email))


def test_a_user_who_is_erased_during_a_batch_is_created_again_with_another_id(account: Account) -> None:
    orders = [an_entry({"confirmation": {"orderId": n}}, email=who) for n, who in [(1, ANA), (1, BOB), (2, ANA)]]
    with at_call(account.table.client, "after", 2, lambda: users.erase(ANA, account, a_moment())):
        first, other, again = send_batch(account, orders, upsert=True)
    assert outcomes([first, other, again]) == [("created", True), ("discarded", False), ("created", True)]
    assert isinstance(first, Outcome)
    assert first.user_id != the_profile(account)["_id"]
