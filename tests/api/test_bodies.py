"""Contract sections 1 and 2: for any body and header the answer is one of the table's, never a 500."""

import base64
import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.gateway import Answer, call, event_file, function_of, invoke, timeline, user
from builders import ANA, an_entry
from domain.problems import Invalid
from domain.profile import Profile
from handlers import bodies

KIB = 1024
BODY = json.dumps({"user": {"email": ANA}, "event": {"search": {"query": "shoes"}}})


def post(body: Any, **parts: Any) -> Answer:
    return call("POST", "/event", body, **parts)


def update(attributes: str) -> Answer:
    return post(f'{{"user": {{"email": "{ANA}"}}, "event": {{"update": {attributes}}}}}')


NOT_ONE_OBJECT = [
    None, "", " ", "x", "[]", '"x"', "1", "null", "true", BODY + "}", BODY[:-1], "\ufeff", BODY + "\ufeff", "{'a': 1}",
    '{"a": 1, "a": 1}', '{"user": {"email": "a", "email": "b"}}', '{"": 1, "": 2}',
]  # fmt: skip
NOT_UTF_8 = ["%%%", base64.b64encode(b'{"user": "\xff"}').decode(), "é", "\ud800"]


def test_a_body_that_is_not_a_json_object_with_unique_names_is_invalid_json(ana: Profile) -> None:
    answers = [post(body) for body in NOT_ONE_OBJECT] + [post(body, isBase64Encoded=True) for body in NOT_UTF_8]
    answers += [call("POST", "/user", "[]"), user("PUT", ANA, "{"), user("PUT", ANA, '{"a": 1, "a": 2}')]
    assert {(answer.status, *answer.errors) for answer in answers} == {(400, ("Invalid JSON", None))}


def test_a_body_may_be_in_base64_or_begin_with_a_byte_order_mark_and_have_any_content_type(ana: Profile) -> None:
    assert post("\ufeff" + BODY).status == 200
    assert post(base64.b64encode(BODY.encode()).decode(), isBase64Encoded=True).status == 200
    for headers in (None, {}, {"Content-Type": "text/plain"}, {"content-type": "application/xml"}):
        assert post(BODY, headers=headers).status == 200


OURS = [
    bodies.NOT_UTF_8, bodies.TOO_DEEP, bodies.EMPTY, bodies.FORM_FIELDS, bodies.NOT_AN_OBJECT, bodies.BROKEN,
    bodies.TRAILING_COMMA, *bodies.FAULTS.values(), "The name {at} is given twice in one object.",
]  # fmt: skip
ONE_OF_OURS = re.compile("|".join(re.escape(text).replace(r"\{at\}", ".+") for text in OURS))
characters = st.text("{}[]\"':,\\ \t\n=eEtrufalsn-+.019ab\u20ac")


damaged = st.builds(lambda at, new: BODY[:at] + new + BODY[at + 1 :], st.integers(0, len(BODY)), characters)


@given(characters | damaged)
@settings(max_examples=300)
def test_no_text_of_the_json_parser_reaches_a_caller(body: str) -> None:
    said = ""
    try:
        bodies.json_object(body.encode())
    except Invalid as refused:
        said = refused.problems[0].description
    assert not said or ONE_OF_OURS.match(said), said


@pytest.mark.parametrize("encoded", [True, False])
def test_a_body_has_256_kib_at_most(encoded: bool, ana: Profile) -> None:
    def sized(size: int) -> Answer:
        body = BODY + " " * (size - len(BODY))
        return post(base64.b64encode(body.encode()).decode() if encoded else body, isBase64Encoded=encoded)

    assert sized(256 * KIB).status == 200
    assert (sized(256 * KIB + 1).status, sized(256 * KIB + 1).errors) == (413, [("Request too large", None)])
    assert post('{"a": "' + "é" * (128 * KIB) + '"}').status == 413, "it is measured in bytes"


UNSTORABLE = [
    ("NaN", "a"), ("Infinity", "a"), ("-Infinity", "a"), ("1e400", "a"), ("1e126", "a"), ("1" * 39, "a"),
    ("1e99999999999999999999", "a"), ("-0." + "1" * 10_000, "a"), ('"\\ud800"', "a"), ('["\\udfff"]', "a.0"),
    ('{"": 1}', "a"), ("[" * 40 + "]" * 40, "a" + ".0" * 30),
]  # fmt: skip


def test_what_the_store_cannot_hold_is_400_naming_the_field(ana: Profile) -> None:
    for value, field in UNSTORABLE:
        answer = update(f'{{"a": {value}}}')
        assert (answer.status, [place for _, place in answer.errors]) == (400, [f"event.update.{field}"]), value
    assert [place for _, place in update('{"": 1}').errors] == ["event.update"]
    for bottomless in ("[" * 100_000, '{"a":' * 40_000, "[" * 5_000 + "]" * 5_000):
        assert update(f'{{"a": {bottomless}}}').status == 400


def test_an_idempotency_key_has_1_to_255_characters_and_a_header_name_any_case(ana: Profile) -> None:
    for name in ("Idempotency-Key", "idempotency-key", "iDeMpOtEnCy-KeY"):
        first, repeat = (post(BODY, headers={name: name}) for _ in range(2))
        assert (first.headers.get("Idempotent-Replayed"), repeat.headers["Idempotent-Replayed"]) == (None, "true")
        assert (repeat.text, repeat.headers["X-Event-Id"]) == (first.text, first.headers["X-Event-Id"])
    for key in ("", "x" * 256):
        answer = post(BODY, headers={"Idempotency-Key": key})
        assert (answer.status, answer.errors) == (400, [("Invalid Idempotency-Key", "Idempotency-Key")])
    for longest in ("x" * 255, "\ud800" * 255):
        assert post(BODY, headers={"Idempotency-Key": longest}).status == 200


def test_a_key_whose_first_answer_was_that_of_a_duplicate_is_not_free_for_another_body(ana: Profile) -> None:
    event, headers = an_entry({"search": {"query": "x"}}), {"Idempotency-Key": "key"}
    assert post(event).status == 200
    assert post(event, headers=headers).headers["Idempotent-Replayed"] == "true"
    assert post(event | {"eventId": "e-2"}, headers=headers).status == 422


@pytest.mark.parametrize("name", ["update", "user-get", "user-post", "user-put", "user-delete", "user-events"])
def test_without_its_account_an_event_is_401_and_without_another_part_no_failure(name: str, ana: Profile) -> None:
    whole = event_file(name)
    contexts: list[Any] = [None, {}, {"authorizer": None}, {"authorizer": {}}, {"authorizer": {"account": ""}}]
    lacking = [(part, {key: value for key, value in whole.items() if key != part}) for part in whole]
    lacking += [(part, whole | {part: None}) for part in whole]
    for part, event in [*lacking, *(("requestContext", whole | {"requestContext": each}) for each in contexts)]:
        answer = invoke(function_of(whole), event)
        message = json.loads(answer["body"]).get("errors", [{}])[0].get("message")
        assert answer["statusCode"] < 500
        assert (answer["statusCode"] == 401) == (part == "requestContext") == (message == "Unauthorized")


def test_a_null_is_as_if_it_were_not_there_and_of_what_comes_twice_the_last_counts(ana: Profile) -> None:
    """The last one counts for API Gateway too, in what is not multi-value."""
    first, second = (post(BODY, headers={"Idempotency-Key": None}) for _ in range(2))
    assert first.headers["X-Event-Id"] != second.headers["X-Event-Id"]
    assert len(timeline(ANA, dict.fromkeys(("limit", "type", "cursor"))).body["events"]) == 2  # type: ignore[arg-type]
    assert user("PUT", "bob@example.com", {}, queryStringParameters={"upsert": None}).status == 404
    assert call("GET", "/user/{id}", pathParameters={"id": None}).status == 404
    twice = {"headers": {"Idempotency-Key": "b"}, "multiValueHeaders": {"Idempotency-Key": ["a", "b"]}}
    first, repeat, other = post(BODY, **twice), post(BODY, headers={"Idempotency-Key": "b"}), post(BODY, headers={})
    assert repeat.headers["X-Event-Id"] == first.headers["X-Event-Id"] != other.headers["X-Event-Id"]
    page = timeline(ANA, {"limit": "1"}, multiValueQueryStringParameters={"limit": ["0", "1"]})
    assert [event["_id"] for event in page.body["events"]] == [other.headers["X-Event-Id"]]


def test_problems_of_body_headers_and_query_are_reported_at_once(ana: Profile) -> None:
    wrong: dict[str, Any] = {"queryStringParameters": {"upsert": "yes"}}
    event = {"user": {"email": "x"}, "event": {"search": {}}}
    batch = call("POST", "/events", {"events": []}, headers={"Idempotency-Key": "a"}, **wrong)
    for answer, fields in (
        (user("PUT", ANA, {"tags": 1}, **wrong), {"tags", "upsert"}),
        (post(event, headers={"Idempotency-Key": ""}, **wrong),
         {"event.search.query", "user.email", "Idempotency-Key", "upsert"}),
        (batch, {"Idempotency-Key", "upsert"}),
    ):  # fmt: skip
        assert (answer.status, {field for _, field in answer.errors}) == (400, fields)


def test_nothing_that_was_sent_is_in_a_header_of_an_answer(ana: Profile) -> None:
    injected = "k\r\nX-Injected: 1"
    names = ("Idempotency-Key", "X-Event-Id", "X-User-Id", "X-Request-Id", "Origin", "User-Agent", "Host", "Accept")
    sent = dict.fromkeys(names, injected)
    answers = [post(BODY, headers=sent) for _ in range(2)]
    answers.append(user("GET", injected, headers=sent))
    answers.append(user("PUT", injected, {}, headers=sent, queryStringParameters={"upsert": "true"}))
    assert [answer.status for answer in answers] == [200, 200, 404, 400]
    shown = [value for answer in answers for value in answer.headers.values()]
    assert all(re.fullmatch(r"[A-Za-z0-9/_=-]+", value) for value in shown), shown
