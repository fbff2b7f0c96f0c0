"""The help of `make`, and the variables that the environment may set."""

import os
import re
import subprocess

from local.stack import ROOT

MAKEFILE = (ROOT / "Makefile").read_text()
GROUPS = ["Run", "Send", "Look", "Deploy", "Develop"]


def make(*arguments: str, **environment: str) -> str:
    """Return what make prints, without the variables that `make test` has put into the environment."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME")}
    command = ["make", "--no-print-directory", "--old-file=.venv/running", "--old-file=.venv/installed", *arguments]
    return subprocess.run(command, cwd=ROOT, env=kept | environment, capture_output=True, text=True, check=True).stdout


def test_make_alone_lists_every_target_by_who_needs_it() -> None:
    printed = make()
    assert [line for line in printed.splitlines() if line and not line.startswith(" ")] == GROUPS
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
    assert re.findall(r"^  make ([a-z-]+)", printed, re.MULTILINE) == re.findall(
        r"^([a-z-]+):.*##", MAKEFILE, re.MULTILINE
    )
    assert set(re.findall(r"^  make ([a-z-]+)", printed, re.MULTILINE)) == targets - {"help"}


def test_make_alone_fits_a_terminal_of_80_columns() -> None:
    assert [line for line in make().splitlines() if len(line) > 80] == []


def test_every_target_that_is_no_file_is_phony() -> None:
    [phony] = re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert set(phony.split()) == set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))


def test_the_environment_may_set_what_the_command_line_may() -> None:
    assert "--port 8010" in make("--dry-run", "run")
    assert "--port 8100" in make("--dry-run", "run", PORT="8100")
    assert "--port 8100" in make("--dry-run", "run", "PORT=8100")
    assert '"shop" --scopes "send,read"' in make("--dry-run", "key", "ACCOUNT=shop", "SCOPES=send,read")
    fresh = ("--dry-run", "--always-make", ".venv-of-nobody/installed", "VENV=.venv-of-nobody")
    assert "python-of-mine local/install.py" in make(*fresh, PYTHON="python-of-mine")
