"""The write path: how events come in.

Theory of operation. Everything that an event changes is written by one call, so there is never half of an event.
Rules are conditions of that call. What was read before only chooses how to write; it never decides. An event is up to
six actions:

    event    the event, under a key made of its time and id     if nothing is there
    key      the answer to give again under an Idempotency-Key  if none of the last 24 hours is there
    once     the mark of a value that comes once                if nothing is there
    window   the lock of a type that keeps a distance           if it has ended, or is as it was seen
    user     what changes in the profile                        if the user exists, and is as it was taken to be
    email    the address that a login claims                    if it is nobody's

An event that is one action is a PutItem, which costs one write unit; if we made its id, nothing can be there, and it
has no condition. The others go into transactions of at most 100 actions: the events of a user with one change of the
profile, then those of the next user. A transaction that is not done tells for each action what stood in the way:

    event    our own, by an earlier try whose answer was lost: created.    Another: a duplicate
    key      the answer is given again
    once     discarded, because of the event that put the mark
    window   discarded, or the distance is judged anew by the lock that is there
    user     a newer profile: the change is planned anew with it.          No user, or email: LookAgain

What is settled leaves the transaction, and the rest is tried again at once. An item that is too large, or that others
write to at the same time, is kept apart from the rest, so that no event harms another. When the time is up, what is
not settled is Unavailable; it can be sent again, because its own event is what it would meet.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from domain.outcomes import Outcome
from domain.problems import Failed, Notice, Refused, TooLarge, Unavailable, too_large, unavailable
from domain.profile import Profile
from table import Account, events, keys, marks, profiles, replies
from table.calls import CONFLICT, MAX_ACTIONS, Reasons, backoff
from table.events import Entry
from table.expressions import IS_NEW, Action, Check, Item, Put
from table.values import size_of

MAX_ITEM_BYTES = 400 * 1024
MAX_TRANSACTION_BYTES = 3_000_000  # DynamoDB takes 4 MB, the profiles that are there among them
THREADS = 8


class LookAgain(Exception):
    """The user is not who was looked up any more: erased, or identified, or the address was claimed."""


Settled = Outcome | Refused | LookAgain


def store(account: Account, entries: Sequence[Entry], seen: Mapping[str, Profile]) -> list[Settled]:
    """Stores each event, and all that changes with it, if its conditions hold; what came of each, in their order.

    The changes of one user's profile are made in the order of the entries. `seen` are profiles that were read, by
    user id.
    """
    settled: dict[int, Settled] = {}
    alone = [index for index, entry in enumerate(entries) if not (entry.touches_user or entry.key)]
    outcomes = _side_by_side([partial(_put, account, entries[index]) for index in alone])
    settled |= zip(alone, outcomes, strict=True)
    groups = list(_groups([(index, entry) for index, entry in enumerate(entries) if index not in settled], seen))
    pauses = backoff()
    while groups:
        pack, groups = _packed(groups)
        places = {group.user_id: tuple(group.entries) for group in pack}
        again = _write(account, pack, settled)
        groups = [*again, *_still_in_order(places, groups, settled)]
        if any(group.was_disturbed for group in again):
            time.sleep(next(pauses))
    return [settled[index] for index in range(len(entries))]


def _still_in_order(
    done: Mapping[str, Sequence[int]], groups: Sequence["_Group"], settled: dict[int, Settled]
) -> list["_Group"]:
    """The groups that may follow. Those of a user whose earlier change was not made are settled like that one."""
    stopped: dict[str, Settled] = {}
    for user_id, places in done.items():
        for outcome in (settled.get(place) for place in places):
            if isinstance(outcome, Unavailable | Failed):
                stopped[user_id] = unavailable("EarlierChangeFailed")
            elif isinstance(outcome, LookAgain):
                stopped.setdefault(user_id, outcome)
    for group in groups:
        if group.user_id in stopped:
            settled |= dict.fromkeys(group.entries, stopped[group.user_id])
    return [group for group in groups if group.user_id not in stopped]


# --- One action -----------------------------------------------------------------------------------


def _put(account: Account, entry: Entry) -> Outcome:
    """The id of a user is never used again: should the user be erased between the look-up and this, the event lies
    where nobody can see it, and the erasure's last sweep takes it.
    """
    warnings = entry.change.warnings
    action = Put(events.item_of(account, entry, warnings), IS_NEW if entry.own_id else None)
    found = account.table.put(action, blame="event")
    return _by_event(account, entry, found, warnings) if found is not None else events.created(entry, warnings)


def _by_event(account: Account, entry: Entry, found: Item, warnings: Iterable[Notice]) -> Outcome:
    if events.is_of(entry, found):
        return events.created(entry, warnings)
    return replies.settle(account, entry, events.duplicate(entry, found))


def _side_by_side(works: Sequence[Callable[[], Outcome]]) -> list[Outcome | Refused]:
    """What each gives or is refused with. One alone raises an error of ours as it is."""
    if len(works) <= 1:
        return [_refusal_or(work) for work in works]
    from concurrent.futures import ThreadPoolExecutor  # only for batches

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(_anything_or, works))


def _refusal_or(work: Callable[[], Outcome]) -> Outcome | Refused:
    try:
        return work()
    except Refused as refused:
        return refused


def _anything_or(work: Callable[[], Outcome]) -> Outcome | Refused:
    try:
        return _refusal_or(work)
    except Exception as error:  # noqa: BLE001 one event's error harms no other; the handler logs its cause
        return Failed.by(error)


# --- Transactions ---------------------------------------------------------------------------------


@dataclass(slots=True)
class _Group:
    """Events of one user that are written together, by their place in the list."""

    user_id: str
    entries: dict[int, Entry]
    seen: Profile | None
    is_apart: bool = False
    """From the events of other users: something of this group stood in the way."""
    was_disturbed: bool = False

    @property
    def claims_email(self) -> str | None:
        return next((entry.claims_email for entry in self.entries.values() if entry.claims_email), None)

    @property
    def size(self) -> int:
        return sum(size_of(entry.payload) for entry in self.entries.values())

    @property
    def most_actions(self) -> int:
        return 1 + bool(self.claims_email) + sum(_actions_of(entry) for entry in self.entries.values())

    def split(self) -> "Iterator[_Group]":
        """A group for each event, apart from all others."""
        for index, entry in self.entries.items():
            yield _Group(self.user_id, {index: entry}, self.seen, is_apart=True)


def _actions_of(entry: Entry) -> int:
    """Without the user's, which its group has once."""
    return 1 + bool(entry.key) + (entry.once_value is not None) + bool(entry.window)


@dataclass(frozen=True, slots=True)
class _Step:
    """An action of a transaction: what it is for, of which group, and of which event (None for the user's)."""

    action: Action
    role: str
    group: _Group
    index: int | None = None


def _groups(entries: Iterable[tuple[int, Entry]], seen: Mapping[str, Profile]) -> Iterator[_Group]:
    """The events of each user in groups that fit into a transaction."""
    open_groups: dict[str, _Group] = {}
    for index, entry in entries:
        group = open_groups.get(entry.user_id)
        if group and (group.most_actions + _actions_of(entry) > MAX_ACTIONS or group.size > MAX_TRANSACTION_BYTES / 2):
            yield open_groups.pop(entry.user_id)
            group = None
        if group is None:
            group = open_groups[entry.user_id] = _Group(entry.user_id, {}, seen.get(entry.user_id))
        group.entries[index] = entry
    yield from open_groups.values()


def _packed(groups: Sequence[_Group]) -> tuple[list[_Group], list[_Group]]:
    """The groups of the next transaction, at most one of a user, and the groups that are left."""
    pack, left = [groups[0]], []
    actions, size = groups[0].most_actions, 0 if len(groups) == 1 else groups[0].size
    users = {groups[0].user_id}
    for group in groups[1:]:
        fits = not (groups[0].is_apart or group.is_apart or group.user_id in users)
        if fits and actions + group.most_actions <= MAX_ACTIONS and size + group.size <= MAX_TRANSACTION_BYTES:
            pack.append(group)
            actions, size = actions + group.most_actions, size + group.size
        else:
            left.append(group)
        users.add(group.user_id)
    return pack, left


def _write(account: Account, pack: list[_Group], settled: dict[int, Settled]) -> list[_Group]:
    """One transaction. Adds to `settled`; returns the groups that are to be tried again."""
    try:
        steps, warnings = _steps(account, pack, settled)
        reasons = account.table.try_write([step.action for step in steps]) if steps else None
    except Unavailable as refused:
        settled |= {index: refused for group in pack for index in group.entries}
        return []
    except Exception as error:  # noqa: BLE001 the events are tried one by one, and the error is told of the one to blame
        return _apart(pack, error, settled)
    if reasons is None:
        for group in pack:
            settled |= {index: events.created(entry, warnings[index]) for index, entry in group.entries.items()}
        return []
    return [left for group in pack for left in _read_reasons(account, group, steps, reasons, warnings, settled)]


def _steps(
    account: Account, pack: list[_Group], settled: dict[int, Settled]
) -> tuple[list[_Step], dict[int, tuple[Notice, ...]]]:
    """The actions of a transaction, and the warnings of each of its events."""
    steps: list[_Step] = []
    warnings: dict[int, tuple[Notice, ...]] = {}
    for group in pack:
        user = _user_step(account, group, warnings, settled)
        for index, entry in group.entries.items():
            created = events.created(entry, warnings[index])
            steps.append(_Step(Put(events.item_of(account, entry, warnings[index]), IS_NEW), "event", group, index))
            if entry.key:
                steps.append(_Step(replies.remember(account, entry, entry.key, created), "key", group, index))
            if entry.once_value is not None:
                steps.append(_Step(marks.mark(account, entry, entry.once_value), "once", group, index))
            if entry.window:
                steps.append(_Step(marks.lock(account, entry, entry.window), "window", group, index))
        if user:
            steps.append(user)
        if group.claims_email:
            claim = profiles.claim(account, group.claims_email, group.user_id)
            steps.append(_Step(claim, "email", group))
    return steps, warnings


def _user_step(
    account: Account, group: _Group, warnings: dict[int, tuple[Notice, ...]], settled: dict[int, Settled]
) -> _Step | None:
    """What the events of a group change of the user. An event whose attributes do not fit is settled, and leaves the
    group.
    """
    while group.entries:
        changes = [entry.change for entry in group.entries.values()]
        warnings |= {index: entry.change.warnings for index, entry in group.entries.items()}
        if not (any(changes) or group.claims_email):
            restricted = any(entry.restriction for entry in group.entries.values())
            check = Check(keys.profile(account.name, group.user_id), profiles.EXISTS)
            return _Step(check, "user", group) if restricted else None
        plan = profiles.plan(account, group.user_id, changes, claims_email=group.claims_email, seen=group.seen)
        places = list(group.entries)
        if not plan.too_large:
            warnings |= {
                index: (*group.entries[index].change.warnings, *more)
                for index, more in zip(places, plan.warnings, strict=True)
            }
            return _Step(plan.action, "user", group)
        for place in plan.too_large:
            settled[places[place]] = _too_large_for_user(account, group.entries.pop(places[place]))
        _keep_order(group, [places[place] for place in plan.too_large], settled)
    return None


def _too_large_for_user(account: Account, entry: Entry) -> Outcome | Refused:
    """A repeat of what was stored while there was room for it changes nothing, and gets the answer of a repeat."""
    try:
        return replies.earlier(account, entry) or TooLarge([too_large("user")])
    except Refused as refused:
        return refused


def _apart(pack: list[_Group], error: Exception, settled: dict[int, Settled]) -> list[_Group]:
    """Of what cannot be written together, and does not say why: each event by itself, until one is left to blame."""
    if len(pack) > 1 or len(pack[0].entries) > 1:
        return [each for group in pack for each in group.split()]
    [(index, entry)] = pack[0].entries.items()
    if isinstance(error, TooLarge):
        settled[index] = TooLarge([too_large(_larger_part(entry))])
    else:
        settled[index] = Failed.by(error)
    return []


def _larger_part(entry: Entry) -> str:
    return "event" if size_of(entry.payload) > MAX_ITEM_BYTES / 2 else "user"


def _read_reasons(
    account: Account,
    group: _Group,
    steps: Sequence[_Step],
    reasons: Reasons,
    warnings: Mapping[int, tuple[Notice, ...]],
    settled: dict[int, Settled],
) -> list[_Group]:
    """Settles what a group's failed conditions tell; returns what is left of it."""
    own = [(place, step) for place, step in enumerate(steps) if step.group is group]
    places = list(group.entries)
    found = {(step.role, step.index): reasons.failed[place] for place, step in own if place in reasons.failed}
    for index, entry in list(group.entries.items()):
        outcome: Outcome | Entry | Refused
        try:
            outcome = _by_reasons(account, entry, index, found, warnings[index])
        except Refused as refused:
            outcome = refused
        if isinstance(outcome, Entry):
            group.entries[index] = outcome
        else:
            settled[index] = outcome
            del group.entries[index]
    _keep_order(group, places, settled)
    if not group.entries:
        return []
    if ("user", None) in found:
        group.seen = profiles.profile_of(group.user_id, found["user", None])
    is_gone = ("user", None) in found and (group.seen is None or (group.claims_email and group.seen.email))
    if is_gone or ("email", None) in found:
        settled |= {index: LookAgain() for index in group.entries}
        return []
    return _by_hindrance(group, own, reasons, settled)


def _keep_order(group: _Group, places: Iterable[int], settled: dict[int, Settled]) -> None:
    """What is left of a group behind a place where it was just found to have failed is settled like it."""
    failed = [place for place in places if isinstance(settled.get(place), Unavailable | Failed)]
    for place in [place for place in group.entries if failed and place > min(failed)]:
        settled[place] = unavailable("EarlierChangeFailed")
        del group.entries[place]


def _by_reasons(
    account: Account,
    entry: Entry,
    index: int,
    found: Mapping[tuple[str, int | None], Item],
    warnings: tuple[Notice, ...],
) -> Outcome | Entry:
    """What came of an event by what its conditions met; the entry as it is to be tried again, if that does not settle
    it.
    """
    if ("event", index) in found:
        return _by_event(account, entry, found["event", index], warnings)
    if ("key", index) in found and entry.key:
        return replies.replayed(account, entry, entry.key, found["key", index])
    if ("once", index) in found and entry.restriction:
        first = marks.first_by_mark(entry, found["once", index])
        return replies.discard(account, entry, entry.restriction, first)
    if ("window", index) in found:
        return marks.admit(account, entry, found["window", index])
    return entry


def _by_hindrance(
    group: _Group, own: Sequence[tuple[int, _Step]], reasons: Reasons, settled: dict[int, Settled]
) -> list[_Group]:
    """What is left of a group whose items are too large, or that others write to at the same time."""
    too_large_roles = {step.role for place, step in own if place in reasons.too_large}
    if too_large_roles:
        if len(group.entries) > 1:
            return list(group.split())
        blame = "event" if "event" in too_large_roles else "user"
        settled |= dict.fromkeys(group.entries, TooLarge([too_large(blame)]))
        return []
    codes = [reasons.busy[place] for place, _ in own if place in reasons.busy]
    throttled = [code for code in codes if code != CONFLICT]
    if throttled and group.is_apart and len(group.entries) > 1:
        return list(group.split())
    if throttled and group.is_apart:
        settled |= dict.fromkeys(group.entries, unavailable(throttled[0]))
        return []
    group.is_apart = group.is_apart or bool(codes)
    group.was_disturbed = bool(codes)
    return [group]
