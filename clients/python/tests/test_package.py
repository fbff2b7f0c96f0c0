"""The package installs with pip, with its types and its command."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1]


@pytest.mark.long
def test_pip_installs_the_package_and_its_command(tmp_path: Path) -> None:
    """Without its dependencies, and with the setuptools that are here: neither needs a network."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    source = tmp_path / "source"
    shutil.copytree(PACKAGE, source)  # setuptools writes into the folder
    done = subprocess.run([*pip, "--target", str(tmp_path), str(source)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "event_api_client" / "py.typed").exists()
    env = os.environ | {"PYTHONPATH": str(tmp_path)}
    command = [sys.executable, str(tmp_path / "bin" / "event-api"), "--version"]
    printed = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout
    assert printed == "event-api, version 1.2.0\n"
