"""The write path: decide and store the events of one user.

One call writes everything that an event changes, so an event is stored completely or not at all. Items that were read
decide what to write, and the conditions of the call verify them. An event has up to six actions:

    event    the event, under a key made from its time and id   if there is no item
    key      the reply stored under an Idempotency-Key          if there is none, or it has expired
    once     the mark of a unique value                         if there is no item
    window   the lock of a minimum interval                     if it has ended, or is unchanged
    user     the change of the profile                          if the user exists, and is unchanged
    email    the email that a login claims                      if no user has it

With `upsert` the user can be new. Then `user` creates the profile, `email` is the user's email, and a seventh action
checks that an id, which the caller chose, was not erased.

An event with one action is a PutItem, which costs one write unit. If the service made its id, it needs no condition.
Other events are written in runs: the longest sequence of a user's events that fits into one transaction. A run is
decided in memory, one event after the other, with the items in `Known`. A duplicate or discarded event needs no write.
Then the transaction writes the run, on condition that these items are unchanged.

If a condition fails, the run is decided again with the item that the transaction returns, until the time is up. If an
action is too large or throttled, the run is cut before its event or, if that is unknown, halved until one is left.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import cached_property, partial
from typing import NamedTuple

from domain.backoff import backoff
from domain.outcomes import First, Outcome
from domain.problems import ERASED_USER, Conflict, Failed, Refused, TooLarge, Unavailable, too_large, unavailable
from domain.profile import NO_CHANGE, TOLERANCE, Change
from domain.restrictions import BOT
from table import Account, events, marks, profiles, replies
from table import primary_keys as keys
from table.attribute_values import canonical
from table.calls import CONFLICT, MAX_ACTIONS, MAX_ITEM_BYTES
from table.events import Entry
from table.expressions import Action, Free, Item, Put, Update
from table.known import Known, RunEnds, UserChanged
from table.primary_keys import Key

# --- Decide ---------------------------------------------------------------------------------------


class _Step(NamedTuple):
    """An action of a transaction, and its event. The actions of the user and the email belong to all events."""

    role: str
    action: Action
    entry: Entry | None = None


class _Run:
    """Decides the events of one user, one after the other. The outcomes are final when the steps are done."""

    def __init__(self, account: Account, known: Known, entries: Sequence[Entry], refused: dict[Entry, Refused]) -> None:
        self.account, self.known, self.entries, self.refused = account, known, entries, refused
        self.user_id, self.email = entries[0].user_id, entries[0].email
        self.creates = entries[0].creates
        self.claimed: str | None = None
        self.actions = 3 if self.creates else 2  # the user's and the address's, and the check of the id
        if self.creates:
            self.claimed = self.email
            self.new_item = profiles.new_item(self.email, NO_CHANGE, entries[0].received_at)
            blank = profiles.profile_of(self.user_id, self.new_item)
            assert blank
            known.profiles[self.user_id] = blank
        self.outcomes: dict[Entry, Outcome | Refused] = {}
        self.steps: list[_Step] = []
        self.created: dict[str, Entry] = {}  # the events to store, by UUID
        self.changes: list[Change] = []
        self.repeats: list[tuple[Entry, Entry]] = []  # each with the event of the run that it repeats
        self.values: dict[Key, Entry] = {}
        self.windows: dict[str, marks.Window] = {}

    def decide(self, entry: Entry) -> None:
        if entry in self.refused:
            self.outcomes[entry] = self.refused[entry]
        elif entry.uuid in self.created:
            self.repeats.append((entry, self.created[entry.uuid]))
        elif outcome := self._by_items(entry) or self._by_restriction(entry):
            self.outcomes[entry] = outcome
        else:
            self._accept(entry)

    def _by_items(self, entry: Entry) -> Outcome | None:
        found = self.known.get(entry.event_key) if entry.own_id else None
        if found:
            return entry.settled("created") if events.is_of(entry, found) else events.duplicate(entry, found)
        kept = self.known.get(entry.reply_key) if entry.reply_key else None
        return replies.replayed(entry, entry.key, kept) if entry.key and kept else None

    def _by_restriction(self, entry: Entry) -> Outcome | None:
        """Return the outcome if a restriction applies: duplicate if the event is stored, otherwise discarded."""
        restriction, first = (BOT, None) if entry.is_of_bot else (entry.restriction, self._first(entry))
        if restriction is None or not (first or entry.is_of_bot):
            return None
        if entry.own_id:
            self.known.read([entry.event_key, *self._event_keys])
            if found := self.known.get(entry.event_key):
                return events.duplicate(entry, found)
        discarded = entry.settled("discarded", restriction=restriction, first=first)
        return discarded._replace(user_id="") if self.creates and not self.created else discarded

    def _first(self, entry: Entry) -> First | None:
        """Return the event for which a restriction discards this one, if there is one."""
        if entry.once_key:
            if other := self.values.get(entry.once_key):
                return events.first_of(other, entry)
            mark = self.known.get(entry.once_key)
            return self._first_by_mark(entry, mark) if mark else None
        timeline = partial(self.known.timeline, self.entries)
        return self._window(entry).too_close(entry, timeline) if entry.window else None

    def _first_by_mark(self, entry: Entry, mark: Item) -> First:
        """Return the event of a mark. Read it if the mark does not describe it, with those of the run's other marks."""
        if not marks.describes(mark):
            others = [self.known.get(each.once_key) for each in self.entries if each.once_key]
            marked = [each["uuid"] for each in (mark, *others) if each and not marks.describes(each)]
            wanted = [keys.event(self.account.name, entry.user_id, uuid) for uuid in marked]
            self.known.read(wanted)
            if found := self.known.get(wanted[0]):
                return events.first_of(events.stored_event(found), entry)
        return marks.first_by_mark(entry, mark)

    def _accept(self, entry: Entry) -> None:
        change = entry.change(self.email)
        self.actions += 1 + bool(entry.key) + bool(entry.once_key)
        self.actions += bool(entry.window and not self._window(entry).accepted)
        if self.actions > MAX_ACTIONS:
            raise RunEnds
        self.created[entry.uuid] = entry
        self.changes.append(change)
        if entry.once_key:
            self.values[entry.once_key] = entry
        if entry.window:
            self._window(entry).accept(entry)
        if entry.claims and self.email is None:
            self.email = self.claimed = entry.claims

    def _window(self, entry: Entry) -> marks.Window:
        assert entry.window
        if entry.type not in self.windows:
            types = dict.fromkeys([entry.type, *(each.type for each in self.entries if each.window)])
            locks = [keys.window(self.account.name, self.user_id, each) for each in types]
            self.windows[entry.type] = marks.Window(self.known.read(locks, consistent=False), entry.window)
        return self.windows[entry.type]

    @cached_property
    def _event_keys(self) -> list[Key]:
        return [entry.event_key for entry in self.entries if entry.own_id]

    # --- As actions -------------------------------------------------------------------------------

    def plan(self) -> bool:
        """Make the steps of the run. Return False if items were read, so the run has to be decided again."""
        created = list(self.created.values())
        planned = self._of_user(created)
        if planned and planned.too_large:
            self._refuse([created[place] for place in sorted(planned.too_large)])
            return False
        items: dict[Entry, Item] = {}
        for place, entry in enumerate(created):
            warnings = (*self.changes[place].warnings, *(planned.warnings[place] if planned else ()))
            is_first = self.creates and place == 0
            outcome, item = events.creation(entry, warnings, user_created=is_first)
            self.outcomes[entry], items[entry] = outcome, item
            self.steps.append(_Step("event", Put(entry.event_key, item, Free(entry.received_at)), entry))
            if entry.key:
                self.steps.append(_Step("key", replies.remember(entry, entry.key, outcome), entry))
            if entry.once_key:
                self.steps.append(_Step("once", marks.mark(entry, entry.once_key), entry))
        windows = [window for window in self.windows.values() if window.accepted]
        self.steps += [_Step("window", window.action(), window.accepted[0]) for window in windows]
        self.steps += [_Step(role, action) for role, action in self._user_actions(planned).items()] if created else []
        for entry, first in self.repeats:
            self.outcomes[entry] = events.duplicate(entry, items[first])
        return True

    def _user_actions(self, planned: profiles.Plan | None) -> Mapping[str, Action]:
        action = planned.action if planned else None
        if self.creates:
            item = action.changes.applied(self.new_item) if isinstance(action, Update) else self.new_item
            chosen_id = self.entries[0].request.user.id is not None
            return profiles.creation(self.account, self.user_id, item, chosen_id=chosen_id)
        actions: dict[str, Action] = {"user": action} if action else {}
        return actions | ({"email": profiles.claim(self.account, self.claimed, self.user_id)} if self.claimed else {})

    def _of_user(self, created: Sequence[Entry]) -> profiles.Plan | None:
        """Return the plan for the user's profile. None: the events need neither a change nor a check of it."""
        if not any(entry.touches_user for entry in created):
            return None
        late = any(map(self._is_late, created, self.changes))
        seen = self.known.eventual_profile(self.user_id) if late else self.known.profiles.get(self.user_id)
        plan = partial(profiles.plan, keys.profile(self.account.name, self.user_id), self.changes, self.claimed)
        return plan(seen) or plan(self.known.profile(self.user_id))

    def _is_late(self, entry: Entry, change: Change) -> bool:
        """Return whether the profile has probably changed since the event, so a write without a read would fail."""
        is_late = entry.happened_at + TOLERANCE < entry.received_at
        if entry.window:
            is_late = self.windows[entry.type].is_late
        return is_late and bool(change) and len(change.attributes) <= profiles.MAX_PATHS  # a change of more reads it

    def _refuse(self, too_large_ones: Sequence[Entry]) -> None:
        """Refuse events whose changes do not fit, if it is known which earlier events are repeats.

        After a refused event with a restriction, later events are decided again.
        """
        once = [each.once_key for each in self.entries if each.once_key]
        answers = [each.reply_key for each in self.entries if each.reply_key]
        self.known.has_read = self.user_id not in self.known.profiles
        self.known.profile(self.user_id)
        for wanted in ([*once, *answers], self._event_keys):  # events last: a request stores both together
            for key in wanted:
                self.known.read([key, *wanted])
        if self.known.has_read:
            return
        for entry in too_large_ones:
            self.refused[entry] = too_large("user")
            if entry.restriction:
                return


def _decide(account: Account, known: Known, entries: Sequence[Entry]) -> _Run:
    """Return a decided run of the events, or of the first of them. Read items until all that it needs are known."""
    refused: dict[Entry, Refused] = {}
    while True:
        known.has_read = False
        run = _Run(account, known, entries, refused)
        for entry in entries:
            try:
                run.decide(entry)
            except Exception as error:  # noqa: BLE001 the next run decides this event again
                if entry is entries[0] and not isinstance(error, RunEnds):  # the error is the outcome of this event
                    run.outcomes[entry] = Failed.by(error)
                    return run
                break
            if known.has_read:
                break
        if not known.has_read and run.plan():
            return run


# --- Write ----------------------------------------------------------------------------------------


class Writer:
    """Writes the events of a lane, run by run."""

    def __init__(self, account: Account, now: datetime) -> None:
        self.account, self.known = account, Known(account, now)
        self.limit = MAX_ACTIONS  # of events in a run
        self.failed_together = 0  # the number of next events that failed together: an unknown one of them caused it

    def write(self, entries: Sequence[Entry]) -> Iterator[float]:
        """Settle at least the first of some events of one user. Yield seconds to wait. Raise what fails them."""
        if self.known.ahead:
            self.known.use_read_ahead()
        together = [entry for entry in entries if not entry.is_plain]
        if together:
            yield from self._write(together[: (self.failed_together + 1) // 2 or self.limit])
        else:
            entries[0].outcome = self._put(entries[0])

    def _put(self, entry: Entry) -> Outcome:
        """Store an event without a check of the user. If the user was erased since the look-up, a sweep deletes it."""
        outcome, item = events.creation(entry, entry.change(entry.email).warnings)
        if not entry.own_id:
            self.account.table.write_one(Put(entry.event_key, item), field="event")
            return outcome
        put = Put(entry.event_key, item, Free(entry.received_at))
        found = self.known.get(put.key) or self.account.table.write_one(put, field="event")
        if found is None or events.is_of(entry, found):
            self.known.items[put.key] = item
            return outcome
        return events.duplicate(entry, found)

    def _write(self, entries: Sequence[Entry]) -> Iterator[float]:
        was_throttled, pauses = False, backoff()
        while True:
            try:
                run = _decide(self.account, self.known, entries)
                entries = [entry for entry in entries if entry in run.outcomes]
                actions = [step.action for step in run.steps]
                reasons = self.account.table.try_write(actions) if actions else None
            except Unavailable as refused:
                return self._refuse(entries, refused)
            except UserChanged:
                raise
            except Exception as error:  # noqa: BLE001 the handler logs its cause
                if len(entries) == 1:
                    size = len(canonical(entries[0].type, entries[0].payload))
                    by_size = too_large("event" if size > MAX_ITEM_BYTES / 2 else "user")
                    return self._refuse(entries, by_size if isinstance(error, TooLarge) else Failed.by(error))
                entries, self.failed_together = entries[: len(entries) // 2], len(entries)
                continue
            failed = [(run.steps[place], item) for place, item in reasons.failed.items()] if reasons else []
            if reasons is None or _is_done(failed):
                return self._settle(run)
            if _is_erased(failed):
                return self._refuse(entries, Conflict([ERASED_USER]))
            self._keep_existing(run, failed)
            throttled = {place: code for place, code in reasons.busy.items() if code != CONFLICT}
            if reasons.too_large or (throttled and was_throttled):
                blamed = {run.steps[place].entry for place in (*reasons.too_large, *throttled)}
                first = next((place for place, entry in enumerate(entries) if entry in blamed), None)
                if len(entries) == 1 or (first is None and throttled):
                    by_size = too_large("user" if first is None else "event")
                    by_traffic = unavailable(next(iter(throttled.values()), ""))
                    return self._refuse(entries, by_size if reasons.too_large else by_traffic)
                self.failed_together = len(entries) if first is None else first + 1
                entries = entries[: len(entries) // 2 if first is None else max(first, 1)]
            was_throttled = was_throttled or bool(throttled)
            if reasons.busy:
                yield next(pauses)

    def _settle(self, run: _Run) -> None:
        if run.steps:
            self.known.forget(step.action for step in run.steps)
        self.known.ranges.clear()
        self.failed_together = max(0, self.failed_together - len(run.outcomes))
        self.limit = min(2 * self.limit, MAX_ACTIONS)
        for entry, outcome in run.outcomes.items():
            entry.outcome = outcome
            if entry.key and isinstance(outcome, Outcome) and not (outcome.status == "created" or outcome.replayed):
                entry.outcome = replies.settle(entry, outcome)

    def _refuse(self, entries: Sequence[Entry], refused: Refused) -> None:
        """Settle events as refused. Each time the next runs become smaller."""
        self.failed_together, self.limit = 0, max(1, self.limit // 4)
        for entry in entries:
            entry.outcome = refused

    def _keep_existing(self, run: _Run, failed: Sequence[tuple[_Step, Item]]) -> None:
        """Keep the items that failed conditions returned. Raise UserChanged if the user has to be looked up again."""
        self.known.forget_absent_events()
        for (role, action, _), item in failed:
            self.known.items[action.key] = item
            if role == "window":
                self.known.ranges.clear()
            elif role == "user":
                seen = profiles.profile_of(run.user_id, item)
                if seen is None or isinstance(action, Put) or (seen.email and run.claimed):
                    raise UserChanged
                self.known.profiles[run.user_id] = seen
            elif role == "email":
                raise UserChanged


def _is_done(failed: Sequence[tuple[_Step, Item]]) -> bool:
    """Return whether an earlier attempt, whose response was lost, has done the transaction."""
    return any(step.entry and item and step.role == "event" and events.is_of(step.entry, item) for step, item in failed)


def _is_erased(failed: Sequence[tuple[_Step, Item]]) -> bool:
    """Return whether the new user has an id that was erased or is being erased."""
    return any(
        role == "erased" or (role == "user" and isinstance(action, Put) and "erasedAt" in item)
        for (role, action, _), item in failed
    )
