"""Deploy one commit to one stack: `make deploy`, `make rollback`, `make parameters`.

    deploy      the commit that is checked out; its traffic moves as the parameter Release says
    rollback    an earlier commit, at once
    parameters  the commit that is deployed, at once, with other parameters

The commit is built in a separate folder, so nothing else is in a release, and no build is older than its code. The
commit and the time are written into its template as the revision. So each release is a new version of each function,
also of the same commit. Lambda does not publish a version that equals the one before. SAM publishes none if only the
value of a parameter changes.
"""

import argparse
import contextlib
import shlex
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import ZipFile

import boto3
from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient

DEPLOYED = ("src", "template.yaml", "samconfig.toml")
NO_REVISION = "&revision none"  # stands once in template.yaml
GRADUAL, AT_ONCE = "Gradual", "AtOnce"  # values of the parameter Traffic


class DeployError(Exception):
    """Why nothing was deployed, and what to do, in words for the operator."""


@dataclass(frozen=True)
class Release:
    commit: str
    revision: str
    """What the stack's output Revision will say: the commit, @, and when it was deployed."""
    parameters: Mapping[str, str]


def main() -> int:
    arguments = parse_arguments()
    try:
        release = release_of(arguments)
        announce(arguments, release)
        with checked_out(release.commit) as folder:
            stamp(folder / "template.yaml", release.revision)
            sam(folder, "build", "--config-env", arguments.config)
            sam(folder, "deploy", *deploy_options(arguments, release))
    except DeployError as error:
        print(error, file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        return error.returncode  # `sam` has said why
    except (BotoCoreError, ClientError) as error:
        print(f"AWS did not answer as expected: {error}", file=sys.stderr)
        return 1
    protect(settings_of(arguments.config)["stack_name"], arguments.region)
    print(f"Revision {release.revision}")
    return 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.deploy", description=__doc__)
    parser.add_argument("command", choices=["deploy", "rollback", "parameters"])
    parser.add_argument("--config", required=True, help="a section of samconfig.toml")
    parser.add_argument("--to", default="", help="rollback: the commit to go back to")
    parser.add_argument("--parameters", default="", help='"Name=value Name=value", as of template.yaml')
    parser.add_argument("--region", default="", help="instead of the one that AWS_DEFAULT_REGION or the profile names")
    parser.add_argument("--dirty", default="", help="yes: deploy changes that are not committed, too")
    parser.add_argument("--confirm", default="", help="no: do not ask, even if samconfig.toml says so")
    arguments = parser.parse_args()
    # As `sam` finds it. Neither reads AWS_REGION.
    arguments.region = arguments.region or boto3.Session().region_name
    return arguments


# --- What is deployed -----------------------------------------------------------------------------


def release_of(arguments: argparse.Namespace) -> Release:
    """Return the release that the arguments ask for. Raise DeployError."""
    if not arguments.region:
        raise DeployError("No region: add REGION=name, or export AWS_DEFAULT_REGION.")
    settings = settings_of(arguments.config)
    if settings.get("confirm_changeset") and arguments.confirm != "no" and not sys.stdin.isatty():
        raise DeployError(
            f"{arguments.config} asks before it changes anything, and there is no terminal: add CONFIRM=no."
        )
    given = parse_parameters(shlex.split(arguments.parameters))
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    if arguments.command == "deploy":
        commit, name = commit_to_deploy(allow_dirty=arguments.dirty == "yes")
        configured = parse_parameters(settings.get("parameter_overrides", []))
        return Release(commit, f"{name}@{now}", {**configured, "Traffic": GRADUAL, **given})
    if arguments.command == "rollback":
        if not arguments.to:
            raise DeployError("Which commit? TO=commit")
        commit = resolve(arguments.to)
    else:
        if not given:
            raise DeployError('Which parameters? PARAMETERS="Name=value Name=value"')
        commit = resolve(deployed_commit(settings["stack_name"], arguments.region))
    return Release(commit, f"{commit}@{now}", {"Traffic": AT_ONCE, **given})


def settings_of(config: str) -> dict[str, Any]:
    """Return the settings of a deployment in samconfig.toml. Raises DeployError."""
    configs = tomllib.loads(Path("samconfig.toml").read_text())
    try:
        return {**configs[config]["global"]["parameters"], **configs[config]["deploy"]["parameters"]}
    except KeyError as error:
        raise DeployError(f"samconfig.toml has no section {config} to deploy.") from error


def parse_parameters(assignments: list[str]) -> dict[str, str]:
    """Return the parameters of assignments such as Name=value. Raise DeployError."""
    found = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals:
            raise DeployError(f"{assignment} is no parameter: Name=value")
        found[name] = value
    return found


def commit_to_deploy(*, allow_dirty: bool) -> tuple[str, str]:
    """Return the commit and its name in the revision. Uncommitted changes become a commit without a branch."""
    head = resolve("HEAD")
    if not git("status", "--porcelain"):
        return head, head
    if not allow_dirty:
        raise DeployError("There are changes that are not committed. Commit them, or deploy them too: DIRTY=yes.")
    # A stash has no new files: a function that imports one of them would not start.
    new = git("ls-files", "--others", "--exclude-standard", *DEPLOYED).splitlines()
    if new:
        raise DeployError(f"git does not know {', '.join(new[:5])}, so it would not be deployed: `git add` it.")
    return git("stash", "create") or head, f"{head}-dirty"


def resolve(commit: str) -> str:
    """Return the full id of a commit. Raise DeployError."""
    try:
        return git("rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}")
    except subprocess.CalledProcessError as error:
        raise DeployError(f"There is no commit {commit} in this clone: `git fetch`, or name another one.") from error


def deployed_commit(stack_name: str, region: str) -> str:
    """Return the commit in the stack's output Revision. Raise DeployError."""
    cloudformation: CloudFormationClient = boto3.client("cloudformation", region_name=region)
    [stack] = cloudformation.describe_stacks(StackName=stack_name)["Stacks"]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
    commit, at, _ = outputs.get("Revision", "").partition("@")
    if not at or commit.endswith("-dirty"):
        raise DeployError(f"{stack_name} runs no commit, or it is not known which: `make deploy` one.")
    return commit


# --- How ------------------------------------------------------------------------------------------


def announce(arguments: argparse.Namespace, release: Release) -> None:
    title = git("log", "-1", "--format=%h %s", release.commit)
    account = boto3.client("sts", region_name=arguments.region).get_caller_identity()["Account"]
    print(
        f"{arguments.command} {arguments.config} in {arguments.region} of the AWS account {account}: {title}",
        flush=True,
    )


@contextlib.contextmanager
def checked_out(commit: str) -> Iterator[Path]:
    """Yield a temporary folder with the files of a commit."""
    with tempfile.TemporaryDirectory(prefix="event-api-") as temporary:
        archive, folder = Path(temporary, "commit.zip"), Path(temporary, "commit")
        git("archive", f"--output={archive}", commit)
        with ZipFile(archive) as files:
            files.extractall(folder)
        yield folder


def stamp(template: Path, revision: str) -> None:
    """Write the revision into a template. Raise DeployError."""
    text = template.read_text()
    if text.count(NO_REVISION) != 1:
        raise DeployError("That commit is older than `make deploy`: check it out, and deploy it as its README says.")
    template.write_text(text.replace(NO_REVISION, f'&revision "{revision}"'))


def deploy_options(arguments: argparse.Namespace, release: Release) -> list[str]:
    options = ["--config-env", arguments.config, "--region", arguments.region]
    if arguments.confirm == "no":
        options.append("--no-confirm-changeset")
    return [*options, "--parameter-overrides", *(f'{name}="{value}"' for name, value in release.parameters.items())]


def protect(stack_name: str, region: str) -> None:
    """Protect the stack against deletion: its API's URL would be lost. Print it if that is not allowed."""
    cloudformation: CloudFormationClient = boto3.client("cloudformation", region_name=region)
    try:
        cloudformation.update_termination_protection(EnableTerminationProtection=True, StackName=stack_name)
    except ClientError as error:
        print(f"The stack is deployed, but not protected against deletion: {error}", file=sys.stderr)


def sam(folder: Path, *arguments: str) -> None:
    subprocess.run(["sam", *arguments], cwd=folder, check=True)


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
