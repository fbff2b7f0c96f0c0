"""Contract sections 4 and 5: what an event stores, and what keeps it out."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from builders import ANA, a_moment, a_user, an_example, as_sent, send, the_events, the_profile
from domain import users
from domain.events import CATALOGUE
from domain.ids import new_id, time_of
from domain.problems import Invalid, NotFound, TooLarge
from domain.profile import iso
from domain.store import Store
from engines import not_on_moto

BOB = "bob@example.com"
MILLISECOND = timedelta(milliseconds=1)
WINDOW = timedelta(minutes=20)
CRAWLER = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"


def everything(store: Store) -> list[dict[str, Any]]:
    """All items of the table, in order."""
    pages = store.table.client.get_paginator("scan").paginate(TableName=store.table.name)
    return sorted((dict(item) for page in pages for item in page["Items"]), key=repr)


# --- Every event ----------------------------------------------------------------------------------


@pytest.mark.parametrize("event_type", CATALOGUE)
def test_an_event_is_stored_as_it_was_sent_at_its_time(store: Store, event_type: str) -> None:
    a_user(store)
    payload = an_example(event_type) | {"extra": [1.5, {"deep": None}], "text": "ñ"}
    now = a_moment()
    answer = send(store, {event_type: payload}, now=now)
    [event], after = users.events(ANA, {}, store)
    assert (event.id, event.type, event.payload) == (answer.event_id, event_type, as_sent(payload))
    assert time_of(event.id) == now
    assert after is None


@pytest.mark.parametrize("event_type", CATALOGUE)
def test_an_event_of_nobody_stores_nothing(store: Store, event_type: str) -> None:
    ana = a_user(store)
    before = everything(store)
    ids = (new_id(a_moment()), f"{ana.id}#", "x", "")
    nobodies: list[dict[str, Any]] = [{"email": BOB}, *({"_id": each} for each in ids)]
    for user in nobodies:
        with pytest.raises(NotFound):
            send(store, {event_type: an_example(event_type)}, **user)
    assert everything(store) == before


def test_a_user_is_named_by_email_by_id_or_by_both(store: Store) -> None:
    ana, bob = a_user(store), a_user(store, BOB)
    names: list[dict[str, Any]] = [{"email": " ANA@Example.com"}, {"_id": ana.id}, {"email": ANA, "_id": ana.id}]
    for user in names:
        assert send(store, {"search": {"query": "x"}}, **user).user_id == ana.id
    with pytest.raises(Invalid) as refused:
        send(store, {"search": {"query": "x"}}, email=ANA, _id=bob.id)
    assert refused.value.problems[0].message == "User identifiers disagree"
    assert len(the_events(store)) == 3
    assert the_events(store, BOB) == []


@pytest.mark.parametrize("event_type", CATALOGUE)
def test_what_the_user_object_carries_is_set_on_the_profile(store: Store, event_type: str) -> None:
    a_user(store, city="Vigo")
    send(store, {event_type: an_example(event_type)}, email=ANA, city="Madrid", tel="+34 600")
    profile = the_profile(store)
    assert (profile["city"], profile["tel"]) == ("Madrid", "+34 600")


# --- Confirmation ---------------------------------------------------------------------------------


@pytest.mark.parametrize("again", [123, "123", " 123 ", 123.0])
def test_an_order_counts_once_for_ever_in_an_account(store: Store, again: object) -> None:
    a_user(store), a_user(store, BOB)
    assert send(store, {"confirmation": {"orderId": 123, "total": "10.10"}}).discarded is None
    before = everything(store)
    late = a_moment() + timedelta(days=4000)
    discarded = send(store, {"confirmation": {"orderId": again, "total": 5}}, now=late, email=BOB, city="Madrid")
    assert discarded.discarded == "A confirmation with this orderId was already received"
    assert everything(store) == before, "a discarded event changes nothing at all"


def test_order_ids_are_case_sensitive(store: Store) -> None:
    a_user(store)
    answers = [send(store, {"confirmation": {"orderId": order}}) for order in ("a-1", "A-1", "0123", 123)]
    assert [answer.discarded for answer in answers] == [None] * 4


def test_purchases_are_counted_exactly(store: Store) -> None:
    a_user(store)
    assert not {"isCustomer", "numberOfPurchases"} & the_profile(store).keys()
    totals = [0.1, "0.2", "19.90", -5, None, "not a number", "99999999999.99"]
    now = a_moment()
    for order, total in enumerate(totals):
        send(store, {"confirmation": {"orderId": order, "total": total}}, now=now + order * MILLISECOND)
    profile = the_profile(store)
    assert profile["isCustomer"] is True
    assert profile["numberOfPurchases"] == 7
    assert profile["totalPurchasesValue"] == Decimal("100000000015.19")
    assert profile["lastPurchaseValue"] == Decimal("99999999999.99")
    assert profile["lastPurchaseDate"] == iso(now + 6 * MILLISECOND)


@pytest.mark.parametrize("order", [{"total": "59,90 €"}, {"total": None}, {"generic": {"total": "1e9999999"}}])
def test_a_total_that_is_no_number_is_kept_as_sent_and_reported(store: Store, order: dict[str, Any]) -> None:
    a_user(store)
    answer = send(store, {"confirmation": {"orderId": 1} | order})
    assert [warning.field for warning in answer.warnings] == ["event.confirmation.total"]
    [event] = users.events(ANA, {}, store)[0]
    assert event.payload == {"orderId": 1} | order
    assert "totalPurchasesValue" not in the_profile(store)


def test_an_order_without_a_total_is_nothing_to_warn_of(store: Store) -> None:
    a_user(store)
    assert send(store, {"confirmation": {"orderId": 1}}).warnings == ()


# --- Email open -----------------------------------------------------------------------------------


def test_an_open_is_accepted_once_in_20_minutes_from_the_first(store: Store) -> None:
    a_user(store)
    first = a_moment()

    def opened(after: timedelta) -> bool:
        return send(store, {"emailopen": {}}, now=first + after).discarded is None

    assert opened(timedelta())
    before = everything(store)
    assert not opened(timedelta())
    assert not opened(timedelta(minutes=10))
    assert not opened(WINDOW - MILLISECOND)
    assert everything(store) == before, "discarded opens neither change anything nor extend the window"
    # The marker is still there: no engine here deletes by TTL. Its time decides.
    assert opened(WINDOW)
    assert not opened(2 * WINDOW - MILLISECOND)
    assert opened(2 * WINDOW)
    assert the_profile(store)["lastEmailOpenDate"] == iso(first + 2 * WINDOW)
    assert len(the_events(store)) == 3


def test_the_marker_of_an_open_is_left_to_ttl_after_its_window(store: Store) -> None:
    a_user(store)
    now = a_moment()
    send(store, {"emailopen": {}}, now=now)
    [expires] = [int(item["expiresAt"]["N"]) for item in everything(store) if "expiresAt" in item]
    end = (now + WINDOW).timestamp()
    assert end <= expires <= end + 60


def test_each_user_has_a_window_of_their_own(store: Store) -> None:
    a_user(store), a_user(store, BOB)
    assert [send(store, {"emailopen": {}}, email=email).discarded for email in (ANA, BOB)] == [None, None]


def test_an_update_or_another_event_is_not_kept_out_by_the_window(store: Store) -> None:
    a_user(store)
    send(store, {"emailopen": {}})
    assert send(store, {"search": {"query": "x"}}).discarded is None


# --- Bots -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("event_type", CATALOGUE)
def test_an_event_from_a_bot_changes_nothing(store: Store, event_type: str) -> None:
    a_user(store)
    before = everything(store)
    answer = send(store, {event_type: an_example(event_type)}, email=ANA, userAgent=CRAWLER, city="Madrid")
    assert answer.discarded == "An event from a bot"
    assert everything(store) == before


# --- Attributes -----------------------------------------------------------------------------------

VALUES: dict[str, Any] = {
    "text": "ñ\x00日", "empty": "", "whole": 1, "money": 19.9, "zero": 0, "yes": True, "no": False, "nothing": None,
    "list": [1, "1", [], {}, None], "object": {"a.b": {"#": [None]}}, "size": 1, "name": "x", "a.b": 2, "#a": 3,
    ":v": 4, " ": 5, "SELECT": 6, "attributes": {"x": 1}, "tag": "x", "createdon": "x", "é": 7, "pk": "x", "x" * 500: 8,
}  # fmt: skip


@pytest.mark.parametrize("event_type", ["update", "login"])
def test_attributes_of_any_name_and_value_come_back_as_sent(store: Store, event_type: str) -> None:
    a_user(store)
    send(store, {event_type: VALUES})
    profile = the_profile(store)
    for name, value in as_sent(VALUES).items():
        assert profile[name] == value
        assert type(profile[name]) is type(value)


@pytest.mark.parametrize("event_type", ["update", "login"])
def test_an_attribute_is_replaced_and_the_others_stay(store: Store, event_type: str) -> None:
    a_user(store, city={"old": 1}, kept=1)
    send(store, {event_type: {"city": {"new": 2}}})
    profile = the_profile(store)
    assert (profile["city"], profile["kept"]) == ({"new": 2}, 1)


@pytest.mark.parametrize("event_type", ["update", "login"])
@pytest.mark.parametrize("count", [99, 100, 101, 500])
def test_many_attributes_are_set_at_once(store: Store, event_type: str, count: int) -> None:
    a_user(store, kept="x", tags=["kept", "gone"])
    send(store, {event_type: {f"a{n}": n for n in range(count)} | {"tags": ["new", "-gone"]}})
    profile = the_profile(store)
    assert sum(name.startswith("a") for name in profile) == count
    assert (profile["kept"], profile["tags"]) == ("x", ["kept", "new"])


def test_an_update_never_changes_who_the_user_is(store: Store) -> None:
    ana, bob = a_user(store), a_user(store, BOB)
    answer = send(
        store, {"update": {"email": BOB, "_id": bob.id, "createdOn": "x", "isCustomer": True, "city": "Vigo"}}
    )
    assert {warning.field for warning in answer.warnings} == {
        "event.update.email", "event.update._id", "event.update.createdOn", "event.update.isCustomer",
    }  # fmt: skip
    assert the_profile(store) == ana.flat() | {"city": "Vigo"}
    assert the_profile(store, BOB) == bob.flat()


def test_tags_are_added_and_removed(store: Store) -> None:
    a_user(store)
    send(store, {"update": {"tags": "VIP;New one"}})
    assert the_profile(store)["tags"] == ["newone", "vip"]
    send(store, {"login": {"tags": ["-vip", "a-b", "-never there"]}})
    assert the_profile(store)["tags"] == ["ab", "newone"]
    send(store, {"update": {"tags": "-ab;-newone"}})
    assert "tags" not in the_profile(store)


@not_on_moto
def test_a_profile_that_would_exceed_400_kb_is_refused_and_nothing_changes(store: Store) -> None:
    a_user(store, one="x" * 250_000)
    before = everything(store)
    with pytest.raises(TooLarge):
        send(store, {"update": {"two": "x" * 200_000}})
    assert everything(store) == before


@not_on_moto
@pytest.mark.parametrize("event_type", ["search", "emailopen"])
def test_an_event_that_exceeds_400_kb_is_refused_and_nothing_changes(store: Store, event_type: str) -> None:
    a_user(store)
    before = everything(store)
    with pytest.raises(TooLarge) as refused:
        send(store, {event_type: {"query": "x" * 410_000}})
    assert refused.value.problems[0].field == "event"
    assert everything(store) == before


@not_on_moto
@pytest.mark.parametrize(
    "text", ["1E-130", "-1E-130", "1.5E-130", "9." + "9" * 37 + "E125", "9" * 38, "-" + "9" * 38, "-0"]
)
def test_numbers_up_to_dynamodbs_limits_come_back(store: Store, text: str) -> None:
    users.create({"email": ANA, "number": Decimal(text)}, store, a_moment())
    assert the_profile(store)["number"] == Decimal(text)


@not_on_moto
def test_values_nested_to_the_last_level_come_back(store: Store) -> None:
    value: Any = "x"
    while True:
        try:
            users.create({"_": value}, store, a_moment())
        except Invalid:
            break
        value = [value]
    deepest = value[0]
    a_user(store)
    send(store, {"update": {"deep": deepest[0]}})
    send(store, {"search": {"query": "x", "deep": deepest[0]}})
    assert the_profile(store)["deep"] == deepest[0]


# --- Login ----------------------------------------------------------------------------------------


def test_an_anonymous_user_takes_an_address_that_is_nobodys(store: Store) -> None:
    anonymous = a_user(store, None)
    answer = send(store, {"login": {"email": " Ana@example.com", "visits": 1}}, _id=anonymous.id)
    assert (answer.user_id, answer.warnings) == (anonymous.id, ())
    profile = the_profile(store)
    assert (profile["_id"], profile["email"], profile["visits"]) == (anonymous.id, ANA, 1)
    assert the_events(store) == [answer.event_id]


def test_an_anonymous_user_is_replaced_by_the_owner_of_the_address(store: Store) -> None:
    ana, anonymous = a_user(store), a_user(store, None, city="Vigo")
    answer = send(store, {"login": {"email": ANA, "visits": 1, "tags": "vip"}}, _id=anonymous.id, tel="1")
    assert (answer.user_id, answer.warnings) == (ana.id, ())
    assert the_profile(store) == ana.flat() | {"visits": 1, "tags": ["vip"], "tel": "1"}
    assert the_events(store) == [answer.event_id]
    assert the_profile(store, anonymous.id) == anonymous.flat()
    assert the_events(store, anonymous.id) == []


@pytest.mark.parametrize("owner", [None, BOB])
def test_an_identified_user_keeps_the_identity_with_a_warning(store: Store, owner: str | None) -> None:
    ana = a_user(store)
    if owner:
        a_user(store, owner)
    answer = send(store, {"login": {"email": BOB, "visits": 1}})
    assert answer.user_id == ana.id
    assert [warning.field for warning in answer.warnings] == ["event.login.email"]
    assert the_profile(store) == ana.flat() | {"visits": 1}


@pytest.mark.parametrize("login", [{}, {"email": None}, {"email": "ANA@example.com"}])
def test_a_login_without_another_address_sets_attributes(store: Store, login: dict[str, Any]) -> None:
    ana = a_user(store)
    answer = send(store, {"login": login | {"visits": 1}})
    assert (answer.user_id, answer.warnings) == (ana.id, ())
    assert the_profile(store) == ana.flat() | {"visits": 1}


def test_an_anonymous_user_may_log_in_without_an_address(store: Store) -> None:
    anonymous = a_user(store, None)
    send(store, {"login": {"visits": 1}}, _id=anonymous.id)
    assert the_profile(store, anonymous.id) == anonymous.flat() | {"visits": 1}


def test_a_user_who_claims_two_addresses_at_once_gets_one(store: Store) -> None:
    """The second login arrives after the first has looked up who the user is, and before it writes."""
    anonymous = a_user(store, None)
    first_ids: list[str] = []
    begun = False

    def log_in_before_the_write(**_: Any) -> None:
        nonlocal begun
        if not begun:
            begun = True
            first_ids.append(send(store, {"login": {"email": BOB}}, _id=anonymous.id).event_id)

    events = store.table.client.meta.events
    events.register_first("before-parameter-build.dynamodb.TransactWriteItems", log_in_before_the_write)
    try:
        answer = send(store, {"login": {"email": ANA, "visits": 1}}, _id=anonymous.id)
    finally:
        events.unregister("before-parameter-build.dynamodb.TransactWriteItems", log_in_before_the_write)
    assert [warning.field for warning in answer.warnings] == ["event.login.email"]
    profile = the_profile(store, BOB)
    assert (profile["_id"], profile["email"], profile["visits"]) == (anonymous.id, BOB, 1)
    with pytest.raises(NotFound):
        users.read(ANA, store)
    assert sorted(the_events(store, BOB)) == sorted([*first_ids, answer.event_id])


# --- Together or not at all -----------------------------------------------------------------------

TOGETHER: list[dict[str, Any]] = [
    {"update": {"city": "Madrid"}},
    {"confirmation": {"orderId": "A-1", "total": 1}},
    {"emailopen": {}},
]


@pytest.mark.parametrize("event", TOGETHER, ids=lambda event: next(iter(event)))
def test_an_event_and_what_it_changes_are_one_write(store: Store, event: dict[str, Any]) -> None:
    """One call, so that whoever dies before or after it leaves all or nothing."""
    a_user(store)
    writes: list[str] = []

    def count(event_name: str, **_: Any) -> None:
        operation = event_name.rpartition(".")[2]
        if operation not in ("GetItem", "Query"):
            writes.append(operation)

    events = store.table.client.meta.events
    events.register_first("before-parameter-build.dynamodb", count)
    try:
        send(store, event)
    finally:
        events.unregister("before-parameter-build.dynamodb", count)
    assert writes == ["TransactWriteItems"]


def test_a_write_of_which_one_condition_fails_stores_nothing(store: Store) -> None:
    """The address is taken, the order is known, the window is open: each keeps out all the rest."""
    ana = a_user(store)
    send(store, {"confirmation": {"orderId": "A-1"}})
    before = everything(store)
    assert send(store, {"confirmation": {"orderId": "A-1", "total": 9}}, _id=ana.id, city="Madrid").discarded
    assert everything(store) == before
