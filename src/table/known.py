"""The items that the writer of a lane has read or written."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from domain.problems import Unavailable
from domain.profile import Profile
from table import Account, profiles
from table import primary_keys as keys
from table.expressions import Action, Ended, Item, Put
from table.primary_keys import Key


class UserChanged(Exception):
    """The user was erased or identified after the look-up, or another user claimed the address."""


class Known:
    """A cache of items that were read, written, or returned by a failed condition. {}: there is no item.

    The cache can be out of date. It decides what to write, and the conditions of the write detect a difference. `now`
    decides which events and replies have ended.
    """

    def __init__(self, account: Account, now: datetime) -> None:
        self.account, self.has_ended = account, Ended(now).holds
        self.forget(())

    def forget(self, written: Iterable[Action]) -> None:
        """Forget all items, except those that a write put."""
        self.items: dict[Key, Item | Unavailable] = {
            action.key: action.item for action in written if isinstance(action, Put)
        }
        self.profiles: dict[str, Profile] = {}
        """By user id."""
        self.maybe_stale: set[str] = set()
        """Ids of users whose profile was read with eventual consistency."""
        self.ranges: list[tuple[datetime, datetime, list[Item]]] = []
        """Ranges of the user's timeline: first moment, last moment, items."""
        self.has_read = False

    def forget_absent_events(self) -> None:
        """Forget which events are absent: another request may have stored them with an item that is read next."""
        self.items = {each: item for each, item in self.items.items() if item or not each.sk.startswith(keys.EVENT)}

    def get(self, key: Key) -> Item | None:
        """Return the item; {} if there is none, None if that is unknown or the item has ended."""
        found = self.items.get(key)
        return None if isinstance(found, Unavailable) or (found and self.has_ended(found)) else found

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
        if user_id not in self.profiles:
            [item] = self.account.table.get_all([keys.profile(self.account.name, user_id)], consistent=False)
            seen = profiles.profile_of(user_id, item) if isinstance(item, dict) else None
            self.profiles |= {user_id: seen} if seen else {}
            self.maybe_stale.add(user_id)
        return self.profiles.get(user_id)

    def profile(self, user_id: str) -> Profile:
        """Return the profile. Read it if it is unknown. Raise UserChanged if there is none, and Unavailable."""
        if user_id not in self.profiles or user_id in self.maybe_stale:
            seen = profiles.read(self.account, user_id)
            if seen is None:
                raise UserChanged
            self.profiles[user_id] = seen
            self.maybe_stale.discard(user_id)
        return self.profiles[user_id]
