"""The contract's sections 4, 5, 8 and 9 as a model in memory: what comes of events, one after the other.

It knows nothing of turns, transactions, locks or conditions: each event is judged by what was stored before it.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

from builders import EMAIL_OPEN_WINDOW, as_sent
from domain.times import iso

TOLERANCE = timedelta(minutes=5)
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Sent:
    """An event as a caller sends it. `who` is an email or an _id."""

    who: str
    type: str
    payload: dict[str, Any]
    id: str
    at: datetime
    fields: dict[str, Any] = field(default_factory=dict)

    @property
    def entry(self) -> dict[str, Any]:
        named = {"email" if "@" in self.who else "_id": self.who}
        at = self.at.astimezone(UTC).isoformat()
        return {"eventId": self.id, "eventTime": at, "user": named | self.fields, "event": {self.type: self.payload}}


@dataclass(frozen=True)
class Stored:
    id: str
    at: datetime
    type: str
    payload: dict[str, Any]


@dataclass(frozen=True)
class Expected:
    """What the answer to an event says. `first` are the ids of which one is named."""

    status: Literal["created", "duplicate", "discarded", "refused"]
    user_id: str | None = None
    same: bool | None = None
    first: frozenset[str] = frozenset()


@dataclass
class Person:
    id: str
    email: str | None
    attributes: dict[str, Any] = field(default_factory=dict)
    tags: set[str] = field(default_factory=set)
    changed_at: datetime = LONG_AGO
    purchases: int = 0
    spent: Decimal = Decimal(0)
    last_purchase: tuple[datetime, Decimal | None] | None = None
    last_open: datetime | None = None
    events: list[Stored] = field(default_factory=list)

    def set(self, attributes: dict[str, Any], tags: Sequence[str], at: datetime) -> None:
        """What an event that happened then sets. A late one sets what is lacking, adds tags and removes none."""
        if not attributes and not tags:
            return
        late = at + TOLERANCE < self.changed_at
        self.attributes = {**attributes, **self.attributes} if late else {**self.attributes, **attributes}
        for tag, stays in {tag.lstrip("-"): not tag.startswith("-") for tag in tags}.items():  # the last word counts
            if stays:
                self.tags.add(tag)
            elif not late:
                self.tags.discard(tag)
        self.changed_at = self.changed_at if late else max(self.changed_at, at)

    def known(self, sent: Sent) -> Stored | None:
        return next((each for each in self.events if (each.id, each.at) == (sent.id, sent.at)), None)

    def buys(self, total: Decimal | None, at: datetime) -> None:
        self.purchases += 1
        self.spent += total or 0
        if self.last_purchase is None or at >= self.last_purchase[0]:
            self.last_purchase = at, total


class Contract:
    """An account: its users and its orders."""

    def __init__(self) -> None:
        self.people: list[Person] = []
        self.orders: dict[str, Stored] = {}

    def copy(self) -> "Contract":
        return copy.deepcopy(self)

    def named(self, who: str) -> Person | None:
        return next((person for person in self.people if who in (person.email, person.id)), None)

    def takes(self, sent: Sent) -> Expected:
        """What comes of an event, which is stored if it is created."""
        person = self.named(sent.who)
        if person is None:
            return Expected("refused")
        claims = sent.payload.get("email") if sent.type == "login" else None
        other = self.named(claims) if claims else None
        # A login that was another user's stays so, though its sender has got an address since.
        if other and (person.email is None or (sent.who == person.id and other.known(sent))):
            person = other
        known = person.known(sent)
        if known:
            return Expected("duplicate", person.id, (known.type, known.payload) == (sent.type, sent.payload))
        first = self._first(sent, person)
        if first:
            same = next(iter(first)).payload == sent.payload if len(first) == 1 else None
            return Expected("discarded", person.id, same, frozenset(each.id for each in first))
        self._store(sent, person)
        if claims and person.email is None:
            person.email = claims
        return Expected("created", person.id)

    def _first(self, sent: Sent, person: Person) -> list[Stored]:
        """The stored events because of which this one is kept out."""
        if sent.type == "confirmation":
            return [self.orders[sent.payload["orderId"]]] if sent.payload["orderId"] in self.orders else []
        if sent.type == "emailopen":
            opens = [each for each in person.events if each.type == "emailopen"]
            return [each for each in opens if abs(each.at - sent.at) < EMAIL_OPEN_WINDOW]
        return []

    def _store(self, sent: Sent, person: Person) -> None:
        stored = Stored(sent.id, sent.at, sent.type, sent.payload)
        person.events.append(stored)
        attributes, tags = dict(sent.fields), []
        if sent.type in ("update", "login"):
            attributes |= {name: value for name, value in sent.payload.items() if name not in ("tags", "email")}
            tags = sent.payload.get("tags", [])
        person.set(attributes, tags, sent.at)
        if sent.type == "confirmation":
            self.orders[sent.payload["orderId"]] = stored
            person.buys(sent.payload.get("total"), sent.at)
        if sent.type == "emailopen":
            person.last_open = max(person.last_open or sent.at, sent.at)


def shown(person: Person) -> dict[str, Any]:
    """The user as callers see it, without createdOn."""
    profile: dict[str, Any] = {"_id": person.id, **as_sent(person.attributes)}
    profile |= {"email": person.email} if person.email else {}
    profile |= {"tags": sorted(person.tags)} if person.tags else {}
    profile |= {"lastEmailOpenDate": iso(person.last_open)} if person.last_open else {}
    if person.last_purchase:
        at, value = person.last_purchase
        profile |= {"isCustomer": True, "numberOfPurchases": Decimal(person.purchases), "lastPurchaseDate": iso(at)}
        profile |= {} if value is None else {"lastPurchaseValue": Decimal(value)}
        counted = [each for each in person.events if each.type == "confirmation" and "total" in each.payload]
        profile |= {"totalPurchasesValue": Decimal(person.spent)} if counted else {}
    return profile
