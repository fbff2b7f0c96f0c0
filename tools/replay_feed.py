"""Publishes what the feed gave up: python -m tools.replay_feed STACK, signed in to its account and region.

Each message of FeedQueue names a stretch of the table's stream. This reads the stretch, hands it to FeedFunction and
deletes the message when all of it is on the bus. Safe to run at any time: what is published twice is known by its id.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mypy_boto3_dynamodbstreams import DynamoDBStreamsClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_sqs import SQSClient

Record = dict[str, Any]
MAX_RECORDS = 100
MAX_BYTES = 4_000_000  # Lambda takes 6 MB
INVISIBLE_SECONDS = 600  # a message that stays in the queue is not met again in the same run
# The function may take a minute, and is not asked twice.
LAMBDA_CONFIG = Config(read_timeout=90, retries={"total_max_attempts": 1})


def main() -> int:
    """1 when messages are left."""
    [stack_name] = sys.argv[1:]
    outputs = outputs_of(stack_name)
    sqs: SQSClient = boto3.client("sqs")
    done = left = 0
    for message in messages(sqs, outputs["FeedQueueUrl"]):
        problem = replay(json.loads(message["Body"])["DDBStreamBatchInfo"], outputs["FeedFunctionName"])
        if problem:
            print(problem)
            left += 1
        else:
            sqs.delete_message(QueueUrl=outputs["FeedQueueUrl"], ReceiptHandle=message["ReceiptHandle"])
            done += 1
    print(f"{done} published, {left} left in the queue")
    return 1 if left else 0


def outputs_of(stack_name: str) -> dict[str, str]:
    [stack] = boto3.client("cloudformation").describe_stacks(StackName=stack_name)["Stacks"]
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


def messages(sqs: "SQSClient", queue_url: str) -> Iterator[Any]:
    """Each message of the queue."""
    while found := sqs.receive_message(
        QueueUrl=queue_url, MaxNumberOfMessages=10, VisibilityTimeout=INVISIBLE_SECONDS, WaitTimeSeconds=1
    ).get("Messages"):
        yield from found


def replay(stretch: dict[str, Any], function_name: str) -> str | None:
    """Publish a stretch again; return the reason of a failure, or None if all of it is on the bus."""
    functions: LambdaClient = boto3.client("lambda", config=LAMBDA_CONFIG)
    try:
        records = list(records_of(boto3.client("dynamodbstreams"), stretch))
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("TrimmedDataAccessException", "ResourceNotFoundException"):
            raise
        return f"Too late, the stream has forgotten what happened from {stretch['approximateArrivalOfFirstRecord']} on"
    for batch in batches(records):
        payload = json.dumps({"Records": batch})
        answer = functions.invoke(FunctionName=function_name, Qualifier="live", Payload=payload)
        result = json.load(answer["Payload"])
        if "FunctionError" in answer or result["batchItemFailures"]:
            return f"Failed again, see the function's log: shard {stretch['shardId']}, {json.dumps(result)}"
    return None


def records_of(streams: "DynamoDBStreamsClient", stretch: dict[str, Any]) -> Iterator[Record]:
    """Yield the records of a stretch in the form in which Lambda passes them."""
    last = int(stretch["endSequenceNumber"])
    iterator = streams.get_shard_iterator(
        StreamArn=stretch["streamArn"],
        ShardId=stretch["shardId"],
        ShardIteratorType="AT_SEQUENCE_NUMBER",
        SequenceNumber=stretch["startSequenceNumber"],
    ).get("ShardIterator")
    while iterator:
        page = streams.get_records(ShardIterator=iterator)
        for record in page["Records"]:
            if int(record["dynamodb"]["SequenceNumber"]) > last:
                return
            created = record["dynamodb"]["ApproximateCreationDateTime"].timestamp()
            yield {**record, "dynamodb": {**record["dynamodb"], "ApproximateCreationDateTime": created}}
            if int(record["dynamodb"]["SequenceNumber"]) == last:
                return
        iterator = page.get("NextShardIterator")


def batches(records: Sequence[Record]) -> Iterator[list[Record]]:
    """As many at a time as an invocation takes."""
    batch: list[Record] = []
    size = 0
    for record in records:
        length = len(json.dumps(record))
        if batch and (len(batch) == MAX_RECORDS or size + length > MAX_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(record)
        size += length
    if batch:
        yield batch


if __name__ == "__main__":
    sys.exit(main())
