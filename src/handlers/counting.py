"""Count refusals for GET /v1/refusals.

A failed count never fails the request and hardly delays it: there is one attempt with a short time limit.
"""

from collections.abc import Sequence
from datetime import datetime

from domain.problems import Refused
from handlers.runtime import fail_fast_table, logger


def count(account: str, refused: Sequence[Refused], request_id: str, now: datetime) -> None:
    """Count a refused request or batch in one small write."""
    from use_cases.refusals import count_refused  # only for requests that fail

    try:
        count_refused(refused, account, fail_fast_table(), request_id, now)
    except Exception as error:  # noqa: BLE001 the request is refused in any case
        logger.debug("refusal not counted", error=type(error).__name__)
