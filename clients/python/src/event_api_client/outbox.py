"""`Outbox`: stores events on this machine's disk, and sends them in the background."""

import atexit
import logging
import os
import random
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from sqlite3 import Connection
from types import TracebackType
from typing import Any, NamedTuple

import httpx

from event_api_client.api import Answer, Api, Next, Result, Settings
from event_api_client.entries import (
    ENVELOPE_BYTES,
    MAX_BATCH_BYTES,
    MAX_EVENTS,
    OLDEST,
    entry_of,
    from_json,
    identifiers,
    parse_time,
    to_json,
)
from event_api_client.store import Lock, OutboxError, Store

logger = logging.getLogger("event_api_client")

COLLECT_SECONDS = 0.1
"""How long a batch waits for more events."""
IDLE_SECONDS = 0.5
"""How often a process looks for events that other processes added."""
LONGEST_WAIT = 60.0
STOPPED_SECONDS = 300.0
"""How long a process with a wrong key or address sends nothing."""
FAILURES_IN_ORDER = 5
"""After so many failures, an event no longer takes a place in each batch."""
FEW_USERS = 10
MAX_SCANNED = 20_000
EXPIRED = {
    "code": "outbox_expired",
    "message": "The event could not be sent within 35 days",
    "description": "The API accepts events of the last 35 days. To store it, write it to a file and run "
    "`event-api import FILE --from jsonl`, which accepts events of any age.",
}


class SendingStopped(Exception):
    """The API refuses the key, or the address is not the API's. No event is lost; `flush` tries again."""


@dataclass(frozen=True)
class Status:
    """The state of an outbox. The first four are of the file, the others of this process since it opened the file."""

    waiting: int
    """Events that are not settled."""
    rejected: int
    oldest: datetime | None
    """When the oldest of the waiting events happened."""
    problem: str | None
    """Why events wait, as far as this process knows."""
    stopped: bool
    """The key or the address is wrong: this process sends nothing."""
    results: Mapping[str, int]
    """How many events this process got settled, by status: created, duplicate, discarded, refused."""


@dataclass(frozen=True)
class Rejected:
    """An event that the API refused, or that became too old. `number` is for `retry` and `forget`."""

    number: int
    event_id: str
    event_time: str
    user: dict[str, Any]
    event: dict[str, Any]
    errors: list[dict[str, Any]]
    """Each has `message` and `description`, usually `code`, and `field` if one field caused it."""
    rejected_on: datetime


class _Row(NamedTuple):
    seq: int
    entry: bytes
    upsert: bool

    @property
    def names(self) -> set[str]:
        return identifiers(from_json(self.entry))


class Outbox:
    """Events on their way to the API, in a file that survives the process. Threads and processes may share the file.

        outbox = Outbox("/var/lib/shop/events.db")
        outbox.add({"email": "ana@example.com"}, {"viewitem": {"itemId": "SKU-1"}})

    Without `url` and `key` it reads API_URL and API_KEY. `upsert` creates users that do not exist. `on_rejected` is
    called in the background for each rejected event, by the process that sent it; after a crash it may be called
    again for the same event. With `sending=False` this process only adds, and another one sends.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        url: str | None = None,
        key: str | None = None,
        upsert: bool = False,
        on_rejected: Callable[[Rejected], object] | None = None,
        sending: bool = True,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Open or create the file. Raises ValueError without address or key, and OutboxError for an unusable file."""
        self._settings = Settings.read(url, key) if sending else None
        self._upsert = upsert
        self._on_rejected = on_rejected
        self._transport = transport
        path = Path(path).resolve()  # the process may change its folder, and other names may lead to the file
        self._store = Store(path)
        self._lock = Lock(path.with_name(path.name + ".lock"))
        self._closed = False
        self._stopped: str | None = None
        self._problem: str | None = None
        self._forget()
        _outboxes.add(self)
        if self._has_work():  # otherwise the first event starts it, so that a web server can fork before
            self._start()

    def add(
        self,
        user: Mapping[str, Any],
        event: Mapping[str, Any],
        event_id: str | None = None,
        event_time: datetime | str | None = None,
    ) -> str:
        """Store an event and return its id. Afterwards the event is on disk and will be sent.

        Without `event_time` the event happens now. An `event_id` needs an `event_time`, unless it is a UUIDv7.
        Raises ValueError or TypeError for an event that cannot be sent, and OutboxError if the disk does not take it.
        """
        event_id, moment, entry = entry_of(user, event, event_id, event_time)
        self.add_entries([(moment, entry)])
        return event_id

    def add_entries(
        self, entries: Iterable[tuple[datetime, bytes]], also: Callable[[Connection], object] | None = None
    ) -> None:
        """Store several entries in one write: times with JSON. `also` is done in the same transaction."""
        if self._closed:
            raise OutboxError("The outbox is closed")
        rows = [(entry, self._upsert, _expiry(moment)) for moment, entry in entries]

        def insert(connection: Connection) -> None:
            connection.executemany("INSERT INTO events (entry, upsert, expires_on) VALUES (?, ?, ?)", rows)
            if also:
                also(connection)

        self._store.write(insert)
        try:
            self._start()
        except RuntimeError as error:  # the system has no thread left; the next call or process sends the event
            self._problem = str(error)
            logger.error("The outbox waits: %s", error)
        self._wake.set()

    def position(self, file: str) -> tuple[int, str] | None:
        """Return how many lines of a file `event-api send` has added, and the file's beginning."""
        rows = self._store.read("SELECT lines, head FROM positions WHERE file = ?", (file,))
        return (rows[0][0], rows[0][1]) if rows else None

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until all events that are in the file now are settled. Return False if the time was not enough.

        Raises SendingStopped if the API refuses the key, or the address is not the API's.
        """
        if threading.current_thread() is self._thread:
            raise RuntimeError("on_rejected cannot wait for the events that are sent after it")
        deadline = None if timeout is None else time.monotonic() + timeout
        [(last,)] = self._store.read("SELECT max(seq) FROM events")
        self._resume.set()
        self._stopped = None
        self._start()
        while self._store.read("SELECT 1 FROM events WHERE seq <= ? LIMIT 1", (last,)):
            if self._stopped:
                raise SendingStopped(self._stopped)
            if deadline is not None and time.monotonic() >= deadline:
                return False
            self._hurry.set()
            self._wake.set()
            self._progress.wait(0.02 if deadline is None else min(0.02, max(0.0, deadline - time.monotonic())))
            self._progress.clear()
        return True

    def status(self) -> Status:
        """Return what is waiting, what was rejected, and why."""
        [(waiting, expires_on)] = self._store.read("SELECT count(*), min(expires_on) FROM events")
        [(rejected,)] = self._store.read("SELECT count(*) FROM rejected")
        oldest = None if expires_on is None else _moment(expires_on - OLDEST.total_seconds())
        results = dict(self._results)
        return Status(waiting, rejected, oldest, self._stopped or self._problem, self._stopped is not None, results)

    def rejected(self) -> list[Rejected]:
        """Return the rejected events, the oldest first."""
        rows = self._store.read("SELECT seq, entry, errors, rejected_on FROM rejected ORDER BY seq")
        return [_rejected(*row) for row in rows]

    def retry(self, *numbers: int) -> None:
        """Send rejected events again, after their reason is gone."""

        def move(connection: Connection) -> None:
            for number in numbers:
                for entry, upsert in connection.execute("SELECT entry, upsert FROM rejected WHERE seq = ?", (number,)):
                    expires_on = _expiry(parse_time(from_json(entry)["eventTime"]))
                    row = (entry, upsert or self._upsert, expires_on)
                    connection.execute("INSERT INTO events (entry, upsert, expires_on) VALUES (?, ?, ?)", row)
            connection.executemany("DELETE FROM rejected WHERE seq = ?", [(number,) for number in numbers])

        self._store.write(move)
        self._start()
        self._wake.set()

    def forget(self, *numbers: int) -> None:
        """Delete rejected events."""
        self._store.write(
            lambda connection: connection.executemany(
                "DELETE FROM rejected WHERE seq = ?", [(number,) for number in numbers]
            )
        )

    def close(self, timeout: float = 5.0) -> None:
        """Send for `timeout` seconds at most, then stop. Unsent events stay in the file, for the next process."""
        if self._closed:
            return
        self._closed = True
        if self._settings and self._thread.is_alive():
            try:
                self.flush(timeout)
            except (SendingStopped, OutboxError) as error:
                logger.warning("Events stay in %s: %s", self._store.path, error)
        for event in (self._closing, self._resume, self._wake, self._hurry):
            event.set()
        if self._thread.is_alive():
            self._thread.join(timeout)
        _outboxes.discard(self)
        if not self._thread.is_alive():  # otherwise it closes the file when its request is answered
            self._store.close()

    def __enter__(self) -> "Outbox":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    # --- In the background ------------------------------------------------------------------------

    def _forget(self) -> None:
        """Start without a thread, as after a fork."""
        self._wake, self._hurry, self._resume = threading.Event(), threading.Event(), threading.Event()
        self._progress, self._closing, self._starting = threading.Event(), threading.Event(), threading.Lock()
        self._thread = threading.Thread(target=self._run)
        self._stopped = self._problem = None
        self._results: Counter[str] = Counter()
        self._most = MAX_EVENTS
        self._attempts = 0
        self._failures: Counter[int] = Counter()
        self._aside: dict[str, float] = {}

    def _start(self) -> None:
        """Start the thread if it does not run: at the first event, and in a forked child."""
        if self._settings is None or self._closing.is_set():
            return
        with self._starting:
            if not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="event-api-outbox", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        assert self._settings
        api: Api | None = None
        try:
            while not self._closing.is_set():
                try:
                    api = api or Api(self._settings, self._transport)
                    self._pass(api)
                except (OutboxError, OSError) as error:  # a full disk, for example; what was sent is sent again
                    self._problem = str(error)
                    logger.error("The outbox waits: %s", error)
                    self._closing.wait(self._backoff(None))
                except Exception as error:  # an error of this module must not end the thread
                    self._problem = repr(error)
                    logger.exception("The outbox waits")
                    self._closing.wait(self._backoff(None))
                self._progress.set()
        finally:
            self._lock.release()
            if api:
                api.close()
            if self._closed:
                self._store.close()

    def _pass(self, api: Api) -> None:
        """Send a batch, if there is one and no other process sends. Wait before the next as long as the API asks."""
        if not self._has_work() or not self._lock.acquire():
            self._idle()
            return
        self._report()
        self._collect()
        self._expire()
        batch = self._next_batch()
        if not batch:
            self._idle()
            return
        answer = api.send([row.entry for row in batch], upsert=batch[0].upsert)
        wait = self._settle(batch, answer)
        self._report()
        self._progress.set()
        if answer.next is Next.STOP:  # a process with the right key may go on meanwhile
            self._lock.release()
            self._resume.clear()
            self._stopped = f"{answer.problem}. Check API_KEY and API_URL"
            logger.error("Sending stopped, %s keeps the events: %s", self._store.path, self._stopped)
            self._resume.wait(wait)
            self._stopped = None
        else:
            self._closing.wait(wait)

    def _idle(self) -> None:
        self._lock.release()
        self._wake.wait(IDLE_SECONDS)
        self._wake.clear()

    def _has_work(self) -> bool:
        query = "SELECT EXISTS(SELECT 1 FROM events)"
        if self._on_rejected:
            query += " OR EXISTS(SELECT 1 FROM rejected WHERE reported = 0)"
        return bool(self._store.read(query)[0][0])

    def _collect(self) -> None:
        """Wait a moment for more events, unless there are enough for a batch, or a caller waits for them."""
        if self._hurry.is_set() or len(self._store.read("SELECT 1 FROM events LIMIT ?", (MAX_EVENTS,))) == MAX_EVENTS:
            self._hurry.clear()
        else:
            self._hurry.wait(COLLECT_SECONDS)

    def _expire(self) -> None:
        """Reject events that are too old to be sent."""

        def move(connection: Connection) -> list[int]:
            rows = connection.execute(
                "SELECT seq FROM events WHERE expires_on < ? LIMIT 1000", (time.time(),)
            ).fetchall()
            _reject(connection, [(seq, [EXPIRED]) for (seq,) in rows])
            return [seq for (seq,) in rows]

        if self._store.read("SELECT 1 FROM events WHERE expires_on < ? LIMIT 1", (time.time(),)):
            self._results["expired"] += len(self._store.write(move))

    def _next_batch(self) -> list[_Row]:
        """Return the oldest events that fit into a batch, without those of users that are set aside.

        While a user is set aside, so are all events that share an identifier with the user's.
        """
        now = time.monotonic()
        self._aside = {name: until for name, until in self._aside.items() if until > now}
        aside, batch, size, last = set(self._aside), list[_Row](), ENVELOPE_BYTES, 0
        for _ in range(MAX_SCANNED // MAX_EVENTS):
            query = "SELECT seq, entry, upsert FROM events WHERE seq > ? ORDER BY seq LIMIT ?"
            rows = [_Row(*row) for row in self._store.read(query, (last, MAX_EVENTS))]
            for row in rows:
                if aside and row.names & aside:
                    aside |= row.names
                    continue
                size += len(row.entry) + 1
                if len(batch) == self._most or (batch and (size > MAX_BATCH_BYTES or row.upsert != batch[0].upsert)):
                    return batch
                batch.append(row)
            if len(rows) < MAX_EVENTS or len(batch) == self._most:
                return batch
            last = rows[-1].seq
        return batch

    def _settle(self, batch: Sequence[_Row], answer: Answer) -> float:
        """Store what the answer says. Return the seconds to wait before the next request."""
        self._problem = None if answer.next is Next.READ_RESULTS else answer.problem
        if answer.next is Next.READ_RESULTS:
            return self._settle_results(batch, answer)
        if answer.next is Next.SEND_AGAIN:
            return self._backoff(answer.retry_after)
        if answer.next is Next.STOP:
            return STOPPED_SECONDS
        if len(batch) > 1:
            self._most = (len(batch) + 1) // 2
            return 0.0
        errors = answer.errors or [{"message": answer.problem, "description": "The API could not read the event."}]
        return self._settle_results(batch, Answer(answer.next, [{"status": "refused", "errors": errors}]))

    def _settle_results(self, batch: Sequence[_Row], answer: Answer) -> float:
        pairs = list(zip(batch, answer.results, strict=True))
        settled = [row.seq for row, result in pairs if result["status"] not in ("failed", "refused")]
        refused = [(row.seq, result.get("errors") or []) for row, result in pairs if result["status"] == "refused"]
        failed = [row for row, result in pairs if result["status"] == "failed"]

        def settle(connection: Connection) -> None:
            connection.executemany("DELETE FROM events WHERE seq = ?", [(seq,) for seq in settled])
            _reject(connection, refused)

        if settled or refused:
            self._store.write(settle)
            self._attempts = 0
        self._most = min(2 * self._most, MAX_EVENTS)
        for row, result in pairs:
            if result["status"] != "failed":
                self._failures.pop(row.seq, None)
                self._results[result["status"]] += 1
                _log(row, result)
        if not failed:
            return 0.0
        self._problem = f"{answer.problem}, {len(failed)} of {len(batch)} events failed"
        self._set_aside(failed, progress=len(failed) < len(batch))
        if len(failed) == len(batch):
            return self._backoff(answer.retry_after)
        return 1.0 if answer.retry_after is None else answer.retry_after

    def _set_aside(self, failed: Sequence[_Row], *, progress: bool) -> None:
        """Let users wait whose events keep failing, so that they do not fill each batch.

        If everything fails, the API is down rather than busy with a user; then all events wait, in order.
        """
        if not progress and len({frozenset(row.names) for row in failed}) > FEW_USERS:
            return
        for row in failed:
            self._failures[row.seq] += 1
            times = self._failures[row.seq] - FAILURES_IN_ORDER
            if times >= 0:
                until = time.monotonic() + min(5 * 2.0 ** min(times, 10), LONGEST_WAIT)
                self._aside |= dict.fromkeys(row.names, until)

    def _backoff(self, retry_after: float | None) -> float:
        self._attempts += 1
        own = min(2.0 ** (min(self._attempts, 10) - 1), LONGEST_WAIT) * random.uniform(0.5, 1)
        if retry_after is None:
            return own
        return retry_after if self._attempts == 1 else max(retry_after, own)

    def _report(self) -> None:
        """Call `on_rejected` for what was rejected since."""
        if self._on_rejected is None:
            return
        for row in self._store.read(
            "SELECT seq, entry, errors, rejected_on FROM rejected WHERE reported = 0 ORDER BY seq LIMIT 1000"
        ):
            try:
                self._on_rejected(_rejected(*row))
            except Exception:
                logger.exception("on_rejected raised; the event stays in rejected()")
            self._store.write(partial(_mark_reported, row[0]))


def _reject(connection: Connection, rows: Iterable[tuple[int, list[dict[str, Any]]]]) -> None:
    for seq, errors in rows:
        connection.execute(
            "INSERT OR IGNORE INTO rejected SELECT seq, entry, upsert, ?, ?, 0 FROM events WHERE seq = ?",
            (to_json(errors), time.time(), seq),
        )
        connection.execute("DELETE FROM events WHERE seq = ?", (seq,))


def _mark_reported(seq: int, connection: Connection) -> None:
    connection.execute("UPDATE rejected SET reported = 1 WHERE seq = ?", (seq,))


def _log(row: _Row, result: Result) -> None:
    """Say what the API dropped or refused, without anything that was sent."""
    if result["status"] == "refused":
        codes = [error.get("code") or error.get("message") for error in result.get("errors") or []]
        logger.warning("Event %s was refused: %s", row.seq, codes)
    elif result.get("warnings"):
        codes = [(warning.get("code"), warning.get("field")) for warning in result["warnings"]]
        logger.warning("Event %s was stored with warnings: %s", row.seq, codes)
    elif result.get("samePayload") is False and result["status"] == "duplicate":
        logger.warning("Event %s has the id and time of an earlier event and says something else", row.seq)


def _rejected(seq: int, entry: bytes, errors: bytes, rejected_on: float) -> Rejected:
    sent = from_json(entry)
    parts = (sent["eventId"], sent["eventTime"], sent["user"], sent["event"])
    return Rejected(seq, *parts, from_json(errors), _moment(rejected_on))


def _expiry(moment: datetime) -> float:
    return moment.timestamp() + OLDEST.total_seconds()


def _moment(timestamp: float) -> datetime:
    return datetime.fromtimestamp(timestamp, timezone.utc)


# --- The end of the process, and forks ------------------------------------------------------------

_outboxes: "weakref.WeakSet[Outbox]" = weakref.WeakSet()


def _close_all() -> None:
    for outbox in list(_outboxes):
        if outbox._thread.is_alive():
            outbox.close()


def _after_fork_in_child() -> None:
    for outbox in list(_outboxes):
        outbox._forget()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
