"""A clone of the repository in a separate folder: what is committed, or will be."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

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
    """A clone with one commit, where `make deploy` works. Its `aws` is aws_cli.py. Its `sam` builds nothing, because
    the emulator runs the functions with the packages of this Python."""
    copy_to(folder)
    programs = {
        "python": f'exec {sys.executable} "$@"',
        "sam": f'[ "$1" = build ] || exec {sys.prefix}/bin/sam "$@"',
        "aws": f'exec {sys.executable} {ROOT}/tests/aws_cli.py "$@"',
    }
    programs_folder = folder / ".venv" / "bin"
    programs_folder.mkdir(parents=True)
    for name, program in programs.items():
        (programs_folder / name).write_text(f"#!/bin/sh\n{program}\n")
        (programs_folder / name).chmod(0o755)
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
