"""Contract sections 1 and 2: for any body and header the answer is one of the table's, never a 500."""

import base64
import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.gateway import Answer, call, event_file, invoke, timeline, user
from builders import ANA, a_moment
from domain.problems import Invalid
from domain.profile import Profile
from domain.times import iso
from handlers import bodies

KIB = 1024
BODY = json.dumps({"user": {"email": ANA}, "event": {"search": {"query": "shoes"}}})


def post(body: Any, **parts: Any) -> Answer:
    return call("POST", "/event", body, **parts)


def update(attributes: str) -> Answer:
    """An update whose payload is this text of JSON."""
    return post(f'{{"user": {{"email": "{ANA}"}}, "event": {{"update": {attributes}}}}}')


# --- The body -------------------------------------------------------------------------------------


NOT_ONE_OBJECT = [
    None, "", " ", "x", "[]", '"x"', "1", "null", "true", BODY + "}", BODY[:-1], "\ufeff", BODY + "\ufeff", "{'a': 1}",
    '{"a": 1, "a": 1}', '{"user": {"email": "a", "email": "b"}}', '{"": 1, "": 2}',
]  # fmt: skip


def test_a_body_that_is_not_a_json_object_with_unique_names_is_invalid_json(ana: Profile) -> None:
    answers = {body: post(body) for body in NOT_ONE_OBJECT}
    assert {(answer.status, *answer.errors) for answer in answers.values()} == {(400, ("Invalid JSON", None))}


def test_a_body_may_begin_with_a_byte_order_mark(ana: Profile) -> None:
    assert post("\ufeff" + BODY).status == 200


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
    """A body of any characters, or a good one with others in one place."""
    said = ""
    try:
        bodies.json_object(body.encode())
    except Invalid as refused:
        said = refused.problems[0].description
    assert not said or ONE_OF_OURS.match(said), said


@pytest.mark.parametrize("deep", ["[" * 100_000, '{"a":' * 40_000, "[" * 5_000 + "]" * 5_000])
def test_a_bottomless_body_is_400(deep: str, ana: Profile) -> None:
    assert update('{"a": ' + deep + "}").status == 400


def test_the_content_type_does_not_matter(ana: Profile) -> None:
    for headers in (None, {}, {"Content-Type": "text/plain"}, {"content-type": "application/xml"}):
        assert post(BODY, headers=headers).status == 200


def test_a_body_may_be_in_base64(ana: Profile) -> None:
    assert post(base64.b64encode(BODY.encode()).decode(), isBase64Encoded=True).status == 200


@pytest.mark.parametrize("body", ["%%%", base64.b64encode(b'{"user": "\xff"}').decode(), "é", "\ud800"])
def test_a_body_that_is_not_utf_8_is_400(body: str, ana: Profile) -> None:
    answer = post(body, isBase64Encoded=True)
    assert (answer.status, answer.errors) == (400, [("Invalid JSON", None)])


@pytest.mark.parametrize("encoded", [True, False])
def test_a_body_has_256_kib_at_most(encoded: bool, ana: Profile) -> None:
    def sized(size: int) -> Answer:
        body = BODY + " " * (size - len(BODY))
        return post(base64.b64encode(body.encode()).decode() if encoded else body, isBase64Encoded=encoded)

    assert sized(256 * KIB).status == 200
    assert (sized(256 * KIB + 1).status, sized(256 * KIB + 1).errors) == (413, [("Request too large", None)])
    assert post('{"a": "' + "é" * (128 * KIB) + '"}').status == 413, "it is measured in bytes"


@pytest.mark.parametrize(("attributes", "field"), [
    ('{"a": NaN}', "a"), ('{"a": Infinity}', "a"), ('{"a": -Infinity}', "a"), ('{"a": 1e400}', "a"),
    ('{"a": 1e126}', "a"),
    ('{"a": ' + "1" * 39 + "}", "a"), ('{"a": 1e99999999999999999999}', "a"), ('{"a": -0.' + "1" * 10_000 + "}", "a"),
    ('{"a": "\\ud800"}', "a"), ('{"a": ["\\udfff"]}', "a.0"), ('{"": 1}', ""), ('{"a": {"": 1}}', "a"),
    ('{"a": ' + "[" * 40 + "]" * 40 + "}", "a" + ".0" * 30),
])  # fmt: skip
def test_what_the_store_cannot_hold_is_400_naming_the_field(attributes: str, field: str, ana: Profile) -> None:
    answer = update(attributes)
    assert answer.status == 400
    assert [place for _, place in answer.errors] == [f"event.update.{field}".rstrip(".")]


def test_values_come_back_exactly_in_type_and_value(ana: Profile) -> None:
    attributes = (
        '{"text": "ñ\\u0000日", "whole": 1, "money": 19.90, "long": 12345678901234567890123456789012345678, '
        '"small": 1E-130, "yes": true, "no": false, "nothing": null, "empty": "", "list": [1, "1", [], {}], '
        '"object": {"a.b": {"#": [null]}}, "size": 1, "a.b": 1, "#a": 1, ":v": 1, " ": 1, "SELECT": 1}'
    )
    assert update(attributes).status == 200
    sent = json.loads(attributes, parse_int=str, parse_float=str)
    shown = call("GET", "/user/{id}", pathParameters={"id": ANA}).text
    read = json.loads(shown, parse_int=str, parse_float=str)
    assert {"money": read.pop("money"), "small": read.pop("small")} == {"money": "19.9", "small": "1E-130"}
    sent = {name: value for name, value in sent.items() if name not in ("money", "small")}
    assert {name: read[name] for name in sent} == sent
    [event] = timeline(ANA).body["events"]
    assert event["payload"] == json.loads(attributes)


# --- Headers and account --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Idempotency-Key", "idempotency-key", "IDEMPOTENCY-KEY", "iDeMpOtEnCy-KeY"])
def test_a_header_name_may_have_any_case(name: str, ana: Profile) -> None:
    first, repeat = (post(BODY, headers={name: "k"}) for _ in range(2))
    assert "Idempotent-Replayed" not in first.headers
    assert repeat.headers["Idempotent-Replayed"] == "true"
    assert (repeat.text, repeat.headers["X-Event-Id"]) == (first.text, first.headers["X-Event-Id"])


@pytest.mark.parametrize("key", ["", "x" * 256])
def test_an_idempotency_key_has_1_to_255_characters(key: str, ana: Profile) -> None:
    answer = post(BODY, headers={"Idempotency-Key": key})
    assert (answer.status, answer.errors) == (400, [("Invalid Idempotency-Key", "Idempotency-Key")])
    for longest in ("x" * 255, "\ud800" * 255):
        assert post(BODY, headers={"Idempotency-Key": longest}).status == 200


def test_a_key_whose_first_answer_was_that_of_a_duplicate_is_not_free_for_another_body(ana: Profile) -> None:
    event = {
        "eventId": "e-1",
        "eventTime": iso(a_moment()),
        "user": {"email": ANA},
        "event": {"search": {"query": "x"}},
    }
    headers = {"Idempotency-Key": "key"}
    assert post(event).status == 200
    assert post(event, headers=headers).headers["Idempotent-Replayed"] == "true"
    assert post(event | {"eventId": "e-2"}, headers=headers).status == 422


def test_problems_of_the_body_and_its_key_are_reported_at_once(ana: Profile) -> None:
    answer = post({"user": {"email": "x"}, "event": {"search": {}}}, headers={"Idempotency-Key": ""})
    assert [field for _, field in answer.errors] == ["event.search.query", "user.email", "Idempotency-Key"]


def test_the_callers_own_user_agent_is_never_judged(ana: Profile) -> None:
    answer = post(BODY, headers={"User-Agent": "Googlebot/2.1"})
    assert answer.headers["X-Event-Status"] == "created"


@pytest.mark.parametrize(
    "context", [None, {}, {"authorizer": None}, {"authorizer": {}}, {"authorizer": {"account": ""}}]
)
def test_without_an_account_every_call_is_401(context: Any, ana: Profile) -> None:
    for name in ("update", "user-get", "user-post", "user-delete", "user-events"):
        event = event_file(name) | {"requestContext": context}
        answer = invoke("EventFunction" if name == "update" else "UserFunction", event)
        assert (answer["statusCode"], json.loads(answer["body"])["errors"][0]["message"]) == (401, "Unauthorized")


@pytest.mark.parametrize("name", ["update", "user-get", "user-put", "user-events"])
@pytest.mark.parametrize("part", [
    "headers", "multiValueHeaders", "queryStringParameters", "multiValueQueryStringParameters", "pathParameters",
    "path", "body", "isBase64Encoded", "requestContext", "stageVariables",
])  # fmt: skip
def test_a_part_that_an_event_lacks_or_that_is_null_is_no_failure(name: str, part: str, ana: Profile) -> None:
    whole = event_file(name)
    lacking = {key: value for key, value in whole.items() if key != part}
    for event in (lacking, whole | {part: None}):
        answer = invoke("EventFunction" if name == "update" else "UserFunction", event)
        assert answer["statusCode"] == (401 if part == "requestContext" else answer["statusCode"]) < 500
        assert json.loads(answer["body"])


def test_a_header_or_a_parameter_that_is_null_is_as_if_it_were_not_there(ana: Profile) -> None:
    first, second = (post(BODY, headers={"Idempotency-Key": None}) for _ in range(2))
    assert first.headers["X-Event-Id"] != second.headers["X-Event-Id"]
    assert len(timeline(ANA, dict.fromkeys(("limit", "type", "cursor"))).body["events"]) == 2  # type: ignore[arg-type]
    assert user("PUT", "bob@example.com", {}, queryStringParameters={"upsert": None}).status == 404
    assert call("GET", "/user/{id}", pathParameters={"id": None}).status == 404


def test_a_wrong_parameter_is_reported_with_all_other_problems(ana: Profile) -> None:
    wrong: dict[str, Any] = {"queryStringParameters": {"upsert": "yes"}}
    answers = {
        "tags": user("PUT", ANA, {"tags": 1}, **wrong),
        "user.email": post({"user": {"email": "ana"}, "event": {"search": {"query": "x"}}}, **wrong),
        "Idempotency-Key": call("POST", "/events", {"events": []}, headers={"Idempotency-Key": "a"}, **wrong),
    }
    for field, answer in answers.items():
        assert (answer.status, {error.get("field") for error in answer.body["errors"]}) == (400, {field, "upsert"})


def test_of_a_header_or_a_query_that_comes_more_than_once_the_last_counts(ana: Profile) -> None:
    """So does API Gateway, in what is not multi-value."""
    twice = {"headers": {"Idempotency-Key": "b"}, "multiValueHeaders": {"Idempotency-Key": ["a", "b"]}}
    first, repeat, other = post(BODY, **twice), post(BODY, headers={"Idempotency-Key": "b"}), post(BODY, headers={})
    assert repeat.headers["X-Event-Id"] == first.headers["X-Event-Id"] != other.headers["X-Event-Id"]
    queries = {"limit": "1"}
    page = timeline(ANA, queries, multiValueQueryStringParameters={"limit": ["0", "1"]})
    assert [event["_id"] for event in page.body["events"]] == [other.headers["X-Event-Id"]]


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
