"""The Makefile, .ci and the files for editors, hooks, the dev container and the hosted check agree."""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from wsgiref.simple_server import make_server

import pytest
from samcli.yamlhelper import yaml_parse

from clone import git
from documents import text
from local import aws, stack
from local.stack import ROOT

MAKEFILE = text("Makefile")
DOCKERFILE = text(".devcontainer/Dockerfile")
# They need no second run: `make lint` calls them.
SLOW_HOOKS = "ruff,ruff-format,mypy"


def load(path: str) -> Any:
    return yaml_parse(text(path))


def run(*command: str, cwd: Path = ROOT, **environment: str) -> "subprocess.CompletedProcess[str]":
    env = os.environ | environment
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)


def test_make_alone_lists_every_target_by_who_needs_it_and_fits_a_terminal_of_80_columns() -> None:
    lines = run("make", MAKEFLAGS="", MAKELEVEL="0").stdout.splitlines()  # as if no `make test` ran it
    assert [line for line in lines if line and line[0] != " "] == ["Run", "Send", "Look", "Deploy", "Develop"]
    assert [line for line in lines if len(line) > 80] == []
    listed = [line.split()[1] for line in lines if line.startswith("  make ")]
    assert listed == re.findall(r"^([a-z-]+):.*##", MAKEFILE, re.MULTILINE)
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
    assert set(listed) == targets - {"help"}
    [phony] = re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert set(phony.split()) == targets


def test_the_environment_sets_the_port_and_vs_code_attaches_where_make_debug_waits() -> None:
    assert "--port 8100" in run("make", "--dry-run", "run", PORT="8100", MAKEFLAGS="").stdout
    [port] = re.findall(r'"port": (\d+)', text(".vscode/launch.json"))
    assert f"--debug-port {port} " in MAKEFILE


def test_a_workflow_may_do_little_and_names_its_actions_by_commit_and_the_check_only_calls_ci_run() -> None:
    for path in (ROOT / ".github" / "workflows").glob("*.yml"):
        written = path.read_text()
        assert yaml_parse(written)["permissions"] == {}
        assert re.findall(r"uses: .*", written) == re.findall(r"uses: [\w-]+/[\w-]+@[0-9a-f]{40} # v[\d.]+", written)
        assert "${{" not in "".join(re.findall(r"run: .*", written)), "a value of a caller belongs into the environment"
    [job] = load(".github/workflows/check.yml")["jobs"].values()
    _checkout, run = job["steps"]
    assert run == {"run": "bash .ci/run"}


def test_every_update_waits_for_a_week() -> None:
    updates = load(".github/dependabot.yml")["updates"]
    assert {each["package-ecosystem"] for each in updates} >= {"uv", "npm", "github-actions", "docker"}
    assert {each["cooldown"]["default-days"] for each in updates} == {7}
    assert 'UV_EXCLUDE_NEWER="7 days"' in MAKEFILE


def test_the_dev_container_has_lambdas_python_and_the_packages_that_ci_run_installs() -> None:
    version = text(".python-version").strip()
    assert load("template.yaml")["Globals"]["Function"]["Runtime"] == f"python{version}"
    assert re.search(rf"^FROM \S+/python:[\d.]+-{re.escape(version)}-", DOCKERFILE, re.MULTILINE)
    installed = {name for names in re.findall(r"missing\+=\((.*?)\)", text(".ci/run")) for name in names.split()}
    [listed] = re.findall(r"--no-install-recommends \\\n(.*?)\\\n", DOCKERFILE)
    assert set(listed.split()) == installed - {"python3", "python3-venv"}


def test_the_hooks_find_nothing_in_a_clone(clone: Path, tmp_path: Path) -> None:
    git(clone, "init", "--quiet")
    git(clone, "add", "--all", "--", ".", ":!.venv")
    settings = {"PRE_COMMIT_HOME": str(tmp_path / "hooks"), "SKIP": SLOW_HOOKS}
    done = run(".venv/bin/pre-commit", "run", "--all-files", cwd=clone, **settings)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("Passed") == text(".pre-commit-config.yaml").count("{id: ") - len(SLOW_HOOKS.split(","))


def test_an_unclear_word_is_found_in_prose_and_not_in_code(tmp_path: Path) -> None:
    (tmp_path / "read.md").write_text("Mend it.\n\n```sh\nmend it\n```\n")
    (tmp_path / "read.py").write_text('"""Return the time.\n\nIt goes off."""\n\nwhom = "whom"  # of ours\n')
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    done = run(sys.executable, str(ROOT / ".ci" / "plain.py"), cwd=tmp_path)
    assert done.returncode == 1
    found = [line.split(";")[0] for line in done.stdout.splitlines()]
    assert found == ["read.md:1: “Mend”", "read.py:3: “goes off”", "read.py:5: “of ours”"]


@pytest.fixture
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A database that answers as OSV does: every version of these packages is vulnerable. None: it does not answer."""
    if request.param is None:
        yield f"http://{aws.HOST}:{stack.free_port()}/"
        return

    def answer(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        asked = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))["package"]
        affected = [{"package": asked, "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}]}]
        found = {"vulns": [{"id": "PYSEC-2026-1", "summary": "Made up", "affected": affected}]}
        start_response("200 OK", [])
        return [json.dumps(found if asked["name"] in request.param else {}).encode()]

    with make_server(aws.HOST, 0, answer) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://{aws.HOST}:{server.server_port}/v1/query"
        server.shutdown()


@pytest.mark.parametrize(("url", "code", "printed"), [
    ({"moto"}, 0,
     r"on developers' machines: PYSEC-2026-1\n\d+ packages checked, no known vulnerabilities in the functions"),
    ({"pydantic"}, 1, "in the functions: PYSEC-2026-1"),
    (None, 3, r"\A\n.*NOT CHECKED for known vulnerabilities"),
], indirect=["url"])  # fmt: skip
def test_a_known_vulnerability_of_a_package_in_the_functions_fails(url: str, code: int, printed: str) -> None:
    done = run(sys.executable, ".ci/audit.py", "--vulnerability-service=osv", f"--osv-url={url}")
    assert done.returncode == code, done.stderr
    assert re.search(printed, f"{done.stdout}\n{done.stderr}", re.DOTALL)
