"""Operators see one line of log and one of metrics for a request, and neither identifies a person."""

import contextlib
import itertools
import json
import re
import socket
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest

from api import gateway
from api.gateway import ENVELOPE, Answer, Context, answer_to, call, event_file, invoke, user
from builders import ANA, a_user, an_entry
from declared import Once, Windowed, every_restriction, restriction_of, with_declared_types
from documents import RESOURCES
from domain.problems import WARNINGS, Unavailable
from faults import Fault, error, hooked, no_connection
from handlers import erasure
from handlers.metrics import METRICS, NAMESPACE
from handlers.runtime import client, logger
from local import dynamodb
from local.stack import ROOT
from stream import Bus
from table import Account
from table.calls import Table

SEARCH = {"search": {"query": "shoes"}}
IDS = ENVELOPE["requestContext"]
ARN = "arn:aws:execute-api:eu-west-1:1:api/v1/GET/user/ana%40example.com"
TRACE = "1-5759e988-bd862e3fe1be46a994272793"


@dataclass
class Printed:
    """Collects what a function printed since the last call."""

    capsys: pytest.CaptureFixture[str]

    def read(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        lines = [json.loads(line) for line in self.capsys.readouterr().out.splitlines()]
        return [line for line in lines if "_aws" not in line], [line for line in lines if "_aws" in line]

    # The logger keeps the stdout of its start, which pytest has replaced: these print where print prints.

    def write(self, text: str) -> None:
        sys.stdout.write(text)

    def flush(self) -> None:
        sys.stdout.flush()


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Printed:
    monkeypatch.setattr("handlers.metrics._recorded", [])  # other tests call DynamoDB, but answer no request
    monkeypatch.setattr(logger.registered_handler, "stream", made := Printed(capsys))
    return made


@pytest.fixture
def ana(demo: Account, printed: Printed) -> str:
    return a_user(demo, ANA, lastname="Lovelace").id


@pytest.fixture
def at_debug() -> Iterator[None]:
    before = logger.log_level
    logger.setLevel("DEBUG")
    yield
    logger.setLevel(before)


@pytest.fixture
def traces(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], str]]:
    """Yield a function that returns what X-Ray's daemon received since the last call."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as daemon:
        daemon.bind(("127.0.0.1", 0))
        daemon.setblocking(False)
        monkeypatch.setenv("AWS_XRAY_DAEMON_ADDRESS", f"127.0.0.1:{daemon.getsockname()[1]}")
        monkeypatch.setenv("_X_AMZN_TRACE_ID", f"Root={TRACE};Parent=53995c3f42cd8ad8;Sampled=1")
        monkeypatch.setattr("handlers.metrics.TRACING", True)

        def received() -> str:
            documents = []
            with contextlib.suppress(BlockingIOError):
                while True:
                    documents.append(daemon.recv(65_536).decode())
            return "\n".join(documents)

        yield received


def post_event(event: Any = SEARCH, email: str = ANA, **user: Any) -> Answer:
    return gateway.post_event(event, {"email": email, "lastname": "Lovelace", **user})


def post_batch(*entries: Any, path: str = "/events") -> Answer:
    return call("POST", path, {"events": entries})


def test_an_event_is_found_by_the_ids_of_its_response_and_the_next_request_has_none(ana: str, printed: Printed) -> None:
    answer = post_event()
    user("GET", ana)
    [line, following], [_, metrics] = printed.read()
    told = {
        "level": "INFO", "correlation_id": IDS["requestId"], "extended_request_id": IDS["extendedRequestId"],
        "function_request_id": "lambda-request", "event_id": answer.headers["X-Event-Id"], "account": "demo",
        "route": "POST /event", "event_type": "search", "outcome": "created", "status": 200,
    }  # fmt: skip
    assert line.items() >= told.items()
    assert {"event_id", "event_type"}.isdisjoint(following)
    assert "EventsCreated" not in metrics


@with_declared_types
@every_restriction
def test_a_discarded_event_is_logged_and_counted_by_reason(ana: str, printed: Printed, kind: Once | Windowed) -> None:
    post_event(kind.event())
    answer, restriction = post_event(kind.event()), restriction_of(kind)
    assert answer.body["results"]["email"] == restriction.text
    [first, line], [created, discarded] = printed.read()
    assert (first["outcome"], first["event_type"]) == ("created", kind.type)
    assert (created["type"], created["EventsCreated"]) == (kind.type, [1])
    assert (line["outcome"], line["status"], line["discarded"]) == ("discarded", 200, restriction.code)
    assert (discarded["reason"], discarded["EventsDiscarded"]) == (restriction.code.upper(), [1])


def test_each_event_of_a_batch_is_counted_as_if_it_had_come_alone(ana: str, printed: Printed) -> None:
    alone: list[tuple[Any, str]] = [(SEARCH, ANA), ({"nonsense": {}}, ANA), (SEARCH, "bob@example.com")]
    for event, email in alone:
        post_event(event, email=email)
    lines, metrics = printed.read()
    counted, refused = metrics_in(metrics), lines[1]
    assert (refused["outcome"], refused["refused"], refused["status"]) == ("refused", "Invalid", 400)
    assert refused["problems"] == ["Unknown event type"]
    assert ("RequestsRefused", "Invalid", 1) in counted
    post_batch(*(an_entry(event, email=email) for event, email in alone))
    [line], metrics = printed.read()
    assert metrics_in(metrics) == counted
    assert line["events"] == {"created": 1, "refused": 2}
    assert line["codes"] == {"unknown_event_type": 1, "user_not_found": 1}


def metrics_in(lines: list[dict[str, Any]]) -> Counter[tuple[str, str, float]]:
    """Return the counted metrics with their dimensions, without the store's latency."""
    found: Counter[tuple[str, str, float]] = Counter()
    for line in lines:
        for name in ("EventsCreated", "EventsDiscarded", "RequestsRefused", "UnknownUsers"):
            kind = METRICS[name][1]
            found.update((name, line[kind] if kind else "", value) for value in line.get(name, ()))
    return found


def send(body: Any) -> Answer:
    """Send a body, also one that the gateway never makes."""
    return answer_to(gateway.proxy_event("POST", "/event") | {"body": body})


def test_a_failure_is_one_error_with_its_place_but_without_its_message(ana: str, printed: Printed) -> None:
    answer = send([ANA])
    [line], _ = printed.read()
    assert answer.status == line["status"] == 500
    assert (line["level"], line["outcome"], line["error"]) == ("ERROR", "failed", "AttributeError")
    assert "body_of" in line["stack"][-1]


@pytest.mark.usefixtures("at_debug")
def test_a_body_that_cannot_be_read_leaves_nothing_in_a_log(ana: str, printed: Printed) -> None:
    surrogate = json.dumps({"event": {ANA: "\ud800"}})
    statuses = [send(body).status for body in (f'{{"{ANA}":', f'{{"{ANA}": 1, "{ANA}": 2}}', [ANA], surrogate)]
    assert statuses == [400, 400, 500, 400]
    lines = json.dumps(printed.read())
    assert [secret for secret in (ANA, "ana%40", "Lovelace", "198.51.100.7") if secret in lines] == []


REQUESTS = [path.stem for path in sorted((ROOT / "events").glob("*.json")) if "httpMethod" in event_file(path.stem)]


def errors_in(answer: Answer) -> str:
    """Return the errors of an answer. A batch also names each event by its id, so that its sender can find it."""
    if answer.status == 200:
        return ""
    return json.dumps(answer.body.get("errors") or [result.get("errors") for result in answer.body["results"]])


@pytest.mark.parametrize("name", REQUESTS)
@pytest.mark.usefixtures("at_debug")
def test_neither_logs_metrics_traces_nor_error_bodies_hold_a_value_that_was_sent(
    name: str, ana: str, functions_table: Table, printed: Printed, traces: Callable[[], str]
) -> None:
    """Send each file of events/, then again without a table, which is a failure on our side."""
    event = event_file(name)
    answers = [answer_to(event), answer_to(event)]
    functions_table.client.delete_table(TableName=functions_table.name)
    answers.append(answer_to(event))
    dynamodb.create_table(functions_table.client, functions_table.name)
    lines = json.dumps(printed.read(), ensure_ascii=False)
    assert event["requestContext"]["requestId"] in lines
    shown = lines + traces() + "".join(errors_in(answer) for answer in answers)
    assert [value for value in sent_in(event) if value in shown] == []


def sent_in(event: dict[str, Any]) -> set[str]:
    context, headers = event["requestContext"], event["headers"]
    sent = [headers.get("Authorization"), headers.get("Idempotency-Key"), context["identity"]["sourceIp"]]
    sent += [*(event["pathParameters"] or {}).values(), *(event["queryStringParameters"] or {}).values()]
    with contextlib.suppress(json.JSONDecodeError, TypeError):
        sent += leaves(json.loads(event["body"]))
    return {str(value) for value in sent if value is not None and len(str(value)) > 4}


def leaves(value: object) -> list[object]:
    if isinstance(value, dict | list):
        return [leaf for item in (value.values() if isinstance(value, dict) else value) for leaf in leaves(item)]
    return [value]


def authorize(key: str) -> None:
    invoke("AuthorizerFunction", {"authorizationToken": key, "methodArn": ARN})


def manage(action: str, **parameters: str) -> Any:
    return invoke("KeyFunction", {"action": action, "account": "demo", **parameters})


def test_keys_are_logged_by_their_ids_with_why_they_are_denied(functions_table: Table, printed: Printed) -> None:
    good, old = manage("create"), manage("create", expiresOn="2020-01-31T00:00:00Z")
    manage("revoke", keyId=old["keyId"])
    lines, _ = printed.read()
    made = [("create", good["keyId"]), ("create", old["keyId"]), ("revoke", old["keyId"])]
    assert [(line["action"], line["key_id"]) for line in lines] == made
    expired = manage("create", expiresOn="2020-01-31T00:00:00Z")
    for key, told in {
        good["apiKey"]: ("allowed", "demo", good["keyId"], None),
        expired["apiKey"]: ("denied", "demo", expired["keyId"], "expired"),
        "key_guess": ("denied", None, None, "unknown"),
    }.items():
        printed.read()
        authorize(key)
        lines, metrics = printed.read()
        assert tuple(map(lines[-1].get, ("outcome", "account", "key_id", "reason"))) == told
        assert not any(secret in json.dumps([lines, metrics]) for secret in (key, "ana%40"))


THROTTLE = error("ThrottlingException")


@contextlib.contextmanager
def answering(fault: Fault, times: int = sys.maxsize, mark: bytes = b"") -> Iterator[None]:
    """So many calls that contain the mark get this answer instead of DynamoDB's."""
    left = itertools.repeat(fault, times)

    def answer(request: Any, **_: object) -> Any:
        return found(request) if mark in request.body and (found := next(left, None)) else None

    with hooked(client, "before-send.dynamodb", answer):
        yield


@pytest.mark.parametrize(("fault", "cause"), [(THROTTLE, "ThrottlingException"), (no_connection, "NoAnswer")])
def test_the_line_of_a_503_says_what_dynamodb_answered(ana: str, printed: Printed, fault: Fault, cause: str) -> None:
    with answering(fault):
        post_event()
        with pytest.raises(Unavailable):
            authorize("key_guess")
    lines, _ = printed.read()
    assert [(line["refused"], line["status"], line["cause"]) for line in lines] == [("Unavailable", 503, cause)] * 2


def broken(_: AWSPreparedRequest) -> Any:
    raise RuntimeError(ANA)


@pytest.mark.parametrize(("answer", "cause", "kind"), [
    (THROTTLE, "ThrottlingException", None), (broken, None, "RuntimeError"),
    (error("AccessDeniedException", message=ANA), "AccessDeniedException", "ClientError"),
])  # fmt: skip
def test_an_event_that_failed_is_an_error_with_its_cause_and_is_counted_alone_and_in_a_batch(
    ana: str, printed: Printed, answer: Fault, cause: str | None, kind: str | None
) -> None:
    """The answer to a batch of which only some events failed is a 207."""
    search: dict[str, Any] = {"search": {"query": "fail me"}}
    entries = [an_entry({"viewitem": {"itemId": "1"}}), an_entry(search), an_entry(search)]
    with answering(answer, mark=b"fail me"):
        post_event(search)
        first = post_batch(*entries)
    (alone, batch), metrics = printed.read()
    assert int(first.headers["Retry-After"]) >= 1
    assert [result["status"] for result in first.body["results"]] == ["created", "failed", "failed"]
    again = post_batch(*entries)
    stored = "created" if answer is broken else "duplicate"  # moto writes before its answer is replaced
    assert [result["status"] for result in again.body["results"]] == ["duplicate", stored, stored]
    assert batch["status"] == 207
    assert batch["events"] == {"created": 1, "failed": 2}
    for line in (alone, batch):
        assert (line["level"], line["outcome"]) == ("ERROR", "failed")
        assert (line.get("cause"), line.get("error")) == (cause, kind)
    failed = [line["EventsFailed"] for line in metrics if "EventsFailed" in line and line["type"] == "search"]
    assert failed == [[1], [1, 1]]
    assert ANA not in json.dumps([alone, batch])


HOT_KEY = [{"reason": "TableWriteKeyRangeThroughputExceeded", "resource": "arn:aws:dynamodb:::table/x"}]


@pytest.mark.parametrize(("code", "more", "throttling"), [
    ("ProvisionedThroughputExceededException", {"ThrottlingReasons": HOT_KEY}, HOT_KEY[0]["reason"]),
    ("ThrottlingException", {"throttlingReasons": HOT_KEY}, HOT_KEY[0]["reason"]),
    ("RequestLimitExceeded", {}, "RequestLimitExceeded"), ("InternalServerError", {}, None),
])  # fmt: skip
def test_a_throttle_is_counted_with_dynamodbs_reason_and_a_failure_of_dynamodb_is_none(
    ana: str, printed: Printed, code: str, more: dict[str, Any], throttling: str | None
) -> None:
    """In the line of the request, so that a query finds whose batches are throttled too."""
    with answering(error(code, **more)):
        answer = post_batch(an_entry(SEARCH), an_entry(SEARCH, email="x"))
    assert (answer.status, int(answer.headers["Retry-After"]) >= 1) == (503, True), "nothing was stored"
    assert [result["status"] for result in answer.body["results"]] == ["failed", "refused"]
    assert [error["code"] for error in answer.body["results"][0]["errors"]] == ["unavailable"]
    [line], metrics = printed.read()
    assert line.get("throttling") == throttling
    counted = sum(len(each.get("StoreThrottles", ())) for each in metrics)
    assert line.get("throttles", 0) == counted == (2 if throttling else 0)


def test_a_call_that_worked_in_the_end_and_a_condition_that_failed_are_no_cause(ana: str, printed: Printed) -> None:
    with answering(THROTTLE, times=1):
        post_event()
    post_event({"confirmation": {"orderId": "1"}})
    post_event({"confirmation": {"orderId": "1"}})
    lines, _ = printed.read()
    assert [line["outcome"] for line in lines] == ["created", "created", "discarded"]
    assert not any("cause" in line for line in lines)


@pytest.mark.parametrize(("event", "longest"), [({"source": "aws.events"}, 300), ({}, 60)])
def test_an_operator_gets_an_answer_before_the_cli_invokes_the_function_again(
    functions_table: Table, monkeypatch: pytest.MonkeyPatch, event: dict[str, Any], longest: int
) -> None:
    given: list[float] = []

    def table(seconds: float) -> Table:
        given.append(seconds)
        return functions_table

    monkeypatch.setattr(erasure, "table", table)
    erasure.handler(event, Context(seconds=300))
    assert longest - 2 * erasure.RESERVE_SECONDS < given[0] <= longest - erasure.RESERVE_SECONDS


def test_each_metric_is_counted_and_by_nothing_that_a_caller_can_choose(ana: str, printed: Printed) -> None:
    post_event()
    post_event(userAgent="Googlebot/2.1")
    post_event(email="nobody@example.com")
    invoke("ErasureFunction", {})
    with answering(THROTTLE):
        assert post_event().status == 503
    with Bus.running():
        invoke("FeedFunction", event_file("feed"))
    post_event({"confirmation": {"orderId": 1, "total": "59,90"}})
    upsert = {"queryStringParameters": {"upsert": "true"}}
    for _ in range(2):
        user("PUT", "ben@example.com", {}, **upsert)
        gateway.post_event(SEARCH, {"email": "eve@example.com"}, **upsert)
    _, lines = printed.read()
    assert len(lines) == 11, "one line for each request"
    found = set()
    for line in lines:
        for directive in line["_aws"]["CloudWatchMetrics"]:
            assert directive["Namespace"] == NAMESPACE
            for metric in directive["Metrics"]:
                assert line[metric["Name"]], "each metric of a line has its value"
                found |= {(metric["Name"], metric["Unit"], *dimensions) for dimensions in directive["Dimensions"]}
    expected: set[tuple[str, ...]] = {(name, unit, "service") for name, (unit, _) in METRICS.items()}
    expected |= {(name, unit, "service", dimension) for name, (unit, dimension) in METRICS.items() if dimension}
    assert found == expected
    assert lines[0]["UnknownUsers"] == [0]
    assert lines[2]["UnknownUsers"] == [1]
    assert lines[4]["StoreThrottles"] == [1, 1], "the call and botocore's second attempt"
    assert [line.get("UsersCreated") for line in lines[7:]] == [[1], [1], None, None]


def test_warnings_are_logged_by_code_once_for_each_event(ana: str, printed: Printed) -> None:
    post_event({"confirmation": {"orderId": 1, "total": "59,90"}}, Tel="1", City="x")
    wrong: list[Any] = [{"update": {"_id": 1, "createdOn": 2}}, {"confirmation": {"orderId": 2, "total": ""}}]
    for path in ("/events", "/events/check"):
        post_batch(*map(an_entry, wrong), path=path)
    [single, batch, check], _ = printed.read()
    assert single["warnings"] == {"total_not_counted": 1, "similar_name": 1}
    assert batch["warnings"] == {"total_not_counted": 1, "system_attribute_ignored": 1}
    assert "warnings" not in check
    counted = re.findall(r"sum\(warnings\.(\w+)\) as \1", RESOURCES["WarningsQuery"]["Properties"]["QueryString"])
    assert counted == [*WARNINGS], "by a saved query"


def test_a_traced_call_reaches_the_daemon_of_x_ray(ana: str, traces: Callable[[], str]) -> None:
    post_event()
    header, document, *_ = traces().split("\n")
    assert json.loads(header) == {"format": "json", "version": 1}
    subsegment = json.loads(document)
    assert subsegment["trace_id"] == TRACE
    assert subsegment["parent_id"] == "53995c3f42cd8ad8"
    assert subsegment["aws"] == {"operation": "GetItem"}
    assert subsegment["start_time"] <= subsegment["end_time"]
