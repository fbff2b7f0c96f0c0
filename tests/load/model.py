"""The rules of the contract as a model: by what callers were answered, what must be stored, and nothing else.

    Model(exchanges).violations(look)       one sentence for each violation

Some results depend on which request was first: which order is created, which user owns an event or an address. There
the model accepts the system's answer, if it is possible, and demands that all other answers agree with it.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from http import HTTPStatus
from http.client import HTTPMessage
from itertools import chain, pairwise
from typing import Any
from uuid import UUID

from builders import as_sent
from load.callers import Exchange, Outcome, Request

Look = Callable[[str], Outcome]
"""What GET of a path answers."""

WINDOW_MILLISECONDS = timedelta(minutes=20) // timedelta(milliseconds=1)
REASONS = {
    "confirmation": "A confirmation with this orderId was already received",
    "emailopen": "This user already has an email open within 20 minutes of this one",
}
PAGE = 100


@dataclass(frozen=True)
class Sent:
    """An event that was answered with 200, under its canonical name."""

    type: str
    payload: dict[str, Any]
    answer: Outcome

    @classmethod
    def of(cls, exchange: Exchange) -> "Sent":
        [(name, payload)] = exchange.request.body["event"].items()
        return cls(name.replace("_", "").lower(), as_sent(payload), exchange.answer)

    @property
    def id(self) -> str:
        return str(self.answer.headers["X-Event-Id"])

    @property
    def user_id(self) -> str:
        return str(self.answer.headers["X-User-Id"])

    @property
    def created(self) -> bool:
        return bool(self.answer.headers["X-Event-Status"] == "created")

    @property
    def reason(self) -> str:
        """Why it was discarded."""
        return str(self.answer.body["results"]["email"])

    @property
    def milliseconds(self) -> int:
        """When it came: the first 48 bits of its id."""
        return UUID(self.id).int >> 80

    @property
    def order(self) -> dict[str, Any]:
        found: dict[str, Any] = self.payload.get("generic", self.payload)
        return found

    @property
    def order_id(self) -> str:
        return str(self.order["orderId"]).strip().removesuffix(".0")


@dataclass
class Person:
    """The data that must be stored for a user."""

    id: str
    email: str | None
    created_on: str
    attributes: dict[str, Any] = field(default_factory=dict)
    tags: set[str] = field(default_factory=set)
    events: dict[str, Sent] = field(default_factory=dict)

    def take(self, event: Sent) -> None:
        self.events[event.id] = event
        if event.type in ("update", "login"):
            attributes = dict(event.payload)
            self.email = attributes.pop("email", self.email)
            self.tags.update(attributes.pop("tags", ()))
            self.attributes |= attributes

    def profile(self) -> dict[str, Any]:
        """As the API shows it, but for which order and which open was the last."""
        shown: dict[str, Any] = {"_id": self.id, "createdOn": self.created_on, **self.attributes}
        shown |= {"email": self.email} if self.email else {}
        shown |= {"tags": sorted(self.tags)} if self.tags else {}
        if totals := self.totals():
            shown |= {"isCustomer": True, "numberOfPurchases": len(totals), "totalPurchasesValue": sum(totals)}
        return shown

    def totals(self) -> list[Decimal]:
        return [Decimal(str(event.order["total"])) for event in self.of_type("confirmation")]

    def of_type(self, event_type: str) -> list[Sent]:
        return [event for event in self.events.values() if event.type == event_type]


class Model:
    def __init__(self, exchanges: Iterable[Exchange]) -> None:
        self.exchanges = list(exchanges)
        self.people = {person.id: person for person in map(a_person, self.answered("POST", "/user/"))}
        self.events = [Sent.of(each) for each in self.answered("POST", "/event/") if not is_replay(each)]
        for event in self.events:
            if event.created:
                self.people[event.user_id].take(event)

    def answered(self, method: str, path: str) -> Iterator[Exchange]:
        """Yield the exchanges with a 200 whose paths begin with `path`."""
        for each in self.exchanges:
            if (each.request.method, each.answer.status) == (method, 200) and each.request.path.startswith(path):
                yield each

    def violations(self, look: Look) -> list[str]:
        return [
            *self.wrong_orders(),
            *self.wrong_opens(),
            *self.wrong_discards(),
            *chain.from_iterable(wrong_profile(person, look) for person in self.people.values()),
            *chain.from_iterable(wrong_timeline(person, look) for person in self.people.values()),
        ]

    # --- What the answers say ---------------------------------------------------------------------

    def wrong_orders(self) -> Iterator[str]:
        orders = defaultdict(list)
        for event in self.events:
            if event.type == "confirmation":
                orders[event.order_id].append(event.created)
        for order_id, created in orders.items():
            if sum(created) != 1:
                yield f"{sum(created)} of {len(created)} confirmations of the order {order_id} were created"

    def wrong_opens(self) -> Iterator[str]:
        """Accepted ones are a window apart, and a discarded one is in the window of an accepted one."""
        opens = defaultdict(list)
        for event in self.events:
            if event.type == "emailopen":
                opens[event.user_id].append(event)
        for user_id, events in opens.items():
            accepted = sorted(event.milliseconds for event in events if event.created)
            if any(after - before < WINDOW_MILLISECONDS for before, after in pairwise(accepted)):
                yield f"two email opens of {user_id} in one window"
            for event in events:
                if not any(abs(event.milliseconds - each) < WINDOW_MILLISECONDS for each in accepted):
                    yield f"the email open {event.id} was discarded without a reason"

    def wrong_discards(self) -> Iterator[str]:
        for event in self.events:
            if not event.created and event.reason != REASONS.get(event.type):
                yield f"{event.type} {event.id} was discarded: {event.reason}"

    # --- What the API shows -----------------------------------------------------------------------


def wrong_profile(person: Person, look: Look) -> Iterator[str]:
    profile = look(f"/user/{person.id}").body
    last_value, last_purchase = profile.pop("lastPurchaseValue", None), profile.pop("lastPurchaseDate", None)
    last_open = profile.pop("lastEmailOpenDate", None)
    if profile != person.profile():
        yield f"the profile {profile} should be {person.profile()}"
    purchased = bool(person.totals())
    if (last_value in person.totals(), bool(last_purchase)) != (purchased, purchased):
        yield f"no order of {person.id} was the last: {last_value} {last_purchase}"
    if bool(last_open) != bool(person.of_type("emailopen")):
        yield f"the last email open of {person.id}: {last_open}"


def wrong_timeline(person: Person, look: Look) -> Iterator[str]:
    """Each event is listed once, unchanged, newest first."""
    shown = list(timeline(person.id, look))
    expected = {event.id: (event.type, event.payload) for event in person.events.values()}
    times = Counter(event["_id"] for event in shown)
    for event_id in times.keys() | expected.keys():
        if times[event_id] != (event_id in expected):
            yield f"the event {event_id} of {person.id} is {times[event_id]} times in the timeline"
    for event in shown:
        found = (event["type"], event["payload"])
        if found != expected.get(event["_id"], found):
            yield f"{found} was sent as {expected[event['_id']]}"
    moments = [datetime.fromisoformat(event["createdOn"]) for event in shown]
    if moments != sorted(moments, reverse=True):
        yield f"the timeline of {person.id} is not newest first"


def timeline(user_id: str, look: Look) -> Iterator[dict[str, Any]]:
    """Page by page."""
    query = f"?limit={PAGE}"
    while query:
        page = look(f"/user/{user_id}/events{query}").body
        yield from page["events"]
        query = f"?limit={PAGE}&cursor={page['cursor']}" if "cursor" in page else ""


def a_person(exchange: Exchange) -> Person:
    made = exchange.answer.body["object"]
    return Person(made["_id"], made.get("email"), made["createdOn"])


def told(exchanges: Iterable[Exchange]) -> Iterator[Exchange]:
    """Yield the results of batches as if their events had been sent alone; a `failed` one has no answer.

    An event can be stored without a `created`: after a `failed` it can be a duplicate.
    """
    known, created = set[str](), set[str]()
    for exchange in exchanges:
        results = exchange.answer.body.get("results", [])
        for entry, result in zip(exchange.request.body["events"], results, strict=bool(results)):
            if result["status"] == "failed":
                continue
            event_id = result["eventId"]
            headers = HTTPMessage()
            headers["X-Event-Id"], headers["X-User-Id"] = event_id, result["userId"]
            headers["X-Event-Status"] = "discarded" if result["status"] == "discarded" else "created"
            if result["status"] == "created":
                assert event_id not in created, f"{event_id} was created twice"
                created.add(event_id)
            if result["status"] != "discarded":
                if event_id in known:
                    headers["Idempotent-Replayed"] = "true"
                known.add(event_id)
            body = {"results": {"email": result.get("message")}}
            answer = Outcome(HTTPStatus.OK, headers, body, exchange.answer.seconds)
            yield Exchange(Request("POST", "/event/", entry), answer)


def is_replay(exchange: Exchange) -> bool:
    return exchange.answer.headers.get("Idempotent-Replayed") == "true"
