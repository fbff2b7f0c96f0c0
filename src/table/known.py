"""What is known of the items of a lane while it is written."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from domain.problems import Unavailable
from domain.profile import Profile
from table import Account, profiles
from table import primary_keys as keys
from table.expressions import Action, Item, Put
from table.primary_keys import Key


class UserChanged(Exception):
    """The user is not who was looked up any more: erased, or identified, or the address was claimed."""


class Known:
    """Items as they were read, met by a condition, or written. {}: there is none.

    Conditions judge. This only chooses what to write, and answers what needs no write.
    """

    def __init__(self, account: Account) -> None:
        self.account = account
        self.forget(())

    def forget(self, written: Iterable[Action]) -> None:
        """After a write only what was put is known. What was changed may be anything by now."""
        self.items: dict[tuple[str, str], Item | Unavailable] = {
            pair(action.key): action.item for action in written if isinstance(action, Put)
        }
        self.profiles: dict[str, Profile] = {}
        """By user id."""
        self.glanced: set[str] = set()
        """Ids of users whose profile may be out of date by a moment."""
        self.stretches: list[tuple[datetime, datetime, list[Item]]] = []
        """Of the user's timeline, with the moments from which and to which each was read."""
        self.has_grown = False

    def doubt(self) -> None:
        """Forget which events are not there: another request may have stored them with what is known from now on."""
        self.items = {pair: item for pair, item in self.items.items() if item or not pair[1].startswith(keys.EVENT)}

    def get(self, key: Key) -> Item | None:
        """Return what is known of an item; None if that is nothing."""
        found = self.items.get(pair(key))
        return None if isinstance(found, Unavailable) else found

    def read(self, wanted: Sequence[Key], *, consistent: bool = True) -> Item:
        """Return the first of some items; all of them are read as far as they are not known. Raise Unavailable."""
        unknown = {pair(key): key for key in wanted if pair(key) not in self.items}
        if unknown:
            if any(not sk.startswith(keys.EVENT) for _, sk in unknown):
                self.doubt()
            found = self.account.table.get_all(list(unknown.values()), consistent=consistent)
            self.items |= {each: item or {} for each, item in zip(unknown, found, strict=True)}
            self.has_grown = True
        first = self.items[pair(wanted[0])]
        if isinstance(first, Unavailable):
            raise first
        return first

    def glance(self, user_id: str) -> Profile | None:
        """Return the user's profile as it was a moment ago, for half the units. None: it is not known."""
        if user_id not in self.profiles:
            [item] = self.account.table.get_all([keys.profile(self.account.name, user_id)], consistent=False)
            seen = profiles.profile_of(user_id, item) if isinstance(item, dict) else None
            self.profiles |= {user_id: seen} if seen else {}
            self.glanced.add(user_id)
        return self.profiles.get(user_id)

    def profile(self, user_id: str) -> Profile:
        """Return the user's profile, read if it is not known. Raise UserChanged if there is none, and Unavailable."""
        if user_id not in self.profiles or user_id in self.glanced:
            seen = profiles.read(self.account, user_id)
            if seen is None:
                raise UserChanged
            self.profiles[user_id] = seen
            self.glanced.discard(user_id)
        return self.profiles[user_id]


def pair(key: Key) -> tuple[str, str]:
    return key["pk"], key["sk"]
