"""The file of an outbox: a SQLite database in WAL mode. A write is on disk when `write` returns.

Several processes may share the file. All may add events at any time. A lock file lets only one process send, so the
events of a user stay in order. The system releases the lock when the process ends, also after kill -9.
"""

import os
import sqlite3
import sys
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

T = TypeVar("T")
VERSION = 1
BUSY_SECONDS = 30.0
SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, entry BLOB NOT NULL, upsert INTEGER NOT NULL, expires_on REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS events_by_expiry ON events (expires_on);
CREATE TABLE IF NOT EXISTS rejected (
    seq INTEGER PRIMARY KEY, entry BLOB NOT NULL, upsert INTEGER NOT NULL, errors BLOB NOT NULL,
    rejected_on REAL NOT NULL, reported INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS unreported ON rejected (seq) WHERE reported = 0;
CREATE TABLE IF NOT EXISTS positions (file TEXT PRIMARY KEY, lines INTEGER NOT NULL, head TEXT NOT NULL);
PRAGMA user_version = {VERSION};
COMMIT;
"""


class OutboxError(Exception):
    """The outbox could not store or read: the disk is full, or the file is not usable. Nothing was added."""


class _Job(Generic[T]):
    """A piece of work of one thread, and its outcome."""

    def __init__(self, work: Callable[[sqlite3.Connection], T]) -> None:
        self.work = work
        self.done = False
        self.value: T | None = None
        self.error: sqlite3.Error | None = None


class Store:
    """The database of one process. All methods may be called by several threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._queue: list[_Job[Any]] = []
        self._writer: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None
        self._forget()
        with self._reading:
            self._open_both()
        _stores.add(self)

    def read(self, query: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query. Raises OutboxError."""
        with self._reading:
            try:
                if self._reader is None:
                    self._open_both()
                assert self._reader
                return self._reader.execute(query, values).fetchall()
            except sqlite3.Error as error:
                raise self._error(error) from error

    def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do the work in a transaction and return its value when it is on disk. Raises OutboxError; nothing is stored.

        Threads that write at the same time share a transaction: while one waits for the disk, the others queue, and
        the next one does the work of all.
        """
        job = _Job(work)
        with self._queueing:
            self._queue.append(job)
        with self._writing:
            if not job.done:
                with self._queueing:
                    jobs, self._queue = self._queue, []
                try:
                    self._commit(jobs)
                finally:  # after a KeyboardInterrupt the others find their work in the queue
                    with self._queueing:
                        self._queue += [each for each in jobs if not each.done and each is not job]
        if job.error:
            raise self._error(job.error) from job.error
        return job.value  # type: ignore[return-value] # it is done

    def close(self) -> None:
        with self._writing, self._reading:
            self._close_both()
        _stores.discard(self)

    def _commit(self, jobs: list[_Job[Any]]) -> None:
        try:
            if self._writer is None:
                with self._reading:
                    self._open_both()
            assert self._writer
            self._writer.execute("BEGIN IMMEDIATE")
            for job in jobs:
                job.value = job.work(self._writer)
            self._writer.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            if len(jobs) > 1:  # one of them may be the reason, such as an event that the disk has no space for
                for job in jobs:
                    self._commit([job])
                return
            jobs[0].error = error
        except BaseException:
            self._roll_back()
            raise
        for job in jobs:
            job.done = True

    def _roll_back(self) -> None:
        if self._writer and self._writer.in_transaction:
            self._writer.execute("ROLLBACK")

    def _open_both(self) -> None:
        if self._writer is None:
            self._writer = _connect(self.path)
        if self._reader is None:
            self._reader = _connect(self.path)

    def _close_both(self) -> None:
        for connection in (self._reader, self._writer):
            if connection is not None:
                connection.close()
        self._reader = self._writer = None

    def _forget(self) -> None:
        """Start with no connection, and with free locks."""
        self._queueing, self._writing, self._reading = threading.Lock(), threading.RLock(), threading.RLock()
        self._queue = []
        self._writer = self._reader = None

    def _error(self, error: sqlite3.Error) -> OutboxError:
        return OutboxError(f"{self.path}: {error}")


def _connect(path: Path) -> sqlite3.Connection:
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            return _opened(path)
        except (OSError, sqlite3.Error) as error:  # noqa: PERF203
            # SQLite does not wait while another process creates the file.
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise OutboxError(f"{path} cannot be used as an outbox: {error}") from error
            time.sleep(0.01)


def _opened(path: Path) -> sqlite3.Connection:
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))  # events name persons
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")  # a commit waits until the disk has it
        connection.execute("PRAGMA fullfsync = ON")  # on a Mac too
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            raise OutboxError(f"{path} was written by a newer version of event-api-client")
        if version < VERSION and tables:
            raise OutboxError(f"{path} is a database, but not an outbox")
        if version < VERSION:
            connection.executescript(SCHEMA)
    except BaseException:
        connection.close()
        raise
    return connection


# --- The right to send ----------------------------------------------------------------------------


class Lock:
    """A lock file. One process, and one outbox in it, holds it at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None
        self._changing = threading.RLock()
        _locks.add(self)

    def acquire(self) -> bool:
        """Take the lock, if it is free. Return whether it is held."""
        with self._changing:
            if self._file is None:
                file = os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600)
                try:
                    lock_file(file)
                except OSError:
                    os.close(file)
                    return False
                self._file = file
            return True

    def release(self) -> None:
        """Release the lock. A forked child only closes its copy: the parent keeps the lock."""
        with self._changing:
            if self._file is not None:
                os.close(self._file)
                self._file = None


if sys.platform == "win32":
    import msvcrt

    def lock_file(file: int) -> None:
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def lock_file(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


# --- fork() ---------------------------------------------------------------------------------------

# A SQLite connection must not live on in a forked child, such as a worker of a web server that loaded the application
# first. So connections are closed before, and each process opens its own when it needs one. No lock file is opened or
# closed during a fork: the child would have a copy that it does not know, and the lock would stay as long as the child.

_stores: "weakref.WeakSet[Store]" = weakref.WeakSet()
_locks: "weakref.WeakSet[Lock]" = weakref.WeakSet()
_held: list[Store] = []
_held_locks: list[Lock] = []


def _before_fork() -> None:
    for store in list(_stores):
        store._writing.acquire()
        store._reading.acquire()
        store._close_both()
        _held.append(store)
    for lock in list(_locks):
        lock._changing.acquire()
        _held_locks.append(lock)


def _after_fork_in_parent() -> None:
    while _held_locks:
        _held_locks.pop()._changing.release()
    while _held:
        store = _held.pop()
        store._reading.release()
        store._writing.release()


def _after_fork_in_child() -> None:
    while _held:
        _held.pop()._forget()
    while _held_locks:
        lock = _held_locks.pop()
        lock._changing = threading.RLock()
        lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
