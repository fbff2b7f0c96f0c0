"""The write path: decide and store the events of one user.

One call writes everything that an event changes, so an event is stored completely or not at all. The rules are
conditions of that call. Items that were read before it decide what to write, and the conditions verify them. An event
has up to six actions:

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

If a condition fails, the transaction returns the existing item, and the run is decided again, until the time is up. If
an action is too large or throttled, the run is cut before its event. If the event is unknown, the run is halved until
one event is left.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property, partial
from typing import NamedTuple, TypeVar

from domain.backoff import backoff
from domain.outcomes import First, Outcome, StoredEvent
from domain.problems import ERASED_USER, Conflict, Failed, Refused, TooLarge, Unavailable, too_large, unavailable
from domain.profile import TOLERANCE, Change
from domain.restrictions import BOT
from table import Account, events, marks, profiles, replies
from table import primary_keys as keys
from table.calls import CONFLICT, MAX_ACTIONS, Reasons
from table.events import Entry
from table.expressions import IS_NEW, Action, Item, Put, Update
from table.known import Known, UserChanged
from table.primary_keys import Key, key_of

T = TypeVar("T")
MAX_ITEM_BYTES = 400 * 1024
MAX_QUERIES = 8  # in a run, so that there is time to write it


class _RunEnds(Exception):
    """The run ends before this event, which is part of the next run."""


# --- Decide ---------------------------------------------------------------------------------------


class _Step(NamedTuple):
    """An action of a transaction, and its event. The actions of the user and the email belong to all events."""

    role: str
    action: Action
    entry: Entry | None = None


@dataclass(frozen=True, slots=True)
class _Plan:
    """The outcomes of a run, and the steps that write it. The outcomes are final when the steps are done."""

    outcomes: dict[Entry, Outcome | Refused]
    steps: list[_Step] = field(default_factory=list)


class _Run:
    """Decides the events of one user, one after the other."""

    def __init__(self, account: Account, known: Known, entries: Sequence[Entry], refused: dict[Entry, Refused]) -> None:
        self.account, self.known, self.entries, self.refused = account, known, entries, refused
        self.user_id, self.email = entries[0].user_id, entries[0].email
        self.creates = entries[0].creates
        self.claimed: str | None = None
        self.actions = 3 if self.creates else 2  # the user's and the address's, and the check of the id
        if self.creates:
            self.claimed = self.email
            self.new_item = profiles.new_item(account, self.user_id, self.email, entries[0].received_at)
            blank = profiles.profile_of(self.user_id, self.new_item)
            assert blank
            known.profiles[self.user_id] = blank
        self.outcomes: dict[Entry, Outcome | Refused] = {}
        self.created: dict[str, Entry] = {}
        """The events to store, by UUID."""
        self.changes: list[Change] = []
        self.repeats: list[tuple[Entry, Entry]] = []
        """Events that repeat an event of the same run, each with that event."""
        self.values: dict[tuple[str, str], Entry] = {}
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
        found = self.known.get(self._event_key(entry)) if entry.own_id else None
        if found:
            return events.created(entry) if events.is_of(entry, found) else events.duplicate(entry, found)
        kept = self.known.get(keys.idempotency(self.account.name, entry.key.key_hash)) if entry.key else None
        if not entry.key or not kept:
            return None
        return replies.replayed(self.account, entry, entry.key, kept)

    def _by_restriction(self, entry: Entry) -> Outcome | None:
        """Return the outcome if a restriction applies: duplicate if the event is stored, otherwise discarded."""
        restriction, first = (BOT, None) if entry.is_of_bot else (entry.restriction, self._first(entry))
        if restriction is None or not (first or entry.is_of_bot):
            return None
        if entry.own_id:
            self.known.read([self._event_key(entry), *self._event_keys])
            if found := self.known.get(self._event_key(entry)):
                return events.duplicate(entry, found)
        discarded = events.discarded(entry, restriction, first)
        return replace(discarded, user_id="") if self.creates and not self.created else discarded

    def _first(self, entry: Entry) -> First | None:
        """Return the event for which a restriction discards this one, if there is one."""
        if entry.once_value is not None:
            if other := self.values.get((entry.type, entry.once_value)):
                return other.first_for(entry)
            mark = self._mark(entry)
            return self._first_by_mark(entry, mark) if mark else None
        return self._window(entry).too_close(entry, self._timeline) if entry.window else None

    def _mark(self, entry: Entry) -> Item | None:
        """Return what is known of the mark of an event that comes once."""
        value = entry.once_value
        return None if value is None else self.known.get(keys.once(self.account.name, entry.type, value))

    def _first_by_mark(self, entry: Entry, mark: Item) -> First:
        """Return the event of a mark. Read it if the mark does not describe it, with those of the run's other marks."""
        if not marks.describes(mark):
            marked = [each for each in map(self._mark, self.entries) if each and not marks.describes(each)]
            wanted = [keys.event(self.account.name, entry.user_id, each["uuid"]) for each in (mark, *marked)]
            self.known.read(wanted)
            if found := self.known.get(wanted[0]):
                return events.first_of(events.stored_event(found), entry)
        return marks.first_by_mark(entry, mark)

    def _accept(self, entry: Entry) -> None:
        change = entry.change(self.email)
        self.actions += 1 + bool(entry.key) + (entry.once_value is not None)
        self.actions += bool(entry.window and not self._window(entry).accepted)
        if self.actions > MAX_ACTIONS:
            raise _RunEnds
        self.created[entry.uuid] = entry
        self.changes.append(change)
        if entry.once_value is not None:
            self.values[entry.type, entry.once_value] = entry
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

    def _timeline(self, first: datetime, last: datetime) -> Iterable[StoredEvent]:
        """Return the events of a range of the user's timeline.

        If the range is unknown, read it together with the overlapping ranges of the run's other events, and return
        nothing: the run is decided again. Before a second range, read which events of the run are stored already.
        """
        for begin, end, found in self.known.ranges:
            if begin <= first and last <= end:
                return map(events.stored_event, found)
        if self.known.ranges and self._event_keys:
            self.known.read(self._event_keys)
            if self.known.has_read:
                return []
        if len(self.known.ranges) == MAX_QUERIES:
            raise _RunEnds
        windowed = [each for each in self.entries if each.window]
        reach, moments = (last - first) / 2, sorted(each.happened_at for each in windowed)
        for moment in (*moments, *reversed(moments)):
            if first - reach <= moment <= last + reach:
                first, last = min(first, moment - reach), max(last, moment + reach)
        items = self.account.table.partition(
            keys.user(self.account.name, self.user_id), keys.events_between(first, last)
        )
        types, ours = {each.type for each in windowed}, set(self._event_keys)
        wanted = [item for item in items if item["type"] in types or key_of(item) in ours]
        found = [item for item in wanted if not self.known.has_ended(item)]
        self.known.ranges.append((first, last, found))
        self.known.items |= {key_of(item): item for item in found if key_of(item) in ours}
        self.known.has_read = True
        return []

    def _event_key(self, entry: Entry) -> Key:
        return keys.event(self.account.name, entry.user_id, entry.uuid)

    @cached_property
    def _event_keys(self) -> list[Key]:
        return [self._event_key(entry) for entry in self.entries if entry.own_id]

    # --- As actions -------------------------------------------------------------------------------

    def plan(self) -> _Plan | None:
        """Return the plan of the run. None: items were read, so the run has to be decided again."""
        created, account = list(self.created.values()), self.account
        planned = self._of_user(created)
        if planned and planned.too_large:
            self._refuse([created[place] for place in sorted(planned.too_large)])
            return None
        steps: list[_Step] = []
        items: dict[Entry, Item] = {}
        for place, entry in enumerate(created):
            more = planned.warnings[place] if planned else ()
            is_first = self.creates and place == 0
            outcome = events.created(entry, (*self.changes[place].warnings, *more), user_created=is_first)
            self.outcomes[entry] = outcome
            put = events.put(account, entry, outcome.warnings, user_created=is_first)
            items[entry] = put.item
            steps.append(_Step("event", put, entry))
            if entry.key:
                steps.append(_Step("key", replies.remember(account, entry, entry.key, outcome), entry))
            if entry.once_value is not None:
                steps.append(_Step("once", marks.mark(account, entry, entry.once_value), entry))
        windows = [window for window in self.windows.values() if window.accepted]
        steps += [_Step("window", window.action(account), window.accepted[0]) for window in windows]
        if self.creates:
            steps += self._creation(planned) if created else []
        elif planned:
            steps.append(_Step("user", planned.action))
        if self.claimed and created:
            steps.append(_Step("email", profiles.claim(account, self.claimed, self.user_id)))
        for entry, first in self.repeats:
            self.outcomes[entry] = events.duplicate(entry, items[first])
        return _Plan(self.outcomes, steps)

    def _creation(self, planned: profiles.Plan | None) -> Iterator[_Step]:
        change = planned.action if planned else None
        item = change.changes.applied(self.new_item) if isinstance(change, Update) else self.new_item
        yield _Step("user", Put(item, IS_NEW))
        if self.entries[0].request.user.id:
            yield _Step("erased", profiles.was_never_erased(self.account, self.user_id))

    def _of_user(self, created: Sequence[Entry]) -> profiles.Plan | None:
        """Return the plan for the user's profile. None: the events need neither a change nor a check of it."""
        if not any(entry.touches_user for entry in created):
            return None
        late = any(map(self._is_late, created, self.changes))
        seen = self.known.eventual_profile(self.user_id) if late else self.known.profiles.get(self.user_id)
        plan = partial(profiles.plan, self.account, self.user_id, self.changes, claims_email=self.claimed)
        return plan(seen=seen) or plan(seen=self.known.profile(self.user_id))

    def _is_late(self, entry: Entry, change: Change) -> bool:
        """Return whether the profile has probably changed since the event, so a write without a read would fail."""
        if not change or len(change.attributes) > profiles.MAX_PATHS:  # it is read anyway
            return False
        if entry.window:
            return self.windows[entry.type].is_late
        return entry.happened_at + TOLERANCE < entry.received_at

    def _refuse(self, too_large_ones: Sequence[Entry]) -> None:
        """Refuse events whose changes do not fit, if it is known which earlier events are repeats.

        After a refused event with a restriction, later events are decided again.
        """
        values = [(entry.type, entry.once_value) for entry in self.entries if entry.once_value is not None]
        once = [keys.once(self.account.name, *each) for each in values]
        answers = [keys.idempotency(self.account.name, entry.key.key_hash) for entry in self.entries if entry.key]
        self.known.has_read = self.user_id in self.known.maybe_stale
        self.known.profile(self.user_id)
        for wanted in ([*once, *answers], self._event_keys):  # events last: a request stores both together
            for key in wanted:
                self.known.read([key, *wanted])
        if self.known.has_read:
            return
        for entry in too_large_ones:
            self.refused[entry] = TooLarge([too_large("user")])
            if entry.restriction:
                return


def _decide(account: Account, known: Known, entries: Sequence[Entry]) -> _Plan:
    """Return the plan for a run, or for its first events. Read items until all that it needs are known."""
    refused: dict[Entry, Refused] = {}
    while True:
        known.has_read = False
        run = _Run(account, known, entries, refused)
        for place, entry in enumerate(entries):
            try:
                run.decide(entry)
            except _RunEnds:
                break
            except Exception as error:
                if isinstance(error, UserChanged):
                    raise
                if place == 0:  # the error is the outcome of this event
                    return _Plan({entry: error if isinstance(error, Refused) else Failed.by(error)})
                break
            if known.has_read:
                break
        if not known.has_read and (plan := run.plan()):
            return plan


# --- Write ----------------------------------------------------------------------------------------


class Writer:
    """Writes the events of a lane, run by run."""

    def __init__(self, account: Account, now: datetime) -> None:
        self.account, self.known = account, Known(account, now)
        self.limit = MAX_ACTIONS  # of events in a run
        self.failed_together = 0
        """The number of next events that failed together: an unknown one of them caused it."""
        self.ahead: dict[Key, Item | Unavailable] = {}
        """Items that another thread read for this lane. The lane uses them in its next run."""

    def write(self, entries: Sequence[Entry]) -> Iterator[float]:
        """Settle at least the first of some events of one user. Yield seconds to wait. Raise UserChanged."""
        if self.ahead:
            self._use_read_ahead()
        together = [entry for entry in entries if not entry.is_plain]
        if together:
            yield from self._write(together[: (self.failed_together + 1) // 2 or self.limit])
        else:
            entries[0].outcome = guarded(partial(self._put, entries[0]))

    def _use_read_ahead(self) -> None:
        """Replace the known items by those that were read ahead, except for stored events.

        A known mark can be newer than the items read ahead: its event is stored, but absent from them.
        """
        ahead, self.ahead = self.ahead, {}
        there = {each: item for each, item in self.known.items.items() if item and each.sk.startswith(keys.EVENT)}
        self.known.items = ahead | there

    def _put(self, entry: Entry) -> Outcome:
        """Store a single event without a check of the user.

        If the user was erased after the look-up, the event is not visible, and the erasure's last sweep deletes it.
        """
        warnings = entry.change(entry.email).warnings
        action = events.put(self.account, entry, warnings)
        if not entry.own_id:
            self.account.table.put(Put(action.item), field="event")
            return events.created(entry, warnings)
        found = self.known.get(action.key) or self.account.table.put(action, field="event")
        if found is None or events.is_of(entry, found):
            self.known.items[action.key] = action.item
            return events.created(entry, warnings)
        return events.duplicate(entry, found)

    def _write(self, run: Sequence[Entry]) -> Iterator[float]:
        was_throttled, pauses = False, backoff()
        while True:
            try:
                plan = _decide(self.account, self.known, run)
                run = [entry for entry in run if entry in plan.outcomes]
                actions = [step.action for step in plan.steps]
                reasons = self.account.table.try_write(actions) if actions else None
            except Unavailable as refused:
                return self._refuse(run, refused)
            except UserChanged:
                raise
            except Exception as error:  # noqa: BLE001 the handler logs its cause
                if len(run) == 1:
                    by_size = TooLarge([too_large(_larger_part(run[0]))])
                    return self._refuse(run, by_size if isinstance(error, TooLarge) else Failed.by(error))
                run, self.failed_together = run[: len(run) // 2], len(run)
                continue
            if reasons is None or _is_done(plan, reasons):
                return self._settle(plan)
            if _is_erased(plan, reasons):
                return self._refuse(run, Conflict([ERASED_USER]))
            self._keep_existing(plan, reasons)
            throttled = {place: code for place, code in reasons.busy.items() if code != CONFLICT}
            if reasons.too_large or (throttled and was_throttled):
                blamed = {plan.steps[place].entry for place in (*reasons.too_large, *throttled)}
                first = next((place for place, entry in enumerate(run) if entry in blamed), None)
                if len(run) == 1 or (first is None and throttled):
                    by_size = TooLarge([too_large("user" if first is None else "event")])
                    by_traffic = unavailable(next(iter(throttled.values()), ""))
                    return self._refuse(run, by_size if reasons.too_large else by_traffic)
                self.failed_together = len(run) if first is None else first + 1
                run = run[: len(run) // 2 if first is None else max(first, 1)]
            was_throttled = was_throttled or bool(throttled)
            if reasons.busy:
                yield next(pauses)

    def _settle(self, plan: _Plan) -> None:
        if plan.steps:
            self.known.forget(step.action for step in plan.steps)
        self.known.ranges.clear()
        self.failed_together = max(0, self.failed_together - len(plan.outcomes))
        self.limit = min(2 * self.limit, MAX_ACTIONS)
        for entry, outcome in plan.outcomes.items():
            entry.outcome = outcome
            if entry.key and isinstance(outcome, Outcome) and not (outcome.status == "created" or outcome.replayed):
                entry.outcome = guarded(partial(replies.settle, self.account, entry, outcome))

    def _refuse(self, run: Sequence[Entry], refused: Refused) -> None:
        """Settle a run as refused. Each time the next runs become smaller."""
        self.failed_together, self.limit = 0, max(1, self.limit // 4)
        for entry in run:
            entry.outcome = refused

    def _keep_existing(self, plan: _Plan, reasons: Reasons) -> None:
        """Keep the items that failed conditions returned. Raise UserChanged if the user has to be looked up again."""
        self.known.forget_absent_events()
        for place, item in reasons.failed.items():
            role, action, _ = plan.steps[place]
            self.known.items[action.key] = item
            if role == "window":
                self.known.ranges.clear()
            elif role == "user":
                user_id = next(iter(plan.outcomes)).user_id
                seen = profiles.profile_of(user_id, item)
                if seen is None or isinstance(action, Put):
                    raise UserChanged
                if seen.email and any(step.role == "email" for step in plan.steps):
                    raise UserChanged
                self.known.profiles[user_id] = seen
                self.known.maybe_stale.discard(user_id)
            elif role == "email":
                raise UserChanged


def _is_done(plan: _Plan, reasons: Reasons) -> bool:
    """Return whether an earlier attempt, whose response was lost, has done this transaction."""
    met = [(plan.steps[place], item) for place, item in reasons.failed.items()]
    return any(step.entry and item and step.role == "event" and events.is_of(step.entry, item) for step, item in met)


def _is_erased(plan: _Plan, reasons: Reasons) -> bool:
    """Return whether the new user has an id that was erased or is being erased."""
    met = [(plan.steps[place], item) for place, item in reasons.failed.items()]
    is_new = any(step.role == "user" and isinstance(step.action, Put) for step in plan.steps)
    return any(step.role == "erased" or (is_new and step.role == "user" and "erasedAt" in item) for step, item in met)


def guarded(work: Callable[[], T]) -> T | Refused:
    """Return the result of `work`, or the Refused that it raises. Another exception becomes Failed."""
    try:
        return work()
    except Refused as refused:
        return refused
    except Exception as error:  # noqa: BLE001 the handler logs its cause
        return Failed.by(error)


def _larger_part(entry: Entry) -> str:
    return "event" if entry.size > MAX_ITEM_BYTES / 2 else "user"


def read_ahead(account: Account, waiting: Sequence[tuple[Writer, Entry, Sequence[str]]]) -> None:
    """Read with few calls which of the waiting events are stored or will be discarded.

    Each event comes with the ids of its possible users. Without this, a batch that is sent again after it
    ran out of time would spend the time on such events, and could run out of time again.
    """
    marked: list[tuple[Writer, Key]] = []
    stored: list[tuple[Writer, Key]] = []
    for writer, entry, user_ids in waiting:
        if entry.once_value is not None:
            marked.append((writer, keys.once(account.name, entry.type, entry.once_value)))
        for user_id in user_ids:
            if entry.window:
                marked.append((writer, keys.window(account.name, user_id, entry.type)))
            if entry.own_id:
                stored.append((writer, keys.event(account.name, user_id, entry.uuid_of(user_id))))
    ahead: dict[Writer, dict[Key, Item | Unavailable]] = {writer: {} for writer, _, _ in waiting}
    for wanted in (marked, stored):  # events last: a request stores both together
        for (writer, key), item in zip(wanted, account.table.get_all([key for _, key in wanted]), strict=True):
            if not isinstance(item, Unavailable):
                ahead[writer][key] = item or {}
    for writer, items in ahead.items():
        writer.ahead = items
