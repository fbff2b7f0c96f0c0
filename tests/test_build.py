"""The package of every function, which `sam build` makes from src/ with src/Makefile."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from samcli.yamlhelper import yaml_parse

from clone import tracked
from documents import text
from engines import skip_lane
from local.stack import ROOT

SRC = ROOT / "src"
MEGABYTES = 25
NOT_PACKAGED = {"Makefile", "requirements.in", "requirements.txt"}
WITH_313 = ["PYENV_VERSION=3.13"]


def build(folder: Path, path: str) -> "subprocess.CompletedProcess[str]":
    """As SAM does it: in a copy of src/, with a folder to fill."""
    shutil.copytree(SRC, folder / "src")
    package = folder / "package"
    package.mkdir()
    command = ["make", "build-EventFunction"]
    # Without the variables that `make test` passes to a make below it.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    env = {**kept, "PATH": path, "ARTIFACTS_DIR": str(package)}
    done = subprocess.run(command, cwd=folder / "src", env=env, capture_output=True, text=True, check=False)
    if "Failed to fetch" in done.stderr:
        skip_lane("building needs the package index, or what uv remembers of it")
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("build")
    build(folder, f"{sys.prefix}/bin:{os.environ['PATH']}")
    return folder / "package"


def test_every_function_is_built_by_the_makefile() -> None:
    resources: dict[str, Any] = yaml_parse(text("template.yaml"))["Resources"]
    functions = [each for each in resources.values() if each["Type"] == "AWS::Serverless::Function"]
    assert {each["Metadata"]["BuildMethod"] for each in functions} == {"makefile"}


def test_the_package_holds_all_of_the_code(package: Path) -> None:
    code = {name.removeprefix("src/") for name in tracked() if name.startswith("src/")} - NOT_PACKAGED
    assert {name for name in code if not (package / name).is_file()} == set()


def test_the_package_runs_on_either_architecture_and_is_small(package: Path) -> None:
    for architecture in ("x86_64", "aarch64"):
        assert list((package / "pydantic_core").glob(f"*cpython-313-{architecture}-linux-gnu.so")), architecture
    assert sum(path.stat().st_size for path in package.rglob("*") if path.is_file()) < MEGABYTES * 1_000_000


def test_the_package_is_compiled_for_the_place_where_it_will_run(package: Path) -> None:
    if subprocess.run(["/usr/bin/env", *WITH_313, "python3.13", "-V"], capture_output=True, check=False).returncode:
        skip_lane("compiling needs Python 3.13")
    sources = [path for path in package.rglob("*.py") if "-" not in path.parts]
    compiled = list(package.rglob("*.pyc"))
    assert len(compiled) == len(sources)
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
    said = build(tmp_path, str(tools)).stdout
    assert (
        said == "Python 3.13 is not here: EventFunction is not compiled. It works, and takes twice as long to start.\n"
    )
    assert (tmp_path / "package" / "handlers" / "event_api.py").is_file()
    assert list((tmp_path / "package").rglob("*.pyc")) == []
