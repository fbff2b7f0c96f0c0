"""POST /v1/event/ and /v1/events/ as a use case: return the outcome of each event.

Events whose order can matter form a lane: the events of one user, and events of others that share an id, a value or an
email with them. A lane settles its events in the order of the list, run by run (table/write.py), and skips
none. So a batch has the same result as its events sent one after the other. Lanes are independent and run in a few
threads. A single event is one lane, without threads.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from queue import Empty, PriorityQueue

from domain.outcomes import IdempotencyKey, Outcome
from domain.problems import Failed, NotFound, Refused, Unavailable, guarded, unavailable
from domain.profile import Profile
from domain.request import EventRequest
from table import Account
from table.events import Entry
from table.known import Known, UserChanged, read_ahead
from table.write import Writer
from use_cases.people import People, User

ATTEMPTS = 5  # another request changed the user or the email each time


def collect_one(
    request: EventRequest,
    account: Account,
    received_at: datetime,
    key: IdempotencyKey | None = None,
    *,
    upsert: bool = False,
) -> Outcome:
    """Return the outcome of one event. Raise Refused, or the exception that made it fail."""
    [outcome] = collect([request], account, received_at, key, upsert=upsert)
    if isinstance(outcome, Refused):
        raise outcome.__cause__ if isinstance(outcome, Failed) and outcome.__cause__ else outcome
    return outcome


def collect(
    requests: Sequence[EventRequest | Refused],
    account: Account,
    received_at: datetime,
    key: IdempotencyKey | None = None,
    *,
    upsert: bool = False,
) -> list[Outcome | Refused]:
    """Return the outcome of each event, in their order. A request that is already Refused is returned unchanged.

    With `upsert` an event of a user who does not exist creates the user.
    """
    begun = time.monotonic()
    all_ = [each if isinstance(each, Refused) else Entry(each, account, received_at, key) for each in requests]
    entries = [each for each in all_ if isinstance(each, Entry)]
    people = People(account, entries, upsert=upsert)
    lanes = [_Lane(account, people, group) for group in _groups(entries, people)]
    _settle(lanes, account, half_time=(begun + account.table.deadline) / 2)
    outcomes = [each.outcome if isinstance(each, Entry) else each for each in all_]
    assert all(outcomes)
    return [outcome for outcome in outcomes if outcome]


# --- Which events have an order -------------------------------------------------------------------

Tie = tuple[object, ...]


def _groups(entries: Sequence[Entry], people: People) -> list[list[Entry]]:
    """Group the events that share a tie, directly or through other events (union-find)."""
    if len(entries) == 1:
        return [list(entries)]
    ties = _ties(entries, people)
    parents = list(range(len(entries)))

    def root(place: int) -> int:
        while parents[place] != place:
            parents[place] = place = parents[parents[place]]
        return place

    first_with: dict[Tie, int] = {}
    for place, entry in enumerate(entries):
        for tie in ties(entry):
            parents[root(place)] = root(first_with.setdefault(tie, place))
    groups: dict[int, list[Entry]] = {}
    for place, entry in enumerate(entries):
        groups.setdefault(root(place), []).append(entry)
    return list(groups.values())


def _ties(entries: Sequence[Entry], people: People) -> Callable[[Entry], Iterable[Tie]]:
    """Return a function that returns the ties of an event: events with the same tie are settled in order."""
    claimed = {entry.claims for entry in entries if entry.claims}
    moving = {(entry.id, entry.happened_at) for entry in entries if entry.claims or entry.request.user.email in claimed}

    def of(entry: Entry) -> Iterator[Tie]:
        user, ids = entry.request.user, people.possible(entry)
        if entry.own_id:
            identity = (entry.id, entry.happened_at)
            yield identity if identity in moving else (*identity, *ids)
        if entry.is_ordered or entry.claims or people.is_new(user):
            yield from (("user", each) for each in ids)
            profile = people.profiles.get(user.id or "")
            addresses = (user.email, entry.claims, profile.email if isinstance(profile, Profile) else None)
            yield from (("email", each) for each in addresses if each)
            if entry.once_key:
                yield entry.once_key
        elif user.email in claimed and people.owners[user.email] is None:
            yield "email", user.email

    return of


# --- Lanes ----------------------------------------------------------------------------------------


class _Lane:
    """Settles events whose order can matter, in the order of the list."""

    def __init__(self, account: Account, people: People, entries: list[Entry]) -> None:
        self.people, self.waiting, self.writer = people, entries, Writer(account, entries[0].received_at)
        self.failed: set[str] = set()  # ids and emails of users with a failed change
        self.look_ups = 0
        self.steps = self._settle()

    def _settle(self) -> Iterator[float]:
        """Settle the events. Yield after each run, and before each wait: the seconds until the lane may continue."""
        self._share_profiles()
        while run := self._next_run():
            try:
                yield from self.writer.write(run)
                assert any(entry.outcome for entry in run)
                self.look_ups = 0
            except UserChanged:
                self._retry_look_up(run)
            except Exception as error:  # noqa: BLE001 an unexpected error is the outcome of one event
                run[0].outcome, self.look_ups = Failed.by(error), 0
            settled = [entry for entry in run if entry.outcome]
            self.waiting = [entry for entry in self.waiting if not entry.outcome]
            for entry in settled:
                self._apply_outcome(entry)
            if self.waiting:
                yield 0

    def _next_run(self) -> list[Entry]:
        """Return the next events of one user. Settle the events among them whose user cannot be found."""
        run: list[Entry] = []
        plain: dict[str, bool] = {}
        claimed: set[str | None] = set()
        for entry in self.waiting:
            user = entry.request.user
            if user.email in claimed - {None}:
                break  # the commit decides which user has the email
            if run and self.people.is_new(user) and not user.names_as(run[0].request.user):
                break  # the commit decides which user exists
            if not self._find_user(entry, is_first=not run):
                continue
            if run and (entry.user_id != run[0].user_id or (entry.is_new and entry.is_plain)):
                break  # a plain event creates the user if the events before it are discarded
            if entry.uuid in plain and (plain[entry.uuid] or entry.is_plain):
                break  # a plain event is stored after the transaction
            plain[entry.uuid] = entry.is_plain
            claimed.add(entry.claimed)
            run.append(entry)
        return run

    def _find_user(self, entry: Entry, *, is_first: bool) -> bool:
        """Find the user of an event, or settle it. After a failed change, all later changes of the same user fail."""
        user = guarded(partial(self.people.find, entry))
        if not self.failed.isdisjoint(_identifiers(entry, user)) and (
            isinstance(user, NotFound) or (isinstance(user, User) and (entry.is_ordered or user.is_new))
        ):
            user = unavailable("EarlierChangeFailed")
        if isinstance(user, User):
            entry.of_user(*user, is_first=is_first)
            return True
        entry.outcome = user
        self._apply_outcome(entry)
        return False

    def _apply_outcome(self, entry: Entry) -> None:
        """Record what the outcome of an event means for later events."""
        user = User(entry.user_id, entry.email) if entry.user_id else entry.outcome
        if isinstance(entry.outcome, Unavailable | Failed) and entry.is_ordered:
            self.failed |= _identifiers(entry, user)
        if entry.is_new and isinstance(entry.outcome, Outcome) and entry.outcome.user_created:
            self.people.identify(User(entry.user_id, entry.request.user.email))
        known = self.people.profiles.get(entry.user_id)
        if entry.claims and not entry.is_of_bot and isinstance(known, Profile) and known.email is None:
            if isinstance(entry.outcome, Outcome) and entry.outcome.status == "created":
                self.people.identify(User(entry.user_id, entry.claims))
            elif self.waiting:  # another user may have the email now
                self.people.look_up(self.waiting)

    def _retry_look_up(self, run: Sequence[Entry]) -> None:
        self.look_ups += 1
        self.writer.known.forget(())
        if self.look_ups < ATTEMPTS:
            self.people.look_up(self.waiting)
            self._share_profiles()
        else:
            self.look_ups = 0
            for entry in run:
                entry.outcome = unavailable("UserChanged")

    def _share_profiles(self) -> None:
        """Pass the profiles that the look-up has read to the writer."""
        found = [self.people.profiles.get(entry.request.user.id or "") for entry in self.waiting]
        self.writer.known.profiles |= {each.id: each for each in found if isinstance(each, Profile)}


def _identifiers(entry: Entry, user: User | object) -> set[str]:
    """Return the ids and emails of the users that the event may change. A login can be that of another user."""
    user_id, email, _ = user if isinstance(user, User) else (None, None, None)
    names = (entry.request.user.id, entry.request.user.email, user_id, email or entry.claims)
    return {name for name in names if name}


# --- Side by side ---------------------------------------------------------------------------------


def _settle(lanes: Sequence[_Lane], account: Account, half_time: float) -> None:
    """Settle the events of all lanes, in as many threads as the table allows.

    A user's second lane comes after the first lane of every other user, and a lane that waits goes to the end of the
    queue. So one user's events do not delay the others. After half of the time, one call reads which of the waiting
    events are stored already. So a batch that ran out of time gets further when it is sent again.
    """
    queue: PriorityQueue[tuple[float, int, int]] = PriorityQueue()
    ranks: Counter[str | None] = Counter()
    for number, lane in enumerate(lanes):
        user = next(iter(lane.people.possible(lane.waiting[0])), None) if len(lanes) > 1 else None
        queue.put((0.0, ranks[user], number))
        ranks[user] += 1
    ahead = [partial(read_ahead, account)]

    def work() -> None:
        with suppress(Empty):
            while True:
                due, rank, number = queue.get_nowait()
                if (now := time.monotonic()) > half_time:
                    with suppress(IndexError):  # once
                        guarded(partial(ahead.pop(), _waiting(lanes)))
                if due > now:
                    time.sleep(due - now)
                if (pause := next(lanes[number].steps, None)) is not None:
                    queue.put((time.monotonic() + pause if pause else 0.0, rank + 1, number))

    threads = min(len(lanes), account.table.threads)
    if threads <= 1:
        work()
        return
    from concurrent.futures import ThreadPoolExecutor  # only for batches

    with ThreadPoolExecutor(threads) as pool:
        for worker in [pool.submit(work) for _ in range(threads)]:
            worker.result()


def _waiting(lanes: Sequence[_Lane]) -> list[tuple[Known, Entry, list[str]]]:
    pairs = [(lane, entry) for lane in lanes for entry in lane.waiting if not entry.outcome]
    return [(lane.writer.known, entry, lane.people.possible(entry)) for lane, entry in pairs]
