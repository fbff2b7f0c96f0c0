"""Erase users, and keep the receipts of erasures.

An erasure begins with one transaction, after which every condition on the user fails. It writes three items:

    tombstone  replaces the profile
    note       lists the erasure as unfinished
    mark       keeps the digest of the erased id permanently; this is the receipt

Then `sweep` deletes the items of the user's partition in steps. One transaction deletes an event together with the
reply stored under its Idempotency-Key. If no item is left, `end` deletes the tombstone and the note. The mark counts
each event once, before it is deleted:

    erasedAt        when the erasure was requested; a restored table keeps the first request
    eventsDeleted   the number of counted events that had not ended then; absent if 1.0 or 1.1 may have deleted some
    countedTo       until the erasure is finished: the sort key of the last counted event
    finishedOn      when the last item was deleted

Erasures may overlap and may stop at any point. An erased id is never used again: its items are all the user's.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from secrets import token_hex
from typing import NamedTuple

from domain.profile import Profile
from domain.times import iso
from table import Account, replies
from table import primary_keys as keys
from table.calls import MAX_ACTIONS, Store
from table.expressions import IS_NEW, Absent, Action, Changes, Delete, Equals, Exists, Item, Put, Update, has_ended

STEP = 100  # items that a step reads
LAST = "~"  # sorts after each sort key


class Receipt(NamedTuple):
    """The receipt of an erasure. Dates are ISO 8601 in UTC. If 1.1 finished it, the last two can be None."""

    requested_on: str
    is_finished: bool
    finished_on: str | None = None
    events_deleted: int | None = None


class Erasure(NamedTuple):
    """An unfinished erasure. `id` is unique. It is None if 1.0 began the erasure."""

    account: str
    user_id: str
    begun: str
    id: str | None


def pending(table: Store) -> list[Erasure]:
    """Return the unfinished erasures, the oldest first."""
    found = []
    for item in table.partition(keys.ERASURES):
        account, _, user_id = item["sk"].partition("#")
        found.append(Erasure(account, user_id, item["erasedAt"], item.get("erasureId")))
    return sorted(found, key=lambda erasure: erasure.begun)


def begin(account: Account, profile: Profile, now: datetime) -> str | None:
    """Begin to erase a user and return when the erasure was requested. After this call the user does not exist.

    Return None if the user does not exist or has another email than `profile` says. A table that was restored to a time
    before an erasure can already have a mark: then the receipt keeps the first request.
    """
    this = {"erasedAt": iso(now), "erasureId": token_hex(16)}  # two callers may erase the user in the same millisecond
    same_email = Equals("email", profile.email)
    released = [Delete(keys.email(account.name, profile.email))] if profile.email else []
    receipt: Item = {"erasedAt": iso(now), "eventsDeleted": 0}
    unchanged = IS_NEW
    while True:
        tombstone = Put(keys.profile(account.name, profile.id), this, Exists("createdOn") & same_email)
        note = Put(keys.erasure(account.name, profile.id), this)
        mark = Put(keys.erased(account.name, profile.id), receipt, unchanged)
        failed = account.table.write([tombstone, note, mark, *released])
        if failed is None or failed.get(0, {}).get("erasureId") == this["erasureId"]:  # a lost response
            return str(receipt["erasedAt"])
        if 0 in failed:
            return None
        receipt = _again(failed[2])
        unchanged = Equals("erasedAt", receipt["erasedAt"])


def receipt(account: Account, user_id: str) -> Receipt | None:
    """Return the receipt of the erasure of an id. None if it was not erased.

    The mark is read before the note. Without a note it is read again: the erasure may have ended between the two reads.
    """
    mark = account.table.get(keys.erased(account.name, user_id))
    if mark is None or "finishedOn" not in mark:
        if note := account.table.get(keys.erasure(account.name, user_id)):
            return Receipt((mark or note)["erasedAt"], is_finished=False)
        mark = account.table.get(keys.erased(account.name, user_id)) if mark else None
    if mark is None:
        return None
    count = mark.get("eventsDeleted") if "finishedOn" in mark else None
    return Receipt(mark["erasedAt"], True, mark.get("finishedOn"), None if count is None else int(count))


def is_erased(account: Account, user_id: str) -> bool:
    """Return whether the id belonged to a user whose erasure has begun or ended."""
    tombstone, mark = account.table.get_all([keys.profile(account.name, user_id), keys.erased(account.name, user_id)])
    return isinstance(mark, dict) or (isinstance(tombstone, dict) and "erasedAt" in tombstone)


def sweep(account: Account, user_id: str) -> bool:
    """Delete some of an erased user's items. Return True if no item was left."""
    items, _ = account.table.query(
        keys.user(account.name, user_id),
        ExpressionAttributeNames={"#key": "idempotencyKey", "#id": "id", "#type": "type", "#once": "onceValue"},
        ProjectionExpression="pk, sk, #key, #id, #type, #once, eventId, expiresAt",
        Limit=STEP,
    )
    # The items were read before the tombstone, so they belong to the erased user. Version 1.0, which can run during a
    # deployment, may give the id to a new user after that.
    tombstone = account.table.get(keys.profile(account.name, user_id))
    if tombstone is None or "createdOn" in tombstone:
        return True
    leftovers = [item for item in items if item["sk"] != keys.PROFILE]
    begun = datetime.fromisoformat(tombstone["erasedAt"])
    stored = [item for item in leftovers if item["sk"].startswith(keys.EVENT) and not has_ended(item, begun)]
    if not _count(account, user_id, [item["sk"] for item in stored]):
        return False
    named_elsewhere = {"idempotencyKey", "onceValue"}  # in another item
    plain = [each for each in leftovers if each["sk"].startswith(keys.EVENT) and named_elsewhere.isdisjoint(each)]
    account.table.delete_all(map(keys.key_of, plain))
    for together in _transactions([item for item in leftovers if item not in plain]):
        _delete_together(account, user_id, together)
    return not leftovers


def _again(mark: Item) -> Item:
    """Return the receipt of an erasure that begins again. It keeps the number that a finished erasure counted."""
    receipt = {"erasedAt": mark["erasedAt"]}
    if "eventsDeleted" in mark:
        finished = {"eventsDeleted": mark["eventsDeleted"], "countedTo": LAST}
        receipt |= finished if "finishedOn" in mark else {"eventsDeleted": 0}
    return receipt


def _count(account: Account, user_id: str, events: Sequence[str]) -> bool:
    """Count the events of these sort keys, in their order, before they are deleted. Return False if another run counts.

    |-- counted, perhaps deleted --| countedTo |-- counted now, on condition that countedTo is the same --|

    Events that a stopped run counted are not counted again. An event that arrives later is counted only if its sort key
    is after `countedTo`. An erasure that 1.0 or 1.1 began counts no events.
    """
    mark = account.table.get(keys.erased(account.name, user_id)) if events else None
    if mark is None or "eventsDeleted" not in mark or "finishedOn" in mark:
        return True
    new = [sk for sk in events if sk > mark.get("countedTo", "")]
    if not new:
        return True
    # Another run may have deleted these events and finished.
    same = Equals("countedTo", mark.get("countedTo")) & Absent("finishedOn")
    changes = Changes(sets={("countedTo",): new[-1]}, adds={"eventsDeleted": Decimal(len(new))})
    return account.table.write([Update(keys.erased(account.name, user_id), changes, same)]) is None


def end(account: Account, erasure: Erasure, now: datetime) -> None:
    """Finish the receipt, and delete the note and the tombstone. An erasure that 1.0 began gets its mark here."""
    this = Equals("erasedAt", erasure.begun)
    this = this & Equals("erasureId", erasure.id) if erasure.id else this
    note = Delete(keys.erasure(account.name, erasure.user_id), this | IS_NEW)
    tombstone = Delete(keys.profile(account.name, erasure.user_id), this | IS_NEW)
    key = keys.erased(account.name, erasure.user_id)
    mark = account.table.get(key) or {"erasedAt": erasure.begun}
    finished = {name: value for name, value in mark.items() if name != "countedTo"} | {"finishedOn": iso(now)}
    # If another run is counting, the condition fails, and the next run ends the erasure.
    same_count = Equals("eventsDeleted", mark.get("eventsDeleted"))
    failed = account.table.write([note, tombstone, Put(key, finished, same_count)])
    if failed and "createdOn" in failed.get(1, {}):
        account.table.write([note])


def _transactions(items: list[Item]) -> Iterator[list[Item]]:
    """Yield the items for each transaction. Events that had the same Idempotency-Key are in different transactions.

    DynamoDB refuses a transaction with two actions on one item, and a key can be used again after 24 hours.
    """
    while items:
        one_of_each_key = {item.get("idempotencyKey", item["sk"]): item for item in items}
        together = list(one_of_each_key.values())[: MAX_ACTIONS // 3]
        items = [item for item in items if item not in together]
        yield together


def _delete_together(account: Account, user_id: str, items: Sequence[Item]) -> None:
    """Delete items of a user and, in the same transaction, the items that refer to the user."""
    actions = [action for item in items for action in _deletion(account, user_id, item)]
    while actions:
        failed = account.table.write(actions)
        if failed is None:
            return
        # The next step reads a changed lock again. A reply or mark that another event has now is not deleted.
        actions = [action for index, action in enumerate(actions) if index not in failed]


def _deletion(account: Account, user_id: str, item: Item) -> Iterator[Action]:
    key = keys.key_of(item)
    if not item["sk"].startswith(keys.EVENT):
        yield Delete(key, Equals("eventId", item["eventId"]) if "eventId" in item else None)
        return
    yield Delete(key)
    uuid = keys.uuid_of(item)
    event_id = item.get("id", uuid)
    if "idempotencyKey" in item:
        yield replies.forget(account, item["idempotencyKey"], user_id, event_id)
    # The mark stays. The caller's id and the digest, from which the payload could be guessed, are removed.
    if "onceValue" in item:
        mark = keys.once(account.name, item["type"], item["onceValue"])
        unnamed = Changes(sets={("eventId",): uuid}, removes=[("digest",)])
        yield Update(mark, unnamed, Equals("uuid", uuid))
