"""A believable shop for the running stack: `make demo`.

It has a few hundred customers and their events of a month. It also has the usual errors of shops: a crawler, a webhook
that is sent twice, totals with a currency sign, requests that the API refuses. One seed and one day make the same
events, with the same ids, so a second `make demo` on that day stores nothing twice.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from http.client import HTTPConnection
from random import Random
from time import sleep
from typing import Any
from urllib.parse import quote, urlsplit

from local.stack import StackError

CUSTOMERS, DAYS, SEED = 200, 30, 1
BATCH = 100
TRIES = 30
THREADS = 4  # as many as the emulator can use
ANA = "ana@example.com"
FIRST_NAMES = (
    "Ana Bruno Carla David Elena Felipe Greta Hugo Inés Jonas Karla Leo Marta Nuno Olga Pablo Rosa Sara Tomás Vera"
)
LAST_NAMES = (
    "Alonso Becker Costa Díaz Ferreira García Hansen Iglesias Jansen Keller López Moreno Novak Ortiz Pérez Rossi"
)
CITIES = {"Madrid": "ES", "Vigo": "ES", "Valencia": "ES", "Lisboa": "PT", "Porto": "PT", "Berlin": "DE", "Milano": "IT"}
PRODUCTS = [
    ("boots", "SKU-101", 129.9),
    ("boots", "SKU-102", 89.95),
    ("sneakers", "SKU-201", 74.5),
    ("sneakers", "SKU-202", 59.9),
    ("sandals", "SKU-301", 39.99),
    ("socks", "SKU-401", 7.1),
    ("socks", "SKU-402", 12.3),
    ("care", "SKU-501", 4.7),
]
REASONS = ("wrong size", "changed mind", "damaged")
GOOGLEBOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
Event = dict[str, Any]


@dataclass
class Shop:
    """The events of a shop in the days before `midnight`, made up by `random`."""

    midnight: datetime
    random: Random = field(default_factory=partial(Random, SEED))
    orders: int = 0

    def customers(self) -> list[tuple[dict[str, Any], list[Event]]]:
        """Return each user, and the events of the user in the order of their times. Some users have no email."""
        return [self.customer(number) for number in range(CUSTOMERS)]

    def customer(self, number: int) -> tuple[dict[str, Any], list[Event]]:
        first = "Ana" if number == 0 else self.random.choice(FIRST_NAMES.split())
        last, city = self.random.choice(LAST_NAMES.split()), self.random.choice([*CITIES])
        email = ANA if number == 0 else f"{plain(first)}.{plain(last)}.{number}@example.com"
        anonymous = number % 12 == 5  # a visitor that the shop knows only by a cookie
        _id = f"01900000-0000-7000-8000-{number:012}"
        user: Event = {"_id": _id} if anonymous else {"email": email}
        about = {} if anonymous else {"firstname": first, "lastname": last, "city": city, "country": CITIES[city]}
        loyalty = 6 if number == 0 else self.random.choice([1, 1, 1, 1, 2, 2, 3])
        events = [] if anonymous else [self.signed_up()]
        for _ in range(loyalty):
            events += self.visit(anonymous, loyalty)
        if not anonymous:
            events += self.newsletters()
        events.sort(key=lambda event: event["eventTime"])
        for place, each in enumerate(events):
            each |= {"eventId": f"demo-{number}-{place}", "user": user}
        return user | about, events

    def at(self, day: int, minutes: float) -> str:
        moment = self.midnight + timedelta(days=day - DAYS, minutes=minutes)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def signed_up(self) -> Event:
        tags = self.random.choice(["new", "new;newsletter", "vip;newsletter"])
        return event(self.at(0, self.random.random()), update={"tags": tags, "language": "es"})

    def visit(self, anonymous: bool, loyalty: int) -> Iterator[Event]:
        """Yield a visit: a search, some views, and perhaps a cart and an order."""
        day, minute = self.random.randrange(DAYS - 1), self.random.triangular(8 * 60, 23 * 60, 19 * 60)
        steps = (self.at(day, minute + step * 1.7) for step in range(100))
        category, *_ = self.random.choice(PRODUCTS)
        if not anonymous:
            yield event(next(steps), login={})
        yield event(next(steps), search={"query": f"{self.random.choice(['red', 'black', 'warm'])} {category}"})
        yield event(next(steps), viewcategory={"category": category})
        items = self.random.sample(PRODUCTS, self.random.randint(1, 3))
        for _, item, price in items:
            yield event(next(steps), viewitem={"itemId": item, "price": price})
        if anonymous or self.random.random() > 0.35 + loyalty / 10:
            return
        self.orders += 1
        cart = f"C-{self.orders}"
        for _, item, _price in items:
            yield event(next(steps), addtocart={"itemId": item, "quantity": 1, "cartId": cart})
        yield event(next(steps), checkout={"cartId": cart, "step": "payment"})
        order = {"orderId": f"{self.midnight:%m%d}-{self.orders:04}", "currency": "EUR"}
        total: Any = sum(price for *_, price in items)  # of binary floats, as shops add them
        if self.orders % 60 == 7:
            total = f"{total:.2f} €".replace(".", ",")  # as a shop shows it to its customers
        lines = [{"itemId": item, "price": price} for _, item, price in items]
        confirmation = {"generic": {**order, "total": total, "status": "paid"}, "items": lines}
        yield event(next(steps), confirmation=confirmation)
        if self.orders % 40 == 3:  # a webhook that is delivered again, with another id
            yield event(next(steps), confirmation=confirmation)
        if self.random.random() < 0.1 and day + 3 < DAYS:
            refund = {"refundId": f"R-{order['orderId']}", "total": items[0][2], "reason": self.random.choice(REASONS)}
            yield event(self.at(day + 3, minute), refund=order | refund)

    def newsletters(self) -> Iterator[Event]:
        """Yield opens of the weekly newsletter. Some mail programs load its image twice within minutes."""
        for week in range(DAYS // 7):
            minute = self.random.uniform(9 * 60, 22 * 60)
            for again in range(self.random.choice([0, 0, 0, 1, 1, 1, 2])):
                yield event(self.at(7 * week + 2, minute + 3 * again), emailopen={"campaign": f"week-{week + 1}"})

    def unusual(self) -> list[Event]:
        """Return single requests that the API discards or refuses."""
        ana, search = {"email": ANA}, {"search": {"query": "red boots"}}
        crawler = {"user": {"email": ANA, "userAgent": GOOGLEBOT}, "event": search}
        mistakes = {
            12: {"user": {"email": "unknown@example.com"}, "event": search},
            5: {"user": ana, "event": {"purchase": {"orderId": "1"}}},
            4: {"user": ana, "event": {"viewitem": {"itemid": "SKU-101"}}},
            3: {"user": ana, "event": {"confirmation": {"total": 12.5}}},
            2: {"user": {"email": "ana at example.com"}, "event": search},
            1: {"user": ana, "event": search, "eventId": "demo-late", "eventTime": "2026-11-24 08:00"},
        }
        return [crawler] * 8 + [request for count, request in mistakes.items() for _ in range(count)]


def event(moment: str, **payload_of_type: Any) -> Event:
    return {"eventTime": moment, "event": payload_of_type}


def plain(name: str) -> str:
    return name.lower().translate(str.maketrans("áéíóú", "aeiou"))


def send(api_url: str, api_key: str) -> Iterator[str]:
    """Send a shop to the API. Yield a line for each part."""
    ask = partial(answer, api_url, api_key)
    shop = Shop(datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0))
    customers = shop.customers()
    events = [each for _, of_user in customers for each in of_user]
    batches = [{"events": events[start : start + BATCH], "import": True} for start in range(0, len(events), BATCH)]
    unusual = shop.unusual()
    with ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(lambda user: ask("PUT", path_of(user), attributes(user)), [user for user, _ in customers]))
        yield f"{len(customers)} customers"
        outcomes = Counter[str]()
        for results in threads.map(partial(settle, ask), batches):
            outcomes.update(results)
        yield f"{outcomes.total():,} events: " + ", ".join(f"{count:,} {status}" for status, count in outcomes.items())
        list(threads.map(lambda request: ask("POST", "/event/", request), unusual))
        yield f"{len(unusual)} requests of a crawler and with mistakes"


def settle(ask: Callable[[str, str, Any], Any], batch: Event) -> list[str]:
    """Send a batch, again as long as an event fails, as on a busy machine. Return what happened to each event first."""
    statuses: dict[str, str] = {}
    for _ in range(TRIES):
        for result in ask("POST", "/events/", batch).get("results", ()):
            if result["status"] != "failed":
                statuses.setdefault(result["eventId"], result["status"])
        if len(statuses) == len(batch["events"]):
            return [*statuses.values()]
        sleep(1)
    raise StackError("The API does not store the events; `make run` shows its responses")


def path_of(user: Event) -> str:
    return f"/user/{quote(user.get('email') or user['_id'])}?upsert=true"


def attributes(user: Event) -> Event:
    return {name: value for name, value in user.items() if name not in ("_id", "email")}


def answer(api_url: str, api_key: str, method: str, path: str, body: Any) -> Any:
    url = urlsplit(api_url)
    with closing(HTTPConnection(url.netloc)) as connection:
        connection.request(method, url.path + path, json.dumps(body), {"Authorization": api_key})
        return json.load(connection.getresponse())
