"""What keeps an event out, as items: the mark of a value that comes once, and the lock of a window of time.

A restriction of an event type (restrictions.py) becomes one action of the event's own transaction here, and the item
that its condition met becomes the answer: which event came first.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from domain.ids import time_of
from domain.outcomes import First, Outcome
from domain.problems import Unavailable
from domain.times import iso, milliseconds_of, moment_of
from table import Account, keys
from table.events import Entry, first_of, stored_event
from table.expressions import IS_NEW, Absent, Compare, Condition, Item, Put
from table.replies import discard
from table.values import digest_of

MILLISECOND = timedelta(milliseconds=1)
IN_FLIGHT = timedelta(seconds=60)  # longer than any request takes


def mark(account: Account, entry: Entry, value: str) -> Put:
    """A value comes once for ever:

    |-- first event: the mark is put --|-- any later one: the mark is there ---------->
    """
    item = keys.once(account.name, entry.type, value) | {
        "eventId": entry.event_id,
        "uuid": entry.uuid,
        "createdOn": iso(entry.happened_at),
        "digest": digest_of(entry.type, entry.payload),
    }
    return Put(item, IS_NEW)


def first_by_mark(entry: Entry, item: Item) -> First:
    """The event that put the mark. 1.0 kept nothing but its id, which has the time in it."""
    return First(
        event_id=item["eventId"],
        created_on=item.get("createdOn") or iso(time_of(item["eventId"])),
        same_payload=_same(entry, item),
        uuid=item["uuid" if "uuid" in item else "eventId"],
    )


# --- Windows -------------------------------------------------------------------------------------- The lock is one
# item for each user and type. `until`: no stored event of the type reaches beyond it with its window. `newest`,
# `eventId`, `uuid`, `digest`: the latest of the stored ones that is known. `version`: the one that was let in last,
# so it is another one after each. The lock of 1.0 has `eventId` and `until`, which is a window after that event.


def locks(account: Account, asked: Sequence[tuple[str, str]]) -> list[Item | Unavailable]:
    """The lock of each user id and event type; {} where there is none. It may be out of date by a moment."""
    if not asked:
        return []
    found = account.table.get_all([keys.window(account.name, *each) for each in asked], consistent=False)
    return [item if item is not None else {} for item in found]


def admit(account: Account, entry: Entry, lock: Item) -> "Entry | Outcome":
    """How an event comes in that keeps a distance to others of its type; or the answer to one that does not.

    |-- newest ---- a window ---- until --|-- behind: let in, if `until` has passed when it is written
    |-- less than a window before or after the newest: discarded
    |-- before that: discarded if the timeline has one too close; else let in, if the lock is still as it was read

    `lock` may be out of date by a moment: what is discarded by it is stored, and the rest is a condition of the write.
    """
    first = _too_close(entry, lock)
    if first is None and _is_behind(entry, lock):
        return replace(entry, seen_lock=None)
    first = first or _neighbour(account, entry)
    if first is None:
        return replace(entry, seen_lock=lock)
    assert entry.restriction is not None
    return discard(account, entry, entry.restriction, first)


def lock(account: Account, entry: Entry, window: timedelta) -> Put:
    """The lock as it is when this event is in."""
    happened, until = milliseconds_of(entry.happened_at), milliseconds_of(entry.happened_at + window)
    item: Item = {
        **keys.window(account.name, entry.user_id, entry.type),
        "newest": happened,
        "eventId": entry.event_id,
        "uuid": entry.uuid,
        "digest": digest_of(entry.type, entry.payload),
        "version": entry.uuid,
        "until": until,
    }
    seen = entry.seen_lock
    if seen is None:  # behind all others
        return Put(_with_expiry(item, entry), IS_NEW | Compare("until", "<=", happened))
    if not seen:  # TTL may have taken a lock whose end has passed by now
        item["until"] = max(until, milliseconds_of(entry.received_at))
        return Put(_with_expiry(item, entry), IS_NEW)
    newer = seen if int(seen["newest" if "newest" in seen else "until"]) > happened else item
    item = {**newer, "version": entry.uuid, "until": max(until, int(seen["until"]))}
    unchanged: Condition = Compare("eventId", "=", seen["eventId"])
    unchanged &= Compare("version", "=", seen["version"]) if "version" in seen else Absent("version")
    return Put(_with_expiry(item, entry), unchanged)


def _with_expiry(item: Item, entry: Entry) -> Item:
    """TTL, which reads seconds, takes no lock while a request may be under way that has read that there is none."""
    in_flight = milliseconds_of(entry.received_at + IN_FLIGHT)
    return {**item, "expiresAt": max(item["until"], in_flight) // 1000 + 1}


def _too_close(entry: Entry, lock: Item) -> First | None:
    """The newest event of the lock, if it lies less than a window before or after this one."""
    assert entry.window is not None
    if not lock:
        return None
    length = entry.window // MILLISECOND
    newest = int(lock["newest"] if "newest" in lock else lock["until"] - length)
    if abs(milliseconds_of(entry.happened_at) - newest) >= length:
        return None
    return First(
        lock["eventId"], iso(moment_of(newest)), _same(entry, lock), lock["uuid" if "uuid" in lock else "eventId"]
    )


def _is_behind(entry: Entry, lock: Item) -> bool:
    """Whether the event comes behind every stored one of its type, window and all.

    Without a lock, whatever happens now does: TTL takes a lock only after its end. Of an earlier time nothing is known.
    """
    if not lock:
        return entry.happened_at >= entry.received_at
    return int(lock["until"]) <= milliseconds_of(entry.happened_at)


def _neighbour(account: Account, entry: Entry) -> First | None:
    """A stored event of the type that lies less than a window before or after this one."""
    assert entry.window is not None
    between = keys.events_between(entry.happened_at - entry.window, entry.happened_at + entry.window)
    for item in account.table.partition(keys.user(account.name, entry.user_id), between):
        event = stored_event(item)
        is_close = abs(event.happened_at - entry.happened_at) < entry.window
        if event.type == entry.type and event.uuid != entry.uuid and is_close:
            return first_of(event, entry)
    return None


def _same(entry: Entry, item: Item) -> bool | None:
    return item["digest"] == digest_of(entry.type, entry.payload) if "digest" in item else None
