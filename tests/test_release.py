"""Each release is one: what SAM makes of the template (its translator, which CloudFormation runs too), and what
tools/deploy.py asks `sam` for."""

import copy
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from samcli.yamlhelper import yaml_parse
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator

from clone import commit, git
from documents import text
from local import aws, stack
from tools.deploy import NO_REVISION, stamp

# --- What SAM makes of a revision -----------------------------------------------------------------


def translated(folder: Path, revision: str, **parameters: str) -> dict[str, Any]:
    """The resources that CloudFormation gets of the template, stamped with a revision, its code being in one place."""
    template = folder / "template.yaml"
    template.write_text(text("template.yaml"))
    stamp(template, revision)
    parsed = yaml_parse(template.read_text())
    parsed["Globals"]["Function"]["CodeUri"] = "s3://bucket/the-same-code"
    resources: dict[str, Any] = Translator({}, Parser()).translate(copy.deepcopy(parsed), parameters)["Resources"]
    return resources


def of_type(resources: dict[str, Any], resource_type: str) -> dict[str, Any]:
    return {name: each for name, each in resources.items() if each["Type"] == resource_type}


def test_the_same_code_released_again_is_a_new_version_of_each_function_and_each_function_differs(
    tmp_path: Path,
) -> None:
    """A version of another name makes CloudFormation publish one; a function that differs makes Lambda agree."""
    first, second = (translated(tmp_path, f"c0ffee@{time}") for time in ("10:00:00Z", "10:00:01Z"))
    functions = of_type(first, "AWS::Lambda::Function")
    versions = [of_type(each, "AWS::Lambda::Version").keys() for each in (first, second)]
    assert len(versions[0]) == len(versions[1]) == len(functions)
    assert not versions[0] & versions[1]
    for name in functions:
        before, after = (each[name]["Properties"]["Environment"]["Variables"] for each in (first, second))
        assert (before["REVISION"], after["REVISION"]) == ("c0ffee@10:00:00Z", "c0ffee@10:00:01Z")


@pytest.mark.parametrize("release", yaml_parse(text("template.yaml"))["Parameters"]["Release"]["AllowedValues"])
def test_a_gradual_deployment_goes_by_codedeploy_and_one_at_once_does_not(release: str, tmp_path: Path) -> None:
    for traffic, by_codedeploy in (("Gradual", release != "AllAtOnce"), ("AtOnce", False)):
        resources = translated(tmp_path, "c0ffee", Release=release, Traffic=traffic)
        aliases = of_type(resources, "AWS::Lambda::Alias").values()
        assert {"UpdatePolicy" in alias for alias in aliases} == {by_codedeploy}


def test_the_gateway_takes_no_tls_1_0_and_does_not_trace_addresses(tmp_path: Path) -> None:
    resources = translated(tmp_path, "c0ffee", Tracing="Active")
    assert resources["Api"]["Properties"]["SecurityPolicy"] == "TLS_1_2"
    assert resources["Apiv1Stage"]["Properties"]["TracingEnabled"] is False
    functions = of_type(resources, "AWS::Lambda::Function").values()
    assert all(each["Properties"]["TracingConfig"]["Mode"] == {"Ref": "Tracing"} for each in functions)


# --- What the commands ask `sam` for --------------------------------------------------------------

# It notes what it was asked, and in which folder.
FAKE_SAM = f"""#!{sys.executable}
import json, os, sys
from pathlib import Path
[revision] = [line.split()[-1] for line in Path("template.yaml").read_text().splitlines() if "REVISION:" in line]
note = {{"arguments": sys.argv[1:], "revision": revision, "told": Path("told").read_text(), "files": os.listdir()}}
with open(os.environ["SAM_NOTES"], "a") as notes:
    notes.write(json.dumps(note) + chr(10))
"""


@dataclass(frozen=True)
class Clone:
    """A repository with this template in it, and a `sam` that only notes."""

    folder: Path
    endpoint: str

    def git(self, *arguments: str) -> str:
        return git(self.folder, *arguments)

    def commit(self, told: str) -> str:
        (self.folder / "told").write_text(told)
        return commit(self.folder, told)

    def run(self, *arguments: str, region: str = aws.REGION) -> "subprocess.CompletedProcess[str]":
        """Run the tool without a terminal."""
        env = aws.environment(self.endpoint) | {
            "PATH": f"{self.folder.parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(stack.ROOT),
            "SAM_NOTES": str(self.notes),
            "AWS_DEFAULT_REGION": region,
        }
        command = [sys.executable, "-m", "tools.deploy", *arguments]
        return subprocess.run(command, cwd=self.folder, env=env, input="", capture_output=True, text=True, check=False)

    @property
    def notes(self) -> Path:
        return self.folder.parent / "notes"

    def asked(self, *arguments: str) -> dict[str, Any]:
        """Return the arguments of `sam deploy` in a run that worked, after `sam build` in the same folder."""
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr
        build, deploy = map(json.loads, self.notes.read_text().splitlines())
        self.notes.unlink()
        assert build["arguments"] == ["build", "--config-env", deploy["arguments"][2]]
        assert build | {"arguments": None} == deploy | {"arguments": None}
        assert done.stdout.endswith("Revision {}\n".format(deploy["revision"].strip('"')))
        found: dict[str, Any] = deploy
        return found

    def refused(self, *arguments: str, **settings: str) -> str:
        """Return the message of a run that stopped before `sam`."""
        done = self.run(*arguments, **settings)
        assert done.returncode == 1
        assert not self.notes.exists()
        return done.stderr.strip()


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    port = stack.free_port()
    with stack.working_folder(None) as folder, stack.emulator(port, folder, persist=False):
        yield f"http://{aws.HOST}:{port}"


@pytest.fixture
def clone(tmp_path: Path, endpoint: str) -> Clone:
    clone = Clone(tmp_path / "clone", endpoint)
    clone.folder.mkdir()
    for name in ("template.yaml", "samconfig.toml"):
        shutil.copy(stack.ROOT / name, clone.folder)
    fake = tmp_path / "sam"
    fake.write_text(FAKE_SAM)
    fake.chmod(0o755)
    clone.git("init", "--quiet")
    return clone


def parameters(deploy: dict[str, Any]) -> list[str]:
    found: list[str] = deploy["arguments"][deploy["arguments"].index("--parameter-overrides") + 1 :]
    return found


def deployed(endpoint: str, stack_name: str, revision: str) -> None:
    """A stack that says so; nothing else of it matters here."""
    template = {
        "Resources": {"Topic": {"Type": "AWS::SNS::Topic"}},
        "Outputs": {"Revision": {"Value": revision}},
    }
    cloudformation: Any = aws.client("cloudformation", endpoint)
    cloudformation.create_stack(StackName=stack_name, TemplateBody=json.dumps(template))
    cloudformation.get_waiter("stack_create_complete").wait(StackName=stack_name, WaiterConfig={"Delay": 1})


def test_what_is_deployed_is_the_commit_with_its_name_and_the_configurations_parameters(clone: Clone) -> None:
    head = clone.commit("first")
    (clone.folder / ".git" / "info" / "exclude").write_text("built")
    (clone.folder / "built").write_text("by somebody, long ago")
    deploy = clone.asked("deploy", "--config", "dev", "--parameters", "ThrottleRate=5 LogLevel=ERROR")
    assert deploy["arguments"][:5] == ["deploy", "--config-env", "dev", "--region", aws.REGION]
    assert deploy["revision"].startswith(f'"{head}@2')
    assert sorted(deploy["files"]) == ["samconfig.toml", "template.yaml", "told"]
    assert parameters(deploy) == [
        'LogLevel="ERROR"', 'Monitoring="off"', 'Release="AllAtOnce"', 'Traffic="Gradual"', 'ThrottleRate="5"',
    ]  # fmt: skip
    assert clone.git("status", "--porcelain") == ""


def test_changes_that_are_not_committed_are_deployed_only_when_told_and_are_called_dirty(clone: Clone) -> None:
    head = clone.commit("first")
    (clone.folder / "told").write_text("second")
    assert clone.refused("deploy", "--config", "dev") == (
        "There are changes that are not committed. Commit them, or deploy them too: DIRTY=yes."
    )
    deploy = clone.asked("deploy", "--config", "dev", "--dirty", "yes")
    assert deploy["told"] == "second"
    assert deploy["revision"].startswith(f'"{head}-dirty@')
    assert clone.git("status", "--porcelain") == "M told"


@pytest.mark.parametrize("name", ["src/handlers/new.py", "src/amazon.pem"])
def test_a_file_that_git_does_not_know_is_not_left_out_of_a_release(name: str, clone: Clone) -> None:
    clone.commit("first")
    (clone.folder / name).parent.mkdir(parents=True, exist_ok=True)
    (clone.folder / name).write_text("")
    told = clone.refused("deploy", "--config", "dev", "--dirty", "yes")
    assert told == f"git does not know {name}, so it would not be deployed: `git add` it."
    clone.git("add", name)
    assert "src" in clone.asked("deploy", "--config", "dev", "--dirty", "yes")["files"]


def test_a_stack_is_protected_against_deletion_once_it_is_deployed(clone: Clone) -> None:
    clone.commit("first")
    assert "not protected against deletion" in clone.run("deploy", "--config", "dev").stderr  # there is no stack
    clone.notes.unlink()
    deployed(clone.endpoint, "event-api-dev", "none")
    clone.asked("deploy", "--config", "dev")
    cloudformation: Any = aws.client("cloudformation", clone.endpoint)
    [stack] = cloudformation.describe_stacks(StackName="event-api-dev")["Stacks"]
    assert stack["EnableTerminationProtection"] is True
    cloudformation.update_termination_protection(EnableTerminationProtection=False, StackName="event-api-dev")
    cloudformation.delete_stack(StackName="event-api-dev")
    cloudformation.get_waiter("stack_delete_complete").wait(StackName="event-api-dev", WaiterConfig={"Delay": 1})


def test_a_rollback_deploys_an_earlier_commit_at_once_and_leaves_the_parameters_alone(clone: Clone) -> None:
    good = clone.commit("good")
    clone.commit("bad")
    (clone.folder / "told").write_text("half a mend")
    deploy = clone.asked("rollback", "--config", "dev", "--to", "HEAD~1")
    assert deploy["told"] == "good"
    assert deploy["revision"].startswith(f'"{good}@')
    assert parameters(deploy) == ['Traffic="AtOnce"']


def test_parameters_change_at_once_and_with_the_code_that_is_deployed(clone: Clone) -> None:
    was = clone.commit("deployed")
    clone.commit("newer")
    deployed(clone.endpoint, "event-api", f"{was}@2026-11-24T10:00:00Z")
    deploy = clone.asked("parameters", "--config", "default", "--parameters", "LogLevel=DEBUG RestoredTable=")
    assert deploy["told"] == "deployed"
    assert deploy["revision"] > f'"{was}@2026-11-24T10:00:00Z"'
    assert parameters(deploy) == ['Traffic="AtOnce"', 'LogLevel="DEBUG"', 'RestoredTable=""']


def test_without_a_terminal_a_configuration_that_asks_is_refused_before_anything_is_uploaded(clone: Clone) -> None:
    clone.commit("first")
    assert clone.refused("deploy", "--config", "prod") == (
        "prod asks before it changes anything, and there is no terminal: add CONFIRM=no."
    )
    assert "--no-confirm-changeset" in clone.asked("deploy", "--config", "prod", "--confirm", "no")["arguments"]


def test_the_region_is_said_and_may_be_named(clone: Clone) -> None:
    clone.commit("first")
    done = clone.run("deploy", "--config", "dev", "--region", "us-east-1")
    assert done.stdout.startswith("deploy dev in us-east-1 of the AWS account ")
    assert json.loads(clone.notes.read_text().splitlines()[1])["arguments"][4] == "us-east-1"
    clone.notes.unlink()
    told = "No region: add REGION=name, or export AWS_DEFAULT_REGION."
    assert clone.refused("deploy", "--config", "dev", region="") == told


def test_what_cannot_be_deployed_is_refused_with_what_to_do(clone: Clone) -> None:
    head = clone.commit("first")
    assert clone.refused("rollback", "--config", "dev") == "Which commit? TO=commit"
    assert clone.refused("rollback", "--config", "dev", "--to", "c0ffee0") == (
        "There is no commit c0ffee0 in this clone: `git fetch`, or name another one."
    )
    assert clone.refused("deploy", "--config", "nonsense") == "samconfig.toml has no section nonsense to deploy."
    assert clone.refused("parameters", "--config", "dev").startswith("Which parameters?")
    assert "event-api-dev does not exist" in clone.refused("parameters", "--config", "dev", "--parameters", "A=b")
    deployed(clone.endpoint, "event-api-prod", f"{head}-dirty@2026-11-24T10:00:00Z")
    told = clone.refused("parameters", "--config", "prod", "--confirm", "no", "--parameters", "A=b")
    assert told == "event-api-prod runs no commit, or it is not known which: `make deploy` one."
    template = clone.folder / "template.yaml"
    template.write_text(template.read_text().replace(NO_REVISION, "none"))
    clone.commit("older")
    assert clone.refused("deploy", "--config", "dev").startswith("That commit is older than `make deploy`")
