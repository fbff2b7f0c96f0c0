"""Pass a table's stream to the feed function as Lambda documents it, with a bus that can fail.

DynamoDB Local has the stream. The emulator of `make run` invokes the function too, but does not handle failures.

https://docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-errors.html
https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html
"""

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from botocore.awsrequest import AWSPreparedRequest
from botocore.exceptions import ReadTimeoutError
from mypy_boto3_dynamodbstreams import DynamoDBStreamsClient

from api.gateway import invoke
from documents import RESOURCES
from faults import answers, hooked
from handlers import feed

Record = dict[str, Any]
MAPPING: dict[str, Any] = RESOURCES["FeedSource"]["Properties"]
PATTERNS = [json.loads(each["Pattern"]) for each in MAPPING["FilterCriteria"]["Filters"]]


# --- The bus --------------------------------------------------------------------------------------


@dataclass
class Bus:
    """The events that the function put on the bus; `faults` decide the next calls of PutEvents."""

    sent: list[dict[str, Any]] = field(default_factory=list)
    """The entries of every call, in order, with their "ErrorCode"."""
    calls: list[int] = field(default_factory=list)
    """The number of entries of each call."""
    faults: "Iterator[BusFault | None]" = field(default_factory=lambda: iter(()))

    @classmethod
    @contextlib.contextmanager
    def running(cls) -> Iterator["Bus"]:
        bus = cls()
        with hooked(feed.client, "before-send.events.PutEvents", bus.answer):
            yield bus

    def answer(self, request: AWSPreparedRequest, **_: Any) -> Any:
        assert isinstance(request.body, bytes)
        entries = json.loads(request.body)["Entries"]
        fault = next(self.faults, None)
        codes = fault(entries) if fault else [None] * len(entries)
        self.calls.append(len(entries))
        if isinstance(codes, str):
            self.sent += [entry | {"ErrorCode": codes} for entry in entries]
            return answers({"__type": codes, "message": "injected"}, 400)(request)
        self.sent += [entry | {"ErrorCode": code} for entry, code in zip(entries, codes, strict=True)]
        results = [{"ErrorCode": code, "ErrorMessage": "injected"} if code else {"EventId": "id"} for code in codes]
        return answers({"FailedEntryCount": sum(map(bool, codes)), "Entries": results})(request)

    def published(self, kind: str = "EventCreated") -> list[dict[str, Any]]:
        """The details of a kind that are on the bus."""
        return [json.loads(e["Detail"]) for e in self.sent if e["DetailType"] == kind and not e["ErrorCode"]]


# The error code of each entry, or one for the whole call.
BusFault = Callable[[Sequence[dict[str, Any]]], Sequence[str | None] | str]


def throttled(entries: Sequence[dict[str, Any]]) -> str:
    """Throttle the call."""
    return "ThrottlingException"


def denied(entries: Sequence[dict[str, Any]]) -> str:
    """Deny the call, as if the function's role had changed."""
    return "AccessDeniedException"


def no_answer(entries: Sequence[dict[str, Any]]) -> str:
    raise ReadTimeoutError(endpoint_url="the bus")


def throttled_but(number: int) -> BusFault:
    """Only the first entries get through."""
    return lambda entries: [None if index < number else "ThrottlingException" for index in range(len(entries))]


def malformed(what: str) -> BusFault:
    """The entry that has this text in it is refused, whenever it comes."""
    return lambda entries: ["MalformedDetail" if what in entry["Detail"] else None for entry in entries]


# --- The pump -------------------------------------------------------------------------------------


def records_of(client: DynamoDBStreamsClient, stream_arn: str) -> list[Record]:
    """All records of a stream, as Lambda hands them over."""
    found = []
    for shard in client.describe_stream(StreamArn=stream_arn)["StreamDescription"]["Shards"]:
        start: Any = {"ShardId": shard["ShardId"], "ShardIteratorType": "TRIM_HORIZON"}
        iterator = client.get_shard_iterator(StreamArn=stream_arn, **start)["ShardIterator"]
        while page := client.get_records(ShardIterator=iterator):
            found += [as_lambda_has_it(record, stream_arn) for record in page["Records"]]
            iterator = page.get("NextShardIterator", "")
            if not page["Records"] or not iterator:
                break
    return found


def as_lambda_has_it(record: Any, stream_arn: str) -> Record:
    dynamodb = record["dynamodb"]
    changed = {"ApproximateCreationDateTime": dynamodb["ApproximateCreationDateTime"].timestamp()}
    if "NewImage" in dynamodb:
        changed["NewImage"] = {name: _whole(value) for name, value in dynamodb["NewImage"].items()}
    return {**record, "dynamodb": dynamodb | changed, "eventSourceARN": stream_arn}


def _whole(value: dict[str, Any]) -> dict[str, Any]:
    """Repair an image: DynamoDB Local writes an empty map as {}, which is not an attribute value."""
    if not value:
        return {"M": {}}
    [(kind, content)] = value.items()
    if kind == "M":
        return {"M": {name: _whole(each) for name, each in content.items()}}
    return {"L": [_whole(each) for each in content]} if kind == "L" else value


def passes(record: Any, pattern: Any, *, present: bool = True) -> bool:
    """Return whether a record matches a filter pattern, with those of AWS's operators that the template uses."""
    if isinstance(pattern, dict):
        inner = record if isinstance(record, dict) else {}
        return all(passes(inner.get(name), each, present=name in inner) for name, each in pattern.items())
    return any(_matches(record, each, present) for each in pattern)


def _matches(value: Any, rule: Any, present: bool) -> bool:
    if not isinstance(rule, dict):
        return present and bool(value == rule)
    [(operator, operand)] = rule.items()
    if operator == "prefix":
        return isinstance(value, str) and value.startswith(operand)
    assert operator == "exists", operator
    return present is operand


@dataclass
class Pump:
    """Lambda's event source mapping, with the settings of the template."""

    give_up_after: int = MAPPING["MaximumRetryAttempts"]
    invocations: list[int] = field(default_factory=list)
    """How many records each had."""
    queue: list[dict[str, Any]] = field(default_factory=list)
    """The messages of the on-failure destination."""

    def pump(self, records: Sequence[Record], invoke_function: Callable[[Any], Any] | None = None) -> None:
        passed = [record for record in records if any(passes(record, pattern) for pattern in PATTERNS)]
        size = MAPPING["BatchSize"]
        for start in range(0, len(passed), size):
            self._process(passed[start : start + size], 0, invoke_function or invoke_feed)

    def _process(self, batch: Sequence[Record], attempt: int, invoke_function: Callable[[Any], Any]) -> None:
        """One batch until it is done or given up; a part of a halved batch has all its attempts."""
        self.invocations.append(len(batch))
        try:
            answer = invoke_function({"Records": json.loads(json.dumps(batch))})
        except BaseException:  # noqa: BLE001 for Lambda, any exception is a failed invocation
            if len(batch) > 1:
                assert MAPPING["BisectBatchOnFunctionError"]
                half = len(batch) // 2
                self._process(batch[:half], 0, invoke_function)
                self._process(batch[half:], 0, invoke_function)
                return
            left = batch
        else:
            assert MAPPING["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
            left = batch[checkpoint(batch, answer) :]
        if not left:
            return
        if attempt == self.give_up_after:
            self.queue.append(failure_message(left))
        else:
            self._process(left, attempt + 1, invoke_function)


def checkpoint(batch: Sequence[Record], answer: Any) -> int:
    """The index of the first record that Lambda hands over again."""
    reported = {each["itemIdentifier"] for each in answer["batchItemFailures"]}
    numbers = [record["dynamodb"]["SequenceNumber"] for record in batch]
    assert reported <= set(numbers), "an identifier that is none makes the whole batch fail"
    return min((numbers.index(each) for each in reported), default=len(batch))


def failure_message(batch: Sequence[Record]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-errors.html"""
    info = {
        "shardId": "shard",
        "startSequenceNumber": batch[0]["dynamodb"]["SequenceNumber"],
        "endSequenceNumber": batch[-1]["dynamodb"]["SequenceNumber"],
        "batchSize": len(batch),
        "streamArn": batch[0]["eventSourceARN"],
    }
    return {"requestContext": {"condition": "RetryAttemptsExhausted"}, "DDBStreamBatchInfo": info}


def invoke_feed(event: Any) -> Any:
    return invoke("FeedFunction", event)
