"""The users of events: contract, section 2."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache, partial
from typing import NamedTuple

from domain import problems
from domain.ids import is_id, new_id
from domain.problems import Conflict, Invalid, NotFound, Refused
from domain.profile import Profile
from domain.request import UserReference
from table import Account, erasures, events, profiles
from table.events import Entry


class User(NamedTuple):
    id: str
    email: str | None
    is_new: bool = False


class People:
    """The results of looking up the users of events."""

    def __init__(self, account: Account, entries: Sequence[Entry], *, upsert: bool) -> None:
        self.account, self.upsert = account, upsert
        self.new_ids: defaultdict[str, str] = defaultdict(lambda: new_id(datetime.now(UTC)))
        """By email: the id of the user that is to be created with it."""
        self.owners: dict[str, str | Refused | None] = {}
        """By email: the id of the user who has it. None: no user has it. Refused: it could not be read."""
        self.profiles: dict[str, Profile | Refused | None] = {}  # by id: the profile, None or Refused in the same way
        self.is_erased = cache(partial(erasures.is_erased, account))
        self.taken: dict[str, bool] = {}  # by an _id that came with an email: whether a user has it
        self.look_up(entries)

    def look_up(self, entries: Sequence[Entry]) -> None:
        """Read the users that the events name, and the emails that they claim, with one call.

        An item that cannot be read fails only the events that need it.
        """
        named = [entry.request.user for entry in entries]
        emails = [each for entry in entries for each in (entry.request.user.email, entry.claims) if each]
        ids = [user.id for user in named if not user.email and user.id and is_id(user.id)]
        owners, found = profiles.look_up(self.account, list(dict.fromkeys(emails)), list(dict.fromkeys(ids)))
        self.owners |= owners
        self.profiles |= found
        self.taken.clear()
        for email in owners:  # the user who was created with it may be erased, and an id never comes back
            self.new_ids.pop(email, None)
        for profile in found.values():  # a login may claim the email between the two reads
            if isinstance(profile, Profile) and profile.email in owners and owners[profile.email] is None:
                self.owners[profile.email] = profile.id

    def find(self, entry: Entry) -> User | Refused:
        """Return the user of an event, or why it is refused.

        If a user without an email logs in with the email of another user, the event belongs to that other user (section
        5). A repeat of such a login still belongs to the other user, even if the first user has an email now.
        """
        user = self._named(entry.request.user)
        if not isinstance(user, User) or entry.claims in (None, user.email):
            return user
        owner = self.owners[str(entry.claims)]
        if isinstance(owner, Refused):
            return owner
        is_theirs = owner and (user.email is None or self._is_repeat(entry, owner))
        return User(str(owner), entry.claims) if is_theirs else user

    def possible(self, entry: Entry) -> list[str]:
        """Return the ids of the event's possible users."""
        user = entry.request.user
        owners = [self.owners.get(email) for email in (user.email, entry.claims) if email]
        ids = [each for each in owners if isinstance(each, str)]
        if self.is_new(user) and user.email:
            return [user.id or self.new_ids[user.email]]
        return ids if user.email or not user.id else [*ids, user.id]

    def is_new(self, reference: UserReference) -> bool:
        """Return whether `upsert` has to create the user, according to the look-up."""
        if not self.upsert:
            return False
        return (self.owners.get(reference.email) if reference.email else self.profiles.get(str(reference.id))) is None

    def _create(self, reference: UserReference) -> User | Refused:
        """Return the new user, by the rules of a PUT with upsert, or why the event is refused."""
        email, user_id = reference.email, reference.id
        if user_id is None:
            return User(self.new_ids[str(email)], email, is_new=True)
        if not is_id(user_id):
            return Invalid([problems.INVALID_ID._replace(field="user._id")])
        if email and self._is_taken(user_id):
            return Invalid([problems.IDENTIFIERS_DISAGREE])
        if self.is_erased(user_id):  # a discarded event has no write that would check it
            return Conflict([problems.ERASED_USER])
        return User(user_id, email, is_new=True)

    def identify(self, user: User) -> None:
        """Record that the user exists, and has this email now."""
        self.taken[user.id] = True
        if user.email:
            self.owners[user.email] = user.id
        known = self.profiles.get(user.id)
        profile = known if isinstance(known, Profile) else Profile(user.id)
        self.profiles[user.id] = profile._replace(email=user.email)

    def _named(self, reference: UserReference) -> User | Refused:
        if self.is_new(reference):
            return self._create(reference)
        if reference.email:
            user_id = self.owners[reference.email]
            if user_id is None:
                return NotFound([problems.UNKNOWN_EMAIL])
            if isinstance(user_id, str) and reference.id not in (None, user_id):
                other = reference.id and is_id(reference.id) and self._is_taken(reference.id)
                return Invalid([problems.IDENTIFIERS_DISAGREE if other else problems.NO_USER_WITH_ID])
            return User(user_id, reference.email) if isinstance(user_id, str) else user_id
        profile = self.profiles.get(str(reference.id))
        if isinstance(profile, Refused):
            return profile
        return User(profile.id, profile.email) if profile else NotFound([problems.UNKNOWN_ID])

    def _is_taken(self, user_id: str) -> bool:
        taken = self.taken.get(user_id)
        if taken is None:  # another lane may forget all that is known at any moment
            taken = self.taken[user_id] = profiles.read(self.account, user_id) is not None
        return taken

    def _is_repeat(self, entry: Entry, user_id: str) -> bool:
        """Return whether the event is stored as an event of this user."""
        uuid = entry.uuid_of(user_id)
        return entry.own_id and events.find(self.account, user_id, uuid, entry.received_at) is not None
