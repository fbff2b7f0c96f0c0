"""The runbook's replay when something fails; tests/e2e/test_feed.py has the usual case."""

import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.response import StreamingBody
from botocore.stub import Stubber

from local import aws
from tools import replay_feed

STRETCH = {
    "streamArn": "arn:aws:dynamodb:eu-west-1:123456789012:table/event-api-Table/stream/2026-11-24T08:00:00.000",
    "shardId": "shardId-00000000000000000000-00000000",
    "startSequenceNumber": "100000000000000000099",
    "endSequenceNumber": "100000000000000000101",
    "approximateArrivalOfFirstRecord": "2026-11-24T08:00:00Z",
}


class Clients:
    """Clients like boto3's with prepared answers."""

    def __init__(self) -> None:
        self.made = {name: aws.client(name, "https://nowhere.example") for name in ("dynamodbstreams", "lambda")}
        self.stubs = {name: Stubber(client) for name, client in self.made.items()}

    def iterator(self) -> None:
        self.stubs["dynamodbstreams"].add_response("get_shard_iterator", {"ShardIterator": "first"})

    def page(self, *numbers: int, following: str = "") -> None:
        answer: dict[str, Any] = {"Records": [a_record(number) for number in numbers]}
        self.stubs["dynamodbstreams"].add_response(
            "get_records", answer | ({"NextShardIterator": following} if following else {})
        )

    def function_answers(self, payload: Any, **more: str) -> None:
        raw = json.dumps(payload).encode()
        body = StreamingBody(io.BytesIO(raw), len(raw))
        self.stubs["lambda"].add_response("invoke", {"StatusCode": 200, "Payload": body, **more})


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clients]:
    made = Clients()
    monkeypatch.setattr(boto3, "client", lambda name, **_: made.made[name])
    for stub in made.stubs.values():
        stub.activate()
    yield made
    for stub in made.stubs.values():
        stub.assert_no_pending_responses()


def a_record(number: int) -> dict[str, Any]:
    created = datetime(2026, 11, 24, 8, tzinfo=UTC)
    return {"eventName": "INSERT", "dynamodb": {"SequenceNumber": f"{number}", "ApproximateCreationDateTime": created}}


def test_all_pages_of_the_stretch_are_read_and_nothing_beyond(clients: Clients) -> None:
    start = int(STRETCH["startSequenceNumber"])
    clients.iterator()
    clients.page(start, following="second")
    clients.page(following="third")  # a page may be empty
    clients.page(start + 2, start + 3, following="fourth")
    records = list(replay_feed.records_of(clients.made["dynamodbstreams"], STRETCH))
    assert [record["dynamodb"]["SequenceNumber"] for record in records] == [f"{start}", f"{start + 2}"]
    json.dumps(records)


def test_a_stretch_whose_last_record_is_gone_ends_before_the_next_one(clients: Clients) -> None:
    start = int(STRETCH["startSequenceNumber"])
    clients.iterator()
    clients.page(start, start + 5)
    assert len(list(replay_feed.records_of(clients.made["dynamodbstreams"], STRETCH))) == 1


def test_what_is_on_the_bus_is_done(clients: Clients) -> None:
    clients.iterator()
    clients.page(int(STRETCH["endSequenceNumber"]))
    clients.function_answers({"batchItemFailures": []})
    assert replay_feed.replay(STRETCH, "feed") is None


@pytest.mark.parametrize(
    ("answer", "more"),
    [
        ({"batchItemFailures": [{"itemIdentifier": "100000000000000000101"}]}, {}),
        ({"errorMessage": "2 of 2 records", "errorType": "NotPublished"}, {"FunctionError": "Unhandled"}),
    ],
)
def test_what_fails_again_stays_in_the_queue(clients: Clients, answer: Any, more: dict[str, str]) -> None:
    clients.iterator()
    clients.page(int(STRETCH["endSequenceNumber"]))
    clients.function_answers(answer, **more)
    assert str(replay_feed.replay(STRETCH, "feed")).startswith("Failed again")


@pytest.mark.parametrize("code", ["TrimmedDataAccessException", "ResourceNotFoundException"])
def test_records_that_the_stream_no_longer_has_are_reported(clients: Clients, code: str) -> None:
    clients.stubs["dynamodbstreams"].add_client_error("get_shard_iterator", code)
    said = str(replay_feed.replay(STRETCH, "feed"))
    assert said.startswith("Too late")
    assert "2026-11-24T08:00:00Z" in said


def test_an_invocation_gets_no_more_than_it_takes() -> None:
    small, large = {"x": ""}, {"x": "x" * (replay_feed.MAX_BYTES // 2)}
    assert [len(batch) for batch in replay_feed.batches([small] * 250)] == [100, 100, 50]
    assert [len(batch) for batch in replay_feed.batches([large, large, small])] == [1, 2]
    assert list(replay_feed.batches([])) == []
