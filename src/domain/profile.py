"""Contract sections 5 and 6: what a user's profile is, and what an event changes of it. No DynamoDB here."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from domain.email import normal_email
from domain.problems import Warning
from domain.values import as_number

# Maintained by the system. Callers cannot write these: a try is left out with a warning.
SYSTEM_ATTRIBUTES = (
    "_id",
    "createdOn",
    "isCustomer",
    "numberOfPurchases",
    "totalPurchasesValue",
    "lastPurchaseValue",
    "lastPurchaseDate",
    "lastEmailOpenDate",
)
# 10^14 orders below this size, with parts as small as this, add up exactly in DynamoDB's 38 digits.
MAX_TOTAL = Decimal("1E15")
SMALLEST_PART = Decimal("1E-9")


@dataclass(frozen=True, slots=True)
class Profile:
    """A user as stored. `system` holds those of SYSTEM_ATTRIBUTES that are set."""

    id: str
    email: str | None = None
    system: Mapping[str, Any] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)
    tags: frozenset[str] = frozenset()
    cursor_key: str = ""  # signs the cursors of this user's timeline; goes with the user

    def flat(self) -> dict[str, Any]:
        """The one flat object that callers see."""
        identity = {"_id": self.id} | ({"email": self.email} if self.email else {})
        tags = {"tags": sorted(self.tags)} if self.tags else {}
        return {**identity, **self.system, **self.attributes, **tags}


@dataclass(frozen=True, slots=True)
class Change:
    """What happens to a profile: `attributes` and `system` are set, `totals` are added."""

    attributes: Mapping[str, Any] = field(default_factory=dict)
    add_tags: frozenset[str] = frozenset()
    remove_tags: frozenset[str] = frozenset()
    system: Mapping[str, Any] = field(default_factory=dict)
    totals: Mapping[str, Decimal] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return any((self.attributes, self.add_tags, self.remove_tags, self.system, self.totals))


NO_CHANGE = Change()


def iso(moment: datetime) -> str:
    """ISO 8601 in UTC, to the millisecond: 2026-11-23T07:25:00.000Z."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def change_attributes(sent: Mapping[str, Any], email: str | None, prefix: str) -> tuple[Change, list[Warning]]:
    """What setting the attributes `sent` changes of the user with `email`; `prefix` names their place."""
    warnings = [
        Warning(prefix + name, f"{name} is maintained by the system and was left out.")
        for name in SYSTEM_ATTRIBUTES
        if name in sent
    ]
    if "email" in sent and (normal_email(sent["email"]) or sent["email"]) != email:
        warnings.append(Warning(f"{prefix}email", "This is not the user's email. The identity stays as it is."))
    attributes = {name: value for name, value in sent.items() if name not in (*SYSTEM_ATTRIBUTES, "email", "tags")}
    return Change(attributes, *change_tags(sent.get("tags", []))), warnings


def change_tags(sent: str | list[str]) -> tuple[frozenset[str], frozenset[str]]:
    """The tags to add and the tags to remove. The last word on a tag counts."""
    parts = sent.split(";") if isinstance(sent, str) else sent
    wanted: dict[str, bool] = {}
    for part in parts:
        tag = "".join(letter for letter in part.lower() if letter.isalnum() or letter == "_")
        if tag:
            wanted[tag] = not part.strip().startswith("-")
    added = frozenset(tag for tag, stays in wanted.items() if stays)
    return added, frozenset(wanted) - added


def change_by_purchase(total: object, now: datetime, *, was_sent: bool = True) -> tuple[Change, list[Warning]]:
    """What an accepted confirmation changes. A total that cannot be counted never loses the purchase.

    An order without a total (`was_sent` is False) is nothing to warn of.
    """
    system: dict[str, Any] = {"isCustomer": True, "lastPurchaseDate": iso(now)}
    totals = {"numberOfPurchases": Decimal(1)}
    value = as_number(total)
    if value is not None and _can_be_counted(value):
        system["lastPurchaseValue"] = value
        totals["totalPurchasesValue"] = value
        return Change(system=system, totals=totals), []
    warning = Warning(
        "event.confirmation.total",
        "This is not a number that can be counted. It was kept as sent, and left out of the totals.",
    )
    return Change(system=system, totals=totals), [warning] if was_sent else []


def change_by_email_open(now: datetime) -> Change:
    return Change(system={"lastEmailOpenDate": iso(now)})


def merge(changes: Iterable[Change]) -> Change:
    """One change that does all of `changes`; the later one wins where two set the same."""
    merged = NO_CHANGE
    for change in changes:
        merged = Change(
            {**merged.attributes, **change.attributes},
            (merged.add_tags - change.remove_tags) | change.add_tags,
            (merged.remove_tags - change.add_tags) | change.remove_tags,
            {**merged.system, **change.system},
            {**merged.totals, **change.totals},
        )
    return merged


def _can_be_counted(value: Decimal) -> bool:
    # abs() would round, and fail for numbers beyond what Python calculates with.
    return value.copy_abs() < MAX_TOTAL and value == value.quantize(SMALLEST_PART)
