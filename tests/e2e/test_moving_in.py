"""The Python client against the deployed stack: an outbox, and an import with its comparison (docs/moving-in.md)."""

import json
import os
import subprocess
import sys
from pathlib import Path

from event_api_client import Outbox

from e2e.conftest import Caller
from local.stack import ROOT

ORDERS = """"email";"orderId";"date";"items";"total";"discountCodes"
"ana@example.com";"A-1";"2020-04-05";"SKU-1:2";"59.90";"SUMMER|VIP"
"ana@example.com";"A-2";"2021-04-05T21:06:21+02:00";"";"10,50";""
"eve@example.com";"A-3";"1775423181";"SKU-1:1";"5";""
"ana@example.com";"A-4";"yesterday";"SKU-1:1";"5";""
"""


def event_api(caller: Caller, *arguments: object) -> tuple[int, dict[str, int]]:
    """Run the command, and return its exit code and the JSON of its last line."""
    env = os.environ | {
        "API_URL": caller.api_url,
        "API_KEY": caller.key,
        "PYTHONPATH": str(ROOT / "clients/python/src"),
    }
    command = [sys.executable, "-m", "event_api_client", *map(str, arguments), "--from", "vibetrace", "--json"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout.splitlines()[-1])


def test_an_outbox_sends_its_events(caller: Caller, ana: dict[str, str], tmp_path: Path) -> None:
    with Outbox(tmp_path / "events.db", url=caller.api_url, key=caller.key) as outbox:
        event_id = outbox.add(ana, {"viewitem": {"itemId": "SKU-1"}})
        outbox.add({"email": "nobody@example.com"}, {"viewitem": {"itemId": "SKU-1"}})
        assert outbox.flush(60)
        assert [each.errors[0]["message"] for each in outbox.rejected()] == ["User not found"]
    [event] = caller.send("GET", f"/user/{ana['email']}/events").body["events"]
    assert event["_id"] == event_id


def test_an_import_is_complete_when_compare_finds_every_order(
    caller: Caller, ana: dict[str, str], tmp_path: Path
) -> None:
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
