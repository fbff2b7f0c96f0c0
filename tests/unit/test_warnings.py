"""No part of an accepted request is dropped or changed without a warning: contract, sections 2, 3, 5 and 9.

docs/codes.md shows a request for each code, which tests/unit/test_codes.py executes.
"""

from collections.abc import Mapping
from contextlib import suppress
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from builders import ANA, as_sent, parsed
from domain.event_types import CATALOGUE, NAMES_OF_TOTAL
from domain.problems import WARNINGS, Invalid
from domain.profile import SYSTEM_ATTRIBUTES, Change, as_late, without_attributes
from domain.request import EVENT_FIELDS, USER_ATTRIBUTES, USER_FIELDS
from local.stack import ROOT

MISSING = object()
COUNTED = {"confirmation": "totalPurchasesValue", "refund": "totalRefundsValue"}


def test_the_code_makes_each_warning_of_the_list() -> None:
    source = "".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))
    assert [code for code in WARNINGS if source.count(f'"{code}"') < 2] == []


def test_no_other_module_makes_a_warning() -> None:
    making = {path.name for path in (ROOT / "src").rglob("*.py") if "Notice(" in path.read_text()}
    assert making == {"problems.py", "events.py"}, "events.py reads stored ones"


# --- Made-up requests -----------------------------------------------------------------------------


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
totals = scalars | st.sampled_from(["", "1.234,56", "\u20ac59", "1E15", "-836.9999999999998"])
orders = st.tuples(named("total", *NAMES_OF_TOTAL, values=totals), st.booleans()).map(
    lambda made: {"orderId": "A-1", "refundId": "R-1"} | ({"generic": made[0]} if made[1] else made[0])
)
events = st.one_of(
    st.tuples(st.sampled_from(["update", "login"]), attributes), st.tuples(st.sampled_from(sorted(COUNTED)), orders)
)


# --- The result of each part ----------------------------------------------------------------------


def letters(name: str) -> str:
    return "".join(each for each in name.lower() if each.isalnum())


def assert_read_or_named(sent: Mapping[str, Any], known: tuple[str, ...], prefix: str, said: set[str]) -> None:
    """A name that is like a known one."""
    for name in sent.keys() - {*known}:
        if letters(name) in map(letters, known):
            assert prefix + name in said


def assert_set_or_named(sent: Mapping[str, Any], prefix: str, change: Change, said: set[str]) -> None:
    """Attributes of an update or a login."""
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
        for less in (as_late(change, dict.fromkeys(there)), without_attributes(change)):
            lost = {change.places[name] for name in change.attributes.keys() - less.attributes.keys()}
            lost |= (
                {change.places["tags"]}
                if change.add_tags - less.add_tags or less.remove_tags < change.remove_tags
                else set()
            )
            assert said | lost <= places(less)
