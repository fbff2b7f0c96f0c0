"""The runbook's replay when something fails; tests/e2e/test_feed.py has the usual case."""

import io
import json
import re
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
START = int(STRETCH["startSequenceNumber"])


class Clients:
    def __init__(self) -> None:
        self.made = {name: aws.client(name, "https://nowhere.example") for name in ("dynamodbstreams", "lambda")}
        self.stubs = {name: Stubber(client) for name, client in self.made.items()}

    def pages(self, *pages: tuple[int, ...], more: bool = False) -> None:
        """Prepare an iterator, and pages of records with these numbers. `more`: there are others after them."""
        stream = self.stubs["dynamodbstreams"]
        stream.add_response("get_shard_iterator", {"ShardIterator": "first"})
        for place, numbers in enumerate(pages, 1):
            following = {"NextShardIterator": f"page {place}"} if more or place < len(pages) else {}
            stream.add_response("get_records", {"Records": [a_record(number) for number in numbers], **following})

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


def test_all_pages_of_the_stretch_are_read_and_nothing_beyond_also_if_its_last_record_is_gone(clients: Clients) -> None:
    stream = clients.made["dynamodbstreams"]
    clients.pages((START,), (), (START + 2, START + 3), more=True)  # a page may be empty
    records = list(replay_feed.records_of(stream, STRETCH))
    assert [record["dynamodb"]["SequenceNumber"] for record in records] == [f"{START}", f"{START + 2}"]
    json.dumps(records)
    clients.pages((START, START + 5))
    assert len(list(replay_feed.records_of(stream, STRETCH))) == 1


@pytest.mark.parametrize(("answer", "more", "said"), [
    ({"batchItemFailures": []}, {}, "None"),
    ({"batchItemFailures": [{"itemIdentifier": "100000000000000000101"}]}, {}, "Failed again"),
    ({"errorMessage": "2 of 2", "errorType": "NotPublished"}, {"FunctionError": "Unhandled"}, "Failed again"),
])  # fmt: skip
def test_what_fails_again_stays_in_the_queue(clients: Clients, answer: Any, more: dict[str, str], said: str) -> None:
    clients.pages((START + 2,))
    clients.function_answers(answer, **more)
    assert str(replay_feed.replay(STRETCH, "feed")).startswith(said)


def test_records_that_the_stream_no_longer_has_are_reported(clients: Clients) -> None:
    for code in ("TrimmedDataAccessException", "ResourceNotFoundException"):
        clients.stubs["dynamodbstreams"].add_client_error("get_shard_iterator", code)
        assert re.match("Too late.*2026-11-24T08:00:00Z", str(replay_feed.replay(STRETCH, "feed")))


def test_an_invocation_gets_no_more_than_it_takes() -> None:
    small, large = {"x": ""}, {"x": "x" * (replay_feed.MAX_BYTES // 2)}
    assert [len(batch) for batch in replay_feed.batches([small] * 250)] == [100, 100, 50]
    assert [len(batch) for batch in replay_feed.batches([large, large, small])] == [1, 2]
    assert list(replay_feed.batches([])) == []
