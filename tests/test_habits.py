"""The files for editors, hooks and hosts agree with what they speak of: .ci/run, the template, the Makefile."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from samcli.yamlhelper import yaml_parse

from documents import text
from local.stack import ROOT

# They need no second run: `make lint` calls them.
SLOW_HOOKS = "ruff,ruff-format,mypy"


def load(path: str) -> Any:
    return yaml_parse(text(path))


def test_the_hosted_workflow_only_calls_ci_run() -> None:
    [job] = load(".github/workflows/check.yml")["jobs"].values()
    checkout, run = job["steps"]
    assert re.fullmatch(r"actions/checkout@[0-9a-f]{40}", checkout["uses"])
    assert run == {"run": "bash .ci/run"}


def test_every_update_waits_for_a_week() -> None:
    updates = load(".github/dependabot.yml")["updates"]
    assert {each["package-ecosystem"] for each in updates} >= {"uv", "npm", "github-actions", "docker"}
    assert {each["cooldown"]["default-days"] for each in updates} == {7}
    assert 'UV_EXCLUDE_NEWER="7 days"' in text("Makefile")


def test_python_is_lambdas_here_and_in_the_dev_container() -> None:
    version = text(".python-version").strip()
    assert load("template.yaml")["Globals"]["Function"]["Runtime"] == f"python{version}"
    assert re.search(rf"^FROM \S+/python:[\d.]+-{re.escape(version)}-", text(".devcontainer/Dockerfile"), re.MULTILINE)


def test_the_dev_container_has_the_packages_that_ci_run_installs() -> None:
    installed = {name for names in re.findall(r"missing\+=\((.*?)\)", text(".ci/run")) for name in names.split()}
    [listed] = re.findall(r"--no-install-recommends \\\n(.*?)\\\n", text(".devcontainer/Dockerfile"))
    assert set(listed.split()) == installed - {"python3", "python3-venv"}


def test_the_debugger_attaches_where_make_debug_waits() -> None:
    attach, _ = json.loads(text(".vscode/launch.json"))["configurations"]
    port = attach["connect"]["port"]
    assert f"--debug-port {port} " in text("Makefile")
    assert f"--listen 0.0.0.0:{port} " in text("Makefile")


def test_the_hooks_find_nothing_in_a_clone(clone: Path, tmp_path: Path) -> None:
    for arguments in ("init --quiet", "add --all -- . :!.venv"):
        command = ["git", *arguments.split()]
        subprocess.run(command, cwd=clone, check=True)
    command = [".venv/bin/pre-commit", "run", "--all-files"]
    env = os.environ | {"PRE_COMMIT_HOME": str(tmp_path / "hooks"), "SKIP": SLOW_HOOKS}
    done = subprocess.run(command, cwd=clone, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("Passed") == text(".pre-commit-config.yaml").count("{id: ") - len(SLOW_HOOKS.split(","))


def test_an_unclear_word_is_found_in_prose_and_not_in_code(tmp_path: Path) -> None:
    (tmp_path / "read.md").write_text("Mend it.\n\n```sh\nmend it\n```\n")
    (tmp_path / "read.py").write_text('"""Return the time.\n\nIt goes off."""\n\nwhom = "whom"  # of ours\n')
    for arguments in ("init --quiet", "add ."):
        command = ["git", *arguments.split()]
        subprocess.run(command, cwd=tmp_path, check=True)
    command = [sys.executable, str(ROOT / ".ci" / "plain.py")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert [line.split(";")[0] for line in done.stdout.splitlines()] == [
        "read.md:1: “Mend”",
        "read.py:3: “goes off”",
        "read.py:5: “of ours”",
    ]
