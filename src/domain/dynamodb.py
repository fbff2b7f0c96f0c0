"""DynamoDB calls that either did what they say or raise a problem: time limits, retries, errors.

Items are plain dicts of JSON values here. What an expression means is `store`'s business.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from secrets import SystemRandom
from typing import TYPE_CHECKING, Any, cast

import botocore
from botocore.config import Config
from botocore.exceptions import ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as ConnectError
from botocore.loaders import Loader
from botocore.session import get_session

from domain.problems import STORE_UNAVAILABLE, TooLarge, Unavailable, too_large
from domain.values import AttributeValue, deserialize, serialize

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

Item = dict[str, Any]
Action = dict[str, dict[str, Any]]  # one entry of TransactItems

# The slowest call takes 2 x (1 + 2) s and a pause of 1 s at most. The last one starts REQUEST_SECONDS
# after the request did, so all is over before the function's time limit (15 s) and the gateway's (29 s).
CLIENT_CONFIG = Config(
    connect_timeout=1,
    read_timeout=2,
    retries={"mode": "standard", "total_max_attempts": 2},
    tcp_keepalive=True,
    parameter_validation=False,  # DynamoDB checks the same again; here it takes a thirtieth of a warm request
    user_agent=f"Botocore/{botocore.__version__}",  # the usual one says more, and is put together anew for each call
)
REQUEST_SECONDS = 6.0
LONGEST_PAUSE_SECONDS = 0.4

# Codes of errors and of cancellation reasons after which the same request may succeed later:
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html
UNAVAILABLE = {
    "InternalFailure",
    "InternalServerError",
    "ProvisionedThroughputExceeded",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "ServiceUnavailable",
    "ThrottlingError",
    "ThrottlingException",
    "TransactionInProgressException",
}


class DynamoDBLoader(Loader):
    """What a client of DynamoDB needs of botocore's data; the rest takes a fifth of the time to start one.

    botocore would look through the folders of all services, and read where each of them is in each region. Where
    DynamoDB is, its endpoint rules say, which botocore reads besides.
    """

    def list_available_services(self, type_name: str) -> list[str]:  # noqa: ARG002 botocore's
        return ["dynamodb"]

    def load_data_with_path(self, name: str) -> tuple[Any, str]:
        if name == "endpoints":
            return {"partitions": []}, self.BUILTIN_DATA_PATH
        return super().load_data_with_path(name)


def new_client() -> "DynamoDBClient":
    """botocore's client: the same as boto3's, without the parts of boto3 that nothing here uses."""
    session = get_session()
    session.register_component("data_loader", DynamoDBLoader())
    client = session.create_client("dynamodb", config=CLIENT_CONFIG)
    client.meta.events.register("before-parse.dynamodb", _check_body)
    return cast("DynamoDBClient", client)


@dataclass(frozen=True, slots=True)
class Table:
    """One table, for one request: after `deadline` (time.monotonic) no further call starts.

    Every method raises Unavailable when DynamoDB throttles, does not answer, or the time is up, and
    TooLarge, naming the field `blame`, when an item would exceed 400 KB.
    """

    client: "DynamoDBClient"
    name: str
    deadline: float

    def get(self, key: Mapping[str, str], *, consistent: bool = True) -> Item | None:
        found = self._call("get_item", TableName=self.name, Key=to_item(key), ConsistentRead=consistent)
        return from_item(found["Item"]) if "Item" in found else None

    def query(self, **parameters: Any) -> tuple[list[Item], Item | None]:
        """One page: its items, and the key after which the next page starts."""
        page = self._call("query", TableName=self.name, **parameters)
        last = page.get("LastEvaluatedKey")
        return [from_item(item) for item in page["Items"]], from_item(last) if last else None

    def partition(self, pk: str) -> Iterator[Item]:
        """All items of a partition, by their sort key."""
        parameters: dict[str, Any] = {
            "KeyConditionExpression": "pk = :pk",
            "ExpressionAttributeValues": to_item({":pk": pk}),
            "ConsistentRead": True,
        }
        while True:
            items, last = self.query(**parameters)
            yield from items
            if last is None:
                return
            parameters["ExclusiveStartKey"] = to_item(last)

    def put(self, item: Item, *, blame: str) -> None:
        """Stores the item. A retry stores the same again, so it does no harm."""
        self._call("put_item", blame, TableName=self.name, Item=to_item(item))

    def write(self, actions: Sequence[Action], *, blame: str = "") -> dict[int, Item] | None:
        """Does all the actions, or none. None: done. Else the index of each action whose condition
        failed, with the item that was there ({} when there was none).

        botocore sends one token with all attempts of a call, so a retry after a lost answer does not do
        it again. A transaction that another one disturbed (TransactionConflict) was not done, and
        botocore leaves it to us to try again.
        """
        items = [
            {kind: {"TableName": self.name, "ReturnValuesOnConditionCheckFailure": "ALL_OLD", **parameters}}
            for action in actions
            for kind, parameters in action.items()
        ]
        for pause in _pauses():
            try:
                self._call("transact_write_items", blame, TransactItems=items)
                return None
            except ClientError as error:
                reasons = error.response.get("CancellationReasons")
                if reasons is None:
                    raise
                failed = {
                    index: from_item(reason.get("Item", {}))
                    for index, reason in enumerate(reasons)
                    if reason["Code"] == "ConditionalCheckFailed"
                }
                if failed:  # the truth, whatever else is among the reasons: this stood in the way
                    return failed
                for reason in reasons:
                    _refuse(reason["Code"], reason.get("Message", ""), blame)
                if not any(reason["Code"] == "TransactionConflict" for reason in reasons):
                    raise
            time.sleep(pause)
        raise AssertionError("_pauses does not end")

    def delete_all(self, keys: Sequence[Mapping[str, str]]) -> None:
        """Deletes items, 25 in a call, until DynamoDB has taken each of them."""
        pending: list[Any] = [{"DeleteRequest": {"Key": to_item(key)}} for key in keys]
        pauses = _pauses()
        while pending:
            batch, pending = pending[:25], pending[25:]
            answer = self._call("batch_write_item", RequestItems={self.name: batch})
            if left := answer.get("UnprocessedItems", {}).get(self.name):
                pending += left
                time.sleep(next(pauses))

    def _call(self, operation: str, blame: str = "", /, **parameters: Any) -> Any:
        if time.monotonic() >= self.deadline:
            raise Unavailable([STORE_UNAVAILABLE])
        try:
            return getattr(self.client, operation)(**parameters)
        except (HTTPClientError, ConnectError) as error:
            raise Unavailable([STORE_UNAVAILABLE]) from error
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500:
                raise Unavailable([STORE_UNAVAILABLE]) from error
            _refuse(error.response["Error"]["Code"], error.response["Error"]["Message"], blame)
            raise


def _check_body(response_dict: dict[str, Any], **_: Any) -> None:
    """botocore fails on a body that is no JSON object, or takes it for {}: a user who is there would be unknown."""
    try:
        if isinstance(json.loads(response_dict["body"]), dict):
            return
    except ValueError:
        pass
    if response_dict["status_code"] < 500:
        raise HTTPClientError(error="the body is no JSON object")
    response_dict["body"] = b""  # an error that botocore knows, and after which it tries again


def to_item(values: Mapping[str, Any]) -> dict[str, AttributeValue]:
    return {name: serialize(value) for name, value in values.items()}


def from_item(item: Mapping[str, Any]) -> Item:
    return {name: deserialize(value) for name, value in item.items()}


def _refuse(code: str, message: str, blame: str) -> None:
    """Raises the problem that an error code of DynamoDB stands for, if it stands for one."""
    if code in UNAVAILABLE:
        raise Unavailable([STORE_UNAVAILABLE])
    # There is no code of its own for this: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/CommonErrors.html
    if code in ("ValidationException", "ValidationError") and "tem size" in message:
        raise TooLarge([too_large(blame)])


def _pauses() -> Iterator[float]:
    """Seconds to wait before the next attempt: exponential with full jitter. The deadline ends it."""
    longest = 0.02
    while True:
        # By the system, because functions that start from one snapshot have the same random state in their memory.
        yield SystemRandom().uniform(0, longest)
        longest = min(2 * longest, LONGEST_PAUSE_SECONDS)
