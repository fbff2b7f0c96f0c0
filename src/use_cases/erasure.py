"""The second half of DELETE /v1/user/...: removes what erased users left behind, however much it is.

It may be stopped at any point and run twice at once: the note of an erasure stays until nothing is left.
"""

import time
from collections import deque
from dataclasses import replace
from datetime import datetime, timedelta

from domain.problems import Unavailable
from domain.times import iso
from table import Account, erasures
from table.calls import Store
from table.erasures import Erasure

# An event whose user was looked up before the erasure may still be written after it, but not after the time limit of
# its function (15 s). Until then an erasure is not done, however empty it looks.
IN_FLIGHT = timedelta(seconds=60)
STEP_SECONDS = 10


def erase_leftovers(table: Store, now: datetime) -> list[str]:
    """Goes on with every erasure until `table.deadline`, by one step each, in turn, the oldest first. One that
    DynamoDB hinders, or that fails, holds up no other. Returns when each that is not done yet began; raises the first
    failure.
    """
    run = time.monotonic()
    waiting = deque(erasures.pending(table))
    unfinished: list[str] = []
    failures: list[Exception] = []
    while waiting:
        erasure = waiting.popleft()
        try:
            is_swept = _step(table, erasure, now, run)
        except Unavailable:  # throttled, or out of time: the next run goes on here
            unfinished.append(erasure.begun)
        except Exception as failure:  # noqa: BLE001 raised when the others have had their turn
            failures.append(failure)
        else:
            if not is_swept:
                waiting.append(erasure)
            elif not _may_end(erasure, now):
                unfinished.append(erasure.begun)
    if failures:
        raise failures[0]
    return unfinished


def _step(table: Store, erasure: Erasure, now: datetime, run: float) -> bool:
    """True when nothing is left of the user, or was before the erasure ended."""
    account = Account(replace(table, deadline=min(table.deadline, time.monotonic() + STEP_SECONDS)), erasure.account)
    is_swept = erasures.sweep(account, erasure.user_id)
    moment = now + timedelta(seconds=time.monotonic() - run)  # a receipt may not be older than the last deletion
    if is_swept and _may_end(erasure, now):
        erasures.end(account, erasure, moment)
    return is_swept


def _may_end(erasure: Erasure, now: datetime) -> bool:
    return erasure.begun <= iso(now - IN_FLIGHT)
