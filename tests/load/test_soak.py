"""The memory of a function's process does not grow with the requests that it has answered."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from engines import new_table, skip_lane
from figures import STRESS, Figures
from load.soak import Growth
from local import aws
from local.stack import ROOT

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

REQUESTS = 1000 * STRESS
# An object of 1 KB kept from one request in ten is too much; what the process takes is less exact: from each request.
LIMIT = Growth(traced=100_000, resident=1_000_000)


def soaked(client: "DynamoDBClient", file: Path) -> Growth:
    endpoint = client.meta.endpoint_url
    with new_table(client, f"soak-{uuid4()}") as table:
        env = aws.environment(endpoint) | {
            "TABLE_NAME": table.name,
            "POWERTOOLS_SERVICE_NAME": "soak",
            "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "src", ROOT / "tests"))),
        }
        command = [sys.executable, "-m", "load.soak", str(REQUESTS), str(file)]
        done = subprocess.run(
            command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 0, done.stderr
    return Growth(**json.loads(file.read_text()))


def test_a_process_does_not_grow_with_the_requests_it_answers(
    dynamodb_local_client: "DynamoDBClient", tmp_path: Path, figures: Figures
) -> None:
    if not Path("/proc/self/statm").exists():
        skip_lane("the memory of a process is only told by Linux")
    growth = soaked(dynamodb_local_client, tmp_path / "growth.json")
    kilobytes = f"{growth.traced / 1000:.1f} KB of objects, {growth.resident / 1000:.0f} KB resident"
    tried = f"{REQUESTS:,} requests; growth by 1,000: {kilobytes}"
    too_much = [growth.traced > LIMIT.traced, growth.resident > LIMIT.resident]
    figures("`test_soak.py`", tried, sum(too_much))
    assert not any(too_much), growth
