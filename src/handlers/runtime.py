"""The set-up of every function: once for each execution environment."""

import gc
import math
import os
import time
from collections.abc import Callable
from functools import cache, wraps
from typing import TYPE_CHECKING, Any, TypeVar

from aws_lambda_powertools import Logger

from handlers.metrics import publish, record
from table.calls import FAIL_FAST_CONFIG, REQUEST_SECONDS, THROTTLING_CODES, Table, new_client

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

T = TypeVar("T")

TABLE_NAME = os.environ["TABLE_NAME"]  # set by the template; required
EVENT_DAYS = int(os.environ.get("EVENT_RETENTION_DAYS", "0"))  # only the function that stores events has it
TRACING = os.environ.get("TRACING") == "Active"

logger = Logger()
client = new_client()


def table(seconds: float = REQUEST_SECONDS) -> Table:
    """Return the table for a request that may start calls during this number of seconds."""
    return Table(client, TABLE_NAME, time.monotonic() + seconds)


@cache
def _fail_fast_client() -> "DynamoDBClient":
    return new_client(FAIL_FAST_CONFIG)


def fail_fast_table() -> Table:
    """Return the table for a write with a short time limit. Its client is created on first use."""
    return Table(_fail_fast_client(), TABLE_NAME, math.inf)


def observed(handler: Callable[[dict[str, Any], Any], T]) -> Callable[[dict[str, Any], Any], T]:
    """Wrap a handler: add Lambda's request id to its log lines, and print its metrics."""

    @logger.inject_lambda_context(clear_state=True)
    @wraps(handler)
    def observed_handler(event: dict[str, Any], context: Any) -> T:
        try:
            return handler(event, context)
        finally:
            publish()

    return observed_handler


def _begin_call(context: dict[str, Any], **_: Any) -> None:
    context["begun"] = time.time()


def _record_answer(context: dict[str, Any], parsed_response: dict[str, Any] | None, event_name: str, **_: Any) -> None:
    """Record an attempt that botocore made. `parsed_response` is None if there was none in time."""
    begun, ended = context["begun"], time.time()
    answer = parsed_response or {"Error": {"Code": "NoAnswer"}}
    reasons = (answer.get("Error"), *answer.get("CancellationReasons", ()))
    codes = [reason["Code"] for reason in reasons if reason]
    throttled = THROTTLING_CODES.intersection(codes)
    operation = event_name.rpartition(".")[2]
    logger.debug("store answered", operation=operation, milliseconds=round((ended - begun) * 1000, 1), codes=codes)
    record("StoreLatency", (ended - begun) * 1000)
    if throttled:
        record("StoreThrottles")
        _log_throttle(answer, *throttled)
    if TRACING:
        from handlers.tracing import send_call  # makes the start slower

        send_call(operation, begun, ended, failed=bool(codes), throttled=bool(throttled))


def _log_throttle(answer: dict[str, Any], code: str, *_: str) -> None:
    """Add the number of throttled calls to the request's log line, and the reason of the last one.

    The reason is the limit that was reached, or the code of a cancelled transaction, which does not name the limit.
    """
    listed = answer.get("ThrottlingReasons") or answer.get("throttlingReasons") or [{"reason": code}]
    throttles = logger.get_current_keys().get("throttles", 0) + 1
    logger.append_keys(throttles=throttles, throttling=listed[0]["reason"])


client.meta.events.register("before-call.dynamodb", _begin_call)
client.meta.events.register("response-received.dynamodb", _record_answer)

# All existing objects are permanent, so the collector can skip them.
gc.freeze()
gc.enable()
