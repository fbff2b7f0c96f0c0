"""Formats of files to import. Each is one pure function from rows to entries; FORMATS lists them.

A new format is one function with the decorator `csv_format` or `json_format`. It yields an Entry for each event, a
Skipped for what cannot become an event, and raises UnreadableRowError for a row that is wrong. Its docstring says what
it does not carry over.
"""

import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from functools import partial
from hashlib import sha256
from itertools import groupby
from typing import Any, TextIO
from uuid import UUID, uuid5

from event_api_client.entries import iso, parse_time, time_of_uuid7, to_json
from event_api_client.rows import Row, csv_rows, json_rows

NAMESPACE = UUID("6f2b1f64-35c7-5a0e-9d0e-3c1f0a7e4b11")
"""The namespace of `_id`s that are made from the user ids of a source."""


class UnreadableRowError(Exception):
    """A row that is wrong. The text says why, without its values."""


@dataclass(frozen=True)
class Entry:
    """An event, and the line that it comes from. `note` says what the summary counts about it."""

    line: int
    value: dict[str, Any]
    note: str = ""


@dataclass(frozen=True)
class Skipped:
    """A row that is not an event, and why."""

    line: int
    reason: str


@dataclass(frozen=True)
class Wrong:
    """A row that cannot be read, and why."""

    line: int
    problem: str
    value: Any


Item = Entry | Skipped | Wrong
OneRow = Callable[[Row], Iterator[Item]]
Format = Callable[[Iterable[Row]], Iterator[Item]]


@dataclass(frozen=True)
class Source:
    """How to read a format's file, and its function."""

    read: Callable[[TextIO], Iterator[Row]]
    entries: Format


FORMATS: dict[str, Source] = {}


def csv_format(*columns: str) -> Callable[[Format], Format]:
    """Register a format of CSV files that have at least these columns."""
    return partial(_register, partial(csv_rows, required=frozenset(columns)))


def json_format(function: Format) -> Format:
    """Register a format of files with one JSON object in each line."""
    return _register(json_rows, function)


def _register(read: Callable[[TextIO], Iterator[Row]], function: Format) -> Format:
    FORMATS[function.__name__] = Source(read, function)
    return function


def each_row(function: OneRow) -> Format:
    """Make a format of a function that reads one row."""

    def entries(rows: Iterable[Row]) -> Iterator[Item]:
        for row in rows:
            yield from _read(row, partial(function, row))

    entries.__name__, entries.__doc__ = function.__name__, function.__doc__
    return entries


def _read(row: Row, items: Callable[[], Iterator[Item]]) -> Iterator[Item]:
    """Yield the items of a row, or say what is wrong with it."""
    if row.problem:
        yield Wrong(row.line, row.problem, row.value)
        return
    try:
        yield from list(items())  # all or none
    except UnreadableRowError as error:
        yield Wrong(row.line, str(error), row.value)


# --- The formats ----------------------------------------------------------------------------------


@json_format
@each_row
def jsonl(row: Row) -> Iterator[Item]:
    """`{"user", "event", "eventId"?, "eventTime"?}`. Without an `eventId`, equal lines are one event.

    A file of rejected rows has this form too, after its events were corrected.
    """
    value = {name: each for name, each in row.value.items() if name not in ("line", "errors")}
    event_id, event_time = value.get("eventId"), value.get("eventTime")
    if event_time is None and not (isinstance(event_id, str) and time_of_uuid7(event_id)):
        raise UnreadableRowError("eventTime is missing. Without it, a second import would store the event again")
    if event_id is None:
        value["eventId"] = f"line-{sha256(to_json(value)).hexdigest()[:40]}"
    yield Entry(row.line, value)


@csv_format("email", "orderId", "date")
@each_row
def vibetrace(row: Row) -> Iterator[Item]:
    """`"email";"orderId";"date";"items";"total";"discountCodes"`, as callers of the original API export orders."""
    cell = row.value
    if not cell["email"]:
        yield Skipped(row.line, "orders without an email")
        return
    order = {
        "orderId": required(cell, "orderId"),
        "total": amount(cell.get("total", "")),
        "coupons": [code.strip() for code in cell.get("discountCodes", "").split("|") if code.strip()],
        "items": [_vibetrace_item(item) for item in cell.get("items", "").split("|") if item.strip()],
    }
    yield confirmation(row.line, {"email": cell["email"]}, moment(cell["date"], timezone.utc), order)


def _vibetrace_item(text: str) -> dict[str, Any]:
    item_id, colon, quantity = text.rpartition(":")
    if not colon:
        return {"itemId": text.strip()}
    if not item_id.strip():
        raise UnreadableRowError("items contains an item without an id")
    return {"itemId": item_id.strip(), "quantity": number(quantity)}


# Payment states of Shopify: https://help.shopify.com/en/manual/fulfillment/managing-orders/exporting-orders
NOT_PAID = {"voided", "expired"}
REFUNDED = {"refunded", "partially_refunded"}


@csv_format("Name", "Email", "Created at", "Total")
def shopify(rows: Iterable[Row]) -> Iterator[Item]:
    """Read the export of orders: one row for each line item, of which the first one is complete.

    Not carried over: names (one cell cannot be split safely), streets, taxes, fulfilment, notes and tags.
    """
    for _, group in groupby(_named(rows), key=lambda pair: pair[0]):
        order = [row for _, row in group]
        wrong = next((row for row in order if row.problem), order[0])
        yield from _read(wrong, partial(_shopify_order, order))


def _named(rows: Iterable[Row]) -> Iterator[tuple[str, Row]]:
    """Yield each row with the name of its order. A row without a name belongs to the order before."""
    name = ""
    for row in rows:
        name = row.value.get("Name") or name
        yield name, row


def _shopify_order(rows: list[Row]) -> Iterator[Item]:
    first = rows[0]
    cell = first.value
    payment = cell.get("Financial Status", "").lower()
    if payment in NOT_PAID:
        yield Skipped(first.line, f"{payment} orders: they were never paid")
        return
    if cell.get("Cancelled at") and payment in ("pending", "authorized", ""):
        yield Skipped(first.line, "orders that were cancelled before they were paid")
        return
    if not cell["Email"]:
        yield Skipped(first.line, "orders without an email")
        return
    at = moment(cell["Created at"])
    order_id = _shopify_id(cell.get("Id", "")) or required(cell, "Name")
    place = {part: cell.get(f"Shipping {part}") or cell.get(f"Billing {part}", "") for part in ("City", "Country")}
    phone = next((cell[name] for name in ("Phone", "Billing Phone", "Shipping Phone") if cell.get(name)), "").lstrip(
        "'"
    )
    user = {"email": cell["Email"], "city": place["City"], "country": place["Country"], "tel": phone}
    order = {
        "orderId": order_id,
        "name": cell.get("Name", ""),
        "total": amount(cell["Total"]),
        "total_shipping": amount(cell.get("Shipping", "")),
        "currency": cell.get("Currency", ""),
        "coupons": [cell["Discount Code"]] if cell.get("Discount Code") else [],
        "status": payment,
        "items": [_shopify_item(row.value) for row in rows if row.value.get("Lineitem name")],
    }
    yield confirmation(first.line, user, at, order)
    if payment in REFUNDED:
        refunded = amount(cell.get("Refunded Amount", ""))
        if not refunded or float_of(refunded) == 0:
            refunded = amount(cell["Total"]) if payment == "refunded" else ""
        refunded_at = moment(cell["Cancelled at"]) if cell.get("Cancelled at") else at
        payload = {"orderId": order_id, "total": refunded, "currency": cell.get("Currency", "")}
        note = "" if cell.get("Cancelled at") else NO_REFUND_TIME
        yield refund(first.line, cell["Email"], refunded_at, f"{order_id}-refund", payload, note)


def _shopify_id(text: str) -> str:
    if re.fullmatch(r"[\d.,]+E\+?\d+", text, re.IGNORECASE):
        raise UnreadableRowError("Id was rounded by a spreadsheet. Import the file as Shopify exported it")
    return text


def _shopify_item(cell: Mapping[str, str]) -> dict[str, Any]:
    item = {"itemId": cell.get("Lineitem sku") or cell["Lineitem name"], "name": cell["Lineitem name"]}
    item |= {"price": amount(cell.get("Lineitem price", "")), "discount": amount(cell.get("Lineitem discount", ""))}
    if item["discount"] and float_of(item["discount"]) == 0:
        del item["discount"]
    quantity = {"quantity": number(cell["Lineitem quantity"])} if cell.get("Lineitem quantity") else {}
    return without_empty(item) | quantity


# Order states of WooCommerce: https://woocommerce.github.io/woocommerce-rest-api-docs/#order-properties
NOT_ORDERED = {"pending", "failed", "cancelled", "trash", "checkout-draft", "auto-draft"}


@json_format
@each_row
def woocommerce(row: Row) -> Iterator[Item]:
    """Orders of `GET /wp-json/wc/v3/orders`, one order or one page in each line.

    Not carried over: streets, taxes, fees and metadata.
    """
    order = row.value
    status, billing = text(order, "status"), part(order, "billing")
    if status in NOT_ORDERED:
        yield Skipped(row.line, f"orders with the status {status}")
        return
    email = text(billing, "email")
    if not email:
        yield Skipped(row.line, "orders without an email")
        return
    order_id = identifier(order, "id")
    at = _woocommerce_time(order)
    names = {"tel": "phone", "firstname": "first_name", "lastname": "last_name", "country": "country", "city": "city"}
    user = {"email": email} | {ours: text(billing, theirs) for ours, theirs in names.items()}
    payload = {
        "orderId": order_id,
        "number": text(order, "number"),
        "total": order.get("total"),
        "total_shipping": order.get("shipping_total"),
        "currency": text(order, "currency"),
        "coupons": [text(each, "code") for each in parts(order, "coupon_lines")],
        "status": status,
        "items": [_woocommerce_item(each) for each in parts(order, "line_items")],
    }
    yield confirmation(row.line, user, at, payload)
    refunds = parts(order, "refunds")
    if status == "refunded" and not refunds:
        refunds = [{"id": f"{order_id}-refund", "total": order.get("total")}]
    for each in refunds:
        about = {"orderId": order_id, "total": _without_sign(each.get("total"))}
        about |= {"currency": text(order, "currency"), "reason": text(each, "reason")}
        yield refund(row.line, email, at, identifier(each, "id"), about, NO_REFUND_TIME)


def _woocommerce_time(order: Mapping[str, Any]) -> datetime:
    if text(order, "date_created_gmt"):
        return moment(text(order, "date_created_gmt"), timezone.utc)
    try:
        return moment(text(order, "date_created"))
    except UnreadableRowError as error:
        raise UnreadableRowError("date_created_gmt is missing, and date_created has no offset") from error


def _without_sign(total: Any) -> Any:
    return str(total).lstrip("-") if isinstance(total, str | int | Decimal) else total


def _woocommerce_item(item: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: item.get(name) for name in ("name", "price", "quantity", "total")}
    found |= {"productId": item.get("product_id"), "variationId": item.get("variation_id") or None}
    return {"itemId": text(item, "sku") or identifier(item, "product_id")} | without_empty(found)


# Events of Segment's specification: https://segment.com/docs/connections/spec/ecommerce/v2/
# Their name, our type, our required field, their fields for it.
SEGMENT_EVENTS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "product viewed": ("viewitem", "itemId", ("product_id", "sku")),
    "product list viewed": ("viewcategory", "category", ("category", "list_id")),
    "products searched": ("search", "query", ("query",)),
    "product added": ("addtocart", "itemId", ("product_id", "sku")),
    "product added to wishlist": ("addtowishlist", "prodId", ("product_id", "sku")),
}


@json_format
def segment(rows: Iterable[Row]) -> Iterator[Item]:
    """Read calls of Segment. `messageId` is the id of an event, `timestamp` its time.

    A user is named by an email of the call or by that of an earlier `identify` with the same `userId`. Others are
    anonymous users, with an `_id` that is made of `userId` or `anonymousId`.
    Not carried over: `group` and `alias` calls, and `context` apart from the user agent.
    """
    # The addresses of users, on the disk beyond a few MB, so that memory does not grow with them.
    with_addresses = sqlite3.connect("")
    try:
        with_addresses.execute("CREATE TABLE addresses (user TEXT PRIMARY KEY, email TEXT NOT NULL) WITHOUT ROWID")
        for row in rows:
            yield from _read(row, partial(_segment_call, row, with_addresses))
    finally:
        with_addresses.close()


def _segment_call(row: Row, addresses: sqlite3.Connection) -> Iterator[Item]:
    call = row.value
    kind, properties = text(call, "type"), part(call, "properties")
    at = moment(text(call, "timestamp") or text(call, "originalTimestamp"))
    user = _segment_user(call, addresses)
    agent = text(part(call, "context"), "userAgent")
    user |= {"userAgent": agent} if agent else {}
    common = {"eventId": stable_id(identifier(call, "messageId")), "eventTime": iso(at), "user": user}
    if kind == "identify":
        traits = {name: value for name, value in part(call, "traits").items() if name != "email"}
        traits |= {"userId": call["userId"]} if call.get("userId") else {}
        event = {"update": traits}
        if not traits:
            yield Skipped(row.line, "identify calls without traits")
            return
    elif kind == "track":
        event = _segment_event(call, properties)
    elif kind in ("page", "screen"):
        event = {"generic": properties | {"event_name": kind} | without_empty({"name": text(call, "name")})}
    else:
        yield Skipped(row.line, f"{kind} calls" if kind in ("group", "alias") else "calls of an unknown type")
        return
    yield Entry(row.line, common | {"event": event})


def _segment_user(call: Mapping[str, Any], addresses: sqlite3.Connection) -> dict[str, Any]:
    """Return the user of a call. Remember the email of an `identify`."""
    user_id, anonymous_id = (str(call.get(name) or "") for name in ("userId", "anonymousId"))
    places = (part(call, "traits"), part(part(call, "context"), "traits"), part(call, "properties"))
    email = next((text(place, "email") for place in places if "@" in text(place, "email")), "")
    email = email or (user_id if "@" in user_id else "")
    if email and user_id:
        addresses.execute("INSERT OR REPLACE INTO addresses VALUES (?, ?)", (user_id, email))
    elif user_id:
        found = addresses.execute("SELECT email FROM addresses WHERE user = ?", (user_id,)).fetchone()
        email = found[0] if found else ""
    if email:
        return {"email": email}
    if not (user_id or anonymous_id):
        raise UnreadableRowError("The call has neither userId nor anonymousId")
    return {"_id": str(uuid5(NAMESPACE, f"segment\n{user_id or anonymous_id}"))}


def _segment_event(call: Mapping[str, Any], properties: dict[str, Any]) -> dict[str, Any]:
    name = identifier(call, "event")
    if name.lower() in ("order completed", "order refunded") and properties.get("order_id"):
        return _segment_order(call, properties, is_refund=name.lower() == "order refunded")
    known = SEGMENT_EVENTS.get(name.lower())
    value = next((properties[theirs] for theirs in known[2] if properties.get(theirs)), None) if known else None
    if known and isinstance(value, str | int):
        return {known[0]: properties | {known[1]: value}}
    return {"generic": properties | {"event_name": name}}


def _segment_order(call: Mapping[str, Any], properties: dict[str, Any], *, is_refund: bool) -> dict[str, Any]:
    ours = ("order_id", "products", "coupon", "shipping")
    rest = {name: value for name, value in properties.items() if name not in ours}
    total = next((properties[name] for name in ("total", "value", "revenue") if properties.get(name) is not None), None)
    items = [_segment_item(each) for each in parts(properties, "products")]
    order = {"orderId": properties["order_id"], "total": total, "items": items}
    if is_refund:
        return {"refund": rest | without_empty({"refundId": properties.get("refund_id") or call["messageId"]} | order)}
    order |= {"coupons": properties.get("coupon"), "total_shipping": properties.get("shipping")}
    return {"confirmation": rest | without_empty(order)}


def _segment_item(product: Mapping[str, Any]) -> dict[str, Any]:
    item_id = product.get("product_id") or product.get("sku")
    return dict(product) | ({"itemId": item_id} if item_id else {})


# --- What formats share ---------------------------------------------------------------------------

NO_REFUND_TIME = "refunds have the time of their order, because the export does not say when they happened"


def confirmation(line: int, user: Mapping[str, Any], at: datetime, order: Mapping[str, Any]) -> Entry:
    """Return the event of an order. Its id is made of `orderId`."""
    payload = without_empty(order)
    event_id = stable_id(f"order-{payload['orderId']}")
    return Entry(
        line,
        {"eventId": event_id, "eventTime": iso(at), "user": without_empty(user), "event": {"confirmation": payload}},
    )


def refund(line: int, email: str, at: datetime, refund_id: str, about: Mapping[str, Any], note: str = "") -> Entry:
    """Return the event of a refund. Its id is made of `refund_id`."""
    payload = without_empty({"refundId": refund_id, **about})
    entry = {"eventId": stable_id(f"refund-{refund_id}"), "eventTime": iso(at), "user": {"email": email}}
    return Entry(line, entry | {"event": {"refund": payload}}, note)


def stable_id(name: str) -> str:
    """Return an `eventId` that is the same for the same name: the name, or a digest if it is not 1 to 128 of ASCII."""
    if len(name) <= 128 and all("!" <= each <= "~" for each in name):
        return name
    return f"sha256-{sha256(name.encode()).hexdigest()[:40]}"


_CLOCK = r"(\d\d:\d\d)(:\d\d)?(?:[.,](\d{1,6})\d*)?"
_DATE = re.compile(rf"(\d{{4}}-\d\d-\d\d)(?:[Tt ]+{_CLOCK})?\s*(?:([Zz]|UTC|GMT)|([+-]\d\d):?(\d\d))?", re.ASCII)


def moment(text: str, without_offset: timezone | None = None) -> datetime:
    """Return the time of an ISO date, with or without a clock time, or of Unix seconds.

    `without_offset` is the zone of texts without an offset; without it, such a text is wrong.
    """
    text = text.strip()
    if re.fullmatch(r"\d{9,11}(\.\d+)?|\d{12,14}", text, re.ASCII):
        seconds = float(text) if len(text.partition(".")[0]) < 12 else int(text) / 1000
        return datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=seconds)
    found = _DATE.fullmatch(text)
    if not found:
        raise UnreadableRowError("The date is not an ISO date such as 2026-04-05 21:06:21 +0400, and not Unix seconds")
    day, clock, seconds_of_it, fraction, zulu, hours, minutes = found.groups()
    if not (zulu or hours or without_offset):
        raise UnreadableRowError("The date has no offset from UTC, such as +0400")
    offset = f"{hours}:{minutes}" if hours else "Z"
    try:
        return parse_time(f"{day}T{clock or '00:00'}{seconds_of_it or ':00'}.{fraction or '0'}{offset}")
    except ValueError as error:
        raise UnreadableRowError("There is no such date") from error


def amount(text: str) -> str:
    """Return an amount with a decimal point. An ambiguous text stays unchanged, and the API warns of it."""
    plain = text.replace("\u00a0", "").replace(" ", "")
    if re.fullmatch(r"-?\d+,\d{1,2}", plain, re.ASCII):  # 59,90
        return plain.replace(",", ".")
    if re.fullmatch(r"-?\d{1,3}(\.\d{3})+,\d{1,2}", plain, re.ASCII):  # 1.234,50
        return plain.replace(".", "").replace(",", ".")
    if re.fullmatch(r"-?\d{1,3}(,\d{3})+\.\d{1,2}", plain, re.ASCII):  # 1,234.50
        return plain.replace(",", "")
    return plain if re.fullmatch(r"-?\d+(\.\d+)?", plain, re.ASCII) else text


def float_of(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def number(text: str) -> int | str:
    """Return a whole number as such, and any other text unchanged."""
    plain = text.strip()
    return int(plain) if re.fullmatch(r"\d{1,15}", plain, re.ASCII) else plain


def required(cells: Mapping[str, str], name: str) -> str:
    if not cells.get(name):
        raise UnreadableRowError(f"{name} is empty")
    return cells[name]


def identifier(value: Mapping[str, Any], name: str) -> str:
    """Return an id as text. Raises UnreadableRowError if there is none."""
    found = value.get(name)
    if not isinstance(found, str | int) or isinstance(found, bool) or not str(found).strip():
        raise UnreadableRowError(f"{name} is missing")
    return str(found).strip()


def text(value: Mapping[str, Any], name: str) -> str:
    """Return a text, empty if there is none."""
    found = value.get(name)
    return str(found).strip() if isinstance(found, str | int) and not isinstance(found, bool) else ""


def part(value: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return an object, empty if there is none."""
    found = value.get(name)
    return found if isinstance(found, dict) else {}


def parts(value: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """Return the objects of a list."""
    found = value.get(name)
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def without_empty(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that have a value."""
    return {name: each for name, each in value.items() if each not in ("", None, [])}
