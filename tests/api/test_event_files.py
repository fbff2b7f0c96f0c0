"""Each file of events/ gets the answer that its name, and its row of events/README.md, promise."""

import base64
import gzip
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest

from api.gateway import ENVELOPE, Answer, answer_to, event_file, function_of, invoke, replay, timeline
from documents import text
from domain.event_types import CATALOGUE
from domain.profile import Profile
from local.events import RECORDED_ON
from local.stack import ROOT
from stream import Bus
from table import Account

YESTERDAY = str(datetime.now(UTC).date() - timedelta(days=1))
CREATED = '{"results": {"message": "Event created", "email": "Event was created for the specified user"}}'
# The documented bodies.
DOCUMENTED = {
    "missing-event": '"Missing event information", "description": "Please send event information along with user"',
    "unknown-user": '"User not found", "description": "This email does not exist in our database."',
    "user-get-unknown": '"User not found", "description": "This email does not exist in our database."',
}


class Row(NamedTuple):
    function: str
    answer: str
    before: str

    @property
    def status(self) -> int:
        """0: not a request of the API."""
        return int(self.answer[:3]) if self.answer[:3].isdigit() else 0


ROWS = {
    name: Row(*row)
    for name, *row in re.findall(r"^\| `(\S+)` \| (\w+) \| (.+?) \| (.*) \|$", text("events/README.md"), re.MULTILINE)
}
REST = sorted(name for name, row in ROWS.items() if row.status)
# The statuses of a batch's events.
BOTH, SOME = ["created", "created"], ["created", "refused", "refused"]
BATCHES = {
    **dict.fromkeys(("batch", "batch-gzip", "batch-upsert", "batch-check"), BOTH),
    **dict.fromkeys(("batch-some-refused", "batch-check-some-refused"), SOME),
    "batch-twice": ["created", "duplicate"],
    "batch-all-refused": ["refused", "refused"],
}


def test_the_table_has_a_row_for_each_file() -> None:
    files = {path.stem for path in (ROOT / "events").glob("*.json")}
    assert ROWS.keys() == files | CATALOGUE.keys(), "add a row to events/README.md for each file"


@pytest.mark.parametrize("name", REST)
def test_a_file_is_a_whole_event_of_a_rest_api_and_of_the_function_of_its_row(name: str) -> None:
    event = event_file(name)
    assert event.keys() == ENVELOPE.keys()
    assert event["requestContext"]["resourcePath"] == event["resource"]
    assert event["requestContext"]["httpMethod"] == event["httpMethod"]
    assert event["multiValueHeaders"] == {header: [value] for header, value in event["headers"].items()}
    assert function_of(event) == ROWS[name].function


def replayed_of_today(name: str) -> Answer:
    """The answer to the file as if it had been sent today: what is 35 days back is refused."""
    event = event_file(name)
    return answer_to(event | {"body": event["body"] and event["body"].replace(RECORDED_ON, YESTERDAY)})


def stored(demo: Account) -> list[dict[str, Any]]:
    items = demo.table.client.scan(TableName=demo.table.name)["Items"]
    return [dict(item) for item in items if not item["pk"]["S"].endswith("#REFUSALS")]


@pytest.mark.parametrize("name", REST)
def test_a_file_is_answered_as_its_row_says(name: str, ana: Profile, demo: Account) -> None:
    row = ROWS[name]
    for each in re.findall(r"`(\S+)`", row.before):
        replayed_of_today(each)
    before, answer = stored(demo), replayed_of_today(name)
    assert (answer.status, answer.headers["Content-Type"]) == (row.status, "application/json")
    for error in answer.body.get("errors", []):
        assert {"message", "description"} <= error.keys() <= {"message", "description", "code", "field", "hint"}
        assert all(error.values())
    if row.status >= 400 or "discarded" in row.answer:
        assert stored(demo) == before
    assert ("warnings" in answer.body) == ("with warnings" in row.answer)
    assert ("first" in answer.body) == ("discarded" in row.answer and bool(row.before))
    if name in DOCUMENTED:
        assert answer.text == f'{{"errors": [{{"message": {DOCUMENTED[name]}}}]}}'
    if event_file(name)["resource"] == "/event" and row.status == 200:
        status, is_upsert = "discarded" if "discarded" in row.answer else "created", "upsert" in name
        whose, is_new = answer.headers["X-User-Id"], "X-User-Created" in answer.headers
        assert (answer.headers["X-Event-Status"], whose != ana.id, is_new) == (status, is_upsert, is_upsert)
        assert (answer.headers["X-Event-Id"] in timeline(whose).text) == (status == "created")


@pytest.mark.parametrize("name", BATCHES)
def test_a_batch_returns_each_result_and_a_check_stores_none(name: str, ana: Profile) -> None:
    answer, event = replay(name), event_file(name)
    body = gzip.decompress(base64.b64decode(event["body"])) if event["isBase64Encoded"] else event["body"]
    ids = [each["eventId"] for each in json.loads(body)["events"]]
    found = [(each["status"], each["eventId"]) for each in answer.body["results"]]
    assert found == list(zip(BATCHES[name], ids, strict=True))
    is_check = name.startswith("batch-check")
    assert answer.body == {"results": answer.body["results"]} | ({"stored": False} if is_check else {})
    whose = "new@example.com" if "upsert" in name else ana.id
    listed = {each["_id"] for each in timeline(whose).body["events"]}
    created = {each["eventId"] for each in answer.body["results"] if each["status"] == "created"}
    assert listed == (set() if is_check else created)


def test_an_event_id_makes_a_repeat_harmless(ana: Profile) -> None:
    names = ("event-id", "event-id", "event-id-of-another-payload")
    first, again, other = (replayed_of_today(name) for name in names)
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


def test_what_is_not_a_request_of_the_api_is_answered_by_its_function(demo: Account) -> None:
    assert invoke("KeyFunction", event_file("key-create"))["account"] == "demo"
    assert len(invoke("KeyFunction", event_file("key-list"))["keys"]) == 1
    fields = [error["field"] for error in invoke("KeyFunction", event_file("key-invalid"))["errors"]]
    assert fields == ["action", "account"]
    assert '"Deny"' in json.dumps(invoke("AuthorizerFunction", event_file("authorizer")))
    assert invoke("ErasureFunction", event_file("erasure")) == {"unfinished": 0}
    with Bus.running() as bus:
        assert invoke("FeedFunction", event_file("feed")) == {"batchItemFailures": []}
    assert [detail["payload"] for detail in bus.published()] == [{"query": "red shoes"}]
