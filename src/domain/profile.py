"""A user's profile, and how events change it: contract, sections 5, 6 and 9."""

import re
from collections.abc import Container, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from operator import attrgetter
from typing import Any, NamedTuple, TypeVar

from domain import problems
from domain.email import normal_email
from domain.problems import Notice
from domain.times import iso, milliseconds_of
from domain.values import as_number

T = TypeVar("T")
# The attributes that only the system writes, with their JSON schema types. Event types add theirs (event_types.py).
SYSTEM_ATTRIBUTES: dict[str, str] = {"_id": "string", "createdOn": "string"}
# DynamoDB has 38 digits, so the sum of 10^14 such totals is exact.
MAX_TOTAL = Decimal("1E15")
SMALLEST_PART = Decimal("1E-9")
# An event that is older than the profile's newest change by more than this is late: section 9.
TOLERANCE = timedelta(minutes=5)
TOLERANCE_MS = TOLERANCE // timedelta(milliseconds=1)


class Profile(NamedTuple):
    """A user as stored. `system` holds those of SYSTEM_ATTRIBUTES that are set.

    `changed_at` is when the newest event happened that changed the attributes, in milliseconds. `size` bounds the bytes
    that attributes and tags take; it may be too large, never too small. Both are None in a profile of 1.0.
    """

    id: str
    email: str | None = None
    system: Mapping[str, Any] = {}
    attributes: Mapping[str, Any] = {}
    tags: frozenset[str] = frozenset()
    cursor_key: str = ""  # signs the cursors of this user's timeline; goes with the user
    changed_at: int | None = None
    size: int | None = None

    def flat(self) -> dict[str, Any]:
        """Return the user as a flat object, as responses show it.

        A profile of 1.1 may have an attribute with the name of a new attribute of the system, which then counts.
        """
        identity = {"_id": self.id} | ({"email": self.email} if self.email else {})
        tags = {"tags": sorted(self.tags)} if self.tags else {}
        return {**identity, **self.system, **self.attributes, **self.system, **tags}


class Latest(NamedTuple):
    """A date attribute of the event with the latest time. `others` are set together with it (None: removed)."""

    date: str
    others: Mapping[str, Any] = {}


class Change(NamedTuple):
    """The change that an event makes to a profile. `at` is when it happened, in milliseconds since 1970.

    `attributes` and `system` are set; `latest` is set if the event is the latest one; `totals` are added. `places` has
    the dotted path of each attribute in the request. `warnings` name the ignored parts of the request.
    """

    at: int = 0
    attributes: Mapping[str, Any] = {}
    places: Mapping[str, str] = {}
    add_tags: frozenset[str] = frozenset()
    remove_tags: frozenset[str] = frozenset()
    system: Mapping[str, Any] = {}
    latest: Mapping[str, Latest] = {}
    totals: Mapping[str, Decimal] = {}
    warnings: tuple[Notice, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.sets_attributes or self.system or self.latest or self.totals)

    @property
    def sets_attributes(self) -> bool:
        return bool(self.attributes or self.add_tags or self.remove_tags)

    def is_late(self, changed_at: int) -> bool:
        return self.sets_attributes and self.at + TOLERANCE_MS < changed_at

    def as_late(self, attributes: Mapping[str, Any]) -> "Change":
        """Return a late change to a profile with these attributes: it sets only missing ones and removes nothing."""
        return self._without(attributes, self.add_tags, "older_than_profile")

    def without_attributes(self) -> "Change":
        """Return the change without its attributes and tags, which do not fit into the profile."""
        return self._without(self.attributes, frozenset(), "profile_full")

    def _without(self, names: Container[str], add_tags: frozenset[str], code: str) -> "Change":
        """Return the change without the attributes of these names, and with no other tags than `add_tags` to add."""
        left_out = [name for name in self.attributes if name in names]
        left_out += ["tags"] if self.remove_tags or self.add_tags != add_tags else []
        return self._replace(
            attributes={name: value for name, value in self.attributes.items() if name not in names},
            add_tags=add_tags,
            remove_tags=frozenset(),
            warnings=(*self.warnings, *problems.notices(code, [self.places.get(name, name) for name in left_out])),
        )


NO_CHANGE = Change()


def merge(changes: Iterable[Change]) -> Change:
    """Return one change with the result of all `changes`, applied in their order."""
    changes = list(changes)
    tags: dict[str, bool] = {}
    latest: dict[str, Latest] = {}
    totals: dict[str, Decimal] = {}
    for change in changes:
        tags |= dict.fromkeys(change.remove_tags, False) | dict.fromkeys(change.add_tags, True)
        for name, each in change.latest.items():
            latest[name] = max(each, latest.get(name, each), key=attrgetter("date"))
        totals |= {name: totals.get(name, Decimal(0)) + value for name, value in change.totals.items()}
    added = frozenset(tag for tag, stays in tags.items() if stays)
    return Change(
        at=max((change.at for change in changes), default=0),
        attributes=_joined(change.attributes for change in changes),
        places=_joined(change.places for change in changes),
        add_tags=added,
        remove_tags=frozenset(tags) - added,
        system=_joined(change.system for change in changes),
        latest=latest,
        totals=totals,
        warnings=tuple(warning for change in changes for warning in change.warnings),
    )


def _joined(maps: Iterable[Mapping[str, T]]) -> dict[str, T]:
    return {name: value for each in maps for name, value in each.items()}


def change_attributes(sent: Mapping[str, Any], email: str | None, prefix: str, at: int) -> Change:
    """Return the change that sets the attributes `sent` of the user with `email`. `prefix` begins their paths."""
    found = problems.notices("system_attribute_ignored", [prefix + name for name in SYSTEM_ATTRIBUTES if name in sent])
    if "email" in sent and (normal_email(sent["email"]) or sent["email"]) != email:
        found.append(problems.notice("email_ignored", f"{prefix}email"))
    attributes = {name: value for name, value in sent.items() if is_attribute(name)}
    added, removed = change_tags(sent.get("tags", []))
    return Change(
        at=at,
        attributes=attributes,
        places={name: prefix + name for name in sent},
        add_tags=added,
        remove_tags=removed,
        warnings=(*found, *_tag_warnings(sent.get("tags", []), f"{prefix}tags")),
    )


def is_attribute(name: str) -> bool:
    """Return whether callers may set an attribute with this name."""
    return name not in SYSTEM_ATTRIBUTES and name not in ("email", "tags")


def change_tags(sent: str | list[str]) -> tuple[frozenset[str], frozenset[str]]:
    """Return the tags to add and the tags to remove. If a tag is sent twice, the last one counts."""
    wanted = {tag: not part.strip().startswith("-") for part in _parts(sent) if (tag := _tag(part))}
    added = frozenset(tag for tag, stays in wanted.items() if stays)
    return added, frozenset(wanted) - added


def _parts(sent: str | list[str]) -> list[str]:
    return sent.split(";") if isinstance(sent, str) else sent


def _tag(part: str) -> str:
    return re.sub(r"\W", "", part.lower())


def _tag_warnings(sent: str | list[str], place: str) -> list[Notice]:
    """Return the warnings of tags without letters and digits, and of commas between the tags of a string."""
    places = [place if isinstance(sent, str) else f"{place}.{index}" for index in range(len(_parts(sent)))]
    empty = [each for each, part in zip(places, _parts(sent), strict=True) if part.strip() and not _tag(part)]
    commas = [problems.notice("comma_in_tags", place)] if isinstance(sent, str) and "," in sent else []
    return [*problems.notices("tag_ignored", empty), *commas]


class Maintained(NamedTuple):
    """The names of the attributes that the system maintains for the events of a type; "" for those that it does not.

    `number` counts the events, `total` adds their totals, `flag` is true after the first event, and the others are
    those of the latest event.
    """

    last_date: str
    last_total: str = ""
    number: str = ""
    total: str = ""
    flag: str = ""

    @property
    def types(self) -> dict[str, str]:
        """The type of each attribute in a JSON schema."""
        types = {self.flag: "boolean", self.number: "number", self.total: "number", self.last_total: "number"}
        return {name: kind for name, kind in {**types, self.last_date: "string"}.items() if name}


def change_by_event(kept: Maintained, happened_at: datetime, total: object = None, sent_in: str = "") -> Change:
    """Return the change that an event makes to the attributes of the system.

    A total that cannot be counted causes a warning if it was sent in the field `sent_in`.
    """
    value = countable(total)
    totals = {kept.number: Decimal(1)} | ({kept.total: value} if value is not None else {})
    others = {kept.last_total: value} if kept.last_total else {}
    return Change(
        at=milliseconds_of(happened_at),
        system={kept.flag: True} if kept.flag else {},
        latest={kept.last_date: Latest(date=iso(happened_at), others=others)},
        totals={name: number for name, number in totals.items() if name},
        warnings=(problems.notice("total_not_counted", sent_in),) if sent_in and value is None else (),
    )


def countable(total: object) -> Decimal | None:
    """Return the value that totals count: rounded to 9 decimals, half to even. None if it cannot be counted."""
    value = as_number(total)
    # abs() would round, and fail for numbers beyond what Python calculates with.
    if value is None or value.copy_abs() >= MAX_TOTAL:
        return None
    rounded = value.quantize(SMALLEST_PART, ROUND_HALF_EVEN)
    return value if value == rounded else rounded


def are_in_order(changes: Sequence[Change]) -> bool:
    """Return whether no change is late because of an earlier one in the list."""
    newest = 0
    for change in changes:
        if change.is_late(newest):
            return False
        newest = max(newest, change.at) if change.sets_attributes else newest
    return True
