"""A clone of the repository in a separate folder: what is committed, or will be."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import programs
from local.stack import ROOT

IS_CLONE = (ROOT / ".git").exists()


def tracked() -> list[str]:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    return [name for name in listed.split("\0") if name and (ROOT / name).is_file()]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    folder = copy_to(tmp_path / "clone")
    (folder / ".venv").symlink_to(sys.prefix)
    return folder


def copy_to(folder: Path) -> Path:
    if not IS_CLONE:
        pytest.skip("this is no clone")
    for name in tracked():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    return folder


def repository(folder: Path) -> Path:
    """Return a clone with one commit, where `make deploy` works.

    Its `sam` builds nothing, because the emulator runs the functions with the packages of this Python.
    """
    copy_to(folder)
    commands = {
        "python": f'exec {sys.executable} "$@"',
        "sam": f'[ "$1" = build ] || exec {programs.folder()}/sam "$@"',
        "aws": f'exec {programs.folder()}/aws "$@"',
    }
    (folder / ".venv").mkdir()
    programs.write(folder / ".venv" / "bin", commands)
    for stamp in ("running", "installed"):
        (folder / ".venv" / stamp).touch()
    git(folder, "init", "--quiet")
    commit(folder, "first")
    return folder


def commit(folder: Path, message: str) -> str:
    git(folder, "add", "--all")
    git(folder, "-c", "user.name=Test", "-c", "user.email=test@example.com", "commit", "--quiet", "--message", message)
    return git(folder, "rev-parse", "HEAD")


def git(folder: Path, *arguments: str) -> str:
    command = ["/usr/bin/env", "git", *arguments]
    return subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def make(*arguments: str) -> list[str]:
    """Return the `make` command for a clone, which ignores the variables of the running `make test`."""
    options = "--no-print-directory --old-file=.venv/running --old-file=.venv/installed VENV=.venv"
    return ["make", *options.split(), *arguments]
