"""The API keys of accounts. Only the SHA-256 of a key is stored."""

from datetime import datetime

from domain.accounts import ALL_SCOPES, ApiKey, FoundKey
from domain.times import iso
from table import Account
from table import primary_keys as keys
from table.calls import Store
from table.expressions import IS_NEW, Absent, Changes, Delete, Exists, Item, Put, Update


def find(table: Store, key_hash: str) -> FoundKey | None:
    """Return the account and the scopes of the key with this hash. None: there is no such key."""
    found = table.get(keys.api_key(key_hash))
    return FoundKey(found["account"], found["keyId"], found["expiresOn"], _scopes(found)) if found else None


def add(account: Account, key: ApiKey) -> None:
    """Store a new key: one item for the authorizer, and one for the account's list."""
    both: Item = {"expiresOn": key.expires_on}
    if key.scopes != ALL_SCOPES:
        both["scopes"] = list(key.scopes)
    by_hash = {"account": account.name, "keyId": key.id, **both}
    by_account = {"keyHash": key.hash, "createdOn": key.created_on, **both}
    listed = Put(keys.key_of_account(account.name, key.id), by_account, IS_NEW)
    failed = account.table.write([Put(keys.api_key(key.hash), by_hash, IS_NEW), listed])
    assert failed is None


def of_account(account: Account) -> list[ApiKey]:
    """Return all keys of the account, revoked and expired ones too, oldest first."""
    items = account.table.partition(keys.keys_of_account(account.name))
    return sorted(map(_api_key, items), key=lambda key: key.created_on)


def expire(account: Account, key: ApiKey, expires_on: str, now: datetime) -> bool:
    """Set when the key expires. Return False if the key is revoked.

    `changedOn` decides which state is newer when keys are carried to a restored table.
    """
    changes = Changes(sets={("expiresOn",): expires_on, ("changedOn",): iso(now)})
    is_good = Exists("pk") & Absent("revokedOn")
    both = (keys.api_key(key.hash), keys.key_of_account(account.name, key.id))
    return account.table.write([Update(each, changes, is_good) for each in both]) is None


def revoke(account: Account, key: ApiKey, now: datetime) -> bool:
    """Revoke the key and keep it in the account's list. Return False if it was revoked before."""
    changes = Changes(sets={("revokedOn",): iso(now)})
    revoked = Update(keys.key_of_account(account.name, key.id), changes, Exists("pk") & Absent("revokedOn"))
    failed = account.table.write([revoked, Delete(keys.api_key(key.hash))])
    return failed is None or failed.get(0, {}).get("revokedOn") == iso(now)  # an attempt whose response was lost


def _api_key(item: Item) -> ApiKey:
    return ApiKey(
        id=keys.key_id_of(item),
        hash=item["keyHash"],
        created_on=item["createdOn"],
        expires_on=item["expiresOn"],
        revoked_on=item.get("revokedOn"),
        scopes=_scopes(item),
    )


def _scopes(item: Item) -> tuple[str, ...]:
    """Return the scopes of a key. A key without a list, such as each of 1.1, has all scopes, also future ones."""
    return tuple(item.get("scopes", ALL_SCOPES))
