"""From a request to the bus and to a listener, on the stack that `make run` deploys."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from api.gateway import event_file
from clone import make
from documents import blocks
from e2e.conftest import Caller, shell
from local import aws, feed, stack
from local.dynamodb import create_table
from local.feed import listening
from local.stack import ROOT
from stream import failure_message, records_of

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodbstreams import DynamoDBStreamsClient
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_sqs import SQSClient


@pytest.fixture
def arriving(deployed: stack.Stack) -> Iterator[Iterator[dict[str, Any]]]:
    """Yield the events that arrive on the bus."""
    with listening(deployed.endpoint) as lines:
        yield map(json.loads, lines)


def the_next(arriving: Iterator[dict[str, Any]], user_id: str) -> dict[str, Any]:
    """The next event that is about this user."""
    return next(event for event in arriving if event["detail"]["userId"] == user_id)


def test_an_event_and_an_erasure_arrive_on_the_bus(
    caller: Caller, ana: dict[str, str], arriving: Iterator[dict[str, Any]]
) -> None:
    payload = {"query": "red shoes", "none": {}, "price": 12.50}
    answer = caller.event(ana, {"search": payload})
    user_id = str(answer.headers["X-User-Id"])
    created = the_next(arriving, user_id)
    assert (created["source"], created["detail-type"]) == (feed.SOURCE, "EventCreated")
    [stored] = caller.send("GET", "/user/ana@example.com/events").body["events"]
    detail = created["detail"]
    assert detail["payload"] == payload == stored["payload"]
    assert (detail["eventId"], detail["createdOn"]) == (stored["_id"], stored["createdOn"])
    assert caller.send("DELETE", "/user/ana@example.com").status == 200
    erased = the_next(arriving, user_id)
    assert erased["detail-type"] == "UserErased"
    assert erased["detail"].keys() == {"version", "id", "account", "userId", "erasedOn"}


def test_the_feed_begins_when_it_is_turned_on_and_goes_on_after_a_restart(tmp_path: Path) -> None:
    user, on = {"email": "ana@example.com"}, {"Feed": "on"}
    with stack.running(folder=tmp_path) as it:
        caller = Caller(it.api_url, it.create_key("demo"))
        assert caller.send("POST", "/user/", user).status == 200
        assert caller.event(user, {"search": {"query": "before"}}).status == 200
        stack.deploy(it.endpoint, on)
        with listening(it.endpoint) as lines:
            assert caller.event(user, {"search": {"query": "first"}}).status == 200
            assert json.loads(next(lines))["detail"]["payload"] == {"query": "first"}
    with stack.running(folder=tmp_path, parameters=on) as it, listening(it.endpoint) as lines:
        caller = Caller(it.api_url, it.create_key("demo"))
        assert caller.event(user, {"search": {"query": "second"}}).status == 200
        assert json.loads(next(lines))["detail"]["payload"] == {"query": "second"}


def test_the_feed_reads_the_stream_of_a_restored_table_instead_of_the_stacks() -> None:
    with stack.running(parameters={"Feed": "on"}) as it:
        dynamodb: DynamoDBClient = aws.client("dynamodb", it.endpoint)
        create_table(dynamodb, "restored")
        specification: Any = {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"}
        changed = dynamodb.update_table(TableName="restored", StreamSpecification=specification)
        stream_arn = changed["TableDescription"]["LatestStreamArn"]
        stack.deploy(it.endpoint, {"Feed": "on", "RestoredStream": stream_arn})
        with listening(it.endpoint) as lines:
            [record] = event_file("feed")["Records"]
            dynamodb.put_item(TableName="restored", Item=record["dynamodb"]["NewImage"])
            assert json.loads(next(lines))["detail"]["payload"] == {"query": "red shoes"}


# --- The runbook's replay -------------------------------------------------------------------------


def given_up(endpoint: str, event_id: str) -> None:
    """Puts into the queue what Lambda would have, had it given up on the record of this event."""
    streams: DynamoDBStreamsClient = aws.client("dynamodbstreams", endpoint)
    outputs = stack.outputs(endpoint)
    [described] = streams.list_streams(TableName=outputs["TableName"])["Streams"]
    stream_arn = described["StreamArn"]
    [shard] = streams.describe_stream(StreamArn=stream_arn)["StreamDescription"]["Shards"]
    [record] = [
        each for each in records_of(streams, stream_arn) if each["dynamodb"]["Keys"]["sk"]["S"] == f"EVENT#{event_id}"
    ]
    message = failure_message([record])
    message["DDBStreamBatchInfo"] |= {"shardId": shard["ShardId"], "streamArn": stream_arn}
    sqs: SQSClient = aws.client("sqs", endpoint)
    sqs.send_message(QueueUrl=outputs["FeedQueueUrl"], MessageBody=json.dumps(message))


def test_the_runbooks_replay_publishes_what_the_queue_names_and_empties_it(
    deployed: stack.Stack, caller: Caller, ana: dict[str, str], arriving: Iterator[dict[str, Any]]
) -> None:
    answer = caller.event(ana, {"search": {"query": "again"}})
    user_id = str(answer.headers["X-User-Id"])
    first = the_next(arriving, user_id)
    given_up(deployed.endpoint, str(answer.headers["X-Event-Id"]))
    [replay] = [block for block in blocks("docs/runbook.md") if "tools.replay_feed" in block]
    assert shell(replay, deployed.endpoint, ROOT) == "1 published, 0 left in the queue\n"
    second = the_next(arriving, user_id)
    assert second["detail"] == first["detail"]
    assert shell(replay, deployed.endpoint, ROOT) == "0 published, 0 left in the queue\n"


# --- make feed ------------------------------------------------------------------------------------


@contextmanager
def make_feed(clone: Path, endpoint: str) -> Iterator["subprocess.Popen[str]"]:
    """Start `make feed` for a running stack, and yield it when it listens."""
    (clone / ".stack").mkdir(exist_ok=True)
    (clone / ".stack" / "endpoint").write_text(endpoint)
    command, pipe = make("feed"), subprocess.PIPE
    with subprocess.Popen(command, cwd=clone, stdout=pipe, stderr=pipe, text=True, start_new_session=True) as process:
        try:
            assert process.stderr
            assert "Listening; Ctrl-C ends it\n" in process.stderr
            yield process
        finally:
            (clone / ".stack" / "endpoint").unlink()
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def rules(endpoint: str) -> list[str]:
    events: EventBridgeClient = aws.client("events", endpoint)
    return [rule["Name"] for rule in events.list_rules(EventBusName=stack.STACK_NAME, NamePrefix="make-feed")["Rules"]]


def test_make_feed_prints_one_object_a_line_until_ctrl_c_and_leaves_nothing_behind(
    deployed: stack.Stack, caller: Caller, ana: dict[str, str], clone: Path
) -> None:
    with make_feed(clone, deployed.endpoint) as process:
        assert len(rules(deployed.endpoint)) == 1
        user_id = str(caller.event(ana, {"search": {"query": "line\nbreak"}}).headers["X-User-Id"])
        assert process.stdout
        told = next(event for event in map(json.loads, process.stdout) if event["detail"]["userId"] == user_id)
        assert told["detail"]["payload"] == {"query": "line\nbreak"}
        os.killpg(process.pid, signal.SIGINT)
        rest, complaints = process.communicate(timeout=60)
    assert [line for line in complaints.splitlines() if not line.startswith("make")] == []
    assert "Traceback" not in rest
    assert rules(deployed.endpoint) == []


def test_make_feed_says_that_the_stack_is_not_running(clone: Path) -> None:
    done = subprocess.run(make("feed"), cwd=clone, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert done.stderr.startswith("The stack is not running: start it with `make run` in another terminal\n")
