"""What is stored, and the conditions under which. The only module that knows a table key.

    item             pk                                  sk                 goes
    profile          <account>#USER#<user id>            PROFILE            by erasure
    event            <account>#USER#<user id>            EVENT#<event id>   by erasure
    email open       <account>#USER#<user id>            EMAILOPEN          by TTL
    email            <account>#EMAIL#<email>             EMAIL              by erasure
    order            <account>#ORDER#<orderId>           ORDER              never
    idempotency key  <account>#IDEMPOTENCY#<SHA-256>     IDEMPOTENCY        by TTL
    erasure          ERASURES                            <account>#<id>     when it is done
    API key          KEY#<SHA-256>                       KEY                when it is revoked
    key of account   ACCOUNT#<account>                   KEY#<key id>       never

Accounts are lower case (accounts.py), so no account's keys meet another's or the upper-case ones.
TTL deletes days late: whether an item has expired is decided by its time, never by its presence.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from secrets import token_hex
from typing import Any

from domain import idempotency, ids
from domain.accounts import ApiKey, FoundKey
from domain.dynamodb import Action, Item, Table, to_item
from domain.idempotency import Answer, IdempotencyKey
from domain.problems import KEY_REUSED, KeyReused, Warning
from domain.profile import NO_CHANGE, SYSTEM_ATTRIBUTES, Change, Profile, iso
from domain.restrictions import EMAIL_OPEN_WINDOW, Restriction

# An expression has 4 KB and 300 operators at most; a change of more paths replaces the maps as a whole.
MAX_PATHS = 100


@dataclass(frozen=True, slots=True)
class Entry:
    """An event and all that changes with it, together or not at all."""

    answer: Answer  # what the caller gets if this is stored; it names the event and the user
    type: str
    payload: Mapping[str, Any]
    change: Change = NO_CHANGE
    order_id: str | None = None
    opens_email: bool = False
    claims_email: str | None = None
    idempotency_key: IdempotencyKey | None = None


@dataclass(frozen=True, slots=True)
class StoredEvent:
    id: str
    type: str
    payload: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Store:
    """The items of one account. Nothing it reads or writes lies outside of it."""

    table: Table
    account: str

    # --- Users ------------------------------------------------------------------------------------

    def user_id_of(self, email: str) -> str | None:
        found = self.table.get(self._email_key(email))
        return found["userId"] if found else None

    def profile(self, user_id: str) -> Profile | None:
        found = self.table.get(self._profile_key(user_id))
        return _profile(user_id, found) if found and _is_user(found) else None

    def create_user(self, user_id: str, email: str | None, change: Change, now: datetime) -> bool:
        """False when the email or the id belongs to a user already (or to one who is being erased)."""
        profile = {
            **self._profile_key(user_id),
            "createdOn": iso(now),
            "attributes": change.attributes,
            "tags": _tag_map(change.add_tags),
            "cursorKey": token_hex(16),
        }
        actions = [_put_new(profile | ({"email": email} if email else {}))]
        if email:
            actions.append(self._claim(email, user_id))
        failed = self.table.write(actions, blame="attributes")
        # The profile that is there may be ours, by an earlier attempt whose answer was lost.
        return failed is None or failed.get(0, {}).get("cursorKey") == profile["cursorKey"]

    def change_user(self, user_id: str, change: Change) -> bool:
        """False when there is no such user."""
        return self.table.write([self._update(user_id, change)], blame="attributes") is None

    # --- Events -----------------------------------------------------------------------------------

    def email_open_until(self, user_id: str) -> int:
        """The end, in milliseconds, of the user's last known email open window. It may be out of date
        by a moment, so it may only turn an open away: a window that was seen open is open."""
        found = self.table.get(self._email_open_key(user_id), consistent=False)
        return int(found["until"]) if found else 0

    def add(self, entry: Entry, now: datetime) -> Answer | Restriction | None:
        """Stores the event and all that changes with it, if every condition holds.

        The answer: what came of it, now or when the idempotency key was first used. A Restriction: what
        keeps the event out. None: meanwhile the user was erased or identified, or the address claimed.
        """
        event_id, user_id = entry.answer.event_id, entry.answer.user_id
        event = self._event_item(entry)
        actions: dict[str, Action] = {"event": _put_new(event)}
        if entry.idempotency_key:
            actions["idempotency"] = self._remember(entry.idempotency_key, entry.answer, now)
        if entry.change or entry.claims_email:
            actions["user"] = self._update(user_id, entry.change, entry.claims_email)
        if entry.claims_email:
            actions["email"] = self._claim(entry.claims_email, user_id)
        if entry.order_id:
            actions["order"] = _put_new({**self._order_key(entry.order_id), "eventId": event_id})
        if entry.opens_email:
            actions["open"] = self._open_window(user_id, event_id, now)

        if len(actions) == 1:
            # The id of a user is never used again: should the user be erased between the look-up and
            # this, the event lies where nobody can see it, and the erasure's last sweep takes it.
            self.table.put(event, blame="event")
            return entry.answer
        failed = self.table.write(list(actions.values()), blame="event")
        if failed is None:
            return entry.answer
        old = {name: failed[index] for index, name in enumerate(actions) if index in failed}
        # Our own event, or a marker of it, is there: an earlier attempt of this write was done after all.
        if "event" in old or event_id in (old.get(name, {}).get("eventId") for name in ("order", "open")):
            return entry.answer
        if "idempotency" in old and entry.idempotency_key:
            return _replay(old["idempotency"], entry.idempotency_key, user_id)
        if "user" in old or "email" in old:
            return None
        return Restriction.ORDER_ID_SEEN if "order" in old else Restriction.EMAIL_OPEN_IN_WINDOW

    def remember(self, key: IdempotencyKey, answer: Answer, now: datetime) -> Answer:
        """Remembers the answer to a discarded event, or returns the one that is remembered already."""
        failed = self.table.write([self._remember(key, answer, now)])
        return answer if failed is None else _replay(failed[0], key, answer.user_id)

    def events(
        self, user_id: str, limit: int, before: str | None = None, event_type: str | None = None
    ) -> tuple[list[StoredEvent], str | None]:
        """The user's events, newest first, from below the id `before`: at most `limit`, and the id below
        which the next page begins. A page may be short (DynamoDB reads 1 MB at a time) but only the last
        one has no next."""
        parameters: dict[str, Any] = {
            "KeyConditionExpression": "pk = :pk AND begins_with(sk, :event)",
            "ExpressionAttributeValues": {":pk": {"S": self._user(user_id)}, ":event": {"S": "EVENT#"}},
            "ScanIndexForward": False,
            "ConsistentRead": True,
        }
        if event_type:
            parameters["FilterExpression"] = "#type = :type"
            parameters["ExpressionAttributeNames"] = {"#type": "type"}
            parameters["ExpressionAttributeValues"][":type"] = {"S": event_type}
        else:
            parameters["Limit"] = limit + 1
        if before:
            parameters["ExclusiveStartKey"] = to_item(self._event_key(user_id, before))
        items, last = self.table.query(**parameters)
        events = [StoredEvent(_event_id(item), item["type"], item["payload"]) for item in items]
        if len(events) > limit:
            return events[:limit], events[limit - 1].id
        return events, _event_id(last) if last else None

    # --- Erasure ----------------------------------------------------------------------------------

    def begin_erasure(self, profile: Profile, now: datetime) -> bool:
        """From here on the user does not exist: a tombstone takes the profile's place, so that every
        condition on the user fails. The erasure item says that there are leftovers. False when the
        user's email, or the user, is not what `profile` says any more."""
        same_email = "email = :email" if profile.email else "attribute_not_exists(email)"
        ours = token_hex(16)  # two callers may erase the user in the same millisecond
        tombstone: Action = {
            "Put": {
                "Item": to_item({**self._profile_key(profile.id), "erasedAt": iso(now), "erasureId": ours}),
                "ConditionExpression": f"attribute_exists(createdOn) AND {same_email}",
            }
        }
        job = {"pk": "ERASURES", "sk": f"{self.account}#{profile.id}", "erasedAt": iso(now)}
        actions: list[Action] = [tombstone, {"Put": {"Item": to_item(job)}}]
        if profile.email:
            tombstone["Put"]["ExpressionAttributeValues"] = to_item({":email": profile.email})
            actions.append({"Delete": {"Key": to_item(self._email_key(profile.email))}})
        failed = self.table.write(actions)
        return failed is None or failed.get(0, {}).get("erasureId") == ours  # by a lost attempt of ours

    def is_being_erased(self, user_id: str) -> bool:
        found = self.table.get(self._profile_key(user_id))
        return found is not None and not _is_user(found)

    def sweep(self, user_id: str) -> bool:
        """Deletes a page of what an erased user left behind. True when nothing was left."""
        items, _ = self.table.query(
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": {"S": self._user(user_id)}},
            ExpressionAttributeNames={"#key": "idempotencyKey"},
            ProjectionExpression="pk, sk, #key",
            ConsistentRead=True,
        )
        leftovers = [item for item in items if item["sk"] != "PROFILE"]
        # Whatever was there before we now see the tombstone belongs to the erased user.
        tombstone = self.table.get(self._profile_key(user_id))
        if not leftovers or not tombstone or _is_user(tombstone):
            return True
        for item in leftovers:
            if "idempotencyKey" in item:
                self._forget(item["idempotencyKey"], user_id)
        self.table.delete_all([{"pk": item["pk"], "sk": item["sk"]} for item in leftovers])
        return False

    def end_erasure(self, user_id: str) -> None:
        """Removes the tombstone together with the erasure item: nothing is left, nothing to be done."""
        tombstone = {
            "Key": to_item(self._profile_key(user_id)),
            "ConditionExpression": "attribute_not_exists(createdOn)",
        }
        job = {"Key": to_item({"pk": "ERASURES", "sk": f"{self.account}#{user_id}"})}
        self.table.write([{"Delete": tombstone}, {"Delete": job}])

    # --- API keys -----------------------------------------------------------------------------------

    def add_key(self, key: ApiKey) -> None:
        """Raises AssertionError should 256 random bits have come twice."""
        by_hash = {**_api_key_key(key.hash), "account": self.account, "keyId": key.id, "expiresOn": key.expires_on}
        by_account = {**self._account_key_key(key.id), "keyHash": key.hash, "createdOn": key.created_on}
        failed = self.table.write([_put_new(by_hash), _put_new({**by_account, "expiresOn": key.expires_on})])
        assert failed is None

    def api_keys(self) -> list[ApiKey]:
        """All keys that the account ever had, oldest first."""
        return sorted(map(_api_key, self.table.partition(f"ACCOUNT#{self.account}")), key=lambda key: key.created_on)

    def expire_key(self, key: ApiKey, expires_on: str) -> bool:
        """False when the key is revoked."""
        update = {
            "UpdateExpression": "SET expiresOn = :expiresOn",
            "ConditionExpression": "attribute_exists(pk) AND attribute_not_exists(revokedOn)",
            "ExpressionAttributeValues": to_item({":expiresOn": expires_on}),
        }
        keys = (_api_key_key(key.hash), self._account_key_key(key.id))
        return self.table.write([{"Update": {"Key": to_item(each), **update}} for each in keys]) is None

    def revoke_key(self, key: ApiKey, now: datetime) -> bool:
        """The key opens nothing any more; that it was there stays on record. False when it is revoked already."""
        revoked: Action = {
            "Update": {
                "Key": to_item(self._account_key_key(key.id)),
                "UpdateExpression": "SET revokedOn = :now",
                "ConditionExpression": "attribute_exists(pk) AND attribute_not_exists(revokedOn)",
                "ExpressionAttributeValues": to_item({":now": iso(now)}),
            }
        }
        failed = self.table.write([revoked, {"Delete": {"Key": to_item(_api_key_key(key.hash))}}])
        return failed is None or failed.get(0, {}).get("revokedOn") == iso(now)  # by a lost attempt of ours

    # --- Keys and actions -------------------------------------------------------------------------

    def _user(self, user_id: str) -> str:
        return f"{self.account}#USER#{user_id}"

    def _profile_key(self, user_id: str) -> dict[str, str]:
        return {"pk": self._user(user_id), "sk": "PROFILE"}

    def _event_key(self, user_id: str, event_id: str) -> dict[str, str]:
        return {"pk": self._user(user_id), "sk": f"EVENT#{event_id}"}

    def _email_open_key(self, user_id: str) -> dict[str, str]:
        return {"pk": self._user(user_id), "sk": "EMAILOPEN"}

    def _email_key(self, email: str) -> dict[str, str]:
        return {"pk": f"{self.account}#EMAIL#{email}", "sk": "EMAIL"}

    def _order_key(self, order_id: str) -> dict[str, str]:
        return {"pk": f"{self.account}#ORDER#{order_id}", "sk": "ORDER"}

    def _idempotency_key(self, key_hash: str) -> dict[str, str]:
        return {"pk": f"{self.account}#IDEMPOTENCY#{key_hash}", "sk": "IDEMPOTENCY"}

    def _account_key_key(self, key_id: str) -> dict[str, str]:
        return {"pk": f"ACCOUNT#{self.account}", "sk": f"KEY#{key_id}"}

    def _event_item(self, entry: Entry) -> Item:
        key = self._event_key(entry.answer.user_id, entry.answer.event_id)
        # So that an erasure finds the idempotency key's item, which names the user, through the event.
        used = {"idempotencyKey": entry.idempotency_key.key_hash} if entry.idempotency_key else {}
        return {**key, "type": entry.type, "payload": entry.payload, **used}

    def _claim(self, email: str, user_id: str) -> Action:
        """The address becomes this user's, unless it is somebody's."""
        return _put_new({**self._email_key(email), "userId": user_id})

    def _open_window(self, user_id: str, event_id: str, now: datetime) -> Action:
        """An open is let in when there is no window yet, or when the last one has ended by its time:

        |-- accepted ------- window: 20 minutes ------- until --|-- accepted ...
                 discarded opens leave `until` as it is         (TTL deletes the item at any time later)
        """
        now_ms = ids.milliseconds_of(now)
        until = ids.milliseconds_of(now + EMAIL_OPEN_WINDOW)
        window = {
            **self._email_open_key(user_id),
            "eventId": event_id,
            "until": until,
            "expiresAt": until // 1000 + 1,  # TTL reads seconds
        }
        return {
            "Put": {
                "Item": to_item(window),
                "ConditionExpression": "attribute_not_exists(pk) OR #until <= :now",
                "ExpressionAttributeNames": {"#until": "until"},
                "ExpressionAttributeValues": to_item({":now": now_ms}),
            }
        }

    def _remember(self, key: IdempotencyKey, answer: Answer, now: datetime) -> Action:
        """The key's item is written when there is none, or when the one there is past its 24 hours.

        A discarded event leaves no event behind through which an erasure could find this item, so the
        item of such an answer does not name the user; who repeats the request names the user again.
        """
        remembered: Item = {
            **self._idempotency_key(key.key_hash),
            "bodyHash": key.body_hash,
            "eventId": answer.event_id,
            "discarded": answer.discarded,
            "warnings": [asdict(warning) for warning in answer.warnings],
            "expiresAt": int((now + idempotency.LIFETIME).timestamp()),
        }
        if answer.discarded is None:
            remembered["userId"] = answer.user_id
        return {
            "Put": {
                "Item": to_item(remembered),
                "ConditionExpression": "attribute_not_exists(pk) OR expiresAt <= :now",
                "ExpressionAttributeValues": to_item({":now": int(now.timestamp())}),
            }
        }

    def _forget(self, key_hash: str, user_id: str) -> None:
        """Deletes an idempotency key's item if it names this user; another user may have the key by now."""
        condition = {
            "ConditionExpression": "userId = :userId",
            "ExpressionAttributeValues": to_item({":userId": user_id}),
        }
        self.table.write([{"Delete": {"Key": to_item(self._idempotency_key(key_hash)), **condition}}])

    def _update(self, user_id: str, change: Change, claims_email: str | None = None) -> Action:
        """The change, made to a user who exists (and who is anonymous still, to claim an email)."""
        sets: dict[tuple[str, ...], Any] = {(name,): value for name, value in change.system.items()}
        removes: list[tuple[str, ...]] = []
        conditions = ["attribute_exists(createdOn)"]
        expression = _Expression()
        if claims_email:
            sets[("email",)] = claims_email
            conditions.append("attribute_not_exists(email)")
        if len(change.attributes) + len(change.add_tags) + len(change.remove_tags) <= MAX_PATHS:
            sets |= {("attributes", name): value for name, value in change.attributes.items()}
            sets |= {("tags", tag): True for tag in change.add_tags}
            removes = [("tags", tag) for tag in change.remove_tags]
        else:  # replaces what we have read, if it is still what we have read
            seen = self.profile(user_id) or Profile(user_id)
            sets[("attributes",)] = {**seen.attributes, **change.attributes}
            sets[("tags",)] = _tag_map((seen.tags | change.add_tags) - change.remove_tags)
            conditions.append(expression.equals("attributes", seen.attributes))
            conditions.append(expression.equals("tags", _tag_map(seen.tags)))
        return {
            "Update": {
                "Key": to_item(self._profile_key(user_id)),
                "UpdateExpression": expression.update(sets, removes, change.totals),
                "ConditionExpression": " AND ".join(conditions),
                **expression.placeholders(),
            }
        }


def find_key(table: Table, key_hash: str) -> FoundKey | None:
    """What the key with this hash opens."""
    found = table.get(_api_key_key(key_hash))
    return FoundKey(found["account"], found["keyId"], found["expiresOn"]) if found else None


def erasures(table: Table) -> Iterator[tuple[str, str, str]]:
    """Account, user id and beginning of each erasure that is not done."""
    for item in table.partition("ERASURES"):
        account, _, user_id = item["sk"].partition("#")
        yield account, user_id, item["erasedAt"]


def _api_key_key(key_hash: str) -> dict[str, str]:
    return {"pk": f"KEY#{key_hash}", "sk": "KEY"}


def _api_key(item: Item) -> ApiKey:
    return ApiKey(
        id=item["sk"].removeprefix("KEY#"),
        hash=item["keyHash"],
        created_on=item["createdOn"],
        expires_on=item["expiresOn"],
        revoked_on=item.get("revokedOn"),
    )


def _put_new(item: Item) -> Action:
    """Stores an item whose key nothing has."""
    return {"Put": {"Item": to_item(item), "ConditionExpression": "attribute_not_exists(pk)"}}


def _is_user(item: Item) -> bool:
    """Whether this is a profile, and not the tombstone of an erased one."""
    return "createdOn" in item


def _profile(user_id: str, item: Item) -> Profile:
    return Profile(
        id=user_id,
        email=item.get("email"),
        system={name: item[name] for name in SYSTEM_ATTRIBUTES if name in item},
        attributes=item["attributes"],
        tags=frozenset(item["tags"]),
        cursor_key=item["cursorKey"],
    )


def _tag_map(tags: Iterable[str]) -> dict[str, bool]:
    """A map, because single tags of it can be set and removed, and it may be empty."""
    return dict.fromkeys(tags, True)


def _event_id(item: Item) -> str:
    return str(item["sk"].removeprefix("EVENT#"))


def _replay(remembered: Item, key: IdempotencyKey, user_id: str) -> Answer:
    if remembered["bodyHash"] != key.body_hash:
        raise KeyReused([KEY_REUSED])
    return Answer(
        event_id=remembered["eventId"],
        user_id=remembered.get("userId", user_id),
        discarded=remembered["discarded"],
        warnings=tuple(Warning(**warning) for warning in remembered["warnings"]),
        replayed=True,
    )


class _Expression:
    """An update expression, and its placeholders for names (any name may be reserved) and values."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._values: dict[str, Any] = {}

    def update(
        self,
        sets: Mapping[tuple[str, ...], Any],
        removes: list[tuple[str, ...]],
        adds: Mapping[str, Any],
    ) -> str:
        clauses = {
            "SET": [f"{self._path(path)} = {self._value(value)}" for path, value in sets.items()],
            "REMOVE": [self._path(path) for path in removes],
            "ADD": [f"{self._path((name,))} {self._value(value)}" for name, value in adds.items()],
        }
        return " ".join(f"{verb} {', '.join(parts)}" for verb, parts in clauses.items() if parts)

    def equals(self, name: str, value: Any) -> str:
        return f"{self._path((name,))} = {self._value(value)}"

    def placeholders(self) -> dict[str, Any]:
        names = {placeholder: name for name, placeholder in self._names.items()}
        values = {"ExpressionAttributeValues": to_item(self._values)} if self._values else {}
        return {"ExpressionAttributeNames": names, **values}

    def _path(self, path: tuple[str, ...]) -> str:
        return ".".join(self._names.setdefault(name, f"#{len(self._names)}") for name in path)

    def _value(self, value: Any) -> str:
        placeholder = f":{len(self._values)}"
        self._values[placeholder] = value
        return placeholder
