"""Responses that are returned again for an Idempotency-Key: contract, section 7.

One transaction writes the item of a key and the event. An erasure finds the item through the event. So for a discarded
event or a duplicate, the item contains neither the user id nor an id that a caller chose. A repeated request has these
ids in its body, and the id of the first event is read again.
"""

from typing import Any

from domain.event_types import restrictions
from domain.ids import is_uuid7
from domain.outcomes import KEY_LIFETIME, First, IdempotencyKey, Outcome
from domain.problems import KEY_REUSED, KeyReused
from domain.times import seconds_of
from table import Account, profiles
from table import primary_keys as keys
from table.events import Entry, find, kept, stored_event, warnings_in
from table.expressions import Condition, Delete, Equals, Free, Item, Put
from table.marks import describes

CODES_OF_1_0 = {
    "A confirmation with this orderId was already received": "order_id_seen",
    "An email open was already received in the last 20 minutes": "email_open_in_window",
    "An event from a bot": "bot",
}


def settle(entry: Entry, outcome: Outcome) -> Outcome:
    """Remember the outcome of an event that is not created. Return it, or the outcome that its key already has."""
    while entry.key:
        failed = entry.account.table.write([remember(entry, entry.key, outcome)])
        if failed is None:
            return outcome
        if replay := replayed(entry, entry.key, failed[0]):
            return replay
    return outcome


def remember(entry: Entry, key: IdempotencyKey, outcome: Outcome) -> Put:
    """Return the action that stores an outcome under a key for 24 hours. A repeat within that time fails it."""
    item: Item = {
        "bodyHash": key.body_hash,
        "discarded": outcome.restriction.code if outcome.restriction else None,
        **kept(outcome.warnings),
        "expiresAt": seconds_of(entry.received_at + KEY_LIFETIME),
    }
    if outcome.status == "created":
        item |= {"userId": outcome.user_id, "eventId": outcome.event_id}
    else:  # 1.0 needs this attribute
        item["eventId"] = outcome.event_id if is_uuid7(outcome.event_id) else entry.uuid
    if outcome.user_created:
        item["userCreated"] = True
    if outcome.first:
        item["first"] = {
            name: value
            for name, value in outcome.first._asdict().items()
            if value is not None and (name != "event_id" or is_uuid7(value))
        }
    is_free = Free(entry.received_at)
    if entry.replaces:
        is_free |= _is_about(entry.replaces["userId"], entry.replaces["eventId"])
    return Put(keys.idempotency(entry.account.name, key.key_hash), item, is_free)


def replayed(entry: Entry, key: IdempotencyKey, item: Item) -> Outcome | None:
    """Return the stored outcome of a key, or None if its user was erased: the entry `replaces` it. Raise KeyReused."""
    user_id = item.get("userId", "" if entry.is_new else entry.user_id)
    if user_id not in ("", entry.user_id) and profiles.read(entry.account, user_id) is None:
        entry.replaces = item
        return None
    if item["bodyHash"] != key.body_hash:
        raise KeyReused([KEY_REUSED])
    code = item["discarded"]  # 1.0 stored a text instead
    restriction = restrictions()[CODES_OF_1_0.get(code) or code] if code else None
    is_kept = "userId" in item or is_uuid7(item["eventId"])
    return Outcome(
        status="discarded" if restriction else "created",
        event_id=item["eventId"] if is_kept else entry.id,
        user_id=user_id,
        warnings=warnings_in(item),
        restriction=restriction,
        first=_first(entry, item["first"]) if "first" in item else None,
        replayed=True,
        user_created=item.get("userCreated", False),
    )


def forget(account: Account, key_hash: str, user_id: str, event_id: str) -> Delete:
    """Return the action that deletes the reply about this event. It fails if another event has the key now."""
    return Delete(keys.idempotency(account.name, key_hash), _is_about(user_id, event_id))


def _is_about(user_id: str, event_id: str) -> Condition:
    return Equals("userId", user_id) & Equals("eventId", event_id)


def _first(entry: Entry, kept: dict[str, Any]) -> First:
    """Return the first event. If its id was not stored, because a caller chose it, read it from the table."""
    if "event_id" in kept:
        return First(**kept)
    if entry.once_key:
        mark = entry.account.table.get(entry.once_key)
        if mark and describes(mark):
            return First(event_id=mark["eventId"], **kept)
    item = find(entry.account, entry.user_id, kept["uuid"], entry.received_at)
    return First(event_id=stored_event(item).id if item else kept["uuid"], **kept)
