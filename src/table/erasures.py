"""What is left of users who were erased, and the receipts of erasures.

An erasure begins when a tombstone takes the profile's place: from then on every condition on the user fails. In the
same transaction it leaves a note among the erasures, and marks the id as erased, for ever, by a digest that names
nobody. Then the partition of the user is swept, in steps that are never lost: an event and the answer under its
Idempotency-Key go together. When nothing is left, tombstone and note go, and only the mark stays. The mark is the
receipt: it counts the events before they are deleted, each of them once.

    erasedAt        when the erasure was requested; a restored table keeps the first request
    eventsDeleted   the events that were counted; absent if an older version may have deleted some
    countedTo       while it is under way: the sort key of the last event that was counted
    finishedOn      when nothing was left

Erasures may run at the same time and be stopped anywhere. What they delete belongs to the erased user, whoever looks
when, because the id never comes back.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from secrets import token_hex
from typing import Any

from domain.profile import Profile
from domain.times import iso
from table import Account, replies
from table import primary_keys as keys
from table.attribute_values import to_item
from table.calls import MAX_ACTIONS, Store
from table.expressions import (
    IS_NEW,
    Absent,
    Action,
    Changes,
    Compare,
    Condition,
    Delete,
    Exists,
    Item,
    Path,
    Put,
    Update,
)

STEP = 100  # items that a step looks at
LAST = "~"  # sorts behind each sort key


@dataclass(frozen=True, slots=True)
class Receipt:
    """Dates are ISO 8601 in UTC. `finished_on` and `events_deleted` are unknown of what 1.1 finished."""

    requested_on: str
    is_finished: bool
    finished_on: str | None = None
    events_deleted: int | None = None


@dataclass(frozen=True, slots=True)
class Erasure:
    """One that is not done. `id` tells it from any other; 1.0 gave none."""

    account: str
    user_id: str
    begun: str
    id: str | None


def pending(table: Store) -> list[Erasure]:
    """All that are not done, the oldest first."""
    found = []
    for item in table.partition(keys.ERASURES):
        account, _, user_id = item["sk"].partition("#")
        found.append(Erasure(account, user_id, item["erasedAt"], item.get("erasureId")))
    return sorted(found, key=lambda erasure: erasure.begun)


def begin(account: Account, profile: Profile, now: datetime) -> str | None:
    """Erase the user: from here on the user does not exist. Return when it was requested.

    None if the user, or the user's email, is not what `profile` says any more. A mark is there before only in a table
    that was restored to a moment before an erasure: the receipt keeps the first request.
    """
    this = {"erasedAt": iso(now), "erasureId": token_hex(16)}  # two callers may erase the user in the same millisecond
    same_email = Compare("email", "=", profile.email) if profile.email else Absent("email")
    receipt: Item = {"erasedAt": iso(now), "eventsDeleted": 0}
    unchanged: Condition = IS_NEW
    while True:
        actions: list[Action] = [
            Put({**keys.profile(account.name, profile.id), **this}, Exists("createdOn") & same_email),
            Put({**keys.erasure(account.name, profile.id), **this}),
            Put({**keys.erased(account.name, profile.id), **receipt}, unchanged),
        ]
        if profile.email:
            actions.append(Delete(keys.email(account.name, profile.email)))
        failed = account.table.write(actions)
        if failed is None or failed.get(0, {}).get("erasureId") == this["erasureId"]:  # by a lost attempt of ours
            return str(receipt["erasedAt"])
        if 0 in failed:
            return None
        receipt = _again(failed[2])
        unchanged = Compare("erasedAt", "=", receipt["erasedAt"])


def receipt(account: Account, user_id: str) -> Receipt | None:
    """Return the receipt of the erasure of an id. None if it was not erased.

    The mark is read before the note, and again if the note is gone: an erasure may begin and end in between.
    """
    mark = account.table.get(keys.erased(account.name, user_id))
    if mark is None or "finishedOn" not in mark:
        note = account.table.get(keys.erasure(account.name, user_id))
        if note:
            return Receipt((mark or note)["erasedAt"], is_finished=False)
        mark = account.table.get(keys.erased(account.name, user_id)) if mark else None
    if mark is None:
        return None
    count = mark.get("eventsDeleted") if "finishedOn" in mark else None
    return Receipt(mark["erasedAt"], True, mark.get("finishedOn"), None if count is None else int(count))


def is_erased(account: Account, user_id: str) -> bool:
    """Whether the id belonged to a user who was erased, whatever the stage of the erasure."""
    tombstone, mark = account.table.get_all([keys.profile(account.name, user_id), keys.erased(account.name, user_id)])
    return isinstance(mark, dict) or (isinstance(tombstone, dict) and "erasedAt" in tombstone)


def sweep(account: Account, user_id: str) -> bool:
    """One step: deletes some of what the user left behind. True when nothing was left."""
    items, _ = account.table.query(
        KeyConditionExpression="pk = :pk",
        ExpressionAttributeValues=to_item({":pk": keys.user(account.name, user_id)}),
        ExpressionAttributeNames={"#key": "idempotencyKey", "#id": "id", "#type": "type", "#once": "onceValue"},
        ProjectionExpression="pk, sk, #key, #id, #type, #once, eventId",
        ConsistentRead=True,
        Limit=STEP,
    )
    # Whatever was there before the tombstone is seen now belongs to the erased user, even if 1.0, which may run beside
    # this during a deployment, has given the id to somebody in the meantime.
    tombstone = account.table.get(keys.profile(account.name, user_id))
    if tombstone is None or "createdOn" in tombstone:
        return True
    leftovers = [item for item in items if item["sk"] != keys.PROFILE]
    if not _count(account, user_id, [item["sk"] for item in leftovers if item["sk"].startswith(keys.EVENT)]):
        return False
    plain = [item for item in leftovers if not _named_elsewhere(item) and item["sk"].startswith(keys.EVENT)]
    account.table.delete_all([{"pk": item["pk"], "sk": item["sk"]} for item in plain])
    for together in _transactions([item for item in leftovers if item not in plain]):
        _delete_together(account, user_id, together)
    return not leftovers


def _again(mark: Item) -> Item:
    """Return the receipt with which an erasure begins again: what a finished one has counted is not counted again."""
    receipt = {"erasedAt": mark["erasedAt"]}
    if "eventsDeleted" in mark:
        receipt |= (
            {"eventsDeleted": mark["eventsDeleted"], "countedTo": LAST}
            if "finishedOn" in mark
            else {"eventsDeleted": 0}
        )
    return receipt


def _count(account: Account, user_id: str, events: Sequence[str]) -> bool:
    """Count the events of these sort keys, in their order, before they are deleted. False if another run counts, too.

    |-- counted, perhaps deleted --| countedTo |-- counted now, on condition that countedTo is the same --|

    What a stopped run has counted is not counted again. Of events that arrive meanwhile only those behind `countedTo`
    are counted. An erasure that 1.0 or 1.1 began counts none.
    """
    mark = account.table.get(keys.erased(account.name, user_id)) if events else None
    if mark is None or "eventsDeleted" not in mark or "finishedOn" in mark:
        return True
    new = [sk for sk in events if sk > mark.get("countedTo", "")]
    if not new:
        return True
    sets: dict[Path, Any] = {("countedTo",): new[-1]}
    same: Condition = Compare("countedTo", "=", mark["countedTo"]) if "countedTo" in mark else Absent("countedTo")
    same &= Absent("finishedOn")  # which another run may have set since, after it had deleted these events
    changes = Changes(sets=sets, adds={"eventsDeleted": Decimal(len(new))})
    return account.table.write([Update(keys.erased(account.name, user_id), changes, same)]) is None


def end(account: Account, erasure: Erasure, now: datetime) -> None:
    """Finish the receipt, and delete note and tombstone: nothing is left. 1.0 put no mark when it began an erasure."""
    this: Condition = Compare("erasedAt", "=", erasure.begun)
    this = this & Compare("erasureId", "=", erasure.id) if erasure.id else this
    note = Delete(keys.erasure(account.name, erasure.user_id), this | IS_NEW)
    tombstone = Delete(keys.profile(account.name, erasure.user_id), this | IS_NEW)
    key = keys.erased(account.name, erasure.user_id)
    mark = account.table.get(key) or {**key, "erasedAt": erasure.begun}
    finished = {name: value for name, value in mark.items() if name != "countedTo"} | {"finishedOn": iso(now)}
    # Another run may be counting. Then nothing is written, and the next run ends the erasure.
    same = Compare("eventsDeleted", "=", mark["eventsDeleted"]) if "eventsDeleted" in mark else Absent("eventsDeleted")
    failed = account.table.write([note, tombstone, Put(finished, same)])
    if failed and "createdOn" in failed.get(1, {}):
        account.table.write([note])


def _named_elsewhere(item: Item) -> bool:
    """Whether another item, outside of the user's partition, names the user through this event."""
    return "idempotencyKey" in item or "onceValue" in item


def _transactions(items: list[Item]) -> Iterator[list[Item]]:
    """Items that go together. A key comes once: DynamoDB takes no item twice in a transaction, and a day after one
    event had the key another may have had it.
    """
    while items:
        one_of_each_key = {item.get("idempotencyKey", item["sk"]): item for item in items}
        together = list(one_of_each_key.values())[: MAX_ACTIONS // 3]
        items = [item for item in items if item not in together]
        yield together


def _delete_together(account: Account, user_id: str, items: Sequence[Item]) -> None:
    """Deletes items of the user, and in the same transaction what names the user elsewhere."""
    actions = [action for item in items for action in _deletion(account, user_id, item)]
    while actions:
        failed = account.table.write(actions)
        if failed is None:
            return
        # A lock that has changed is read again by the next step; what another event has by now is not this user's.
        actions = [action for index, action in enumerate(actions) if index not in failed]


def _deletion(account: Account, user_id: str, item: Item) -> Iterator[Action]:
    key = {"pk": item["pk"], "sk": item["sk"]}
    if not item["sk"].startswith(keys.EVENT):
        yield Delete(key, Compare("eventId", "=", item["eventId"]) if "eventId" in item else None)
        return
    yield Delete(key)
    uuid = keys.uuid_of(item)
    event_id = item.get("id", uuid)
    if "idempotencyKey" in item:
        yield replies.forget(account, item["idempotencyKey"], user_id, event_id)
    # The mark stays for ever, but not an id that the caller made up, nor a digest by which the payload can be guessed.
    if "onceValue" in item:
        mark = keys.once(account.name, item["type"], item["onceValue"])
        unnamed = Changes(sets={("eventId",): uuid}, removes=(("digest",),))
        yield Update(mark, unnamed, Compare("uuid", "=", uuid))
