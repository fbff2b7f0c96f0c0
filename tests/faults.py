"""Faults between the function and DynamoDB, injected below the SDK so that its retries are the real ones.

with faults(client, "TransactWriteItems", lost_answer, throttled):
    ...     # the first attempt is done but its answer gets lost, the second one is throttled, further ones go well

with crash(client, "after", 2), pytest.raises(Crash):
    ...     # the process dies: its second call of DynamoDB is done, and its answer is lost

with Proxy.running(endpoint) as proxy:
    proxy.faults["PutItem"] = itertools.repeat(no_response)
    ...     # on the wire, so that the time limits and the parser are the real ones too
"""

import contextlib
import itertools
import json
import os
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit
from uuid import uuid4

from botocore.awsrequest import AWSPreparedRequest, AWSResponse, HTTPHeaders
from botocore.exceptions import ConnectTimeoutError, ReadTimeoutError
from botocore.httpsession import URLLib3Session

from local import aws

if TYPE_CHECKING:
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
def faults(client: "DynamoDBClient", operation: str, *attempts: Fault) -> Iterator[list[str]]:
    """Inject faults into the next attempts of an operation. Yields the list of all attempts that were made."""
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
def at_call(client: "DynamoDBClient", when: str, number: int, do: Callable[[], object]) -> Iterator[list[str]]:
    """Something happens before or after the call of DynamoDB with this number. Yields the calls until then."""
    calls: list[str] = []

    def count(event_name: str, **_: Any) -> None:
        calls.append(event_name)
        if len(calls) == number:
            client.meta.events.unregister(CRASH_POINTS[when], count)
            do()

    client.meta.events.register_first(CRASH_POINTS[when], count)
    try:
        yield calls
    finally:
        client.meta.events.unregister(CRASH_POINTS[when], count)


def at_each_call(
    client: "DynamoDBClient",
    prepare: Callable[[str], Prepared],
    run: Callable[[Prepared], Ran],
    somebody: Callable[[Prepared], Done],
) -> Iterator[tuple[Prepared, Done, Ran]]:
    """Run with another request before and after one of its calls, for each call. `prepare` gets a name for each run.
    Yield what was prepared, the result of the other request, and that of the run.
    """
    for when in CRASH_POINTS:
        for number in itertools.count(1):
            prepared, done = prepare(f"{when}-{number}"), list[Done]()

            def happens(prepared: Prepared = prepared, done: list[Done] = done) -> None:
                done.append(somebody(prepared))

            with at_call(client, when, number, happens):
                result = run(prepared)
            if not done:
                break
            yield prepared, done[0], result
        assert number > 1


def crash(client: "DynamoDBClient", when: str, number: int) -> contextlib.AbstractContextManager[list[str]]:
    """The process dies before or after its call of DynamoDB with this number."""

    def die() -> None:
        raise Crash

    return at_call(client, when, number, die)


def lost_answer(request: AWSPreparedRequest) -> None:
    """DynamoDB does what it is asked for; the connection drops before it can say so."""
    URLLib3Session(timeout=30).send(request)
    raise ReadTimeoutError(endpoint_url=request.url)


def no_connection(request: AWSPreparedRequest) -> None:
    raise ConnectTimeoutError(endpoint_url=request.url)


def without_token(fault: Fault) -> Fault:
    """The same for an engine that forgets the token by which it would know the second attempt."""

    def with_new_token(request: AWSPreparedRequest) -> Any:
        request.body = re.sub(r'(?<="ClientRequestToken": ")[^"]+', str(uuid4()), _body(request)).encode()
        return fault(request)

    return with_new_token


def _body(request: AWSPreparedRequest) -> str:
    return request.body.decode() if isinstance(request.body, bytes) else str(request.body)


def error(code: str, status: int = 400, **more: Any) -> Fault:
    """An error of DynamoDB's, by its code."""
    return answers({"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": "injected", **more}, status)


def answers(body: dict[str, Any], status: int = 200) -> Fault:
    class Raw:
        def stream(self, **_: Any) -> Iterator[bytes]:
            yield json.dumps(body).encode()

    return lambda request: AWSResponse(request.url, status, HTTPHeaders(), Raw())


CONFLICT = {
    "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
    "CancellationReasons": [{"Code": "TransactionConflict", "Message": "injected"}],
}


def cancelled(*codes: str | dict[str, Any]) -> Fault:
    """A cancelled transaction, with the reasons, or their codes, in the order of its actions."""
    reasons = [{"Code": code, "Message": "injected"} if isinstance(code, str) else code for code in codes]
    return error("TransactionCanceledException", CancellationReasons=reasons)


def one_action(code: str, random: Random) -> Fault:
    """A transaction is cancelled because of one of its actions."""

    def answer(request: AWSPreparedRequest) -> Any:
        codes = ["None"] * len(json.loads(_body(request))["TransactItems"])
        codes[random.randrange(len(codes))] = code
        return cancelled(*codes)(request)

    return answer


def unprocessed(random: Random) -> Fault:
    """BatchGetItem leaves out some of the keys, or all."""

    def answer(request: AWSPreparedRequest) -> Any:
        [asked] = json.loads(_body(request))["RequestItems"].values()
        left = random.sample(asked["Keys"], random.randint(1, len(asked["Keys"])))
        return unanswered(lambda key: key in left)(request)

    return answer


def unanswered(is_left: Callable[[Any], bool]) -> Fault:
    """BatchGetItem leaves out these keys."""

    def answer(request: AWSPreparedRequest) -> Any:
        sent = json.loads(_body(request))
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


throttled = error("ProvisionedThroughputExceededException")
internal_error = error("InternalServerError", 500)


# --- On the wire ----------------------------------------------------------------------------------


class Proxy(ThreadingHTTPServer):
    """Forward requests from the SDK to DynamoDB, and change the answers as `faults` says."""

    daemon_threads = False  # when it ends, what DynamoDB was asked for is done

    def __init__(self, endpoint: str) -> None:
        super().__init__((aws.HOST, 0), Request)
        self.dynamodb = urlsplit(endpoint).netloc
        self.faults: dict[str, Iterator[WireFault]] = {}
        self.done: list[str] = []
        """The operations that DynamoDB has answered."""

    @classmethod
    @contextlib.contextmanager
    def running(cls, endpoint: str) -> Iterator["Proxy"]:
        with cls(endpoint) as proxy:
            thread = threading.Thread(target=proxy.serve_forever, args=[0.05])  # seconds until it sees the shutdown
            thread.start()
            try:
                yield proxy
            finally:
                proxy.shutdown()
                thread.join()

    @property
    def endpoint(self) -> str:
        return f"http://{aws.HOST}:{self.server_port}"


class Request(BaseHTTPRequestHandler):
    """One for each connection."""

    server: Proxy
    timeout = 60

    def do_POST(self) -> None:
        self.sent = self.rfile.read(int(self.headers["Content-Length"]))
        self.operation = self.headers["X-Amz-Target"].rpartition(".")[2]
        fault = next(self.server.faults.get(self.operation, iter(())), None)
        if fault:
            fault(self)
        else:
            self.reply(*self.ask())

    def ask(self) -> tuple[int, bytes]:
        """Lets DynamoDB do it."""
        connection = HTTPConnection(self.server.dynamodb)
        with contextlib.closing(connection):
            connection.request("POST", "/", self.sent, dict(self.headers))
            response = connection.getresponse()
            answer = response.status, response.read()
        self.server.done.append(self.operation)
        return answer

    def reply(self, status: int, body: bytes, length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


WireFault = Callable[[Request], None]


def no_response(request: Request) -> None:
    """No answer, until the SDK gives up."""
    with contextlib.suppress(OSError):
        request.connection.recv(1)


def done_without_response(request: Request) -> None:
    request.ask()
    no_response(request)


def done_with_cut_off_response(request: Request) -> None:
    """The connection ends in the middle of the answer."""
    status, body = request.ask()
    request.reply(status, body[: len(body) // 2], length=len(body))


def reset(request: Request) -> None:
    """The connection is aborted; nothing was done."""
    request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    os.close(request.connection.detach())


def in_conflict(request: Request) -> None:
    """Answer as if another transaction was in conflict; do nothing."""
    request.reply(400, json.dumps(CONFLICT).encode())


def done_then(status: int, body: bytes) -> WireFault:
    """It is done, and the answer to it is something else."""

    def answer(request: Request) -> None:
        request.ask()
        request.reply(status, body)

    return answer
