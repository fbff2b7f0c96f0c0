"""Counts of refusals, which the account can read: contract, section 10.

There is an item for each hour, code, event type and field. A batch that is refused for several reasons is one write:
the item of this combination has one count for each reason. So no item is larger than a write unit.

A caller can cause any number of combinations, and a page reads whole hours. So an hour has a fixed number of slots, and
the digest of a combination chooses its slot. If another combination has the slot, the condition of the write fails.
Then only the most frequent reason of the batch is counted, in the item of that reason.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from itertools import groupby, islice
from typing import Any, NamedTuple

from domain.times import iso
from table import Account
from table import primary_keys as keys
from table.expressions import IS_NEW, Changes, Equals, Item, Path, Update
from table.primary_keys import Key

LIFETIME = timedelta(days=30)
COMBINATIONS = 4000  # slots for combinations of reasons in an hour
MAX_REASONS = 8  # of one batch, the most frequent ones, so that its item stays below a write unit
SEPARATOR = "#"
LAST = "~"  # sorts after all keys of an hour
HOUR = "%Y-%m-%dT%H:00:00.000Z"


class Reason(NamedTuple):
    """The reason of a refusal. `type` is a known event type, `field` consists of names of the contract."""

    code: str
    type: str = ""
    field: str = ""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The count of a refusal in an hour, which is named by its beginning."""

    hour: str
    reason: Reason
    count: int
    last_request_id: str


def count(account: Account, reasons: Mapping[Reason, int], request_id: str, now: datetime) -> None:
    """Count the reasons of a refused request in one write; in two if the slot of its combination is taken."""
    listed = sorted(reasons.items(), key=lambda each: (-each[1], each[0]))[:MAX_REASONS]
    if len(listed) > 1:
        digest = sha256("\n".join(sorted(_name(reason) for reason, _ in listed)).encode()).hexdigest()
        place = f"{int(digest, 16) % COMBINATIONS:04}"
        if account.table.write_one(_adding(account, place, listed, request_id, now, digest)) is None:
            return
    account.table.write_one(_adding(account, _name(listed[0][0]), listed[:1], request_id, now))


def _adding(
    account: Account, place: str, listed: Sequence[tuple[Reason, int]], request_id: str, now: datetime, digest: str = ""
) -> Update:
    """Return the action that counts reasons in an item, if no combination with another digest has it."""
    expires_at = int((now + LIFETIME).timestamp()) + 3600
    sets: dict[Path, Any] = {("expiresAt",): expires_at, ("lastOn",): iso(now), ("lastRequestId",): request_id}
    sets |= {("combination",): digest} if digest else {}
    adds = {f"count{SEPARATOR}{_name(reason)}": Decimal(number) for reason, number in listed}
    key = Key(keys.refusals(account.name), f"{now.strftime(HOUR)}{SEPARATOR}{place}")
    return Update(key, Changes(sets=sets, adds=adds), IS_NEW | Equals("combination", digest) if digest else None)


def page(account: Account, limit: int, after: Refusal | None, now: datetime) -> tuple[list[Refusal], bool]:
    """Return at most `limit` refusals of 30 days after `after`, newest hour first, and whether there are more."""
    listed = _newest_first(account, after, now)
    left = (each for each in listed if not (after and each.hour == after.hour and each.reason <= after.reason))
    found = list(islice(left, limit + 1))
    return found[:limit], len(found) > limit


def _newest_first(account: Account, after: Refusal | None, now: datetime) -> Iterator[Refusal]:
    newest, oldest = (after.hour if after else now.strftime(HOUR)) + LAST, (now - LIFETIME).strftime(HOUR)
    if newest < oldest:  # the previous page is old; DynamoDB refuses such a range
        return
    options = {"ScanIndexForward": False, "ConsistentRead": False}
    stored = account.table.partition(keys.refusals(account.name), (oldest, newest), **options)
    for _, items in groupby(stored, key=_hour):
        found: dict[Reason, Refusal] = {}
        for item in sorted(items, key=lambda item: str(item["lastOn"])):
            for refusal in _refusals(item):
                known = found.get(refusal.reason)
                more = refusal.count + (known.count if known else 0)
                found[refusal.reason] = replace(refusal, count=more)
        yield from (found[reason] for reason in sorted(found))


def _hour(item: Item) -> str:
    return str(item["sk"]).partition(SEPARATOR)[0]


def _refusals(item: Item) -> Iterator[Refusal]:
    for name, value in item.items():
        kind, _, rest = name.partition(SEPARATOR)
        if kind == "count":
            yield Refusal(_hour(item), Reason(*rest.split(SEPARATOR)), int(value), item["lastRequestId"])


def _name(reason: Reason) -> str:
    return SEPARATOR.join((reason.code, reason.type, reason.field))
