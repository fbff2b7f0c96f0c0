"""Events as they are stored, and reading them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from secrets import token_hex
from typing import Any

from domain.ids import time_of
from domain.outcomes import First, IdempotencyKey, Outcome
from domain.problems import OTHER_EVENT, Notice, Unavailable
from domain.profile import NO_CHANGE, Change
from domain.restrictions import Restriction
from domain.times import iso
from table import Account, keys
from table.expressions import Item
from table.values import digest_of, to_item


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """`uuid` is what stands for the event in its sort key."""

    id: str
    uuid: str
    type: str
    payload: dict[str, Any]
    happened_at: datetime
    received_on: str | None
    imported: bool
    warnings: tuple[Notice, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An event that is to be stored, and all that changes with it.

    `own_id` and `own_time`: the caller's, not ours. `nonce` tells an earlier try of this very write from an earlier
    request.
    """

    user_id: str
    event_id: str
    happened_at: datetime
    received_at: datetime
    type: str
    payload: dict[str, Any]
    restriction: Restriction | None = None
    once_value: str | None = None
    window: timedelta | None = None
    seen_lock: Item | None = None
    """Of an event that does not come behind all others of its window: the lock that must still be as it was seen."""
    change: Change = NO_CHANGE
    claims_email: str | None = None
    own_id: bool = False
    own_time: bool = False
    imported: bool = False
    key: IdempotencyKey | None = None
    replaces: Item | None = None
    """An answer under the key that does not count any more, because its user was erased."""
    nonce: str = field(default_factory=lambda: token_hex(8))

    @property
    def uuid(self) -> str:
        return keys.event_uuid(self.user_id, self.event_id, self.happened_at)

    @property
    def touches_user(self) -> bool:
        return bool(self.change or self.claims_email or self.restriction)


def item_of(account: Account, entry: Entry, warnings: Sequence[Notice]) -> Item:
    """The event's item. What 1.0 did not know is there only where it says more than its absence."""
    uuid = entry.uuid
    item: Item = {
        **keys.event(account.name, entry.user_id, uuid),
        "type": entry.type,
        "payload": entry.payload,
    }
    if entry.own_time:
        item["receivedOn"] = iso(entry.received_at)
    if entry.imported:
        item["imported"] = True
    if entry.own_id:
        item["nonce"] = entry.nonce
    if warnings:
        item |= kept(warnings)
    if uuid != entry.event_id:
        item["id"] = entry.event_id
    if entry.once_value is not None:  # so that an erasure finds the mark
        item["onceValue"] = entry.once_value
    if entry.key:  # so that an erasure finds the key's item, which names the user
        item["idempotencyKey"] = entry.key.key_hash
    return item


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
    """Return the attributes that keep warnings. 1.1 reads `warnings`, whose entries it takes for all that there is of
    one, so their codes are a list of their own. 1.1 stored none, and only with events whose ids were the caller's.
    """
    listed = list(warnings)
    texts = [{"field": warning.field, "message": warning.message} for warning in listed]
    return {"warnings": texts} | ({"warningCodes": [warning.code for warning in listed]} if listed else {})


def warnings_in(item: Item) -> tuple[Notice, ...]:
    texts = item.get("warnings", ())
    codes = item.get("warningCodes") or [""] * len(texts)
    return tuple(Notice(**text, code=code) for text, code in zip(texts, codes, strict=True))


def created(entry: Entry, warnings: Iterable[Notice] = ()) -> Outcome:
    return Outcome(status="created", event_id=entry.event_id, user_id=entry.user_id, warnings=tuple(warnings))


def is_of(entry: Entry, item: Item) -> bool:
    """Whether the event that is stored is this one, by an earlier try of its write. Ids of ours are given once."""
    return not entry.own_id or item.get("nonce") == entry.nonce


def duplicate(entry: Entry, item: Item) -> Outcome:
    """The answer to an event whose time and id are those of a stored one."""
    event = stored_event(item)
    same = digest_of(event.type, event.payload) == digest_of(entry.type, entry.payload)
    return Outcome(
        status="duplicate",
        event_id=entry.event_id,
        user_id=entry.user_id,
        warnings=event.warnings if same else (*event.warnings, OTHER_EVENT),
        created_on=iso(event.happened_at),
        same_payload=same,
    )


def first_of(event: StoredEvent, entry: Entry) -> First:
    """The stored event as the reason for which this one is discarded."""
    same = digest_of(event.type, event.payload) == digest_of(entry.type, entry.payload)
    return First(event.id, iso(event.happened_at), same, event.uuid)


def find(account: Account, user_id: str, uuid: str) -> Item | None:
    return account.table.get(keys.event(account.name, user_id, uuid))


def find_all(account: Account, wanted: Sequence[tuple[str, str]]) -> list[Item | Unavailable | None]:
    """The events of pairs of user id and UUID, as they were a moment ago, in one call, for half the units."""
    if not wanted:
        return []
    return account.table.get_all([keys.event(account.name, *each) for each in wanted], consistent=False)


def timeline(
    account: Account,
    user_id: str,
    limit: int,
    before: str | None = None,
    event_type: str | None = None,
    within: tuple[datetime | None, datetime | None] = (None, None),
) -> tuple[list[StoredEvent], str | None]:
    """Return events older than `before`, newest first, at most `limit` of them, and the UUID to pass as `before` for
    the next page (None after the last). `within` are the first moment and the end, which is not included. A page may
    be short, because DynamoDB reads 1 MB at a time, but only the last one has no next.
    """
    first, last = keys.events_within(*within)
    start = keys.event(account.name, user_id, before) if before else None
    if start and start["sk"] < first:
        return [], None
    parameters: dict[str, Any] = {
        "KeyConditionExpression": "pk = :pk AND sk BETWEEN :first AND :last",
        "ExpressionAttributeValues": to_item({":pk": keys.user(account.name, user_id), ":first": first, ":last": last}),
        "ScanIndexForward": False,
        "ConsistentRead": True,
    }
    if event_type:
        parameters["FilterExpression"] = "#type = :type"
        parameters["ExpressionAttributeNames"] = {"#type": "type"}
        parameters["ExpressionAttributeValues"][":type"] = {"S": event_type}
    else:
        parameters["Limit"] = limit + 1
    if start and start["sk"] < last:  # DynamoDB refuses to start outside of the range
        parameters["ExclusiveStartKey"] = to_item(start)
    items, after = account.table.query(**parameters)
    events = [stored_event(item) for item in items]
    if len(events) > limit:
        return events[:limit], events[limit - 1].uuid
    return events, keys.uuid_of(after) if after else None
