"""The items of restrictions: the mark of a unique value, and the lock of a window of time.

A restriction of an event type (restrictions.py) adds one action to the transaction that stores the event. If its
condition fails, the existing item says which event was first.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from domain.ids import time_of
from domain.outcomes import First, StoredEvent
from domain.times import iso, milliseconds_of, moment_of
from table import primary_keys as keys
from table.events import Entry, end_of, first_of
from table.expressions import IS_NEW, Compare, Equals, Item, Put, has_ended
from table.primary_keys import Key

IN_FLIGHT = timedelta(seconds=60)  # longer than any request takes


def mark(entry: Entry, key: Key) -> Put:
    """Return the action that stores the mark of a unique value.

    |-- first event: the mark is stored --|-- each later event: the condition fails ---------->

    The mark stays when the event ends, and an erasure finds a mark only through its event. So if events end, the mark
    contains from the start only what an erasure leaves of it: no id that the caller made up, and no digest.
    """
    event_ends = entry.account.event_days > 0
    of_the_event = {"eventId": entry.uuid} if event_ends else {"eventId": entry.id, "digest": entry.digest}
    about = {"uuid": entry.uuid, "createdOn": iso(entry.happened_at), **of_the_event}
    return Put(key, about, IS_NEW)


def describes(mark: Item) -> bool:
    """Return whether a mark contains all that is known of its event. A mark of 1.0 does: its event has no digest."""
    return "digest" in mark or "uuid" not in mark


def first_by_mark(entry: Entry, item: Item) -> First:
    """Return the event that stored a mark. A mark of 1.0 has only the event's id, which contains its time."""
    return First(
        event_id=item["eventId"],
        created_on=item.get("createdOn") or iso(time_of(item["eventId"])),
        same_payload=_same(entry, item),
        uuid=item["uuid" if "uuid" in item else "eventId"],
    )


@dataclass(slots=True)
class Window:
    """The minimum interval between stored events of one user and type. It checks the events of a run in their order.

    The lock is one item for each user and type:

        until                           the latest end of the window of any stored event
        newest, eventId, uuid, digest   the latest stored event that is known
        newestEnds                      when `newest` ends, if it does; after that it discards no event
        version                         the UUID of the event that was stored last; it differs after each event

    The lock of 1.0 has only `eventId` and `until`, which is one window after the event. The time of an event decides:

        after `until`                   created, on condition that `until` of the lock has passed
        within a window of `newest`     discarded
        earlier                         discarded if the timeline has an event within a window; otherwise created, on
                                        condition that the lock has not changed since before the timeline was read

    `lock` is read with eventual consistency. It discards only events that are certainly too close to a stored one. For
    all others the condition of the write decides.
    """

    lock: Item
    length: timedelta
    accepted: list[Entry] = field(default_factory=list)
    is_late: bool = False  # one of the accepted events is before another stored or accepted one

    def too_close(self, entry: Entry, timeline: Callable[[datetime, datetime], Iterable[StoredEvent]]) -> First | None:
        """Return the event that is too close to this one, if there is one. `timeline` reads the events of a range."""
        for other in self.accepted:
            if abs(entry.happened_at - other.happened_at) < self.length:
                return first_of(other, entry)
        counts = self.lock and not has_ended(self.lock, entry.received_at, "newestEnds")
        if counts and abs(entry.happened_at - self._newest) < self.length:
            uuid = self.lock["uuid" if "uuid" in self.lock else "eventId"]
            return First(self.lock["eventId"], iso(self._newest), _same(entry, self.lock), uuid)
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

    def action(self) -> Put:
        """Return the action that changes the lock if the accepted events may be stored."""
        newest, last = max(self.accepted, key=lambda each: each.happened_at), self.accepted[-1]
        item: Item = {
            "newest": milliseconds_of(newest.happened_at),
            "eventId": newest.id,
            "uuid": newest.uuid,
            "digest": newest.digest,
            **end_of(newest, "newestEnds"),
        }
        if self.lock and self._newest > newest.happened_at:
            item = self.lock
        item = {**item, "version": last.uuid, "until": milliseconds_of(self._until)}
        # TTL must not delete a lock while another request is in flight that read that there was none.
        item["expiresAt"] = milliseconds_of(max(self._until, last.received_at + IN_FLIGHT)) // 1000 + 1
        condition = IS_NEW
        if not self.is_late:
            condition |= Compare("until", "<=", milliseconds_of(self.accepted[0].happened_at))
        elif self.lock:
            condition = Equals("eventId", self.lock["eventId"]) & Equals("version", self.lock.get("version"))
        return Put(keys.window(last.account.name, last.user_id, last.type), item, condition)

    def _is_behind(self, entry: Entry) -> bool:
        """Return whether the event is after the window of every stored event of its type.

        Without a lock it is true of an event that happens now, because TTL deletes a lock after its end.
        """
        if not (self.lock or self.accepted):
            return entry.happened_at >= entry.received_at
        return self._until <= entry.happened_at

    @property
    def _until(self) -> datetime:
        ends = [each.happened_at + self.length for each in self.accepted]
        if self.lock:
            ends.append(moment_of(int(self.lock["until"])))
        elif self.is_late:  # TTL may have deleted an expired lock
            ends.append(self.accepted[0].received_at)
        return max(ends)

    @property
    def _newest(self) -> datetime:
        lock = self.lock
        return moment_of(int(lock["newest"])) if "newest" in lock else moment_of(int(lock["until"])) - self.length


def _same(entry: Entry, item: Item) -> bool | None:
    return item["digest"] == entry.digest if "digest" in item else None
