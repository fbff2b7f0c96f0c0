"""What every function sets up once, when its execution environment starts."""

import gc
import os
import time
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from aws_lambda_powertools import Logger

from domain.dynamodb import REQUEST_SECONDS, UNAVAILABLE, Table, new_client
from handlers.metrics import publish, record

T = TypeVar("T")

TABLE_NAME = os.environ["TABLE_NAME"]  # the template sets it; without it nothing works
TRACING = os.environ.get("TRACING") == "Active"

logger = Logger()
client = new_client()


def table(seconds: float = REQUEST_SECONDS) -> Table:
    """The table, for a request that may start calls for so many seconds from now."""
    return Table(client, TABLE_NAME, time.monotonic() + seconds)


def observed(handler: Callable[[dict[str, Any], Any], T]) -> Callable[[dict[str, Any], Any], T]:
    """Puts Lambda's request id on what a handler logs, and prints what it recorded for CloudWatch."""

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
    """Of each attempt that botocore makes. No response: there was none in time."""
    begun, ended = context["begun"], time.time()
    answer = parsed_response or {"Error": {"Code": "NoAnswer"}}
    reasons = (answer.get("Error"), *answer.get("CancellationReasons", ()))
    codes = [reason["Code"] for reason in reasons if reason]
    throttled = not UNAVAILABLE.isdisjoint(codes)
    operation = event_name.rpartition(".")[2]
    logger.debug("store answered", operation=operation, milliseconds=round((ended - begun) * 1000, 1), codes=codes)
    logger.append_keys(cause=_cause(codes))
    record("StoreLatency", (ended - begun) * 1000)
    if throttled:
        record("StoreThrottles")
    if TRACING:
        from handlers.tracing import send_call  # makes the start slower

        send_call(operation, begun, ended, failed=bool(codes), throttled=throttled)


def _cause(codes: list[str]) -> str | None:
    """The code that says why DynamoDB did not do a call; None when it did, or when a condition of ours failed."""
    failures = [code for code in codes if code not in ("None", "TransactionCanceledException")]
    return failures[-1] if failures and not failures[-1].startswith("ConditionalCheckFailed") else None


client.meta.events.register("before-call.dynamodb", _begin_call)
client.meta.events.register("response-received.dynamodb", _record_answer)

# What is there now stays: the collector need not look at it again.
gc.freeze()
gc.enable()
