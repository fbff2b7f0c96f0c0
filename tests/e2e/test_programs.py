"""Programs that send to a deployed API: `make smoke`, `make demo`, and the Python client (docs/moving-in.md)."""

import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
from event_api_client import Outbox

from e2e.conftest import Ana, Caller, answering
from local import demo, stack
from tools.smoke.checks import all_checks


def smoke(url: str, key: str) -> tuple[int, dict[str, str]]:
    env, command = os.environ | {"API_URL": url, "API_KEY": key}, [sys.executable, "-m", "tools.smoke"]
    done = subprocess.run(command, cwd=stack.ROOT, env=env, capture_output=True, text=True, check=False)
    print(done.stdout, done.stderr)
    lines = re.findall(r"^(held|differs|FAILED) +(.+)$", done.stdout, re.MULTILINE)
    assert len(lines) == len(all_checks(burst=0))
    return done.returncode, {what: result for result, what in lines}


def test_smoke_holds_on_the_local_stack(deployed: stack.Stack) -> None:
    code, results = smoke(deployed.api_url, deployed.create_key("smoke"))
    assert (code, set(results.values())) == (0, {"held", "differs"})
    compressed, named = sorted(what for what, result in results.items() if result == "differs")
    assert compressed.startswith("A long answer is compressed")
    assert named.startswith("An answer names its request")


def says_yes(*_: object) -> tuple[int, dict[str, str], bytes]:
    """Answer with 200 and another user, with a header of AWS's gateway."""
    user = {"_id": uuid4().hex}
    body = {**user, "object": user, "events": [], "results": [], "refusals": {}}
    return 200, {"Content-Type": "application/json", "x-amz-apigw-id": "any"}, json.dumps(body).encode()


def test_no_check_of_smoke_holds_where_every_answer_is_yes() -> None:
    with answering(says_yes) as url:
        code, results = smoke(url, "key")
    assert (code, set(results.values())) == (1, {"FAILED"})


def test_the_demo_is_stored_once_with_what_goes_wrong(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "CUSTOMERS", 12)
    assert caller.send("POST", "/user/", {"email": demo.ANA}).status == 200
    sent, events, _ = demo.send(caller.api_url, caller.key)
    assert sent == "12 customers"
    assert sorted(word.strip(",") for word in events.split()[3::2]) == ["created", "discarded"]
    *_, again, _ = demo.send(caller.api_url, caller.key)
    assert sorted(word.strip(",") for word in again.split()[3::2]) == ["discarded", "duplicate"]
    refused = {each["code"]: each["count"] for each in caller.send("GET", "/refusals").body["refusals"]}
    assert refused["user_not_found"] == 2 * 12
    assert refused.keys() >= {"unknown_event_type", "missing_field", "invalid_email", "invalid_event_time"}
    users = [user for user, _ in demo.Shop(datetime(2026, 11, 24, tzinfo=UTC)).customers()]
    timelines = [caller.send("GET", f"/user/{user.get('email') or user['_id']}/events").body for user in users]
    events_of_a_month = [each for page in timelines for each in page["events"]]
    assert {each["type"] for each in events_of_a_month} >= {"update", "emailopen", "viewitem", "confirmation"}
    warned = [each for each in events_of_a_month if each.get("warnings")]
    assert [each["type"] for each in warned] == ["confirmation"]


ORDERS = """"email";"orderId";"date";"items";"total";"discountCodes"
"ana@example.com";"A-1";"2020-04-05";"SKU-1:2";"59.90";"SUMMER|VIP"
"ana@example.com";"A-2";"2021-04-05T21:06:21+02:00";"";"10,50";""
"eve@example.com";"A-3";"1775423181";"SKU-1:1";"5";""
"ana@example.com";"A-4";"yesterday";"SKU-1:1";"5";""
"""


def event_api(caller: Caller, *arguments: object) -> tuple[int, dict[str, int]]:
    source = {"PYTHONPATH": str(stack.ROOT / "clients/python/src")}
    env = os.environ | {"API_URL": caller.api_url, "API_KEY": caller.key} | source
    command = [sys.executable, "-m", "event_api_client", *map(str, arguments), "--from", "vibetrace", "--json"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout.splitlines()[-1])


def test_an_outbox_sends_its_events(caller: Caller, ana: Ana, tmp_path: Path) -> None:
    with Outbox(tmp_path / "events.db", url=caller.api_url, key=caller.key) as outbox:
        event_id = outbox.add(ana, {"viewitem": {"itemId": "SKU-1"}})
        outbox.add({"email": "nobody@example.com"}, {"viewitem": {"itemId": "SKU-1"}})
        assert outbox.flush(60)
        assert [each.errors[0]["message"] for each in outbox.rejected()] == ["User not found"]
    [event] = caller.send("GET", f"/user/{ana['email']}/events").body["events"]
    assert event["_id"] == event_id


def test_an_import_is_complete_when_compare_finds_every_order(caller: Caller, ana: Ana, tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text(ORDERS)
    none = {"stored": 0, "stored, but different": 0, "missing": 2, "user unknown": 1, "invalid": 1}
    assert event_api(caller, "compare", path) == (1, none)
    found = {"read": 4, "created": 2, "duplicate": 0, "discarded": 0, "refused": 2, "failed": 0, "usersCreated": 0}
    assert event_api(caller, "import", path, "--check") == (1, found)
    assert event_api(caller, "import", path) == (1, found)
    assert event_api(caller, "import", path) == (1, found | {"created": 0, "duplicate": 2})
    profile = caller.send("GET", f"/user/{ana['email']}").body
    assert (profile["numberOfPurchases"], profile["totalPurchasesValue"]) == (2, 70.4)
    assert event_api(caller, "compare", path) == (1, none | {"stored": 2, "missing": 0})
    assert event_api(caller, "import", path, "--upsert") == (
        1, found | {"created": 1, "duplicate": 2, "refused": 1, "usersCreated": 1},
    )  # fmt: skip
    rejected = [json.loads(line) for line in Path(f"{path}.rejected.jsonl").read_text().splitlines()]
    assert [each["line"] for each in rejected] == [5]
