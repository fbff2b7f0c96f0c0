"""Find known vulnerabilities in the pinned requirements: python .ci/audit.py [options of pip-audit].

Exit code 0: the functions have none. 1: they have some. 3: no database could be reached, which pip-audit alone does not
distinguish from none. Vulnerabilities of development packages are printed and fail nothing.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
VULNERABLE, UNKNOWN = 1, 3


def main() -> int:
    dependencies = audited(sys.argv[1:])
    shipped = {line.split("==")[0] for line in (ROOT / "src/requirements.txt").read_text().splitlines() if "==" in line}
    vulnerable = [each for each in dependencies if each.get("vulns")]
    for each in vulnerable:
        ids = ", ".join(found["id"] for found in each["vulns"])
        where = "in the functions" if each["name"] in shipped else "on developers' machines"
        print(f"{each['name']} {each['version']}, {where}: {ids}")
    if any(each["name"] in shipped for each in vulnerable):
        return VULNERABLE
    unknown = [each["name"] for each in dependencies if "skip_reason" in each]
    if unknown or not dependencies:
        print(f"NOT CHECKED for known vulnerabilities: {len(unknown)} of {len(dependencies)} packages", file=sys.stderr)
        return UNKNOWN
    print(f"{len(dependencies)} packages checked, no known vulnerabilities in the functions")
    return 0


def audited(options: list[str]) -> list[dict[str, Any]]:
    """Each package, with `vulns` or a `skip_reason`; nothing if pip-audit got no answer."""
    command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--progress-spinner=off", "--format=json", *options]
    command += ["--requirement", str(ROOT / "requirements-dev.txt")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        listed: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except ValueError:
        print("\n".join(done.stderr.splitlines()[-1:]), file=sys.stderr)
        return []
    return listed


if __name__ == "__main__":
    sys.exit(main())
