"""Measures the strength of the tests: the share of small changes to `src` that a test notices (`make mutants`).

mutmut makes the changes, and runs for each the moto tests that call the changed function. A change that no test notices
is a survivor. tests/survivors.md lists those that change no behaviour, and those that only tests on DynamoDB Local
notice. The others are gaps.
"""

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

SEED = 20261130
FIRST = "domain.outcomes.*"  # before it runs these few, mutmut generates all mutants and learns which tests call what
KNOWN = (Path(__file__).parent / "survivors.md").read_text()
MOST_GAPS = 0.05
TIME_IS_UP = 124  # what `timeout` returns


def mutmut(*arguments: str, seconds: int = 0) -> str:
    """Return what mutmut prints. After so many seconds it stops and keeps its results; 0: it has all the time.

    If it fails, for example because a test fails without a mutant, exit with its last lines.
    """
    command = ["timeout", "--signal=INT", str(seconds), sys.executable, "-m", "mutmut", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode not in (0, TIME_IS_UP):
        sys.exit("\n".join(done.stdout.splitlines()[-100:]))
    return done.stdout


def change_of(mutant: str) -> str:
    """Return the lines that differ, as one line of Markdown."""
    lines = re.findall(r"^[-+](?![-+])\s*(.*)$", mutmut("show", mutant), re.MULTILINE)
    return "`{}`".format(" ⇒ ".join(lines).replace("|", r"\|"))


def results() -> dict[str, str]:
    """Return the result of each mutant."""
    return dict(re.findall(r"^ *(\S+__mutmut_\d+): (.+)$", mutmut("results", "--all", "true"), re.MULTILINE))


def rank(mutant: str) -> bytes:
    """Return the place of a mutant in the sample. A change of one function leaves the others in their places."""
    return hashlib.sha256(f"{SEED} {mutant}".encode()).digest()


def main(sample: int, seconds: int) -> int:
    mutmut("run", FIRST)
    names = results()
    chosen = sorted(names, key=rank)[:sample]
    mutmut("run", "--max-children", str(os.cpu_count()), *chosen, seconds=seconds)
    found = results()
    tried = {name: found[name] for name in chosen if found[name] != "not checked"}
    endless = sum(result == "timeout" for result in tried.values())
    killed = endless + sum(result == "killed" for result in tried.values())
    changes = {name: change_of(name) for name in sorted(tried) if tried[name] not in ("killed", "timeout")}
    gaps = {name: change for name, change in changes.items() if change not in KNOWN}
    known = len(changes) - len(gaps)
    print(f"{len(tried)} of {len(names):,} mutants: {killed} killed, {endless} of them by a time limit; {known} known")
    print("\n".join(f"| `{name.partition('__mutmut')[0]}` | {change} |" for name, change in gaps.items()))
    strength = killed / (killed + len(gaps))
    print(f"{strength:.1%} of those that are not known are killed")
    return int(len(tried) < len(chosen) or strength < 1 - MOST_GAPS)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
