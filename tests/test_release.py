"""A release: the package, what SAM's translator makes of the template, and what tools/deploy.py asks `sam` for.

CloudFormation runs the same translator.
"""

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

from clone import commit, git, tracked
from documents import TEMPLATE, text
from engines import skip_lane
from local import aws, stack
from tools.deploy import NO_REVISION, stamp

# --- The package of every function ----------------------------------------------------------------

MEGABYTES = 25
NOT_PACKAGED = {"Makefile", "requirements.in", "requirements.txt"}


def build(folder: Path, path: str) -> str:
    """Build as SAM does, in a copy of src/, with a folder to fill. Return what is printed."""
    shutil.copytree(stack.ROOT / "src", folder / "src")
    (folder / "package").mkdir()
    # Without the variables that `make test` passes to a make below it.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    env = {**kept, "PATH": path, "ARTIFACTS_DIR": str(folder / "package")}
    command = ["make", "build-EventFunction"]
    done = subprocess.run(command, cwd=folder / "src", env=env, capture_output=True, text=True, check=False)
    if "Failed to fetch" in done.stderr:
        skip_lane("building needs the package index, or what uv remembers of it")
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("build")
    build(folder, f"{sys.prefix}/bin:{os.environ['PATH']}")
    return folder / "package"


def test_the_makefile_builds_every_function_with_all_of_the_code_for_either_architecture(package: Path) -> None:
    functions = [each for each in TEMPLATE["Resources"].values() if each["Type"] == "AWS::Serverless::Function"]
    assert {each["Metadata"]["BuildMethod"] for each in functions} == {"makefile"}
    code = {name.removeprefix("src/") for name in tracked() if name.startswith("src/")} - NOT_PACKAGED
    assert {name for name in code if not (package / name).is_file()} == set()
    for architecture in ("x86_64", "aarch64"):
        assert list((package / "pydantic_core").glob(f"*cpython-313-{architecture}-linux-gnu.so")), architecture
    assert sum(path.stat().st_size for path in package.rglob("*") if path.is_file()) < MEGABYTES * 1_000_000


def test_the_package_is_compiled_for_the_place_where_it_will_run(package: Path) -> None:
    version = ["/usr/bin/env", "PYENV_VERSION=3.13", "python3.13", "-V"]
    if subprocess.run(version, capture_output=True, check=False).returncode:
        skip_lane("compiling needs Python 3.13")
    compiled = list(package.rglob("*.pyc"))
    assert len(compiled) == len([path for path in package.rglob("*.py") if "-" not in path.parts])
    assert {path.name.split(".")[-2] for path in compiled} == {"cpython-313"}
    [store] = package.glob("handlers/__pycache__/event_api.*.pyc")
    assert b"/var/task/handlers/event_api.py" in store.read_bytes()


def test_a_build_without_python_3_13_says_so_and_is_complete(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "make", "cp", "rm", "find", "env"):
        (tools / name).symlink_to(shutil.which(name) or name)
    for name in ("uv", "python3"):
        (tools / name).symlink_to(Path(sys.prefix) / "bin" / name)
    said = "Python 3.13 is not here: EventFunction is not compiled. It works, and takes twice as long to start.\n"
    assert build(tmp_path, str(tools)) == said
    assert (tmp_path / "package" / "handlers" / "event_api.py").is_file()
    assert list((tmp_path / "package").rglob("*.pyc")) == []


# --- What SAM makes of a revision -----------------------------------------------------------------


def translated(folder: Path, revision: str, **parameters: str) -> dict[str, dict[str, Any]]:
    """The resources that CloudFormation gets of the template, stamped with a revision, its code being in one place.

    They are by type and name.
    """
    template = folder / "template.yaml"
    template.write_text(text("template.yaml"))
    stamp(template, revision)
    parsed = yaml_parse(template.read_text())
    parsed["Globals"]["Function"]["CodeUri"] = "s3://bucket/the-same-code"
    found: dict[str, dict[str, Any]] = {}
    for name, each in Translator({}, Parser()).translate(copy.deepcopy(parsed), parameters)["Resources"].items():
        found.setdefault(each["Type"], {})[name] = each
    return found


def test_the_same_code_released_again_is_a_new_version_of_each_function(tmp_path: Path) -> None:
    """A version of another name makes CloudFormation publish one; a function that differs makes Lambda agree."""
    first, second = (translated(tmp_path, f"c0ffee@{time}") for time in ("10:00:00Z", "10:00:01Z"))
    versions = [each["AWS::Lambda::Version"].keys() for each in (first, second)]
    assert len(versions[0]) == len(versions[1]) == len(first["AWS::Lambda::Function"])
    assert not versions[0] & versions[1]
    for release, revision in ((first, "c0ffee@10:00:00Z"), (second, "c0ffee@10:00:01Z")):
        functions = release["AWS::Lambda::Function"].values()
        assert {each["Properties"]["Environment"]["Variables"]["REVISION"] for each in functions} == {revision}


@pytest.mark.parametrize("release", TEMPLATE["Parameters"]["Release"]["AllowedValues"])
def test_a_gradual_deployment_goes_by_codedeploy_and_one_at_once_does_not(release: str, tmp_path: Path) -> None:
    for traffic, by_codedeploy in (("Gradual", release != "AllAtOnce"), ("AtOnce", False)):
        aliases = translated(tmp_path, "c0ffee", Release=release, Traffic=traffic)["AWS::Lambda::Alias"].values()
        assert {"UpdatePolicy" in alias for alias in aliases} == {by_codedeploy}


def test_the_gateway_takes_no_tls_1_0_and_does_not_trace_addresses(tmp_path: Path) -> None:
    resources = translated(tmp_path, "c0ffee", Tracing="Active")
    assert resources["AWS::ApiGateway::RestApi"]["Api"]["Properties"]["SecurityPolicy"] == "TLS_1_2"
    assert resources["AWS::ApiGateway::Stage"]["Apiv1Stage"]["Properties"]["TracingEnabled"] is False
    functions = resources["AWS::Lambda::Function"].values()
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

    def commit(self, told: str) -> str:
        (self.folder / "told").write_text(told)
        return commit(self.folder, told)

    def run(self, *arguments: str, region: str = aws.REGION) -> "subprocess.CompletedProcess[str]":
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
        """Return what `sam deploy` noted in a run that worked, after `sam build` in the same folder."""
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr
        build, deploy = map(json.loads, self.notes.read_text().splitlines())
        self.notes.unlink()
        assert build["arguments"] == ["build", "--config-env", deploy["arguments"][2]]
        assert build | {"arguments": None} == deploy | {"arguments": None}
        assert done.stdout.endswith("Revision {}\n".format(deploy["revision"].strip('"')))
        assert git(self.folder, "diff", "--name-only", "template.yaml") == ""
        options, at = deploy["arguments"], deploy["arguments"].index("--parameter-overrides")
        return {**deploy, "options": options[:at], "parameters": options[at + 1 :], "said": done.stdout + done.stderr}

    def refused(self, *arguments: str, **settings: str) -> str:
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
    (tmp_path / "sam").write_text(FAKE_SAM)
    (tmp_path / "sam").chmod(0o755)
    git(clone.folder, "init", "--quiet")
    return clone


def deployed(cloudformation: Any, name: str, revision: str) -> None:
    """Deploy a stack that says so; nothing else of it matters here."""
    template = {"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}, "Outputs": {"Revision": {"Value": revision}}}
    cloudformation.create_stack(StackName=name, TemplateBody=json.dumps(template))
    cloudformation.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1})


def test_what_is_deployed_is_the_commit_with_its_name_and_the_configurations_parameters(clone: Clone) -> None:
    head = clone.commit("first")
    (clone.folder / ".git" / "info" / "exclude").write_text("built")
    (clone.folder / "built").write_text("by somebody, long ago")
    deploy = clone.asked("deploy", "--config", "dev", "--parameters", "ThrottleRate=5 LogLevel=ERROR")
    assert deploy["options"] == ["deploy", "--config-env", "dev", "--region", aws.REGION]
    assert deploy["revision"].startswith(f'"{head}@2')
    assert sorted(deploy["files"]) == ["samconfig.toml", "template.yaml", "told"]
    assert deploy["parameters"] == [
        'LogLevel="ERROR"', 'Monitoring="off"', 'Release="AllAtOnce"', 'Traffic="Gradual"', 'ThrottleRate="5"',
    ]  # fmt: skip
    assert "not protected against deletion" in deploy["said"]  # there is no stack
    assert git(clone.folder, "status", "--porcelain") == ""


def test_changes_that_are_not_committed_are_deployed_only_on_request_and_called_dirty(clone: Clone) -> None:
    head = clone.commit("first")
    (clone.folder / "told").write_text("second")
    new = ["src/amazon.pem", "src/handlers/new.py"]
    (clone.folder / "src" / "handlers").mkdir(parents=True)
    for name in new:
        (clone.folder / name).touch()
    assert clone.refused("deploy", "--config", "dev") == (
        "There are changes that are not committed. Commit them, or deploy them too: DIRTY=yes."
    )
    dirty = ("deploy", "--config", "dev", "--dirty", "yes")
    told = f"git does not know {', '.join(new)}, so it would not be deployed: `git add` it."
    assert clone.refused(*dirty) == told
    git(clone.folder, "add", *new)
    deploy = clone.asked(*dirty)
    assert deploy["told"] == "second"
    assert "src" in deploy["files"]
    assert deploy["revision"].startswith(f'"{head}-dirty@')
    assert git(clone.folder, "diff", "HEAD", "--name-only").splitlines() == [*new, "told"]


def test_a_rollback_deploys_an_earlier_commit_at_once_and_leaves_the_parameters_alone(clone: Clone) -> None:
    good = clone.commit("good")
    clone.commit("bad")
    (clone.folder / "told").write_text("half a correction")
    deploy = clone.asked("rollback", "--config", "dev", "--to", "HEAD~1", "--region", "us-east-1")
    assert deploy["said"].startswith("rollback dev in us-east-1 of the AWS account ")
    assert deploy["options"][4] == "us-east-1"
    assert deploy["told"] == "good"
    assert deploy["revision"].startswith(f'"{good}@')
    assert deploy["parameters"] == ['Traffic="AtOnce"']


def test_parameters_change_at_once_with_the_code_that_is_deployed_and_the_stack_is_protected(clone: Clone) -> None:
    was = clone.commit("deployed")
    clone.commit("newer")
    cloudformation: Any = aws.client("cloudformation", clone.endpoint)
    deployed(cloudformation, "event-api", f"{was}@2026-11-24T10:00:00Z")
    deploy = clone.asked("parameters", "--config", "default", "--parameters", "LogLevel=DEBUG RestoredTable=")
    assert deploy["told"] == "deployed"
    assert deploy["revision"] > f'"{was}@2026-11-24T10:00:00Z"'
    assert deploy["parameters"] == ['Traffic="AtOnce"', 'LogLevel="DEBUG"', 'RestoredTable=""']
    [stack] = cloudformation.describe_stacks(StackName="event-api")["Stacks"]
    assert stack["EnableTerminationProtection"] is True


def test_what_cannot_be_deployed_is_refused_with_what_to_do_before_anything_is_uploaded(clone: Clone) -> None:
    head = clone.commit("first")
    deployed(aws.client("cloudformation", clone.endpoint), "event-api-prod", f"{head}-dirty@2026-11-24T10:00:00Z")
    for told, *arguments in [
        ("Which commit? TO=commit", "rollback", "dev"),
        ("There is no commit c0ffee0 in this clone: `git fetch`, or name another one.",
         "rollback", "dev", "--to", "c0ffee0"),
        ("samconfig.toml has no section nonsense to deploy.", "deploy", "nonsense"),
        ('Which parameters? PARAMETERS="Name=value Name=value"', "parameters", "dev"),
        ("event-api-prod runs no commit, or it is not known which: `make deploy` one.",
         "parameters", "prod", "--confirm", "no", "--parameters", "A=b"),
        ("prod asks before it changes anything, and there is no terminal: add CONFIRM=no.", "deploy", "prod"),
    ]:  # fmt: skip
        command, config, *options = arguments
        assert clone.refused(command, "--config", config, *options) == told
    assert "event-api-dev does not exist" in clone.refused("parameters", "--config", "dev", "--parameters", "A=b")
    no_region = "No region: add REGION=name, or export AWS_DEFAULT_REGION."
    assert clone.refused("deploy", "--config", "dev", region="") == no_region
    assert "--no-confirm-changeset" in clone.asked("deploy", "--config", "prod", "--confirm", "no")["options"]
    template = clone.folder / "template.yaml"
    template.write_text(template.read_text().replace(NO_REVISION, "none"))
    clone.commit("older")
    assert clone.refused("deploy", "--config", "dev").startswith("That commit is older than `make deploy`")
