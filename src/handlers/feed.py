"""Publish the table's stream on the bus: new events, and erased users.

Lambda passes batches of the records that match the template's filter, and repeats records that failed. So a record can
be published twice. A record that always fails is listed in FeedQueue.
"""

import os
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from typing import Any

from domain.news import Message
from handlers import metrics
from handlers.bus import new_client, publish
from handlers.runtime import logger, observed
from table.images import message_of

BUS_NAME = os.environ["BUS_NAME"]
RESERVE_SECONDS = 10  # for the call that runs when the time is up

client = new_client()


class NotPublished(Exception):
    """Records were not published. The message counts them, so the log contains no data of a record."""


@observed
def handler(event: dict[str, Any], context: Any) -> dict[str, list[dict[str, str]]]:
    records = event["Records"]
    deadline = time.monotonic() + context.get_remaining_time_in_millis() / 1000 - RESERVE_SECONDS
    failed = _publish(records, deadline)
    metrics.record("FeedPublished", len(records) - len(failed))
    metrics.record("FeedFailed", len(failed))
    logger.info("answered", outcome="done", records=len(records), failed=Counter(failed.values()))
    # Lambda retries from a reported record, but halves a batch only if its invocation fails. So a record that always
    # fails is alone in its batch at the end, and goes to the queue alone.
    if len(records) > 1 and _number(records[0]) in failed:
        raise NotPublished(f"{len(failed)} of {len(records)} records")
    return {"batchItemFailures": [{"itemIdentifier": number} for number in map(_number, records) if number in failed]}


def _publish(records: Sequence[dict[str, Any]], deadline: float) -> dict[str, str]:
    """Return the error code of each record that is not published, by its sequence number."""
    messages: dict[str, Message] = {}
    failed: dict[str, str] = {}
    for each in records:
        try:
            if message := message_of(each["dynamodb"].get("NewImage", {})):
                messages[_number(each)] = message
        except Exception as error:  # noqa: BLE001 an invalid record must not affect others
            failed[_number(each)] = type(error).__name__
            stack = traceback.format_tb(error.__traceback__)
            logger.error("unreadable", sequence_number=_number(each), error=type(error).__name__, stack=stack)
    codes = publish(client, BUS_NAME, list(messages.values()), deadline)
    numbers = list(messages)
    return failed | {numbers[index]: code for index, code in codes.items()}


def _number(each: dict[str, Any]) -> str:
    return str(each["dynamodb"]["SequenceNumber"])
