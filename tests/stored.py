"""Read the stored items directly, and create the items that version 1.0 would write.

Items are in the low-level form of DynamoDB's API, {"pk": {"S": ...}, ...}.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any

from domain.times import iso
from table.calls import Store

ACCOUNT = "shop"  # of the fixture `account`
AttributeValue = dict[str, Any]
Item = dict[str, AttributeValue]


def profile_key(user_id: str) -> Item:
    return _key(f"{ACCOUNT}#USER#{user_id}", "PROFILE")


def event_key(user_id: str, event_id: str) -> Item:
    return _key(f"{ACCOUNT}#USER#{user_id}", f"EVENT#{event_id}")


def erased_key(user_id: str) -> Item:
    return _key(f"{ACCOUNT}#ERASED#{sha256(f'{ACCOUNT}#{user_id}'.encode()).hexdigest()}", "ERASED")


def everything(table: Store) -> list[Item]:
    """All items of the table, in order."""
    pages: Any = table.client.get_paginator("scan").paginate(TableName=table.name, ConsistentRead=True)
    items: list[Item] = [item for page in pages for item in page["Items"]]
    return sorted(items, key=lambda item: (item["pk"]["S"], item["sk"]["S"]))


def as_text(table: Store) -> str:
    """The whole table, to look for what must not be in it."""
    return json.dumps(everything(table))


def item_at(table: Store, key: Item) -> Item | None:
    found: Any = table.client.get_item(TableName=table.name, Key=key, ConsistentRead=True)
    return found.get("Item")  # type: ignore[no-any-return]


def put(table: Store, *items: Item) -> None:
    """All of them at one moment."""
    actions: list[Any] = [{"Put": {"TableName": table.name, "Item": item}} for item in items]
    table.client.transact_write_items(TransactItems=actions)


def put_many(table: Store, items: Sequence[Item]) -> None:
    """One after the other, but quickly."""
    for start in range(0, len(items), 25):
        requests: Any = {table.name: [{"PutRequest": {"Item": item}} for item in items[start : start + 25]]}
        while requests:
            requests = table.client.batch_write_item(RequestItems=requests).get("UnprocessedItems")


# --- What 1.0 writes ------------------------------------------------------------------------------


def a_profile_of_1_0(
    user_id: str, email: str, created_on: datetime, attributes: Mapping[str, str] | None = None
) -> list[Item]:
    """Return the items of a user as 1.0 wrote them. The attributes are strings."""
    profile = {
        **profile_key(user_id),
        "createdOn": {"S": iso(created_on)},
        "attributes": {"M": {name: {"S": value} for name, value in (attributes or {}).items()}},
        "tags": {"M": {}},
        "cursorKey": {"S": "0123456789abcdef0123456789abcdef"},
    }
    email_item = {**_key(f"{ACCOUNT}#EMAIL#{email}", "EMAIL"), "userId": {"S": user_id}}
    return [profile | {"email": {"S": email}}, email_item]


def keyed_events_of_1_0(
    user_id: str, event_ids: Iterable[str], key_hashes: Iterable[str], expires_on: datetime
) -> list[Item]:
    """Events that were sent under an Idempotency-Key, and the items of their keys."""
    items: list[Item] = []
    for event_id, key_hash in zip(event_ids, key_hashes, strict=True):
        payload: Item = {"type": {"S": "search"}, "payload": {"M": {"query": {"S": "x"}}}}
        key: Item = {
            "bodyHash": {"S": sha256(b"body").hexdigest()}, "eventId": {"S": event_id}, "userId": {"S": user_id},
            "discarded": {"NULL": True}, "warnings": {"L": []}, "expiresAt": {"N": str(int(expires_on.timestamp()))},
        }  # fmt: skip
        key_of_key = _key(f"{ACCOUNT}#IDEMPOTENCY#{key_hash}", "IDEMPOTENCY")
        items += [event_key(user_id, event_id) | payload | {"idempotencyKey": {"S": key_hash}}, key_of_key | key]
    return items


def _key(pk: str, sk: str) -> Item:
    return {"pk": {"S": pk}, "sk": {"S": sk}}
