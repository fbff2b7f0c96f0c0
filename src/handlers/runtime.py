"""The set-up of every function: once for each execution environment."""

import gc
import math
import os
import time
from collections.abc import Callable
from functools import cache, partial, wraps
from typing import Any, TypeVar

from aws_lambda_powertools import Logger

from handlers.metrics import publish, watch
from table.calls import FAIL_FAST_CONFIG, REQUEST_SECONDS, Table, new_client

T = TypeVar("T")

TABLE_NAME = os.environ["TABLE_NAME"]  # set by the template; required
EVENT_DAYS = int(os.environ.get("EVENT_RETENTION_DAYS", "0"))  # only the function that stores events has it

logger = Logger()
client = new_client()
_fail_fast_client = cache(partial(new_client, FAIL_FAST_CONFIG))


def table(seconds: float = REQUEST_SECONDS) -> Table:
    """Return the table for a request that may start calls during this number of seconds."""
    return Table(client, TABLE_NAME, time.monotonic() + seconds)


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


watch(client, logger)

# All existing objects are permanent, so the collector can skip them.
gc.freeze()
gc.enable()
