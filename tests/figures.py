"""The figures of the long tests, as rows of the table in docs/figures.md, at the end of a run."""

import os
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

STRESS = int(os.environ.get("STRESS", "1"))
Figures = Callable[[str, str, int], None]
PROPERTY = "figures"
VIOLATION = "violation"


@pytest.fixture
def figures(record_property: Callable[[str, object], None]) -> Figures:
    """figures("what", "what was tried", violations)"""

    def record(what: str, tried: str, violations: int) -> None:
        record_property(PROPERTY, f"| {what}, `STRESS={STRESS}` | {tried} | {violations} |")

    return record


@pytest.fixture
def outcomes(figures: Figures, request: pytest.FixtureRequest) -> Iterator[Counter[str]]:
    """Count the outcomes of generated requests; VIOLATION is one that cannot be shown to be right."""
    counted: Counter[str] = Counter()
    yield counted
    violations = counted.pop(VIOLATION, 0)
    of_each = ", ".join(f"{outcome}: {number:,}" for outcome, number in sorted(counted.items()))
    which = request.node.name.partition("[")[2].rstrip("]")
    what = f"`{request.path.name}`" + (f", {which}" if which else "")
    figures(what, f"{counted.total():,} requests, {of_each}", violations)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    # The last report of a test has the properties that its fixtures recorded, too.
    reports = [each for each in terminalreporter.stats.get("", []) if each.when == "teardown"]
    rows = [value for report in reports for name, value in report.user_properties if name == PROPERTY]
    if rows:
        terminalreporter.write_line("| what | tried | violations |")
        terminalreporter.write_line("| --- | --- | --- |")
    for row in rows:
        terminalreporter.write_line(str(row))
