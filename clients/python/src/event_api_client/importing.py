"""Import of a file: reads, sends over several connections, and counts. The events of each user stay in order.

Running it again stores nothing twice, because ids come from the rows. If a run was interrupted, the next one begins
where all earlier rows are settled: `FILE.progress` says where. Without that file it begins with the first row.
"""

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from itertools import islice
from pathlib import Path
from queue import Queue
from threading import Event, Lock, Thread
from typing import Any, NamedTuple
from zlib import crc32

from event_api_client.api import Answer, Api, Next, Result, Settings
from event_api_client.entries import ENVELOPE_BYTES, MAX_BATCH_BYTES, MAX_ENTRY_BYTES, MAX_EVENTS, from_json, to_json
from event_api_client.formats import Entry, Item, Skipped, Source
from event_api_client.rows import Row, opened
from event_api_client.store import lock_file

WINDOW = 10_000
"""Items between two notes of the progress."""
FAILURES = 8
"""After so many failures while other events succeed, an event is given up."""
STALL_SECONDS = 600.0
"""After so long without a settled event, the import stops."""
LONGEST_WAIT = 60.0
MAX_NOTES = 50


class ImportStoppedError(Exception):
    """The import could not go on. Running it again continues it."""


class Unit(NamedTuple):
    """An entry in the form in which it is sent, with its line."""

    line: int
    entry: bytes


Send = Callable[[Sequence[bytes]], Answer]
Report = Callable[[Unit, Result], None]


@dataclass
class Counts:
    """The numbers of rows by outcome, and `notes` for people."""

    read: int = 0
    created: int = 0
    duplicate: int = 0
    discarded: int = 0
    refused: int = 0
    failed: int = 0
    usersCreated: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)

    @property
    def settled(self) -> bool:
        return not (self.refused or self.failed)

    def as_json(self) -> str:
        names = ("read", "created", "duplicate", "discarded", "refused", "failed", "usersCreated")
        return json.dumps({name: getattr(self, name) for name in names})


# --- Sending --------------------------------------------------------------------------------------


@dataclass
class StallTimer:
    """The number of settled events of all connections, and when the last one was settled."""

    settled: int = 0
    since: float = field(default_factory=time.monotonic)
    stop: Event = field(default_factory=Event)

    def progress(self, events: int) -> None:
        if events:
            self.settled += events
            self.since = time.monotonic()

    def wait(self, seconds: float, problem: str) -> None:
        """Wait before the next attempt. Raise ImportStoppedError after STALL_SECONDS without progress."""
        if time.monotonic() - self.since + seconds > STALL_SECONDS:
            raise ImportStoppedError(f"Nothing was settled for {STALL_SECONDS / 60:.0f} minutes: {problem}")
        if self.stop.wait(seconds):
            raise ImportStoppedError("Another connection stopped")


def deliver(units: Sequence[Unit], send: Send, report: Report, stall: StallTimer) -> None:
    """Send a batch until each event is settled, as section 8 of the contract says. Raises ImportStoppedError.

    An event that fails FAILURES times while others are settled is reported as failed.
    """
    waiting, attempts, at_first = list(units), 0, stall.settled
    failures: Counter[Unit] = Counter()
    while waiting:
        answer = send([unit.entry for unit in waiting])
        attempts += 1
        if answer.next is Next.STOP:
            raise ImportStoppedError(f"{answer.problem}. Check API_KEY and API_URL")
        if answer.next is Next.SPLIT:
            _deliver_parts(waiting, answer, send, report, stall)
            return
        if answer.next is Next.READ_RESULTS:
            pairs = list(zip(waiting, answer.results, strict=True))
            failed = [unit for unit, result in pairs if result["status"] == "failed"]
            stall.progress(len(waiting) - len(failed))
            attempts = attempts if len(failed) == len(waiting) else 0
            failures.update(failed)
            waiting = []
            for unit, result in pairs:
                given_up = failures[unit] >= FAILURES and stall.settled > at_first
                if result["status"] == "failed" and not given_up:
                    waiting.append(unit)
                else:
                    report(unit, result)
        if waiting:
            asked = 1.0 if answer.retry_after is None else answer.retry_after
            own = min(2.0 ** (min(attempts, 10) - 1), LONGEST_WAIT)
            stall.wait(asked if attempts <= 1 else max(own, asked), answer.problem)


def _deliver_parts(units: Sequence[Unit], answer: Answer, send: Send, report: Report, stall: StallTimer) -> None:
    """Find the event that the API cannot read."""
    if len(units) == 1:
        errors = answer.errors or [{"message": answer.problem, "description": "The API could not read the event."}]
        report(units[0], {"status": "refused", "errors": errors})
        stall.progress(1)
        return
    middle = len(units) // 2
    for half in (units[:middle], units[middle:]):
        deliver(half, send, report, stall)


class Connections:
    """Threads that deliver. One thread sends all entries of a user, in order."""

    def __init__(
        self, count: int, api: Callable[[], Api], send: Callable[[Api, Sequence[bytes]], Answer], report: Report
    ):
        self._stall = StallTimer()
        self._error: BaseException | None = None
        self._api, self._send, self._report = api, send, report
        self._queues: list[Queue[list[Unit] | None]] = [Queue(maxsize=2) for _ in range(count)]
        self._batches: list[list[Unit]] = [[] for _ in range(count)]
        self._sizes = [ENVELOPE_BYTES] * count
        self._threads = [Thread(target=self._work, args=(queue,), daemon=True) for queue in self._queues]
        for thread in self._threads:
            thread.start()

    def add(self, unit: Unit, name: str) -> None:
        """Hand an entry over. Raises ImportStoppedError."""
        number = crc32(name.encode()) % len(self._queues)
        size = len(unit.entry) + 1
        if len(self._batches[number]) == MAX_EVENTS or self._sizes[number] + size > MAX_BATCH_BYTES:
            self._put(number)
        self._batches[number].append(unit)
        self._sizes[number] += size

    def settle(self) -> None:
        """Wait until everything is settled. Raises ImportStoppedError."""
        for number in range(len(self._queues)):
            self._put(number)
        for queue in self._queues:
            queue.join()
        self._check()

    def close(self) -> None:
        self._stall.stop.set()
        for queue in self._queues:
            queue.put(None)
        for thread in self._threads:
            thread.join()

    def _put(self, number: int) -> None:
        self._check()
        if self._batches[number]:
            self._queues[number].put(self._batches[number])
        self._batches[number], self._sizes[number] = [], ENVELOPE_BYTES

    def _check(self) -> None:
        if self._error:
            raise self._error

    def _work(self, queue: "Queue[list[Unit] | None]") -> None:
        api: Api | None = None
        while (batch := queue.get()) is not None:
            try:
                if not self._error and not self._stall.stop.is_set():
                    api = api or self._api()
                    deliver(batch, partial(self._send, api), self._report, self._stall)
            except BaseException as error:  # noqa: BLE001, PERF203 the main thread raises it
                self._error = self._error or error
                self._stall.stop.set()
            finally:
                queue.task_done()
        if api:
            api.close()


# --- An import ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Job:
    """A file to import, and the options of the import."""

    path: Path
    source: Source
    settings: Settings
    upsert: bool = False
    check: bool = False
    connections: int = 4

    @property
    def rejected_path(self) -> Path:
        return self.path.with_name(self.path.name + ".rejected.jsonl")

    @property
    def progress_path(self) -> Path:
        return self.path.with_name(self.path.name + ".progress")

    @property
    def fingerprint(self) -> str:
        """Changes with everything that would make earlier progress wrong."""
        state, settings = self.path.stat(), self.settings
        parts = (
            state.st_size,
            state.st_mtime_ns,
            self.source.entries.__name__,
            self.upsert,
            settings.url,
            settings.key,
        )
        return sha256(repr(parts).encode()).hexdigest()


Watch = Callable[[Counts, int, int], None]
"""A function that gets the counts, the read bytes and all bytes."""


def run(job: Job, counts: Counts, watch: Watch) -> None:
    """Import a file. Raises ImportStoppedError and UnreadableFileError. `counts` is right then, too."""
    _Import(job, counts, watch).run()


class _Import:
    def __init__(self, job: Job, counts: Counts, watch: Watch) -> None:
        self.job, self.counts, self.watch = job, counts, watch
        self.lock = Lock()

    def run(self) -> None:
        job = self.job
        with opened(job.path) as (file, position), job.rejected_path.open("a+b") as self.rejected:
            self.position = position
            try:
                lock_file(self.rejected.fileno())
            except (BlockingIOError, PermissionError) as error:  # on Unix, and on Windows
                raise ImportStoppedError("Another import of this file runs") from error
            number = self._resume()
            items = job.source.entries(self._counted(job.source.read(file)))
            for _ in islice(items, number):
                pass
            connections = Connections(job.connections, lambda: Api(job.settings), self._send, self._report)
            try:
                while taken := self._hand_over(islice(items, WINDOW), connections):
                    connections.settle()
                    number += taken
                    self._note(number)
            finally:
                connections.close()
                self._watch()
                if not self.rejected.tell():
                    job.rejected_path.unlink()
        if not job.check:
            job.progress_path.unlink(missing_ok=True)

    def _counted(self, rows: Iterable[Row]) -> Iterator[Row]:
        for row in rows:
            self.counts.read += 1
            if self.counts.read % 100 == 0:
                self._watch()
            yield row

    def _watch(self) -> None:
        self.watch(self.counts, self.position.bytes, self.position.size)

    def _hand_over(self, items: Iterable[Item], connections: Connections) -> int:
        """Give entries to the connections, and count the other items. Return how many items there were."""
        number = 0
        for number, item in enumerate(items, 1):  # noqa: B007
            if isinstance(item, Entry):
                self._entry(item, connections)
            elif isinstance(item, Skipped):
                self.counts.skipped[item.reason] += 1
            else:
                self._refuse(item.line, item.problem, {"row": item.value})
        return number

    def _entry(self, item: Entry, connections: Connections) -> None:
        if item.note:
            self.counts.notes[item.note] += 1
        try:
            entry = to_json(item.value)
        except (ValueError, TypeError) as error:
            self._refuse(item.line, str(error), {"row": repr(item.value)[:2000]})
            return
        if len(entry) > MAX_ENTRY_BYTES:
            problem = f"The event has {len(entry):,} bytes of JSON. The API accepts {MAX_ENTRY_BYTES:,} at most"
            self._refuse(item.line, problem, item.value)
            return
        connections.add(Unit(item.line, entry), lane(item.value))

    def _send(self, api: Api, entries: Sequence[bytes]) -> Answer:
        return api.send(entries, upsert=self.job.upsert, imported=True, check=self.job.check)

    def _report(self, unit: Unit, result: Result) -> None:
        """Count a result. The connections call this."""
        with self.lock:
            count(self.counts, result)
            if result["status"] in ("refused", "failed"):
                self._write(unit.line, result.get("errors") or [], from_json(unit.entry))

    def _refuse(self, line: int, problem: str, about: dict[str, Any]) -> None:
        """Count a row that is not sent."""
        with self.lock:
            self.counts.refused += 1
            self._write(line, [{"code": "unreadable_row", "message": "Unreadable row", "description": problem}], about)

    def _write(self, line: int, errors: list[Any], about: dict[str, Any]) -> None:
        self.rejected.write(to_json({"line": line, "errors": errors, **about}) + b"\n")

    # --- Progress ---------------------------------------------------------------------------------

    def _resume(self) -> int:
        """Return how many items an earlier run settled, and restore its counts. Otherwise begin anew.

        A check begins anew, and so does the import after it, because a check replaces the rejected rows.
        """
        if self.job.check:
            self.job.progress_path.unlink(missing_ok=True)
        saved = self._saved()
        self.rejected.truncate(saved.get("rejectedBytes", 0))
        self.rejected.seek(0, 2)
        for name, value in saved.get("counts", {}).items():
            setattr(self.counts, name, Counter(value) if isinstance(value, dict) else value)
        return int(saved.get("items", 0))

    def _saved(self) -> dict[str, Any]:
        try:
            saved = json.loads(self.job.progress_path.read_text())
        except (OSError, ValueError):
            return {}
        if not isinstance(saved, dict) or saved.get("fingerprint") != self.job.fingerprint:
            return {}
        return saved if self.rejected.seek(0, 2) >= saved["rejectedBytes"] else {}

    def _note(self, items: int) -> None:
        """Note what is settled. The file is replaced at once, so it is never half written."""
        if self.job.check:
            return
        self.rejected.flush()
        os.fsync(self.rejected.fileno())
        counts = {name: value for name, value in vars(self.counts).items() if name != "read"}
        note = {"fingerprint": self.job.fingerprint, "items": items, "rejectedBytes": self.rejected.tell()}
        new = self.job.progress_path.with_suffix(".progress.new")
        new.write_text(json.dumps(note | {"counts": counts}))
        new.replace(self.job.progress_path)


def count(counts: Counts, result: Result) -> None:
    """Count the result of an event, and what a person should know of it."""
    status = result["status"]
    if hasattr(counts, status):
        setattr(counts, status, getattr(counts, status) + 1)
    counts.usersCreated += bool(result.get("userCreated"))
    notes = [f"{each.get('code') or 'warning'}: {each.get('message')}" for each in result.get("warnings") or []]
    if status == "discarded":
        notes.append(f"discarded: {result.get('message')}")
    if status == "duplicate" and result.get("samePayload") is False:
        notes.append("duplicates that differ from the stored event, which was kept")
    for note in notes:
        counts.notes[note if note in counts.notes or len(counts.notes) < MAX_NOTES else "other notes"] += 1


def lane(value: dict[str, Any]) -> str:
    """Return what decides which connection sends an entry: the user's email, or else the `_id`."""
    user = value.get("user")
    found = (user.get("email") or user.get("_id")) if isinstance(user, dict) else None
    return str(found or "").strip().lower()
