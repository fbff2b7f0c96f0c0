"""The contract's sections 4, 5, 7, 8 and 9 as a model in memory: the results of events, one after the other.

It knows nothing of turns, transactions, locks or conditions: each event is judged by what was stored before it.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

from api.gateway import Answer
from builders import as_sent
from domain.times import iso

TOLERANCE = AHEAD = timedelta(minutes=5)
BACK, REMEMBERED = timedelta(days=35), timedelta(days=30)
KEY_LIFETIME = timedelta(hours=24)
SECOND, MICROSECOND = timedelta(seconds=1), timedelta(microseconds=1)
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
THE_YEAR_2000 = datetime(2000, 1, 1, tzinfo=UTC)
# The types that ship, and those of declared.py.
ONCE = {"confirmation": "orderId", "refund": "refundId", "review": "reviewId"}
WINDOWS = {"emailopen": timedelta(minutes=20), "emailclick": timedelta(minutes=10)}


@dataclass(frozen=True)
class Reason:
    """The reason of a refusal, as GET /v1/refusals lists it."""

    code: str
    type: str = ""
    field: str = ""


@dataclass(frozen=True)
class Wrong:
    """A way in which an event can be wrong, for any user. `changes` are applied to the event; None: 7 is sent."""

    reason: Reason
    changes: dict[str, Any] | None


@dataclass(frozen=True)
class Sent:
    """An event as a caller sends it. `who` is an email or an _id, `also` an _id that is sent with the email.

    Without `own_time`, the time is that of its UUIDv7.
    """

    who: str
    type: str
    payload: dict[str, Any]
    id: str
    at: datetime
    fields: dict[str, Any] = field(default_factory=dict)
    own_time: bool = True
    also: str | None = None
    wrong: Wrong | None = None

    @property
    def entry(self) -> Any:
        named = {"email" if "@" in self.who else "_id": self.who} | ({"_id": self.also} if self.also else {})
        when = {"eventTime": self.at.astimezone(UTC).isoformat()} if self.own_time else {}
        entry = {"eventId": self.id, **when, "user": named | self.fields, "event": {self.type: self.payload}}
        if self.wrong is None:
            return entry
        return 7 if self.wrong.changes is None else entry | self.wrong.changes


@dataclass(frozen=True)
class Stored:
    """A stored event. `warnings` are the fields that were left out."""

    id: str
    at: datetime
    type: str
    payload: dict[str, Any]
    received_at: datetime = LONG_AGO
    imported: bool = False
    warnings: frozenset[str] = frozenset()
    of_the_erased: bool = False


@dataclass(frozen=True)
class Expected:
    """The expected answer to an event.

    `first` are the ids of which one is named; that of an erased user has none. `warnings` are the fields of warnings.
    """

    status: Literal["created", "duplicate", "discarded", "refused"]
    user_id: str | None = None
    same: bool | None = None
    first: frozenset[str] = frozenset()
    reason: Reason | None = None
    warnings: frozenset[str] = frozenset()
    user_created: bool = False


@dataclass
class Person:
    id: str
    email: str | None
    attributes: dict[str, Any] = field(default_factory=dict)
    tags: set[str] = field(default_factory=set)
    changed_at: datetime = LONG_AGO
    purchases: int = 0
    spent: Decimal | None = None  # no total counted
    last_purchase: tuple[datetime, Decimal | None] | None = None
    refunds: int = 0
    refunded: Decimal | None = None
    last_refund: datetime | None = None
    last_open: datetime | None = None
    events: list[Stored] = field(default_factory=list)

    def set(self, attributes: dict[str, Any], tags: Sequence[str], at: datetime) -> set[str]:
        """Set attributes and tags as an event of that time does; return the names that are left out.

        A late event sets only missing attributes, adds tags and removes none.
        """
        if not attributes and not tags:
            return set()
        late = at + TOLERANCE < self.changed_at
        left_out = self.attributes.keys() & attributes.keys() if late else set()
        self.attributes = {**attributes, **self.attributes} if late else {**self.attributes, **attributes}
        for tag, stays in {tag.lstrip("-"): not tag.startswith("-") for tag in tags}.items():  # the last word counts
            if stays:
                self.tags.add(tag)
            elif late:
                left_out |= {"tags"}
            else:
                self.tags.discard(tag)
        self.changed_at = self.changed_at if late else max(self.changed_at, at)
        return left_out

    def known(self, sent: Sent) -> Stored | None:
        return next((each for each in self.events if (each.id, each.at) == (sent.id, sent.at)), None)


def added(total: Decimal | None, value: Decimal | None) -> Decimal | None:
    return total if value is None else (total or 0) + value


class Contract:
    """An account: its users, the values that are stored once, the refusals, and the messages of the feed.

    Events are kept for `event_days`. 0: without a limit.
    """

    def __init__(self) -> None:
        self.event_days = 0
        self.people: list[Person] = []
        self.once: defaultdict[str, dict[str, Stored]] = defaultdict(dict)  # by type and value
        self.refused: defaultdict[tuple[str, Reason], list[tuple[datetime, str]]] = defaultdict(list)
        """By hour: when they occurred, and in which requests."""
        self.created: list[tuple[Person, Stored]] = []  # what the feed has not published yet
        self.erased: list[tuple[str, datetime]] = []
        self.gone: set[str] = set()
        self.keys: dict[str, tuple[Sent, Expected, datetime]] = {}
        """By Idempotency-Key: the first event under it, its result, and until when it is remembered."""

    def named(self, who: str) -> Person | None:
        return next((person for person in self.people if who in (person.email, person.id)), None)

    def time_is(self, now: datetime) -> None:
        """End the events whose time is up, to the second. Their effects stay."""
        since = now.replace(microsecond=0) - timedelta(days=self.event_days)
        for person in self.people if self.event_days else ():
            person.events = [each for each in person.events if max(each.at, each.received_at) > since]

    def receives(self, sent: Sent, now: datetime, *, imported: bool = False, new_id: str | None = None) -> Expected:
        """Return the result of an event that can be wrong."""
        reason = self._wrong(sent, now, imported)
        return Expected("refused", reason=reason) if reason else self.takes(sent, now, imported=imported, new_id=new_id)

    def receives_under(self, key: str, sent: Sent, now: datetime) -> Expected:
        """Return the outcome of an event with an Idempotency-Key: for 24 hours that of the first equal one."""
        reason = self._wrong(sent, now) or self._unknown_user(sent)
        first, expected, until = self.keys.get(key, (sent, None, now))
        if not reason and expected and now < until:
            if sent == first:
                return expected
            reason = Reason("idempotency_key_reused", sent.type)
        if reason:
            return Expected("refused", reason=reason)
        expected = self.takes(sent, now)
        until = (now + KEY_LIFETIME + SECOND - MICROSECOND).replace(microsecond=0)  # rounded up to a second
        self.keys[key] = sent, expected, until
        return expected

    def takes(
        self, sent: Sent, now: datetime = LONG_AGO, *, imported: bool = False, new_id: str | None = None
    ) -> Expected:
        """Return the result of a valid event, and store it if it is created. In an upsert a new user gets `new_id`."""
        person = self.named(sent.who)
        creates = new_id is not None and person is None
        nobody = self._not_creatable(sent) if creates else self._unknown_user(sent)
        if creates and not nobody:
            person = Person(str(sent.also or new_id), sent.who) if "@" in sent.who else Person(sent.who, None)
        if person is None or nobody:
            return Expected("refused", reason=nobody)
        claims = sent.payload.get("email") if sent.type == "login" else None
        other = self.named(claims) if claims else None
        # A login that was another user's stays so, though its sender has got an address since.
        if other and (person.email is None or (sent.who == person.id and other.known(sent))):
            person, creates = other, False
        if known := person.known(sent):
            same: bool | None = (known.type, as_sent(known.payload)) == (sent.type, as_sent(sent.payload))
            return Expected("duplicate", person.id, same, warnings=known.warnings)
        if first := self._first(sent, person):
            same = as_sent(first[0].payload) == as_sent(sent.payload) if len(first) == 1 else None
            # With a limit, the mark of a value does not name an event: only the user's own stored event can be named.
            named = frozenset(
                each.id for each in first if not each.of_the_erased and (not self.event_days or each in person.events)
            )
            return Expected("discarded", None if creates else person.id, same, named)
        stored = self._store(sent, person, now, imported)
        if claims and person.email is None:
            person.email = claims
        self.people += [person] if creates else []
        return Expected("created", person.id, warnings=stored.warnings, user_created=creates)

    def _not_creatable(self, sent: Sent) -> Reason | None:
        """Return why an upsert refuses to create the user of an event."""
        chosen = sent.also if "@" in sent.who else sent.who
        if chosen in self.gone:
            return Reason("user_erased", sent.type, "user._id")
        return Reason("identifiers_disagree", sent.type, "user") if sent.also and self.named(sent.also) else None

    def _wrong(self, sent: Sent, now: datetime, imported: bool = False) -> Reason | None:
        oldest = THE_YEAR_2000 if imported else max(THE_YEAR_2000, now - BACK)
        if sent.wrong:
            return sent.wrong.reason
        return None if oldest <= sent.at <= now + AHEAD else Reason("invalid_event_time", sent.type, "eventTime")

    def _unknown_user(self, sent: Sent) -> Reason | None:
        person = self.named(sent.who)
        if person is None:
            return Reason("user_not_found", sent.type, "user.email" if "@" in sent.who else "user._id")
        return None if sent.also in (None, person.id) else Reason("identifiers_disagree", sent.type, "user")

    def moves(self, person: Person, email: str) -> bool:
        """Change the address of a person, or give a first one. Return False if it is another one's."""
        if self.named(email) not in (None, person):
            return False
        person.email = email
        return True

    def erase(self, person: Person, now: datetime) -> None:
        """Erase a person. Marks of unique values stay; the Idempotency-Keys of the person's events are free again."""
        self.people.remove(person)
        self.keys = {key: each for key, each in self.keys.items() if each[1].user_id != person.id}
        self.erased.append((person.id, now))
        self.gone.add(person.id)
        for known in self.once.values():
            of_person = [value for value, each in known.items() if each in person.events]
            known |= {value: replace(known[value], of_the_erased=True) for value in of_person}

    def refuses(self, reasons: Sequence[Reason], request_id: str, now: datetime) -> None:
        """Counts why a request, or some events of a batch, were refused."""
        for reason in reasons:
            self.refused[hour_of(now), reason].append((now, request_id))

    def _first(self, sent: Sent, person: Person) -> list[Stored]:
        """Return the stored events that cause this one to be discarded."""
        if sent.type in ONCE:
            known = self.once[sent.type].get(str(sent.payload[ONCE[sent.type]]))
            return [known] if known else []
        if sent.type in WINDOWS:
            others = [each for each in person.events if each.type == sent.type]
            return [each for each in others if abs(each.at - sent.at) < WINDOWS[sent.type]]
        return []

    def _store(self, sent: Sent, person: Person, now: datetime, imported: bool) -> Stored:
        attributes, tags, warnings = dict(sent.fields), [], set()
        if sent.type in ("update", "login"):
            attributes |= {name: value for name, value in sent.payload.items() if name not in ("tags", "email")}
            tags = sent.payload.get("tags", [])
            if person.email and sent.payload.get("email", person.email) != person.email:
                warnings.add("event.login.email")
        for name in person.set(attributes, tags, sent.at):
            place = f"event.{sent.type}" if sent.type in ("update", "login") and name in sent.payload else "user"
            warnings.add(f"{place}.{name}")
        stored = Stored(sent.id, sent.at, sent.type, sent.payload, now, imported, frozenset(warnings))
        person.events.append(stored)
        self.created.append((person, stored))
        if sent.type in ONCE:
            self.once[sent.type][str(sent.payload[ONCE[sent.type]])] = stored
        total = sent.payload.get("total")
        if sent.type == "confirmation":
            person.purchases += 1
            person.spent = added(person.spent, total)
            if person.last_purchase is None or sent.at >= person.last_purchase[0]:
                person.last_purchase = sent.at, total
        if sent.type == "refund":
            person.refunds += 1
            person.refunded = added(person.refunded, total)
            person.last_refund = max(person.last_refund or sent.at, sent.at)
        if sent.type == "emailopen":
            person.last_open = max(person.last_open or sent.at, sent.at)
        return stored


def hour_of(moment: datetime) -> str:
    return iso(moment.replace(minute=0, second=0, microsecond=0))


def shown(person: Person) -> dict[str, Any]:
    """The user as callers see it, without createdOn."""
    profile: dict[str, Any] = {"_id": person.id, **as_sent(person.attributes)}
    profile |= {"email": person.email} if person.email else {}
    profile |= {"tags": sorted(person.tags)} if person.tags else {}
    profile |= {"lastEmailOpenDate": iso(person.last_open)} if person.last_open else {}
    if person.last_refund:
        profile |= {"numberOfRefunds": Decimal(person.refunds), "lastRefundDate": iso(person.last_refund)}
        profile |= {} if person.refunded is None else {"totalRefundsValue": Decimal(person.refunded)}
    if person.last_purchase:
        at, value = person.last_purchase
        profile |= {"isCustomer": True, "numberOfPurchases": Decimal(person.purchases), "lastPurchaseDate": iso(at)}
        profile |= {} if value is None else {"lastPurchaseValue": Decimal(value)}
        profile |= {} if person.spent is None else {"totalPurchasesValue": Decimal(person.spent)}
    return profile


def as_result(answer: Answer) -> dict[str, Any]:
    """Return the answer to a single event as the result of a batch."""
    if answer.status != 200:
        status = "refused" if answer.status < 500 else "failed"
        return {"status": status, "errors": [{"code": answer.headers["X-Error-Code"]}]}
    warnings = [{"field": f"events.0.{each['field']}"} for each in answer.body.get("warnings", [])]
    known = {"eventId": answer.headers["X-Event-Id"], "userId": answer.headers["X-User-Id"], "warnings": warnings}
    if "Idempotent-Replayed" in answer.headers:
        return {**known, "status": "duplicate", "samePayload": {"field": "events.0.eventId"} not in warnings}
    first = {"first": answer.body["first"]} if "first" in answer.body else {}
    return {**known, "status": answer.headers["X-Event-Status"], **first}
