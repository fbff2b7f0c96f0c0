"""The items that the writer of a lane has read or written."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from domain.outcomes import StoredEvent
from domain.problems import Unavailable
from domain.profile import Profile
from table import Account, events, profiles
from table import primary_keys as keys
from table.events import Entry
from table.expressions import Action, Item, Put, has_ended
from table.primary_keys import Key, key_of

MAX_QUERIES = 8  # in a run, so that there is time to write it


class UserChanged(Exception):
    """The user was erased or identified after the look-up, or another user claimed the address."""


class RunEnds(Exception):
    """The run ends before this event, which is part of the next run."""


class Known:
    """A cache of items that were read, written, or returned by a failed condition. {}: there is no item.

    The cache can be out of date: it decides what to write, and the conditions of the write detect a difference. Items
    that have ended at `now` count as absent.
    """

    def __init__(self, account: Account, now: datetime) -> None:
        self.account, self.now = account, now
        self.ahead: dict[Key, Item | Unavailable] = {}  # that another thread read for the lane's next run
        self.forget(())

    def forget(self, written: Iterable[Action]) -> None:
        """Forget all items, except those that a write put."""
        self.items: dict[Key, Item | Unavailable] = {each.key: each.item for each in written if isinstance(each, Put)}
        self.profiles: dict[str, Profile] = {}  # by user id
        self.stale_profiles: dict[str, Profile | None] = {}  # that were read with eventual consistency
        self.ranges: list[tuple[datetime, datetime, list[Item]]] = []  # of the timeline: first and last moment, items
        self.has_read = False

    def forget_absent_events(self) -> None:
        """Forget which events are absent: another request may have stored them with an item that is read next."""
        self.items = {each: item for each, item in self.items.items() if item or not each.sk.startswith(keys.EVENT)}

    def get(self, key: Key) -> Item | None:
        """Return the item; {} if there is none, None if that is unknown or the item has ended."""
        found = self.items.get(key)
        return None if isinstance(found, Unavailable) or (found and has_ended(found, self.now)) else found

    def read(self, wanted: Sequence[Key], *, consistent: bool = True) -> Item:
        """Return the first of the items ({}: there is none). Read all that are unknown. Raise Unavailable."""
        unknown = [key for key in dict.fromkeys(wanted) if key not in self.items]
        if unknown:
            if not all(key.sk.startswith(keys.EVENT) for key in unknown):
                self.forget_absent_events()
            found = self.account.table.get_all(unknown, consistent=consistent)
            self.items |= {key: item or {} for key, item in zip(unknown, found, strict=True)}
            self.has_read = True
        first = self.items[wanted[0]]
        if isinstance(first, Unavailable):
            raise first
        return first

    def eventual_profile(self, user_id: str) -> Profile | None:
        """Return the profile, read with eventual consistency for half the units. None: it is unknown."""
        if user_id not in self.profiles and user_id not in self.stale_profiles:
            [item] = self.account.table.get_all([keys.profile(self.account.name, user_id)], consistent=False)
            self.stale_profiles[user_id] = profiles.profile_of(user_id, item) if isinstance(item, dict) else None
        return self.profiles.get(user_id) or self.stale_profiles[user_id]

    def profile(self, user_id: str) -> Profile:
        """Return the profile. Read it if it is unknown. Raise UserChanged if there is none, and Unavailable."""
        if user_id not in self.profiles:
            seen = profiles.read(self.account, user_id)
            if seen is None:
                raise UserChanged
            self.profiles[user_id] = seen
        return self.profiles[user_id]

    def timeline(self, entries: Sequence[Entry], first: datetime, last: datetime) -> Iterable[StoredEvent]:
        """Return the events of a range of the user's timeline. Raise RunEnds if it would take too many queries.

        If the range is unknown, read it together with the overlapping ranges of the run's other events, and return
        nothing: the run is decided again. Before a second range, read which events of the run are stored already.
        """
        for begin, end, found in self.ranges:
            if begin <= first and last <= end:
                return map(events.stored_event, found)
        ours = dict.fromkeys(entry.event_key for entry in entries if entry.own_id)
        if self.ranges and ours:
            self.read(list(ours))
            if self.has_read:
                return []
        if len(self.ranges) == MAX_QUERIES:
            raise RunEnds
        windowed = [each for each in entries if each.window]
        reach, moments = (last - first) / 2, sorted(each.happened_at for each in windowed)
        for moment in (*moments, *reversed(moments)):
            if first - reach <= moment <= last + reach:
                first, last = min(first, moment - reach), max(last, moment + reach)
        pk, types = keys.user(self.account.name, entries[0].user_id), {each.type for each in windowed}
        items = self.account.table.partition(pk, keys.events_within(first, last + timedelta(milliseconds=1)))
        wanted = {key_of(item): item for item in items if item["type"] in types or key_of(item) in ours}
        there = {key: item for key, item in wanted.items() if not has_ended(item, self.now)}
        self.ranges.append((first, last, list(there.values())))
        self.items |= {key: item for key, item in there.items() if key in ours}
        self.has_read = True
        return []

    def use_read_ahead(self) -> None:
        """Replace the known items by those that were read ahead, except for stored events.

        A known mark can be newer than the items read ahead: its event is stored, but absent from them.
        """
        ahead, self.ahead = self.ahead, {}
        there = {key: item for key, item in self.items.items() if item and key.sk.startswith(keys.EVENT)}
        self.items = ahead | there


def read_ahead(account: Account, waiting: Sequence[tuple[Known, Entry, Sequence[str]]]) -> None:
    """Read with few calls which of the waiting events are stored or will be discarded.

    Each event comes with the ids of its possible users. Without this, a batch that is sent again after it
    ran out of time would spend the time on such events, and could run out of time again.
    """
    marked: list[tuple[Known, Key]] = []
    stored: list[tuple[Known, Key]] = []
    for known, entry, user_ids in waiting:
        marked += [(known, entry.once_key)] if entry.once_key else []
        marked += [(known, keys.window(account.name, each, entry.type)) for each in user_ids if entry.window]
        stored += [(known, keys.event(account.name, each, entry.uuid_of(each))) for each in user_ids if entry.own_id]
    ahead: dict[Known, dict[Key, Item | Unavailable]] = {known: {} for known, _, _ in waiting}
    for wanted in (marked, stored):  # events last: a request stores both together
        for (known, key), item in zip(wanted, account.table.get_all([key for _, key in wanted]), strict=True):
            if not isinstance(item, Unavailable):
                ahead[known][key] = item or {}
    for known, items in ahead.items():
        known.ahead = items
