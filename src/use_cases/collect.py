"""POST /v1/event/ and /v1/events/ as a use case: what comes of events. Reads top to bottom.

Events are settled in turns. A turn takes all events that do not depend on one before them, so a single event is one
turn, and nearly every batch is. The steps of a turn are: name the users → decide → write. So a batch means what its
events would have meant, sent one after the other.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import TypeVar

from domain.ids import is_id
from domain.outcomes import IdempotencyKey, Outcome
from domain.problems import (
    ID_OF_NOBODY,
    IDENTIFIERS_DISAGREE,
    UNKNOWN_EMAIL,
    UNKNOWN_ID,
    Failed,
    Invalid,
    NotFound,
    Refused,
    Unavailable,
    email_ignored,
    unavailable,
)
from domain.profile import TOLERANCE_MS, Change, Profile, change_attributes, merge
from domain.request import EventRequest, UserReference
from domain.restrictions import BOT, is_bot
from domain.times import milliseconds_of
from table import Account, marks, profiles
from table.events import Entry, duplicate, find, find_all
from table.keys import event_uuid
from table.replies import discard
from table.write import LookAgain, Settled, store

ATTEMPTS = 5  # each further one means that somebody else changed the user or the address in between
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class User:
    """Who somebody is, as far as an event needs to know. `profile` is there if it was read."""

    id: str
    email: str | None
    profile: Profile | None = None


@dataclass
class _Event:
    """An event on its way. It has an outcome when it is settled, and waits for another turn as long as it has none."""

    request: EventRequest
    user: User | None = None
    entry: Entry | None = None
    outcome: Settled | None = None
    attempts: int = 0

    @cached_property
    def subjects(self) -> tuple[set[str], set[str]]:
        return _subjects(self.request)

    @cached_property
    def may_change_profile(self) -> bool:
        return _may_change_profile(self.request)

    @property
    def has_order(self) -> bool:
        """Whether it may overtake no other of its user that has one: changes, and events that keep a distance."""
        return self.may_change_profile or self.request.event.window is not None


def collect_one(
    request: EventRequest, account: Account, received_at: datetime, key: IdempotencyKey | None = None
) -> Outcome:
    """Stores the event, or discards it by a rule. Raises Refused, and whatever else went wrong."""
    [outcome] = collect([request], account, received_at, key)
    if isinstance(outcome, Refused):
        raise outcome.__cause__ if isinstance(outcome, Failed) and outcome.__cause__ else outcome
    return outcome


def collect(
    requests: Sequence[EventRequest | Refused],
    account: Account,
    received_at: datetime,
    key: IdempotencyKey | None = None,
) -> list[Outcome | Refused]:
    """What comes of each event, in their order. What is refused already stays so."""
    events = {place: _Event(request) for place, request in enumerate(requests) if isinstance(request, EventRequest)}
    waiting = list(events.values())
    failed: set[str] = set()  # ids and emails of users of whom a change has failed
    while waiting:
        is_first = len(waiting) == len(events)
        _take_turn(_independent(waiting), account, received_at, key, failed)
        waiting = _open(waiting)
        if is_first and len(waiting) > 1:
            with suppress(Exception):  # whatever it is, the turns will meet it too
                _settle_repeats(waiting, account, received_at)
            waiting = _open(waiting)
    return [
        request if isinstance(request, Refused) else _result(events[place]) for place, request in enumerate(requests)
    ]


def _take_turn(
    turn: Sequence[_Event], account: Account, now: datetime, key: IdempotencyKey | None, failed: set[str]
) -> None:
    for event in turn:
        event.user = event.entry = event.outcome = None
    try:
        _name_users(turn, account)
        _decide(turn, account, now, key)
        _write(turn, account, failed)
    except Unavailable as refused:
        for event in _open(turn):
            event.outcome = refused
    except Exception as error:  # noqa: BLE001 whatever one event meets harms no other; the handler logs it
        if len(turn) == 1:
            turn[0].outcome = Failed.by(error)
        else:
            for event in _open(turn):
                _take_turn([event], account, now, key, failed)
    _look_again(turn)
    _hold_back(turn, failed)


def _settle_repeats(waiting: Sequence[_Event], account: Account, now: datetime) -> None:
    """A batch of many turns may run out of time, and is sent again then. What was stored is settled here in one look;
    otherwise it would take its turns and their time again, and the rest of the batch never had any.
    """
    for event, found in zip(waiting, find_users([event.request.user for event in waiting], account), strict=True):
        event.user = found if isinstance(found, User) else None
    # A login of somebody who has no address yet never came in as theirs: it would have brought them one.
    of_users = [(event, event.user.id) for event in waiting if event.user and not _claimed(event)]
    logins = [(event, email) for event in waiting if (email := _other_email(event)) and not event.request.user.email]
    owners, _ = profiles.look_up(account, [email for _, email in logins], [])
    of_users += [(event, owner) for event, email in logins if isinstance(owner := owners[email], str)]
    stored = find_all(account, [(user_id, _uuid(event.request, user_id)) for event, user_id in of_users])
    for (event, user_id), item in zip(of_users, stored, strict=True):
        if isinstance(item, dict):
            event.user = User(user_id, None)
            event.outcome = duplicate(_entry(event, now, None), item)


def _look_again(turn: Sequence[_Event]) -> None:
    for event in turn:
        if isinstance(event.outcome, LookAgain):
            event.attempts += 1
            event.outcome = unavailable("UserChanged") if event.attempts == ATTEMPTS else None


def _result(event: _Event) -> Outcome | Refused:
    assert isinstance(event.outcome, Outcome | Refused)
    return event.outcome


def _open(events: Sequence[_Event]) -> list[_Event]:
    return [event for event in events if event.outcome is None]


# --- Which events go together ---------------------------------------------------------------------


def _independent(waiting: list[_Event]) -> list[_Event]:
    """The events whose outcome does not depend on one before them, as far as the events themselves tell."""
    if len(waiting) == 1:
        return waiting
    turn: list[_Event] = []
    used: set[str] = set()
    claimed: set[str] = set()
    one_in_order_waits = False
    for event in waiting:
        own, named = event.subjects
        if used & own or claimed & (own | named) or (event.has_order and one_in_order_waits):
            one_in_order_waits = one_in_order_waits or event.has_order
        else:
            turn.append(event)
        used |= own | named
        claimed |= own
    return turn


def _subjects(request: EventRequest) -> tuple[set[str], set[str]]:
    """What an event needs for itself, and what it names, which no event before it may have for itself."""
    event, user = request.event, request.user
    own = {f"event {request.event_id}"} if request.own_id else set()
    if event.once_value is not None:
        own.add(f"once {event.type} {event.once_value}")
    email = event.model.claims()
    if email and user.id:
        own |= {f"user {user.id}", f"user {email}"}
    return own, {f"user {name}" for name in (user.id, user.email) if name}


def _may_change_profile(request: EventRequest) -> bool:
    event = request.event
    change = event.model.changes(event.payload, None, request.happened_at)
    return bool(request.user.attributes or change or event.model.claims())


# --- Name the users -------------------------------------------------------------------------------


def _name_users(turn: Sequence[_Event], account: Account) -> None:
    for event, found in zip(turn, find_users([event.request.user for event in turn], account), strict=True):
        if isinstance(found, User):
            event.user = found
        else:
            event.outcome = found


def find_users(references: Sequence[UserReference], account: Account) -> list[User | Refused]:
    """The user that email, _id or both name; NotFound, or Invalid when the two disagree."""
    emails = [reference.email for reference in references if reference.email]
    ids = [reference.id for reference in references if not reference.email and reference.id and is_id(reference.id)]
    owners, read = profiles.look_up(account, emails, ids)

    def find(reference: UserReference) -> User | Refused:
        if reference.email:
            user_id = owners[reference.email]
            if isinstance(user_id, Unavailable):
                return user_id
            if user_id is None:
                return NotFound([UNKNOWN_EMAIL])
            if reference.id not in (None, user_id):
                return _disagreement(reference, account)
            return User(user_id, reference.email)
        profile = read.get(str(reference.id))
        if isinstance(profile, Unavailable):
            return profile
        return User(profile.id, profile.email, profile) if profile else NotFound([UNKNOWN_ID])

    return [find(reference) for reference in references]


def _disagreement(reference: UserReference, account: Account) -> Invalid:
    other = profiles.read(account, reference.id) if reference.id and is_id(reference.id) else None
    return Invalid([IDENTIFIERS_DISAGREE if other else ID_OF_NOBODY])


# --- Decide ---------------------------------------------------------------------------------------


def _decide(turn: Sequence[_Event], account: Account, now: datetime, key: IdempotencyKey | None) -> None:
    """What is to be stored of each event, and what changes with it. Settles what is known not to come in."""
    _let_log_in(turn, account)
    for event in _open(turn):
        event.entry = _entry(event, now, key)
        if is_bot(event.request.user.user_agent):
            event.outcome = _settled(discard, account, event.entry, BOT)
    _let_wait(turn)
    _keep_distance(turn, account)
    _glance_at_profiles(turn, account)


def _let_log_in(turn: Sequence[_Event], account: Account) -> None:
    """Section 5: a user without an email who logs in with that of another user is replaced by that user.

    The user may have got an email since; a repeat of such a login is still that of the other user's event.
    """
    logins = [(event, email) for event in _open(turn) if (email := _other_email(event))]
    owners, _ = profiles.look_up(account, [email for _, email in logins], [])
    for event, email in logins:
        owner = owners[email]
        if isinstance(owner, Unavailable):
            event.outcome = owner
        elif owner and (_claimed(event) or _is_repeat(event.request, account, owner)):
            event.user = User(owner, email)


def _other_email(event: _Event) -> str | None:
    """The address that a user logs in with who has another one, or none."""
    email = event.request.event.model.claims()
    return email if event.user and event.user.email != email else None


def _is_repeat(request: EventRequest, account: Account, user_id: str) -> bool:
    """Whether it is the user's event already. Who is named by email was never without one, so it is no repeat."""
    if request.user.email or not request.own_id:
        return False
    return find(account, user_id, _uuid(request, user_id)) is not None


def _uuid(request: EventRequest, user_id: str) -> str:
    return event_uuid(user_id, request.event_id, request.happened_at)


def _claimed(event: _Event) -> str | None:
    """The address that an anonymous user logs in with."""
    return event.request.event.model.claims() if event.user and event.user.email is None else None


def _entry(event: _Event, now: datetime, key: IdempotencyKey | None) -> Entry:
    request, user, parsed = event.request, event.user, event.request.event
    assert user
    return Entry(
        user_id=user.id,
        event_id=request.event_id,
        happened_at=request.happened_at,
        received_at=now,
        type=parsed.type,
        payload=parsed.payload,
        restriction=parsed.model.restriction,
        once_value=parsed.once_value,
        window=parsed.window,
        change=_change(request, user),
        claims_email=_claimed(event),
        own_id=request.own_id,
        own_time=request.own_time,
        imported=request.imported,
        key=key,
    )


def _change(request: EventRequest, user: User) -> Change:
    """What happens to the user's profile."""
    sent, model = request.user.attributes, request.event.model
    changes = [model.changes(request.event.payload, user.email, request.happened_at)]
    if sent:
        changes.insert(0, change_attributes(sent, user.email, "user.", milliseconds_of(request.happened_at)))
    is_other = user.email and model.claims() not in (None, user.email)
    warnings = (*request.warnings, *([email_ignored("event.login.email")] if is_other else []))
    if warnings:
        changes.insert(0, Change(warnings=warnings))
    return merge(changes) if len(changes) > 1 else changes[0]


def _let_wait(turn: Sequence[_Event]) -> None:
    """Only one event of a user and type that keeps a distance in each turn; what has an order waits behind another."""
    keeping: set[tuple[str, str]] = set()
    waiting: set[str] = set()
    for event in _open(turn):
        assert event.entry
        user_id, kind = event.entry.user_id, (event.entry.user_id, event.entry.type)
        if (event.entry.window and kind in keeping) or (event.has_order and user_id in waiting):
            waiting.add(user_id)
            event.entry = None
        elif event.entry.window:
            keeping.add(kind)


def _keep_distance(turn: Sequence[_Event], account: Account) -> None:
    """How events of types that keep a distance come in."""
    keeping = [event for event in _open(turn) if event.entry and event.entry.window]
    locks = marks.locks(account, [(event.entry.user_id, event.entry.type) for event in keeping if event.entry])
    for event, lock in zip(keeping, locks, strict=True):
        admitted = lock if isinstance(lock, Unavailable) else _settled(marks.admit, account, event.entry, lock)
        if isinstance(admitted, Entry):
            event.entry = admitted
        else:
            event.outcome = admitted


def _glance_at_profiles(turn: Sequence[_Event], account: Account) -> None:
    """Of events from the past. A profile has probably changed since, and a write that does not know how is in vain."""
    late = [event for event in _open(turn) if event.entry and event.entry.change and _needs_glance(event.entry)]
    unseen = {event.user.id for event in late if event.user and not event.user.profile}
    seen = profiles.glance(account, sorted(unseen))
    for event in late:
        if event.user and event.user.id in seen:
            event.user = replace(event.user, profile=seen[event.user.id])


def _needs_glance(entry: Entry) -> bool:
    if len(entry.change.attributes) > profiles.MAX_PATHS:  # it reads the profile anyway
        return False
    if entry.window:
        return entry.seen_lock is not None
    return milliseconds_of(entry.happened_at) + TOLERANCE_MS < milliseconds_of(entry.received_at)


# --- Write ----------------------------------------------------------------------------------------


def _write(turn: Sequence[_Event], account: Account, failed: set[str]) -> None:
    _hold_back(turn, failed)
    ready = [event for event in _open(turn) if event.entry]
    seen = {event.user.id: event.user.profile for event in ready if event.user and event.user.profile}
    outcomes = store(account, [event.entry for event in ready if event.entry], seen)
    for event, outcome in zip(ready, outcomes, strict=True):
        event.outcome = outcome


def _hold_back(turn: Sequence[_Event], failed: set[str]) -> None:
    """Keeps changes in order: after one that failed, the later ones of the same user fail too, and those for an address
    that a login would have claimed. `failed` are the ids and addresses of those users.
    """
    for event in turn:
        names = _names(event)
        if isinstance(event.outcome, Unavailable | Failed) and event.may_change_profile:
            failed |= names
        elif not names & failed:
            continue
        elif isinstance(event.outcome, NotFound) or (event.outcome is None and _changes_user(event.entry)):
            event.outcome = unavailable("EarlierChangeFailed")


def _changes_user(entry: Entry | None) -> bool:
    return entry is not None and entry.touches_user


def _names(event: _Event) -> set[str]:
    """The ids and addresses of whom the event is about, or may be: that of a login may be another user's."""
    request, user = event.request, event.user
    names = {request.user.id, request.user.email}
    if user is None or user.email is None:
        names.add(request.event.model.claims())
    if user:
        names |= {user.id, user.email}
    return {name for name in names if name}


def _settled(work: Callable[..., T], *arguments: object) -> T | Refused:
    """What the work gives; its refusal is the outcome of one event, and harms no other."""
    try:
        return work(*arguments)
    except Refused as refused:
        return refused
