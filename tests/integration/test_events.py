"""Contract sections 4 and 5: what an event stores, and what discards it."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from builders import (
    ANA,
    a_moment,
    a_user,
    an_entry,
    an_example,
    as_sent,
    parsed,
    send,
    send_batch,
    the_events,
    the_profile,
)
from domain.event_types import CATALOGUE
from domain.ids import new_id, time_of
from domain.outcomes import Outcome
from domain.problems import Invalid, NotFound
from domain.restrictions import BOT
from domain.times import iso
from engines import both_engines
from stored import everything
from table import Account
from use_cases import users
from use_cases.collect import collect_one

pytestmark = both_engines
BOB = "bob@example.com"
MILLISECOND = timedelta(milliseconds=1)
CRAWLER = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"


# --- Every event ----------------------------------------------------------------------------------


@pytest.mark.parametrize("event_type", CATALOGUE)
def test_an_event_is_stored_as_it_was_sent_at_its_time(account: Account, event_type: str) -> None:
    a_user(account)
    payload = an_example(event_type) | {"extra": [1.5, {"deep": None}], "text": "ñ"}
    now = a_moment()
    answer = send(account, {event_type: payload}, now=now, email=ANA, city="Madrid", tel="+34 600")
    assert {"city": "Madrid", "tel": "+34 600"}.items() <= the_profile(account).items()
    [event], after = users.timeline(ANA, {}, account, a_moment())
    assert (event.id, event.type, event.payload) == (answer.event_id, event_type, as_sent(payload))
    assert time_of(event.id) == now
    assert after is None


@pytest.mark.parametrize("event_type", CATALOGUE)
def test_an_event_of_an_unknown_user_stores_nothing(account: Account, event_type: str) -> None:
    ana = a_user(account)
    before = everything(account.table)
    ids = (new_id(a_moment()), f"{ana.id}#", "x", "")
    nobodies: list[dict[str, Any]] = [{"email": BOB}, *({"_id": each} for each in ids)]
    for user in nobodies:
        with pytest.raises(NotFound):
            send(account, {event_type: an_example(event_type)}, **user)
    assert everything(account.table) == before


def test_a_user_is_named_by_email_by_id_or_by_both(account: Account) -> None:
    ana, bob = a_user(account), a_user(account, BOB)
    names: list[dict[str, Any]] = [{"email": " ANA@Example.com"}, {"_id": ana.id}, {"email": ANA, "_id": ana.id}]
    for user in names:
        assert send(account, {"search": {"query": "x"}}, **user).user_id == ana.id
    with pytest.raises(Invalid) as refused:
        send(account, {"search": {"query": "x"}}, email=ANA, _id=bob.id)
    assert refused.value.problems[0].message == "User identifiers disagree"
    assert len(the_events(account)) == 3
    assert the_events(account, BOB) == []


# --- Confirmation ---------------------------------------------------------------------------------


def test_purchases_are_counted_exactly(account: Account) -> None:
    a_user(account)
    assert not {"isCustomer", "numberOfPurchases"} & the_profile(account).keys()
    totals = [0.1, "0.2", "19.90", -5, None, "not a number", "99999999999.99"]
    now = a_moment()
    for order, total in enumerate(totals):
        send(account, {"confirmation": {"orderId": order, "total": total}}, now=now + order * MILLISECOND)
    profile = the_profile(account)
    assert profile["isCustomer"] is True
    assert profile["numberOfPurchases"] == 7
    assert profile["totalPurchasesValue"] == Decimal("100000000015.19")
    assert profile["lastPurchaseValue"] == Decimal("99999999999.99")
    assert profile["lastPurchaseDate"] == iso(now + 6 * MILLISECOND)


@pytest.mark.parametrize("order", [{"total": "59,90 €"}, {"total": None}, {"generic": {"total": "1e9999999"}}])
def test_a_total_that_is_not_a_number_is_stored_unchanged_and_reported(account: Account, order: dict[str, Any]) -> None:
    a_user(account)
    answer = send(account, {"confirmation": {"orderId": 1} | order})
    assert [warning.field for warning in answer.warnings] == ["event.confirmation.total"]
    [event] = users.timeline(ANA, {}, account, a_moment())[0]
    assert event.payload == {"orderId": 1} | order
    assert "totalPurchasesValue" not in the_profile(account)


# --- Bots -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("event_type", CATALOGUE)
def test_an_event_from_a_bot_changes_nothing(account: Account, event_type: str) -> None:
    a_user(account)
    before = everything(account.table)
    answer = send(account, {event_type: an_example(event_type)}, email=ANA, userAgent=CRAWLER, city="Madrid")
    assert answer.restriction == BOT
    assert everything(account.table) == before


# --- Attributes -----------------------------------------------------------------------------------

VALUES: dict[str, Any] = {
    "text": "ñ\x00日", "empty": "", "whole": 1, "money": 19.9, "zero": 0, "yes": True, "no": False, "nothing": None,
    "list": [1, "1", [], {}, None], "object": {"a.b": {"#": [None]}}, "size": 1, "name": "x", "a.b": 2, "#a": 3,
    ":v": 4, " ": 5, "SELECT": 6, "attributes": {"x": 1}, "tag": "x", "createdon": "x", "é": 7, "pk": "x", "x" * 500: 8,
}  # fmt: skip


@pytest.mark.parametrize("event_type", ["update", "login"])
def test_attributes_of_any_name_and_value_come_back_as_sent(account: Account, event_type: str) -> None:
    a_user(account)
    send(account, {event_type: VALUES})
    profile = the_profile(account)
    for name, value in as_sent(VALUES).items():
        assert profile[name] == value
        assert type(profile[name]) is type(value)


@pytest.mark.parametrize("event_type", ["update", "login"])
@pytest.mark.parametrize("count", [99, 100, 101, 500])
def test_many_attributes_are_set_at_once(account: Account, event_type: str, count: int) -> None:
    a_user(account, kept="x", tags=["kept", "gone"])
    send(account, {event_type: {f"a{n}": n for n in range(count)} | {"tags": ["new", "-gone"]}})
    profile = the_profile(account)
    assert sum(name.startswith("a") for name in profile) == count
    assert (profile["kept"], profile["tags"]) == ("x", ["kept", "new"])


def test_an_update_never_changes_who_the_user_is(account: Account) -> None:
    ana, bob = a_user(account), a_user(account, BOB)
    answer = send(
        account, {"update": {"email": BOB, "_id": bob.id, "createdOn": "x", "isCustomer": True, "city": "Vigo"}}
    )
    assert {warning.field for warning in answer.warnings} == {
        "event.update.email", "event.update._id", "event.update.createdOn", "event.update.isCustomer",
    }  # fmt: skip
    assert the_profile(account) == ana.flat() | {"city": "Vigo"}
    assert the_profile(account, BOB) == bob.flat()


def test_tags_are_added_and_removed(account: Account) -> None:
    a_user(account)
    send(account, {"update": {"tags": "VIP;New one"}})
    assert the_profile(account)["tags"] == ["newone", "vip"]
    send(account, {"login": {"tags": ["-vip", "a-b", "-never there"]}})
    assert the_profile(account)["tags"] == ["ab", "newone"]
    send(account, {"update": {"tags": "-ab;-newone"}})
    assert "tags" not in the_profile(account)


# --- Login ----------------------------------------------------------------------------------------


def test_an_anonymous_user_gets_an_email_that_no_user_has(account: Account) -> None:
    anonymous = a_user(account, None)
    answer = send(account, {"login": {"email": " Ana@example.com", "visits": 1}}, _id=anonymous.id)
    assert (answer.user_id, answer.warnings) == (anonymous.id, ())
    profile = the_profile(account)
    assert (profile["_id"], profile["email"], profile["visits"]) == (anonymous.id, ANA, 1)
    assert the_events(account) == [answer.event_id]


def test_an_anonymous_user_is_replaced_by_the_owner_of_the_address(account: Account) -> None:
    ana, anonymous = a_user(account), a_user(account, None, city="Vigo")
    answer = send(account, {"login": {"email": ANA, "visits": 1, "tags": "vip"}}, _id=anonymous.id, tel="1")
    assert (answer.user_id, answer.warnings) == (ana.id, ())
    assert the_profile(account) == ana.flat() | {"visits": 1, "tags": ["vip"], "tel": "1"}
    assert the_events(account) == [answer.event_id]
    assert the_profile(account, anonymous.id) == anonymous.flat()
    assert the_events(account, anonymous.id) == []


@pytest.mark.parametrize("owner", [None, BOB])
def test_an_identified_user_keeps_the_identity_with_a_warning(account: Account, owner: str | None) -> None:
    ana = a_user(account)
    if owner:
        a_user(account, owner)
    answer = send(account, {"login": {"email": BOB, "visits": 1}})
    assert answer.user_id == ana.id
    assert [warning.field for warning in answer.warnings] == ["event.login.email"]
    assert the_profile(account) == ana.flat() | {"visits": 1}


def test_an_identified_user_is_not_the_other_who_has_an_event_of_that_id_and_time(account: Account) -> None:
    ana, bob, now = a_user(account), a_user(account, BOB), a_moment()
    logins = [an_entry({"login": {"email": BOB}}, eventId="e-1", eventTime=now, email=email) for email in (BOB, ANA)]
    told = [(each.status, each.user_id) for each in send_batch(account, logins) if isinstance(each, Outcome)]
    assert told == [("created", bob.id), ("created", ana.id)]


@pytest.mark.parametrize("own_id", [{}, {"eventId": "e-1", "eventTime": iso(a_moment())}])
@pytest.mark.parametrize(
    "event", [{"login": {"email": BOB}}, {"update": {"numberOfPurchases": 9}}, {"update": {"email": BOB}}]
)
def test_an_event_of_which_all_is_left_out_says_so(
    account: Account, event: dict[str, Any], own_id: dict[str, str]
) -> None:
    """It changes nothing in the profile, so only the event is stored."""
    a_user(account)
    [name] = next(iter(event.values()))
    request = parsed({"user": {"email": ANA}, "event": as_sent(event), **own_id})
    for status in ["created", "duplicate"] if own_id else ["created"]:
        outcome = collect_one(request, account, a_moment())
        assert outcome.status == status
        assert [warning.field for warning in outcome.warnings] == [f"event.{next(iter(event))}.{name}"]


@pytest.mark.parametrize("login", [{}, {"email": None}, {"email": "ANA@example.com"}])
def test_a_login_without_another_address_sets_attributes(account: Account, login: dict[str, Any]) -> None:
    ana = a_user(account)
    answer = send(account, {"login": login | {"visits": 1}})
    assert (answer.user_id, answer.warnings) == (ana.id, ())
    assert the_profile(account) == ana.flat() | {"visits": 1}


def test_a_user_who_claims_two_addresses_at_once_gets_one(account: Account) -> None:
    """The second login arrives after the first has looked up who the user is, and before it writes."""
    anonymous = a_user(account, None)
    first_ids: list[str] = []
    begun = False

    def log_in_before_the_write(**_: Any) -> None:
        nonlocal begun
        if not begun:
            begun = True
            first_ids.append(send(account, {"login": {"email": BOB}}, _id=anonymous.id).event_id)

    events = account.table.client.meta.events
    events.register_first("before-parameter-build.dynamodb.TransactWriteItems", log_in_before_the_write)
    try:
        answer = send(account, {"login": {"email": ANA, "visits": 1}}, _id=anonymous.id)
    finally:
        events.unregister("before-parameter-build.dynamodb.TransactWriteItems", log_in_before_the_write)
    assert [warning.field for warning in answer.warnings] == ["event.login.email"]
    profile = the_profile(account, BOB)
    assert (profile["_id"], profile["email"], profile["visits"]) == (anonymous.id, BOB, 1)
    with pytest.raises(NotFound):
        users.get(ANA, account)
    assert sorted(the_events(account, BOB)) == sorted([*first_ids, answer.event_id])
