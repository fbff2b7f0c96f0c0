"""Continue the erasures: each minute by a schedule, and when an operator invokes the function."""

from datetime import UTC, datetime, timedelta
from typing import Any

from handlers.metrics import record
from handlers.runtime import logger, observed, table
from use_cases.erasure import erase_leftovers

RESERVE_SECONDS = 15  # for the call that runs when the time is up
# `sam remote invoke` waits 60 s for an answer, and then invokes the function again.
OPERATOR_SECONDS = 40


@observed
def handler(event: dict[str, Any], context: Any) -> dict[str, int]:
    seconds = context.get_remaining_time_in_millis() / 1000 - RESERVE_SECONDS
    if event.get("source") != "aws.events":
        seconds = min(seconds, OPERATOR_SECONDS)
    now = datetime.now(UTC)
    unfinished = erase_leftovers(table(seconds), now)
    oldest = now - datetime.fromisoformat(min(unfinished)) if unfinished else timedelta()
    record("OldestErasure", oldest.total_seconds())
    logger.info("answered", outcome="done", unfinished=len(unfinished))
    return {"unfinished": len(unfinished)}
