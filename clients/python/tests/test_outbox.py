"""An outbox loses nothing, sends nothing twice that has another identity, and keeps each user's events in order."""

import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from functools import reduce
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from api_stub import DROP, FORBIDDEN, UNAUTHORIZED, Reply, Request, Stub, errors
from event_api_client import Outbox, OutboxError, Rejected, SendingStopped, outbox, store
from event_api_client.entries import MAX_BATCH_BYTES, MAX_ENTRY_BYTES, new_uuid7

Open = Callable[..., Outbox]
ANA = {"email": "ana@example.com"}


def event(n: int, **more: Any) -> dict[str, Any]:
    return {"search": {"query": "shoes", "n": n, **more}}


def add(to: Outbox, numbers: Iterable[int], **more: Any) -> Outbox:
    for n in numbers:
        to.add(ANA, event(n, **more))
    return to


def first_times(times: int, reply: Reply) -> Callable[[Request], Reply | None]:
    numbers = count()
    return lambda _: reply if next(numbers) < times else None


def ids(request: Request) -> list[str]:
    return [entry["eventId"] for entry in request.events]


# --- What is sent ---------------------------------------------------------------------------------


def test_an_event_arrives_with_the_callers_id_and_time_or_those_of_the_moment(open_outbox: Open, stub: Stub) -> None:
    made, now = open_outbox(), datetime.now(timezone.utc)
    text, uuid7 = now.astimezone(timezone(timedelta(hours=4))).isoformat(), new_uuid7(now)
    assert made.add(ANA, event(1), "order-1", now) == "order-1"
    made.add(ANA, event(2), uuid7)
    made.add(ANA, event(3), event_time=text)
    event_id = made.add(ANA, event(4))
    assert open_outbox().flush(120)
    assert [(entry["user"], entry["event"]) for entry in stub.stored] == [(ANA, event(n)) for n in range(1, 5)]
    iso = now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    *times, added = (entry["eventTime"] for entry in stub.stored)
    assert times == [iso, iso, text]
    assert [entry["eventId"] for entry in stub.stored if entry["event"] != event(3)] == ["order-1", uuid7, event_id]
    moment = datetime.fromisoformat(added.replace("Z", "+00:00"))
    assert now - timedelta(milliseconds=1) <= moment <= datetime.now(timezone.utc)
    assert int(event_id.replace("-", "")[:12], 16) == round(moment.timestamp() * 1000)


def test_the_file_holds_all_digits_of_numbers_and_only_its_owner_may_read_it(open_outbox: Open, tmp_path: Path) -> None:
    with open_outbox(sending=False, url=None, key=None) as made:
        payload = {"orderId": "1", "total": Decimal("59.90"), "big": 10**37}
        made.add(ANA, {"confirmation": payload}, "an-id", "9999-12-31T00:00:00Z")
        assert made.status().oldest == datetime(9999, 12, 31, tzinfo=timezone.utc)
        assert {path.stat().st_mode & 0o077 for path in tmp_path.glob("events.db*")} == {0}
        with closing(sqlite3.connect(tmp_path / "events.db")) as connection:
            [(entry,)] = connection.execute("SELECT entry FROM events").fetchall()
    assert b'"total":59.90,"big":1' + b"0" * 37 in entry


WRONG: list[tuple[tuple[Any, ...], str]] = [
    (({}, event(1), "an-id"), "needs an event_time"), ((ANA, event(1), 1), "event_id is a text"),
    ((ANA, event(1), None, datetime(2026, 1, 1)), "no time zone"),  # noqa: DTZ001
    ((ANA, event(1), None, "2026-01-01"), "not a time with an offset"),
    ((ANA, event(1), None, "2026-02-30T00:00:00Z"), "There is no time"),
    ((ANA, event(1), None, datetime.now(timezone.utc) - timedelta(days=35)), "event-api import"),
    ((ANA, event(1, total=float("nan"))), "nan"), ((ANA, event(1, text="\ud800")), "half of a character"),
    ((ANA, event(1, deep=reduce(lambda inner, _: [inner], range(100_000), list[object]()))), "too many levels"),
    ((ANA, event(1, text="x" * MAX_ENTRY_BYTES)), "accepts 262,144 at most"),
    (("ana@example.com", event(1)), "user is a mapping"),
    ((ANA, event(1), "an-id", 1764500000), "event_time is a datetime"),
    ((ANA, event(1, at=datetime.now(timezone.utc))), "not JSON serializable"),
]  # fmt: skip


def test_an_event_that_cannot_be_sent_is_an_error(open_outbox: Open) -> None:
    made = open_outbox()
    for arguments, message in WRONG:
        with pytest.raises((ValueError, TypeError), match=message):
            made.add(*arguments)
    assert made.status().waiting == 0


def test_a_batch_keeps_the_limits_of_the_api(open_outbox: Open, stub: Stub) -> None:
    adding = add(open_outbox(sending=False), range(150), text="é" * 50)
    add(adding, range(150, 250), text="é" * 40_000)
    assert open_outbox().flush(120)
    stub.holds_once_in_order(set(range(250)))
    assert max(len(request.events) for request in stub.requests) == 100
    assert MAX_BATCH_BYTES * 0.9 < max(request.bytes for request in stub.requests) <= MAX_BATCH_BYTES


# --- What is sent again ---------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("reply", [
    DROP, (429, {"Retry-After": "0"}, {"message": "Too many"}), (500, {}, errors()), (502, {}, "<html>"),
    (503, {"Retry-After": "0"}, errors()), (504, {}, ""), (200, {}, "<html>a login page</html>"),
    (207, {}, {"results": []}),
], ids=lambda reply: f"{reply[0]} {str(reply[2])[:12]}")  # fmt: skip
def test_a_batch_without_results_is_sent_again_whole(open_outbox: Open, stub: Stub, reply: Reply, when: str) -> None:
    setattr(stub, when, first_times(3, reply))
    add(open_outbox(sending=False), range(3))
    assert open_outbox().flush(120)
    assert [ids(request) for request in stub.requests] == [ids(stub.requests[0])] * 4
    stub.holds_once_in_order({0, 1, 2})


def test_only_failed_events_are_sent_again_and_before_later_ones(open_outbox: Open, stub: Stub) -> None:
    failures = count()
    stub.fails = lambda entry: entry["event"]["search"]["n"] == 1 and next(failures) < 3
    adding = open_outbox(sending=False)
    for n in range(4):
        adding.add({"email": f"user-{n % 2}@example.com"}, event(n))
    assert open_outbox().flush(120)
    sent = [[entry["event"]["search"]["n"] for entry in request.events] for request in stub.requests]
    assert sent == [[0, 1, 2, 3], [1, 3], [1, 3], [1, 3]]
    stub.holds_once_in_order({0, 1, 2, 3})


def test_it_waits_as_long_as_retry_after_says(open_outbox: Open, stub: Stub) -> None:
    stub.before = first_times(1, (503, {"Retry-After": "1"}, errors()))
    assert add(open_outbox(), [1]).flush(120)
    first, second = stub.requests
    assert second.at - first.at >= 1


def test_events_that_fail_stop_no_other_user(open_outbox: Open, stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "LONGEST_WAIT", 0.5)
    stub.fails = lambda entry: entry["user"] == ANA
    adding = add(open_outbox(sending=False), range(150))
    for n in range(150, 350):
        adding.add({"email": f"user-{n}@example.com"}, event(n))
    made = open_outbox()
    while len(stub.stored) < 200:
        made.flush(0.2)
    stub.fails = lambda _: False
    assert made.flush(120)
    stub.holds_once_in_order(set(range(350)))


# --- What is rejected -----------------------------------------------------------------------------


def test_a_refused_event_is_kept_and_a_callback_that_raises_stops_nothing(open_outbox: Open, stub: Stub) -> None:
    told: list[Rejected] = []

    def tell(rejected: Rejected) -> None:
        told.append(rejected)
        raise RuntimeError

    made = open_outbox(on_rejected=tell)
    made.add(ANA, event(0, refuse=True))
    assert add(made, [1, 2]).flush(120)
    [rejected] = made.rejected()
    assert rejected.event == event(0, refuse=True)
    assert rejected.errors == [{"code": "invalid_field", "message": "Refused"}]
    assert (stub.numbers(), sum(len(request.events) for request in stub.requests)) == ([1, 2], 3)
    made.close()
    assert told == [rejected]


def test_a_new_process_sends_again_or_forgets_what_was_rejected(open_outbox: Open, stub: Stub) -> None:
    stub.users = set()
    with add(open_outbox(), range(3)) as first:
        assert first.flush(120)
        assert first.status().rejected == 3
    stub.users = {ANA["email"]}
    made = open_outbox()
    assert [each.errors[0]["code"] for each in made.rejected()] == ["user_not_found"] * 3
    *again, forgotten = (each.number for each in made.rejected())
    made.forget(forgotten)
    made.retry(*again)
    assert made.rejected() == []
    made.close(120)
    assert stub.numbers() == [0, 1]


def test_a_change_of_the_folder_keeps_the_file(stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with Outbox("events.db", url=stub.url, key="key") as made:
        monkeypatch.chdir(elsewhere)
        made.add(ANA, event(1))
        assert made.flush(120)
    assert not list(elsewhere.iterdir())


def test_an_event_is_added_without_a_thread(open_outbox: Open, stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    made = open_outbox()
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        add(made, [1])
        assert made.status().problem == "can't start new thread"
    assert made.flush(120)
    assert stub.numbers() == [1]


def test_upsert_belongs_to_the_events_and_not_to_who_sends_them(open_outbox: Open, stub: Stub) -> None:
    stub.users = {ANA["email"]}
    with open_outbox(sending=False, upsert=True) as adding:
        adding.add({"email": "new@example.com"}, event(1))
    assert add(open_outbox(), [2]).flush(120)
    assert [request.query for request in stub.requests] == ["upsert=true", ""]
    assert sorted(stub.numbers()) == [1, 2]


@pytest.mark.parametrize("reply", [(400, {}, errors("Invalid JSON")), (413, {}, ""), (422, {}, errors())])
def test_an_event_that_the_api_cannot_read_is_found(open_outbox: Open, stub: Stub, reply: Reply) -> None:
    stub.before = lambda request: reply if event(37) in [entry["event"] for entry in request.events] else None
    add(open_outbox(sending=False), range(150))
    made = open_outbox()
    assert made.flush(120)
    stub.holds_once_in_order(set(range(150)) - {37})
    assert [each.event["search"]["n"] for each in made.rejected()] == [37]
    assert made.rejected()[0].errors[0]["message"]
    assert len(stub.requests) < 30


def test_an_event_that_waited_too_long_is_rejected_and_not_sent(open_outbox: Open, stub: Stub, tmp_path: Path) -> None:
    add(open_outbox(sending=False), range(2)).close()
    with closing(sqlite3.connect(tmp_path / "events.db", isolation_level=None)) as connection:
        connection.execute("UPDATE events SET expires_on = 1 WHERE seq = 1")
    made = open_outbox()
    assert made.flush(120)
    [rejected] = made.rejected()
    assert (rejected.event, rejected.errors[0]["code"]) == (event(0), "outbox_expired")
    assert "event-api import" in rejected.errors[0]["description"]
    assert stub.numbers() == [1]


# --- A wrong key ----------------------------------------------------------------------------------


@pytest.mark.parametrize("reply", [UNAUTHORIZED, FORBIDDEN, (404, {}, errors("Not found")), (301, {}, "")])
def test_a_wrong_key_or_address_stops_sending_and_loses_nothing(open_outbox: Open, stub: Stub, reply: Reply) -> None:
    stub.before = lambda _: reply
    made = add(open_outbox(), range(3))
    with pytest.raises(SendingStopped, match="Check API_KEY and API_URL"):
        made.flush(120)
    requests, status = len(stub.requests), made.status()
    assert (status.stopped, status.waiting, status.rejected) == (True, 3, 0)
    assert str(reply[0]) in str(status.problem)
    add(made, [3])
    assert len(stub.requests) == requests
    stub.before = lambda _: None
    assert made.flush(120)
    stub.holds_once_in_order({0, 1, 2, 3})
    assert not made.status().stopped


def test_a_process_with_the_right_key_sends_what_one_with_a_wrong_key_added(open_outbox: Open, stub: Stub) -> None:
    with pytest.raises(SendingStopped):
        add(open_outbox(key="wrong"), [1]).flush(120)
    assert open_outbox().flush(120)
    assert stub.numbers() == [1]


def test_without_address_or_key_it_does_not_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in (("API_URL", ""), ("API_KEY", " "), ("API_URL", "api.example.com"), ("API_KEY", "ké")):
        for each in ("API_URL", "API_KEY"):
            monkeypatch.setenv(each, value if each == name else "https://api.example.com/v1")
        with pytest.raises(ValueError, match=name):
            Outbox(tmp_path / "events.db")


# --- The disk -------------------------------------------------------------------------------------


def test_a_full_disk_is_an_error_of_add_and_loses_nothing(open_outbox: Open, stub: Stub, tmp_path: Path) -> None:
    stub.before = lambda _: DROP
    made = add(open_outbox(), [0])
    made._store.write(lambda connection: connection.execute("PRAGMA max_page_count = 20").fetchall())
    stored = {0}
    with pytest.raises(OutboxError, match="full"):  # noqa: PT012 it is full after some
        for n in range(1, 100):
            made.add(ANA, event(n, text="x" * 2000))
            stored.add(n)
    assert made.status().waiting == len(stored) < 100
    stub.before = lambda _: None
    assert made.flush(120)
    assert add(made, [100]).flush(120)
    stub.holds_once_in_order(stored | {100})


def test_another_file_is_not_an_outbox(tmp_path: Path) -> None:
    text, database, missing = (tmp_path / name for name in ("text.db", "other.db", "missing/events.db"))
    text.write_bytes(content := b"no database, but long enough to be taken for one" * 30)
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE customers (id)")
    for path, message in ((text, r"text\.db"), (database, r"other\.db"), (missing, "cannot be used")):
        with pytest.raises(OutboxError, match=message):
            Outbox(path, url="http://127.0.0.1:1", key="key")
    assert text.read_bytes() == content


def test_threads_that_add_at_the_same_time_share_a_write_to_the_disk(open_outbox: Open, stub: Stub) -> None:
    made, commits = open_outbox(sending=False), list[str]()
    made._store.write(lambda connection: connection.set_trace_callback(commits.append))
    commits.clear()
    threads = [threading.Thread(target=made.add, args=(ANA, event(n))) for n in range(20)]
    with made._store._writing:
        for thread in threads:
            thread.start()
        while len(made._store._queue) < 20:
            pass
    for thread in threads:
        thread.join()
    assert sum(statement == "COMMIT" for statement in commits) == 1
    assert made.status().waiting == 20


# --- Processes ------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_forked_child_sends_what_it_adds(open_outbox: Open, stub: Stub) -> None:
    made = add(open_outbox(), range(5))
    child = os.fork()
    if not child:
        made.add({"email": "child@example.com"}, event(100))
        os._exit(0 if made.flush(120) else 1)
    add(made, [5])
    assert os.waitpid(child, 0)[1] == 0
    assert made.flush(120)
    stub.holds_once_in_order({*range(6), 100})


def test_a_child_forked_with_the_lock_does_not_keep_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken, forked, lock = threading.Event(), threading.Event(), store.Lock(tmp_path / "lock")
    lock_file = store.lock_file

    def slow(file: int) -> None:
        lock_file(file)
        taken.set()
        forked.wait(0.3)

    with monkeypatch.context() as patched:
        patched.setattr(store, "lock_file", slow)
        thread = threading.Thread(target=lock.acquire)
        thread.start()
        taken.wait()
        child = os.fork()
        if not child:
            signal.pause()
        forked.set()
        thread.join()
    lock.release()
    other = store.Lock(tmp_path / "lock")
    try:
        deadline = time.monotonic() + 20  # the child closes its copy when it runs
        while not other.acquire():
            assert time.monotonic() < deadline
    finally:
        other.release()
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_result_of_any_shape_settles_its_event_and_the_log_says_what_the_api_dropped_without_saying_whose(
    open_outbox: Open, stub: Stub, caplog: pytest.LogCaptureFixture
) -> None:
    """Section 1: responses can grow; section 8: only failed events are sent again."""
    warning = {"field": "event.search.tags", "message": "ana@example.com", "code": "tag_dropped"}
    results: list[dict[str, Any]] = [
        {"status": "postponed", "eventId": "x"},
        {"status": "refused", "eventId": "x", "errors": ["text", {"message": 1}], "warnings": 7},
        {"status": "created", "eventId": "x", "userId": "x", "warnings": [warning]},
    ]
    stub.before = lambda _: (200, {}, {"results": [results[len(stub.requests) - 1]], "new": 1})
    made = open_outbox()
    for n in range(3):
        assert add(made, [n]).flush(120)
    assert (made.status().waiting, len(stub.requests)) == (0, 3)
    assert made.status().results == {"postponed": 1, "refused": 1, "created": 1}
    assert [each.errors for each in made.rejected()] == [[{"message": 1}]]
    assert "tag_dropped" in caplog.text
    assert "ana@" not in caplog.text


def test_a_proxy_that_cannot_be_used_is_named_in_the_status(open_outbox: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "unknown://127.0.0.1")
    made = add(open_outbox(), [1])
    assert not made.flush(0.5)
    assert "proxy" in (made.status().problem or "")
