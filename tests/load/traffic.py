"""The requests of the callers: bursts that conflict with each other, or the everyday mix.

Each attribute and each tag is sent once, so that none may get lost. The system decides which user an email names, which
of many orders with one orderId counts, and which user gets an address; its answers say so.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from random import Random
from typing import Any

from domain.ids import new_id
from load.callers import Exchange, Request, Sender

WIRE_NAMES_OF_OPENS = ("emailopen", "emailOpen", "email_open")
BATCH = 100  # events, the most that a request takes
TOTALS = ("0.10", "19.99", 0.1, 7, "1234567.89", "0.000000001")


@dataclass(frozen=True)
class Person:
    id: str
    email: str | None

    def named(self, random: Random) -> dict[str, str]:
        """The `user` of an event: by email or by _id."""
        return {"email": self.email} if self.email and random.random() < 0.5 else {"_id": self.id}


class Traffic:
    """Makes up requests; the same ones for the same seed and the same users."""

    def __init__(self, connection: Sender, seed: int) -> None:
        self.connection = connection
        self.random = Random(seed)
        self.numbers = count(1)
        self.signed_up: list[Exchange] = []

    def sign_up(self, email: str | None = None) -> Person:
        request = Request("POST", "/user/", {"email": email} if email else {})
        answer = self.connection.send(request)
        self.signed_up.append(Exchange(request, answer))
        return Person(answer.body["object"]["_id"], email)

    def customers(self, how_many: int) -> list[Person]:
        return [self.sign_up(self.new_email()) for _ in range(how_many)]

    def everyday_of(self, regulars: list[Person], how_many: int) -> list[Request]:
        kinds = self.random.choices(["browse", "update", "login", "order"], [60, 25, 10, 5], k=how_many)
        return [self.event(self.random.choice(regulars), self.everyday_event(kind)) for kind in kinds]

    def everyday_batches(self, regulars: list[Person], how_many: int, *, repeated: float) -> Iterator[Request]:
        """The same mix, as full batches. The ids are UUIDv7s, and bring their time. So many of the batches, of 1, are
        sent twice, because their sender may have missed the answer.
        """
        for _ in range(how_many):
            events = [request.body for request in self.everyday_of(regulars, BATCH)]
            entries = [{"eventId": new_id(datetime.now(UTC)), **event} for event in events]
            request = Request("POST", "/events/", {"events": entries})
            yield request
            if self.random.random() < repeated:
                yield request

    def everyday_event(self, kind: str) -> dict[str, Any]:
        match kind:
            case "browse":
                return self.random.choice([self.open(), self.view(), {"search": {"query": f"shoes {self.new()}"}}])
            case "order":
                return self.order(self.new())
            case _:
                return {kind: self.new_attributes()}

    # --- Parts ------------------------------------------------------------------------------------

    def new(self) -> int:
        return next(self.numbers)

    def new_email(self) -> str:
        return f"person{self.new()}@example.com"

    def new_attributes(self) -> dict[str, Any]:
        number = self.new()
        return {f"attribute{number}": self.random.choice([number, f"{number}", [number, None], {"a.b": number}])}

    def event(self, person: Person, event: Mapping[str, Any], key: str | None = None) -> Request:
        return Request("POST", "/event/", {"user": person.named(self.random), "event": event}, key)

    def order(self, order_id: object) -> dict[str, Any]:
        """Flat, as browsers send it, or nested, as servers do."""
        order = {"orderId": order_id, "total": self.random.choice(TOTALS), "currency": "EUR"}
        return {"confirmation": self.random.choice([order, {"generic": order, "items": [{"itemId": self.new()}]}])}

    def open(self) -> dict[str, Any]:
        return {self.random.choice(WIRE_NAMES_OF_OPENS): {"newsletter": self.new()}}

    def view(self) -> dict[str, Any]:
        return {"viewitem": {"itemId": f"SKU-{self.new()}"}}
