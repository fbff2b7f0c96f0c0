"""From a request to the bus and to the listeners of docs/feed, on the stack that `make run` deploys."""

import json
import re
import time
from collections.abc import Callable
from email.message import Message
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import pytest

from documents import blocks, text
from e2e.conftest import Ana, Caller, answering, shell
from local import aws, stack
from local.feed import listening
from local.stack import ROOT
from stream import failure_message, records_of

T = TypeVar("T")


def given_up(endpoint: str, event_id: str) -> None:
    """Puts into the queue what Lambda would have, had it given up on the record of this event."""
    streams: Any = aws.client("dynamodbstreams", endpoint)
    outputs = stack.outputs(endpoint)
    [described] = streams.list_streams(TableName=outputs["TableName"])["Streams"]
    stream_arn = described["StreamArn"]
    [shard] = streams.describe_stream(StreamArn=stream_arn)["StreamDescription"]["Shards"]
    [record] = [
        each for each in records_of(streams, stream_arn) if each["dynamodb"]["Keys"]["sk"]["S"] == f"EVENT#{event_id}"
    ]
    message = failure_message([record])
    message["DDBStreamBatchInfo"] |= {"shardId": shard["ShardId"], "streamArn": stream_arn}
    sqs: Any = aws.client("sqs", endpoint)
    sqs.send_message(QueueUrl=outputs["FeedQueueUrl"], MessageBody=json.dumps(message))


def test_the_replay_publishes_what_the_queue_names(deployed: stack.Stack, caller: Caller, ana: Ana) -> None:
    [replay] = [block for block in blocks("docs/runbook.md") if "tools.replay_feed" in block]
    with listening(deployed.endpoint) as lines:
        answer = caller.event(ana, {"search": {"query": "again"}})
        details = (json.loads(line)["detail"] for line in lines)
        of_ana = (detail for detail in details if detail["userId"] == answer.headers["X-User-Id"])
        first = next(of_ana)
        given_up(deployed.endpoint, str(answer.headers["X-Event-Id"]))
        assert shell(replay, deployed.endpoint, ROOT) == "1 published, 0 left in the queue\n"
        assert next(of_ana) == first
    assert shell(replay, deployed.endpoint, ROOT) == "0 published, 0 left in the queue\n"


# --- Listeners ------------------------------------------------------------------------------------

PAGE = "docs/feed.md"
TEMPLATES = {name: text(f"docs/feed/{name}.yaml") for name in ("queue", "function", "webhook", "files")}
ERASED, CREATED = "UserErased", "EventCreated"


def rules(endpoint: str) -> set[str]:
    events: Any = aws.client("events", endpoint)
    return {rule["Name"] for rule in events.list_rules(EventBusName=stack.STACK_NAME)["Rules"]}


@pytest.fixture
def listen(deployed: stack.Stack, account: str, tmp_path: Path) -> Callable[..., dict[str, str]]:
    """Deploys a listener for the caller's account, as the page does it, if CloudFormation knows all that it says.
    Returns its outputs."""
    [command] = [block for block in blocks(PAGE) if "sam deploy" in block]

    def deploy(template: str, more: str = "") -> dict[str, str]:
        (tmp_path / "listener.yaml").write_text(TEMPLATES[template].replace("[shop]", f"[{account}]"))
        name = f"{stack.STACK_NAME}-{uuid4().hex[:8]}"
        named = command.replace("docs/feed/queue.yaml", "listener.yaml").replace("$STACK-listener", name)
        lint = "sam validate --lint --template-file listener.yaml\n"
        said = shell(lint + named.replace('"Bus=$STACK"', f'"Bus=$STACK" {more}'), deployed.endpoint, tmp_path)
        assert "is a valid SAM Template" in said
        return stack.outputs(deployed.endpoint, name) if template in ("queue", "function") else {}

    return deploy


def until(look: Callable[[], T], enough: Callable[[T], bool]) -> T:
    deadline = time.monotonic() + 60
    while not enough(found := look()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return found


def a_day(caller: Caller, ana: Ana, query: str = "shoes") -> None:
    for event in ({"search": {"query": query}}, {"confirmation": {"orderId": uuid4().hex, "total": 9.99}}):
        assert caller.event(ana, event).status == 200
    assert caller.send("DELETE", f"/user/{ana['email']}").status == 200


def kinds(events: list[dict[str, Any]]) -> list[tuple[str, str | None]]:
    return sorted((event["detail-type"], event["detail"].get("type")) for event in events)


def test_a_queue_and_a_webhook_with_its_secret_get_the_events_of_their_account(
    deployed: stack.Stack, caller: Caller, ana: Ana, listen: Callable[..., dict[str, str]]
) -> None:
    queue_url, events = listen("queue")["QueueUrl"], list[dict[str, Any]]()
    sqs: Any = aws.client("sqs", deployed.endpoint)

    def received() -> list[dict[str, Any]]:
        messages = sqs.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10).get("Messages", [])
        events.extend(json.loads(message["Body"]) for message in messages)
        return events

    calls: list[tuple[str, dict[str, Any]]] = []

    def called(headers: Message, body: bytes) -> tuple[int, dict[str, str], bytes]:
        calls.append((headers["X-Webhook-Secret"], json.loads(body)))
        return 200, {}, b""

    with answering(called) as url:
        [more] = re.findall(r'`("WebhookUrl=.*?)`', text(PAGE))
        listen("webhook", more.replace("https://…", url).replace("Secret=…", "Secret=a-secret"))
        a_day(caller, ana)
        until(lambda: calls, lambda found: len(found) >= 3)
    assert {secret for secret, _ in calls} == {"a-secret"}
    assert kinds([body for _, body in calls]) == [(CREATED, "confirmation"), (CREATED, "search"), (ERASED, None)]
    assert kinds(until(received, lambda found: len(found) >= 2)) == [(CREATED, "confirmation"), (ERASED, None)]


def test_a_function_stores_each_event_once_and_erases_who_is_erased(
    deployed: stack.Stack, caller: Caller, account: str, ana: Ana, listen: Callable[..., dict[str, str]]
) -> None:
    table = listen("function")["TableName"]
    dynamodb: Any = aws.client("dynamodb", deployed.endpoint)
    events: Any = aws.client("events", deployed.endpoint)

    def of(user_id: str) -> list[dict[str, Any]]:
        return [item for item in dynamodb.scan(TableName=table)["Items"] if user_id in item["user"]["S"]]

    answer = caller.event(ana, {"search": {"query": 59.9}})  # a number may be searched for, too
    user_id = str(answer.headers["X-User-Id"])
    [item] = until(lambda: of(user_id), bool)
    assert item["query"] == {"S": "59.9"}
    again = {"account": account, "userId": user_id, "id": item["event"]["S"], "type": "search"}

    def publish_again() -> None:
        bus, detail = stack.STACK_NAME, json.dumps(again)
        entry = {"EventBusName": bus, "Source": "event-api", "DetailType": CREATED, "Detail": detail}
        events.put_events(Entries=[entry])

    publish_again()
    a_day(caller, ana, "boots")
    erased = [{"user": item["user"], "event": {"S": "0"}}]
    assert until(lambda: of(user_id), lambda found: found == erased) == erased
    publish_again()
    bea = {"email": "bea@example.com"}
    assert caller.send("POST", "/user/", bea).status == 200
    after = str(caller.event(bea, {"search": {"query": "hats"}}).headers["X-User-Id"])
    assert len(until(lambda: of(after), bool)) == 1
    assert of(user_id) == erased, "nothing comes back"


def test_a_listener_is_deleted(deployed: stack.Stack, listen: Callable[..., dict[str, str]], tmp_path: Path) -> None:
    """The emulator delivers nothing to Firehose."""
    before = rules(deployed.endpoint)
    listen("files")
    [rule] = rules(deployed.endpoint) - before
    [delete] = re.findall(r"`(sam delete .*?)`", text(PAGE))
    name = rule.rpartition("-Rule-")[0]
    shell(delete.replace("$STACK-listener", name), deployed.endpoint, tmp_path)
    assert rules(deployed.endpoint) == before


def test_the_page_sends_the_commands_to_the_emulator_of_make_run(tmp_path: Path) -> None:
    [exported] = [block for block in blocks(PAGE) if "AWS_ENDPOINT_URL" in block]
    endpoint = f"http://{aws.HOST}:8110"
    (tmp_path / ".stack").mkdir()
    (tmp_path / ".stack" / "endpoint").write_text(endpoint)
    mine = dict.fromkeys(("STACK", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "mine")
    env = dict(line.partition("=")[::2] for line in shell(f"{exported}\nenv", "none", tmp_path, **mine).splitlines())
    assert env["PATH"].startswith(f"{tmp_path}/.venv/bin:")
    emulator = {name: value for name, value in aws.environment(endpoint).items() if name.startswith("AWS_")}
    assert emulator.items() | {("STACK", stack.STACK_NAME)} <= env.items()
