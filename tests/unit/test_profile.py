"""Contract sections 5 and 6: what is set on a profile, and what is left out."""

import math
from dataclasses import fields, replace
from datetime import datetime, timedelta, timezone
from decimal import ROUND_HALF_EVEN, Decimal
from functools import reduce
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import ANA, a_moment, as_sent
from domain.event_types import CATALOGUE
from domain.problems import Notice
from domain.profile import (
    SYSTEM_ATTRIBUTES,
    Change,
    Latest,
    Maintained,
    Profile,
    change_attributes,
    change_by_event,
    change_tags,
    merge,
)
from domain.times import iso, milliseconds_of
from table import Account, profiles
from table.calls import Table, new_client
from table.expressions import Update

tag_lists = st.lists(st.tuples(st.booleans(), st.sampled_from("abc")).map(lambda each: "-" * each[0] + each[1]))


def test_the_system_attributes_are_those_of_the_contract() -> None:
    assert set(SYSTEM_ATTRIBUTES) == {
        "_id", "createdOn", "isCustomer", "numberOfPurchases", "totalPurchasesValue", "lastPurchaseValue",
        "lastPurchaseDate", "lastEmailOpenDate", "numberOfRefunds", "totalRefundsValue", "lastRefundDate",
    }  # fmt: skip


@pytest.mark.parametrize("name", SYSTEM_ATTRIBUTES)
def test_what_the_system_maintains_is_left_out_with_a_warning(name: str) -> None:
    change = change_attributes({name: Decimal(5), "city": "Madrid"}, ANA, "event.update.", 0)
    [warning] = change.warnings
    assert change.attributes == {"city": "Madrid"}
    assert change.system == {}
    assert warning.field == f"event.update.{name}"


@pytest.mark.parametrize(
    ("email", "of_user"),
    [("bob@example.com", ANA), (ANA, None), (7, ANA), ([], ANA), (None, ANA), ("x", ANA), ("x", None), ("", None)],
)
def test_an_email_that_is_not_the_users_is_left_out_with_a_warning(email: object, of_user: str | None) -> None:
    change = change_attributes({"email": email}, of_user, "event.update.", 0)
    [warning] = change.warnings
    assert not change
    assert warning.field == "event.update.email"


@pytest.mark.parametrize(("email", "of_user"), [(ANA, ANA), (" ANA@example.com", ANA), (None, None)])
def test_the_users_own_email_is_no_reason_for_a_warning(email: object, of_user: str | None) -> None:
    change = change_attributes({"email": email}, of_user, "", 0)
    assert not change
    assert change.warnings == ()


@pytest.mark.parametrize("name", ["name", "SIZE", "a.b", "#x", ":v", "createdon", "attributes", "pk", "é", " ", "0"])
def test_any_other_name_is_an_attribute(name: str) -> None:
    change = change_attributes({name: None}, ANA, "", 0)
    assert (change.attributes, change.warnings) == ({name: None}, ())


# --- Tags -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("sent", "added", "removed"), [
    (["VIP", "new one", "a_1", "a-b"], {"vip", "newone", "a_1", "ab"}, set()),
    ("vip;New ; -old", {"vip", "new"}, {"old"}),
    (["-vip"], set(), {"vip"}),
    ([" -vip"], set(), {"vip"}),
    (["vip", "-vip"], set(), {"vip"}),
    (["-vip", "VIP"], {"vip"}, set()),
    (["ñandú", "日本"], {"ñandú", "日本"}, set()),
    (["", "-", "!", ";"], set(), set()),
    ("", set(), set()),
    ([], set(), set()),
])  # fmt: skip
def test_tags_are_lower_case_letters_digits_and_underscores(
    sent: str | list[str], added: set[str], removed: set[str]
) -> None:
    assert [set(tags) for tags in change_tags(sent)] == [added, removed]


@given(tag_lists)
def test_tags_come_out_as_if_they_were_set_one_after_the_other(sent: list[str]) -> None:
    one_by_one: set[str] = {"a", "b"}
    for tag in sent:
        (one_by_one.discard if tag.startswith("-") else one_by_one.add)(tag.lstrip("-"))
    added, removed = change_tags(sent)
    assert ({"a", "b"} | added) - removed == one_by_one
    assert change_tags(";".join(sent)) == (added, removed)


tag_sets = st.frozensets(st.sampled_from("abc"))
values = st.dictionaries(st.sampled_from("xyz"), st.integers(), max_size=3)
latest = st.dictionaries(
    st.sampled_from(["lastA", "lastB"]),
    st.builds(Latest, date=st.sampled_from(["2026-01-01", "2026-01-02"]), others=values),
)
changes = st.builds(
    Change,
    at=st.integers(0, 9),
    attributes=values,
    places=st.dictionaries(st.sampled_from("xyz"), st.text(max_size=3), max_size=3),
    add_tags=tag_sets,
    remove_tags=tag_sets,
    system=values,
    latest=latest,
    totals=st.dictionaries(st.sampled_from("nm"), st.integers(0, 9).map(Decimal)),
    warnings=st.lists(st.builds(Notice, st.text(max_size=2), st.text(max_size=2)), max_size=2).map(tuple),
)


def done(change: Change, state: dict[str, Any]) -> dict[str, Any]:
    """Apply a change to a profile, each field of Change separately; return the profile."""
    after = {name: dict(value) for name, value in state.items() if isinstance(value, dict)}
    after["attributes"] |= change.attributes
    after["places"] |= change.places
    after["system"] |= change.system
    for name, value in change.latest.items():
        if name not in after["latest"] or value.date >= after["latest"][name].date:
            after["latest"][name] = value
    for name, number in change.totals.items():
        after["totals"][name] = after["totals"].get(name, 0) + number
    tags = (state["tags"] - change.remove_tags) | change.add_tags
    return {**after, "tags": tags, "at": max(state["at"], change.at), "said": [*state["said"], *change.warnings]}


@given(st.lists(changes, max_size=4), tag_sets)
def test_changes_merged_do_what_they_do_one_after_the_other(listed: list[Change], tags: frozenset[str]) -> None:
    """Each field: a new one has to be put into `done` and into the strategy, or this fails."""
    assert {each.name for each in fields(Change)} == {
        "at", "attributes", "places", "add_tags", "remove_tags", "system", "latest", "totals", "warnings",
    }  # fmt: skip
    maps: dict[str, Any] = {name: {} for name in ("attributes", "places", "system", "latest", "totals")}
    start = {**maps, "tags": tags, "at": 0, "said": []}
    assert done(merge(listed), start) == reduce(lambda state, change: done(change, state), listed, start)


# --- What the system maintains --------------------------------------------------------------------


def kept_of(event_type: str) -> Maintained:
    kept = CATALOGUE[event_type].maintains
    assert kept
    return kept


PURCHASES = kept_of("confirmation")


def by_purchase(total: object, happened_at: datetime | None = None) -> Change:
    return change_by_event(PURCHASES, happened_at or a_moment(), total, "event.confirmation.total")


@pytest.mark.parametrize("total", [19.9, "19.90", " 19.9 "])
def test_a_purchase_counts(total: object) -> None:
    now = a_moment()
    change = by_purchase(as_sent(total), now)
    assert change.warnings == ()
    assert change.totals == {"numberOfPurchases": 1, "totalPurchasesValue": Decimal("19.9")}
    assert change.system == {"isCustomer": True}
    assert change.latest == {"lastPurchaseDate": Latest(date=iso(now), others={"lastPurchaseValue": Decimal("19.9")})}


@pytest.mark.parametrize("total", [
    None, "59,90", "", "abc", [], {}, True, "NaN", "1E15", -(10**15), "1e9999999", "-1e9999999999999",
    "9" * 1000, "1e99999999999999999999999",
])  # fmt: skip
def test_a_total_that_cannot_be_counted_keeps_the_purchase_and_warns(total: object) -> None:
    change = by_purchase(as_sent(total))
    [warning] = change.warnings
    assert change.totals == {"numberOfPurchases": 1}
    assert change.system == {"isCustomer": True}
    assert change.latest["lastPurchaseDate"].others == {"lastPurchaseValue": None}, "that of an earlier one goes"
    assert warning.field == "event.confirmation.total"


@pytest.mark.parametrize(("total", "counted"), [
    ("0.0000000001", 0), ("1e-9999999", 0), ("0." + "1" * 1000, "0.111111111"), ("836.9999999999998", "837"),
    ("1.0000000005", "1"), ("1.0000000015", "1.000000002"), ("-1.0000000025", "-1.000000002"),
    ("1.00000000050000000000000000000000000000000001", "1.000000001"), ("999999999999999.9999999999", 10**15),
])  # fmt: skip
def test_a_total_counts_rounded_to_9_decimals_half_to_even(total: str, counted: object) -> None:
    for sent in (total, Decimal(total)):
        change = by_purchase(sent)
        assert (change.totals["totalPurchasesValue"], change.warnings) == (Decimal(str(counted)), ())


@given(st.lists(st.floats(-1e15, 1e15, exclude_min=True, exclude_max=True)))
def test_totals_are_the_sums_of_the_rounded_values_of_any_floats(floats: list[float]) -> None:
    change = merge(by_purchase(as_sent(each)) for each in floats)
    rounded = [Decimal(repr(each)).quantize(Decimal("1E-9"), ROUND_HALF_EVEN) for each in floats]
    assert change.totals.get("totalPurchasesValue", 0) == sum(rounded)
    assert change.totals.get("numberOfPurchases", 0) == len(floats)
    assert change.warnings == ()


def test_a_purchase_without_a_total_is_nothing_to_warn_of() -> None:
    change = change_by_event(PURCHASES, a_moment())
    assert change.totals == {"numberOfPurchases": 1}
    assert change.warnings == ()


def test_an_email_open_leaves_its_date() -> None:
    now = a_moment()
    assert change_by_event(kept_of("emailopen"), now) == Change(
        at=milliseconds_of(now), latest={"lastEmailOpenDate": Latest(date=iso(now))}
    )


def test_a_refund_counts_and_leaves_the_totals_of_purchases_alone() -> None:
    now = a_moment()
    assert change_by_event(kept_of("refund"), now, "19.90") == Change(
        at=milliseconds_of(now),
        latest={"lastRefundDate": Latest(date=iso(now))},
        totals={"numberOfRefunds": Decimal(1), "totalRefundsValue": Decimal("19.9")},
    )


def test_a_date_is_iso_8601_in_utc() -> None:
    now = a_moment()
    assert iso(now) == iso(now.astimezone(timezone(timedelta(hours=5))))
    assert iso(now).endswith("Z")
    assert len(iso(now)) == len("2026-11-23T07:25:00.000Z")


def test_what_does_not_fit_into_a_full_profile_is_refused_but_a_purchase_only_loses_its_attributes() -> None:
    account = Account(Table(new_client(), "none", math.inf), "shop")
    full = Profile("ana", attributes={"a": "x" * profiles.MAX_ATTRIBUTE_BYTES}, tags=frozenset({"vip"}), changed_at=5)
    update, order, smaller = (
        Change(at=5, attributes={"b": "x"}),
        replace(by_purchase(Decimal(5)), attributes={"city": "Vigo"}, places={"city": "user.city"}),
        Change(at=5, attributes={"a": "y"}, add_tags=frozenset({"new"})),
    )
    plan = profiles.plan(account, "ana", [update, order, smaller, update], seen=full)
    assert plan
    assert plan.too_large == {0}
    assert [[warning.field for warning in each] for each in plan.warnings] == [[], ["user.city"], [], []]
    assert isinstance(plan.action, Update)
    changes = plan.action.changes
    assert changes.adds == {"numberOfPurchases": 1, "totalPurchasesValue": 5}
    assert changes.sets["attributes",] == {"a": "y", "b": "x"}
    assert changes.sets["tags",] == {"vip": True, "new": True}
    assert changes.sets["changedAt",] == 5


# --- What callers see -----------------------------------------------------------------------------


def test_a_user_is_one_flat_object() -> None:
    profile = Profile("id", ANA, {"createdOn": "today"}, {"city": "Madrid"}, frozenset({"b", "a"}), "secret")
    expected = {"_id": "id", "email": ANA, "createdOn": "today", "city": "Madrid", "tags": ["a", "b"]}
    assert profile.flat() == expected


def test_an_attribute_of_1_1_does_not_hide_one_that_the_system_maintains_now() -> None:
    profile = Profile("id", system={"numberOfRefunds": 1}, attributes={"numberOfRefunds": 7, "totalRefundsValue": 7})
    assert profile.flat() == {"_id": "id", "numberOfRefunds": 1, "totalRefundsValue": 7}


def test_what_a_user_does_not_have_is_absent() -> None:
    assert Profile("id").flat() == {"_id": "id"}
