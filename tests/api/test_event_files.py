"""Each file of events/ gets the answer that its name promises."""

import base64
import gzip
import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest

from api.gateway import ENVELOPE, answer_to, event_file, function_of, invoke, replay
from documents import text
from domain.event_types import CATALOGUE
from domain.profile import Profile
from local.stack import ROOT
from stream import Bus
from table import Account

TODAY = datetime.now(UTC).date()
CREATED = '{"results": {"message": "Event created", "email": "Event was created for the specified user"}}'
MISSING_EVENT = (
    '{"errors": [{"message": "Missing event information", '
    '"description": "Please send event information along with user"}]}'
)
UNKNOWN_EMAIL = (
    '{"errors": [{"message": "User not found", "description": "This email does not exist in our database."}]}'
)

# What a file needs before it, its status, and its body or the message and field of its problems.
CREATES = [*CATALOGUE, "confirmation-flat", "user-attributes", "idempotency-key", "gzip"]
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
    "forbidden": (403, [("Forbidden", None)]),
    "unknown-user": (404, [("User not found", None)]),
    "unknown-id": (404, [("User not found", None)]),
    "erasure-receipt-unknown": (404, [("Erasure not found", "_id")]),
    "unknown-path": (404, [("Not found", None)]),
    "user-get-unknown": (404, [("User not found", None)]),
    "user-post-taken": (409, [("User already exists", "email")]),
    "user-post-invalid": (400, [("Invalid data format/type", "email"), ("Invalid data format/type", "tags")]),
    "user-events-invalid-cursor": (400, [("Invalid cursor", "cursor")]),
    "event-id-without-time": (400, [("Missing eventTime", "eventTime")]),
    "event-time-ahead": (400, [("Invalid eventTime", "eventTime")]),
    "unsupported-encoding": (415, [("Unsupported Content-Encoding", None)]),
    "batch-without-events": (400, [("Missing events", "events")]),
    "batch-with-idempotency-key": (400, [("Invalid Idempotency-Key", "Idempotency-Key")]),
    "attribute-delete-of-the-system": (400, [("Attribute kept by the system", "name")]),
    "attribute-delete-unknown-user": (404, [("User not found", None)]),
    "refusals-invalid-limit": (400, [("Invalid limit", "limit")]),
}
ANSWERS = {
    "user-get": None,
    "user-post": "Successfully added new user.",
    "user-post-anonymous": "Successfully added new user.",
    "user-put": "Successfully updated user.",
    "user-put-upsert": "Successfully added new user.",
    "user-delete": "Successfully deleted user.",
    "user-events": None,
    "attribute-delete": "Successfully updated user.",
    "refusals": None,
}
# The status of a batch, and of each of its events.
BATCHES = {
    "batch": (200, ["created", "created"]),
    "batch-gzip": (200, ["created", "created"]),
    "batch-twice": (200, ["created", "duplicate"]),
    "batch-some-refused": (207, ["created", "refused", "refused"]),
    "batch-all-refused": (400, ["refused", "refused"]),
    "batch-check": (200, ["created", "created"]),
    "batch-check-some-refused": (207, ["created", "refused", "refused"]),
}
TESTED_BELOW = {
    "event-id",
    "event-id-of-another-payload",
    "idempotency-key-reused",
    "authorizer",
    "key-create",
    "key-list",
    "key-invalid",
    "erasure",
    "feed",
}
FILES = {path.stem for path in (ROOT / "events").glob("*.json")}
REST = FILES - {"authorizer", "key-create", "key-list", "key-invalid", "erasure", "feed"}


def test_each_file_is_tested_here() -> None:
    assert {*CREATES, *DISCARDS, *WARNS, *REFUSES, *ANSWERS, *BATCHES, *TESTED_BELOW} == FILES


def test_the_table_of_the_files_names_each_and_its_function() -> None:
    rows = re.findall(r"^\| `(\S+)` \| (\w+Function) \|", text("events/README.md"), re.MULTILINE)
    assert {name for name, _ in rows} == FILES
    assert {name: function for name, function in rows if name in REST} == {
        name: function_of(event_file(name)) for name in REST
    }


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
    assert (answer.status, answer.body["results"]) == (200, {"message": "Event discarded", "email": reason})
    assert ("first" in answer.body) == (before is not None)
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


def stored(demo: Account) -> list[dict[str, Any]]:
    """All items, without the counts of what was refused."""
    items = demo.table.client.scan(TableName=demo.table.name)["Items"]
    return [dict(item) for item in items if not item["pk"]["S"].endswith("#REFUSALS")]


@pytest.mark.parametrize("name", REFUSES)
def test_a_request_is_refused_and_nothing_is_stored(name: str, ana: Profile, demo: Account) -> None:
    before = stored(demo)
    answer = replay(name)
    assert (answer.status, answer.errors) == REFUSES[name]
    assert all(error.keys() <= {"message", "description", "code", "field"} for error in answer.body["errors"])
    assert all(error["message"] and error["description"] for error in answer.body["errors"])
    assert answer.headers["Content-Type"] == "application/json"
    assert stored(demo) == before


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("missing-event", MISSING_EVENT),
        ("unknown-user", UNKNOWN_EMAIL),
        ("user-get-unknown", UNKNOWN_EMAIL),
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


@pytest.mark.parametrize("name", BATCHES)
def test_a_batch_tells_of_each_event_and_a_check_stores_none(name: str, ana: Profile) -> None:
    answer = replay(name)
    status, statuses = BATCHES[name]
    assert answer.status == status
    assert [each["status"] for each in answer.body["results"]] == statuses
    assert [each["eventId"] for each in answer.body["results"]] == ids_of(name)
    is_check = name.startswith("batch-check")
    assert answer.body.get("stored") == (False if is_check else None)
    listed = {each["_id"] for each in replay("user-events").body["events"]}
    created = {each["eventId"] for each in answer.body["results"] if each["status"] == "created"}
    assert listed == (set() if is_check else created)


def ids_of(name: str) -> list[str]:
    event = event_file(name)
    raw = event["body"].encode()
    body = gzip.decompress(base64.b64decode(raw)) if event["isBase64Encoded"] else raw
    return [each["eventId"] for each in json.loads(body)["events"]]


def test_a_batch_sent_again_has_only_duplicates_and_an_order_sent_anew_is_discarded(ana: Profile) -> None:
    first, again = replay("batch"), replay("batch")
    assert [each["status"] for each in again.body["results"]] == ["duplicate", "duplicate"]
    assert all(each["samePayload"] for each in again.body["results"])
    assert first.status == again.status == 200
    discarded = replay("confirmation")
    assert discarded.headers["X-Event-Status"] == "discarded"
    assert discarded.body["first"]["eventId"] == ids_of("batch")[1]


def test_what_a_batch_says_of_a_wrong_event_has_its_place_and_its_code(ana: Profile) -> None:
    _, unknown, missing = replay("batch-some-refused").body["results"]
    assert [(each["code"], each["field"]) for each in unknown["errors"]] == [("user_not_found", "events.1.user.email")]
    [error] = missing["errors"]
    assert (error["code"], error["field"]) == ("missing_field", "events.2.event.viewitem.itemId")


def test_an_event_id_makes_a_repeat_harmless(ana: Profile) -> None:
    first, again, other = (
        answer_to(of_today(name)) for name in ("event-id", "event-id", "event-id-of-another-payload")
    )
    assert (first.text, again.text) == (CREATED, CREATED)
    assert "Idempotent-Replayed" not in first.headers
    for repeat in (again, other):
        assert repeat.status == 200
        assert repeat.headers["Idempotent-Replayed"] == "true"
        assert repeat.headers["X-Event-Id"] == first.headers["X-Event-Id"] == "view-77"
    assert other.body["warnings"]
    [event] = replay("user-events").body["events"]
    assert (event["_id"], event["payload"]) == ("view-77", {"itemId": "SKU-1"})
    assert event.keys() == {"_id", "type", "payload", "createdOn", "receivedOn"}


def of_today(name: str) -> dict[str, Any]:
    """The file as if it had been sent today: what is 35 days back is refused. The same time for each."""
    event = event_file(name)
    event["body"] = json.dumps(json.loads(event["body"]) | {"eventTime": f"{TODAY}T00:00:00Z"})
    return event


def test_broken_json_is_told_its_line_and_column() -> None:
    [error] = replay("invalid-json").body["errors"]
    description = "Expecting ',' delimiter at line 3, column 3."
    assert error == {"message": "Invalid JSON", "description": description, "code": "invalid_json"}


def test_an_idempotency_key_with_another_body_is_422(ana: Profile) -> None:
    replay("idempotency-key")
    answer = replay("idempotency-key-reused")
    assert (answer.status, answer.errors) == (422, [("Idempotency-Key reused", None)])


def test_a_key_is_created_and_listed_without_its_secret(demo: Account) -> None:
    created = invoke("KeyFunction", event_file("key-create"))
    assert created.keys() == {"account", "keyId", "apiKey", "scopes", "createdOn", "expiresOn"}
    listed = invoke("KeyFunction", event_file("key-list"))
    assert listed == {
        "account": "demo",
        "keys": [{k: created[k] for k in ("keyId", "scopes", "createdOn", "expiresOn")}],
    }


def test_a_wrong_request_for_a_key_is_told_all_its_problems(demo: Account) -> None:
    answer = invoke("KeyFunction", event_file("key-invalid"))
    assert [error["field"] for error in answer["errors"]] == ["action", "account"]


def test_the_authorizer_denies_a_key_that_nobody_made(demo: Account) -> None:
    policy = invoke("AuthorizerFunction", event_file("authorizer"))
    assert policy["policyDocument"]["Statement"][0]["Effect"] == "Deny"


def test_a_record_of_the_stream_is_published() -> None:
    with Bus.running() as bus:
        assert invoke("FeedFunction", event_file("feed")) == {"batchItemFailures": []}
    assert [detail["payload"] for detail in bus.published()] == [{"query": "red shoes"}]


def test_an_erasure_with_nothing_to_do_does_nothing(demo: Account) -> None:
    assert invoke("ErasureFunction", event_file("erasure")) == {"unfinished": 0}
