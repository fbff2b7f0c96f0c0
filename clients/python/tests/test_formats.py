"""Each format makes the right events of rows in the shapes that its source exports."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from event_api_client.entries import iso, parse_time, to_json
from event_api_client.formats import FORMATS, Entry, Item, Skipped, UnreadableRowError, Wrong, amount, moment
from event_api_client.rows import UnreadableFileError, opened


class Read(NamedTuple):
    items: list[Item]
    entries: list[dict[str, Any]]
    events: list[Any]
    skipped: list[tuple[int, str]]
    wrong: list[tuple[int, str]]


def read(name: str, content: str | bytes, folder: Path) -> Read:
    (folder / "file").write_bytes(content.encode() if isinstance(content, str) else content)
    with opened(folder / "file") as (file, _):
        items = list(FORMATS[name].entries(FORMATS[name].read(file)))
    entries = [item.value for item in items if isinstance(item, Entry)]
    skipped = [(item.line, item.reason) for item in items if isinstance(item, Skipped)]
    wrong = [(item.line, item.problem) for item in items if isinstance(item, Wrong)]
    return Read(items, entries, [entry["event"] for entry in entries], skipped, wrong)


def lines(*values: Any) -> str:
    return "".join(json.dumps(value) + "\n" for value in values)


# --- vibetrace ------------------------------------------------------------------------------------

VIBETRACE = '"email";"orderId";"date";"items";"total";"discountCodes"\n'


def test_vibetrace_rows_become_orders(tmp_path: Path) -> None:
    row = '"Ana@example.com";"A-1";"2026-04-05T21:06:21+03:00";"SKU-1:2|a:b:1|SKU-3";"59.90";"SUMMER|VIP"\n'
    assert read("vibetrace", VIBETRACE + row, tmp_path).entries == json.loads("""
        [{"eventId": "order-A-1", "eventTime": "2026-04-05T18:06:21.000Z", "user": {"email": "Ana@example.com"},
          "event": {"confirmation": {"orderId": "A-1", "total": "59.90", "coupons": ["SUMMER", "VIP"],
           "items": [{"itemId": "SKU-1", "quantity": 2}, {"itemId": "a:b", "quantity": 1}, {"itemId": "SKU-3"}]}}}]
    """)


def test_vibetrace_cells_may_be_empty_and_rows_wrong(tmp_path: Path) -> None:
    rows = [
        "ana@example.com;A-1;2026-04-05;;;", "", ";A-2;2026-04-05;;;", "ana@example.com;;2026-04-05;;;",
        "ana@example.com;A-3;05/04/2026;;;", "ana@example.com;A-4;2026-04-05;;", "ana@example.com;A-5;2026-04-05;:2;;",
        'ana@example.com;A-6;2026-04-05;;"1.234,50";', "ana@example.com;A-7;1775336400;;about 5;",
    ]  # fmt: skip
    found = read("vibetrace", VIBETRACE + "\r\n".join(rows), tmp_path)
    assert [event["confirmation"] for event in found.events] == [
        {"orderId": "A-1"}, {"orderId": "A-6", "total": "1234.50"}, {"orderId": "A-7", "total": "about 5"},
    ]  # fmt: skip
    assert found.skipped == [(4, "orders without an email")]
    assert found.wrong == [
        (5, "orderId is empty"),
        (6, "The date is not an ISO date such as 2026-04-05 21:06:21 +0400, and not Unix seconds"),
        (7, "The row has 5 cells, and the header 6"),
        (8, "items contains an item without an id"),
    ]


@pytest.mark.parametrize(("text", "expected"), [
    ("2026-04-05", "2026-04-05T00:00:00.000Z"), ("2026-04-05 21:06", "2026-04-05T21:06:00.000Z"),
    ("2026-04-05T21:06:21.123456+0400", "2026-04-05T17:06:21.123Z"), ("1775423181", "2026-04-05T21:06:21.000Z"),
    ("2026-04-05 21:06:21 UTC", "2026-04-05T21:06:21.000Z"), ("1775423181123", "2026-04-05T21:06:21.123Z"),
])  # fmt: skip
def test_dates(text: str, expected: str) -> None:
    assert iso(moment(text, parse_time("2026-01-01T00:00:00Z").tzinfo)) == expected  # type: ignore[arg-type]


def test_wrong_dates() -> None:
    for text in ("", "2026-13-05", "2026-04-05 25:00:00 +0000", "2026-04-05 21:06:21", "yesterday", "12"):
        with pytest.raises(UnreadableRowError):
            moment(text)


@pytest.mark.parametrize(("text", "expected"), [
    ("59.90", "59.90"), ("59,90", "59.90"), ("1.234,50", "1234.50"), ("1,234.50", "1234.50"), ("1 234,50", "1234.50"),
    ("-5", "-5"), ("1,234", "1,234"), ("59.90 EUR", "59.90 EUR"), ("", ""),
])  # fmt: skip
def test_amounts_that_are_clear_get_a_decimal_point(text: str, expected: str) -> None:
    assert amount(text) == expected


# --- shopify --------------------------------------------------------------------------------------

SHOPIFY_COLUMNS = """
Name,Email,Financial Status,Paid at,Fulfillment Status,Fulfilled at,Accepts Marketing,Currency,Subtotal,
Shipping,Taxes,Total,Discount Code,Discount Amount,Shipping Method,Created at,Lineitem quantity,
Lineitem name,Lineitem price,Lineitem compare at price,Lineitem sku,Lineitem requires shipping,
Lineitem taxable,Lineitem fulfillment status,Billing Name,Billing City,Billing Country,Billing Phone,
Shipping Name,Shipping City,Shipping Country,Notes,Cancelled at,Refunded Amount,Id,Tags,Source,
Lineitem discount,Phone
""".replace("\n", "").split(",")


CANCELLED = "2026-04-06 10:00:00 +0400"


def shopify(*rows: dict[str, str]) -> bytes:
    head = ",".join(SHOPIFY_COLUMNS)
    body = [",".join('"' + row.get(name, "").replace('"', '""') + '"' for name in SHOPIFY_COLUMNS) for row in rows]
    return ("\ufeff" + "\n".join([head, *body]) + "\n").encode()


def shopify_order(name: str, **cells: str) -> dict[str, str]:
    order: dict[str, str] = json.loads(r"""
        {"Email": "ana@example.com", "Financial Status": "paid", "Currency": "EUR", "Total": "59.90",
         "Shipping": "4.90", "Created at": "2026-04-05 21:06:21 +0400", "Lineitem quantity": "1",
         "Lineitem name": "Shoe \"Sol\", red", "Lineitem price": "55.00"}
    """)
    named = {key.replace("_", " "): value for key, value in cells.items()}
    return order | {"Name": name, "Id": f"57000{name[1:]}"} | named


def test_shopify_rows_of_one_order_become_one_event(tmp_path: Path) -> None:
    first = shopify_order("#1001", Discount_Code="SUMMER", Billing_City="Porto", Billing_Country="PT", Phone="'+351900")
    second = {"Name": "#1001", "Email": "ana@example.com", "Lineitem quantity": "2", "Lineitem name": "Sock"}
    second |= {"Lineitem sku": "SOCK-1", "Lineitem price": "2.45", "Lineitem discount": "0.45"}
    found = read("shopify", shopify(first, second, shopify_order("#1002")), tmp_path)
    assert ([item.line for item in found.items], found.entries[1]["eventId"]) == ([2, 4], "order-570001002")
    assert found.entries[0] == json.loads(r"""
        {"eventId": "order-570001001", "eventTime": "2026-04-05T17:06:21.000Z",
         "user": {"email": "ana@example.com", "city": "Porto", "country": "PT", "tel": "+351900"},
         "event": {"confirmation": {
          "orderId": "570001001", "name": "#1001", "total": "59.90", "total_shipping": "4.90", "currency": "EUR",
          "coupons": ["SUMMER"], "status": "paid", "items": [
           {"itemId": "Shoe \"Sol\", red", "name": "Shoe \"Sol\", red", "price": "55.00", "quantity": 1},
           {"itemId": "SOCK-1", "name": "Sock", "price": "2.45", "discount": "0.45", "quantity": 2}]}}}
    """)


def test_shopify_refunds_become_refunds_and_what_was_never_paid_is_skipped(tmp_path: Path) -> None:
    refunded = {"Financial_Status": "refunded", "Refunded_Amount": "0.00", "Cancelled_at": CANCELLED}
    pending = {"Financial_Status": "pending", "Cancelled_at": CANCELLED}
    cells: list[dict[str, str]] = [
        {"Financial_Status": "partially_refunded", "Refunded_Amount": "10.00"}, refunded,
        {"Financial_Status": "voided"}, {"Email": ""}, pending, {"Financial_Status": "pending"}, {"Id": "5.7001E+12"},
        {"Created_at": "2026-04-05 21:06:21"}, {"Id": ""},
    ]  # fmt: skip
    orders = [shopify_order(f"#{number}", **each) for number, each in enumerate(cells, 1)]
    found = read("shopify", shopify(*orders), tmp_path)
    kinds = ["confirmation", "refund"] * 2 + ["confirmation"] * 2
    assert [next(iter(event)) for event in found.events] == kinds
    assert [entry["eventTime"] for entry in found.entries[1:4:2]] == [
        "2026-04-05T17:06:21.000Z", "2026-04-06T06:00:00.000Z",
    ]  # fmt: skip
    assert [item.line for item in found.items if isinstance(item, Entry) and item.note] == [2]
    refund = {"refundId": "570001-refund", "orderId": "570001", "total": "10.00", "currency": "EUR"}
    assert (found.events[1]["refund"], found.events[3]["refund"]["total"]) == (refund, "59.90")
    assert found.events[-1]["confirmation"]["orderId"] == "#9"
    assert found.skipped == [
        (4, "voided orders: they were never paid"),
        (5, "orders without an email"),
        (6, "orders that were cancelled before they were paid"),
    ]
    assert [(line, problem.split(".")[0]) for line, problem in found.wrong] == [
        (8, "Id was rounded by a spreadsheet"),
        (9, "The date has no offset from UTC, such as +0400"),
    ]


# --- woocommerce ----------------------------------------------------------------------------------


def woocommerce_order(number: int, **more: Any) -> dict[str, Any]:
    order: dict[str, Any] = json.loads("""
        {"status": "completed", "currency": "EUR", "date_created": "2026-04-05T21:06:21",
         "date_created_gmt": "2026-04-05T19:06:21", "total": "59.90", "shipping_total": "4.90",
         "billing": {"first_name": "Ana", "last_name": "Silva", "email": "ana@example.com", "phone": "+351900",
          "city": "Porto", "country": "PT", "address_1": "Rua 1"},
         "line_items": [{"id": 3, "name": "Shoe", "product_id": 12, "variation_id": 0, "quantity": 1, "total": "55.00",
          "sku": "", "price": 55}], "coupon_lines": [{"id": 4, "code": "summer"}], "refunds": []}
    """)
    return order | {"id": number, "number": f"2026-{number}"} | more


def test_woocommerce_orders_and_their_refunds(tmp_path: Path) -> None:
    refunds = [{"id": 801, "reason": "Too small", "total": "-10.00"}]
    page = [woocommerce_order(701, refunds=refunds), woocommerce_order(702, status="refunded")]
    found = read("woocommerce", lines(page), tmp_path)
    assert found.entries[0] == json.loads("""
        {"eventId": "order-701", "eventTime": "2026-04-05T19:06:21.000Z",
         "user": {"email": "ana@example.com", "tel": "+351900", "firstname": "Ana", "lastname": "Silva",
          "country": "PT", "city": "Porto"},
         "event": {"confirmation": {
          "orderId": "701", "number": "2026-701", "total": "59.90", "total_shipping": "4.90", "currency": "EUR",
          "coupons": ["summer"], "status": "completed", "items": [
           {"itemId": "12", "name": "Shoe", "price": 55, "quantity": 1, "total": "55.00", "productId": 12}]}}}
    """)
    refund = {"refundId": "801", "orderId": "701", "total": "10.00", "currency": "EUR", "reason": "Too small"}
    full = {"refundId": "702-refund", "orderId": "702", "total": "59.90", "currency": "EUR"}
    assert found.events[1::2] == [{"refund": refund}, {"refund": full}]


def test_woocommerce_orders_that_are_skipped_or_wrong(tmp_path: Path) -> None:
    offset = {"date_created_gmt": None, "date_created": "2026-04-05T21:06:21+02:00"}
    changed: list[Any] = [{"status": "cancelled"}, {"billing": {"email": ""}}, {"date_created_gmt": None}, offset]
    orders = [woocommerce_order(number, **each) for number, each in enumerate(changed, 1)]
    content = lines(*orders, {"code": "rest_forbidden"}, 7)
    found = read("woocommerce", content + "<html>\n\n", tmp_path)
    without_email = "orders without an email"
    assert found.skipped == [(1, "orders with the status cancelled"), (2, without_email), (5, without_email)]
    assert [entry["eventId"] for entry in found.entries] == ["order-4"]
    assert found.wrong == [
        (3, "date_created_gmt is missing, and date_created has no offset"),
        (6, "The line is not a JSON object"),
        (7, "The line is not JSON. Write each object in one line"),
    ]


# --- segment --------------------------------------------------------------------------------------


def call(kind: str, number: int, **more: Any) -> dict[str, Any]:
    known = {"timestamp": "2026-04-05T21:06:21.123Z", "userId": "u-1", "anonymousId": "anon-1"}
    return {"type": kind, "messageId": f"ajs-{number}"} | known | more


def test_segment_calls(tmp_path: Path) -> None:
    totals = {"total": 59.9, "revenue": 50, "currency": "EUR"}
    products = [{"product_id": "SKU-1", "quantity": 1, "price": 55}]
    order = {"order_id": "A-1", **totals, "shipping": 4.9, "coupon": "SUMMER", "products": products}
    agent = {"userAgent": "Mozilla/5.0"}
    calls = [
        call("track", 0, event="Product Viewed", properties={"product_id": "SKU-1"}, context=agent),
        call("identify", 1, traits={"email": "ana@example.com", "firstname": "Ana"}),
        call("track", 2, event="Order Completed", properties=order),
        call("track", 3, event="Order Refunded", properties={"order_id": "A-1", "total": 10}),
        call("page", 4, name="Home", properties={"url": "https://shop.example.com/"}),
        call("track", 5, event="Quiz Answered", properties={"answer": 4}, userId=None),
        call("track", 6, event="Product Viewed", properties={}, userId="eve@example.com"),
        call("group", 7),
        call("track", 8, event="Order Completed", messageId=None),
        call("track", 9, event="Signed up", userId=None, anonymousId=None),
    ]
    found = read("segment", lines(*calls), tmp_path)
    assert [entry["eventId"] for entry in found.entries] == [f"ajs-{number}" for number in range(7)]
    assert {entry["eventTime"] for entry in found.entries} == {"2026-04-05T21:06:21.123Z"}
    viewer, *anas, somebody, eve = (entry["user"] for entry in found.entries)
    assert (viewer.keys(), somebody.keys()) == ({"_id", "userAgent"}, {"_id"})
    assert viewer["_id"] != somebody["_id"], "the call of somebody has only an anonymousId"
    assert anas == [{"email": "ana@example.com"}] * 4
    assert eve == {"email": "eve@example.com"}
    items = [{"product_id": "SKU-1", "itemId": "SKU-1", "quantity": 1, "price": 55}]
    assert json.loads(to_json(found.events)) == [
        {"viewitem": {"product_id": "SKU-1", "itemId": "SKU-1"}},
        {"update": {"firstname": "Ana", "userId": "u-1"}},
        {"confirmation": {"orderId": "A-1", **totals, "coupons": "SUMMER", "total_shipping": 4.9, "items": items}},
        {"refund": {"refundId": "ajs-3", "orderId": "A-1", "total": 10}},
        {"generic": {"url": "https://shop.example.com/", "event_name": "page", "name": "Home"}},
        {"generic": {"answer": 4, "event_name": "Quiz Answered"}},
        {"generic": {"event_name": "Product Viewed"}},
    ]
    assert found.skipped == [(8, "group calls")]
    assert found.wrong == [(9, "messageId is missing"), (10, "The call has neither userId nor anonymousId")]


# --- Real material --------------------------------------------------------------------------------

MATERIAL = Path(__file__).parents[3] / "tests" / "material"
HALF_OF_AN_EMOJI = "\ud83d"


def material(name: str) -> dict[str, Any]:
    payload: dict[str, Any] = json.loads((MATERIAL / f"{name}.json").read_text())
    return payload


def broken(value: Any) -> Iterator[Any]:
    """Yield the value again and again, each time with another part replaced by what no source documents."""
    wrong: tuple[Any, ...] = (None, "", [], {}, [None], -0.0, True, 10**40, HALF_OF_AN_EMOJI)
    if isinstance(value, dict | list):
        for name, part in list(value.items() if isinstance(value, dict) else enumerate(value)):
            for other in (*wrong, *broken(part)):
                changed = value.copy()
                changed[name] = other
                yield changed


@pytest.mark.parametrize("name", ["woocommerce", "segment", "jsonl"])
def test_any_odd_value_in_a_row_stops_no_file_and_none_is_not_sent_as_text(name: str, tmp_path: Path) -> None:
    line = {"user": {"email": "ana@example.com"}, "eventTime": TIME, "event": {"search": {"query": "shoes"}}}
    whole = line if name == "jsonl" else material(name)
    for each in whole.values() if name == "segment" else [whole]:
        rows = list(broken(each))
        found = read(name, lines(*rows), tmp_path)
        assert {item.line for item in found.items} == set(range(1, len(rows) + 1))
        assert "None" not in json.dumps([vars(item) for item in found.items], default=str)


# --- jsonl, and all files -------------------------------------------------------------------------

EVENT = {"user": {"email": "ana@example.com"}, "event": {"search": {"query": "shoes"}}}
TIME = "2026-04-05T21:06:21Z"


def test_jsonl_lines_are_sent_as_they_are_and_equal_lines_are_one_event(tmp_path: Path) -> None:
    timed = EVENT | {"eventTime": TIME}
    with_id, later = timed | {"eventId": "a-1", "eventID": 1}, timed | {"eventTime": "2026-04-05T21:06:22Z"}
    found = read("jsonl", lines(with_id, timed, timed, later, EVENT), tmp_path)
    own, first, again, other = found.entries
    assert own == with_id
    assert first == again != other
    assert first["eventId"].startswith("line-")
    assert [(line, problem[:20]) for line, problem in found.wrong] == [(5, "eventTime is missing")]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gzip"])
@pytest.mark.parametrize("delimiter", [";", ",", "\t"])
def test_files_come_in_several_encodings(encoding: str, delimiter: str, tmp_path: Path) -> None:
    text = delimiter.join(["email", "orderId", "date", "total"]) + "\r\n"
    text += delimiter.join(["zoë@example.com", '"A\n1"', "2026-04-05", '"5"']) + "\r\n"
    content = gzip.compress(text.encode()) if encoding == "gzip" else text.encode(encoding)
    [event] = read("vibetrace", content, tmp_path).events
    assert event["confirmation"]["orderId"] == "A\n1"


def test_bytes_that_are_not_utf_8_and_a_quote_that_is_never_closed_refuse_their_rows_only(tmp_path: Path) -> None:
    rows = VIBETRACE + "zoë@example.com;A-1;2026-04-05;;;\na@example.com;A-2;2026-04-05;;;\n"
    rows += '"a@example.com;A-3;2026-04-05;;;\nb@example.com;A-4;2026-04-05;;;\n'
    found = read("vibetrace", rows.encode("latin-1"), tmp_path)
    [(first, not_text), (fourth, not_closed)] = found.wrong
    assert (first, fourth, found.events) == (2, 4, [{"confirmation": {"orderId": "A-2"}}])
    assert "not UTF-8" in not_text
    assert "the lines 4 to 5: is a quote not closed?" in not_closed


def test_a_file_without_the_columns_of_the_format_or_that_is_cut_off_or_damaged_is_not_read(tmp_path: Path) -> None:
    for text in ("", "\n\n", "name;orderId\n1;2\n", '{"email": 1}'):
        with pytest.raises(UnreadableFileError, match="has no column"):
            read("vibetrace", text, tmp_path)
    content = gzip.compress(lines(*[EVENT | {"eventTime": TIME, "n": n} for n in range(9)]).encode())
    for broken in (content[:-20], content[:10] + b"\xff" * 8 + content[18:]):
        with pytest.raises(UnreadableFileError, match="not complete"):
            read("jsonl", broken, tmp_path)


def test_a_very_long_line_takes_no_memory(tmp_path: Path) -> None:
    content = '{"x": "' + "y" * 9_000_000 + '"}\n' + lines(EVENT | {"eventTime": TIME})
    wrong, right = read("jsonl", content, tmp_path).items
    assert isinstance(wrong, Wrong)
    assert len(str(wrong.value)) < 5000
    assert (type(right), right.line) == (Entry, 2)
