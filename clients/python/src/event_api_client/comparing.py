"""Comparison of a file with what is stored, through `POST /v1/events/check`. Nothing is stored."""

import csv
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from event_api_client.api import Answer, Api, Result, Settings
from event_api_client.entries import ENVELOPE_BYTES, MAX_BATCH_BYTES, MAX_ENTRY_BYTES, MAX_EVENTS, to_json
from event_api_client.formats import Entry, Source, Wrong, part
from event_api_client.importing import StallTimer, Unit, deliver
from event_api_client.rows import opened

ORDERS = {"confirmation": "orderId", "refund": "refundId"}
STORED, DIFFERENT, MISSING, UNKNOWN_USER, INVALID = (
    "stored",
    "stored, but different",
    "missing",
    "user unknown",
    "invalid",
)
STATES = (STORED, DIFFERENT, MISSING, UNKNOWN_USER, INVALID)


class Found(NamedTuple):
    """The result of comparing one order of the file."""

    line: int
    type: str
    id: str
    user: str
    state: str
    detail: str


def compare(
    path: Path, source: Source, settings: Settings, report: Path, watch: Callable[[int, int, int], None]
) -> Counter[str]:
    """Compare the orders and refunds of a file, write one line for each to `report`, and count the states.

    Raises ImportStoppedError and UnreadableFileError.
    """
    counts: Counter[str] = Counter()
    api = Api(settings)
    try:
        with opened(path) as (file, position), report.open("w", newline="", encoding="utf-8") as written:
            writer = csv.writer(written)
            writer.writerow(Found._fields)
            for found in _compared(source.entries(source.read(file)), api):
                counts[found.state] += 1
                writer.writerow([_safe(cell) for cell in found])
                if counts.total() % MAX_EVENTS == 0:
                    watch(counts.total(), position.bytes, position.size)
            watch(counts.total(), position.size, position.size)
    finally:
        api.close()
    return counts


def _compared(items: Iterator[Any], api: Api) -> Iterator[Found]:
    orders = (item for item in items if isinstance(item, Wrong) or _order(item))
    while batch := list(islice(orders, MAX_EVENTS)):
        yield from (Found(item.line, "", "", "", INVALID, item.problem) for item in batch if isinstance(item, Wrong))
        yield from _checked([item for item in batch if isinstance(item, Entry)], api)


def _order(item: object) -> str | None:
    """Return the type of an order or refund. None for other items."""
    event = item.value.get("event") if isinstance(item, Entry) else None
    return next((name for name in ORDERS if name in event), None) if isinstance(event, dict) else None


def _checked(entries: Sequence[Entry], api: Api) -> Iterator[Found]:
    results: dict[int, tuple[Entry, Result]] = {}
    batch: list[Unit] = []
    size = ENVELOPE_BYTES

    def report_state(unit: Unit, result: Result) -> None:
        results[unit.line] = entries[unit.line], result

    def send(sent: Sequence[bytes]) -> Answer:
        return api.send(sent, imported=True, check=True)

    for number, entry in enumerate(entries):
        content = to_json(entry.value)
        if len(content) > MAX_ENTRY_BYTES:
            report_state(Unit(number, b""), {"status": "refused", "errors": [{"message": "The event is too large"}]})
            continue
        if size + len(content) + 1 > MAX_BATCH_BYTES:
            deliver(batch, send, report_state, StallTimer())
            batch, size = [], ENVELOPE_BYTES
        batch.append(Unit(number, content))
        size += len(content) + 1
    deliver(batch, send, report_state, StallTimer())
    missing: set[str] = set()
    for number in sorted(results):
        entry, result = results[number]
        yield _found(entry, result, missing)


def _found(entry: Entry, result: Result, missing: set[str]) -> Found:
    """Read the result of a check. `missing` are the event ids of earlier orders of the batch that are missing.

    If a missing order is in a batch twice, the check says "created" and then "duplicate" or "discarded".
    """
    kind = _order(entry) or ""
    payload, user, event_id = entry.value["event"][kind], entry.value.get("user"), str(entry.value.get("eventId"))
    first = str((result.get("first") or {}).get("eventId") or event_id)
    state, detail = (MISSING, "") if first in missing else _state(result)
    if state == MISSING:
        missing.add(event_id)
    flat = payload if isinstance(payload, dict) else {}
    order_id = (flat | part(flat, "generic")).get(ORDERS[kind], "")
    name = (user.get("email") or user.get("_id") or "") if isinstance(user, dict) else ""
    return Found(entry.line, kind, str(order_id), str(name), state, detail)


def _state(result: Result) -> tuple[str, str]:
    status, errors = result["status"], result.get("errors") or [{}]
    if status in ("duplicate", "discarded"):
        same = result.get("samePayload", (result.get("first") or {}).get("samePayload"))
        return (DIFFERENT, str(result.get("message") or "")) if same is False else (STORED, "")
    if status == "created":
        return MISSING, ""
    message = str(errors[0].get("description") or errors[0].get("message") or "")
    is_unknown = errors[0].get("code") == "user_not_found" or errors[0].get("message") == "User not found"
    return (UNKNOWN_USER if is_unknown else INVALID), message


def _safe(cell: object) -> object:
    """Return a cell that a spreadsheet does not take for a formula."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell
