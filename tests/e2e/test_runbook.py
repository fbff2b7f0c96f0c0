"""docs/runbook.md, pasted from its beginning to its end into a shell: of Linux, and of a Mac."""

import contextlib
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore import xform_name

from clone import commit, git, repository
from documents import blocks, text
from e2e.conftest import Caller
from engines import skip_lane
from local import aws, gateway, stack

RUNBOOK = "docs/runbook.md"
BLOCKS = blocks(RUNBOOK)
SHELLS = {"bash": ["bash", "--norc", "--noprofile"], "zsh": ["zsh", "--no-rcs"]}

# The emulator has no CodeDeploy, and no cache of an authorizer's answers; there is nothing to delete; test_feed.py has
# the feed's replay.
NOT_RUN = ("list-deployment-groups", "flush-stage-authorizers-cache", "delete-stack", "tools.replay_feed")
PASTED: set[str] = set()
HANGS_SECONDS = 120  # longer than any block takes, for the one that never ends

# The values that a reader sets before pasting a block.
PUT_IN = {
    "the-callers-key": "$KEY_OF_DEMO",
    "the-keyId-of-the-list": "$KEY_ID_OF_SHOP",
    "ACCOUNT=shop PERSON": "ACCOUNT=demo PERSON",
    "TO=the-commit": "TO=HEAD~1",
    "--restore-date-time 2026-11-24T09:30:00Z": '--restore-date-time "$(date +%s)"',
}


@dataclass
class Terminal:
    """A shell that stays, so what one block sets is there for the next. It ends at the first command that fails."""

    process: "subprocess.Popen[str]"
    stack: stack.Stack
    caller: Caller
    """Of the account demo, where ana@example.com is."""

    def paste(self, words: str) -> str:
        """Pastes the one block with these words; returns what it prints."""
        [block] = [block for block in BLOCKS if words in block]
        PASTED.add(block)
        for placeholder, value in PUT_IN.items():
            block = block.replace(placeholder, value)
        return self.type(block)

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
                return printed.removesuffix("\n")
            printed += line
        pytest.fail(f"{commands}\n{printed}")

    def outputs(self) -> dict[str, str]:
        return stack.outputs(self.stack.endpoint)


@pytest.fixture(scope="module")
def its_stack() -> Iterator[stack.Stack]:
    """A stack of this module's own, because its tests change it."""
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
    env = aws.environment(its_stack.endpoint) | {
        "KEY_OF_DEMO": caller.key,
        "SAM_CLI_TELEMETRY": "0",
        "SAM_CLI_POLL_DELAY": "0.5",
    }
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
def test_the_first_lines_work_in_each_shell(shell: str, its_stack: stack.Stack, clone: Path) -> None:
    with opened(shell, its_stack, clone) as terminal:
        outputs = stack.outputs(its_stack.endpoint)
        assert terminal.type("echo $LOGS $TABLE").split() == [outputs["LogGroupName"], outputs["TableName"]]
        assert terminal.type("output Revision") == "none\n"
        assert f"{stack.STACK_NAME}-SilenceAlarm" in terminal.type("alarm SilenceAlarm")
        assert terminal.paste("'NotFound'").startswith("Complete")
        assert terminal.type("LOGS=nonsense\ninsights 1 'fields @message' || echo it failed").endswith("it failed\n")


def test_a_block_holds_no_comment_because_the_macs_shell_would_run_it() -> None:
    assert [block for block in BLOCKS + blocks("README.md") if re.search(r"(^|\s)#", block)] == []


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_can_read_each_block(shell: str) -> None:
    if shutil.which(shell) is None:
        skip_lane(f"the runbook's commands need {shell}")
    for block in BLOCKS:
        subprocess.run([*SHELLS[shell], "-n"], input=block, text=True, check=True)


QUERIES = [
    "ID=0",
    "by status, account, route",
    "events_of_batches by account, route, cause",
    "bin(5m)",
    "sort @timestamp",
    "by failed",
    "['allowed'",
]


@pytest.mark.parametrize("words", QUERIES)
def test_a_query_of_the_log_ends(words: str, terminal: Terminal) -> None:
    assert terminal.paste(words).startswith("Complete")


def test_an_alarms_commands_answer(terminal: Terminal) -> None:
    terminal.paste("filter-log-events")
    assert "Complete" in terminal.paste("WriteThrottleEvents")
    assert "HTTP/1.1 401" in terminal.paste('"$API_URL/user/x"')
    assert "ENABLED" in terminal.paste("list-rules")
    assert '"unfinished": ' in terminal.type(first_block_after("`unfinished` of the command"))


def first_block_after(words: str) -> str:
    block = text(RUNBOOK).partition(words)[2].partition("```sh\n")[2].partition("```")[0]
    PASTED.add(block)
    return block


def test_the_gateway_gets_a_role_to_log_with(terminal: Terminal) -> None:
    terminal.paste("create-role")
    command = "aws apigateway get-account --query cloudwatchRoleArn --output text"
    assert f"`{command}`" in text(RUNBOOK)
    assert terminal.type(command).endswith(":role/api-gateway-logs\n")


def test_a_replay_is_stored_once(terminal: Terminal) -> None:
    first, second = (terminal.paste("Idempotency-Key: replay") for _ in range(2))
    assert "HTTP/1.1 200" in first
    assert "Event created" in first
    assert "idempotent-replayed: true" in second.lower()


def test_a_function_is_invoked_with_an_event_of_the_repository(terminal: Terminal) -> None:
    assert '"statusCode": 200' in terminal.paste("events/search.json")


def test_a_key_is_created_listed_expired_and_revoked(terminal: Terminal) -> None:
    made = terminal.paste('\\"create\\"')
    key_id = re.findall(r'"keyId": "(.*?)"', made)[-1]
    assert made.count(f'"keyId": "{key_id}"') == 2
    terminal.type(f"KEY_ID_OF_SHOP={key_id}")
    changed = terminal.paste('\\"revoke\\"')
    assert "2030-01-31T00:00:00" in changed
    assert "revokedOn" in changed


def test_a_person_is_erased_without_a_key_of_the_account(terminal: Terminal) -> None:
    terminal.caller.send("PUT", "/user/ana@example.com?upsert=true", {"city": "Vigo"})
    printed = terminal.paste("PERSON=")
    assert '"statusCode": 200' in printed
    assert '"unfinished": ' in printed
    assert terminal.caller.send("GET", "/user/ana@example.com").status == 404


# --- Deployments ----------------------------------------------------------------------------------


def versions(endpoint: str) -> set[str]:
    """Return the version of each function that callers get."""
    cloudformation: Any = aws.client("cloudformation", endpoint)
    pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=stack.STACK_NAME)
    found = [each for page in pages for each in page["StackResourceSummaries"]]
    return {each["LogicalResourceId"] for each in found if each["ResourceType"] == "AWS::Lambda::Version"}


@pytest.fixture(scope="module")
def released(terminal: Terminal, clone: Path) -> Terminal:
    """Where `make deploy` was run: the others go on from the commit that the stack then names."""
    terminal.type("make deploy")
    assert terminal.type("output Revision").startswith(f"{git(clone, 'rev-parse', 'HEAD')}@")
    return terminal


@pytest.mark.parametrize("words", ["AlarmEmail=", "LogLevel=DEBUG"])
def test_parameters_change_and_no_others_and_each_function_gets_a_new_version(words: str, released: Terminal) -> None:
    terminal = released
    endpoint = terminal.stack.endpoint
    before, versions_before = gateway.parameters(endpoint, stack.STACK_NAME), versions(endpoint)
    terminal.paste(words)
    [named] = re.findall(r'PARAMETERS="(.*?)"', "".join(block for block in BLOCKS if words in block))
    changed = dict(each.split("=") for each in named.split())
    assert gateway.parameters(endpoint, stack.STACK_NAME) == before | changed | {"Traffic": "AtOnce"}
    assert len(versions(endpoint) - versions_before) == len(versions_before)


def test_a_rollback_deploys_a_commit_of_the_releases_that_are_listed(released: Terminal, clone: Path) -> None:
    terminal = released
    before = git(clone, "rev-parse", "HEAD")
    (clone / "CHANGELOG.md").write_text("Something went wrong.")
    bad = commit(clone, "bad")
    terminal.type("make deploy")
    assert re.findall("[0-9a-f]{40}", terminal.paste("list-versions-by-function"))[-1] == bad
    terminal.paste("make rollback")
    assert terminal.type("output Revision").startswith(f"{before}@")


@pytest.mark.usefixtures("python_of_lambda")
def test_a_restored_table_takes_the_place_of_the_stacks_and_goes_back(released: Terminal) -> None:
    """Users who were erased meanwhile are erased in it, too."""
    terminal = released
    caller = terminal.caller
    caller.send("PUT", "/user/bob@example.com?upsert=true", {"city": "Vigo"})
    caller.send("PUT", "/user/dan@example.com?upsert=true", {"city": "Vigo"})
    bob = caller.send("GET", "/user/bob@example.com").body["_id"]
    own = terminal.outputs()["TableName"]
    terminal.paste("--restore-date-time")
    terminal.type('RESTORED="$RESTORED-2" MOMENT="$MOMENT-2"')
    terminal.paste("--use-latest-restorable-time")
    assert terminal.paste("= CREATING") == "ACTIVE\n"
    terminal.paste("--time-to-live-specification")
    remember_erasure(terminal.stack.endpoint, own, "demo", bob)
    assert terminal.paste("--stream-specification").startswith("arn:")
    assert "Erased again: 1" in terminal.type(first_block_after("Erase them again, before"))
    assert "Erased again: 0" in terminal.paste("RestoredTable=$MOMENT")
    restored = terminal.outputs()["TableName"]
    assert restored.startswith(f"{stack.STACK_NAME}-restored-2")
    assert terminal.type("echo $TABLE") == f"{restored}\n"
    assert caller.send("GET", "/user/bob@example.com").status == 404
    assert caller.send("PUT", "/user/eva@example.com?upsert=true", {"city": "Vigo"}).status == 200
    terminal.paste('PARAMETERS="RestoredTable= ')
    assert terminal.outputs()["TableName"] == own
    assert caller.send("GET", "/user/eva@example.com").status == 404
    assert caller.send("GET", "/user/bob@example.com").status == 404
    assert caller.send("GET", "/user/dan@example.com").status == 200


def remember_erasure(endpoint: str, table: str, account: str, user_id: str) -> None:
    hashed = sha256(f"{account}#{user_id}".encode()).hexdigest()
    item = {"pk": {"S": f"{account}#ERASED#{hashed}"}, "sk": {"S": "ERASED"}}
    dynamodb: Any = aws.client("dynamodb", endpoint)
    dynamodb.put_item(TableName=table, Item=item)


@pytest.mark.usefixtures("python_of_lambda")
def test_every_block_was_pasted_but_those_that_the_emulator_does_not_know() -> None:
    left_out = [block for block in BLOCKS if any(words in block for words in NOT_RUN)]
    assert len(left_out) == len(NOT_RUN)
    assert [block for block in BLOCKS if block not in PASTED and block not in left_out] == []


# --- The commands of the AWS CLI ------------------------------------------------------------------

AWS_COMMAND = re.compile(r"\baws ([a-z0-9]+) ([a-z-]+)((?:(?!\baws [a-z]).)*)")
AWS_PAGES = "".join(map(text, (RUNBOOK, "docs/analytics.md", "docs/feed.md"))).replace("\\\n", "")
AWS_COMMANDS = [words for words in AWS_COMMAND.findall(AWS_PAGES) if words[0] != "s3"]  # which botocore does not know
BOTOCORE_NAMES = {"deploy": "codedeploy", "s3api": "s3"}


@pytest.mark.parametrize(("service", "operation", "rest"), AWS_COMMANDS, ids=lambda words: words.strip()[:24])
def test_a_command_of_the_aws_cli_exists_with_its_options(service: str, operation: str, rest: str) -> None:
    """Also of those that are not run."""
    session = botocore.session.get_session()
    name = BOTOCORE_NAMES.get(service, service)
    model = session.get_service_model(name)
    operations = {xform_name(each, "-"): each for each in model.operation_names}
    if operation == "wait":
        waiters = session.get_waiter_model(name)
        [waiter] = [each for each in waiters.waiter_names if xform_name(each, "-") == rest.split(maxsplit=1)[0]]
        operation = xform_name(waiters.get_waiter(waiter).operation, "-")
    shape = model.operation_model(operations[operation]).input_shape
    assert shape
    options = {each.removeprefix("no-") for each in re.findall(r"(?<= )--([a-z0-9-]+)", rest)} - {"query", "output"}
    assert options <= {xform_name(member, "-") for member in shape.members}
