"""Print the events that arrive on the bus of the running stack: `make feed`."""

import contextlib
import json
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING
from uuid import uuid4

from botocore.exceptions import BotoCoreError, ClientError

from local import aws, stack, stopping

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_sqs import SQSClient

SOURCE = "event-api"
LINE_LENGTH = 160
RECENT = 200
WAIT_SECONDS = 1  # short, so that Ctrl-C is heard soon


@contextlib.contextmanager
def listening(endpoint: str, over: Callable[[], bool] = stopping.signalled) -> Iterator[Iterator[str]]:
    """Each event that arrives until the block ends, as one line of JSON, by a rule and a queue as in docs/feed.md."""
    events: EventBridgeClient = aws.client("events", endpoint)
    sqs: SQSClient = aws.client("sqs", endpoint)
    bus, name = stack.outputs(endpoint)["BusName"], f"make-feed-{uuid4().hex[:8]}"
    queue_url = sqs.create_queue(QueueName=name)["QueueUrl"]
    queue_arn = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    events.put_rule(Name=name, EventBusName=bus, EventPattern=json.dumps({"source": [SOURCE]}))
    events.put_targets(Rule=name, EventBusName=bus, Targets=[{"Id": "queue", "Arn": queue_arn}])
    try:
        yield _received(sqs, queue_url, over)
    finally:
        events.remove_targets(Rule=name, EventBusName=bus, Ids=["queue"])
        events.delete_rule(Name=name, EventBusName=bus)
        sqs.delete_queue(QueueUrl=queue_url)


class Recent:
    """The last events of the bus, numbered from 0, for the page Live. `account` is the one whose key the pages use."""

    def __init__(self, account: str) -> None:
        self.account = account
        self.events: deque[tuple[int, str]] = deque(maxlen=RECENT)
        self.next = 0
        self.stopped = False

    def add(self, text: str) -> None:
        self.events.append((self.next, text))
        self.next += 1

    def after(self, number: int) -> str:
        """Return, as JSON, the events from this number on, and the number that the next event will have."""
        events = [text for each, text in list(self.events) if each >= number]
        return f'{{"account": "{self.account}", "next": {self.next}, "events": [{", ".join(events)}]}}'

    @contextlib.contextmanager
    def listening(self, endpoint: str) -> Iterator[None]:
        """Collect events until the block ends."""
        thread = threading.Thread(target=self._collect, args=[endpoint], daemon=True)
        thread.start()
        try:
            yield
        finally:
            self.stopped = True
            thread.join()

    def _collect(self, endpoint: str) -> None:
        # The emulator may stop before this thread does.
        with contextlib.suppress(BotoCoreError, ClientError), listening(endpoint, self._is_over) as arriving:
            for text in arriving:
                self.add(text)

    def _is_over(self) -> bool:
        return self.stopped or stopping.signalled()


def line(event: str) -> str:
    """Return one JSON event of the bus as a short line for a person."""
    detail = json.loads(event)["detail"]
    if "type" not in detail:
        return f"{detail['erasedOn']}  {detail['account']}  {detail['userId']}  erased"
    payload = detail.get("payload", {})
    told = ", ".join(f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in payload.items())
    text = f"{detail['createdOn']}  {detail['account']}  {detail['userId']}  {detail['type']:<14} {told}"
    shown = "".join(each if each.isprintable() else "?" for each in text[:LINE_LENGTH])  # a terminal obeys the others
    return shown if len(text) <= LINE_LENGTH else f"{shown}…"


def _received(sqs: "SQSClient", queue_url: str, over: Callable[[], bool]) -> Iterator[str]:
    while not over():
        answer = sqs.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10, WaitTimeSeconds=WAIT_SECONDS)
        for message in answer.get("Messages", []):
            sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])
            yield message["Body"]
