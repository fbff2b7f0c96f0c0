"""docs/postman.json, run by Newman with the command of docs/clients.md: from scratch, and again."""

import json
from pathlib import Path
from typing import Any

from docs import postman
from documents import blocks
from domain.event_types import CATALOGUE
from e2e.conftest import Caller, shell
from engines import skip_lane
from local.stack import ROOT

[COMMAND] = [block.strip() for block in blocks("docs/clients.md") if "newman" in block]


def requests(item: dict[str, Any]) -> list[dict[str, Any]]:
    return [item] if "request" in item else [each for child in item["item"] for each in requests(child)]


def test_the_collection_is_up_to_date_and_sends_every_event_type() -> None:
    assert postman.FILE.read_text() == postman.text(), "run `make openapi`"
    sent = [each["request"].get("body", {"raw": "{}"})["raw"] for each in requests(postman.document())]
    types = {name for body in sent for name in json.loads(body).get("event", {})}
    assert types == CATALOGUE.keys()


def test_the_collection_runs_from_top_to_bottom_and_may_be_repeated(caller: Caller, tmp_path: Path) -> None:
    if not (ROOT / "node_modules" / "newman").exists():
        skip_lane("Newman is not there: run `npm install`")
    for number in "12":
        report = tmp_path / number
        command = f"{COMMAND} --reporters cli,json --reporter-json-export {report}"
        shell(command, caller.api_url, ROOT, API_URL=caller.api_url, API_KEY=caller.key)
        run = json.loads(report.read_text())["run"]
        names = [each["name"] for each in requests(postman.document())]
        assert [execution["item"]["name"] for execution in run["executions"]] == names
        assert run["failures"] == []
        assert all(execution["assertions"] for execution in run["executions"])
