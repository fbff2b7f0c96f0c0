"""Faults between the function and DynamoDB, put in below the SDK so that its retries are the real ones.

with faults(client, "TransactWriteItems", lost_answer, throttled):
    ...     # the first attempt is done but its answer gets lost, the second one is throttled, further ones go well

with crash(client, "after", 2), pytest.raises(Crash):
    ...     # the process dies: its second call of DynamoDB is done, and nobody sees the answer
"""

import contextlib
import itertools
import json
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from botocore.awsrequest import AWSPreparedRequest, AWSResponse, HTTPHeaders
from botocore.exceptions import ConnectTimeoutError, ReadTimeoutError
from botocore.httpsession import URLLib3Session

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

# Where a process may die: before a call is sent, or when it is done but its answer is not seen.
CRASH_POINTS = {"before": "before-parameter-build.dynamodb", "after": "after-call.dynamodb"}

Fault = Callable[[AWSPreparedRequest], Any]  # what botocore takes for the response; None: it asks DynamoDB


@contextlib.contextmanager
def faults(client: "DynamoDBClient", operation: str, *attempts: Fault) -> Iterator[list[str]]:
    """What happens to the next attempts of an operation. Yields the list of all attempts that were made."""
    made: list[str] = []

    def send(request: AWSPreparedRequest, **_: Any) -> Any:
        made.append(operation)
        return attempts[len(made) - 1](request) if len(made) <= len(attempts) else None

    event = f"before-send.dynamodb.{operation}"
    client.meta.events.register_first(event, send)
    try:
        yield made
    finally:
        client.meta.events.unregister(event, send)


class Crash(BaseException):
    """The process dies here: no handler of Exception sees it."""


@contextlib.contextmanager
def crash(client: "DynamoDBClient", when: str, number: int) -> Iterator[None]:
    """The process dies before or after its call of DynamoDB with this number."""
    calls = itertools.count(1)

    def count(**_: Any) -> None:
        if next(calls) == number:
            raise Crash

    client.meta.events.register_first(CRASH_POINTS[when], count)
    try:
        yield
    finally:
        client.meta.events.unregister(CRASH_POINTS[when], count)


def lost_answer(request: AWSPreparedRequest) -> None:
    """DynamoDB does what it is asked for; the connection drops before it can say so."""
    URLLib3Session(timeout=30).send(request)
    raise ReadTimeoutError(endpoint_url=request.url)


def no_connection(request: AWSPreparedRequest) -> None:
    raise ConnectTimeoutError(endpoint_url=request.url)


def without_token(fault: Fault) -> Fault:
    """The same for an engine that forgets the token by which it would know the second attempt."""

    def forgetful(request: AWSPreparedRequest) -> Any:
        body = request.body.decode() if isinstance(request.body, bytes) else str(request.body)
        request.body = re.sub(r'(?<="ClientRequestToken": ")[^"]+', str(uuid4()), body).encode()
        return fault(request)

    return forgetful


def error(code: str, status: int = 400, **more: Any) -> Fault:
    """An error of DynamoDB's, by its code."""
    body = json.dumps({"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": "injected", **more}).encode()

    class Raw:
        def stream(self, **_: Any) -> Iterator[bytes]:
            yield body

    def answer(request: AWSPreparedRequest) -> AWSResponse:
        return AWSResponse(request.url, status, HTTPHeaders(), Raw())

    return answer


def cancelled(*codes: str) -> Fault:
    """A cancelled transaction, with the reasons in the order of its actions."""
    reasons = [{"Code": code, "Message": "injected"} for code in codes]
    return error("TransactionCanceledException", CancellationReasons=reasons)


throttled = error("ProvisionedThroughputExceededException")
internal_error = error("InternalServerError", 500)
