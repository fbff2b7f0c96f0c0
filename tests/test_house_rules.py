"""The conventions of this repository, executed: imports, table keys, permissions, variables, paths."""

import ast
import contextlib
import re
from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from api.gateway import FUNCTIONS, call, event_file, function_of, invoke, post_event, timeline, user
from builders import ANA, a_moment, a_user, an_entry
from clone import IS_CLONE, tracked
from documents import RESOURCES, text
from domain.ids import new_id
from faults import hooked
from handlers.runtime import client
from local.stack import ROOT
from stream import Bus
from table import Account
from table.calls import Table
from use_cases import users
from use_cases.erasure import IN_FLIGHT

SRC = ROOT / "src"
MODULES = sorted(SRC.rglob("*.py"))
TABLE = SRC / "table"


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} imports relatively"
            found.add(str(node.module))
    return found


def texts(path: Path) -> set[str]:
    """Every string of a file's code, docstrings apart."""
    nodes = list(ast.walk(tree(path)))
    bare = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    constants = [node for node in nodes if isinstance(node, ast.Constant) and id(node) not in bare]
    return {node.value for node in constants if isinstance(node.value, str)}


def packages(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imports(path)}


# --- Imports --------------------------------------------------------------------------------------


LAYERS = ["domain", "table", "use_cases", "handlers"]
"""From the lowest to the highest. A module imports only from its own layer and those below."""


def test_imports_go_down_the_layers_and_only_handlers_know_lambda_and_one_module_each_service() -> None:
    entries = {handler.rsplit(".", 1)[0] for handler in FUNCTIONS.values()}
    for path in MODULES:
        layer, known = path.relative_to(SRC).parts[0], packages(path)
        assert not known & {*LAYERS[LAYERS.index(layer) + 1 :], "local", "tests", "tools"}, path
        assert layer == "handlers" or not known & {"aws_lambda_powertools", "awslambdaric"}, path
        assert bool(known & {"boto3", "botocore"}) == (path in {TABLE / "calls.py", SRC / "handlers" / "bus.py"}), path
        assert not imports(path) & entries, f"{path} imports another function's handler"
    for folder, other in (("tools", "local"), ("local", "tools")):
        assert [path for path in (ROOT / folder).rglob("*.py") if other in packages(path)] == []


# --- Table keys -----------------------------------------------------------------------------------


def test_only_the_modules_of_the_table_know_a_key_and_one_makes_each() -> None:
    """Words of the keys, and names of attributes that hold them, appear in the code of no other module."""
    doc = str(ast.get_docstring(tree(TABLE / "primary_keys.py")))
    rows = re.findall(r"^ {4}\w[\w ]+?  +(\S+(?: id>| \S+>)?\S*)  +(\S+)", doc, re.MULTILINE)[1:]
    keys = {word for row in rows for cell in row for word in re.findall(r"[A-Z]{3,}", cell)} - {"SHA", "UUID"}
    assert keys >= {"USER", "PROFILE", "EMAILOPEN", "ORDER", "IDEMPOTENCY", "ERASED"}
    variables = variables_of_code()
    for path in set(MODULES) - set(TABLE.glob("*.py")):
        for string in texts(path) - variables:
            assert not set(re.split(r"[^A-Za-z]+", string)) & keys, f"{path.name}: {string!r}"
        assert not texts(path) & {"pk", "sk", "expiresAt", ":pk"}, path.name
    for path in set(TABLE.glob("*.py")) - {TABLE / "primary_keys.py"}:
        assert not [each for each in texts(path) if re.search(r"[A-Z]{3,}#|#[A-Z]{3,}", each)], path.name


# --- Permissions ----------------------------------------------------------------------------------

ACTION_OF = {"Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem", "ConditionCheck": "ConditionCheckItem"}


def statements(function: str) -> list[dict[str, Any]]:
    return [each for policy in RESOURCES[function]["Properties"]["Policies"] for each in policy["Statement"]]


def allowed(function: str) -> set[str]:
    actions = [statement["Action"] for statement in statements(function) if statement["Effect"] == "Allow"]
    return {each for action in actions for each in ([action] if isinstance(action, str) else action)}


# Actions of Lambda with the role of the feed's function: it reads the stream, and reports what it gave up.
OF_THE_EVENT_SOURCE_MAPPING = {
    *(f"dynamodb:{action}" for action in ("DescribeStream", "GetRecords", "GetShardIterator", "ListStreams")),
    "sqs:SendMessage",
}


def test_each_function_may_do_exactly_what_it_does_in_a_day_of_its_life(functions_table: Table) -> None:
    owner = Account(functions_table, "demo")
    used: dict[str, set[str]] = {function: set() for function in FUNCTIONS}

    def calls_of(function: str) -> contextlib.AbstractContextManager[None]:
        """Record the IAM actions that the calls inside of the block need; a transaction needs those of its items."""

        def record(params: dict[str, Any], event_name: str, **_: Any) -> None:
            operations = {event_name.rpartition(".")[2]}
            if operations == {"TransactWriteItems"}:
                operations = {ACTION_OF[kind] for item in params["TransactItems"] for kind in item}
            used[function] |= {f"dynamodb:{operation}" for operation in operations}

        return hooked(client, "before-parameter-build.dynamodb", record)

    with calls_of("KeyFunction"):
        key = invoke("KeyFunction", event_file("key-create"))
        account = {"account": "demo", "keyId": key["keyId"]}
        invoke("KeyFunction", event_file("key-list"))
        invoke("KeyFunction", {"action": "expire", "expiresOn": "2099-01-31T00:00:00Z", **account})
        invoke("KeyFunction", {"action": "revoke", **account})
    with calls_of("AuthorizerFunction"):
        invoke("AuthorizerFunction", event_file("authorizer"))
    a_user(owner)
    for event in (event_file(path.stem) for path in sorted((ROOT / "events").glob("*.json"))):
        if event.get("httpMethod") and event["httpMethod"] != "DELETE":
            with calls_of(function_of(event)):
                invoke(function_of(event), event)
    with calls_of("EventFunction"):
        anonymous = a_user(owner, None).id
        for number, email in product(range(2), ("new@example.com", ANA)):
            post_event({"login": {"email": email}}, {"_id": anonymous}, headers={"Idempotency-Key": f"{number}"})
        post_event({"update": {f"a{n}": n for n in range(500)}})
        late = [an_entry({"emailopen": {}}, eventTime=a_moment() - timedelta(hours=hours)) for hours in (1, 2)]
        call("POST", "/events", {"events": late})
        call("POST", "/events/check", {"events": late})
    with calls_of("UserFunction"):
        user("PUT", ANA, {f"b{n}": n for n in range(500)})
        call("POST", "/user", {})
        upsert = {"queryStringParameters": {"upsert": "true"}}
        for sent in ({"email": ANA}, {}) * 2:
            user("PUT", new_id(a_moment()), sent, **upsert)
        timeline(ANA, {"limit": "1"})
        user("DELETE", ANA)
    bob = a_user(owner, "erased@example.com")
    post_event({"search": {"query": "x"}}, {"_id": bob.id}, headers={"Idempotency-Key": "of erased"})
    post_event({"search": {"query": "x"}}, {"_id": bob.id})
    call("POST", "/events", {"events": [an_entry({"confirmation": {"orderId": 1}}, eventId="o-1", _id=bob.id)]})
    users.erase(bob.id, owner, a_moment() - 2 * IN_FLIGHT)
    with calls_of("ErasureFunction"):
        invoke("ErasureFunction", event_file("erasure"))
    with calls_of("FeedFunction"), Bus.running() as bus:
        invoke("FeedFunction", event_file("feed"))
        used["FeedFunction"] |= {"events:PutEvents" for _ in bus.calls} | OF_THE_EVENT_SOURCE_MAPPING
    assert used == {function: allowed(function) for function in FUNCTIONS}, "none is a wildcard"
    assert not [each for function in FUNCTIONS for each in statements(function) if each["Resource"] == "*"]


# --- Variables ------------------------------------------------------------------------------------


def variables_of_code() -> set[str]:
    code = "".join(path.read_text() for path in MODULES)
    return set(re.findall(r"""environ(?:\.get\(|\[)\s*["'](\w+)["']""", code))


def test_each_variable_of_the_code_is_set_by_the_template_or_by_lambda() -> None:
    by_lambda = {"_X_AMZN_TRACE_ID", "AWS_XRAY_DAEMON_ADDRESS", "AWS_REGION"}
    assert "TABLE_NAME" in variables_of_code()
    assert variables_of_code() - by_lambda <= set(re.findall(r"^ +(\w+): ", text("template.yaml"), re.MULTILINE))


# --- What is committed ----------------------------------------------------------------------------


@pytest.mark.skipif(not IS_CLONE, reason="this is no clone")
def test_no_tracked_file_contains_a_path_of_a_machine() -> None:
    machine = re.compile(r"(?<![\w.$}-])(?:/" + r"root|/" + r"work|/" + r"home/(?!runner)\w+|/" + r"Users/\w+)/")
    for name in tracked():
        with contextlib.suppress(UnicodeDecodeError):
            found = machine.search((ROOT / name).read_text())
            assert not found, f"{name}: {found and found.group()}"
