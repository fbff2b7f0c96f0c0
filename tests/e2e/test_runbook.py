"""docs/runbook.md, pasted from its beginning to its end into a shell: of Linux, and of a Mac."""

import contextlib
import json
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from botocore import xform_name

import aws_cli
from clone import commit, git, repository
from documents import blocks, text
from e2e.conftest import Caller, resources
from engines import skip_lane
from local import aws, dynamodb, gateway, stack

RUNBOOK = "docs/runbook.md"
BLOCKS = blocks(RUNBOOK)
SHELLS = {"bash": ["bash", "--norc", "--noprofile"], "zsh": ["zsh", "--no-rcs"]}

# The emulator has no CodeDeploy, and no cache of an authorizer's answers; test_feed.py has the feed's replay.
NOT_RUN = ["list-deployment-groups", "flush-stage-authorizers-cache", "continue-update-rollback"]
NOT_RUN += ["tools.replay_feed", "list-event-source-mappings"]
PASTED: set[str] = set()
HANGS_SECONDS = 120  # longer than any block takes, for the one that never ends

# The values that a reader sets before pasting a block.
PUT_IN = {
    "the-keyId-of-the-list": "$KEY_ID_OF_SHOP",
    "ACCOUNT=shop PERSON": "ACCOUNT=demo PERSON",
    "TO=the-commit": "TO=HEAD~1",
    "--restore-date-time 2026-11-24T09:30:00Z": '--restore-date-time "$(date +%s)"',
    "the-table-of-the-deleted-stack": '"$TABLE"',
}


@dataclass
class Terminal:
    """A shell that stays, so what one block sets is there for the next. It ends at the first command that fails."""

    process: "subprocess.Popen[str]"
    stack: stack.Stack
    caller: Caller
    """Of the account demo, where ana@example.com is."""

    def paste(self, words: str, changed: str = "{}") -> str:
        [block] = [block for block in BLOCKS if words in block]
        PASTED.add(block)
        for placeholder, value in PUT_IN.items():
            block = block.replace(placeholder, value)
        return self.type(changed.replace("{}", block))

    def type(self, commands: str) -> str:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(f"{{\n{commands}\n}} </dev/null\nprintf '\\n--- done\\n'\n")
        self.process.stdin.flush()
        watchdog = threading.Timer(HANGS_SECONDS, self.process.kill)
        watchdog.start()
        printed = ""
        for line in self.process.stdout:
            if line == "--- done\n":
                watchdog.cancel()
                print("$", commands.strip(), *printed.splitlines()[-4:], sep="\n")  # for `make restore-drill`
                return printed.removesuffix("\n")
            printed += line
        pytest.fail(f"{commands}\n{printed}")

    def outputs(self) -> dict[str, str]:
        return stack.outputs(self.stack.endpoint)


@pytest.fixture(scope="module")
def its_stack() -> Iterator[stack.Stack]:
    with stack.running() as it:
        yield it


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return repository(tmp_path_factory.mktemp("runbook") / "clone")


@contextlib.contextmanager
def opened(shell: str, its_stack: stack.Stack, clone: Path) -> Iterator[Terminal]:
    """In it, the runbook's first lines have been pasted."""
    if shutil.which(shell) is None:
        skip_lane(f"the runbook's commands need {shell}")
    caller = Caller(its_stack.api_url, its_stack.create_key("demo"))
    env = aws.environment(its_stack.endpoint) | {"SAM_CLI_TELEMETRY": "0", "SAM_CLI_POLL_DELAY": "0.5"}
    command, pipe = [*SHELLS[shell], "-euo", "pipefail"], subprocess.PIPE
    with subprocess.Popen(
        command, cwd=clone, env=env, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, text=True
    ) as process:
        terminal = Terminal(process, its_stack, caller)
        terminal.paste("export STACK=")
        terminal.type(f"export API_URL={its_stack.api_url}")  # of the emulator, instead of what AWS would say
        yield terminal
        assert process.stdin
        process.stdin.close()


@pytest.fixture(scope="module")
def terminal(its_stack: stack.Stack, clone: Path) -> Iterator[Terminal]:
    with opened("bash", its_stack, clone) as terminal:
        terminal.caller.send("PUT", "/user/ana@example.com?upsert=true", {"city": "Vigo"})
        yield terminal


@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_reads_each_block_and_its_first_lines_work(shell: str, its_stack: stack.Stack, clone: Path) -> None:
    with opened(shell, its_stack, clone) as terminal:
        subprocess.run([*SHELLS[shell], "-n"], input="\n".join(BLOCKS), text=True, check=True)
        outputs = stack.outputs(its_stack.endpoint)
        assert terminal.type("echo $LOGS $TABLE").split() == [outputs["LogGroupName"], outputs["TableName"]]
        status, _, revision = terminal.type("release").strip().split("\t")
        assert (status.endswith("_COMPLETE"), revision) == (True, "none")
        assert f"{stack.STACK_NAME}-SilenceAlarm" in terminal.type("alarm SilenceAlarm")
        assert terminal.paste("'NotFound'").startswith("Complete")
        assert terminal.type("LOGS=nonsense\ninsights 1 'fields @message' || echo it failed").endswith("it failed\n")


def test_a_block_holds_no_comment_because_the_macs_shell_would_run_it() -> None:
    pages = (RUNBOOK, "README.md", "docs/quickstart.md", "docs/deploy.md")
    assert [block for page in pages for block in blocks(page) if re.search(r"(^|\s)#", block)] == []


QUERIES = [
    *("ID=0", "count(*) by status, account, route", "events_of_batches by account, route, cause", "INIT_REPORT"),
    *("bin(5m)", "throttles > 0", "as answers by reason", "limit 20 | fields @timestamp, records"),
    *("by failed, error", "['allowed'"),
]


def test_an_alarms_commands_answer_and_name_the_alarms_of_their_stack_only(terminal: Terminal, clone: Path) -> None:
    noted, logs = clone / ".venv" / "queries", aws.client("logs", terminal.stack.endpoint)
    for words in QUERIES:  # without the three processes of each `insights`, which the test of the first lines runs
        terminal.paste(words, f"(insights() {{ printf '%s\\0' \"$2\" >>{noted}; }}\n{{}})")
    *queries, _ = noted.read_text().split("\0")
    assert len(queries) >= len(QUERIES)
    for query in queries:
        group = terminal.outputs()["LogGroupName"]
        number = logs.start_query(logGroupName=group, startTime=0, endTime=1, queryString=query)["queryId"]
        while (status := logs.get_query_results(queryId=number)["status"]) in ("Scheduled", "Running"):
            time.sleep(0.1)
        assert status == "Complete", query
    assert "HTTP/1.1 401" in terminal.paste('"$API_URL/user/x"')
    assert "ENABLED" in terminal.paste("describe-rule")
    assert '"unfinished": ' in terminal.paste("release\ninvoke ErasureFunction")
    cloudwatch: Any = aws.client("cloudwatch", terminal.stack.endpoint)
    other = f"{stack.STACK_NAME}-prod-SilenceAlarm-1"
    cloudwatch.put_metric_alarm(
        AlarmName=other, Namespace="N", MetricName="M", Statistic="Sum", Period=60, EvaluationPeriods=1, Threshold=1,
        ComparisonOperator="GreaterThanThreshold",
    )  # fmt: skip
    listed = terminal.type("alarm")
    assert (f"{stack.STACK_NAME}-EventsFailedAlarm" in listed, other in listed) == (True, False)
    assert len(terminal.type("alarm SilenceAlarm").splitlines()) == 1


def first_block_after(words: str) -> str:
    found = text(RUNBOOK).partition(words)[2].partition("```sh\n")[2].partition("```")[0]
    [block] = [block for block in BLOCKS if block.strip() == found.strip()]
    PASTED.add(block)
    return block


def test_the_gateway_gets_a_role_to_log_with(terminal: Terminal) -> None:
    terminal.paste("create-role")
    command = "aws apigateway get-account --query cloudwatchRoleArn --output text"
    assert f"`{command}`" in text(RUNBOOK)
    assert terminal.type(command).endswith(":role/api-gateway-logs\n")


def test_a_key_is_created_listed_expired_and_revoked_and_a_person_erased_without_one(terminal: Terminal) -> None:
    made = terminal.paste('\\"create\\"')
    key_id = re.findall(r'"keyId": "(.*?)"', made)[-1]
    assert made.count(f'"keyId": "{key_id}"') == 2
    terminal.type(f"KEY_ID_OF_SHOP={key_id}")
    changed = terminal.paste('\\"revoke\\"')
    assert "2030-01-31T00:00:00" in changed
    assert "revokedOn" in changed
    printed = terminal.paste("PERSON=")
    assert '"statusCode": 200' in printed
    assert '"unfinished": ' in printed
    assert terminal.caller.send("GET", "/user/ana@example.com").status == 404


# --- Deployments ----------------------------------------------------------------------------------


def versions(endpoint: str) -> set[str]:
    return {each["LogicalResourceId"] for each in resources(endpoint) if each["ResourceType"] == "AWS::Lambda::Version"}


@pytest.fixture(scope="module")
def released(terminal: Terminal, clone: Path) -> Terminal:
    """Where `make deploy` was run: the others go on from the commit that the stack then names."""
    terminal.type("make deploy")
    assert f"{git(clone, 'rev-parse', 'HEAD')}@" in terminal.type("release")
    return terminal


def test_only_the_named_parameters_change_and_each_function_gets_a_new_version(released: Terminal) -> None:
    endpoint = released.stack.endpoint
    for words in ("LogLevel=DEBUG", "AccessLog=on"):
        before, versions_before = gateway.parameters(endpoint, stack.STACK_NAME), versions(endpoint)
        released.paste(words)
        [named] = re.findall(r'PARAMETERS="(.*?)"', "".join(block for block in BLOCKS if words in block))
        changed = dict(each.split("=") for each in named.split())
        assert gateway.parameters(endpoint, stack.STACK_NAME) == before | changed | {"Traffic": "AtOnce"}
        assert len(versions(endpoint) - versions_before) == len(versions_before)
    assert "Complete" in released.paste("status >= 400")


def test_a_rollback_deploys_a_commit_of_the_releases_that_are_listed(released: Terminal, clone: Path) -> None:
    terminal = released
    before = git(clone, "rev-parse", "HEAD")
    (clone / "CHANGELOG.md").write_text("Something went wrong.")
    bad = commit(clone, "bad")
    terminal.type("make deploy")
    assert re.findall("[0-9a-f]{40}", terminal.paste("list-versions-by-function"))[-1] == bad
    terminal.paste("make rollback")
    assert f"{before}@" in terminal.type("release")
    terminal.paste("Traffic=AtOnce")
    assert f"{bad}@" in terminal.type("release")


def manage_keys(terminal: Terminal, **event: str) -> Any:
    function = terminal.outputs()["KeyFunctionName"]
    lambda_: Any = aws.client("lambda", terminal.stack.endpoint)
    answer = lambda_.invoke(FunctionName=f"{function}:live", Payload=json.dumps({"account": "demo", **event}))
    return json.load(answer["Payload"])


@pytest.mark.usefixtures("python_of_lambda")
def test_restore_drill(released: Terminal) -> None:
    """`make restore-drill`: the restore of the runbook, with data, keys and erasures of before and after its moment."""
    terminal, caller = released, released.caller

    def status(email: str) -> int:
        return caller.send("GET", f"/user/{email}").status

    def order(number: str) -> str:
        body = {"user": {"email": "dan@example.com"}, "event": {"confirmation": {"orderId": number, "total": 10}}}
        return str(caller.send("POST", "/event/", body).headers["X-Event-Status"])

    for email in ("bob@example.com", "dan@example.com"):
        caller.send("PUT", f"/user/{email}?upsert=true", {"city": "Vigo"})
    leaked = manage_keys(terminal, action="create")
    assert order("before") == "created"
    own = terminal.outputs()["TableName"]
    terminal.paste('%H%M)" OLD="$TABLE"')
    terminal.paste("--restore-date-time")
    # The emulator restores the items of this moment. All that follows happens after the moment of the restore.
    terminal.type('RESTORED="$RESTORED-2" MOMENT="$MOMENT-2"')
    terminal.paste("--use-latest-restorable-time")
    assert caller.send("DELETE", "/user/bob@example.com").status == 200
    manage_keys(terminal, action="revoke", keyId=leaked["keyId"])
    new = manage_keys(terminal, action="create")
    assert order("after") == "created"

    assert terminal.paste("= CREATING") == "ACTIVE\n"
    terminal.paste('--table-name "$RESTORED" --time-to-live-specification')
    assert terminal.paste("--stream-specification").startswith("arn:")
    assert "Erased again: 1 users" in terminal.type(first_block_after("it stops, run it again:"))
    assert "Erased again: 0 users" in terminal.paste("RestoredTable=$MOMENT")
    restored = terminal.outputs()["TableName"]
    assert restored.startswith(f"{stack.STACK_NAME}-restored-2")
    assert terminal.type("echo $TABLE") == f"{restored}\n"
    assert [status("bob@example.com"), status("dan@example.com")] == [404, 200]
    assert Caller(caller.api_url, leaked["apiKey"]).send("GET", "/user/dan@example.com").status == 401
    assert Caller(caller.api_url, new["apiKey"]).send("GET", "/user/dan@example.com").status == 200
    assert [order("before"), order("after")] == ["discarded", "created"]
    print("Held: the user who was erased after the moment is erased, and the other one is there.")
    print("Held: the key that was revoked after the moment is refused, and the one that was created opens its account.")
    print("Held: an order from before the moment is known, and one from after it can be sent again.")

    caller.send("PUT", "/user/eva@example.com?upsert=true", {"city": "Vigo"})
    terminal.paste('PARAMETERS="RestoredTable= ')
    assert terminal.outputs()["TableName"] == own
    assert [status("bob@example.com"), status("dan@example.com"), status("eva@example.com")] == [404, 200, 404]
    print(re.findall(r"\*\*Recovery point:.*?(?=\n1\. )", text(RUNBOOK), re.DOTALL)[0])


@pytest.mark.usefixtures("python_of_lambda")
def test_a_table_that_was_replaced_is_retired_and_the_stacks_own_is_made_again(released: Terminal) -> None:
    client: Any = aws.client("dynamodb", released.stack.endpoint)
    client.create_table(TableName="retired", **dynamodb.table_properties())
    released.type("OLD=retired")
    released.paste("PointInTimeRecoveryEnabled=false")
    assert "retired" not in client.list_tables()["TableNames"]
    released.paste('create-table --table-name "$OLD"')
    names = "retired", released.outputs()["TableName"]
    made, own = (client.describe_table(TableName=name)["Table"] for name in names)
    for name in ("KeySchema", "AttributeDefinitions", "BillingModeSummary", "DeletionProtectionEnabled"):
        assert made[name] == own[name]
    released.paste("the-table-of-the-deleted-stack")
    assert released.type("echo $OLD $TABLE").split()[0] == released.outputs()["TableName"]


@pytest.mark.usefixtures("python_of_lambda")
def test_every_block_was_pasted_but_those_that_the_emulator_does_not_know() -> None:
    left_out = [block for block in BLOCKS if any(words in block for words in NOT_RUN)]
    assert len(left_out) == len(NOT_RUN)
    assert [block for block in BLOCKS if block not in PASTED and block not in left_out] == []


def test_each_command_of_the_aws_cli_that_is_not_run_exists_with_its_options() -> None:
    left_out = "".join(block for block in BLOCKS if any(words in block for words in NOT_RUN)).replace("\\\n", "")
    commands = re.findall(r"\baws ([a-z0-9]+) ([a-z-]+)(.*)", left_out)
    assert len(commands) > 5
    for service, operation, rest in commands:
        client: Any = aws.client(aws_cli.SERVICES.get(service, service), "https://nowhere.example")
        if operation == "wait":
            assert rest.split()[0].replace("-", "_") in client.waiter_names
        else:
            method = client.meta.method_to_api_mapping[operation.replace("-", "_")]
            members = client.meta.service_model.operation_model(method).input_shape.members
            options = {*re.findall(r"(?<= )--([a-z0-9-]+)", rest)} - {"query", "output"}
            assert options <= {xform_name(member, "-") for member in members}, (service, operation)
