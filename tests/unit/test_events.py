"""Contract sections 2, 3, 9 and 10: event types and their payloads, the body of an event, and names of refusals."""

import json
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from builders import ANA, a_moment, an_event, an_example, as_sent, parsed
from declared import with_declared_types
from domain.event_types import CATALOGUE, WIRE_NAMES, EventType, ParsedEvent, are_tags, known_type, parse_event
from domain.ids import new_id
from domain.problems import MISSING_EVENT, Invalid, Problem
from domain.request import USER_ATTRIBUTES, EventRequest, parse_batch
from domain.times import iso
from domain.values import as_number, as_text
from use_cases.refusals import known_field

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


def test_the_types_and_names_of_the_contract_are_there_and_a_new_type_is_one_class() -> None:
    """Nothing but the classes lists the types."""
    assert set(CATALOGUE) >= CONTRACT
    assert set(WIRE_NAMES) >= CONTRACT | {"emailOpen", "email_open"}
    ours = [cls for cls in EventType.__subclasses__() if cls.__module__ == EventType.__module__]  # none of a test's
    assert [cls.type_name() for cls in ours] == list(CATALOGUE)


@every_type
def test_a_type_is_described_and_its_examples_and_its_api_gateway_event_are_accepted(event_type: str) -> None:
    assert CATALOGUE[event_type].__doc__ not in (None, "", EventType.__doc__)
    for name, field in CATALOGUE[event_type].model_fields.items():
        assert field.description, f"give {name} a description"
        assert field.examples or not field.is_required(), f"give {name} an example"
    assert an_event(event_type, an_example(event_type)).type == event_type
    example = ROOT / "events" / f"{event_type}.json"
    assert example.exists(), "copy another example and change its event"
    [(wire_name, payload)] = json.loads(json.loads(example.read_text())["body"])["event"].items()
    assert wire_name == an_event(wire_name, payload).type == event_type


# --- Names ----------------------------------------------------------------------------------------


@with_declared_types
def test_a_type_is_known_by_its_names_and_by_nothing_like_them() -> None:
    for names, stored in ((("emailopen", "emailOpen", "email_open"), "emailopen"), (("emailClick",), "emailclick")):
        assert {an_event(name, {}).type for name in names} == {stored}
    for name in ("Update", "UPDATE", "emailOPEN", " update", "", "eventtype", "confirmation "):
        assert problems(name, {"a": 1}) == [("Unknown event type", f"event.{name}")]


@with_declared_types
@pytest.mark.parametrize(("wire_name", "nearest"), [
    ("Update", "update"), ("viewItem", "viewitem"), ("purchase_confirmation", "confirmation"), ("serch", "search"),
    ("reviews", "review"),
])  # fmt: skip
def test_the_error_of_an_unknown_type_lists_the_types_the_nearest_first(wire_name: str, nearest: str) -> None:
    [problem] = [each for each in parse_event(wire_name, {}) if isinstance(each, Problem)]
    assert f"Closest: {nearest}. All types: {nearest}, " in problem.description
    assert all(name in problem.description for name in CONTRACT)
    assert problem.description.endswith("use generic.")


# --- Payloads -------------------------------------------------------------------------------------


REQUIRED = {
    "confirmation": "orderId", "generic": "event_name", "event": "event_name", "viewitem": "itemId",
    "viewcategory": "category", "search": "query", "addtocart": "itemId", "addtowishlist": "prodId",
}  # fmt: skip
WRONG: list[tuple[str, str, Sequence[object]]] = [
    *((event_type, field, [None, [], {}, True]) for event_type, field in REQUIRED.items()),
    *((event_type, "event_name", ["", " ", 7, "x" * 256]) for event_type in ("generic", "event")),
    *((each, "items", ["x", {}, [1], [{"itemId": 1}, "x"], [None]]) for each in ("confirmation", "checkout")),
    *((event_type, "tags", [None, 1, {}, [1], ["a", None], True, ["a", "x" * 256], "x" * 256, "a;" + "-" * 256])
      for event_type in ("update", "login")),
    ("login", "email", ["ana", 7, "", "ana@", ["ana@example.com"]]),
    ("confirmation", "orderId", ["", " ", "\t\n", "x" * 257]),
]  # fmt: skip


@every_type
def test_a_payload_is_an_object_and_what_a_type_does_not_name_is_kept_as_sent(event_type: str) -> None:
    wrong: list[object] = [None, [], "x", 1, True]
    for payload in wrong:
        assert problems(event_type, payload) == [(f"Invalid {event_type}", f"event.{event_type}")]
    sent = an_example(event_type) | {"extra": [1, {"deep": None}], "Total": "x", "model_config": 1, "type_name": ""}
    assert an_event(event_type, sent).payload == as_sent(sent)


def test_a_field_that_is_missing_or_has_a_wrong_value_is_named() -> None:
    for event_type, field in REQUIRED.items():
        assert problems(event_type, {"other": 1}) == [(f"Missing {field}", f"event.{event_type}.{field}")]
    for event_type, field, values in WRONG:
        for value in values:
            sent = {**an_example(event_type), field: value}
            assert problems(event_type, sent) == [(f"Invalid {field}", f"event.{event_type}.{field}")], value
            assert field != "tags" or not are_tags(as_sent(value))
    for generic in ({}, {"event_name": ""}, {"event_name": None}, {"eventName": "x"}):
        assert [field for _, field in problems("generic", {"generic": generic})] == ["event.generic.event_name"]
    assert ("Invalid orderId", "event.confirmation.orderId") in problems("confirmation", {"orderId": Decimal("1E300")})


def test_some_payloads_may_be_empty_but_an_update_has_an_attribute() -> None:
    assert [an_event(name, {}).payload for name in ("emailopen", "checkout", "login")] == [{}] * 3
    assert problems("update", {}) == [("Invalid update", "event.update")]
    assert an_event("update", {"size": None}).payload == {"size": None}


def test_event_names_and_tags_have_up_to_255_characters() -> None:
    for name, event_type in product(("x", "x" * 255, "é" * 255, "my_event"), ("generic", "event")):
        assert an_event(event_type, {"event_name": name}).type == event_type
    right: list[object] = [["x" * 255] * 3, ";".join(["-" + "é" * 254] * 3), "", ";;", []]
    for tags, event_type in product(right, ("update", "login")):
        an_event(event_type, {"tags": tags})


def test_all_that_is_wrong_with_a_payload_is_listed_at_once() -> None:
    parsed = parse_event("confirmation", {"items": "x", "n": Decimal("NaN"), "o": {"": "\ud800"}})
    assert not isinstance(parsed, ParsedEvent)
    assert {problem.field for problem in parsed} == {
        "event.confirmation.n", "event.confirmation.o", "event.confirmation.o.",
        "event.confirmation.orderId", "event.confirmation.items",
    }  # fmt: skip


# --- Orders ---------------------------------------------------------------------------------------


def test_an_order_id_is_text_trimmed_and_case_sensitive() -> None:
    same: list[tuple[object, str]] = [(123, "123"), (" 123\n", "123"), (0, "0"), (-0.0, "0"), (100, "100")]
    for sent, text in same + [(each, each) for each in ("123", "A-1", "a-1", "0123", "x" * 256, "ñ#/ü")]:
        assert order_id({"orderId": sent}) == text


@given(st.integers(-(10**30), 10**30), st.integers(0, 5), st.decimals(-(10**9), 10**9, places=6))
def test_an_order_id_is_the_same_as_a_string_and_as_any_equal_number(number: int, zeros: int, other: Decimal) -> None:
    with_zeros = Decimal(f"{number}.{'0' * zeros}") if zeros else Decimal(number)
    assert as_text(with_zeros) == as_text(Decimal(number)) == as_text(str(number)) == str(number)
    assert as_text(other) == as_text(other.normalize())
    assert Decimal(as_text(other)) == other


IN_TWO_PLACES = [(event_type, name) for event_type, cls in CATALOGUE.items() for name in cls.under_generic]


def test_a_field_is_read_flat_and_under_generic() -> None:
    scalars = {
        "confirmation": ("orderId", "total", "status", "currency", "coupons", "total_shipping", "phone"),
        "refund": ("refundId", "orderId", "total", "currency", "reason"),
        "generic": ("event_name",),
    }
    assert [(event_type, name) for event_type, names in scalars.items() for name in names] == IN_TWO_PLACES
    for event_type, name in IN_TWO_PLACES:
        flat = an_example(event_type) | {name: "7"}
        nested = {key: value for key, value in flat.items() if key != name} | {"generic": {name: "7"}}
        for payload in (flat, nested, flat | nested):
            assert getattr(an_event(event_type, payload).model, name) == "7"
            assert an_event(event_type, payload).payload == as_sent(payload), "it is stored as sent"
        different = flat | nested | {name: "2"}
        assert problems(event_type, different) == [(f"Invalid {name}", f"event.{event_type}.{name}")]


def test_values_in_two_places_are_compared_as_numbers_only_if_they_are_numbers() -> None:
    equal: list[tuple[str, object, object]] = [
        ("orderId", 123, " 123 "), ("total", 19.9, "19.90"), ("total_shipping", "5", "5.0"), ("phone", "49", 49),
        ("status", "paid", "paid"), ("coupons", ["A"], ["A"]),
    ]  # fmt: skip
    for name, flat, nested in equal:
        an_event("confirmation", {"orderId": 123, name: flat, "generic": {name: nested}})
    for name in ("orderId", "phone", "coupons", "status"):
        order = {"orderId": "A-1", name: "0049", "generic": {name: "49"}}
        assert problems("confirmation", order) == [(f"Invalid {name}", f"event.confirmation.{name}")]
    others: list[object] = ["x", 1, None, []]
    for generic in others:
        assert order_id({"orderId": "A-1", "generic": generic}) == "A-1", "a field like any other"


def test_a_total_is_a_number_or_a_numeric_string_and_another_value_does_not_refuse_the_order() -> None:
    numbers: list[tuple[object, str]] = [(Decimal("19.90"), "19.9"), ("19.90", "19.9"), (" 5 ", "5"), ("-3", "-3")]
    for sent, number in (*numbers, ("1e3", "1000"), (Decimal(0), "0")):
        assert as_number(sent) == Decimal(number)
    others: list[object] = ["", "19,90", "€5", "1_000", "١٢", "NaN", "Infinity", "abc", True, None, [], {}]
    for sent in others:
        assert as_number(sent) is None
        assert order_id({"orderId": "A-1", "total": sent}) == "A-1"


# --- The request ----------------------------------------------------------------------------------

USER = {"email": ANA}
SEARCH = {"search": {"query": "shoes"}}


def parse(**body: Any) -> EventRequest:
    return parsed(as_sent({"user": USER, "event": SEARCH} | body))


def problems_of(**body: Any) -> tuple[Problem, ...]:
    with pytest.raises(Invalid) as refused:
        parse(**body)
    return refused.value.problems


def named(**body: Any) -> list[tuple[str, str | None]]:
    return [(problem.message, problem.field) for problem in problems_of(**body)]


def test_a_missing_event_or_user_has_the_documented_error_without_a_field() -> None:
    documented = "Please send user information along with event"
    assert (MISSING_EVENT.field, MISSING_EVENT.as_documented) == (None, True)
    nothing: list[object] = [None, {}]
    for missing in nothing:
        assert problems_of(event=missing) == (MISSING_EVENT,)
        [problem] = problems_of(user=missing)
        assert (problem.message, problem.description) == ("Missing user information", documented)
    with pytest.raises(Invalid, match=MISSING_EVENT.message):
        parsed({"user": USER})


def test_user_and_event_are_objects_and_a_user_has_an_address_or_an_id_that_is_a_string() -> None:
    assert named(event={"search": {"query": "x"}, "viewitem": {"itemId": 1}}) == [("More than one event", "event")]
    others: list[object] = ["x", 1, [], [{}], True, 0, "", False]
    for wrong in others:
        assert named(user=wrong) == [("Invalid user", "user")]
        assert named(event=wrong) == [("Invalid event", "event")]
    nobody: list[object] = [{"firstname": "Ana"}, {"email": None, "_id": None}, {"Email": ANA}, {"id": "x"}]
    for user in nobody:
        assert named(user=user) == [("Missing user identifier", "user")]
    addresses: list[object] = ["", "ana", "ana@", "@example.com", "ana@example", 7, [], True, "a b@example.com"]
    for email, more in product(addresses, ({}, {"_id": "x"})):
        assert named(user={"email": email, **more}) == [("Invalid email", "user.email")]
    ids: list[object] = [7, [], {}, True]
    for user_id in ids:
        assert named(user={"_id": user_id}) == [("Invalid _id", "user._id")]
    assert parse(user={"email": " Ana@Example.COM\n"}).user.email == ANA


def test_some_attributes_of_the_user_may_come_along_and_other_fields_are_ignored() -> None:
    assert USER_ATTRIBUTES == ("tel", "firstname", "lastname", "country", "city")
    for name in USER_ATTRIBUTES:
        assert parse(user=USER | {name: "x"}).user.attributes == {name: "x"}
        assert parse(user=USER | {name: None}).user.attributes == {}
        assert named(user=USER | {name: 7}) == [("Invalid data format/type", f"user.{name}")]
        assert named(user=USER | {name: "\ud800"}) == [("Invalid text", f"user.{name}")]
    request = parse(user=USER | {"shoesize": 38, "": Decimal(1)}, extra=[1], Event={})
    assert request.user.attributes == {}
    assert parse(user=USER | {"userAgent": "x"}).user.user_agent == "x"
    assert parse(user=USER | {"userAgent": None}).user.user_agent == ""


def test_all_that_is_wrong_is_listed_at_once_and_without_a_value_that_was_sent() -> None:
    """Error texts get into logs: they name places, never values."""
    secret = "s3cret-value"
    user = {"email": secret, "_id": 7, "tel": [secret], "city": [], "userAgent": {secret: 1}}
    event = {"confirmation": {"items": secret, "total": {"": 1}}}
    listed = [*problems_of(user=user, event=event), *problems_of(event={"generic": {"event_name": [secret]}})]
    assert {problem.field for problem in listed} == {
        "event.confirmation.total", "event.confirmation.orderId", "event.confirmation.items",
        "event.generic.event_name", "user.email", "user._id", "user.tel", "user.city", "user.userAgent",
    }  # fmt: skip
    assert not any(secret in problem.message + problem.description + str(problem.field) for problem in listed)


# --- eventTime and eventId ------------------------------------------------------------------------

NOW = a_moment()
far_off = st.datetimes(max_value=datetime(1999, 12, 31)) | st.datetimes(min_value=datetime(2200, 1, 1))  # noqa: DTZ001
ids_of_events = st.sampled_from([None, 7, "", "a b", "e-1", "01945a3f-5000-7000-8000-0000000000aa"])


def refused_fields(entry: object) -> set[str | None]:
    """Return the fields that an event of an import is refused for, if it is."""
    [outcome] = parse_batch({"events": [entry], "import": True}, NOW, lambda _: None)
    assert isinstance(outcome, EventRequest | Invalid), outcome
    return {problem.field for problem in outcome.problems} if isinstance(outcome, Invalid) else set()


@given(ids_of_events, far_off, st.sampled_from(["Z", "+14:00", "-23:59"]))
@example(None, datetime(1, 1, 1), "Z")  # noqa: DTZ001
def test_a_time_out_of_range_is_refused_with_any_event_id(event_id: object, moment: datetime, offset: str) -> None:
    event_time = f"{moment.isoformat(timespec='seconds')}{offset}"
    body = {"user": USER, "event": SEARCH, "eventId": event_id, "eventTime": event_time}
    assert "eventTime" in refused_fields(body)
    with pytest.raises(Invalid):
        parsed(as_sent(body))


def test_an_offset_has_hours_up_to_23_and_minutes_up_to_59_and_a_uuid7_in_capitals_contains_its_time() -> None:
    event_time, event_id = iso(NOW)[:-1], new_id(NOW).upper()
    for offset in ("+05:60", "+05:99", "-24:00", "+0530", "+5:30", ""):
        assert named(eventTime=event_time + offset) == [("Invalid eventTime", "eventTime")]
    assert parse(eventTime=f"{event_time}+00:00").happened_at == NOW
    request = parse(eventId=event_id)
    assert (request.event_id, request.happened_at, request.own_time) == (event_id, NOW, True)


# --- Refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("field", "known"), [
    ("event", "event"), ("events", "events"), ("events.12.user.email", "user.email"), ("events.12", ""),
    ("event.emailOpen", "event.emailopen"), ("event.confirmation.orderId", "event.confirmation.orderId"),
    ("event.confirmation.generic.orderId", "event.confirmation.generic.orderId"),
    ("event.generic.generic.event_name", "event.generic.generic.event_name"),
    ("event.ana@example.com.orderId", "event"), ("event.update.ana@example.com", "event.update"),
    ("event.update.email.email.event.user", "event.update"),
    ("event.confirmation.items.items.items", "event.confirmation.items"),
    ("user.firstname.user.email", "user.firstname"),
    ("user.ana", "user"), ("tags", "tags"), ("ana.user.email", ""), ("12.34600000000", ""),
    ("Idempotency-Key", "Idempotency-Key"), ("", ""), ("event.review.a-secret", "event.review"),
    ("events.3.event.review.reviewId", "event.review.reviewId"),
])  # fmt: skip
@with_declared_types
def test_a_field_is_made_of_names_of_the_contract_each_in_its_place(field: str, known: str) -> None:
    assert known_field(field) == known


@with_declared_types
def test_a_type_is_known_by_any_of_its_names() -> None:
    assert known_type({"event": {"emailClick": 7}}) == "emailclick"
