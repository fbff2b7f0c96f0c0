"""docs/analytics.sql shows of an export what the API shows of the table. The test in tests/e2e makes AWS's exports."""

import gzip
import json
import random
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from builders import ANA, a_moment, a_request, a_user, an_entry, an_example, send, send_batch, the_profile
from documents import blocks, text
from domain.event_types import CATALOGUE
from domain.profile import Profile, countable
from sql import ask
from stored import as_text, everything
from table import Account
from table.attribute_values import deserialize
from table.calls import Table
from use_cases import users
from use_cases.collect import collect_one
from use_cases.erasure import erase_leftovers

MONDAY = datetime(2026, 11, 23, 8, tzinfo=UTC)
BEN, CLEO = "ben@example.com", "cleo@example.com"
Export = Callable[[], Path]


@pytest.fixture
def export(table: Table, tmp_path: Path) -> Export:
    """Make a full export of the table; return its folder."""
    numbers = count()

    def make() -> Path:
        folder = tmp_path / str(next(numbers))
        write(folder, "full", ({"Item": item} for item in everything(table)))
        return folder

    return make


def write(folder: Path, name: str, lines: Iterable[Any]) -> None:
    data = folder / "export" / "AWSDynamoDB" / "data"
    data.mkdir(parents=True, exist_ok=True)
    (data / f"{name}.json.gz").write_bytes(gzip.compress("".join(json.dumps(line) + "\n" for line in lines).encode()))


def shown(moment: datetime) -> str:
    """A time as DuckDB writes it."""
    return moment.strftime("%Y-%m-%d %H:%M:%S.%f").rstrip("0").rstrip(".")


def an_order(order_id: Any, total: Any, **fields: Any) -> dict[str, Any]:
    return {"confirmation": {"orderId": order_id, "total": total, **fields}}


# --- events ---


HOSTILE: dict[str, Any] = {
    "digits": Decimal(12345678901234567890123456789012345678),
    "small": Decimal("1E-130"),
    "large": Decimal("9.9999999999999999999999999999999999999E+125"),
    "$.path": "a dollar",
    "/pointer~": "a slash",
    'quote"': "\u0000 \u2028 😀 \\ ' \"",
    "0": True,
    "list": [None, {"M": {"S": "N"}}, []],
}


def test_events_are_exported_as_the_api_returns_them_to_the_last_digit(account: Account, export: Export) -> None:
    user = a_user(account)
    for event_type in CATALOGUE:
        send(account, {event_type: an_example(event_type)})
    request = a_request({"viewitem": {"itemId": "hostile"}})
    request.event.payload.update(HOSTILE)
    collect_one(request, account, a_moment())
    own = an_entry({"search": {"query": "x"}}, eventId="our-own#1", eventTime=MONDAY - timedelta(days=900))
    send_batch(account, [own], MONDAY, imported=True)
    [*told], _ = users.timeline(ANA, {}, account, a_moment())
    rows = ask(folder := export(), "FROM events ORDER BY createdOn DESC, id DESC")
    payloads = [deserialize({"M": row["payload"]}) for row in rows]
    assert {name: rows[-1][name] for name in ("id", "createdOn", "receivedOn", "imported")} == {
        "id": "our-own#1", "createdOn": shown(MONDAY - timedelta(days=900)), "receivedOn": shown(MONDAY),
        "imported": True,
    }  # fmt: skip
    assert {row["userId"] for row in rows} == {user.id}
    assert [(row["id"], row["type"]) for row in rows] == [(event.id, event.type) for event in told]
    assert payloads == [event.payload for event in told]
    assert {"itemId": "hostile", **HOSTILE} in payloads
    fields = ", ".join(f"field(payload, '{name}')" for name in HOSTILE)
    [row] = ask(folder, f"SELECT [{fields}] AS fields FROM events WHERE field(payload, 'itemId') = 'hostile'")  # noqa: S608
    assert [Decimal(number) for number in row["fields"][:3]] == list(HOSTILE.values())[:3]
    assert row["fields"][3:] == ["a dollar", "a slash", HOSTILE['quote"'], "true", None]


def test_an_event_that_has_ended_by_the_time_of_the_query_is_in_no_view(account: Account, export: Export) -> None:
    a_user(account)
    for days, order in ((41, "ended"), (39, "there")):
        send(account._replace(event_days=40), an_order(order, 1), a_moment() - timedelta(days=days))
    assert ask(export(), "SELECT orderId FROM orders") == [{"orderId": "there"}]


# --- users ---


def test_a_user_is_exported_as_the_api_returns_it(account: Account, export: Export) -> None:
    a_user(account, city="Vigo", size=Decimal("43.5"), tags="vip;b2b")
    send(account, an_order("A-1", "59.90"), MONDAY)
    send(account, {"emailopen": {}}, MONDAY + timedelta(hours=1))
    nested = {"refundId": " R-1 ", "orderId": 7, "total": "9.90"}
    send(account, {"refund": {"generic": nested, "reason": "size"}}, MONDAY)
    a_user(account, None)
    anonymous, ana = ask(export(), "FROM users ORDER BY email NULLS FIRST")
    assert anonymous["email"] is None
    assert (anonymous["numberOfPurchases"], anonymous["totalPurchasesValue"]) == (0, "0.000000000")
    profile = the_profile(account)
    assert deserialize({"M": ana.pop("attributes")}) == {"city": "Vigo", "size": Decimal("43.5")}
    assert ana.pop("createdOn") == shown(datetime.fromisoformat(profile["createdOn"]))
    assert ana == {
        "account": "shop", "id": profile["_id"], "email": ANA, "tags": ["b2b", "vip"],
        "numberOfPurchases": 1, "totalPurchasesValue": "59.900000000", "lastPurchaseDate": shown(MONDAY),
        "numberOfRefunds": 1, "totalRefundsValue": "9.900000000", "lastRefundDate": shown(MONDAY),
        "lastEmailOpenDate": shown(MONDAY + timedelta(hours=1)),
    }  # fmt: skip
    [refund] = ask(export(), "FROM refunds")
    told = {"refundId": "R-1", "orderId": "7", "total": "9.900000000", "sentTotal": "9.90", "reason": "size"}
    assert {name: refund[name] for name in told} == told


# --- orders ---


def test_an_order_is_read_flat_and_under_generic(account: Account, export: Export) -> None:
    user = a_user(account)
    answers = []
    for number, (total, is_nested) in enumerate([(Decimal("59.9"), True), ("59.90", False), (" 5.990e1 ", True)]):
        scalars = {"orderId": f" A-{number} ", "total": total, "currency": "EUR", "status": "paid"}
        payload = {"generic": scalars} if is_nested else scalars
        answers.append(send(account, {"confirmation": {**payload, "items": [{"itemId": "SKU-1"}]}}, MONDAY))
    rows = ask(export(), "FROM orders ORDER BY orderId")
    assert [Decimal(row.pop("sentTotal")) for row in rows] == [Decimal("59.9")] * 3
    assert rows == [
        {
            "account": "shop", "orderId": f"A-{number}", "userId": user.id, "eventId": answer.event_id,
            "createdOn": shown(MONDAY), "total": "59.900000000", "currency": "EUR", "status": "paid",
            "items": [{"M": {"itemId": {"S": "SKU-1"}}}], "warnings": [],
        }
        for number, answer in enumerate(answers)
    ]  # fmt: skip


def test_orders_add_up_to_what_the_profile_says_to_the_last_digit(account: Account, export: Export) -> None:
    a_user(account)
    countable = ["999999999999999.999999999", "-0.000000001", "1e-9", "0.1", "0.2", 10**14, 836.9999999999998, "5e-10"]
    totals = [*countable, "1e15", "n/a", None]
    for number, total in enumerate(totals):
        send(account, an_order(f"A-{number}", total), MONDAY)
    [row] = ask(
        export(),
        "SELECT sum(total) AS sum, count(*) AS orders, count(total) AS counted, any_value(totalPurchasesValue) AS told"
        " FROM orders JOIN users ON users.account = orders.account AND users.id = orders.userId",
    )
    profile = the_profile(account)
    assert (row["orders"], row["counted"]) == (profile["numberOfPurchases"], len(countable))
    assert Decimal(row["sum"]) == Decimal(row["told"]) == profile["totalPurchasesValue"]
    assert Decimal(row["sum"]) == Decimal("1100000000000837.299999999")


CHANCE = random.Random(14)


def digits(*lengths: int) -> str:
    return "".join(CHANCE.choices("000123456789", k=CHANCE.choice(lengths)))


def a_text() -> str:
    """A number as a caller may write it, or what only looks like one."""
    space, sign = CHANCE.choice(["", "", " ", "\t\n", "\x1c", "\xa0"]), CHANCE.choice(["", "", "", "-", "+", "--"])
    decimals = digits(0, 2, 9, 10, 25) or digits(9) + "5" + "0" * CHANCE.randrange(3)  # a tie
    number = digits(0, 1, 3, 15, 16, 30) + CHANCE.choice(["", ".", ".", ".", ".."]) + decimals
    exponent = CHANCE.choice(["", "", "e", "E+", "e-", "e_"])
    power = CHANCE.choice(["0", "1", "8", "9", "10", "24", "400"]) if exponent else CHANCE.choice(["", "00000"])
    return space + sign + number + exponent + power + space


LOOK_ALIKES = ["", "NaN", "Infinity", "1_000", "0x10", "1,5", "true", "1 000", "٣", "1e", "e1", ".", "-", "1d", "0e400"]


def test_exactly_those_totals_count_that_the_service_counts(account: Account, ana: Profile, export: Export) -> None:
    all_texts = [*LOOK_ALIKES, *(a_text() for _ in range(3000))]
    folder = export()
    (folder / "texts.jsonl").write_text("".join(json.dumps({"sent": sent}) + "\n" for sent in all_texts))
    rows = ask(folder, "SELECT sent, amount(sent) AS total FROM read_json('texts.jsonl', columns = {sent: 'VARCHAR'})")
    found = {row["sent"]: row["total"] and Decimal(row["total"]) for row in rows}
    expected = {sent: countable(sent) for sent in all_texts}
    assert {sent: (found[sent], expected[sent]) for sent in expected if found[sent] != expected[sent]} == {}
    assert sum(total is not None for total in expected.values()) > 300


def test_the_warnings_of_an_event_are_in_the_views(account: Account, ana: Profile, export: Export) -> None:
    for event in (an_order("A-1", "59,90"), an_order("A-2", "59.90"), {"update": {"_id": "x", "tags": "!"}}):
        send(account, event)
    folder = export()
    assert ask(folder, "SELECT orderId FROM orders WHERE warnings = ['total_not_counted']") == [{"orderId": "A-1"}]
    assert ask(folder, "SELECT unnest(warnings) AS code FROM events WHERE type = 'update'") == [
        {"code": "system_attribute_ignored"},
        {"code": "tag_ignored"},
    ]


# --- Accounts and erasure ---


[*QUESTIONS, TO_PARQUET] = blocks("docs/analytics.md", "sql")


def later(hours: int) -> datetime:
    return MONDAY + timedelta(hours=hours)


def a_day_in_the_shop(account: Account) -> None:
    """Ana: a cart, an open, two orders; Ben: a cart; an anonymous user: an order without a total that counts."""
    ana, ben, nobody = (a_user(account, email).id for email in (ANA, BEN, None))
    lines = [{"itemId": "SKU-1", "quantity": 2}, {"itemId": "SKU-2"}]
    for user in (ana, ben):
        send(account, {"addtocart": {"itemId": "SKU-1"}}, later(0), _id=user)
    send(account, {"emailopen": {}}, later(-1), _id=ana)
    send(account, {"emailopen": {}}, later(48), _id=ana)
    send(account, an_order("A-1", "59.90", currency="EUR", items=lines), later(1), _id=ana)
    send(account, an_order("A-2", 0.1, currency="EUR", items=lines[:1]), later(24), _id=ana)
    send(account, an_order("A-3", "n/a", currency="USD"), later(2), _id=nobody)


def test_the_questions_of_the_document_have_answers_and_parquet_the_same_rows(table: Table, export: Export) -> None:
    for name in ("demo", "demo-2"):
        a_day_in_the_shop(Account(table, name))
    folder = export()
    assert [[tuple(row.values()) for row in ask(folder, question)] for question in QUESTIONS] == [
        [("2026-11-23", 2, 1, 50.0)],
        [
            ("2026-11-23", "EUR", 1, "59.900000000", 0),
            ("2026-11-23", "USD", 1, None, 1),
            ("2026-11-24", "EUR", 1, "0.100000000", 0),
        ],
        [(2, 1)],
        [("SKU-1", "4.000"), ("SKU-2", "1.000")],
    ]
    ask(folder, TO_PARQUET)
    columns = "SELECT account, userId, id, type, createdOn, receivedOn, imported, payload::VARCHAR AS payload"
    written = ask(folder, columns + " FROM 'export/events/*/*.parquet' ORDER BY ALL")
    assert written == ask(folder, columns + " FROM events ORDER BY ALL")
    assert len(written) == 14


def test_the_document_lists_the_views_and_their_columns(account: Account, ana: Profile, export: Export) -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", text("docs/analytics.md"), re.MULTILINE)
    told = {view: re.findall(r"`(\w+)`", columns) for view, columns in rows}
    found = ask(
        export(),
        "SELECT table_name AS view, list(column_name ORDER BY column_index) AS columns FROM duckdb_columns()"
        " WHERE NOT internal AND table_name != 'items' GROUP BY ALL",
    )
    assert told == {row["view"]: row["columns"] for row in found}
    assert all(columns[0] == "account" for columns in told.values())


# --- Full and incremental exports ---


def changes_between(before: list[Any], after: list[Any], second: int) -> list[dict[str, Any]]:
    """Return the lines of an incremental export with NEW_IMAGE: a deleted item has no image."""
    when = {"WriteTimestampMicros": {"N": str(int(MONDAY.timestamp() + second) * 1_000_000)}}
    olds, news = ({(item["pk"]["S"], item["sk"]["S"]): item for item in items} for items in (before, after))
    return [
        {"Metadata": when, "Keys": {"pk": {"S": key[0]}, "sk": {"S": key[1]}}}
        | ({"NewImage": news[key]} if key in news else {})
        for key in olds.keys() | news.keys()
        if olds.get(key) != news.get(key)
    ]


def test_incremental_exports_update_a_full_one_and_no_view_has_a_user_who_is_being_erased(
    account: Account, export: Export
) -> None:
    for email in (ANA, BEN, CLEO):
        a_user(account, email)
        send(account, {"search": {"query": "shoes"}}, email=email)
    send(account, an_order("B-1", 1), email=BEN)
    folder, first = export(), everything(account.table)
    send(account, an_order("A-1", "0.1"))
    ben, _ = users.erase(BEN, account, a_moment())
    second, during = everything(account.table), export()
    assert ben.id in as_text(account.table), "nothing was swept so far"
    assert ask(during, "SELECT email FROM users ORDER BY email") == [{"email": ANA}, {"email": CLEO}]
    assert ask(during, "SELECT count(*) AS n FROM events WHERE userId NOT IN (SELECT id FROM users)") == [{"n": 0}]
    assert ask(during, "SELECT orderId FROM orders") == [{"orderId": "A-1"}]
    send(account, an_order("A-2", "0.2"))
    users.erase(CLEO, account, a_moment())
    erase_leftovers(account.table, a_moment() + timedelta(hours=1))
    write(folder, "b", changes_between(first, second, 1))
    write(folder, "a", changes_between(second, everything(account.table), 2))
    for view in ("users", "events", "orders"):
        assert ask(folder, f"FROM {view} ORDER BY ALL") == ask(export(), f"FROM {view} ORDER BY ALL") != []
    assert ask(folder, "SELECT numberOfPurchases FROM users") == [{"numberOfPurchases": 2}]
