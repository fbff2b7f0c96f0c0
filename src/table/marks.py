"""What keeps an event out, as items: the mark of a value that comes once, and the lock of a window of time.

A restriction of an event type (restrictions.py) becomes one action of the event's own transaction here, and the item
that its condition met becomes the answer: which event came first.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from domain.ids import time_of
from domain.outcomes import First
from domain.times import iso, milliseconds_of, moment_of
from table import Account
from table import primary_keys as keys
from table.events import Entry, StoredEvent, first_of
from table.expressions import IS_NEW, Absent, Compare, Condition, Item, Put

IN_FLIGHT = timedelta(seconds=60)  # longer than any request takes


def mark(account: Account, entry: Entry, value: str) -> Put:
    """A value comes once for ever:

    |-- first event: the mark is put --|-- any later one: the mark is there ---------->
    """
    item = keys.once(account.name, entry.type, value) | {
        "eventId": entry.event_id,
        "uuid": entry.uuid,
        "createdOn": iso(entry.happened_at),
        "digest": entry.digest,
    }
    return Put(item, IS_NEW)


def first_by_mark(entry: Entry, item: Item) -> First:
    """Return the event that put the mark. 1.0 kept nothing but its id, which has the time in it."""
    return First(
        event_id=item["eventId"],
        created_on=item.get("createdOn") or iso(time_of(item["eventId"])),
        same_payload=_same(entry, item),
        uuid=item["uuid" if "uuid" in item else "eventId"],
    )


Timeline = Callable[[datetime, datetime], Iterable[StoredEvent]]
"""Reads the user's events from one moment to another, both included."""


@dataclass(slots=True)
class Window:
    """The stored events of one user and type that keep a distance, while those of a run are judged one after the other.

    The lock is one item for each user and type. `until`: no stored event of the type reaches beyond it with its window.
    `newest`, `eventId`, `uuid`, `digest`: the latest of the stored ones that is known. `version`: the one that was let
    in last, so it is another one after each. The lock of 1.0 has `eventId` and `until`, which is a window after that
    event.

    |-- newest ---- a window ---- until --|-- behind: let in, if `until` has passed when it is written
    |-- less than a window before or after the newest: discarded
    |-- before that: discarded if the timeline has one too close; else let in, if the lock is still as it was before the
        timeline was read

    `lock` may be out of date by a moment: what is discarded by it is stored, and the rest is a condition of the write.
    """

    lock: Item
    length: timedelta
    accepted: list[Entry] = field(default_factory=list)
    is_late: bool = False
    """Whether one of the accepted ones does not come behind all others."""

    def too_close(self, entry: Entry, timeline: Timeline) -> First | None:
        """Return the event because of which this one is discarded."""
        for other in self.accepted:
            if abs(entry.happened_at - other.happened_at) < self.length:
                return other.first_for(entry)
        if self.lock and abs(milliseconds_of(entry.happened_at) - self._newest) < self._milliseconds:
            uuid = self.lock["uuid" if "uuid" in self.lock else "eventId"]
            return First(self.lock["eventId"], iso(moment_of(self._newest)), _same(entry, self.lock), uuid)
        if self._is_behind(entry):
            return None
        for event in timeline(entry.happened_at - self.length, entry.happened_at + self.length):
            is_close = abs(event.happened_at - entry.happened_at) < self.length
            if event.type == entry.type and event.uuid != entry.uuid and is_close:
                return first_of(event, entry)
        return None

    def accept(self, entry: Entry) -> None:
        self.is_late = self.is_late or not self._is_behind(entry)
        self.accepted.append(entry)

    def action(self, account: Account) -> Put:
        """Return the lock as it is when the accepted events are in, if they may come in."""
        newest, last = max(self.accepted, key=lambda each: each.happened_at), self.accepted[-1]
        item: Item = {
            **keys.window(account.name, last.user_id, last.type),
            "newest": milliseconds_of(newest.happened_at),
            "eventId": newest.event_id,
            "uuid": newest.uuid,
            "digest": newest.digest,
        }
        if self.lock and self._newest > item["newest"]:
            item = self.lock
        item = {**item, "version": last.uuid, "until": self._until}
        # TTL, which reads seconds, takes no lock while a request may be under way that has read that there is none.
        item["expiresAt"] = max(item["until"], milliseconds_of(last.received_at + IN_FLIGHT)) // 1000 + 1
        if not self.is_late:
            return Put(item, IS_NEW | Compare("until", "<=", milliseconds_of(self.accepted[0].happened_at)))
        if not self.lock:
            return Put(item, IS_NEW)
        unchanged: Condition = Compare("eventId", "=", self.lock["eventId"])
        unchanged &= Compare("version", "=", self.lock["version"]) if "version" in self.lock else Absent("version")
        return Put(item, unchanged)

    def _is_behind(self, entry: Entry) -> bool:
        """Whether the event comes behind every stored one of its type, window and all.

        Without a lock, whatever happens now does: TTL takes a lock only after its end. Of an earlier time nothing is
        known.
        """
        if not (self.lock or self.accepted):
            return entry.happened_at >= entry.received_at
        return self._until <= milliseconds_of(entry.happened_at)

    @property
    def _until(self) -> int:
        ends = [milliseconds_of(each.happened_at + self.length) for each in self.accepted]
        if self.lock:
            ends.append(int(self.lock["until"]))
        elif self.is_late:  # TTL may have taken a lock whose end has passed by now
            ends.append(milliseconds_of(self.accepted[0].received_at))
        return max(ends)

    @property
    def _newest(self) -> int:
        return int(self.lock["newest"] if "newest" in self.lock else self.lock["until"] - self._milliseconds)

    @property
    def _milliseconds(self) -> int:
        return self.length // timedelta(milliseconds=1)


def _same(entry: Entry, item: Item) -> bool | None:
    return item["digest"] == entry.digest if "digest" in item else None
