"""Users and their email addresses.

Attributes and tags are maps, so a write can set or remove one entry. Every change of them has three conditions:

    createdOn        the user exists; the tombstone of an erased user does not have this attribute
    changedAt        no newer event changed the attributes; otherwise the change is late (section 9)
    attributeBytes   the attributes stay below a limit, so that the system's attributes always fit (section 7)

`attributeBytes` is an upper bound: each change adds the bytes that it sets and subtracts nothing. If it reaches the
limit, or if a profile of 1.0 lacks these numbers, `_exact` computes the change from the current profile. The write then
requires that the profile is unchanged. All other changes read nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from functools import partial
from secrets import token_hex
from typing import Any, NamedTuple

from domain.ids import new_id
from domain.problems import Notice, Refused, guarded, too_large
from domain.profile import SYSTEM_ATTRIBUTES, TOLERANCE_MS, Change, Profile, are_in_order, merge
from domain.times import iso, milliseconds_of
from table import Account
from table import primary_keys as keys
from table.attribute_values import size_of
from table.calls import MAX_ITEM_BYTES
from table.expressions import IS_NEW, Changes, Check, Compare, Condition, Delete, Equals, Exists, Item, Put, Update
from table.primary_keys import Key

MAX_ATTRIBUTE_BYTES = MAX_ITEM_BYTES - 8 * 1024  # reserved for the system's attributes, which take less than 2 KB
# An expression has at most 4 KB and 300 operators. A change of more paths replaces both maps.
MAX_PATHS = 100

EXISTS = Exists("createdOn")


def look_up(
    account: Account, emails: Sequence[str], ids: Sequence[str]
) -> tuple[dict[str, str | Refused | None], dict[str, Profile | Refused | None]]:
    """Return the user id of each email and the profile of each id. None: there is no such user. Refused: not read."""
    wanted = [keys.email(account.name, email) for email in emails] + [keys.profile(account.name, each) for each in ids]
    found = account.table.get_all(wanted)
    owners = [item["userId"] if isinstance(item, dict) else item for item in found[: len(emails)]]
    items = zip(ids, found[len(emails) :], strict=True)
    read = {each: guarded(partial(profile_of, each, it)) if isinstance(it, dict) else it for each, it in items}
    return dict(zip(emails, owners, strict=True)), read


def user_id_of(account: Account, email: str) -> str | None:
    found = account.table.get(keys.email(account.name, email))
    return found["userId"] if found else None


def read(account: Account, user_id: str) -> Profile | None:
    found = account.table.get(keys.profile(account.name, user_id))
    return profile_of(user_id, found) if found else None


def profile_of(user_id: str, item: Item) -> Profile | None:
    """Return the profile in an item. None: the item is the tombstone of an erased user."""
    if "createdOn" not in item:
        return None
    return Profile(
        id=user_id,
        email=item.get("email"),
        system={name: item[name] for name in SYSTEM_ATTRIBUTES if name in item},
        attributes=item["attributes"],
        tags=frozenset(item["tags"]),
        cursor_key=item["cursorKey"],
        changed_at=int(item["changedAt"]) if "changedAt" in item else None,
        size=int(item["attributeBytes"]) if "attributeBytes" in item else None,
    )


def create(account: Account, chosen_id: str | None, email: str | None, change: Change, now: datetime) -> Profile | None:
    """Create a user. Return None if a user has the email or the chosen id, or if that was erased. Raise TooLarge."""
    user_id = chosen_id or new_id(now)
    item = new_item(email, change, now)
    if item["attributeBytes"] > MAX_ATTRIBUTE_BYTES:
        raise too_large("user")
    actions = creation(account, user_id, item, chosen_id=chosen_id is not None)
    failed = account.table.write(list(actions.values()), field="user")
    # An attempt whose response was lost may have created this profile.
    if failed is None or failed.get(0, {}).get("cursorKey") == item["cursorKey"]:
        return profile_of(user_id, item)
    return None


def change(account: Account, user_id: str, change: Change, seen: Profile) -> Profile | None:
    """Change a user whose profile was read as `seen`. Return the new profile, or None if the user does not exist."""
    while True:
        now = change._replace(at=max(change.at, seen.changed_at or 0))  # this change is never late
        planned = plan(keys.profile(account.name, user_id), [now], None, seen)
        assert planned, "the profile is known"
        if planned.too_large:
            raise too_large("user")
        failed = account.table.write([planned.action], field="user")
        if failed is None:
            return read(account, user_id)
        found = profile_of(user_id, failed[0])
        if found is None:
            return None
        seen = found


def change_email(account: Account, profile: Profile, email: str) -> str | None:
    """Set the email of a user and release the previous one. Return None if this is done.

    Otherwise return the id of the user who has the email, or "" if the user is not as `profile` says.
    """
    is_same = EXISTS & Equals("email", profile.email)
    changed = Update(keys.profile(account.name, profile.id), Changes(sets={("email",): email}), is_same)
    released = [Delete(keys.email(account.name, profile.email))] if profile.email else []
    failed = account.table.write([changed, claim(account, email, profile.id), *released])
    return None if failed is None else str(failed.get(1, {}).get("userId", ""))


def remove_attribute(account: Account, user_id: str, name: str) -> bool:
    """Remove an attribute, or all tags. Return False if the user does not exist. A late event may set it again."""
    changes = Changes(sets={("tags",): {}}) if name == "tags" else Changes(removes=[("attributes", name)])
    return account.table.write([Update(keys.profile(account.name, user_id), changes, EXISTS)]) is None


def new_item(email: str | None, change: Change, now: datetime) -> Item:
    """Return the item of a new user with the attributes of a change, but without its key."""
    return {
        "createdOn": iso(now),
        "attributes": change.attributes,
        "tags": dict.fromkeys(change.add_tags, True),
        "cursorKey": token_hex(16),
        "changedAt": milliseconds_of(now) if change.sets_attributes else 0,
        "attributeBytes": bytes_of(change.attributes, change.add_tags),
        **({"email": email} if email else {}),
    }


def creation(account: Account, user_id: str, item: Item, *, chosen_id: bool) -> dict[str, Put | Check]:
    """Return the actions that create a user, by their roles. A caller may have chosen the id; otherwise it is new."""
    actions: dict[str, Put | Check] = {"user": Put(keys.profile(account.name, user_id), item, IS_NEW)}
    if "email" in item:
        actions["email"] = claim(account, item["email"], user_id)
    if chosen_id:
        actions["erased"] = Check(keys.erased(account.name, user_id), IS_NEW)
    return actions


def claim(account: Account, email: str, user_id: str) -> Put:
    """Return the action that gives an email to a user. It fails if a user has the email."""
    return Put(keys.email(account.name, email), {"userId": user_id}, IS_NEW)


# --- Changes --------------------------------------------------------------------------------------


class Plan(NamedTuple):
    """The action that writes changes of one user, and the warnings of each change.

    `too_large` has the indexes of changes that do not fit. If there are any, plan the other changes again.
    """

    action: Update | Check
    warnings: tuple[tuple[Notice, ...], ...]
    too_large: frozenset[int] = frozenset()


def plan(key: Key, changes: Sequence[Change], claims_email: str | None, seen: Profile | None) -> Plan | None:
    """Return the plan for changes of one user, applied in their order. Return None if it needs the profile `seen`."""
    merged = merge(changes) if len(changes) > 1 else changes[0]
    sets_attributes = merged.sets_attributes
    # Each change has to fit, even if a later one removes it again.
    most = sum(bytes_of(each.attributes, each.add_tags) for each in changes) if sets_attributes else 0
    if sets_attributes and not _is_plain(changes, merged, most, seen):
        return _exact(key, changes, claims_email, seen) if seen else None
    made, condition = _system_changes(merged, seen, claims_email)
    if sets_attributes:
        made.sets |= {("attributes", name): value for name, value in merged.attributes.items()}
        made.sets |= {("tags", tag): True for tag in merged.add_tags}
        made.removes += [("tags", tag) for tag in merged.remove_tags]
        made.adds["attributeBytes"] = Decimal(bytes_of(merged.attributes, merged.add_tags))
        condition &= Compare("attributeBytes", "<=", MAX_ATTRIBUTE_BYTES - most)
        times = [each.at for each in changes if each.sets_attributes]
        newest, late_after = max(times), min(times) + TOLERANCE_MS
        if seen is None or seen.changed_at is None or seen.changed_at <= newest:
            # ---- changedAt -------- the changes: changedAt moves on -------->
            made.sets[("changedAt",)] = newest
            condition &= Compare("changedAt", "<=", min(newest, late_after))
        else:
            # ---- the changes ------- changedAt, at most 5 minutes later: it stays -------->
            condition &= Compare("changedAt", "<=", late_after)
            condition &= Compare("changedAt", ">", newest)
    action = Update(key, made, condition) if made.sets or made.removes or made.adds else Check(key, condition)
    return Plan(action, tuple(() for _ in changes))


def _is_plain(changes: Sequence[Change], merged: Change, most: int, seen: Profile | None) -> bool:
    """Return whether the changes, which set `most` bytes, can be written without reading the whole profile."""
    paths = len(merged.attributes) + len(merged.add_tags) + len(merged.remove_tags)
    if paths > MAX_PATHS or most > MAX_ATTRIBUTE_BYTES or not are_in_order(changes):
        return False
    if seen is None:
        return True
    if seen.changed_at is None or seen.size is None or seen.size + most > MAX_ATTRIBUTE_BYTES:
        return False
    return not any(change.is_late(seen.changed_at) for change in changes)


def _exact(key: Key, changes: Sequence[Change], claims_email: str | None, seen: Profile) -> Plan:
    """Return the plan that computes the result from the profile `seen`, on condition that it is unchanged."""
    changed_at = _changed_at(seen)
    attributes, tags = dict(seen.attributes), seen.tags
    size = bytes_of(attributes, tags)
    done: list[Change] = []
    too_large = set()
    for index, each in enumerate(changes):
        late = each.is_late(changed_at)
        change = each.as_late(attributes) if late else each
        grown = _growth(change, attributes, tags)
        if change.sets_attributes and size + grown > max(MAX_ATTRIBUTE_BYTES, size):
            if change.totals or change.latest:  # a full profile does not refuse a purchase or an open
                change = change.without_attributes()
            else:
                too_large.add(index)
        else:
            attributes |= change.attributes
            tags = (tags - change.remove_tags) | change.add_tags
            size += grown
            changed_at = max(changed_at, change.at) if each.sets_attributes and not late else changed_at
        done.append(change)
    merged = merge(change for index, change in enumerate(done) if index not in too_large)
    made, condition = _system_changes(merged, seen, claims_email)
    made.sets |= {("attributes",): attributes, ("tags",): dict.fromkeys(tags, True)}
    made.sets |= {("changedAt",): changed_at, ("attributeBytes",): size}
    condition &= Equals("attributes", seen.attributes) & Equals("tags", dict.fromkeys(seen.tags, True))
    action = Update(key, made, condition & Equals("changedAt", seen.changed_at))
    warnings = tuple(change.warnings[len(each.warnings) :] for change, each in zip(done, changes, strict=True))
    return Plan(action, warnings, frozenset(too_large))


def _system_changes(merged: Change, seen: Profile | None, claims_email: str | None) -> tuple[Changes, Condition]:
    """Return the changes of the system's attributes, and the condition on the user."""
    made, condition = Changes(sets={(name,): value for name, value in merged.system.items()}), EXISTS
    made.adds |= merged.totals
    for name, latest in merged.latest.items():
        if seen and seen.system.get(name, "") > latest.date:
            continue  # these dates never decrease
        # ---- the stored date ---- this event: its date and values replace the stored ones -------->
        condition &= Equals(name, None) | Compare(name, "<=", latest.date)
        made.sets[(name,)] = latest.date
        made.sets |= {(other,): value for other, value in latest.others.items() if value is not None}
        made.removes += [(other,) for other, value in latest.others.items() if value is None]
    if claims_email:
        condition &= Equals("email", None)
        made.sets[("email",)] = claims_email
    return made, condition


def _changed_at(seen: Profile) -> int:
    """Return when the attributes last changed. For a profile of 1.0 this is when the user was created."""
    if seen.changed_at is not None:
        return seen.changed_at
    has_any = seen.attributes or seen.tags
    return milliseconds_of(datetime.fromisoformat(seen.system["createdOn"])) if has_any else 0


def bytes_of(attributes: Mapping[str, Any], tags: Iterable[str]) -> int:
    """Return an upper bound of the bytes of attributes and tags in a profile."""
    return size_of(attributes) + sum(len(tag.encode()) + 2 for tag in tags)


def _growth(change: Change, attributes: Mapping[str, Any], tags: frozenset[str]) -> int:
    """Return by how many bytes a change enlarges attributes and tags, without measuring the whole profile."""
    replaced = {name: attributes[name] for name in change.attributes if name in attributes}
    return bytes_of(change.attributes, change.add_tags - tags) - bytes_of(replaced, change.remove_tags & tags)
