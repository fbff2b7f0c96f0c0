"""The floor: for each event the same DynamoDB calls and items, by boto3's client, and nothing else.

No validation, no logging, no metrics, no errors. It shares no code with the functions.
"""

import json
import os
import time
import uuid
from decimal import Decimal
from typing import Any

import boto3
from boto3.dynamodb.types import TypeSerializer

TABLE_NAME = os.environ["TABLE_NAME"]
client = boto3.client("dynamodb")
serialize = TypeSerializer().serialize


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    body = json.loads(event["body"], parse_float=Decimal)
    [(event_type, payload)] = body["event"].items()
    account = event["requestContext"]["authorizer"]["account"]
    email = {"S": f"{account}#EMAIL#{body['user']['email']}"}
    user_id = client.get_item(TableName=TABLE_NAME, Key={"pk": email, "sk": {"S": "EMAIL"}}, ConsistentRead=True)[
        "Item"
    ]["userId"]["S"]
    user = {"S": f"{account}#USER#{user_id}"}
    event_id = f"{milliseconds():x}-{uuid.uuid4()}"
    item = {
        "pk": user,
        "sk": {"S": f"EVENT#{event_id}"},
        "type": {"S": event_type},
        "payload": serialize(payload),
    }
    match event_type:
        case "update":
            sets = {f":{name}": serialize(value) for name, value in payload.items()}
            write(item, update(user, f"SET {', '.join(f'attributes.{name} = :{name}' for name in payload)}", sets))
        case "confirmation":
            order = {"pk": {"S": f"{account}#ORDER#{payload['orderId']}"}, "sk": {"S": "ORDER"}}
            total = {":total": {"N": str(payload["total"])}, ":one": {"N": "1"}}
            totals = update(user, "ADD totalPurchasesValue :total, numberOfPurchases :one", total)
            write(item, totals, put(order | {"eventId": {"S": event_id}}))
        case "emailopen":
            if not open_is_known(user):
                marker = {
                    "pk": user,
                    "sk": {"S": "EMAILOPEN"},
                    "until": {"N": str(time.time_ns() // 1000000 + 1200000)},
                }
                write(item, update(user, "SET lastEmailOpenDate = :now", {":now": {"S": "now"}}), put(marker))
        case _:
            client.put_item(TableName=TABLE_NAME, Item=item)
    return {
        "statusCode": 200,
        "headers": {"Content-Type": "application/json", "X-Event-Id": event_id},
        "body": json.dumps({"results": {"message": "Event created"}}),
    }


def open_is_known(user: dict[str, str]) -> bool:
    found = client.get_item(TableName=TABLE_NAME, Key={"pk": user, "sk": {"S": "EMAILOPEN"}})
    return "Item" in found and int(found["Item"]["until"]["N"]) > milliseconds()


def milliseconds() -> int:
    return time.time_ns() // 1_000_000


def put(item: dict[str, Any]) -> dict[str, Any]:
    return {"Put": {"TableName": TABLE_NAME, "Item": item, "ConditionExpression": "attribute_not_exists(pk)"}}


def update(user: dict[str, str], expression: str, values: dict[str, Any]) -> dict[str, Any]:
    return {
        "Update": {
            "TableName": TABLE_NAME,
            "Key": {"pk": user, "sk": {"S": "PROFILE"}},
            "UpdateExpression": expression,
            "ConditionExpression": "attribute_exists(pk)",
            "ExpressionAttributeValues": values,
        }
    }


def write(item: dict[str, Any], *actions: Any) -> None:
    try:
        client.transact_write_items(TransactItems=[put(item), *actions])  # type: ignore[list-item]
    except client.exceptions.TransactionCanceledException:
        return  # an order or an open that is known
