"""The second half of DELETE /v1/user/...: removes what an erased user left behind, however much it is.

It may be stopped at any point and run twice at once: the erasure item stays until nothing is left.
"""

from datetime import datetime, timedelta

from domain.dynamodb import Table
from domain.problems import Unavailable
from domain.profile import iso
from domain.store import Store, erasures

# An event whose user was looked up before the erasure may still be written after it, but not after the
# time limit of its function (15 s). Until then an erasure is not done, however empty it looks.
IN_FLIGHT = timedelta(seconds=60)


def erase_leftovers(table: Table, now: datetime) -> list[str]:
    """Goes on with every erasure until `table.deadline`; returns when each that is not done yet began."""
    pending = list(erasures(table))
    unfinished = [begun for _, _, begun in pending]
    try:
        for account, user_id, begun in pending:
            if _erase(Store(table, account), user_id, may_end=begun <= iso(now - IN_FLIGHT)):
                unfinished.remove(begun)
    except Unavailable:  # out of time, or throttled: the next run goes on here
        pass
    return unfinished


def _erase(store: Store, user_id: str, may_end: bool) -> bool:
    """True when the erasure is done."""
    while not store.sweep(user_id):
        pass
    if may_end:
        store.end_erasure(user_id)
    return may_end
