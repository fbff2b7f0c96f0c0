"""The repository as somebody else will have it: what is committed or will be, in a folder of its own."""

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
    if not IS_CLONE:
        pytest.skip("this is no clone")
    folder = tmp_path / "clone"
    for name in tracked():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    (folder / ".venv").symlink_to(sys.prefix)
    return folder


def make(*arguments: str) -> list[str]:
    """The command of `make` in a clone, which takes the environment as it is, whatever `make test` was told."""
    return ["make", "--no-print-directory", "--old-file=.venv/installed", "VENV=.venv", *arguments]
