"""The second part of DELETE /v1/user/...: delete the items of erased users.

It may stop at any point, and two runs may overlap: the note of an erasure stays until no item is left.
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

# A request that looked up the user before the erasure can write an event after it, until the time limit of its function
# (15 s). An erasure ends only after that, even if no item is left.
IN_FLIGHT = timedelta(seconds=60)
STEP_SECONDS = 10


def erase_leftovers(table: Store, now: datetime) -> list[str]:
    """Continue all erasures until `table.deadline`: one step of each, the oldest first, then the next step of each.

    Return when each unfinished erasure began. A failure does not stop the others: the first one is raised at the end.
    """
    run = time.monotonic()
    waiting = deque(erasures.pending(table))
    unfinished: list[str] = []
    failures: list[Exception] = []
    while waiting:
        erasure = waiting.popleft()
        try:
            is_swept = _step(table, erasure, now, run)
        except Unavailable:  # throttled, or out of time: the next run continues it
            unfinished.append(erasure.begun)
        except Exception as failure:  # noqa: BLE001 raised after the steps of the others
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
    """Do one step of an erasure. Return True if no item is left."""
    account = Account(replace(table, deadline=min(table.deadline, time.monotonic() + STEP_SECONDS)), erasure.account)
    is_swept = erasures.sweep(account, erasure.user_id)
    moment = now + timedelta(seconds=time.monotonic() - run)  # not earlier than the last deletion
    if is_swept and _may_end(erasure, now):
        erasures.end(account, erasure, moment)
    return is_swept


def _may_end(erasure: Erasure, now: datetime) -> bool:
    return erasure.begun <= iso(now - IN_FLIGHT)
