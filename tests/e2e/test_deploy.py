"""Deploy each configuration that docs/deploy.md, samconfig.toml and docs/runbook.md name, over and next to each other.

test_runbook.py runs the runbook's commands on a stack.
"""

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api.gateway import event_file
from clone import git, repository
from documents import TEMPLATE, blocks, text
from e2e.conftest import Ana, Caller, resources, shell
from local import aws, gateway, stack
from local.dynamodb import create_table
from local.feed import listening

pytestmark = pytest.mark.http

RUNBOOK = "docs/runbook.md"

Parameters = dict[str, str]
SAMCONFIG = tomllib.loads(text("samconfig.toml"))
PARAMETERS: dict[str, Any] = TEMPLATE["Parameters"]
DEFAULTS = {name: str(parameter["Default"]) for name, parameter in PARAMETERS.items()}
ARN = "arn:aws:{}:eu-west-1:123456789012:{}/12345678-1234-1234-1234-123456789012"
EXAMPLES = {
    "AlarmEmail": "oncall@example.com", "AuthorizerCacheSeconds": "0", "EventRetentionDays": "400", "Feed": "on",
    "DomainName": "events.example.com", "CertificateArn": ARN.format("acm", "certificate"), "LogRetentionDays": "1",
    "MaxReadUnits": "10000", "MaxWriteUnits": "5000", "Release": "Linear10PercentEvery1Minute", "SilenceMinutes": "0",
    "SnapStart": "on", "ThrottleBurst": "50", "ThrottleRate": "100", "Traffic": "AtOnce",
    "WebAclArn": ARN.format("wafv2", "regional/webacl/shop"),
}  # fmt: skip
# These need a table, or a DynamoDB, of another name: tested below, and what `sam local` is for.
ELSEWHERE = {"RestoredTable", "RestoredStream", "DynamoDBEndpoint"}


def of_samconfig(environment: str) -> Parameters:
    overrides = SAMCONFIG[environment]["deploy"]["parameters"].get("parameter_overrides", [])
    return dict(override.split("=") for override in overrides)


def of_document(document: str) -> list[Parameters]:
    """Return the examples and what the document sets, in as few sets as give each parameter one value."""
    sets = [dict(EXAMPLES)]
    for name, value in re.findall(r"\b([A-Z]\w+)=(\w[\w.-]*)", text(document)):
        if name in PARAMETERS.keys() - ELSEWHERE:
            fitting = next((each for each in sets if each.get(name, value) == value), None)
            if fitting is None:
                sets.append(fitting := {})
            fitting[name] = value
    return sets


SETS = {
    "dev": of_samconfig("dev"),
    **{f"runbook-{number}": each for number, each in enumerate(of_document(RUNBOOK))},
    "default": of_samconfig("default"),
}


@pytest.fixture(scope="module")
def deployed() -> Iterator[stack.Stack]:
    """A stack of this module's own, because its tests change it. Its gateway asks the authorizer each time."""
    with stack.running(parameters={"AuthorizerCacheSeconds": "0"}) as it:
        yield it


def the_block(document: str, words: str) -> str:
    [found] = [block for block in blocks(document) if words in block]
    return found


def table(endpoint: str, name: str) -> tuple[Any, ...]:
    dynamodb: Any = aws.client("dynamodb", endpoint)
    described = dynamodb.describe_table(TableName=name)["Table"]
    return described["TableId"], described["CreationDateTime"], dynamodb.scan(TableName=name)["Items"]


def test_every_parameter_is_deployed_with_another_value() -> None:
    """Those of production in a separate stack, below."""
    settings = {setting for each in (*SETS.values(), of_samconfig("prod")) for setting in each.items()}
    assert {name for name, _ in settings - DEFAULTS.items()} == PARAMETERS.keys() - ELSEWHERE
    assert {"Tracing": "Active", "DebugSampleRate": "0.01"}.items() <= SETS["runbook-0"].items()
    assert {each.get("AccessLog") for each in SETS.values()} >= {"on", "with-source-ip"}


@pytest.mark.parametrize("parameters", SETS.values(), ids=SETS)
def test_a_deployment_over_another_keeps_the_table_and_the_api_answers(
    parameters: Parameters, deployed: stack.Stack, caller: Caller, ana: Ana
) -> None:
    name = stack.outputs(deployed.endpoint)["TableName"]
    before = table(deployed.endpoint, name)
    told = DEFAULTS | parameters
    stack.deploy(deployed.endpoint, told)
    assert gateway.parameters(deployed.endpoint, stack.STACK_NAME) == told
    assert stack.outputs(deployed.endpoint)["TableName"] == name
    assert table(deployed.endpoint, name) == before
    watched = {"AWS::CloudWatch::Alarm", "AWS::CloudWatch::Dashboard", "AWS::SNS::Topic"}
    types = {each["ResourceType"] for each in resources(deployed.endpoint)}
    assert types & watched == (watched if told["Monitoring"] == "on" else set())
    assert caller.send("GET", f"/user/{ana['email']}").status == 200
    assert caller.event(ana, {"search": {"query": "shoes"}}).status == 200


def test_the_feed_begins_when_it_is_turned_on(deployed: stack.Stack, caller: Caller, ana: Ana) -> None:
    def search(query: str) -> None:
        assert caller.event(ana, {"search": {"query": query}}).status == 200

    def next_query(lines: Iterator[str]) -> str:
        return str(json.loads(next(lines))["detail"]["payload"]["query"])

    search("before")
    stack.deploy(deployed.endpoint, {"Feed": "on"})
    with listening(deployed.endpoint) as lines:
        search("first")
        assert next_query(lines) == "first"
        dynamodb: Any = aws.client("dynamodb", deployed.endpoint)
        create_table(dynamodb, "restored")
        specification = {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"}
        changed = dynamodb.update_table(TableName="restored", StreamSpecification=specification)
        stream = changed["TableDescription"]["LatestStreamArn"]
        stack.deploy(deployed.endpoint, {"Feed": "on", "RestoredStream": stream})
        [record] = event_file("feed")["Records"]
        dynamodb.put_item(TableName="restored", Item=record["dynamodb"]["NewImage"])
        assert next_query(lines) == "red shoes"


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return repository(tmp_path_factory.mktemp("deploy") / "clone")


@pytest.mark.usefixtures("python_of_lambda")
def test_the_commands_of_the_page_deploy_production_and_make_a_key(deployed: stack.Stack, clone: Path) -> None:
    name = SAMCONFIG["prod"]["global"]["parameters"]["stack_name"]
    assert "`make deploy CONFIG=prod`" in text("docs/deploy.md")
    command = the_block("docs/deploy.md", "make deploy").replace("make deploy", "make deploy CONFIG=prod CONFIRM=no")
    shell(command, deployed.endpoint, clone)
    assert gateway.parameters(deployed.endpoint, name) == DEFAULTS | of_samconfig("prod")
    outputs = stack.outputs(deployed.endpoint, name)
    assert outputs["Revision"].startswith(git(clone, "rev-parse", "HEAD"))
    make_a_key = the_block("docs/deploy.md", "sam remote invoke KeyFunction").replace("event-api", name)
    key = json.loads(shell(make_a_key, deployed.endpoint, clone))["apiKey"]
    caller = Caller(stack.api_url(deployed.endpoint, outputs["ApiId"]), key)
    assert caller.send("POST", "/user/", {"email": "ana@example.com"}).status == 200
    assert caller.event({"email": "ana@example.com"}, {"search": {"query": "shoes"}}).status == 200


@pytest.mark.usefixtures("python_of_lambda")
def test_the_pages_commands_of_the_aws_cli_work(deployed: stack.Stack, clone: Path) -> None:
    words = ("request-certificate", "create-budget", "create-open-id-connect-provider", "update-termination-protection")
    commands = "".join(the_block("docs/deploy.md", each) for each in words).replace("event-api-dev", stack.STACK_NAME)
    kept = commands.replace("aws cloudformation delete-stack", ": aws cloudformation delete-stack")
    assert kept != commands, "it would take the other tests' stack"
    shell(f'export PATH="$PWD/.venv/bin:$PATH"\n{kept}', deployed.endpoint, clone)


def test_a_revoked_or_expired_key_is_401_and_over_the_rate_limit_is_429(deployed: stack.Stack) -> None:
    functions: Any = aws.client("lambda", deployed.endpoint)
    function = stack.outputs(deployed.endpoint)["KeyFunctionName"]

    def manage(**request: str) -> dict[str, Any]:
        """Invoke KeyFunction as operators do with `sam remote invoke`."""
        payload = json.dumps({"account": "keys", **request})
        return dict(json.load(functions.invoke(FunctionName=function, Payload=payload)["Payload"]))

    revoked, expired, kept = (manage(action="create") for _ in range(3))
    callers = [Caller(deployed.api_url, key["apiKey"]) for key in (revoked, expired, kept)]
    assert [caller.send("POST", "/user/", {}).status for caller in callers] == [200, 200, 200]
    manage(action="revoke", keyId=revoked["keyId"])
    manage(action="expire", keyId=expired["keyId"], expiresOn="2020-01-01T00:00:00Z")
    assert [caller.send("POST", "/user/", {}).status for caller in callers] == [401, 401, 200]
    listed = manage(action="list")["keys"]
    assert [set(key) - {"keyId", "createdOn", "scopes"} for key in listed] == [{"revokedOn"}, {"expiresOn"}, set()]
    stack.deploy(deployed.endpoint, {"AuthorizerCacheSeconds": "0", "ThrottleRate": "1", "ThrottleBurst": "1"})
    answers = [callers[2].send("POST", "/user/", {}) for _ in range(20)]
    [refused, *_] = [answer for answer in answers if answer.status != 200]
    assert (refused.status, refused.headers["Retry-After"]) == (429, "1")
    assert refused.body["errors"][0]["message"] == "Too many requests"
