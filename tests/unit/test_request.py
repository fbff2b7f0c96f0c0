"""Contract section 2: the body of POST /v1/event/."""

from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from builders import ANA, a_moment, as_sent, parsed
from domain.ids import new_id
from domain.problems import MISSING_EVENT, Invalid, Problem
from domain.request import USER_ATTRIBUTES, EventRequest, parse_batch
from domain.times import iso

USER = {"email": ANA}
EVENT = {"search": {"query": "shoes"}}


def parse(**body: Any) -> EventRequest:
    return parsed(as_sent({"user": USER, "event": EVENT} | body))


def problems(**body: Any) -> tuple[Problem, ...]:
    with pytest.raises(Invalid) as refused:
        parse(**body)
    return refused.value.problems


def named(**body: Any) -> list[tuple[str, str | None]]:
    return [(problem.message, problem.field) for problem in problems(**body)]


@pytest.mark.parametrize("event", [None, {}])
def test_a_missing_event_has_the_documented_error_without_a_field(event: object) -> None:
    documented = (MISSING_EVENT,)
    assert (documented[0].field, documented[0].as_documented) == (None, True)
    assert problems(event=event) == documented
    with pytest.raises(Invalid) as refused:
        parsed({"user": USER})
    assert refused.value.problems == documented


@pytest.mark.parametrize("user", [None, {}])
def test_a_missing_user_has_the_documented_error(user: object) -> None:
    [problem] = problems(user=user)
    assert (problem.message, problem.description) == (
        "Missing user information",
        "Please send user information along with event",
    )


@pytest.mark.parametrize("wrong", ["x", 1, [], [{}], True, 0, "", False])
def test_user_and_event_are_objects(wrong: object) -> None:
    assert named(user=wrong) == [("Invalid user", "user")]
    assert named(event=wrong) == [("Invalid event", "event")]


@pytest.mark.parametrize(
    "user", [{"firstname": "Ana"}, {"email": None}, {"email": None, "_id": None}, {"Email": ANA}, {"id": "x"}]
)
def test_a_user_without_email_and_id_is_a_missing_identifier(user: object) -> None:
    assert named(user=user) == [("Missing user identifier", "user")]


@pytest.mark.parametrize("email", ["", "ana", "ana@", "@example.com", "ana@example", 7, [], True, "a b@example.com"])
def test_an_email_that_is_no_address_is_invalid(email: object) -> None:
    assert named(user={"email": email}) == [("Invalid email", "user.email")]
    assert named(user={"email": email, "_id": "x"}) == [("Invalid email", "user.email")]


@pytest.mark.parametrize("user_id", [7, [], {}, True])
def test_an_id_is_a_string(user_id: object) -> None:
    assert named(user={"_id": user_id}) == [("Invalid _id", "user._id")]


def test_an_email_is_trimmed_and_lower_cased() -> None:
    assert parse(user={"email": " Ana@Example.COM\n"}).user.email == ANA


def test_several_events_are_refused() -> None:
    assert named(event={"search": {"query": "x"}, "viewitem": {"itemId": 1}}) == [("More than one event", "event")]


@pytest.mark.parametrize("name", USER_ATTRIBUTES)
def test_some_attributes_of_the_user_may_come_along(name: str) -> None:
    assert parse(user=USER | {name: "x"}).user.attributes == {name: "x"}
    assert parse(user=USER | {name: None}).user.attributes == {}
    assert named(user=USER | {name: 7}) == [("Invalid data format/type", f"user.{name}")]
    assert named(user=USER | {name: "\ud800"}) == [("Invalid text", f"user.{name}")]


def test_the_attributes_are_those_of_the_contract() -> None:
    assert USER_ATTRIBUTES == ("tel", "firstname", "lastname", "country", "city")


def test_unknown_fields_are_ignored() -> None:
    request = parse(user=USER | {"shoesize": 38, "": Decimal(1)}, extra=[1], Event={})
    assert request.user.attributes == {}


def test_the_user_agent_is_a_string() -> None:
    assert parse(user=USER | {"userAgent": "x"}).user.user_agent == "x"
    assert parse(user=USER | {"userAgent": None}).user.user_agent == ""
    assert named(user=USER | {"userAgent": 7}) == [("Invalid data format/type", "user.userAgent")]


def test_all_that_is_wrong_is_listed_at_once() -> None:
    user = {"email": "ana", "_id": 7, "tel": 7, "city": [], "userAgent": {}}
    event = {"confirmation": {"items": 7, "total": {"": 1}}}
    fields = {field for _, field in named(user=user, event=event)}
    assert fields == {
        "event.confirmation.total", "event.confirmation.orderId", "event.confirmation.items",
        "user.email", "user._id", "user.tel", "user.city", "user.userAgent",
    }  # fmt: skip


def test_nothing_that_was_sent_is_in_a_description() -> None:
    """Error texts get into logs: they name places, never values."""
    secret = "s3cret-value"
    body = {"user": {"email": secret, "tel": [secret]}, "event": {"generic": {"event_name": [secret]}}}
    for problem in problems(**body):
        assert secret not in problem.message + problem.description + str(problem.field)


# --- eventTime and eventId ------------------------------------------------------------------------

NOW = a_moment()
far_off = st.datetimes(max_value=datetime(1999, 12, 31)) | st.datetimes(min_value=datetime(2200, 1, 1))  # noqa: DTZ001
any_json = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def refused_fields(entry: object) -> set[str | None]:
    """Return the fields that an event of an import is refused for, if it is."""
    [outcome] = parse_batch({"events": [entry], "import": True}, NOW, lambda _: None)
    assert isinstance(outcome, EventRequest | Invalid), outcome
    return {problem.field for problem in outcome.problems} if isinstance(outcome, Invalid) else set()


@pytest.mark.parametrize("event_id", [None, 7, "", "a b", "e-1", "01945a3f-5000-7000-8000-0000000000aa"])
@given(moment=far_off, offset=st.sampled_from(["Z", "+14:00", "-23:59"]))
@example(datetime(1, 1, 1), "Z")  # noqa: DTZ001
def test_a_time_out_of_range_is_refused_whatever_the_event_id_is(
    event_id: object, moment: datetime, offset: str
) -> None:
    event_time = f"{moment.isoformat(timespec='seconds')}{offset}"
    body = {"user": USER, "event": EVENT, "eventId": event_id, "eventTime": event_time}
    assert "eventTime" in refused_fields(body)
    with pytest.raises(Invalid):
        parsed(as_sent(body))


@given(st.dictionaries(st.sampled_from(["user", "event", "eventId", "eventTime"]), any_json) | any_json)
def test_an_event_of_any_json_is_never_failed(entry: object) -> None:
    refused_fields(entry)


@pytest.mark.parametrize("offset", ["+05:60", "+05:99", "-24:00", "+0530", "+5:30", ""])
def test_an_offset_has_hours_up_to_23_and_minutes_up_to_59(offset: str) -> None:
    event_time = iso(NOW)[:-1]
    assert named(eventTime=event_time + offset) == [("Invalid eventTime", "eventTime")]
    assert parse(eventTime=f"{event_time}+00:00").happened_at == NOW


def test_a_uuid7_in_capitals_contains_its_time() -> None:
    event_id = new_id(NOW).upper()
    request = parse(eventId=event_id)
    assert (request.event_id, request.happened_at, request.own_time) == (event_id, NOW, True)
