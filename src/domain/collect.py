"""POST /v1/event/ as a use case: what comes of one event. Reads top to bottom."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from domain.email import normal_email
from domain.events import Confirmation, EmailOpen, Login, ParsedEvent, Update
from domain.idempotency import Answer, IdempotencyKey
from domain.ids import is_id, milliseconds_of, new_id
from domain.problems import (
    IDENTIFIERS_DISAGREE,
    STORE_UNAVAILABLE,
    UNKNOWN_EMAIL,
    UNKNOWN_ID,
    Invalid,
    NotFound,
    Unavailable,
    Warning,
)
from domain.profile import NO_CHANGE, Change, change_attributes, change_by_email_open, change_by_purchase, merge
from domain.request import EventRequest, UserReference
from domain.restrictions import Restriction, is_bot
from domain.store import Entry, Store

ATTEMPTS = 5  # each further one means that somebody else changed the user or the address in between


@dataclass(frozen=True, slots=True)
class User:
    """Who somebody is, as far as an event needs to know."""

    id: str
    email: str | None


def collect(request: EventRequest, store: Store, now: datetime, key: IdempotencyKey | None = None) -> Answer:
    """Stores the event, or discards it by a rule of section 4; the answer says which.

    Raises NotFound and Invalid for the user, KeyReused, and what `Table` raises. Nothing is stored then.
    """
    event_id = new_id(now)
    for _ in range(ATTEMPTS):
        user = find_user(request.user, store)
        outcome = _known_restriction(request, user, store, now, key) or _add(request, user, event_id, store, now, key)
        if isinstance(outcome, Answer):
            return outcome
        if outcome:
            discarded = Answer(event_id, user.id, discarded=outcome.value)
            return store.remember(key, discarded, now) if key else discarded
    raise Unavailable([STORE_UNAVAILABLE])


def find_user(reference: UserReference, store: Store) -> User:
    """The user that email, _id or both name. Raises NotFound, and Invalid when the two disagree."""
    if reference.email:
        user_id = store.user_id_of(reference.email)
        if user_id is None:
            raise NotFound([UNKNOWN_EMAIL])
        if reference.id not in (None, user_id):
            raise Invalid([IDENTIFIERS_DISAGREE])
        return User(user_id, reference.email)
    profile = store.profile(reference.id) if reference.id and is_id(reference.id) else None
    if profile is None:
        raise NotFound([UNKNOWN_ID])
    return User(profile.id, profile.email)


def _known_restriction(
    request: EventRequest, user: User, store: Store, now: datetime, key: IdempotencyKey | None
) -> Restriction | None:
    """What keeps the event out for sure, found without a write. Whether it gets in, the write decides."""
    if is_bot(request.user.user_agent):
        return Restriction.BOT
    # Under an idempotency key this may be the repeat of the open that opened the window.
    may_ask = isinstance(request.event.model, EmailOpen) and key is None
    if may_ask and milliseconds_of(now) < store.email_open_until(user.id):
        return Restriction.EMAIL_OPEN_IN_WINDOW
    return None


def _add(
    request: EventRequest, named: User, event_id: str, store: Store, now: datetime, key: IdempotencyKey | None
) -> Answer | Restriction | None:
    """Stores the event if its conditions hold; see Store.add."""
    user, claims_email, login_warnings = _who_logs_in(request.event, named, store)
    change, warnings = _change(request, user, now)
    model = request.event.model
    entry = Entry(
        answer=Answer(event_id, user.id, warnings=(*login_warnings, *warnings)),
        type=request.event.type,
        payload=request.event.payload,
        change=change,
        order_id=model.order_id if isinstance(model, Confirmation) else None,
        opens_email=isinstance(model, EmailOpen),
        claims_email=claims_email,
        idempotency_key=key,
    )
    return store.add(entry, now)


def _who_logs_in(event: ParsedEvent, user: User, store: Store) -> tuple[User, str | None, list[Warning]]:
    """The table of section 5: whose event this is, the address that user claims with it, and a warning."""
    email = normal_email(event.model.email) if isinstance(event.model, Login) else None
    if email is None or email == user.email:
        return user, None, []
    if user.email:
        return user, None, [Warning("event.login.email", "The user has another email. The identity stays as it is.")]
    owner_id = store.user_id_of(email)
    return (User(owner_id, email), None, []) if owner_id else (user, email, [])


def _change(request: EventRequest, user: User, now: datetime) -> tuple[Change, list[Warning]]:
    """What happens to the user's profile."""
    of_user, _ = change_attributes(request.user.attributes, user.email, "user.")
    of_event, warnings = _change_by_event(request.event, user, now)
    return merge([of_user, of_event]), warnings


def _change_by_event(event: ParsedEvent, user: User, now: datetime) -> tuple[Change, list[Warning]]:
    match event.model:
        case Update():
            return change_attributes(event.payload, user.email, "event.update.")
        case Login():
            attributes: Mapping[str, Any] = {name: value for name, value in event.payload.items() if name != "email"}
            return change_attributes(attributes, user.email, "event.login.")
        case Confirmation() as order:
            return change_by_purchase(order.total, now, was_sent="total" in order.model_fields_set)
        case EmailOpen():
            return change_by_email_open(now), []
        case _:
            return NO_CHANGE, []
