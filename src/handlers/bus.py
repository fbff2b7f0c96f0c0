"""Call EventBridge: put messages on the bus in as few calls as possible, with retries for temporary errors."""

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, cast

from botocore.config import Config
from botocore.exceptions import ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as ConnectError
from botocore.session import get_session

from domain.backoff import backoff
from domain.news import MAX_DETAIL_BYTES, Message

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_events.type_defs import PutEventsRequestEntryTypeDef

SOURCE = "event-api"
MAX_ENTRIES = 10  # of a PutEvents; its size has the limit of one entry
# One attempt per call: a retry of the whole call would repeat the entries that succeeded.
CLIENT_CONFIG = Config(connect_timeout=1, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 1})
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.1, 5.0  # at most

NO_ANSWER = "NoAnswer"
NO_TIME = "NoTime"
# Codes of invalid entries, which would fail again. Other errors are temporary:
# https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEventsResultEntry.html
FINAL = {"InvalidArgument", "MalformedDetail", "RedactionFailure", "ValidationException"}


def new_client() -> "EventBridgeClient":
    return cast("EventBridgeClient", get_session().create_client("events", config=CLIENT_CONFIG))


def publish(client: "EventBridgeClient", bus: str, messages: Sequence[Message], deadline: float) -> dict[int, str]:
    """Put messages on the bus. Return the error code of each message that may not have arrived, by index.

    No call starts after `deadline` (time.monotonic).
    """
    failed: dict[int, str] = dict.fromkeys(range(len(messages)), NO_TIME)
    for pause in backoff(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS):
        pending = [index for index, code in failed.items() if code not in FINAL]
        for batch in _batches(pending, messages):
            if time.monotonic() >= deadline:
                return failed
            for index, code in zip(batch, _put(client, bus, [messages[index] for index in batch]), strict=True):
                if code:
                    failed[index] = code
                else:
                    del failed[index]
        if FINAL.issuperset(failed.values()) or time.monotonic() + pause >= deadline:
            return failed
        time.sleep(pause)
    raise AssertionError("backoff does not end")


def _batches(pending: Sequence[int], messages: Sequence[Message]) -> Iterator[list[int]]:
    batch: list[int] = []
    size = 0
    for index in pending:
        if batch and (len(batch) == MAX_ENTRIES or size + messages[index].size > MAX_DETAIL_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(index)
        size += messages[index].size
    if batch:
        yield batch


def _put(client: "EventBridgeClient", bus: str, messages: Sequence[Message]) -> list[str | None]:
    """Return the error code of each message; None if it is on the bus."""
    entries: list[PutEventsRequestEntryTypeDef] = [
        {"EventBusName": bus, "Source": SOURCE, "DetailType": message.detail_type, "Detail": message.detail}
        for message in messages
    ]
    try:
        return [entry.get("ErrorCode") for entry in client.put_events(Entries=entries)["Entries"]]
    except ClientError as error:
        return [error.response["Error"]["Code"]] * len(messages)
    except (HTTPClientError, ConnectError):
        return [NO_ANSWER] * len(messages)
