"""The running stack's table as files: what DynamoDB's export to S3 writes, for docs/analytics.sql.

The format: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/S3DataExport.Output.html, without the
checksums. An export by AWS is the table at one moment; this reads it page by page, while requests may change it.
"""

import gzip
import json
import secrets
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from local import aws, stack

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


def write(endpoint: str, folder: Path) -> tuple[Path, int]:
    """Replace the folder by a full export. Return its path and its number of items."""
    client: DynamoDBClient = aws.client("dynamodb", endpoint)
    table = stack.outputs(endpoint)["TableName"]
    shutil.rmtree(folder, ignore_errors=True)
    started = now()
    export = folder / "AWSDynamoDB" / f"{time.time_ns() // 1_000_000:014}-{secrets.token_hex(4)}"
    data = export / "data" / f"{secrets.token_hex(13)}.json.gz"
    data.parent.mkdir(parents=True)
    count = 0
    with gzip.open(data, "wt", encoding="utf-8") as lines:
        for page in client.get_paginator("scan").paginate(TableName=table, ConsistentRead=True):
            for item in page["Items"]:
                lines.write(json.dumps({"Item": item}, separators=(",", ":")) + "\n")
                count += 1
    file = {"itemCount": count, "dataFileS3Key": str(data.relative_to(folder))}
    (export / "manifest-files.json").write_text(json.dumps(file) + "\n")
    summary = {
        "version": "2020-06-30",
        "startTime": started,
        "endTime": now(),
        "exportTime": started,
        "tableArn": client.describe_table(TableName=table)["Table"]["TableArn"],
        "manifestFilesS3Key": str((export / "manifest-files.json").relative_to(folder)),
        "itemCount": count,
        "outputFormat": "DYNAMODB_JSON",
    }
    (export / "manifest-summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    return export, count


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
