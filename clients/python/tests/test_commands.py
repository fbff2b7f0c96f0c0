"""The command `event-api`, against the stub: what it sends, prints and leaves behind, and how it ends."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timezone
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pytest

from api_stub import DROP, UNAUTHORIZED, Request, Stub
from event_api_client import Outbox, OutboxError, cli, importing
from event_api_client.entries import iso
from event_api_client.store import lock_file
from test_formats import VIBETRACE, lines, shopify, shopify_order

TIME = "2020-04-05T21:06:21Z"
SRC = Path(__file__).parents[1] / "src"
FILE, PROGRESS = Path("e.jsonl"), Path("e.jsonl.progress")
IMPORT = ("import", FILE, "--from", "jsonl")


class Done(NamedTuple):
    code: int
    out: str
    err: str

    def counts(self) -> dict[str, int]:
        return counts(self.out)


Command = Callable[..., Done]


@pytest.fixture
def command(stub: Stub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs the command in the folder of the test, and returns its exit code and what it printed."""
    monkeypatch.setenv("API_URL", stub.url)
    monkeypatch.setenv("API_KEY", "key")
    monkeypatch.setattr(importing, "LONGEST_WAIT", 0.05)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> Done:
        with pytest.raises(SystemExit) as ended:
            cli.main([str(each) for each in arguments])
        assert isinstance(ended.value.code, int)
        return Done(ended.value.code, *capsys.readouterr())

    return run


def events(numbers: range, users: int = 10, **more: Any) -> str:
    user = [{"email": f"user-{n}@example.com"} for n in range(users)]
    made = ({"eventId": f"e-{n}", "user": user[n % users], "event": {"search": {"n": n}}} for n in numbers)
    return lines(*(each | {"eventTime": TIME} | more for each in made))


def counts(printed: str) -> dict[str, int]:
    found: dict[str, int] = json.loads(printed.splitlines()[-1])
    assert list(found) == ["read", "created", "duplicate", "discarded", "refused", "failed", "usersCreated"]
    return {name: number for name, number in found.items() if number}


def rejected(name: str = "e.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(f"{name}.rejected.jsonl").read_text().splitlines()]


# --- import ---------------------------------------------------------------------------------------


def test_an_import_creates_users_and_a_second_one_stores_nothing(command: Command, stub: Stub) -> None:
    stub.users = set()
    rows = [f"user-{n % 30}@example.com;A-{n};2020-04-05;SKU-1:1;5;" for n in range(250)]
    Path("orders.csv").write_text(VIBETRACE + "\n".join(rows))
    arguments = ("import", "orders.csv", "--from", "vibetrace", "--upsert", "--json")
    first, second = command(*arguments), command(*arguments)
    assert (first.code, first.counts()) == (0, {"read": 250, "created": 250, "usersCreated": 30})
    assert (second.code, second.counts()) == (0, {"read": 250, "duplicate": 250})
    assert len(stub.stored) == 250
    assert all(request.imported and request.query == "upsert=true" for request in stub.requests)
    assert sorted(path.name for path in Path().iterdir()) == ["orders.csv"]


def test_rejected_rows_are_written_with_line_and_errors_and_can_be_imported_again(command: Command, stub: Stub) -> None:
    stub.users = {"user-0@example.com"}
    FILE.write_text(events(range(4), users=2) + "oops\n" + lines({"user": {}, "event": {}}))
    done = command(*IMPORT, "--json")
    assert (done.code, done.counts()) == (1, {"read": 6, "created": 2, "refused": 4})
    by_line = {each["line"]: each for each in rejected()}
    assert sorted(by_line) == [2, 4, 5, 6]
    assert by_line[2]["errors"][0]["code"] == "user_not_found"
    assert by_line[5]["row"] == {"text": "oops\n"}
    stub.users = None
    Path("again.jsonl").write_text("".join(json.dumps(by_line[line]) + "\n" for line in (2, 4)))
    assert command("import", "again.jsonl", "--from", "jsonl").code == 0
    assert sorted(stub.numbers()) == [0, 1, 2, 3]
    assert command(*IMPORT).code == 1
    assert len(rejected()) == 2, "a new run begins a new file"


@pytest.mark.parametrize("arguments", [IMPORT, ("send", FILE)])
def test_half_of_an_emoji_rejects_its_row_only(command: Command, stub: Stub, arguments: tuple[object, ...]) -> None:
    row = json.loads(events(range(1))) | {"eventTime": iso(datetime.now(timezone.utc))}
    half, whole = row | {"eventId": "\ud83d"}, row | {"eventId": "e-1", "note": "\ud83c\udfb2"}
    FILE.write_text(lines([half, row], row | {"event": {"search": "\ud83d"}}, whole))
    done = command(*arguments, "--json")
    assert (done.code, done.counts()) == (1, {"read": 4, "created": 2, "refused": 2})
    assert [each["line"] for each in rejected() if "half of a" in each["errors"][0]["description"]] == [1, 2]


def test_a_summary_says_what_was_skipped_and_why(command: Command, stub: Stub) -> None:
    refunded = shopify_order("#4", Financial_Status="refunded", Refunded_Amount="59.90")
    voided, without_email = shopify_order("#2", Financial_Status="voided"), shopify_order("#3", Email="")
    Path("orders.csv").write_bytes(shopify(shopify_order("#1"), voided, without_email, refunded))
    done = command("import", "orders.csv", "--from", "shopify")
    assert done.code == 0
    note = "Note 1: refunds have the time of their order, because the export does not say when they happened"
    skipped = {"Skipped 1: voided orders: they were never paid", "Skipped 1: orders without an email"}
    assert {*done.out.splitlines()} >= {"4 rows read", "3 created", note, *skipped}


def test_warnings_of_the_api_are_in_the_summary(command: Command, stub: Stub) -> None:
    warning = {"field": "events.0.event.confirmation.total", "message": "The total is not counted", "code": "total"}
    result = {"status": "created", "eventId": "x", "userId": "x", "warnings": [warning]}
    stub.before = lambda request: (200, {}, {"results": [result] * len(request.events)})
    FILE.write_text(events(range(3), users=1))
    done = command(*IMPORT)
    assert (done.code, "Note 3: total: The total is not counted" in done.out) == (0, True)


def test_an_import_keeps_the_order_of_each_user_with_any_failures(command: Command, stub: Stub) -> None:
    random = Random(23)
    stub.fails = lambda _: random.random() < 0.03
    stub.before = stub.after = lambda _: DROP if random.random() < 0.15 else None
    FILE.write_text(events(range(600), users=20))
    assert command(*IMPORT, "--connections", 4).code == 0
    stub.holds_once_in_order(set(range(600)))


def test_an_event_that_keeps_failing_or_that_the_api_cannot_read_is_found(command: Command, stub: Stub) -> None:
    """Events of one line are counted one by one: each fails once, and number 7 always."""
    tries = Counter[int]()

    def fails(entry: dict[str, Any]) -> bool:
        tries[n := entry["event"]["search"]["n"]] += 1
        return n == 7 or (n > 0 and tries[n] == 1)

    def is_poison(request: Request) -> Any:
        poison = any(entry["event"]["search"]["n"] == 40 for entry in request.events)
        return (400, {}, {"errors": [{"message": "Invalid JSON"}]}) if poison else None

    stub.fails, stub.before = fails, is_poison
    of_one_line = [json.loads(line) for line in events(range(30), users=30).splitlines()]
    FILE.write_text(lines(of_one_line) + events(range(30, 60)))
    done = command(*IMPORT, "--json", "--connections", 1)
    assert (done.code, done.counts()) == (1, {"read": 60, "created": 58, "failed": 1, "refused": 1})
    assert sorted(stub.numbers()) == sorted({*range(60)} - {7, 40})


def test_check_stores_nothing(command: Command, stub: Stub) -> None:
    FILE.write_text(events(range(5)))
    done = command(*IMPORT, "--check", "--json")
    assert (done.code, done.counts(), stub.stored) == (0, {"read": 5, "created": 5}, [])
    assert {request.path for request in stub.requests} == {"/v1/events/check"}


def test_an_interrupted_import_continues(command: Command, stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "WINDOW", 100)
    FILE.write_text(events(range(450)) + "oops\n")
    stub.users = {f"user-{n}@example.com" for n in range(9)}
    stub.before = lambda _: UNAUTHORIZED if len(stub.stored) > 250 else None
    stopped = command(*IMPORT)
    assert (stopped.code, PROGRESS.exists()) == (2, True)
    assert "Check API_KEY and API_URL. Run the same command again to continue" in stopped.err
    stub.before, before = lambda _: None, len(stub.requests)
    done = command(*IMPORT, "--json")
    found = done.counts()
    assert found.pop("duplicate", 0) + found.pop("created") == 405
    assert (done.code, found, len(rejected())) == (1, {"read": 451, "refused": 46}, 46)
    sent = sum(len(request.events) for request in stub.requests[before:])
    assert sent <= 450 - 200, "what was settled is not sent again"
    assert not PROGRESS.exists()


@pytest.mark.parametrize("change", ["file", "key", "upsert", "{", "{}"])
def test_another_import_begins_anew(command: Command, stub: Stub, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    monkeypatch.setattr(importing, "WINDOW", 100)
    stub.keys.add("other")
    FILE.write_text(events(range(300)))
    stub.before = lambda _: UNAUTHORIZED if len(stub.stored) >= 200 else None
    assert command(*IMPORT).code == 2
    stub.before, before = lambda _: None, len(stub.requests)
    if change == "file":
        FILE.write_text(events(range(1, 301)))
    if change == "key":
        monkeypatch.setenv("API_KEY", "other")
    if change.startswith("{"):
        PROGRESS.write_text(change)
    assert command(*IMPORT, *(["--upsert"] if change == "upsert" else [])).code == 0
    assert sum(len(request.events) for request in stub.requests[before:]) == 300


def test_an_import_after_a_check_begins_anew(command: Command, stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "WINDOW", 5)
    FILE.write_text(events(range(5), event={"search": {"refuse": 1}}) + events(range(5, 10)))
    stub.before = lambda _: UNAUTHORIZED if len(stub.requests) > 1 else None
    assert (command(*IMPORT, "--connections", 1).code, PROGRESS.exists()) == (2, True)
    stub.before = lambda _: None
    refused = {"status": "refused", "errors": [{"message": "long" * 99}]}
    stub.after = lambda request: (400, {}, {"results": [refused for _ in request.events]})
    assert command(*IMPORT, "--check").code == 1
    stub.after = lambda _: None
    assert command(*IMPORT).code == 1
    assert sorted(each["line"] for each in rejected()) == [1, 2, 3, 4, 5]


def test_a_file_has_one_import_at_a_time(command: Command, stub: Stub) -> None:
    FILE.write_text(events(range(3), refuse=True))
    with Path("e.jsonl.rejected.jsonl").open("wb") as file:
        file.write(text := b"of the other import\n")
        lock_file(file.fileno())
        done = command(*IMPORT)
    assert (done.code, "Another import of this file runs" in done.err, stub.requests) == (2, True, [])
    assert Path(file.name).read_bytes() == text


@pytest.mark.long
def test_an_import_that_is_killed_and_run_again_stores_each_row_once(stub: Stub, tmp_path: Path) -> None:
    random, path = Random(23), tmp_path / "e.jsonl"
    path.write_text(events(range(2000), users=50))
    stub.fails = lambda _: random.random() < 0.01
    env = os.environ | {"API_URL": stub.url, "API_KEY": "key", "PYTHONPATH": str(SRC)}
    command = [sys.executable, "-m", "event_api_client", "import", str(path), "--from", "jsonl", "--json"]
    for _ in range(4):
        requests = len(stub.requests)
        with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            while len(stub.requests) == requests and process.poll() is None:
                time.sleep(0.01)
            time.sleep(random.uniform(0, 0.1))
            process.send_signal(signal.SIGKILL)
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = counts(done.stdout)
    assert found["read"] == 2000 == found.get("created", 0) + found.get("duplicate", 0)
    stub.holds_once_in_order(set(range(2000)))


@pytest.mark.parametrize(("arguments", "message"), [
    (("import", "missing.csv", "--from", "vibetrace"), "No such file"),
    (("import", FILE, "--from", "excel"), "is not one of"),
    (("import", FILE), "--from"),
    (("import", FILE, "--from", "shopify"), "has no column Created at, Email, Name, Total"),
    (("send", "missing.jsonl"), "No such file"),
    (("compare", FILE, "--from", "shopify"), "has no column"),
    (("nonsense",), "No such command"),
])  # fmt: skip
def test_what_cannot_run_says_why(command: Command, arguments: tuple[object, ...], message: str) -> None:
    FILE.write_text("{}\n")
    done = command(*arguments)
    assert (done.code, message in done.err) == (2, True)


@pytest.mark.parametrize(("name", "variable", "value", "message"), [
    ("import", "API_URL", "", "Set API_URL in the environment"),
    ("import", "API_KEY", "", "Set API_KEY in the environment"),
    ("import", "ALL_PROXY", "unknown://127.0.0.1", "proxy"),
    *((name, "API_KEY", "wrong", "HTTP 401") for name in ("import", "send", "compare")),
])  # fmt: skip
def test_a_wrong_environment_ends_a_command(
    command: Command, monkeypatch: pytest.MonkeyPatch, name: str, variable: str, value: str, message: str
) -> None:
    monkeypatch.setenv(variable, value)
    event = {"confirmation": {"orderId": 1}}
    FILE.write_text(events(range(3), eventTime=iso(datetime.now(timezone.utc)), event=event))
    done = command(name, FILE, *(["--from", "jsonl"] if name != "send" else []))
    assert (done.code, message in done.err, "Traceback" in done.err) == (2, True, False)


# --- compare --------------------------------------------------------------------------------------


def test_compare_says_of_each_order_whether_it_is_stored(command: Command, stub: Stub) -> None:
    stub.users = {"ana@example.com", "bob@example.com"}
    Path("part.csv").write_text(VIBETRACE + "ana@example.com;A-1;2020-04-05;;5;\n")
    assert command("import", "part.csv", "--from", "vibetrace").code == 0
    rows = [
        "ana@example.com;A-1;2020-04-05;;5;", "ana@example.com;A-1;2020-04-05;;6;",
        *["bob@example.com;A-2;2020-04-05;;5;"] * 2, "bob@example.com;A-2;2020-04-06;;5;",
        "eve@example.com;=A-3;2020-04-05;;5;", "eve@example.com;;2020-04-05;;5;", ";A-4;2020-04-05;;5;",
    ]  # fmt: skip
    Path("all.csv").write_text(VIBETRACE + "\n".join(rows))
    done = command("compare", "all.csv", "--from", "vibetrace", "--json")
    found = {"stored": 1, "stored, but different": 1, "missing": 3, "user unknown": 1, "invalid": 1}
    assert (done.code, json.loads(done.out.splitlines()[-1])) == (1, found)
    report = Path("all.csv.compare.csv").read_text().splitlines()
    assert report[0] == "line,type,id,user,state,detail"
    assert "2,confirmation,A-1,ana@example.com,stored," in report
    assert any(line.startswith("7,confirmation,'=A-3,eve@example.com,user unknown") for line in report)
    assert command("compare", "part.csv", "--from", "vibetrace").code == 0
    assert len(stub.stored) == 1


def test_compare_sends_orders_of_any_size(command: Command, stub: Stub) -> None:
    order = {"confirmation": {"orderId": "A", "text": "x" * 200_000}}
    large = {"confirmation": {"orderId": "B", "text": "x" * 300_000}}
    FILE.write_text(events(range(9), event=order) + events(range(9, 10), event=large))
    assert command("compare", FILE, "--from", "jsonl").code == 1
    assert Path("e.jsonl.compare.csv").read_text().count("invalid") == 1
    assert max(request.bytes for request in stub.requests) <= 1024 * 1024


# --- send -----------------------------------------------------------------------------------------


def without_ids(numbers: range, **more: Any) -> str:
    emails = {n: f"user-{n % 5}@example.com" for n in numbers}
    return lines(*({"user": {"email": emails[n]}, "event": {"search": {"n": n, **more}}} for n in numbers))


def test_send_sends_each_line_once_also_if_it_was_added_or_finished_later(command: Command, stub: Stub) -> None:
    whole, more = without_ids(range(700)), without_ids(range(700, 704))
    FILE.write_text(whole)
    first, again = command("send", FILE, "--json"), command("send", FILE, "--json")
    assert (first.code, first.counts(), again.code, again.counts()) == (0, {"read": 700, "created": 700}, 0, {})
    FILE.write_text(whole + more[:-30])
    done = command("send", FILE, "--json")
    assert (done.code, done.counts()) == (1, {"read": 4, "created": 3, "refused": 1})
    FILE.write_text(whole + more)
    assert command("send", FILE).code == 0
    stub.holds_once_in_order(set(range(704)))


def test_send_notes_a_line_with_all_its_events(command: Command, stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    FILE.write_text(lines([json.loads(line) for line in without_ids(range(1200)).splitlines()]))
    writes, add = count(1), Outbox.add_entries

    def add_entries(self: Outbox, *arguments: Any) -> None:
        if next(writes) == 2:
            raise OutboxError("The second write fails")
        add(self, *arguments)

    monkeypatch.setattr(Outbox, "add_entries", add_entries)
    command("send", FILE)
    assert command("send", FILE).code == 0
    stub.holds_once_in_order(set(range(1200)))


def test_two_runs_of_send_store_each_line_once(command: Command, stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    FILE.write_text(without_ids(range(700)))
    add = Outbox.add_entries

    def add_entries(self: Outbox, *arguments: Any) -> None:
        monkeypatch.setattr(Outbox, "add_entries", add)
        assert command("send", FILE).code == 0  # another run, after this one has read its position
        add(self, *arguments)

    monkeypatch.setattr(Outbox, "add_entries", add_entries)
    done = command("send", FILE)
    assert (done.code, "another run reads" in done.err) == (2, True)
    stub.holds_once_in_order(set(range(700)))


def test_send_reads_standard_input(command: Command, stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    text = without_ids(range(20)) + without_ids(range(20, 21), refuse=True) + "oops\n"
    text += lines({"user": {"email": "ana@example.com"}, "event": {"search": {"n": 30}}, "event_id": "a"})
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    done = command("send", "-", "--json")
    assert (done.code, done.counts()) == (1, {"read": 23, "created": 20, "refused": 3})
    errors = [each["errors"][0] for each in rejected("stdin")]
    assert [each["code"] for each in errors] == ["unreadable_row"] * 2 + ["invalid_field"]
    assert errors[1]["description"] == "The line has 'event_id': it is called eventId"
    stub.holds_once_in_order(set(range(20)))
