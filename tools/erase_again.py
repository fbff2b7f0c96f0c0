"""Erase again, in a table restored to an earlier moment, the users who were erased since: `make erasures`.

The old table has hashes of the erased users. For each user in the restored table, the hash is looked up in the old one.
An erased user then ends in the restored table, and ErasureFunction deletes the rest when the functions use that table.
The hashes are copied as well, so that the _id of a user who was created and erased after that moment does not come back
either. The command can be run at any time, and again.
"""

import argparse
import contextlib
import math
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from domain.problems import NotFound, Unavailable
from table import Account, keys
from table.calls import Table, new_client
from table.values import to_item
from use_cases import users

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import KeysAndAttributesTypeDef

KEYS_IN_A_CALL = 100  # of batch_get_item
PAUSE_SECONDS = 1


class User(NamedTuple):
    account: str
    id: str


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.erase_again", description=__doc__)
    parser.add_argument("old", help="the table that the functions used, which remembers whom it erased")
    parser.add_argument("restored", help="the table that was restored from it")
    arguments = parser.parse_args()
    try:
        erased = erase_again(new_client(), arguments.old, arguments.restored)
    except (BotoCoreError, ClientError, Unavailable) as error:
        print(f"DynamoDB did not answer as expected; run this again: {error}", file=sys.stderr)
        return 1
    print(f"Erased again: {erased} users of {arguments.restored}")
    return 0


def erase_again(client: "DynamoDBClient", old: str, restored: str) -> int:
    """How many users were erased."""
    table, count = Table(client, restored, math.inf), 0
    for mark in marks_of(client, old):
        # A mark that is there is the receipt of an erasure that the restored table knows itself.
        with contextlib.suppress(client.exceptions.ConditionalCheckFailedException):
            client.put_item(TableName=restored, Item=mark, ConditionExpression="attribute_not_exists(pk)")
    for page in users_of(client, restored):
        for user in erased_of(client, old, page):
            erase(table, user)
            count += 1
    return count


def erase(table: Table, user: User) -> None:
    """As DELETE /v1/user/... does it, and perhaps just did."""
    with contextlib.suppress(NotFound):
        users.erase(user.id, Account(table, user.account), datetime.now(UTC))


def marks_of(client: "DynamoDBClient", table: str) -> Iterator[Any]:
    """Yield the marks of all users that a table erased."""
    pages = client.get_paginator("scan").paginate(
        TableName=table,
        FilterExpression="sk = :erased",
        ExpressionAttributeValues={":erased": {"S": keys.ERASED}},
    )
    for page in pages:
        yield from page["Items"]


def users_of(client: "DynamoDBClient", table: str) -> Iterator[list[User]]:
    """All users of a table, by pages. Users who are being erased are none."""
    pages = client.get_paginator("scan").paginate(
        TableName=table,
        FilterExpression="sk = :profile AND attribute_exists(createdOn)",
        ExpressionAttributeValues={":profile": {"S": keys.PROFILE}},
        ProjectionExpression="pk",
    )
    for page in pages:
        yield [User(*keys.account_and_user_of({"pk": item["pk"]["S"]})) for item in page["Items"]]


def erased_of(client: "DynamoDBClient", old: str, page: list[User]) -> Iterator[User]:
    """Yield those of the users that the old table erased."""
    by_key = {keys.erased(*user)["pk"]: user for user in page}
    wanted: list[Any] = [to_item(keys.erased(*user)) for user in page]
    while wanted:
        asked: KeysAndAttributesTypeDef = {"Keys": wanted[:KEYS_IN_A_CALL], "ProjectionExpression": "pk"}
        answer = client.batch_get_item(RequestItems={old: asked})
        yield from (by_key[item["pk"]["S"]] for item in answer["Responses"].get(old, []))
        left = answer["UnprocessedKeys"].get(old, {"Keys": []})["Keys"]
        wanted = wanted[KEYS_IN_A_CALL:] + list(left)
        if left:  # throttled
            time.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
