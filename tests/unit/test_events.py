"""Contract section 3: the event types, and what each demands of its payload."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import an_event, an_example, as_sent
from domain.event_types import (
    CATALOGUE,
    WIRE_NAMES,
    EventType,
    ParsedEvent,
    are_tags,
    parse_event,
)
from domain.problems import Problem
from domain.values import as_number, as_text

ROOT = Path(__file__).parents[2]
CONTRACT = {
    "update", "login", "confirmation", "emailopen", "generic", "event", "viewitem", "viewcategory", "search",
    "addtocart", "addtowishlist", "checkout",
}  # fmt: skip
every_type = pytest.mark.parametrize("event_type", CATALOGUE)


def problems(wire_name: str, payload: object) -> list[tuple[str, str | None]]:
    parsed = parse_event(wire_name, as_sent(payload))
    assert not isinstance(parsed, ParsedEvent), "accepted"
    return [(problem.message, problem.field) for problem in parsed]


def order_id(payload: dict[str, Any]) -> str:
    return str(an_event("confirmation", payload).once_value)


# --- The catalogue is closed ----------------------------------------------------------------------


def test_the_types_and_names_of_the_contract_are_there() -> None:
    assert set(CATALOGUE) >= CONTRACT
    assert set(WIRE_NAMES) >= CONTRACT | {"emailOpen", "email_open"}


@every_type
def test_a_type_and_its_fields_say_what_they_are_and_the_examples_make_a_payload(event_type: str) -> None:
    assert CATALOGUE[event_type].__doc__ not in (None, "", EventType.__doc__)
    for name, field in CATALOGUE[event_type].model_fields.items():
        assert field.description, f"give {name} a description"
        assert field.examples or not field.is_required(), f"give {name} an example"
    assert an_event(event_type, an_example(event_type)).type == event_type


@every_type
def test_a_type_has_an_api_gateway_event_that_it_accepts(event_type: str) -> None:
    example = ROOT / "events" / f"{event_type}.json"
    assert example.exists(), "copy another example and change its event"
    sent = json.loads(example.read_text())
    [(wire_name, payload)] = json.loads(sent["body"])["event"].items()
    assert wire_name == event_type
    assert an_event(wire_name, payload).type == event_type


def test_a_new_type_is_one_class() -> None:
    """Nothing but the classes lists the types."""
    ours = [cls for cls in EventType.__subclasses__() if cls.__module__ == EventType.__module__]  # none of a test's
    assert [cls.type_name() for cls in ours] == list(CATALOGUE)


# --- Names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("wire_name", ["emailopen", "emailOpen", "email_open"])
def test_an_email_open_has_three_names_on_the_wire_and_one_when_stored(wire_name: str) -> None:
    assert an_event(wire_name, {}).type == "emailopen"


@pytest.mark.parametrize("wire_name", ["Update", "UPDATE", "emailOPEN", " update", "", "eventtype", "confirmation "])
def test_a_name_is_the_name_and_nothing_like_it(wire_name: str) -> None:
    assert problems(wire_name, {"a": 1}) == [("Unknown event type", f"event.{wire_name}")]


@pytest.mark.parametrize(
    ("wire_name", "nearest"),
    [("Update", "update"), ("viewItem", "viewitem"), ("purchase_confirmation", "confirmation"), ("serch", "search")],
)
def test_the_error_of_an_unknown_type_lists_the_types_the_nearest_first(wire_name: str, nearest: str) -> None:
    [problem] = [each for each in parse_event(wire_name, {}) if isinstance(each, Problem)]  # type: ignore[union-attr]
    assert f"Closest: {nearest}. All types: {nearest}, " in problem.description
    assert all(name in problem.description for name in CONTRACT)
    assert problem.description.endswith("use generic.")


# --- Payloads -------------------------------------------------------------------------------------


@every_type
@pytest.mark.parametrize("payload", [None, [], "x", 1, True])
def test_a_payload_is_an_object(event_type: str, payload: object) -> None:
    assert problems(event_type, payload) == [(f"Invalid {event_type}", f"event.{event_type}")]


@every_type
def test_what_a_type_does_not_name_is_kept_as_sent(event_type: str) -> None:
    payload = an_example(event_type) | {"extra": [1, {"deep": None}], "Total": "x", "model_config": 1, "type_name": ""}
    event = an_event(event_type, payload)
    assert event.payload == as_sent(payload)


@pytest.mark.parametrize(
    ("wire_name", "field"),
    [
        ("confirmation", "orderId"), ("generic", "event_name"), ("event", "event_name"), ("viewitem", "itemId"),
        ("viewcategory", "category"), ("search", "query"), ("addtocart", "itemId"), ("addtowishlist", "prodId"),
    ],
)  # fmt: skip
def test_a_required_field_is_demanded_by_name(wire_name: str, field: str) -> None:
    assert problems(wire_name, {"other": 1}) == [(f"Missing {field}", f"event.{wire_name}.{field}")]
    wrong_values: list[object] = [None, [], {}, True]
    for wrong in wrong_values:
        assert problems(wire_name, {field: wrong}) == [(f"Invalid {field}", f"event.{wire_name}.{field}")], wrong


@pytest.mark.parametrize("wire_name", ["emailopen", "checkout", "login"])
def test_some_payloads_may_be_empty(wire_name: str) -> None:
    assert an_event(wire_name, {}).payload == {}


def test_an_update_has_at_least_one_attribute() -> None:
    assert problems("update", {}) == [("Invalid update", "event.update")]
    assert an_event("update", {"size": None}).payload == {"size": None}


@pytest.mark.parametrize("wire_name", ["generic", "event"])
def test_an_event_name_is_a_string_of_1_to_255_characters(wire_name: str) -> None:
    wrong: list[object] = ["", " ", 7, "x" * 256]
    for name in wrong:
        assert problems(wire_name, {"event_name": name}) == [("Invalid event_name", f"event.{wire_name}.event_name")]
    for name in ("x", "x" * 255, "é" * 255, "my_event"):
        assert an_event(wire_name, {"event_name": name}).type == wire_name


@pytest.mark.parametrize("generic", [{}, {"event_name": ""}, {"event_name": None}, {"eventName": "x"}])
def test_an_event_name_under_generic_is_checked_as_well(generic: object) -> None:
    [(_, field)] = problems("generic", {"generic": generic})
    assert field == "event.generic.event_name"


@pytest.mark.parametrize("wire_name", ["confirmation", "checkout"])
@pytest.mark.parametrize("items", ["x", {}, [1], [{"itemId": 1}, "x"], [None]])
def test_items_are_a_list_of_objects(wire_name: str, items: object) -> None:
    assert problems(wire_name, {"orderId": 1, "items": items}) == [("Invalid items", f"event.{wire_name}.items")]


@pytest.mark.parametrize("wire_name", ["update", "login"])
@pytest.mark.parametrize("tags", [None, 1, {}, [1], ["a", None], True, ["a", "x" * 256], "x" * 256, "a;" + "-" * 256])
def test_tags_are_a_string_or_a_list_of_strings_of_255_characters_at_most(wire_name: str, tags: object) -> None:
    assert not are_tags(as_sent(tags))
    assert problems(wire_name, {"tags": tags}) == [("Invalid tags", f"event.{wire_name}.tags")]


@pytest.mark.parametrize("tags", [["x" * 255] * 3, ";".join(["-" + "é" * 254] * 3), "", ";;", []])
def test_tags_up_to_the_limit_are_accepted(tags: object) -> None:
    an_event("update", {"tags": tags})


@pytest.mark.parametrize("email", ["ana", 7, "", "ana@", ["ana@example.com"]])
def test_the_email_of_a_login_is_an_address(email: object) -> None:
    assert problems("login", {"email": email}) == [("Invalid email", "event.login.email")]


def test_all_that_is_wrong_with_a_payload_is_listed_at_once() -> None:
    parsed = parse_event("confirmation", {"items": "x", "n": Decimal("NaN"), "o": {"": "\ud800"}})
    assert not isinstance(parsed, ParsedEvent)
    assert {problem.field for problem in parsed} == {
        "event.confirmation.n", "event.confirmation.o", "event.confirmation.o.",
        "event.confirmation.orderId", "event.confirmation.items",
    }  # fmt: skip


# --- Orders ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("sent", "text"), [
    (123, "123"), ("123", "123"), (" 123\n", "123"), (0, "0"), (-0.0, "0"), (100, "100"), ("A-1", "A-1"),
    ("a-1", "a-1"), ("0123", "0123"), ("x" * 256, "x" * 256), ("ñ#/ü", "ñ#/ü"),
])  # fmt: skip
def test_an_order_id_is_text_trimmed_and_case_sensitive(sent: object, text: str) -> None:
    assert order_id({"orderId": sent}) == text


@given(st.integers(-(10**30), 10**30), st.integers(0, 5))
def test_an_order_id_is_the_same_as_a_number_with_zeros_and_as_a_string(number: int, zeros: int) -> None:
    with_zeros = Decimal(f"{number}.{'0' * zeros}") if zeros else Decimal(number)
    assert as_text(with_zeros) == as_text(Decimal(number)) == as_text(str(number)) == str(number)


@given(st.decimals(min_value=-(10**9), max_value=10**9, places=6))
def test_two_numbers_are_the_same_order_exactly_when_they_are_equal(number: Decimal) -> None:
    assert as_text(number) == as_text(number.normalize())
    assert Decimal(as_text(number)) == number


@pytest.mark.parametrize("sent", ["", " ", "\t\n", None, True, [], {}, "x" * 257, Decimal("1E300")])
def test_an_order_id_that_is_none_is_invalid(sent: object) -> None:
    parsed = parse_event("confirmation", {"orderId": sent})
    assert not isinstance(parsed, ParsedEvent)
    assert ("Invalid orderId", "event.confirmation.orderId") in [(each.message, each.field) for each in parsed]


IN_TWO_PLACES = [(event_type, name) for event_type, cls in CATALOGUE.items() for name in cls.under_generic]
in_two_places = pytest.mark.parametrize(("event_type", "name"), IN_TWO_PLACES)


def test_orders_and_custom_events_are_read_flat_and_under_generic() -> None:
    scalars = {
        "confirmation": ("orderId", "total", "status", "currency", "coupons", "total_shipping", "phone"),
        "refund": ("refundId", "orderId", "total", "currency", "reason"),
        "generic": ("event_name",),
    }
    assert [(event_type, name) for event_type, names in scalars.items() for name in names] == IN_TWO_PLACES


@in_two_places
def test_a_field_is_read_flat_and_under_generic(event_type: str, name: str) -> None:
    whole = an_example(event_type) | {name: "7"}
    rest = {key: value for key, value in whole.items() if key != name}
    flat = an_event(event_type, whole)
    nested = an_event(event_type, {**rest, "generic": {name: "7"}})
    assert getattr(nested.model, name) == getattr(flat.model, name) == "7"
    assert nested.payload == as_sent({**rest, "generic": {name: "7"}}), "it is stored as sent"


@in_two_places
def test_a_field_given_in_both_places_is_accepted_if_the_values_are_equal(event_type: str, name: str) -> None:
    payload = an_example(event_type) | {name: "1", "generic": {name: "1"}}
    assert getattr(an_event(event_type, payload).model, name) == "1"
    different = payload | {name: "2"}
    assert problems(event_type, different) == [(f"Invalid {name}", f"event.{event_type}.{name}")]


@pytest.mark.parametrize("name", ["orderId", "phone", "coupons", "status"])
def test_a_text_of_digits_is_not_a_number(name: str) -> None:
    order = {"orderId": "A-1", name: "0049", "generic": {name: "49"}}
    assert problems("confirmation", order) == [(f"Invalid {name}", f"event.confirmation.{name}")]


@pytest.mark.parametrize(("name", "flat", "nested"), [
    ("orderId", 123, " 123 "), ("total", 19.9, "19.90"), ("total_shipping", "5", "5.0"), ("phone", "49", 49),
    ("status", "paid", "paid"), ("coupons", ["A"], ["A"]),
])  # fmt: skip
def test_a_scalar_given_in_both_places_and_the_same_is_accepted(name: str, flat: object, nested: object) -> None:
    an_event("confirmation", {"orderId": 123, name: flat, "generic": {name: nested}})


@pytest.mark.parametrize("generic", ["x", 1, None, []])
def test_a_generic_that_is_no_object_is_a_field_like_any_other(generic: object) -> None:
    assert order_id({"orderId": "A-1", "generic": generic}) == "A-1"


@pytest.mark.parametrize(("sent", "number"), [
    (Decimal("19.90"), "19.9"), ("19.90", "19.9"), (" 5 ", "5"), ("-3", "-3"), ("1e3", "1000"), (Decimal(0), "0"),
])  # fmt: skip
def test_a_total_is_a_number_or_a_numeric_string(sent: object, number: str) -> None:
    assert as_number(sent) == Decimal(number)


@pytest.mark.parametrize("sent", ["", "19,90", "€5", "1_000", "١٢", "NaN", "Infinity", "abc", True, None, [], {}])
def test_a_total_that_is_not_a_number_does_not_refuse_the_order(sent: object) -> None:
    assert as_number(sent) is None
    assert order_id({"orderId": "A-1", "total": sent}) == "A-1"
