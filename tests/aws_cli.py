"""The parts of `aws` that the documents use, made from botocore's models: the AWS CLI needs another botocore version.

    python tests/aws_cli.py dynamodb describe-table --table-name T --query Table.TableStatus --output text

It knows flags, numbers, lists, JSON, the shorthand `Name=a,Value=b` and waiters. It reads all pages, and prints as
`--output text`. It also knows `aws s3 sync` from a bucket to a folder.
"""

import json
import sys
from pathlib import Path
from typing import Any

import botocore.session
import jmespath
from botocore import xform_name
from botocore.model import ListShape, Shape, StructureShape

SERVICES = {"deploy": "codedeploy", "s3api": "s3"}


def main(service: str, operation: str, *words: str) -> int:
    client: Any = botocore.session.get_session().create_client(SERVICES.get(service, service))
    if (service, operation) == ("s3", "sync"):
        sync(client, *words)
        return 0
    if operation == "wait":
        waiter, *rest = words
        given = {option.title().replace("-", ""): value for option, [value] in options(rest)}
        client.get_waiter(waiter.replace("-", "_")).wait(**given, WaiterConfig={"Delay": 1})
        return 0
    method = operation.replace("-", "_")
    given, query = parameters(client, method, list(words))
    if client.can_paginate(method):
        answer = client.get_paginator(method).paginate(**given).build_full_result()
    else:
        answer = getattr(client, method)(**given)
    print(text(jmespath.search(query, answer) if query else answer))
    return 0


def sync(client: Any, source: str, folder: str) -> None:
    bucket, _, prefix = source.removeprefix("s3://").partition("/")
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/"):
        for each in page.get("Contents", []):
            file = Path(folder, each["Key"].removeprefix(f"{prefix}/"))
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(client.get_object(Bucket=bucket, Key=each["Key"])["Body"].read())


def parameters(client: Any, method: str, words: list[str]) -> tuple[dict[str, Any], str]:
    """The operation's parameters, and what --query says. Raises KeyError for an option that the operation lacks."""
    shape = client.meta.service_model.operation_model(client.meta.method_to_api_mapping[method]).input_shape
    members = {xform_name(name, "-"): (name, member) for name, member in shape.members.items()}
    found: dict[str, Any] = {}
    query = ""
    for option, values in options(words):
        if option == "query":
            [query] = values
        elif option.startswith("no-") and option.removeprefix("no-") in members:
            found[members[option.removeprefix("no-")][0]] = False
        elif option != "output":
            name, member = members[option]
            found[name] = value_of(member, values)
    return found, query


def options(words: list[str]) -> list[tuple[str, list[str]]]:
    found: list[tuple[str, list[str]]] = []
    for word in words:
        if word.startswith("--"):
            found.append((word.removeprefix("--"), []))
        else:
            found[-1][1].append(word)
    return found


def value_of(shape: Shape, values: list[str]) -> Any:
    if shape.type_name == "boolean" and not values:
        return True
    if values[0].startswith(("{", "[")) and shape.type_name != "string":
        return json.loads(values[0])
    if isinstance(shape, ListShape):
        return [value_of(shape.member, [value]) for value in values]
    if isinstance(shape, StructureShape):
        pairs = [pair.split("=", 1) for pair in values[0].split(",")]
        return {name: value_of(shape.members[name], [value]) for name, value in pairs}
    [value] = values
    if shape.type_name == "boolean":
        return value == "true"
    return int(value) if shape.type_name in ("integer", "long") else value


def text(value: Any) -> str:
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, list):
        return str(value)
    lines = [each for each in value if isinstance(each, list | dict)]
    words = [str(each) for each in value if not isinstance(each, list | dict)]
    return "\n".join(["\t".join(words)] * bool(words) + [text(line) for line in lines])


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
