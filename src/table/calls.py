"""Calls of DynamoDB, with time limits, retries and errors. A call that fails raises a problem of `domain.problems`.

Items are plain dicts of JSON values here. Other modules decide what a condition means.
"""

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, cast

import botocore
from botocore.config import Config
from botocore.exceptions import ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as ConnectError
from botocore.handlers import BUILTIN_HANDLERS
from botocore.loaders import Loader
from botocore.session import Session

from domain.backoff import backoff
from domain.problems import Unavailable, too_large, unavailable
from table.attribute_values import from_item, serialized, to_item
from table.expressions import Action, Item, Put, Update, transaction, written
from table.primary_keys import Key, key_of

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

# The slowest call takes 2 x (1 + 2) s and a pause of 1 s at most. The last call starts at most REQUEST_SECONDS after
# the request, so a request ends before the time limits of the function (15 s) and the gateway (29 s).
CLIENT_CONFIG = Config(
    connect_timeout=1,
    read_timeout=2,
    retries={"mode": "standard", "total_max_attempts": 2},
    tcp_keepalive=True,
    parameter_validation=False,  # DynamoDB validates too; here it takes 3 % of a warm request
    user_agent=f"Botocore/{botocore.__version__}",  # the default one is built again for each call
    max_pool_connections=16,  # the lanes of a batch run in threads
)
# For optional writes: one attempt with short time limits.
FAIL_FAST_CONFIG = Config(connect_timeout=0.2, read_timeout=0.3, retries={"mode": "standard", "total_max_attempts": 1})
REQUEST_SECONDS = 6.0
MAX_ITEM_BYTES = 400 * 1024
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
    """A loader that reads only botocore's data about DynamoDB: a client is ready in 80 % of the time.

    The default loader lists the folders of all services and reads their endpoints in all regions. DynamoDB's endpoint
    rules, which botocore reads anyway, contain its endpoints.

    Attribute values are documents: botocore passes them on, instead of walking each value of each item. It does not
    search the parameters for the table's ARN, which could name another account, because all calls name the table.
    """

    def list_available_services(self, type_name: str) -> list[str]:  # noqa: ARG002 botocore's
        return ["dynamodb"]

    def load_data_with_path(self, name: str) -> tuple[Any, str]:
        if name == "endpoints":
            return {"partitions": []}, self.BUILTIN_DATA_PATH
        data, path = super().load_data_with_path(name)
        if "AttributeValue" in data.get("shapes", ()):
            data["shapes"]["AttributeValue"]["document"] = True
            for operation in data["operations"].values():
                operation.pop("operationContextParams", None)
        return data, path


def new_client(config: Config | None = None) -> "DynamoDBClient":
    """Return botocore's client of DynamoDB. boto3 would wrap the same client and start slower."""
    session = Session(include_builtin_handlers=False)
    for event, handler, *_ in BUILTIN_HANDLERS:
        if "." not in event or ".dynamodb" in event:  # 118 of 127 are for other services
            session.register(event, handler)
    session.register_component("data_loader", DynamoDBLoader())
    client = session.create_client("dynamodb", config=config or CLIENT_CONFIG)
    client.meta.events.register("before-parse.dynamodb", _check_body)
    return cast("DynamoDBClient", client)


@dataclass(frozen=True, slots=True)
class Reasons:
    """Why a transaction was cancelled, by the index of its actions."""

    failed: dict[int, Item] = field(default_factory=dict)  # its condition failed; the existing item ({}: there is none)
    too_large: set[int] = field(default_factory=set)  # its item would exceed 400 KB
    busy: dict[int, str] = field(default_factory=dict)  # a conflict, or throttled; DynamoDB's code


@dataclass(frozen=True, slots=True)
class Store:
    """A table that can be read. The methods that write are implemented by subclasses.

    After `deadline` (time.monotonic) no further call starts. Every method raises Unavailable if DynamoDB throttles or
    does not respond, or if the time is up. It raises TooLarge, which names `field`, if an item would exceed 400 KB.
    """

    client: "DynamoDBClient"
    name: str
    deadline: float

    threads: ClassVar[int] = THREADS  # that may use the table at the same time

    def get(self, key: Key) -> Item | None:
        [found] = self.get_all([key])
        if isinstance(found, Unavailable):
            raise found
        return found

    def get_all(self, wanted: Sequence[Key], *, consistent: bool = True) -> list[Item | Unavailable | None]:
        """Return the item of each key, in their order. None: there is no item. Unavailable: it could not be read."""
        found: dict[Key, Item | Unavailable] = {}
        pending, pauses = list(dict.fromkeys(wanted)), backoff()
        for attempt in range(READ_ATTEMPTS):
            if attempt and pending:
                time.sleep(next(pauses))
            parts = [pending[start : start + MAX_READ] for start in range(0, len(pending), MAX_READ)]
            pending = [key for part in parts for key in self._get_some(part, found, consistent)]
        found |= {key: unavailable("UnprocessedKeys") for key in pending}
        return [found.get(key) for key in wanted]

    def query(
        self, pk: str, between: tuple[str, str] | None = None, values: Mapping[str, Any] | None = None, **options: Any
    ) -> tuple[list[Item], Item | None]:
        """Return a page of a partition, and the key after which the next page starts. None: it was the last page.

        `between` has the first and the last sort key. `options` are parameters, with the `values` of their expressions.
        """
        condition, all_values = "pk = :pk", {":pk": pk, **(values or {})}
        if between:
            condition += " AND sk BETWEEN :first AND :last"
            all_values |= {":first": between[0], ":last": between[1]}
        asked = {"KeyConditionExpression": condition, "ExpressionAttributeValues": all_values, "ConsistentRead": True}
        page = self._call("query", TableName=self.name, **serialized(asked | options))
        last = page.get("LastEvaluatedKey")
        return [from_item(item) for item in page["Items"]], from_item(last) if last else None

    def partition(self, pk: str, between: tuple[str, str] | None = None, **options: Any) -> Iterator[Item]:
        """Yield the items of all pages of a query."""
        items, after = self.query(pk, between, **options)
        yield from items
        while after:
            items, after = self.query(pk, between, **options, ExclusiveStartKey=after)
            yield from items

    def write_one(self, action: Put | Update, *, field: str = "") -> Item | None:
        """Do an action and return None. If its condition fails, return the existing item."""
        failed = self.write([action], field=field)
        return failed[0] if failed else None

    def try_write(self, actions: Sequence[Action], *, field: str = "") -> Reasons | None:
        """Do all actions or none. Return None if they are done."""
        raise NotImplementedError

    def delete_all(self, keys: Iterable[Key]) -> None:
        """Delete items, 25 in a call, until DynamoDB has processed all of them."""
        raise NotImplementedError

    def write(self, actions: Sequence[Action], *, field: str = "") -> dict[int, Item] | None:
        """Do all actions or none. Return None if they are done.

        Otherwise return the existing item ({}: there is none) of each action whose condition failed, by index. If the
        transaction conflicts with another one, it is retried.
        """
        for pause in backoff():
            reasons = self.try_write(actions, field=field)
            if reasons is None:
                return None
            if reasons.failed:
                return reasons.failed
            if reasons.too_large:
                raise too_large(field)
            for code in reasons.busy.values():
                if code != CONFLICT:
                    raise unavailable(code)
            time.sleep(pause)
        raise AssertionError("backoff does not end")

    def _get_some(self, wanted: Sequence[Key], found: dict[Key, Item | Unavailable], consistent: bool) -> list[Key]:
        """Add the items, or Unavailable, to `found`. Return the keys that DynamoDB did not process."""
        listed = [to_item(key._asdict()) for key in wanted]
        try:
            if len(listed) == 1:
                answer = self._call("get_item", TableName=self.name, Key=listed[0], ConsistentRead=consistent)
                found |= {wanted[0]: from_item(answer["Item"])} if "Item" in answer else {}
                return []
            asked = {self.name: {"Keys": listed, "ConsistentRead": consistent}}
            answer = self._call("batch_get_item", RequestItems=asked)
        except Unavailable as refused:
            found |= dict.fromkeys(wanted, refused)
            return []
        found |= {key_of(item): item for item in map(from_item, answer["Responses"].get(self.name, ()))}
        left = answer.get("UnprocessedKeys", {}).get(self.name, {}).get("Keys", ())
        return [key_of(from_item(key)) for key in left]

    def _call(self, operation: str, field: str = "", /, **parameters: Any) -> Any:
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
                raise too_large(field) from error
            raise


class Table(Store):
    """A table that can be written."""

    def write_one(self, action: Put | Update, *, field: str = "") -> Item | None:
        """Do it without a transaction, for half of the units. A client that makes one attempt counts nothing twice."""
        # A second attempt of botocore stores the same item again, or its condition fails and returns that item.
        operation = "put_item" if isinstance(action, Put) else "update_item"
        for pause in backoff():
            try:
                self._call(operation, field, **written(action, self.name))
                return None
            except ClientError as error:
                code = error.response["Error"]["Code"]
                if code == "ConditionalCheckFailedException":
                    return from_item(cast("dict[str, Any]", error.response).get("Item", {}))
                if code != "TransactionConflictException":  # another request writes the same event in a transaction
                    raise
            time.sleep(pause)
        raise AssertionError("backoff does not end")

    def try_write(self, actions: Sequence[Action], *, field: str = "") -> Reasons | None:
        # botocore sends the same token with each attempt, so DynamoDB does not repeat a transaction that was done.
        try:
            self._call("transact_write_items", field, TransactItems=transaction(actions, self.name))
        except ClientError as error:
            reasons = _reasons(error.response.get("CancellationReasons", ()))
            if reasons == Reasons():
                raise
            return reasons
        return None

    def delete_all(self, keys: Iterable[Key]) -> None:
        pending: list[Any] = [{"DeleteRequest": {"Key": to_item(key._asdict())}} for key in keys]
        pauses = backoff()
        while pending:
            batch, pending = pending[:MAX_DELETED], pending[MAX_DELETED:]
            answer = self._call("batch_write_item", RequestItems={self.name: batch})
            if left := answer.get("UnprocessedItems", {}).get(self.name):
                pending += left
                time.sleep(next(pauses))


def code_of(error: BaseException) -> str | None:
    """Return DynamoDB's code of an unexpected error, such as AccessDeniedException. None for other exceptions."""
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
    """Return whether an item is too large. DynamoDB reports it with the general code of validation errors."""
    return code in ("ValidationException", "ValidationError") and "tem size" in message


def _check_body(response_dict: dict[str, Any], **_: Any) -> None:
    """Raise HTTPClientError if a response is not a JSON object.

    botocore would crash, or read it as {}: then an existing user would seem unknown.
    """
    try:
        if isinstance(json.loads(response_dict["body"]), dict):
            return
    except ValueError:
        pass
    if response_dict["status_code"] < 500:
        raise HTTPClientError(error="the body is not a JSON object")
    response_dict["body"] = b""  # botocore retries it
