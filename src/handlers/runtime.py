"""What every function sets up once, when its execution environment starts."""

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

if os.environ.get("POWERTOOLS_TRACE_DISABLED") == "false":
    from aws_lambda_powertools import Tracer  # makes the start slower

    Tracer(patch_modules=["botocore"])  # DynamoDB's calls, not what is in them, join the trace that Lambda begins

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
    context["event-api.begun"] = time.perf_counter()


def _record_answer(context: dict[str, Any], parsed_response: dict[str, Any] | None, **_: Any) -> None:
    """Of each attempt that botocore makes. None: there was no answer in time."""
    milliseconds = (time.perf_counter() - context["event-api.begun"]) * 1000
    answer = parsed_response or {}
    reasons = answer.get("CancellationReasons", ())
    codes = [problem["Code"] for problem in (answer.get("Error"), *reasons) if problem and "Code" in problem]
    record("StoreLatency", milliseconds)
    if not UNAVAILABLE.isdisjoint(codes):
        record("StoreThrottles")
    logger.debug("store answered", milliseconds=milliseconds, codes=codes)


client.meta.events.register("before-call.dynamodb", _begin_call)
client.meta.events.register("response-received.dynamodb", _record_answer)
