"""Runs each minute, and goes on with what DELETE /v1/user/... began."""

from datetime import UTC, datetime
from typing import Any

from domain.erasure import erase_leftovers
from handlers.runtime import logger, table

RESERVE_SECONDS = 15  # for the call that is under way when the time is up


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: Any) -> dict[str, int]:
    seconds = context.get_remaining_time_in_millis() / 1000 - RESERVE_SECONDS
    unfinished = erase_leftovers(table(seconds), datetime.now(UTC))
    logger.info("erased", unfinished=unfinished)
    return {"unfinished": unfinished}
