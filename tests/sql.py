"""Asks DuckDB as the documents do: with the views of docs/analytics.sql over the export in a folder."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from local.stack import ROOT

DUCKDB = Path(sys.prefix) / "bin" / "duckdb"


def ask(folder: Path, question: str) -> list[dict[str, Any]]:
    """The rows of the answer. Decimals are text, with all their digits, and so are times."""
    command: list[str | Path] = [DUCKDB, "-json", "-init", ROOT / "docs" / "analytics.sql", "-c", question]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows: list[dict[str, Any]] = json.loads(done.stdout or "[]")
    return rows
