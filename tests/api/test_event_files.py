"""Each file of events/ gets the answer that its name promises."""

import pytest

from api.gateway import ENVELOPE, event_file, function_of, invoke, replay
from domain.events import CATALOGUE
from domain.profile import Profile
from domain.store import Store
from local.stack import ROOT
from stream import Bus

CREATED = '{"results": {"message": "Event created", "email": "Event was created for the specified user"}}'
DISCARDED = '{"results": {"message": "Event discarded", "email": "%s"}}'
MISSING_EVENT = (
    '{"errors": [{"message": "Missing event information", '
    '"description": "Please send event information along with user"}]}'
)
UNKNOWN_EMAIL = (
    '{"errors": [{"message": "User not found", "description": "This email does not exist in our database."}]}'
)
UNKNOWN_ID = '{"errors": [{"message": "User not found", "description": "This _id does not exist in our database."}]}'

# What a file needs before it, its status, and its body or the message and field of its problems.
CREATES = [*CATALOGUE, "confirmation-flat", "user-attributes", "idempotency-key"]
DISCARDS = {
    "confirmation-duplicate": ("confirmation", "A confirmation with this orderId was already received"),
    "emailopen-in-window": ("emailopen", "An email open was already received in the last 20 minutes"),
    "bot": (None, "An event from a bot"),
}
WARNS = {
    "confirmation-total-not-a-number": ["event.confirmation.total"],
    "update-of-identity": ["event.update.numberOfPurchases", "event.update.email"],
}
REFUSES = {
    "missing-event": (400, [("Missing event information", None)]),
    "missing-user": (400, [("Missing user information", "user")]),
    "missing-identifier": (400, [("Missing user identifier", "user")]),
    "invalid-email": (400, [("Invalid email", "user.email")]),
    "identifiers-disagree": (400, [("User identifiers disagree", "user")]),
    "more-than-one-event": (400, [("More than one event", "event")]),
    "unknown-event-type": (400, [("Unknown event type", "event.viewItem")]),
    "missing-orderid": (400, [("Missing orderId", "event.confirmation.orderId")]),
    "unstorable": (
        400,
        [
            ("Invalid number", "event.update.number"),
            ("Invalid text", "event.update.text"),
            ("Invalid number", "event.update.list.0"),
        ],
    ),
    "invalid-json": (400, [("Invalid JSON", None)]),
    "unauthorized": (401, [("Unauthorized", None)]),
    "unknown-user": (404, [("User not found", None)]),
    "unknown-id": (404, [("User not found", None)]),
    "unknown-path": (404, [("Not found", None)]),
    "user-get-unknown": (404, [("User not found", None)]),
    "user-post-taken": (409, [("User already exists", "email")]),
    "user-post-invalid": (400, [("Invalid data format/type", "email"), ("Invalid data format/type", "tags")]),
    "user-events-invalid-cursor": (400, [("Invalid cursor", "cursor")]),
}
ANSWERS = {
    "user-get": None,
    "user-post": "Successfully added new user.",
    "user-post-anonymous": "Successfully added new user.",
    "user-put": "Successfully updated user.",
    "user-put-upsert": "Successfully added new user.",
    "user-delete": "Successfully deleted user.",
    "user-events": None,
}
TESTED_BELOW = {"idempotency-key-reused", "authorizer", "key-create", "key-list", "key-invalid", "erasure", "feed"}
FILES = {path.stem for path in (ROOT / "events").glob("*.json")}
REST = FILES - {"authorizer", "key-create", "key-list", "key-invalid", "erasure", "feed"}


def test_each_file_is_tested_here() -> None:
    assert {*CREATES, *DISCARDS, *WARNS, *REFUSES, *ANSWERS, *TESTED_BELOW} == FILES


@pytest.mark.parametrize("name", sorted(REST))
def test_a_file_is_a_whole_event_of_a_rest_api_and_of_a_route_of_ours(name: str) -> None:
    event = event_file(name)
    assert event.keys() == ENVELOPE.keys()
    assert event["requestContext"]["resourcePath"] == event["resource"]
    assert event["requestContext"]["httpMethod"] == event["httpMethod"]
    assert event["multiValueHeaders"] == {header: [value] for header, value in event["headers"].items()}
    assert function_of(event)


@pytest.mark.parametrize("name", CREATES)
def test_an_event_is_created(name: str, ana: Profile) -> None:
    answer = replay(name)
    assert (answer.status, answer.text) == (200, CREATED)
    assert answer.headers["X-Event-Status"] == "created"
    assert answer.headers["X-User-Id"] == ana.id
    assert answer.headers["Content-Type"] == "application/json"
    [event] = replay("user-events").body["events"]
    assert event["_id"] == answer.headers["X-Event-Id"]


@pytest.mark.parametrize("name", DISCARDS)
def test_an_event_is_discarded(name: str, ana: Profile) -> None:
    before, reason = DISCARDS[name]
    if before:
        replay(before)
    profile = replay("user-get").body
    answer = replay(name)
    assert (answer.status, answer.text) == (200, DISCARDED % reason)
    assert answer.headers["X-Event-Status"] == "discarded"
    assert answer.headers["X-User-Id"] == ana.id
    assert replay("user-get").body == profile
    assert len(replay("user-events").body["events"]) == (before is not None)


@pytest.mark.parametrize("name", WARNS)
def test_an_event_is_created_with_warnings(name: str, ana: Profile) -> None:
    answer = replay(name)
    assert answer.status == 200
    assert answer.body["results"]["message"] == "Event created"
    assert [warning["field"] for warning in answer.body["warnings"]] == WARNS[name]
    assert all(warning.keys() == {"field", "message"} for warning in answer.body["warnings"])


@pytest.mark.parametrize("name", REFUSES)
def test_a_request_is_refused_and_nothing_is_stored(name: str, ana: Profile, demo: Store) -> None:
    before = demo.table.client.scan(TableName=demo.table.name)["Items"]
    answer = replay(name)
    assert (answer.status, answer.errors) == REFUSES[name]
    assert all(error.keys() <= {"message", "description", "field"} for error in answer.body["errors"])
    assert all(error["message"] and error["description"] for error in answer.body["errors"])
    assert answer.headers["Content-Type"] == "application/json"
    assert demo.table.client.scan(TableName=demo.table.name)["Items"] == before


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("missing-event", MISSING_EVENT),
        ("unknown-user", UNKNOWN_EMAIL),
        ("user-get-unknown", UNKNOWN_EMAIL),
        ("unknown-id", UNKNOWN_ID),
    ],
)
def test_a_documented_body_is_returned_to_the_letter(name: str, text: str, ana: Profile) -> None:
    assert replay(name).text == text


@pytest.mark.parametrize("name", ANSWERS)
def test_a_call_of_the_user_api_is_answered(name: str, ana: Profile) -> None:
    answer = replay(name)
    assert answer.status == 200
    if ANSWERS[name]:
        assert answer.body["results"][0]["message"] == ANSWERS[name]


def test_broken_json_is_told_its_line_and_column() -> None:
    [error] = replay("invalid-json").body["errors"]
    assert error == {"message": "Invalid JSON", "description": "Expecting ',' delimiter at line 3, column 3."}


def test_an_idempotency_key_with_another_body_is_422(ana: Profile) -> None:
    replay("idempotency-key")
    answer = replay("idempotency-key-reused")
    assert (answer.status, answer.errors) == (422, [("Idempotency-Key reused", None)])


def test_a_key_is_created_and_listed_without_its_secret(demo: Store) -> None:
    created = invoke("KeyFunction", event_file("key-create"))
    assert created.keys() == {"account", "keyId", "apiKey", "createdOn", "expiresOn"}
    listed = invoke("KeyFunction", event_file("key-list"))
    assert listed == {"account": "demo", "keys": [{k: created[k] for k in ("keyId", "createdOn", "expiresOn")}]}


def test_a_wrong_request_for_a_key_is_told_all_its_problems(demo: Store) -> None:
    answer = invoke("KeyFunction", event_file("key-invalid"))
    assert [error["field"] for error in answer["errors"]] == ["action", "account"]


def test_the_authorizer_denies_a_key_that_nobody_made(demo: Store) -> None:
    policy = invoke("AuthorizerFunction", event_file("authorizer"))
    assert policy["policyDocument"]["Statement"][0]["Effect"] == "Deny"


def test_a_record_of_the_stream_is_published() -> None:
    with Bus.running() as bus:
        assert invoke("FeedFunction", event_file("feed")) == {"batchItemFailures": []}
    assert [detail["payload"] for detail in bus.published()] == [{"query": "red shoes"}]


def test_an_erasure_with_nothing_to_do_does_nothing(demo: Store) -> None:
    assert invoke("ErasureFunction", event_file("erasure")) == {"unfinished": 0}
