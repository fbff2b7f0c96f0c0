"""Faults between the function and DynamoDB, injected below the SDK so that its retries are the real ones.

with faults(client, "TransactWriteItems", lost_answer, throttled):
    ...     # the first attempt is done but its answer gets lost, the second one is throttled, further ones go well

with crash(client, 2), pytest.raises(Crash):
    ...     # the process dies: its second call of DynamoDB is done, and its answer is lost
"""

import contextlib
import itertools
import json
import re
import time
from collections.abc import Callable, Iterator
from random import Random
from types import SimpleNamespace
from typing import Any, TypeVar
from uuid import uuid4

from botocore.awsrequest import AWSPreparedRequest, AWSResponse, HTTPHeaders
from botocore.exceptions import ConnectTimeoutError, ReadTimeoutError
from botocore.httpsession import URLLib3Session
from mypy_boto3_dynamodb import DynamoDBClient

# Where a process may die: before a call is sent, or when it is done but its answer is not seen.
CRASH_POINTS = {"before": "before-parameter-build.dynamodb", "after": "after-call.dynamodb"}

Prepared = TypeVar("Prepared")
Ran = TypeVar("Ran")
Done = TypeVar("Done")


class Clock:
    """Replaces the module `time` in a function and its SDK: a test moves it, and nothing waits."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return time.time()

    def sleep(self, seconds: float) -> None:
        self.now += seconds


Fault = Callable[[AWSPreparedRequest], Any]  # what botocore takes for the response; None: it asks DynamoDB


@contextlib.contextmanager
def hooked(client: Any, event: str, hook: Callable[..., Any]) -> Iterator[None]:
    """Let botocore call a hook first, until the block ends."""
    client.meta.events.register_first(event, hook)
    try:
        yield
    finally:
        client.meta.events.unregister(event, hook)


@contextlib.contextmanager
def faults(client: DynamoDBClient, operation: str, *attempts: Fault) -> Iterator[list[str]]:
    """Inject faults into the next attempts of an operation. Yields the list of all attempts that were made."""
    made: list[str] = []

    def send(request: AWSPreparedRequest, **_: Any) -> Any:
        made.append(operation)
        return attempts[len(made) - 1](request) if len(made) <= len(attempts) else None

    with hooked(client, f"before-send.dynamodb.{operation}", send):
        yield made


class Crash(BaseException):
    """The process dies here: no handler of Exception sees it."""


@contextlib.contextmanager
def at_call(client: DynamoDBClient, when: str, number: int, do: Callable[[], object]) -> Iterator[list[str]]:
    """Something happens before or after the call of DynamoDB with this number. Yields the calls until then."""
    calls: list[str] = []

    def count(event_name: str, **_: Any) -> None:
        calls.append(event_name)
        if len(calls) == number:
            client.meta.events.unregister(CRASH_POINTS[when], count)
            do()

    with hooked(client, CRASH_POINTS[when], count):
        yield calls


def at_each_call(
    client: DynamoDBClient,
    prepare: Callable[[str], Prepared],
    run: Callable[[Prepared], Ran],
    somebody: Callable[[Prepared], Done],
) -> Iterator[tuple[Prepared, Done, Ran]]:
    """Run with another request before one of its calls, for each call. `prepare` gets a name for each run.
    Yield what was prepared, the result of the other request, and that of the run.
    """
    for number in itertools.count(1):
        prepared, done = prepare(f"run-{number}"), list[Done]()

        def happens(prepared: Prepared = prepared, done: list[Done] = done) -> None:
            done.append(somebody(prepared))

        with at_call(client, "before", number, happens):
            result = run(prepared)
        if not done:
            break
        yield prepared, done[0], result
    assert number > 1


def die(_: object = None) -> None:
    raise Crash


def crash(client: DynamoDBClient, number: int) -> contextlib.AbstractContextManager[list[str]]:
    """Let the process die after its call of DynamoDB with this number."""
    return at_call(client, "after", number, die)


def no_connection(request: AWSPreparedRequest) -> None:
    raise ConnectTimeoutError(endpoint_url=request.url)


def _no_answer(request: AWSPreparedRequest) -> None:
    raise ReadTimeoutError(endpoint_url=request.url)


def without_token(fault: Fault) -> Fault:
    """The same for an engine that forgets the token by which it would know the second attempt."""

    def with_new_token(request: AWSPreparedRequest) -> Any:
        request.body = re.sub(r'(?<="ClientRequestToken": ")[^"]+', str(uuid4()), text_of(request)).encode()
        return fault(request)

    return with_new_token


def text_of(request: AWSPreparedRequest) -> str:
    return request.body.decode() if isinstance(request.body, bytes) else str(request.body)


def on_text(fault: Fault, *texts: str) -> Fault:
    """The same for a request whose body contains one of the texts."""
    return lambda request: fault(request) if any(each in text_of(request) for each in texts) else None


def error(code: str, status: int = 400, **more: Any) -> Fault:
    """An error of DynamoDB's, by its code."""
    return answers({"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": "injected"} | more, status)


def answers(body: dict[str, Any], status: int = 200) -> Fault:
    return raw(json.dumps(body).encode(), status)


def raw(body: bytes, status: int = 200) -> Fault:
    content = SimpleNamespace(stream=lambda **_: iter([body]))
    return lambda request: AWSResponse(request.url, status, HTTPHeaders(), content)


def done_then(fault: Fault) -> Fault:
    """DynamoDB does what it is asked for; something else arrives as its answer."""

    def answer(request: AWSPreparedRequest) -> Any:
        URLLib3Session(timeout=30).send(request)
        return fault(request)

    return answer


def cancelled(*codes: str | dict[str, Any]) -> Fault:
    """A cancelled transaction, with the reasons, or their codes, in the order of its actions."""
    reasons = [{"Code": code, "Message": "injected"} if isinstance(code, str) else code for code in codes]
    return error("TransactionCanceledException", CancellationReasons=reasons)


def one_action(code: str, random: Random) -> Fault:
    """A transaction is cancelled because of one of its actions."""

    def answer(request: AWSPreparedRequest) -> Any:
        codes = ["None"] * len(json.loads(text_of(request))["TransactItems"])
        codes[random.randrange(len(codes))] = code
        return cancelled(*codes)(request)

    return answer


def unprocessed(random: Random) -> Fault:
    """BatchGetItem leaves out some of the keys, or all."""

    def answer(request: AWSPreparedRequest) -> Any:
        [asked] = json.loads(text_of(request))["RequestItems"].values()
        left = random.sample(asked["Keys"], random.randint(1, len(asked["Keys"])))
        return unanswered(left.__contains__)(request)

    return answer


def unanswered(is_left: Callable[[Any], bool]) -> Fault:
    """BatchGetItem leaves out these keys."""

    def answer(request: AWSPreparedRequest) -> Any:
        sent = json.loads(text_of(request))
        [(table, asked)] = sent["RequestItems"].items()
        left = list(filter(is_left, asked["Keys"]))
        asked["Keys"] = [key for key in asked["Keys"] if key not in left]
        answered: dict[str, Any] = {"Responses": {table: []}}
        if asked["Keys"]:
            request.body = json.dumps(sent).encode()
            del request.headers["Content-Length"]
            request.headers["Content-Length"] = str(len(request.body))
            answered = json.loads(URLLib3Session(timeout=30).send(request).content)
        return answers({**answered, "UnprocessedKeys": {table: {**asked, "Keys": left}}})(request)

    return answer


lost_answer = done_then(_no_answer)  # the connection drops
throttled = error("ProvisionedThroughputExceededException")
internal_error = error("InternalServerError", 500)
