"""Deploy the listeners of docs/feed unchanged, next to the stack that `make run` deploys."""

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

import pytest

from documents import blocks, text
from e2e.conftest import Caller, shell
from local import aws, stack

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_sqs import SQSClient

T = TypeVar("T")
PAGE = "docs/feed.md"
QUEUE, FUNCTION, WEBHOOK, FIREHOSE = (
    text(f"docs/feed/{name}.yaml") for name in ("queue", "function", "webhook", "files")
)
[DEPLOY] = [block for block in blocks(PAGE) if "sam deploy" in block]
PATIENCE_SECONDS = 60
ERASED, CREATED = "UserErased", "EventCreated"


@pytest.fixture
def listen(deployed: stack.Stack, caller: Caller, account: str, tmp_path: Path) -> Callable[..., dict[str, str]]:
    """Deploys a listener for the caller's account, as the page does it. Returns its outputs."""

    def deploy(template: str, more: str = "") -> dict[str, str]:
        (tmp_path / "listener.yaml").write_text(template.replace("[shop]", f"[{account}]"))
        name = f"{stack.STACK_NAME}-{uuid4().hex[:8]}"
        command = (
            DEPLOY.replace("docs/feed/queue.yaml", "listener.yaml")
            .replace("$STACK-listener", name)
            .replace('"Bus=$STACK"', f'"Bus=$STACK" {more}')
        )
        shell(command, deployed.endpoint, tmp_path)
        cloudformation: Any = aws.client("cloudformation", deployed.endpoint)
        [made] = cloudformation.describe_stacks(StackName=name)["Stacks"]
        return {each["OutputKey"]: each["OutputValue"] for each in made.get("Outputs", [])}

    return deploy


@pytest.fixture
def account() -> str:
    return f"test-{uuid4().hex[:12]}"


@pytest.fixture
def caller(deployed: stack.Stack, account: str) -> Caller:
    return Caller(deployed.api_url, deployed.create_key(account))


def until(look: Callable[[], T], enough: Callable[[T], bool]) -> T:
    """Look until it is enough or the time is up; return the last result."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not enough(found := look()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return found


def a_day(caller: Caller, ana: dict[str, str], query: str = "shoes") -> str:
    """A search, an order, and the erasure of the one who did it. Returns the user's id."""
    answer = caller.event(ana, {"search": {"query": query}})
    assert caller.event(ana, {"confirmation": {"orderId": uuid4().hex, "total": 9.99}}).status == 200
    assert caller.send("DELETE", f"/user/{ana['email']}").status == 200
    return str(answer.headers["X-User-Id"])


def kinds(events: list[dict[str, Any]]) -> list[tuple[str, str | None]]:
    return sorted((event["detail-type"], event["detail"].get("type")) for event in events)


def test_a_queue_gets_the_orders_of_its_account_and_the_erasures(
    deployed: stack.Stack, caller: Caller, ana: dict[str, str], listen: Callable[..., dict[str, str]]
) -> None:
    queue_url = listen(QUEUE)["QueueUrl"]
    a_day(caller, ana)
    sqs: SQSClient = aws.client("sqs", deployed.endpoint)
    events: list[dict[str, Any]] = []

    def received() -> list[dict[str, Any]]:
        messages = sqs.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10).get("Messages", [])
        events.extend(json.loads(message["Body"]) for message in messages)
        return events

    assert kinds(until(received, lambda found: len(found) >= 2)) == [(CREATED, "confirmation"), (ERASED, None)]


def test_a_function_stores_each_event_once_and_erases_who_is_erased(
    deployed: stack.Stack, caller: Caller, ana: dict[str, str], listen: Callable[..., dict[str, str]]
) -> None:
    table = listen(FUNCTION)["TableName"]
    dynamodb: DynamoDBClient = aws.client("dynamodb", deployed.endpoint)
    events: EventBridgeClient = aws.client("events", deployed.endpoint)

    def of(user_id: str) -> list[dict[str, Any]]:
        return [item for item in dynamodb.scan(TableName=table)["Items"] if user_id in item["user"]["S"]]

    answer = caller.event(ana, {"search": {"query": 59.9}})  # a number may be searched for, too
    user_id = str(answer.headers["X-User-Id"])
    [item] = until(lambda: of(user_id), bool)
    assert item["query"] == {"S": "59.9"}
    account, _, _ = item["user"]["S"].partition("/")
    again = {"account": account, "userId": user_id, "id": item["event"]["S"], "type": "search"}

    def publish_again() -> None:
        bus, detail = stack.STACK_NAME, json.dumps(again)
        events.put_events(
            Entries=[{"EventBusName": bus, "Source": "event-api", "DetailType": CREATED, "Detail": detail}]
        )

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


@contextmanager
def webhook() -> Iterator[tuple[str, list[tuple[str, dict[str, Any]]]]]:
    """Its URL, and the secret and body of each call."""
    calls: list[tuple[str, dict[str, Any]]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            calls.append((self.headers["X-Webhook-Secret"], json.loads(body)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer((aws.HOST, 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield f"http://{aws.HOST}:{server.server_port}/", calls
        finally:
            server.shutdown()


def test_a_webhook_is_called_with_its_secret(
    caller: Caller, ana: dict[str, str], listen: Callable[..., dict[str, str]]
) -> None:
    with webhook() as (url, calls):
        [more] = re.findall(r'`("WebhookUrl=.*?)`', text(PAGE))
        listen(WEBHOOK, more.replace("https://…", url).replace("Secret=…", "Secret=a-secret"))
        a_day(caller, ana)
        until(lambda: calls, lambda found: len(found) >= 3)
    assert {secret for secret, _ in calls} == {"a-secret"}
    told = [body for _, body in calls]
    assert kinds(told) == [(CREATED, "confirmation"), (CREATED, "search"), (ERASED, None)]


def rules(endpoint: str) -> list[str]:
    events: EventBridgeClient = aws.client("events", endpoint)
    return [rule["Name"] for rule in events.list_rules(EventBusName=stack.STACK_NAME)["Rules"]]


def test_the_listener_for_files_is_deployed_and_deleted(
    deployed: stack.Stack, listen: Callable[..., dict[str, str]], tmp_path: Path
) -> None:
    """The emulator delivers nothing to Firehose."""
    before = rules(deployed.endpoint)
    listen(FIREHOSE)
    [rule] = set(rules(deployed.endpoint)) - set(before)
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
    assert env["STACK"] == stack.STACK_NAME
    assert env["PATH"].startswith(f"{tmp_path}/.venv/bin:")
    emulator = aws.environment(endpoint)
    assert {name: env[name] for name in emulator if name.startswith("AWS_")} == {
        name: value for name, value in emulator.items() if name.startswith("AWS_")
    }


@pytest.mark.parametrize(
    "template", [QUEUE, FUNCTION, WEBHOOK, FIREHOSE], ids=["queue", "function", "webhook", "files"]
)
def test_cloudformation_knows_all_that_a_listener_says(template: str, deployed: stack.Stack, tmp_path: Path) -> None:
    (tmp_path / "listener.yaml").write_text(template)
    said = shell("sam validate --lint --template-file listener.yaml", deployed.endpoint, tmp_path)
    assert "is a valid SAM Template" in said
