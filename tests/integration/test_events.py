"""Contract sections 4 and 5: what an event stores, and what discards it."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from builders import ANA, a_moment, a_user, an_entry, an_example, as_sent, send, send_batch, the_events, the_profile
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

pytestmark = both_engines
BOB = "bob@example.com"
MILLISECOND = timedelta(milliseconds=1)
CRAWLER = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
SEARCH: dict[str, Any] = {"search": {"query": "x"}}


@pytest.mark.parametrize("event_type", CATALOGUE)
def test_an_event_is_stored_as_sent_but_not_of_nobody_or_a_bot(account: Account, event_type: str) -> None:
    ana, now = a_user(account), a_moment()
    event = {event_type: an_example(event_type) | {"extra": [1.5, {"deep": None}], "text": "ñ"}}
    before = everything(account.table)
    nobodies: list[dict[str, Any]] = [{"_id": each} for each in (new_id(now), f"{ana.id}#", "x", "")]
    for user in [{"email": BOB}, *nobodies]:
        with pytest.raises(NotFound):
            send(account, event, **user)
    assert send(account, event, email=ANA, userAgent=CRAWLER, city="Madrid").restriction == BOT
    assert everything(account.table) == before
    answer = send(account, event, now=now, email=ANA, city="Madrid", tel="+34 600")
    assert {"city": "Madrid", "tel": "+34 600"}.items() <= the_profile(account).items()
    [stored], after = users.timeline(ANA, {}, account, a_moment())
    assert (stored.id, {stored.type: stored.payload}) == (answer.event_id, as_sent(event))
    assert (time_of(stored.id), after) == (now, None)


def test_a_user_is_named_by_email_by_id_or_by_both(account: Account) -> None:
    ana, bob = a_user(account), a_user(account, BOB)
    names: list[dict[str, Any]] = [{"email": " ANA@Example.com"}, {"_id": ana.id}, {"email": ANA, "_id": ana.id}]
    assert {send(account, SEARCH, **user).user_id for user in names} == {ana.id}
    with pytest.raises(Invalid) as refused:
        send(account, SEARCH, email=ANA, _id=bob.id)
    assert refused.value.problems[0].message == "User identifiers disagree"
    assert (len(the_events(account)), the_events(account, BOB)) == (3, [])


# --- Confirmation ---------------------------------------------------------------------------------


def test_purchases_are_counted_exactly(account: Account) -> None:
    a_user(account)
    assert not {"isCustomer", "numberOfPurchases"} & the_profile(account).keys()
    now = a_moment()
    for order, total in enumerate([0.1, "0.2", "19.90", -5, None, "not a number", "99999999999.99"]):
        send(account, {"confirmation": {"orderId": order, "total": total}}, now=now + order * MILLISECOND)
    assert the_profile(account).items() >= {
        ("isCustomer", True),
        ("numberOfPurchases", 7),
        ("totalPurchasesValue", Decimal("100000000015.19")),
        ("lastPurchaseValue", Decimal("99999999999.99")),
        ("lastPurchaseDate", iso(now + 6 * MILLISECOND)),
    }


@pytest.mark.parametrize("order", [{"total": "59,90 €"}, {"total": None}, {"generic": {"total": "1e9999999"}}])
def test_a_total_that_is_not_a_number_is_stored_unchanged_and_reported(account: Account, order: dict[str, Any]) -> None:
    a_user(account)
    answer = send(account, {"confirmation": {"orderId": 1} | order})
    assert [warning.field for warning in answer.warnings] == ["event.confirmation.total"]
    [event] = users.timeline(ANA, {}, account, a_moment())[0]
    assert event.payload == {"orderId": 1} | order
    assert "totalPurchasesValue" not in the_profile(account)


# --- Attributes -----------------------------------------------------------------------------------

VALUES: dict[str, Any] = {
    "text": "ñ\x00日", "empty": "", "whole": 1, "money": 19.9, "zero": 0, "yes": True, "no": False, "nothing": None,
    "list": [1, "1", [], {}, None], "object": {"a.b": {"#": [None]}}, "size": 1, "name": "x", "a.b": 2, "#a": 3,
    ":v": 4, " ": 5, "SELECT": 6, "attributes": {"x": 1}, "tag": "x", "createdon": "x", "é": 7, "pk": "x", "x" * 500: 8,
}  # fmt: skip


@pytest.mark.parametrize("event_type", ["update", "login"])
def test_attributes_of_any_name_value_and_number_come_back_as_sent(account: Account, event_type: str) -> None:
    a_user(account, kept="x", tags=["kept", "gone"])
    send(account, {event_type: VALUES})
    profile = the_profile(account)
    for name, value in as_sent(VALUES).items():
        assert (profile[name], type(profile[name])) == (value, type(value))
    for count in (99, 100, 101, 500):
        send(account, {event_type: {f"{count}-{n}": n for n in range(count)} | {"tags": ["new", "-gone"]}})
        profile = the_profile(account)
        assert sum(name.startswith(f"{count}-") for name in profile) == count
        assert (profile["kept"], profile["tags"]) == ("x", ["kept", "new"])


def test_an_update_never_changes_who_the_user_is(account: Account) -> None:
    ana, bob = a_user(account), a_user(account, BOB)
    identity = {"email": BOB, "_id": bob.id, "createdOn": "x", "isCustomer": True}
    answer = send(account, {"update": {**identity, "city": "Vigo"}})
    assert {warning.field for warning in answer.warnings} == {f"event.update.{name}" for name in identity}
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


def test_an_anonymous_user_gets_an_email_that_no_user_has_or_is_replaced_by_its_owner(account: Account) -> None:
    first, second = a_user(account, None), a_user(account, None, city="Vigo")
    got = send(account, {"login": {"email": " Ana@example.com", "visits": 1}}, _id=first.id)
    assert the_profile(account) == first.flat() | {"email": ANA, "visits": 1}
    replaced = send(account, {"login": {"email": ANA, "visits": 2, "tags": "vip"}}, _id=second.id, tel="1")
    for answer in (got, replaced):
        assert (answer.user_id, answer.warnings) == (first.id, ())
    assert the_profile(account) == first.flat() | {"email": ANA, "visits": 2, "tags": ["vip"], "tel": "1"}
    assert the_events(account) == [replaced.event_id, got.event_id]
    assert (the_profile(account, second.id), the_events(account, second.id)) == (second.flat(), [])


@pytest.mark.parametrize("owner", [None, BOB])
def test_an_identified_user_keeps_the_identity_with_a_warning(account: Account, owner: str | None) -> None:
    ana = a_user(account)
    if owner:
        a_user(account, owner)
    answer = send(account, {"login": {"email": BOB, "visits": 1}})
    assert (answer.user_id, [warning.field for warning in answer.warnings]) == (ana.id, ["event.login.email"])
    assert the_profile(account) == ana.flat() | {"visits": 1}


def test_an_identified_user_is_not_the_other_who_has_an_event_of_that_id_and_time(account: Account) -> None:
    ana, bob, now = a_user(account), a_user(account, BOB), a_moment()
    logins = [an_entry({"login": {"email": BOB}}, eventId="e-1", eventTime=now, email=email) for email in (BOB, ANA)]
    told = [(each.status, each.user_id) for each in send_batch(account, logins) if isinstance(each, Outcome)]
    assert told == [("created", bob.id), ("created", ana.id)]


@pytest.mark.parametrize("type_and_name", ["login.email", "update.numberOfPurchases", "update.email"])
def test_an_event_of_which_all_is_left_out_says_so(account: Account, type_and_name: str) -> None:
    """It changes nothing in the profile, so only the event is stored."""
    a_user(account)
    event_type, name = type_and_name.split(".")
    event = {event_type: {name: BOB}}
    outcomes = [send(account, event), *send_batch(account, [an_entry(event)] * 2)]
    for outcome, status in zip(outcomes, ("created", "created", "duplicate"), strict=True):
        assert isinstance(outcome, Outcome)
        assert (outcome.status, [each.field for each in outcome.warnings]) == (status, [f"event.{type_and_name}"])


@pytest.mark.parametrize("login", [{}, {"email": None}, {"email": "ANA@example.com"}])
def test_a_login_without_another_address_sets_attributes(account: Account, login: dict[str, Any]) -> None:
    ana = a_user(account)
    answer = send(account, {"login": login | {"visits": 1}})
    assert (answer.user_id, answer.warnings) == (ana.id, ())
    assert the_profile(account) == ana.flat() | {"visits": 1}
