"""Contract sections 2, 3, 5, 6 and 9: what is set on a profile, and that nothing is left out without a warning.

docs/codes.md shows a request for each code of a warning, which tests/unit/test_codes.py executes.
"""

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from decimal import ROUND_HALF_EVEN, Decimal
from functools import reduce
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from builders import ANA, a_moment, as_sent, parsed
from domain.event_types import CATALOGUE, NAMES_OF_TOTAL
from domain.problems import WARNINGS, Invalid, Notice
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
from domain.request import EVENT_FIELDS, USER_ATTRIBUTES, USER_FIELDS
from domain.times import iso, milliseconds_of
from local.stack import ROOT
from table import profiles
from table.expressions import Update
from table.primary_keys import Key

tag_lists = st.lists(st.tuples(st.booleans(), st.sampled_from("abc")).map(lambda each: "-" * each[0] + each[1]))


def test_the_system_attributes_are_those_of_the_contract() -> None:
    assert set(SYSTEM_ATTRIBUTES) == {
        "_id", "createdOn", "isCustomer", "numberOfPurchases", "totalPurchasesValue", "lastPurchaseValue",
        "lastPurchaseDate", "lastEmailOpenDate", "numberOfRefunds", "totalRefundsValue", "lastRefundDate",
    }  # fmt: skip


def warned(sent: dict[str, Any], of_user: str | None = ANA) -> tuple[Change, list[str]]:
    change = change_attributes(sent, of_user, "event.update.", 0)
    return change, [warning.field for warning in change.warnings]


def test_any_attribute_is_set_but_those_of_the_system_which_are_left_out_with_a_warning() -> None:
    for name in SYSTEM_ATTRIBUTES:
        change, fields = warned({name: Decimal(5), "city": "Madrid"})
        assert (change.attributes, change.system, fields) == ({"city": "Madrid"}, {}, [f"event.update.{name}"])
    for name in ("name", "SIZE", "a.b", "#x", ":v", "createdon", "attributes", "pk", "é", " ", "0"):
        change, fields = warned({name: None})
        assert (change.attributes, fields) == ({name: None}, [])


def test_an_email_that_is_not_the_users_is_left_out_with_a_warning() -> None:
    others: list[tuple[object, str | None]] = [
        ("bob@example.com", ANA), (ANA, None), (7, ANA), ([], ANA), (None, ANA), ("x", ANA), ("x", None), ("", None),
    ]  # fmt: skip
    own = [(ANA, ANA), (" ANA@example.com", ANA), (None, None)]
    for email, of_user in [*others, *own]:
        change, fields = warned({"email": email}, of_user)
        assert not change
        assert fields == ([] if (email, of_user) in own else ["event.update.email"])


# --- Tags -----------------------------------------------------------------------------------------


TAGS: list[tuple[str | list[str], set[str], set[str]]] = [
    (["VIP", "new one", "a_1", "a-b"], {"vip", "newone", "a_1", "ab"}, set()), (["-vip"], set(), {"vip"}),
    ("vip;New ; -old", {"vip", "new"}, {"old"}), ([" -vip"], set(), {"vip"}), (["vip", "-vip"], set(), {"vip"}),
    (["-vip", "VIP"], {"vip"}, set()), (["ñandú", "日本"], {"ñandú", "日本"}, set()),
    (["", "-", "!", ";"], set(), set()),
    ("", set(), set()), ([], set(), set()),
]  # fmt: skip


def test_tags_are_lower_case_letters_digits_and_underscores() -> None:
    for sent, added, removed in TAGS:
        assert change_tags(sent) == (added, removed), sent


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
    Change, at=st.integers(0, 9), attributes=values, system=values, latest=latest, add_tags=tag_sets,
    remove_tags=tag_sets, places=st.dictionaries(st.sampled_from("xyz"), st.text(max_size=3), max_size=3),
    totals=st.dictionaries(st.sampled_from("nm"), st.integers(0, 9).map(Decimal)),
    warnings=st.lists(st.builds(Notice, st.text(max_size=2), st.text(max_size=2)), max_size=2).map(tuple),
)  # fmt: skip


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
    assert set(Change._fields) == {
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


def test_a_purchase_counts_with_its_total_if_it_has_one() -> None:
    now = a_moment()
    for total in (19.9, "19.90", " 19.9 "):
        change = by_purchase(as_sent(total), now)
        assert change.warnings == ()
        assert change.totals == {"numberOfPurchases": 1, "totalPurchasesValue": Decimal("19.9")}
        assert change.system == {"isCustomer": True}
        others = {"lastPurchaseValue": Decimal("19.9")}
        assert change.latest == {"lastPurchaseDate": Latest(date=iso(now), others=others)}
    without = change_by_event(PURCHASES, now)
    assert (without.totals, without.warnings) == ({"numberOfPurchases": 1}, ())


def test_a_total_that_cannot_be_counted_keeps_the_purchase_and_warns() -> None:
    wrong: list[object] = [
        None, "59,90", "", "abc", [], {}, True, "NaN", "1E15", -(10**15), "1e9999999", "-1e9999999999999", "9" * 1000,
        "1e99999999999999999999999",
    ]  # fmt: skip
    for total in wrong:
        change = by_purchase(as_sent(total))
        assert (change.totals, change.system) == ({"numberOfPurchases": 1}, {"isCustomer": True})
        assert change.latest["lastPurchaseDate"].others == {"lastPurchaseValue": None}, "that of an earlier one goes"
        assert [warning.field for warning in change.warnings] == ["event.confirmation.total"]


ROUNDED: list[tuple[str, object]] = [
    ("0.0000000001", 0), ("1e-9999999", 0), ("0." + "1" * 1000, "0.111111111"), ("836.9999999999998", "837"),
    ("1.0000000005", "1"), ("1.0000000015", "1.000000002"), ("-1.0000000025", "-1.000000002"),
    ("1.00000000050000000000000000000000000000000001", "1.000000001"), ("999999999999999.9999999999", 10**15),
]  # fmt: skip


def test_a_total_counts_rounded_to_9_decimals_half_to_even() -> None:
    for total, counted in ROUNDED:
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


def test_an_email_open_leaves_its_date_in_utc_and_a_refund_the_totals_of_purchases_alone() -> None:
    assert iso(datetime(2026, 11, 23, 7, 25, tzinfo=timezone(timedelta(hours=5)))) == "2026-11-23T02:25:00.000Z"
    now = a_moment()
    opened = Change(at=milliseconds_of(now), latest={"lastEmailOpenDate": Latest(date=iso(now))})
    assert change_by_event(kept_of("emailopen"), now) == opened
    assert change_by_event(kept_of("refund"), now, "19.90") == Change(
        at=milliseconds_of(now),
        latest={"lastRefundDate": Latest(date=iso(now))},
        totals={"numberOfRefunds": Decimal(1), "totalRefundsValue": Decimal("19.9")},
    )


def test_what_does_not_fit_into_a_full_profile_is_refused_but_a_purchase_only_loses_its_attributes() -> None:
    full = Profile("ana", attributes={"a": "x" * profiles.MAX_ATTRIBUTE_BYTES}, tags=frozenset({"vip"}), changed_at=5)
    update, order, smaller = (
        Change(at=5, attributes={"b": "x"}),
        by_purchase(Decimal(5))._replace(attributes={"city": "Vigo"}, places={"city": "user.city"}),
        Change(at=5, attributes={"a": "y"}, add_tags=frozenset({"new"})),
    )
    plan = profiles.plan(Key("pk", "PROFILE"), [update, order, smaller, update], None, full)
    assert plan
    assert plan.too_large == {0}
    assert [[warning.field for warning in each] for each in plan.warnings] == [[], ["user.city"], [], []]
    assert isinstance(plan.action, Update)
    changes = plan.action.changes
    assert changes.adds == {"numberOfPurchases": 1, "totalPurchasesValue": 5}
    assert changes.sets["attributes",] == {"a": "y", "b": "x"}
    assert changes.sets["tags",] == {"vip": True, "new": True}
    assert changes.sets["changedAt",] == 5


def test_a_user_is_one_flat_object() -> None:
    profile = Profile("id", ANA, {"createdOn": "today"}, {"city": "Madrid"}, frozenset({"b", "a"}), "secret")
    expected = {"_id": "id", "email": ANA, "createdOn": "today", "city": "Madrid", "tags": ["a", "b"]}
    assert profile.flat() == expected
    assert Profile("id").flat() == {"_id": "id"}, "what a user does not have is absent"
    # An attribute of 1.1 does not hide one that the system maintains now.
    profile = Profile("id", system={"numberOfRefunds": 1}, attributes={"numberOfRefunds": 7, "totalRefundsValue": 7})
    assert profile.flat() == {"_id": "id", "numberOfRefunds": 1, "totalRefundsValue": 7}


# --- Warnings -------------------------------------------------------------------------------------

MISSING = object()
COUNTED = {"confirmation": "totalPurchasesValue", "refund": "totalRefundsValue"}


def test_the_code_makes_each_warning_of_the_list_and_only_in_one_module() -> None:
    sources = [(path.name, path.read_text()) for path in (ROOT / "src").rglob("*.py")]
    assert [code for code in WARNINGS if sum(text.count(f'"{code}"') for _, text in sources) < 2] == []
    making = {name for name, text in sources if "Notice(" in text}
    assert making == {"problems.py", "events.py"}, "events.py reads stored ones"


def misspelt(*names: str) -> st.SearchStrategy[str]:
    forms = (str.upper, str.capitalize, lambda name: f"{name[:2]}_{name[2:]}", lambda name: f"{name} ")
    return st.builds(lambda name, form: form(name), st.sampled_from(names), st.sampled_from(forms))


def named(*names: str, values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    names_of_fields = misspelt(*names) | st.sampled_from(names) | st.text(min_size=1, max_size=3)
    return st.dictionaries(names_of_fields, values, max_size=4)


texts = st.text(max_size=4)
numbers = st.floats(-1e20, 1e20) | st.integers(-(10**20), 10**20)
scalars = texts | numbers | st.booleans() | st.none()
tags = st.lists(st.sampled_from(["vip", "-OLD", "a b", "!!!", "-", "\U0001f600", "a, b", " ", ""]), max_size=3)
users = named(*USER_FIELDS[2:], values=texts)
attributes = st.tuples(
    named("city", *SYSTEM_ATTRIBUTES, values=scalars),
    st.fixed_dictionaries({}, optional={"tags": tags | tags.map(";".join), "email": texts | st.just(ANA)}),
).map(lambda both: both[0] | both[1])
any_totals = scalars | st.sampled_from(["", "1.234,56", "\u20ac59", "1E15", "-836.9999999999998"])
orders = st.tuples(named("total", *NAMES_OF_TOTAL, values=any_totals), st.booleans()).map(
    lambda made: {"orderId": "A-1", "refundId": "R-1"} | ({"generic": made[0]} if made[1] else made[0])
)
events = st.one_of(
    st.tuples(st.sampled_from(["update", "login"]), attributes), st.tuples(st.sampled_from(sorted(COUNTED)), orders)
)


def letters(name: str) -> str:
    return "".join(each for each in name.lower() if each.isalnum())


def assert_read_or_named(sent: Mapping[str, Any], known: tuple[str, ...], prefix: str, said: set[str]) -> None:
    for name in sent.keys() - {*known}:
        if letters(name) in map(letters, known):
            assert prefix + name in said


def assert_set_or_named(sent: Mapping[str, Any], prefix: str, change: Change, said: set[str]) -> None:
    for name, value in sent.items():
        if name == "tags":
            parts = value.split(";") if isinstance(value, str) else value
            places = [f"{prefix}tags" if isinstance(value, str) else f"{prefix}tags.{at}" for at in range(len(parts))]
            for part, place in zip(parts, places, strict=True):
                tag = "".join(each for each in part.lower() if each.isalnum() or each == "_")
                assert not part.strip() or place in said or tag in change.add_tags | change.remove_tags
                assert "," not in part or not isinstance(value, str) or place in said
        elif name != "email" or not isinstance(value, str) or value.strip().lower() != ANA:
            assert change.attributes.get(name, MISSING) == value or prefix + name in said


def assert_counted_or_named(event_type: str, payload: dict[str, Any], change: Change, said: set[str]) -> None:
    sent = payload.get("generic", payload)
    if "total" in sent and f"event.{event_type}.total" not in said:
        total = Decimal(sent["total"]).quantize(Decimal("1E-9"), ROUND_HALF_EVEN)
        assert change.totals[COUNTED[event_type]] == total
    elif "total" not in sent:
        place = f"event.{event_type}.generic." if "generic" in payload else f"event.{event_type}."
        similar = {place + name for name in sent if letters(name) in map(letters, ("total", *NAMES_OF_TOTAL))}
        assert not similar or similar & said


def places(change: Change) -> set[str]:
    return {warning.field for warning in change.warnings}


@settings(max_examples=300)
@example({}, {}, ("update", {"tags": "a, b"}), set())
@given(
    st.dictionaries(misspelt(*EVENT_FIELDS), scalars, max_size=2),
    users,
    events,
    st.sets(st.sampled_from(["city", "a"])),
)
def test_each_part_of_a_request_is_used_named_in_a_warning_or_refused(
    around: dict[str, Any], user: dict[str, Any], event: tuple[str, dict[str, Any]], there: set[str]
) -> None:
    event_type, payload = event
    body = as_sent({**around, "user": {**user, "email": ANA}, "event": {event_type: payload}})
    user, payload = body["user"], body["event"][event_type]
    with suppress(Invalid):
        request = parsed(body)
        assert request.event.payload == payload, "it is stored as it is"
        change = request.change(ANA)
        said = places(change)
        assert {warning.code for warning in change.warnings} <= {*WARNINGS}
        assert_read_or_named(body, EVENT_FIELDS, "", said)
        assert_read_or_named(user, USER_FIELDS, "user.", said)
        later = payload if CATALOGUE[event_type].maintains is None else {}
        of_user = {name: value for name, value in user.items() if name in USER_ATTRIBUTES and name not in later}
        assert_set_or_named(of_user, "user.", change, said)
        if event_type in COUNTED:
            assert_counted_or_named(event_type, payload, change, said)
        else:
            assert_set_or_named(payload, f"event.{event_type}.", change, said)
        for less in (change.as_late(dict.fromkeys(there)), change.without_attributes()):
            lost = {change.places[name] for name in change.attributes.keys() - less.attributes.keys()}
            if change.add_tags - less.add_tags or less.remove_tags < change.remove_tags:
                lost.add(change.places["tags"])
            assert said | lost <= places(less)
