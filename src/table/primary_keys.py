"""All keys of the table.

    item              pk                                     sk                    deleted
    profile           <account>#USER#<user id>               PROFILE               by erasure
    event             <account>#USER#<user id>               EVENT#<UUID>          by TTL, by erasure
    email open        <account>#USER#<user id>               EMAILOPEN             by TTL, by erasure
    other window      <account>#USER#<user id>               WINDOW#<type>         by TTL, by erasure
    email             <account>#EMAIL#<email>                EMAIL                 by erasure
    order             <account>#ORDER#<orderId>              ORDER                 never
    other value       <account>#ONCE#<type>#<value>          ONCE                  never
    idempotency key   <account>#IDEMPOTENCY#<SHA-256>        IDEMPOTENCY           by TTL
    refusals          <account>#REFUSALS                     <hour>#<what>         by TTL
    erased id         <account>#ERASED#<SHA-256>             ERASED                never
    erasure           ERASURES                               <account>#<user id>   when it is finished
    API key           KEY#<SHA-256>                          KEY                   when it is revoked
    key of account    ACCOUNT#<account>                      KEY#<key id>          never

The UUID of an event begins with the millisecond at which it happened, so a partition lists a user's events by time. If
the event's id is a UUIDv7 of that time, as all of 1.0 are, it is the UUID. Otherwise the item has the id, and the UUID
is a UUIDv8 made from the time and a digest of user and id. So a repeated event finds its first copy.

Account names are lower case (accounts.py), so the keys of different accounts, and those in upper case, are distinct.
TTL deletes days late. So the stored time decides whether an item has expired, and never its presence.
"""

from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import Any, NamedTuple

from domain.ids import derived_id, is_uuid7, time_of

PROFILE = "PROFILE"
EVENT = "EVENT#"
BEHIND_EVENTS = "EVENT$"  # the next character
ERASURES = "ERASURES"
ERASED = "ERASED"
TIME_IN_UUID = len("01234567-89ab")  # of its text
# The two restrictions of 1.0 keep their keys.
WINDOWS_OF_1_0 = {"emailopen": "EMAILOPEN"}
ONCES_OF_1_0 = {"confirmation": "ORDER"}


class Key(NamedTuple):
    """The key of an item, which has its parts as attributes."""

    pk: str
    sk: str


def key_of(item: Mapping[str, Any]) -> Key:
    return Key(item["pk"], item["sk"])


def user(account: str, user_id: str) -> str:
    """Return the partition of a user."""
    return f"{account}#USER#{user_id}"


def account_and_user_of(item: Mapping[str, Any]) -> tuple[str, str]:
    """Return account and user of an item in a user's partition. Raises for other items."""
    account, _, user_id = item["pk"].partition("#USER#")
    return account, user_id


def profile(account: str, user_id: str) -> Key:
    return Key(user(account, user_id), PROFILE)


def event_uuid(user_id: str, event_id: str, happened_at: datetime) -> str:
    """Return the UUID in the sort key of an event."""
    if is_uuid7(event_id) and time_of(event_id) == happened_at:
        return event_id
    return derived_id(happened_at, user_id, event_id)


def event(account: str, user_id: str, uuid: str) -> Key:
    return Key(user(account, user_id), f"{EVENT}{uuid}")


def events_within(first: datetime | None, end: datetime | None) -> tuple[str, str]:
    """Return sort keys around all events that happened from the first moment on and before the end.

    The time alone, without the rest of a UUID, sorts behind all earlier events and before all others.
    """
    return (
        f"{EVENT}{derived_id(first)[:TIME_IN_UUID]}" if first else EVENT,
        f"{EVENT}{derived_id(end)[:TIME_IN_UUID]}" if end else BEHIND_EVENTS,
    )


def uuid_of(item: Mapping[str, Any]) -> str:
    return str(item["sk"]).removeprefix(EVENT)


def window(account: str, user_id: str, event_type: str) -> Key:
    return Key(user(account, user_id), WINDOWS_OF_1_0.get(event_type, f"WINDOW#{event_type}"))


def once(account: str, event_type: str, value: str) -> Key:
    if event_type in ONCES_OF_1_0:
        name = ONCES_OF_1_0[event_type]
        return Key(f"{account}#{name}#{value}", name)
    return Key(f"{account}#ONCE#{event_type}#{value}", "ONCE")


def email(account: str, address: str) -> Key:
    return Key(f"{account}#EMAIL#{address}", "EMAIL")


def idempotency(account: str, key_hash: str) -> Key:
    return Key(f"{account}#IDEMPOTENCY#{key_hash}", "IDEMPOTENCY")


def refusals(account: str) -> str:
    """Return the partition of an account's refusals, whose sort keys begin with the hour."""
    return f"{account}#REFUSALS"


def erased(account: str, user_id: str) -> Key:
    """Return the key of the mark of an erased id: a digest, because an id names a person."""
    return Key(f"{account}#ERASED#{sha256(f'{account}#{user_id}'.encode()).hexdigest()}", ERASED)


def erasure(account: str, user_id: str) -> Key:
    return Key(ERASURES, f"{account}#{user_id}")


def api_key(key_hash: str) -> Key:
    return Key(f"KEY#{key_hash}", "KEY")


def keys_of_account(account: str) -> str:
    """Return the partition of an account's API keys."""
    return f"ACCOUNT#{account}"


def key_of_account(account: str, key_id: str) -> Key:
    return Key(keys_of_account(account), f"KEY#{key_id}")


def key_id_of(item: Mapping[str, Any]) -> str:
    return str(item["sk"]).removeprefix("KEY#")
