"""A stand-in for the AWS CLI, which is too large for a test: `python tests/aws_cli.py dynamodb describe-table ...`

Options are those of botocore's models, as with the real one; values are text, numbers or JSON. Of `aws s3` it knows
`sync` from a bucket to a folder. What it does not know ends with an error.
"""

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import botocore.session
from botocore import xform_name
from botocore.model import OperationModel

SESSION = botocore.session.get_session()
SEARCH: Any = import_module("jmespath").search  # botocore's own; it has no types
SERVICES = {"s3api": "s3"}


def main(service: str, operation: str, *rest: str) -> None:
    if (service, operation) == ("s3", "sync"):
        sync(*rest)
    elif operation == "wait":
        wait(service, *rest)
    else:
        show(service, operation, options(rest))


def options(words: tuple[str, ...]) -> dict[str, str]:
    names, values = words[::2], words[1::2]
    assert all(name.startswith("--") for name in names), words
    return {name.removeprefix("--"): value for name, value in zip(names, values, strict=True)}


def show(service: str, operation: str, given: dict[str, str]) -> None:
    query, output = given.pop("query", None), given.pop("output", "json")
    client: Any = SESSION.create_client(SERVICES.get(service, service))
    operations = {xform_name(name, "-"): name for name in client.meta.service_model.operation_names}
    model: OperationModel = client.meta.service_model.operation_model(operations[operation])
    answer = getattr(client, xform_name(model.name))(**parameters(model, given))
    answer.pop("ResponseMetadata")
    shown = SEARCH(query, answer) if query else answer
    if output == "text":
        print("\t".join(shown) if isinstance(shown, list) else shown)
    elif shown:
        print(json.dumps(shown, default=str))


def parameters(model: OperationModel, given: dict[str, str]) -> dict[str, Any]:
    assert model.input_shape
    members = {xform_name(name, "-"): (name, shape.type_name) for name, shape in model.input_shape.members.items()}
    read = {"string": str, "timestamp": str, "integer": int}
    return {members[name][0]: read.get(members[name][1], json.loads)(value) for name, value in given.items()}


def wait(service: str, waiter: str, *rest: str) -> None:
    client: Any = SESSION.create_client(service)
    given = {name.title().replace("-", ""): value for name, value in options(rest).items()}
    client.get_waiter(waiter.replace("-", "_")).wait(**given, WaiterConfig={"Delay": 1})


def sync(source: str, folder: str) -> None:
    client: Any = SESSION.create_client("s3")
    bucket, _, prefix = source.removeprefix("s3://").partition("/")
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/"):
        for each in page.get("Contents", []):
            file = Path(folder, each["Key"].removeprefix(f"{prefix}/"))
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(client.get_object(Bucket=bucket, Key=each["Key"])["Body"].read())


if __name__ == "__main__":
    main(*sys.argv[1:])
