"""Faults on the wire between the event function and DynamoDB: the answer is 503, in time, and the truth is kept."""

import contextlib
import time
from collections.abc import Iterator

import pytest
from botocore.config import Config

from api.gateway import Answer, post_event
from builders import a_user, the_events
from engines import aws_engine_only
from faults import (
    Proxy,
    Request,
    WireFault,
    done_then,
    done_with_cut_off_response,
    done_without_response,
    in_conflict,
    no_response,
    reset,
)
from handlers import runtime
from local import aws, stack
from table import Account, calls

pytestmark = aws_engine_only

REAL_LIMIT: float = calls.CLIENT_CONFIG.read_timeout  # type: ignore[attr-defined]
FUNCTION_SECONDS = 15  # template.yaml
HTML = b"<html><body><b>Http/1.1 Service Unavailable</b></body></html>"
GARBAGE = {"nothing": b"", "half": b'{"Item', "list": b"[]", "no text": b"\xff", "HTML": HTML}
FAULTS: dict[str, WireFault] = {
    "no_response": no_response,
    "done, then no_response": done_without_response,
    "done, then cut off": done_with_cut_off_response,
    "reset": reset,
    **{f"done, then 200 and {name}": done_then(200, body) for name, body in GARBAGE.items()},
    "done, then 400 and HTML": done_then(400, HTML),
    "done, then 503 and HTML": done_then(503, HTML),
    "done, then 503 and no text": done_then(503, GARBAGE["no text"]),
}


@pytest.fixture(autouse=True)
def functions_table(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ana is in the table of the functions, which their client may reach without fault."""
    monkeypatch.setattr(runtime, "TABLE_NAME", account.table.name)
    monkeypatch.setattr(runtime, "client", account.table.client)
    a_user(account)


@contextlib.contextmanager
def client_of(endpoint: str, read_timeout: float = REAL_LIMIT) -> Iterator[None]:
    """The functions' client, with its retries, asks this endpoint. Another limit spares us time, or a slow machine."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        limits = Config(read_timeout=read_timeout)
        monkeypatch.setattr(calls, "CLIENT_CONFIG", calls.CLIENT_CONFIG.merge(limits))
        monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", endpoint)
        monkeypatch.setattr(runtime, "client", calls.new_client())
        yield


@contextlib.contextmanager
def faulty(account: Account, operation: str, *faults: WireFault, read_timeout: float = REAL_LIMIT) -> Iterator[Proxy]:
    """The functions meet the faults, one at each attempt. At the end all that DynamoDB was asked for is done."""
    with Proxy.running(account.table.client.meta.endpoint_url) as proxy, client_of(proxy.endpoint, read_timeout):
        proxy.faults[operation] = iter(faults)
        yield proxy


def search() -> Answer:
    return post_event({"search": {"query": "x"}}, headers={"Idempotency-Key": "key"}, account="shop")


def assert_unavailable(answer: Answer) -> None:
    assert (answer.status, answer.errors) == (503, [("Service unavailable", None)])
    assert answer.headers["Retry-After"] == "1"


def assert_a_repeat_tells_the_truth(account: Account, done: bool) -> None:
    stored = the_events(account)
    repeat = search()
    assert (repeat.status, repeat.headers.get("Idempotent-Replayed") == "true") == (200, done)
    assert the_events(account) == [repeat.headers["X-Event-Id"]]
    assert len(stored) == done


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("operation", ["GetItem", "TransactWriteItems"])
def test_a_lasting_fault_is_503_and_a_repeat_has_the_true_result(
    account: Account, operation: str, fault: WireFault
) -> None:
    with faulty(account, operation, fault, fault, read_timeout=0.2) as proxy:
        assert_unavailable(search())
    assert_a_repeat_tells_the_truth(account, "TransactWriteItems" in proxy.done)


@pytest.mark.parametrize(
    "fault", [done_with_cut_off_response, reset, done_then(503, HTML)], ids=["cut off", "reset", "503"]
)
@pytest.mark.parametrize("operation", ["GetItem", "TransactWriteItems"])
def test_a_fault_that_passes_is_not_noticed(account: Account, operation: str, fault: WireFault) -> None:
    with faulty(account, operation, fault, read_timeout=60):
        answer = search()
    assert (answer.status, answer.headers.get("Idempotent-Replayed")) == (200, None)
    assert the_events(account) == [answer.headers["X-Event-Id"]]


def test_an_unreachable_dynamodb_is_503() -> None:
    with client_of(f"http://{aws.HOST}:{stack.free_port()}"):
        assert_unavailable(search())


def test_the_slowest_answer_comes_before_the_function_and_the_gateway_give_up(account: Account) -> None:
    """Disturbed until hardly any time is left; then the write is done, and its answer never comes."""
    begun = time.monotonic()

    def conflict_then_no_response(request: Request) -> None:
        late = time.monotonic() > begun + calls.REQUEST_SECONDS - 1
        (done_without_response if late else in_conflict)(request)

    with faulty(account, "TransactWriteItems", *[conflict_then_no_response] * 1000) as proxy:
        assert_unavailable(search())
        assert time.monotonic() - begun < FUNCTION_SECONDS
    assert_a_repeat_tells_the_truth(account, "TransactWriteItems" in proxy.done)
