"""Generate the clients of docs/clients.md without a warning, type-check its programs and run them; run its collection.

Calls that the types forbid must not type-check.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from docs import openapi, postman
from documents import blocks, text
from domain.event_types import CATALOGUE
from e2e.conftest import Ana, Caller, shell
from engines import skip_lane
from local import aws
from local.stack import ROOT

[GENERATE_PYTHON, GENERATE_TYPESCRIPT, NEWMAN] = blocks("docs/clients.md")
PYTHON, TYPESCRIPT = text("docs/clients/program.py"), text("docs/clients/program.mts")
DOCUMENT = openapi.document()

# mypy --strict complains of an ignored error that is none.
FORBIDDEN_IN_PYTHON = """
from generated_client.models import LoginEvent, UpdateEvent, Login, Update, Search

def never(update: Update, login: Login) -> None:
    EventRequest(user=UserByEmail(EMAIL))  # type: ignore[call-arg]
    EventRequest(user=UserByEmail(), event=order)  # type: ignore[call-arg]
    EventRequest(user=UserByEmail(EMAIL), event={})  # type: ignore[arg-type]
    EventRequest(user=UserByEmail(EMAIL), event=update)  # type: ignore[arg-type]
    UpdateEvent()  # type: ignore[call-arg]
    UpdateEvent(update, login)  # type: ignore[call-arg]
    UpdateEvent(login)  # type: ignore[arg-type]
    ConfirmationFlat(total=1)  # type: ignore[call-arg]
    BatchEvent(user=UserByEmail(EMAIL), event=order)  # type: ignore[call-arg]
    Search(1.5), Search(10**30), Search("red shoes")
    list_events.sync(EMAIL, client=client, type_="purchase")  # type: ignore[arg-type]
"""
# The client's classes hold and send every example request of the document.
EXAMPLES_IN_PYTHON = """
import json, sys
for event in json.load(sys.stdin):
    request = EventRequest.from_dict(event)
    assert request.to_dict() == event, (request.to_dict(), event)
    answer = send_event.sync_detailed(client=client, body=request)
    assert isinstance(answer.parsed, EventResult), answer
    assert answer.headers["X-Event-Status"] == "created"
"""


@pytest.fixture(scope="module")
def python_client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("python")
    (folder / "docs").symlink_to(ROOT / "docs")
    run(folder, "bash", "-euc", GENERATE_PYTHON)
    return folder


def needs_npm_package(name: str) -> None:
    if not (ROOT / "node_modules" / name).exists():
        skip_lane(f"{name} is not there: run `npm install`")


def run(folder: Path, *command: str | Path, given: str = "", **variables: str) -> str:
    path = f"{sys.prefix}/bin:{os.environ['PATH']}"
    env = os.environ | {"PATH": path, "NO_PROXY": aws.HOST, "no_proxy": aws.HOST} | variables
    done = subprocess.run(command, cwd=folder, env=env, input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def written(folder: Path, name: str, *parts: str) -> str:
    (folder / name).write_text("\n".join(parts))
    return name


def environment(caller: Caller) -> dict[str, str]:
    return {"API_URL": caller.api_url, "API_KEY": caller.key}


def assert_it_printed_the_results(output: str) -> None:
    [created, refused, purchases, orders, erasure, message] = output.splitlines()
    assert (created, refused) == ("view-1 created", "view-2 user_not_found")
    assert purchases == "1 Ana"
    assert "A-300" in orders
    assert erasure.startswith("erasure ")
    assert message == "User not found"


def test_the_programs_call_every_operation_and_the_collection_sends_every_event_type() -> None:
    for path, item in DOCUMENT["paths"].items():
        for operation in (each["operationId"] for each in item.values()):
            snake_case = "".join(f"_{each.lower()}" if each.isupper() else each for each in operation)
            assert f"{snake_case}.sync" in PYTHON
            assert f'("{path}"' in TYPESCRIPT
    assert postman.FILE.read_text() == postman.text(), "run `make openapi`"
    sent = [each["request"].get("body", {"raw": "{}"})["raw"] for each in requests(postman.document())]
    assert {name for body in sent for name in json.loads(body).get("event", {})} == CATALOGUE.keys()


def test_the_python_program_type_checks_and_what_the_types_forbid_does_not(python_client: Path) -> None:
    program = written(python_client, "checked.py", PYTHON, FORBIDDEN_IN_PYTHON)
    parts = [program, "generated_client/models", "generated_client/api"]
    run(python_client, sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", *parts)


def test_the_python_program_does_what_it_says(python_client: Path, caller: Caller) -> None:
    program = written(python_client, "program.py", PYTHON)
    assert_it_printed_the_results(run(python_client, sys.executable, program, **environment(caller)))


def test_the_python_client_sends_every_example(python_client: Path, caller: Caller, ana: Ana) -> None:
    head, _, _ = PYTHON.partition("\nattributes = ")
    program = written(python_client, "examples.py", head, EXAMPLES_IN_PYTHON)
    media = DOCUMENT["paths"]["/event/"]["post"]["requestBody"]["content"]["application/json"]
    examples = [example["value"] for example in media["examples"].values()]
    assert all(example["user"] == ana for example in examples)
    run(python_client, sys.executable, program, given=json.dumps(examples), **environment(caller))
    assert len(caller.send("GET", f"/user/{ana['email']}/events").body["events"]) == len(examples)


def test_the_typescript_program_type_checks_and_does_what_it_says(caller: Caller, tmp_path: Path) -> None:
    needs_npm_package("openapi-typescript")
    for name in ("docs", "node_modules"):
        (tmp_path / name).symlink_to(ROOT / name)
    written(tmp_path, "package.json", '{"type": "module"}')
    said = run(tmp_path, "bash", "-euc", GENERATE_TYPESCRIPT)
    assert "warn" not in said.lower(), said
    written(tmp_path, "program.mts", TYPESCRIPT)
    shutil.copy(ROOT / "tests" / "material" / "forbidden.ts", tmp_path)
    compiled, started = re.findall(r"`(npx tsc\s[^`]+|node program\.mjs)`", text("docs/clients.md"))
    compiled = compiled.replace("npx ", "node_modules/.bin/") + " --noUncheckedIndexedAccess forbidden.ts"
    compile_and_run = f"{compiled}\n{started}"
    assert_it_printed_the_results(run(tmp_path, "bash", "-euc", compile_and_run, **environment(caller)))


def requests(item: dict[str, Any]) -> list[dict[str, Any]]:
    return [item] if "request" in item else [each for child in item["item"] for each in requests(child)]


def test_the_collection_runs_from_top_to_bottom_and_may_be_repeated(caller: Caller, tmp_path: Path) -> None:
    needs_npm_package("newman")
    for number in "12":
        report = tmp_path / number
        command = f"{NEWMAN.strip()} --reporters cli,json --reporter-json-export {report}"
        shell(command, caller.api_url, ROOT, **environment(caller))
        executed = json.loads(report.read_text())["run"]
        names = [each["name"] for each in requests(postman.document())]
        assert [execution["item"]["name"] for execution in executed["executions"]] == names
        assert executed["failures"] == []
        assert all(execution["assertions"] for execution in executed["executions"])
