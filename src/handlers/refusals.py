"""Counts what is refused, for GET /v1/refusals. It can neither fail nor slow an answer noticeably: one attempt, a short
time limit, and what is not counted is not counted."""

from collections.abc import Sequence
from datetime import datetime

from domain.problems import Refused
from handlers.runtime import impatient_table, logger


def count(account: str, refused: Sequence[Refused], request_id: str, now: datetime) -> None:
    """One small write for a refused request or batch."""
    from use_cases.refusals import count_refused  # only for requests that fail

    try:
        count_refused(refused, account, impatient_table(), request_id, now)
    except Exception as error:  # noqa: BLE001 a refusal stays one, whatever becomes of its count
        logger.debug("refusal not counted", error=type(error).__name__)
