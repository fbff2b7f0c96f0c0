"""`event-api send`: reads lines into an outbox, and notes in the same write how far it has read."""

import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from hashlib import sha256
from pathlib import Path
from queue import Queue
from sqlite3 import Connection, IntegrityError
from threading import Thread
from typing import Any, TextIO

from event_api_client.api import Settings
from event_api_client.entries import entry_of, to_json
from event_api_client.importing import STALL_SECONDS, Counts, ImportStoppedError
from event_api_client.outbox import Outbox
from event_api_client.rows import Row, json_lines, opened

CHUNK = 500
MOST_WAITING = 10_000
"""Events in the outbox after which it reads no more, so that the outbox does not grow with the file."""
HEAD_BYTES = 64 * 1024
STANDARD_INPUT = Path("-")


class Sending:
    """A run: its counts are right even after an error."""

    def __init__(self, path: Path, outbox: Path | None) -> None:
        base = Path("stdin") if path == STANDARD_INPUT else path
        self.path = path
        self.outbox_path = outbox or base.with_name(base.name + ".outbox")
        self.rejected_path = base.with_name(base.name + ".rejected.jsonl")
        self.counts = Counts()

    def run(self, settings: Settings, *, upsert: bool) -> None:
        """Send the lines that no earlier run has read. Raises ImportStoppedError, SendingStopped and OutboxError."""
        with Outbox(self.outbox_path, url=settings.url, key=settings.key, upsert=upsert) as outbox:
            try:
                if self.path == STANDARD_INPUT:
                    sys.stdin.reconfigure(encoding="utf-8-sig", errors="surrogateescape")  # type: ignore[union-attr]
                    self._read(json_lines(sys.stdin), outbox)
                else:
                    with opened(self.path) as (file, _):
                        self._read_file(file, outbox)
                self._settle(outbox, 0)
            finally:
                self._report(outbox)

    def _read_file(self, file: TextIO, outbox: Outbox) -> None:
        """Read on where an earlier run ended, if it is the same file."""
        known = outbox.position(str(self.path.resolve()))
        first = known[0] if known and head_of(self.path, known[1]) == known[1] else 0
        position = _Position(str(self.path.resolve()), known, head_of(self.path))
        self._read((line for line in json_lines(file) if line[0].line > first), outbox, position)

    def _read(self, lines: Iterable[list[Row]], outbox: Outbox, position: "_Position | None" = None) -> None:
        for chunk in chunks(lines):
            entries = [entry for row in chunk if (entry := self._entry(row))]
            if position is None:
                outbox.add_entries(entries)
            else:
                is_cut = bool(chunk[-1].problem) and not chunk[-1].has_end  # a program may be writing it
                read = chunk[-1].line - is_cut, position.head
                outbox.add_entries(entries, partial(position.note, read))
                position.known = read
            self.counts.read += len(chunk)
            self._settle(outbox, MOST_WAITING)

    def _entry(self, row: Row) -> tuple[datetime, bytes] | None:
        try:
            if row.problem:
                raise ValueError(row.problem)
            value = row.value
            unknown = {name: FIELDS[plain(name)] for name in value.keys() - FIELDS.values() if plain(name) in FIELDS}
            for name, meant in unknown.items():
                raise ValueError(f"The line has {name!a}: it is called {meant}")
            _, moment, entry = entry_of(
                value.get("user", {}), value.get("event", {}), value.get("eventId"), value.get("eventTime")
            )
        except (ValueError, TypeError) as error:
            errors = [{"code": "unreadable_row", "message": "Unreadable row", "description": str(error)}]
            self._reject({"line": row.line, "errors": errors, **row.value})
            return None
        return moment, entry

    def _settle(self, outbox: Outbox, most: int) -> None:
        """Wait until at most so many events wait."""
        waiting, since = outbox.status().waiting, time.monotonic()
        while waiting > most:
            outbox.flush(1)
            now = outbox.status()
            since = time.monotonic() if now.waiting < waiting else since
            if time.monotonic() - since > STALL_SECONDS:
                raise ImportStoppedError(f"{now.waiting:,} events wait in {self.outbox_path}: {now.problem}")
            waiting = now.waiting

    def _report(self, outbox: Outbox) -> None:
        """Move what was rejected from the outbox to the file of rejected rows, and count the results."""
        for each in outbox.rejected():
            sent = {"eventId": each.event_id, "eventTime": each.event_time, "user": each.user, "event": each.event}
            self._reject({"errors": each.errors, **sent})
            outbox.forget(each.number)
        for name in ("created", "duplicate", "discarded"):
            setattr(self.counts, name, outbox.status().results.get(name, 0))
        self.counts.failed = outbox.status().waiting

    def _reject(self, row: dict[str, Any]) -> None:
        self.counts.refused += 1
        with self.rejected_path.open("ab") as file:
            file.write(to_json(row) + b"\n")


def chunks(lines: Iterable[list[Row]]) -> Iterator[list[Row]]:
    """Yield the rows of whole lines as they come: what a slow program has written is not kept waiting for more."""
    queue: Queue[list[Row] | BaseException | None] = Queue(maxsize=CHUNK)

    def read() -> None:
        try:
            for line in lines:
                queue.put(line)
            queue.put(None)
        except BaseException as error:  # noqa: BLE001 the main thread raises it
            queue.put(error)

    Thread(target=read, daemon=True).start()
    last: list[Row] | BaseException | None = []
    while isinstance(last, list):
        last, chunk = queue.get(), list[Row]()
        while isinstance(last, list):
            chunk += last
            if queue.empty() or len(chunk) >= CHUNK:
                break
            last = queue.get()
        if chunk:
            yield chunk
    if last:
        raise last


def plain(name: str) -> str:
    return "".join(filter(str.isalnum, name)).lower()


FIELDS = {plain(name): name for name in ("user", "event", "eventId", "eventTime")}


def head_of(path: Path, like: str = "") -> str:
    """Return the length and the digest of the beginning of a file, which identify it."""
    size = int(like.partition(":")[0]) if like else HEAD_BYTES
    with path.open("rb") as file:
        head = file.read(size)
    return f"{len(head)}:{sha256(head).hexdigest()}"


@dataclass
class _Position:
    """How far a file was read, as this run knows it: the lines, and the beginning of the file."""

    file: str
    known: tuple[int, str] | None
    head: str

    def note(self, read: tuple[int, str], connection: Connection) -> None:
        """Note how far the file was read. Raise an error if another run has read the same lines."""
        found = connection.execute("SELECT lines, head FROM positions WHERE file = ?", (self.file,)).fetchone()
        if found != self.known:
            raise IntegrityError(f"another run reads {self.file}")
        connection.execute("INSERT OR REPLACE INTO positions (file, lines, head) VALUES (?, ?, ?)", (self.file, *read))
