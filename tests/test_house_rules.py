"""The conventions of this repository, executed: imports, table keys, permissions, variables, paths."""

import ast
import contextlib
import re
from collections.abc import Iterator
from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from api.gateway import FUNCTIONS, RESOURCES, call, event_file, function_of, invoke, post_event, timeline, user
from builders import ANA, a_moment, a_user, an_entry
from clone import IS_CLONE, tracked
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
DOMAIN = [path for path in MODULES if SRC / "domain" in path.parents]
every_module = pytest.mark.parametrize("path", MODULES, ids=lambda path: f"{path.parent.name}.{path.stem}")


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def imports(path: Path) -> set[str]:
    """Return every module that a file imports, at any place."""
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
    return {
        node.value
        for node in nodes
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in bare
    }


def packages(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imports(path)}


# --- Imports --------------------------------------------------------------------------------------


LAYERS = ["domain", "table", "use_cases", "handlers"]
"""From the lowest to the highest. A module imports only from its own layer and those below."""


@every_module
def test_imports_between_layers_only_go_down(path: Path) -> None:
    above = LAYERS[LAYERS.index(path.relative_to(SRC).parts[0]) + 1 :]
    assert not packages(path) & {*above, "local", "tests", "tools"}


@pytest.mark.parametrize("path", DOMAIN, ids=lambda path: path.stem)
def test_the_domain_is_pure(path: Path) -> None:
    assert not packages(path) & {"aws_lambda_powertools", "awslambdaric", "boto3", "botocore"}


@every_module
def test_only_handlers_know_lambda_and_the_gateway(path: Path) -> None:
    knows = bool(packages(path) & {"aws_lambda_powertools", "awslambdaric"})
    assert not knows or path.parent.name == "handlers"


@every_module
def test_one_module_talks_to_each_service_of_aws(path: Path) -> None:
    talks = bool(packages(path) & {"boto3", "botocore"})
    assert talks == (path in {TABLE / "calls.py", SRC / "handlers" / "bus.py"})


@every_module
def test_a_handler_does_not_import_another_functions(path: Path) -> None:
    entries = {handler.rsplit(".", 1)[0] for handler in FUNCTIONS.values()}
    assert not imports(path) & entries


def test_the_tools_of_operators_and_what_runs_here_do_not_import_each_other() -> None:
    for folder, other in (("tools", "local"), ("local", "tools")):
        assert [path for path in (ROOT / folder).rglob("*.py") if other in packages(path)] == []


# --- Table keys -----------------------------------------------------------------------------------


def test_only_the_modules_of_the_table_know_a_key() -> None:
    """Words of the keys, and names of attributes that hold them, appear in the code of no other module."""
    doc = str(ast.get_docstring(tree(TABLE / "primary_keys.py")))
    rows = re.findall(r"^ {4}\w[\w ]+?  +(\S+(?: id>| \S+>)?\S*)  +(\S+)", doc, re.MULTILINE)[1:]
    keys = {word for row in rows for cell in row for word in re.findall(r"[A-Z]{3,}", cell)} - {"SHA", "UUID"}
    assert keys >= {"USER", "PROFILE", "EMAILOPEN", "ORDER", "IDEMPOTENCY", "ERASED"}
    for path in set(MODULES) - set(TABLE.glob("*.py")):
        for text in texts(path) - variables_of_code():
            assert not set(re.split(r"[^A-Za-z]+", text)) & keys, f"{path.name}: {text!r}"
        assert not texts(path) & {"pk", "sk", "expiresAt", ":pk"}, path.name


def test_each_key_is_made_in_one_module() -> None:
    for path in set(TABLE.glob("*.py")) - {TABLE / "primary_keys.py"}:
        assert not [text for text in texts(path) if re.search(r"[A-Z]{3,}#|#[A-Z]{3,}", text)], path.name


# --- Permissions ----------------------------------------------------------------------------------

ACTION_OF = {"Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem", "ConditionCheck": "ConditionCheckItem"}


def allowed(function: str) -> set[str]:
    statements = [
        statement
        for policy in RESOURCES[function]["Properties"]["Policies"]
        for statement in policy["Statement"]
        if statement["Effect"] == "Allow"
    ]
    actions = [statement["Action"] for statement in statements]
    return {each for action in actions for each in ([action] if isinstance(action, str) else action)}


@contextlib.contextmanager
def calls_recorded(of: str, used: dict[str, set[str]]) -> Iterator[None]:
    """The IAM actions that the calls inside of the block need; a transaction needs those of its items."""

    def record(params: dict[str, Any], event_name: str, **_: Any) -> None:
        operation = event_name.rpartition(".")[2]
        if operation == "TransactWriteItems":
            used[of] |= {f"dynamodb:{ACTION_OF[kind]}" for item in params["TransactItems"] for kind in item}
        else:
            used[of].add(f"dynamodb:{operation}")

    with hooked(client, "before-parameter-build.dynamodb", record):
        yield


# Actions of Lambda with the role of the feed's function: it reads the stream, and reports what it gave up.
OF_THE_EVENT_SOURCE_MAPPING = {
    *(f"dynamodb:{action}" for action in ("DescribeStream", "GetRecords", "GetShardIterator", "ListStreams")),
    "sqs:SendMessage",
}


@pytest.fixture
def used(functions_table: Table) -> dict[str, set[str]]:
    """The IAM actions that each function needs, found by a day in its life."""
    owner = Account(functions_table, "demo")
    used: dict[str, set[str]] = {function: set() for function in FUNCTIONS}
    with calls_recorded("KeyFunction", used):
        key = invoke("KeyFunction", event_file("key-create"))
        account = {"account": "demo", "keyId": key["keyId"]}
        invoke("KeyFunction", event_file("key-list"))
        invoke("KeyFunction", {"action": "expire", "expiresOn": "2099-01-31T00:00:00Z", **account})
        invoke("KeyFunction", {"action": "revoke", **account})
    with calls_recorded("AuthorizerFunction", used):
        invoke("AuthorizerFunction", event_file("authorizer"))
    a_user(owner)
    for path in sorted((ROOT / "events").glob("*.json")):
        event = event_file(path.stem)
        if event.get("httpMethod") and event["httpMethod"] != "DELETE":
            with calls_recorded(function_of(event), used):
                invoke(function_of(event), event)
    with calls_recorded("EventFunction", used):
        anonymous = a_user(owner, None).id
        for number, email in product(range(2), ("new@example.com", ANA)):
            post_event({"login": {"email": email}}, {"_id": anonymous}, headers={"Idempotency-Key": f"{number}"})
        post_event({"update": {f"a{n}": n for n in range(500)}})
        late = [an_entry({"emailopen": {}}, eventTime=a_moment() - timedelta(hours=hours)) for hours in (1, 2)]
        call("POST", "/events", {"events": late})
        call("POST", "/events/check", {"events": late})
    with calls_recorded("UserFunction", used):
        user("PUT", ANA, {f"b{n}": n for n in range(500)})
        call("POST", "/user", {})
        for _ in range(2):
            upsert = {"queryStringParameters": {"upsert": "true"}}
            user("PUT", new_id(a_moment()), {"email": ANA}, **upsert)
            user("PUT", new_id(a_moment()), {}, **upsert)
        timeline(ANA, {"limit": "1"})
        user("DELETE", ANA)
    bob = a_user(owner, "erased@example.com")
    post_event({"search": {"query": "x"}}, {"_id": bob.id}, headers={"Idempotency-Key": "of erased"})
    post_event({"search": {"query": "x"}}, {"_id": bob.id})
    call("POST", "/events", {"events": [an_entry({"confirmation": {"orderId": 1}}, eventId="o-1", _id=bob.id)]})
    users.erase(bob.id, owner, a_moment() - 2 * IN_FLIGHT)
    with calls_recorded("ErasureFunction", used):
        invoke("ErasureFunction", event_file("erasure"))
    with calls_recorded("FeedFunction", used), Bus.running() as bus:
        invoke("FeedFunction", event_file("feed"))
        used["FeedFunction"] |= {"events:PutEvents" for _ in bus.calls} | OF_THE_EVENT_SOURCE_MAPPING
    return used


def test_each_function_may_do_exactly_what_it_does(used: dict[str, set[str]]) -> None:
    assert used == {function: allowed(function) for function in FUNCTIONS}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_no_permission_is_a_wildcard(function: str) -> None:
    assert not [action for action in allowed(function) if "*" in action]
    for policy in RESOURCES[function]["Properties"]["Policies"]:
        for statement in policy["Statement"]:
            assert statement["Resource"] != "*"


# --- Variables ------------------------------------------------------------------------------------


def variables_of_code() -> set[str]:
    found: set[str] = set()
    for path in MODULES:
        found |= set(re.findall(r"""environ(?:\.get\(|\[)\s*["'](\w+)["']""", path.read_text()))
    return found


def test_each_variable_of_the_code_is_set_by_the_template_or_by_lambda() -> None:
    template = (ROOT / "template.yaml").read_text()
    by_lambda = {"_X_AMZN_TRACE_ID", "AWS_XRAY_DAEMON_ADDRESS", "AWS_REGION"}
    assert "TABLE_NAME" in variables_of_code()
    for name in variables_of_code() - by_lambda:
        assert re.search(rf"^ +{name}: ", template, re.MULTILINE), name


# --- What is committed ----------------------------------------------------------------------------


@pytest.mark.skipif(not IS_CLONE, reason="this is no clone")
def test_no_tracked_file_contains_a_path_of_a_machine() -> None:
    machine = re.compile(r"(?<![\w.$}-])(?:/" + r"root|/" + r"work|/" + r"home/(?!runner)\w+|/" + r"Users/\w+)/")
    for name in tracked():
        with contextlib.suppress(UnicodeDecodeError):
            found = machine.search((ROOT / name).read_text())
            assert not found, f"{name}: {found and found.group()}"
