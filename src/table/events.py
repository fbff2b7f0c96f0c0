"""Stored events, and events that are to be stored."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property, partial
from secrets import token_hex
from typing import Any, NamedTuple

from domain.ids import time_of
from domain.outcomes import First, IdempotencyKey, Outcome, Status, StoredEvent
from domain.problems import OTHER_EVENT, Notice, Refused
from domain.profile import Change
from domain.request import EventRequest
from domain.restrictions import is_bot
from domain.times import iso, seconds_of
from table import Account
from table import primary_keys as keys
from table.attribute_values import Document, digest_of
from table.expressions import Item, has_ended


@dataclass(eq=False)
class Entry:
    """An event that is to be stored: the request, its user, and its outcome when it is settled.

    `nonce` distinguishes an earlier attempt of the same write from an earlier request. `replaces` is a stored reply
    that this one replaces, because the reply's user was erased.
    """

    request: EventRequest
    account: Account
    received_at: datetime
    key: IdempotencyKey | None = None
    user_id: str = ""
    email: str | None = None
    outcome: Outcome | Refused | None = None
    is_new: bool = False  # the user does not exist yet
    creates: bool = False  # the user is created with this event, or with the next one of the run if it is discarded
    claimed: str | None = None  # the email that the event would give to a user without one
    touches_user: bool = False
    is_plain: bool = False  # the event is the only item that is written
    replaces: Item | None = None

    def __post_init__(self) -> None:
        self.nonce = token_hex(8)
        request, event = self.request, self.request.event
        self.id, self.happened_at, self.own_id = request.event_id, request.happened_at, request.own_id
        self.type, self.restriction = event.type, event.model.restriction
        self.window, self.once_value = event.window, event.once_value
        name, once = self.account.name, self.once_value
        self.once_key = None if once is None else keys.once(name, self.type, once)
        self.reply_key = keys.idempotency(name, self.key.key_hash) if self.key else None
        self.claims = None if request.user.email else event.claims
        self.payload = Document(event.payload)
        self._changes: dict[str | None, Change] = {}

    def of_user(self, user_id: str, email: str | None, is_new: bool = False, *, is_first: bool) -> None:
        """Set the user of the event, and whether it is the first event of its run."""
        if user_id != self.user_id:
            self.uuid = self.uuid_of(user_id)
            self.event_key = keys.event(self.account.name, user_id, self.uuid)
        self.user_id, self.email, self.is_new, self.creates = user_id, email, is_new, is_new and is_first
        self.claimed = self.claims if email is None else None
        self.touches_user = not self.is_of_bot and bool(self.restriction or self.claimed or self.change(email))
        self.is_plain = not (self.touches_user or self.key or self.is_of_bot or self.creates)

    def uuid_of(self, user_id: str) -> str:
        """Return the UUID of the sort key that the event would have as an event of this user."""
        return keys.event_uuid(user_id, self.id, self.happened_at) if self.own_id else self.id

    def change(self, email: str | None) -> Change:
        """Return the change that the event makes to its user, who has this email then."""
        if email not in self._changes:
            self._changes = {email: self.request.change(email)}
        return self._changes[email]

    @cached_property
    def is_of_bot(self) -> bool:
        agent = self.request.user.user_agent
        return bool(agent) and is_bot(agent)

    @cached_property
    def is_ordered(self) -> bool:
        """Return whether the order of the event matters: it changes the profile or has a restriction."""
        change = self.restriction or self.claims or self.change(self.request.user.email)
        return bool(change and not self.is_of_bot)

    @cached_property
    def digest(self) -> str:
        return digest_of(self.type, self.payload)

    def settled(self, status: Status, **details: Any) -> Outcome:
        return Outcome(status=status, event_id=self.id, user_id=self.user_id, **details)


def end_of(entry: Entry, name: str = "expiresAt") -> Item:
    """Return the attribute that says when the event ends, in seconds; {} if it does not."""
    days = timedelta(days=entry.account.event_days)
    return {name: seconds_of(max(entry.happened_at, entry.received_at) + days)} if days else {}


def creation(entry: Entry, warnings: Iterable[Notice], *, user_created: bool = False) -> tuple[Outcome, Item]:
    """Return the outcome and the item of an event that is created. Attributes that 1.0 did not have are optional."""
    outcome = entry.settled("created", warnings=tuple(warnings), user_created=user_created)
    optional = {
        "receivedOn": entry.request.own_time and iso(entry.received_at),
        "imported": entry.request.imported,
        "nonce": entry.own_id and entry.nonce,
        "id": entry.uuid != entry.id and entry.id,
        "userCreated": user_created,  # so that a repeat gets the response of the first request
        "onceValue": entry.once_value,  # so that an erasure finds the mark
        "idempotencyKey": entry.key and entry.key.key_hash,  # so that it finds the reply, which has the user id
    }
    item: Item = {**entry.event_key._asdict(), "type": entry.type, "payload": entry.payload, **end_of(entry)}
    item |= {name: value for name, value in optional.items() if value}
    return outcome, item | kept(outcome.warnings) if outcome.warnings else item


def stored_event(item: Item) -> StoredEvent:
    uuid = keys.uuid_of(item)
    return StoredEvent(
        id=item.get("id", uuid),
        uuid=uuid,
        type=item["type"],
        payload=item["payload"],
        happened_at=time_of(uuid),
        received_on=item.get("receivedOn"),
        imported=item.get("imported", False),
        warnings=warnings_in(item),
    )


def kept(warnings: Iterable[Notice]) -> Item:
    """Return the attributes for warnings. Codes are a separate list, because 1.1 reads the entries of `warnings`."""
    listed = list(warnings)
    texts = [{"field": warning.field, "message": warning.message} for warning in listed]
    return {"warnings": texts} | ({"warningCodes": [warning.code for warning in listed]} if listed else {})


def warnings_in(item: Item) -> tuple[Notice, ...]:
    texts = item.get("warnings", ())
    codes = item.get("warningCodes") or [""] * len(texts)
    return tuple(Notice(**text, code=code) for text, code in zip(texts, codes, strict=True))


def is_of(entry: Entry, item: Item) -> bool:
    """Return whether an earlier attempt of this write stored the item. An id that we made is used only once."""
    return not entry.own_id or item.get("nonce") == entry.nonce


def duplicate(entry: Entry, item: Item) -> Outcome:
    """Return the outcome of an event that has the same time and id as a stored event."""
    event = stored_event(item)
    same = digest_of(event.type, event.payload) == entry.digest
    return entry.settled(
        "duplicate",
        warnings=event.warnings if same else (*event.warnings, OTHER_EVENT),
        created_on=iso(event.happened_at),
        same_payload=same,
        user_created=item.get("userCreated", False),
    )


def first_of(event: StoredEvent | Entry, entry: Entry) -> First:
    """Return an event as the reason for which `entry` is discarded."""
    digest = event.digest if isinstance(event, Entry) else digest_of(event.type, event.payload)
    return First(event.id, iso(event.happened_at), digest == entry.digest, event.uuid)


def find(account: Account, user_id: str, uuid: str, now: datetime) -> Item | None:
    found = account.table.get(keys.event(account.name, user_id, uuid))
    return None if found is None or has_ended(found, now) else found


class Wanted(NamedTuple):
    """The part of a timeline that a caller asks for."""

    limit: int
    before: str | None = None  # the UUID of the event before which the page starts
    type: str | None = None
    within: tuple[datetime | None, datetime | None] = (None, None)  # the first moment, and the end, which is excluded


def timeline(account: Account, user_id: str, wanted: Wanted, now: datetime) -> tuple[list[StoredEvent], str | None]:
    """Return a page of a user's events, newest first, and the `before` of the next page (None: it was the last page).

    A page can have fewer than `limit` events, because DynamoDB reads at most 1 MB in a query. Events that have ended
    are skipped: if the first query returns any, a second one reads up to 1 MB.
    """
    first, last = keys.events_within(*wanted.within)
    start = keys.event(account.name, user_id, wanted.before) if wanted.before else None
    if start and start.sk < first:
        return [], None
    options: dict[str, Any] = {"ScanIndexForward": False}
    if wanted.type:
        options |= {"FilterExpression": "#type = :type", "ExpressionAttributeNames": {"#type": "type"}}
        options["values"] = {":type": wanted.type}
    else:
        options["Limit"] = wanted.limit + 1
    if start and start.sk < last:  # DynamoDB refuses to start outside of the range
        options["ExclusiveStartKey"] = start._asdict()
    query = partial(account.table.query, keys.user(account.name, user_id), (first, last))
    items, after = query(**options)
    if after and any(has_ended(item, now) for item in items):
        options.pop("Limit", None)
        more, after = query(**options | {"ExclusiveStartKey": after})
        items += more
    events = [stored_event(item) for item in items if not has_ended(item, now)]
    if len(events) > wanted.limit:
        return events[: wanted.limit], events[wanted.limit - 1].uuid
    return events, keys.uuid_of(after) if after else None
