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
from typing import Any

import pytest

from api_stub import DROP, UNAUTHORIZED, Request, Stub
from event_api_client import Outbox, OutboxError, cli, importing
from event_api_client.entries import iso
from event_api_client.store import lock_file
from test_formats import VIBETRACE, lines, shopify, shopify_order

Command = Callable[..., int]
TIME = "2020-04-05T21:06:21Z"
SRC = Path(__file__).parents[1] / "src"


@pytest.fixture
def command(stub: Stub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Command:
    """Runs the command in the folder of the test, and returns its exit code."""
    monkeypatch.setenv("API_URL", stub.url)
    monkeypatch.setenv("API_KEY", "key")
    monkeypatch.setattr(importing, "LONGEST_WAIT", 0.05)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> int:
        with pytest.raises(SystemExit) as ended:
            cli.main([str(each) for each in arguments])
        assert isinstance(ended.value.code, int)
        return ended.value.code

    return run


def events(numbers: range, users: int = 10, **more: Any) -> str:
    user = [{"email": f"user-{n}@example.com"} for n in range(users)]
    made = ({"eventId": f"e-{n}", "user": user[n % users], "event": {"search": {"n": n}}} for n in numbers)
    return lines(*(each | {"eventTime": TIME} | more for each in made))


def counts(printed: str) -> dict[str, int]:
    found: dict[str, int] = json.loads(printed.splitlines()[-1])
    assert list(found) == ["read", "created", "duplicate", "discarded", "refused", "failed", "usersCreated"]
    return {name: number for name, number in found.items() if number}


# --- import ---------------------------------------------------------------------------------------


def test_an_import_creates_users_and_a_second_one_stores_nothing(
    command: Command, stub: Stub, capsys: pytest.CaptureFixture[str]
) -> None:
    stub.users = set()
    rows = [f"user-{n % 30}@example.com;A-{n};2020-04-05;SKU-1:1;5;" for n in range(250)]
    Path("orders.csv").write_text(VIBETRACE + "\n".join(rows))
    arguments = ("import", "orders.csv", "--from", "vibetrace", "--upsert", "--json")
    assert command(*arguments) == 0
    assert counts(capsys.readouterr().out) == {"read": 250, "created": 250, "usersCreated": 30}
    assert command(*arguments) == 0
    assert counts(capsys.readouterr().out) == {"read": 250, "duplicate": 250}
    assert len(stub.stored) == 250
    assert all(request.imported and request.query == "upsert=true" for request in stub.requests)
    assert sorted(path.name for path in Path().iterdir()) == ["orders.csv"]


def test_rejected_rows_are_written_with_their_lines_and_errors_and_can_be_imported_again(
    command: Command, stub: Stub, capsys: pytest.CaptureFixture[str]
) -> None:
    stub.users = {"user-0@example.com"}
    Path("e.jsonl").write_text(events(range(4), users=2) + "oops\n" + lines({"user": {}, "event": {}}))
    assert command("import", "e.jsonl", "--from", "jsonl", "--json") == 1
    assert counts(capsys.readouterr().out) == {"read": 6, "created": 2, "refused": 4}
    rejected = [json.loads(line) for line in Path("e.jsonl.rejected.jsonl").read_text().splitlines()]
    assert sorted(each["line"] for each in rejected) == [2, 4, 5, 6]
    by_line = {each["line"]: each for each in rejected}
    assert by_line[2]["errors"][0]["code"] == "user_not_found"
    assert by_line[5]["row"] == {"text": "oops\n"}
    stub.users = None
    Path("again.jsonl").write_text("".join(json.dumps(by_line[line]) + "\n" for line in (2, 4)))
    assert command("import", "again.jsonl", "--from", "jsonl") == 0
    assert sorted(stub.numbers()) == [0, 1, 2, 3]
    assert command("import", "e.jsonl", "--from", "jsonl") == 1
    assert len(Path("e.jsonl.rejected.jsonl").read_text().splitlines()) == 2, "a new run begins a new file"


@pytest.mark.parametrize("arguments", [("import", "e.jsonl", "--from", "jsonl"), ("send", "e.jsonl")])
def test_half_of_an_emoji_rejects_its_row_only(
    command: Command, stub: Stub, arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """A program that cuts a text within a character writes such rows."""
    row = json.loads(events(range(1))) | {"eventTime": iso(datetime.now(timezone.utc))}
    half, whole = row | {"eventId": "\ud83d"}, row | {"eventId": "e-1", "note": "\ud83c\udfb2"}
    Path("e.jsonl").write_text(lines([half, row], row | {"event": {"search": "\ud83d"}}, whole))
    assert command(*arguments, "--json") == 1
    assert counts(capsys.readouterr().out) == {"read": 4, "created": 2, "refused": 2}
    rejected = [json.loads(line) for line in Path("e.jsonl.rejected.jsonl").read_text().splitlines()]
    assert [each["line"] for each in rejected if "half of a character" in each["errors"][0]["description"]] == [1, 2]


def test_a_summary_says_what_was_skipped_and_why(
    command: Command, stub: Stub, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("orders.csv").write_bytes(
        shopify(
            shopify_order("#1"),
            shopify_order("#2", Financial_Status="voided"),
            shopify_order("#3", Email=""),
            shopify_order("#4", Financial_Status="refunded", Refunded_Amount="59.90"),
        )
    )
    assert command("import", "orders.csv", "--from", "shopify") == 0
    printed = capsys.readouterr().out
    for line in (
        "4 rows read",
        "3 created",
        "Skipped 1: voided orders: they were never paid",
        "Skipped 1: orders without an email",
        "Note 1: refunds have the time of their order, because the export does not say when they happened",
    ):
        assert line in printed.splitlines()


def test_warnings_of_the_api_are_in_the_summary(
    command: Command, stub: Stub, capsys: pytest.CaptureFixture[str]
) -> None:
    warning = {"field": "events.0.event.confirmation.total", "message": "The total is not counted", "code": "total"}
    result = {"status": "created", "eventId": "x", "userId": "x", "warnings": [warning]}
    stub.before = lambda request: (200, {}, {"results": [result] * len(request.events)})
    Path("e.jsonl").write_text(events(range(3), users=1))
    assert command("import", "e.jsonl", "--from", "jsonl") == 0
    assert "Note 3: total: The total is not counted" in capsys.readouterr().out


def test_an_import_keeps_the_order_of_each_user_with_any_failures(command: Command, stub: Stub) -> None:
    random = Random(23)
    stub.fails = lambda _: random.random() < 0.03
    stub.before = stub.after = lambda _: DROP if random.random() < 0.15 else None
    Path("e.jsonl").write_text(events(range(600), users=20))
    assert command("import", "e.jsonl", "--from", "jsonl", "--connections", 4) == 0
    stub.holds_once_in_order(set(range(600)))


def test_an_event_that_keeps_failing_is_given_up_and_named(
    command: Command, stub: Stub, capsys: pytest.CaptureFixture[str]
) -> None:
    stub.fails = lambda entry: entry["event"]["search"]["n"] == 7
    Path("e.jsonl").write_text(events(range(30), users=30))
    assert command("import", "e.jsonl", "--from", "jsonl", "--json", "--connections", 1) == 1
    assert counts(capsys.readouterr().out) == {"read": 30, "created": 29, "failed": 1}
    [rejected] = Path("e.jsonl.rejected.jsonl").read_text().splitlines()
    assert json.loads(rejected)["line"] == 8


def test_events_of_one_line_are_given_up_one_by_one(command: Command, stub: Stub) -> None:
    tries = Counter[str]()

    def fails(entry: dict[str, Any]) -> bool:
        tries[entry["eventId"]] += 1
        return entry["eventId"] != "e-0" and tries[entry["eventId"]] == 1

    stub.fails = fails
    page = [json.loads(line) for line in events(range(30), users=30).splitlines()]
    Path("e.jsonl").write_text(lines(page))
    assert command("import", "e.jsonl", "--from", "jsonl", "--connections", 1) == 0
    stub.holds_once_in_order(set(range(30)))


def test_an_event_that_the_api_cannot_read_is_found(command: Command, stub: Stub) -> None:
    def is_poison(request: Request) -> Any:
        poison = any(entry["event"]["search"]["n"] == 7 for entry in request.events)
        return (400, {}, {"errors": [{"message": "Invalid JSON"}]}) if poison else None

    stub.before = is_poison
    Path("e.jsonl").write_text(events(range(60)))
    assert command("import", "e.jsonl", "--from", "jsonl") == 1
    stub.holds_once_in_order(set(range(60)) - {7})


def test_check_stores_nothing(command: Command, stub: Stub, capsys: pytest.CaptureFixture[str]) -> None:
    Path("e.jsonl").write_text(events(range(5)))
    assert command("import", "e.jsonl", "--from", "jsonl", "--check", "--json") == 0
    assert counts(capsys.readouterr().out) == {"read": 5, "created": 5}
    assert stub.stored == []
    assert {request.path for request in stub.requests} == {"/v1/events/check"}


def test_an_interrupted_import_goes_on_where_it_stopped(
    command: Command, stub: Stub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importing, "WINDOW", 100)
    Path("e.jsonl").write_text(events(range(450)) + "oops\n")
    stub.users = {f"user-{n}@example.com" for n in range(9)}
    stub.before = lambda _: UNAUTHORIZED if len(stub.stored) > 250 else None
    assert command("import", "e.jsonl", "--from", "jsonl") == 2
    captured = capsys.readouterr()
    assert "Check API_KEY and API_URL. Run the same command again to continue" in captured.err
    assert Path("e.jsonl.progress").exists()
    stub.before, before = lambda _: None, len(stub.requests)
    assert command("import", "e.jsonl", "--from", "jsonl", "--json") == 1
    found = counts(capsys.readouterr().out)
    assert found.pop("duplicate", 0) + found.pop("created") == 405
    assert found == {"read": 451, "refused": 46}
    assert len(Path("e.jsonl.rejected.jsonl").read_text().splitlines()) == 46
    sent = sum(len(request.events) for request in stub.requests[before:])
    assert sent <= 450 - 200, "what was settled is not sent again"
    assert not Path("e.jsonl.progress").exists()


@pytest.mark.parametrize("change", ["file", "key", "upsert", "garbage"])
def test_progress_counts_only_for_the_same_import(
    command: Command, stub: Stub, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    monkeypatch.setattr(importing, "WINDOW", 100)
    stub.keys.add("other")
    Path("e.jsonl").write_text(events(range(300)))
    stub.before = lambda _: UNAUTHORIZED if len(stub.stored) >= 200 else None
    assert command("import", "e.jsonl", "--from", "jsonl") == 2
    stub.before, before = lambda _: None, len(stub.requests)
    if change == "file":
        Path("e.jsonl").write_text(events(range(1, 301)))
    if change == "key":
        monkeypatch.setenv("API_KEY", "other")
    if change == "garbage":
        Path("e.jsonl.progress").write_text("{")
    assert command("import", "e.jsonl", "--from", "jsonl", *(["--upsert"] if change == "upsert" else [])) == 0
    assert sum(len(request.events) for request in stub.requests[before:]) == 300


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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("import", "missing.csv", "--from", "vibetrace"), "No such file"),
        (("import", "e.jsonl", "--from", "excel"), "is not one of"),
        (("import", "e.jsonl"), "--from"),
        (("import", "e.jsonl", "--from", "shopify"), "has no column Created at, Email, Name, Total"),
        (("send", "missing.jsonl"), "No such file"),
        (("compare", "e.jsonl", "--from", "shopify"), "has no column"),
        (("nonsense",), "No such command"),
    ],
)
def test_what_cannot_run_says_why(
    command: Command, arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("e.jsonl").write_text("{}\n")
    assert command(*arguments) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("name", ["API_URL", "API_KEY"])
def test_without_address_or_key_it_says_so(
    command: Command, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(name)
    Path("e.jsonl").write_text("{}\n")
    assert command("import", "e.jsonl", "--from", "jsonl") == 2
    assert f"Set {name} in the environment" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["import", "send", "compare"])
def test_a_wrong_key_ends_each_command(
    command: Command, stub: Stub, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("API_KEY", "wrong")
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    event = {"confirmation": {"orderId": 1}}
    Path("e.jsonl").write_text(events(range(3), eventTime=now, event=event))
    assert command(name, "e.jsonl", *(["--from", "jsonl"] if name != "send" else [])) == 2
    captured = capsys.readouterr()
    assert "HTTP 401" in captured.err
    assert "Traceback" not in captured.err
    assert stub.stored == []


# --- compare --------------------------------------------------------------------------------------


def test_compare_says_of_each_order_whether_it_is_stored(
    command: Command, stub: Stub, capsys: pytest.CaptureFixture[str]
) -> None:
    stub.users = {"ana@example.com", "bob@example.com"}
    header = VIBETRACE
    Path("part.csv").write_text(header + "ana@example.com;A-1;2020-04-05;;5;\n")
    assert command("import", "part.csv", "--from", "vibetrace") == 0
    rows = [
        "ana@example.com;A-1;2020-04-05;;5;",
        "ana@example.com;A-1;2020-04-05;;6;",
        "bob@example.com;A-2;2020-04-05;;5;",
        "bob@example.com;A-2;2020-04-05;;5;",
        "bob@example.com;A-2;2020-04-06;;5;",
        "eve@example.com;=A-3;2020-04-05;;5;",
        "eve@example.com;;2020-04-05;;5;",
        ";A-4;2020-04-05;;5;",
    ]
    Path("all.csv").write_text(header + "\n".join(rows))
    capsys.readouterr()
    assert command("compare", "all.csv", "--from", "vibetrace", "--json") == 1
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == {
        "stored": 1,
        "stored, but different": 1,
        "missing": 3,
        "user unknown": 1,
        "invalid": 1,
    }
    report = Path("all.csv.compare.csv").read_text().splitlines()
    assert report[0] == "line,type,id,user,state,detail"
    assert "2,confirmation,A-1,ana@example.com,stored," in report
    assert any(line.startswith("7,confirmation,'=A-3,eve@example.com,user unknown") for line in report)
    assert command("compare", "part.csv", "--from", "vibetrace") == 0
    assert len(stub.stored) == 1


def test_compare_sends_orders_of_any_size(command: Command, stub: Stub) -> None:
    order = {"confirmation": {"orderId": "A", "text": "x" * 200_000}}
    large = {"confirmation": {"orderId": "B", "text": "x" * 300_000}}
    Path("e.jsonl").write_text(events(range(9), event=order) + events(range(9, 10), event=large))
    assert command("compare", "e.jsonl", "--from", "jsonl") == 1
    assert Path("e.jsonl.compare.csv").read_text().count("invalid") == 1
    assert max(request.bytes for request in stub.requests) <= 1024 * 1024


# --- send -----------------------------------------------------------------------------------------


def test_an_import_after_a_check_rejects_all_rows_again(
    command: Command, stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "WINDOW", 5)
    Path("e.jsonl").write_text(events(range(5), event={"search": {"refuse": 1}}) + events(range(5, 10)))
    stub.before = lambda _: UNAUTHORIZED if len(stub.requests) > 1 else None
    assert command("import", "e.jsonl", "--from", "jsonl", "--connections", 1) == 2
    assert Path("e.jsonl.progress").exists()
    stub.before = lambda _: None
    stub.after = lambda request: (400, {}, errors_of(request))
    assert command("import", "e.jsonl", "--from", "jsonl", "--check") == 1
    stub.after = lambda _: None
    assert command("import", "e.jsonl", "--from", "jsonl") == 1
    rejected = [json.loads(line) for line in Path("e.jsonl.rejected.jsonl").read_text().splitlines()]
    assert sorted(each["line"] for each in rejected) == [1, 2, 3, 4, 5]


def errors_of(request: Request) -> dict[str, Any]:
    return {"results": [{"status": "refused", "errors": [{"message": "long" * 99}]} for _ in request.events]}


def test_a_file_has_one_import_at_a_time(command: Command, stub: Stub, capsys: pytest.CaptureFixture[str]) -> None:
    Path("e.jsonl").write_text(events(range(3), refuse=True))
    with Path("e.jsonl.rejected.jsonl").open("wb") as rejected:
        rejected.write(b"of the other import\n")
        lock_file(rejected.fileno())
        assert command("import", "e.jsonl", "--from", "jsonl") == 2
    assert "Another import of this file runs" in capsys.readouterr().err
    assert Path("e.jsonl.rejected.jsonl").read_text() == "of the other import\n"
    assert not stub.requests


def test_a_proxy_that_cannot_be_used_ends_an_import(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "unknown://127.0.0.1")
    Path("e.jsonl").write_text(events(range(3)))
    assert command("import", "e.jsonl", "--from", "jsonl") == 2


def test_a_progress_file_of_another_program_is_not_used(command: Command) -> None:
    Path("e.jsonl").write_text(events(range(3)))
    Path("e.jsonl.progress").write_text("{}")
    assert command("import", "e.jsonl", "--from", "jsonl") == 0


def without_ids(numbers: range, **more: Any) -> str:
    return lines(
        *({"user": {"email": f"user-{n % 5}@example.com"}, "event": {"search": {"n": n, **more}}} for n in numbers)
    )


def test_send_sends_each_line_once_and_lines_that_are_added_later(
    command: Command, stub: Stub, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("e.jsonl").write_text(without_ids(range(700)))
    assert command("send", "e.jsonl", "--json") == 0
    assert counts(capsys.readouterr().out) == {"read": 700, "created": 700}
    assert command("send", "e.jsonl", "--json") == 0
    assert counts(capsys.readouterr().out) == {}
    with Path("e.jsonl").open("a") as file:
        file.write(without_ids(range(700, 710)))
    assert command("send", "e.jsonl") == 0
    stub.holds_once_in_order(set(range(710)))


def test_send_reads_a_line_again_that_a_program_had_not_finished(
    command: Command, stub: Stub, capsys: pytest.CaptureFixture[str]
) -> None:
    text = without_ids(range(4))
    Path("e.jsonl").write_text(text[:-30])
    assert command("send", "e.jsonl", "--json") == 1
    assert counts(capsys.readouterr().out) == {"read": 4, "created": 3, "refused": 1}
    Path("e.jsonl").write_text(text)
    assert command("send", "e.jsonl", "--json") == 0
    stub.holds_once_in_order(set(range(4)))


def test_send_notes_a_line_of_many_events_with_all_of_them(
    command: Command, stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("e.jsonl").write_text(lines([json.loads(line) for line in without_ids(range(1200)).splitlines()]))
    writes = count(1)

    def add_entries(self: Outbox, *arguments: Any) -> None:
        if next(writes) == 2:
            raise OutboxError("The second write fails")
        add(self, *arguments)

    add = Outbox.add_entries
    monkeypatch.setattr(Outbox, "add_entries", add_entries)
    command("send", "e.jsonl")
    assert command("send", "e.jsonl") == 0
    stub.holds_once_in_order(set(range(1200)))


def test_two_runs_of_send_on_one_file_store_each_line_once(
    command: Command, stub: Stub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("e.jsonl").write_text(without_ids(range(700)))

    def add_entries(self: Outbox, *arguments: Any) -> None:
        monkeypatch.setattr(Outbox, "add_entries", add)
        assert command("send", "e.jsonl") == 0  # another run, after this one has read its position
        add(self, *arguments)

    add = Outbox.add_entries
    monkeypatch.setattr(Outbox, "add_entries", add_entries)
    assert command("send", "e.jsonl") == 2
    assert "another run reads" in capsys.readouterr().err
    stub.holds_once_in_order(set(range(700)))


def test_send_reads_standard_input(
    command: Command, stub: Stub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = without_ids(range(20)) + without_ids(range(20, 21), refuse=True) + "oops\n"
    text += lines({"user": {"email": "ana@example.com"}, "event": {"search": {"n": 30}}, "event_id": "a"})
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert command("send", "-", "--json") == 1
    assert counts(capsys.readouterr().out) == {"read": 23, "created": 20, "refused": 3}
    rejected = [json.loads(line) for line in Path("stdin.rejected.jsonl").read_text().splitlines()]
    assert [each["errors"][0]["code"] for each in rejected] == ["unreadable_row"] * 2 + ["invalid_field"]
    assert rejected[1]["errors"][0]["description"] == "The line has 'event_id': it is called eventId"
    stub.holds_once_in_order(set(range(20)))
