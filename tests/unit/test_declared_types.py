"""Documents, texts, feed and refusals follow from the class of an event type, for types that only tests declare."""

import json
from decimal import Decimal

import pytest

from builders import a_moment, an_event, an_example, as_sent
from declared import DECLARED, Once, Windowed, with_declared_types
from domain.event_types import ParsedEvent, parse_event
from domain.ids import new_id
from table import primary_keys as keys
from table.attribute_values import to_item
from table.images import message_of
from use_cases.refusals import known_field, known_type

every_declared = pytest.mark.parametrize("kind", DECLARED, ids=lambda kind: kind.type)


@with_declared_types
def test_it_has_its_other_names_and_the_error_of_an_unknown_type_lists_it() -> None:
    assert an_event("emailClick", {}).type == "emailclick"
    problems = parse_event("reviews", {})
    assert not isinstance(problems, ParsedEvent)
    assert "Closest: review. All types: review, " in problems[0].description


@with_declared_types
def test_its_refusals_are_counted_by_its_type_and_field() -> None:
    assert known_type({"event": {"emailClick": 7}}) == "emailclick"
    assert known_field("events.3.event.review.reviewId") == "event.review.reviewId"
    assert known_field("event.review.a-secret") == "event.review"


@with_declared_types
@every_declared
def test_it_is_published_as_every_other(kind: Once | Windowed) -> None:
    moment = a_moment()
    payload = as_sent(an_example(kind.type))
    event_id = new_id(moment)
    item = {**keys.event("shop", new_id(moment), event_id)._asdict(), "type": kind.type, "payload": payload}
    message = message_of(to_item(item))
    assert message
    detail = json.loads(message.detail, parse_int=Decimal, parse_float=Decimal)
    assert (detail["type"], detail["payload"]) == (kind.type, payload)
