"""DynamoDB's calls: each did what it says, or raises a problem. Time limits, retries, errors.

Items are plain dicts of JSON values here. What an expression means is for the other rooms to say.
"""

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import botocore
from botocore.config import Config
from botocore.exceptions import ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as ConnectError
from botocore.loaders import Loader
from botocore.session import get_session

from domain.backoff import backoff
from domain.problems import TooLarge, Unavailable, too_large, unavailable
from table.attribute_values import from_item, to_item
from table.expressions import VERBS, Action, Item, Put, Update, written
from table.primary_keys import Key

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

# The slowest call takes 2 x (1 + 2) s and a pause of 1 s at most. The last one starts at most REQUEST_SECONDS after the
# request did, so all is over before the function's time limit (15 s) and the gateway's (29 s).
CLIENT_CONFIG = Config(
    connect_timeout=1,
    read_timeout=2,
    retries={"mode": "standard", "total_max_attempts": 2},
    tcp_keepalive=True,
    parameter_validation=False,  # DynamoDB checks the same again; here it takes a thirtieth of a warm request
    user_agent=f"Botocore/{botocore.__version__}",  # the usual one says more, and is put together anew for each call
    max_pool_connections=16,  # the lanes of a batch run in threads
)
# For what is not worth a wait: one attempt.
IMPATIENT_CONFIG = Config(connect_timeout=0.2, read_timeout=0.3, retries={"mode": "standard", "total_max_attempts": 1})
REQUEST_SECONDS = 6.0
MAX_READ, MAX_DELETED, MAX_ACTIONS = 100, 25, 100  # items in one BatchGetItem, BatchWriteItem, TransactWriteItems
THREADS = 8  # that write a batch
READ_ATTEMPTS = 4  # of a key that DynamoDB leaves out of its answers to BatchGetItem

# Codes of errors and of cancellation reasons after which the same request may succeed later:
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html
THROTTLING_CODES = {
    "ProvisionedThroughputExceeded",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "ThrottlingError",
    "ThrottlingException",
}
RETRYABLE_CODES = THROTTLING_CODES | {
    "InternalFailure",
    "InternalServerError",
    "ServiceUnavailable",
    "TransactionInProgressException",
}
CONFLICT = "TransactionConflict"


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


def new_client(config: Config | None = None) -> "DynamoDBClient":
    """botocore's client: the same as boto3's, without the parts of boto3 that nothing here uses."""
    session = get_session()
    session.register_component("data_loader", DynamoDBLoader())
    client = session.create_client("dynamodb", config=config or CLIENT_CONFIG)
    client.meta.events.register("before-parse.dynamodb", _check_body)
    return cast("DynamoDBClient", client)


@dataclass(frozen=True, slots=True)
class Reasons:
    """Why a transaction was not done, by the index of its actions."""

    failed: dict[int, Item] = field(default_factory=dict)
    """Conditions that did not hold, with the item that was there ({} where there was none)."""
    too_large: set[int] = field(default_factory=set)
    """Items that would exceed 400 KB."""
    busy: dict[int, str] = field(default_factory=dict)
    """Items that another transaction or too much traffic stood in front of, with DynamoDB's code."""


@dataclass(frozen=True, slots=True)
class Store:
    """What can be read of a table, and how it is written: the latter only subclasses can.

    After `deadline` (time.monotonic) no further call starts. Every method raises Unavailable when DynamoDB throttles,
    does not answer, or the time is up, and TooLarge, naming the field `blame`, when an item would exceed 400 KB.
    """

    client: "DynamoDBClient"
    name: str
    deadline: float

    @property
    def threads(self) -> int:
        """How many threads may use it at a time."""
        return THREADS

    def get(self, key: Key, *, consistent: bool = True) -> Item | None:
        found = self._call("get_item", TableName=self.name, Key=to_item(key), ConsistentRead=consistent)
        return from_item(found["Item"]) if "Item" in found else None

    def get_all(self, wanted: Sequence[Key], *, consistent: bool = True) -> list[Item | Unavailable | None]:
        """Return the items of the keys, in their order. Unavailable stands for one that DynamoDB does not answer."""
        found: dict[tuple[str, str], Item | Unavailable] = {}
        pending = list({(key["pk"], key["sk"]): key for key in wanted}.values())
        pauses = backoff()
        for attempt in range(READ_ATTEMPTS):
            if attempt and pending:
                time.sleep(next(pauses))
            left: list[Key] = []
            for start in range(0, len(pending), MAX_READ):
                left += self._get_some(pending[start : start + MAX_READ], found, consistent)
            pending = left
        found |= {(key["pk"], key["sk"]): unavailable("UnprocessedKeys") for key in pending}
        return [found.get((key["pk"], key["sk"])) for key in wanted]

    def query(self, **parameters: Any) -> tuple[list[Item], Item | None]:
        """One page: its items, and the key after which the next page starts."""
        page = self._call("query", TableName=self.name, **parameters)
        last = page.get("LastEvaluatedKey")
        return [from_item(item) for item in page["Items"]], from_item(last) if last else None

    def partition(self, pk: str, between: tuple[str, str] | None = None) -> Iterator[Item]:
        """The items of a partition by their sort keys: all, or those from the first to the last of two sort keys."""
        condition, values = "pk = :pk", {":pk": pk}
        if between:
            condition, values = (
                f"{condition} AND sk BETWEEN :first AND :last",
                values | dict(zip((":first", ":last"), between, strict=True)),
            )
        parameters: dict[str, Any] = {
            "KeyConditionExpression": condition,
            "ExpressionAttributeValues": to_item(values),
            "ConsistentRead": True,
        }
        while True:
            items, last = self.query(**parameters)
            yield from items
            if last is None:
                return
            parameters["ExclusiveStartKey"] = to_item(last)

    def put(self, action: Put, *, blame: str) -> Item | None:
        """Store the item, or return the one that is there if its condition fails. None: it is stored."""
        raise NotImplementedError

    def try_write(self, actions: Sequence[Action], *, blame: str = "") -> Reasons | None:
        """Do all the actions, or none. None: done."""
        raise NotImplementedError

    def update(self, action: Update) -> bool:
        """Do one action. False: its condition failed."""
        raise NotImplementedError

    def delete_all(self, keys: Iterable[Key]) -> None:
        """Delete items."""
        raise NotImplementedError

    def write(self, actions: Sequence[Action], *, blame: str = "") -> dict[int, Item] | None:
        """Do all the actions, or none. None: done. Else the index of each action whose condition failed, with the
        item that was there ({} if there was none). A transaction that another one disturbed is tried again.
        """
        for pause in backoff():
            reasons = self.try_write(actions, blame=blame)
            if reasons is None:
                return None
            if reasons.failed:  # the truth, whatever else is among the reasons
                return reasons.failed
            if reasons.too_large:
                raise TooLarge([too_large(blame)])
            for code in reasons.busy.values():
                if code != CONFLICT:
                    raise unavailable(code)
            time.sleep(pause)
        raise AssertionError("backoff does not end")

    def _get_some(
        self, wanted: Sequence[Key], found: dict[tuple[str, str], Item | Unavailable], consistent: bool
    ) -> list[Key]:
        """Add to `found` what DynamoDB answers, or why it does not; return the keys that it left out."""
        try:
            if len(wanted) == 1:
                item = self.get(wanted[0], consistent=consistent)
                found |= {(wanted[0]["pk"], wanted[0]["sk"]): item} if item else {}
                return []
            asked = {"Keys": [to_item(key) for key in wanted], "ConsistentRead": consistent}
            answer = self._call("batch_get_item", RequestItems={self.name: asked})
        except Unavailable as refused:
            found |= {(key["pk"], key["sk"]): refused for key in wanted}
            return []
        for item in map(from_item, answer["Responses"].get(self.name, ())):
            found[item["pk"], item["sk"]] = item
        left = answer.get("UnprocessedKeys", {}).get(self.name, {}).get("Keys", ())
        return [from_item(key) for key in left]

    def _call(self, operation: str, blame: str = "", /, **parameters: Any) -> Any:
        if time.monotonic() >= self.deadline:
            raise unavailable("OutOfTime")
        try:
            return getattr(self.client, operation)(**parameters)
        except (HTTPClientError, ConnectError) as error:
            raise unavailable("NoAnswer") from error
        except ClientError as error:
            code, message = error.response["Error"]["Code"], error.response["Error"]["Message"]
            if error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500 or code in RETRYABLE_CODES:
                raise unavailable(code) from error
            if _is_size(code, message):
                raise TooLarge([too_large(blame)]) from error
            raise


@dataclass(frozen=True, slots=True)
class Table(Store):
    """A table that is written."""

    def put(self, action: Put, *, blame: str) -> Item | None:
        """Stores the item, or returns the one that is there if the condition fails. None: it is stored.

        botocore may try twice: without a condition that stores the same again; with one, the second try meets the
        first.
        """
        returned = {"ReturnValuesOnConditionCheckFailure": "ALL_OLD"} if action.condition is not None else {}
        for pause in backoff():
            try:
                self._call("put_item", blame, TableName=self.name, **written(action), **returned)
                return None
            except ClientError as error:
                code = error.response["Error"]["Code"]
                if code == "ConditionalCheckFailedException":
                    return from_item(cast("dict[str, Any]", error.response).get("Item", {}))
                if code != "TransactionConflictException":  # somebody sends the same event in a transaction
                    raise
            time.sleep(pause)
        raise AssertionError("backoff does not end")

    def try_write(self, actions: Sequence[Action], *, blame: str = "") -> Reasons | None:
        """Does all the actions, or none. None: done.

        botocore sends one token with all attempts of a call, so a retry after a lost answer does not do it again.
        """
        items = [
            {
                VERBS[type(action)]: {
                    "TableName": self.name,
                    "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
                    **written(action),
                }
            }
            for action in actions
        ]
        try:
            self._call("transact_write_items", blame, TransactItems=items)
        except ClientError as error:
            listed = error.response.get("CancellationReasons")
            if listed is None:
                raise
            reasons = _reasons(listed)
            if not (reasons.failed or reasons.too_large or reasons.busy):
                raise
            return reasons
        return None

    def update(self, action: Update) -> bool:
        """Do one UpdateItem. Return False if its condition fails. For counts, with a client that makes one attempt,
        because a second one would add again.
        """
        try:
            self._call("update_item", TableName=self.name, **written(action))
        except ClientError as error:
            if code_of(error) != "ConditionalCheckFailedException":
                raise
            return False
        return True

    def delete_all(self, keys: Iterable[Key]) -> None:
        """Deletes items, 25 in a call, until DynamoDB has taken each of them."""
        pending: list[Any] = [{"DeleteRequest": {"Key": to_item(key)}} for key in keys]
        pauses = backoff()
        while pending:
            batch, pending = pending[:MAX_DELETED], pending[MAX_DELETED:]
            answer = self._call("batch_write_item", RequestItems={self.name: batch})
            if left := answer.get("UnprocessedItems", {}).get(self.name):
                pending += left
                time.sleep(next(pauses))


def code_of(error: BaseException) -> str | None:
    """Return DynamoDB's code of an error that no method of `Table` expects, such as AccessDeniedException."""
    return error.response["Error"]["Code"] if isinstance(error, ClientError) else None


def _reasons(listed: Sequence[Mapping[str, Any]]) -> Reasons:
    reasons = Reasons()
    for index, reason in enumerate(listed):
        code = reason["Code"]
        if code == "ConditionalCheckFailed":
            reasons.failed[index] = from_item(reason.get("Item", {}))
        elif code == CONFLICT or code in RETRYABLE_CODES:
            reasons.busy[index] = code
        elif _is_size(code, reason.get("Message", "")):
            reasons.too_large.add(index)
    return reasons


def _is_size(code: str, message: str) -> bool:
    """There is no code of its own for this:
    https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/CommonErrors.html
    """
    return code in ("ValidationException", "ValidationError") and "tem size" in message


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
