"""Operators see one line of log and one of metrics for a request, and neither identifies a person."""

import contextlib
import itertools
import json
import re
import socket
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest

from api.gateway import RESOURCES, Answer, Context, answer_to, event_file, invoke
from builders import ANA, a_user, an_entry
from declared import Once, Windowed, every_restriction, restriction_of, with_declared_types
from domain.problems import WARNINGS, Unavailable
from faults import Fault, error, hooked, no_connection
from handlers import authorizer, erasure, event_api, keys, user_api
from handlers.metrics import METRICS, NAMESPACE
from handlers.runtime import client, logger
from local import dynamodb
from local.stack import ROOT
from stream import Bus
from table import Account
from table.calls import Table

ACCOUNT = "shop"
ARN = "arn:aws:execute-api:eu-west-1:1:api/v1/GET/user/ana%40example.com"
SECRETS = (ANA, "ana%40", "Lovelace", "198.51.100.7")


@dataclass
class Printed:
    """Collects what a function printed since the last call."""

    capsys: pytest.CaptureFixture[str]

    def read(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """The lines of the log, and those of metrics."""
        lines = [json.loads(line) for line in self.capsys.readouterr().out.splitlines()]
        return [line for line in lines if "_aws" not in line], [line for line in lines if "_aws" in line]


class Stdout:
    """Where print prints at the moment; the logger keeps the one of its start, which pytest has replaced."""

    def write(self, text: str) -> None:
        sys.stdout.write(text)

    def flush(self) -> None:
        sys.stdout.flush()


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Printed:
    monkeypatch.setattr(logger.registered_handler, "stream", Stdout())
    return Printed(capsys)


@pytest.fixture
def ana(functions_table: Table, printed: Printed) -> str:
    profile = a_user(Account(functions_table, ACCOUNT), ANA, lastname="Lovelace")
    printed.read()
    return profile.id


@pytest.fixture
def traces(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], str]]:
    """Yield a function that returns what X-Ray's daemon received since the last call."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as daemon:
        daemon.bind(("127.0.0.1", 0))
        daemon.setblocking(False)
        monkeypatch.setenv("AWS_XRAY_DAEMON_ADDRESS", f"127.0.0.1:{daemon.getsockname()[1]}")
        monkeypatch.setenv(
            "_X_AMZN_TRACE_ID", "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
        )
        monkeypatch.setattr("handlers.metrics.TRACING", True)

        def received() -> str:
            documents = []
            with contextlib.suppress(BlockingIOError):
                while True:
                    documents.append(daemon.recv(65_536).decode())
            return "\n".join(documents)

        yield received


def gateway_event(method: str, resource: str, body: Any = None, user: str | None = None) -> dict[str, Any]:
    return {
        "httpMethod": method,
        "resource": resource,
        "path": f"/v1{resource}",
        "body": json.dumps(body) if isinstance(body, dict) else body,
        "pathParameters": {"id": user} if user else None,
        "requestContext": {
            "requestId": "gateway-request",
            "extendedRequestId": "gateway-own-id",
            "authorizer": {"account": ACCOUNT},
            "identity": {"sourceIp": "198.51.100.7"},
        },
    }


def post_event(event: dict[str, Any], email: str = ANA, **user: Any) -> dict[str, Any]:
    body = {"user": {"email": email, "lastname": "Lovelace", **user}, "event": event}
    return event_api.handler(gateway_event("POST", "/event", body), Context())


def post_batch(entries: list[Any], path: str = "/events") -> None:
    event_api.handler(gateway_event("POST", path, {"events": entries}), Context())


def test_an_event_is_found_by_the_ids_that_its_caller_got(ana: str, printed: Printed) -> None:
    response = post_event({"search": {"query": "shoes"}})
    [line], _ = printed.read()
    told = {
        "level": "INFO",
        "correlation_id": "gateway-request",
        "extended_request_id": "gateway-own-id",
        "function_request_id": "lambda-request",
        "event_id": response["headers"]["X-Event-Id"],
        "account": ACCOUNT,
        "route": "POST /event",
        "event_type": "search",
        "outcome": "created",
        "status": 200,
    }
    assert line.items() >= told.items()


@with_declared_types
@every_restriction
def test_a_discarded_event_is_logged_and_counted_with_the_reason(
    ana: str, printed: Printed, kind: Once | Windowed
) -> None:
    post_event(kind.event())
    [line], [metrics] = printed.read()
    assert (line["outcome"], line["event_type"]) == ("created", kind.type)
    assert (metrics["type"], metrics["EventsCreated"]) == (kind.type, [1])
    response = post_event(kind.event())
    code = restriction_of(kind).code
    assert json.loads(response["body"])["results"]["email"] == restriction_of(kind).text
    [line], [metrics] = printed.read()
    assert (line["outcome"], line["status"], line["discarded"]) == ("discarded", 200, code)
    assert (metrics["reason"], metrics["EventsDiscarded"]) == (code.upper(), [1])


def test_a_refused_request_is_logged_with_its_problems(ana: str, printed: Printed) -> None:
    post_event({"nonsense": {}})
    [line], [metrics] = printed.read()
    assert (line["outcome"], line["refused"], line["status"]) == ("refused", "Invalid", 400)
    assert line["problems"] == ["Unknown event type"]
    assert metrics["reason"] == "Invalid"


def test_each_event_of_a_batch_is_counted_as_if_it_had_come_alone(ana: str, printed: Printed) -> None:
    search: dict[str, Any] = {"search": {"query": "shoes"}}
    alone: list[tuple[dict[str, Any], str]] = [(search, ANA), ({"nonsense": {}}, ANA), (search, "bob@example.com")]
    for event, email in alone:
        post_event(event, email=email)
    counted = metrics_in(printed.read()[1])
    entries = [an_entry(event, email=email) for event, email in alone]
    post_batch(entries)
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


def test_nothing_of_one_request_is_logged_with_the_next(ana: str, printed: Printed) -> None:
    post_event({"search": {"query": "shoes"}})
    printed.read()
    user_api.handler(gateway_event("GET", "/user/{id}", user=ana), Context())
    [line], [metrics] = printed.read()
    assert {"event_id", "event_type"}.isdisjoint(line)
    assert "EventsCreated" not in metrics


def test_a_failure_is_one_error_with_its_place_but_without_its_message(ana: str, printed: Printed) -> None:
    response = event_api.handler(gateway_event("POST", "/event", body=[ANA]), Context())
    [line], _ = printed.read()
    assert response["statusCode"] == line["status"] == 500
    assert (line["level"], line["outcome"], line["error"]) == ("ERROR", "failed", "AttributeError")
    assert "body_of" in line["stack"][-1]


@pytest.mark.parametrize("body", [f'{{"{ANA}":', f'{{"{ANA}": 1, "{ANA}": 2}}', [ANA], {"event": {ANA: "\ud800"}}])
def test_no_log_line_identifies_a_person(ana: str, printed: Printed, body: Any) -> None:
    before = logger.log_level
    logger.setLevel("DEBUG")
    event_api.handler(gateway_event("POST", "/event", body), Context())
    logger.setLevel(before)
    lines = json.dumps(printed.read())
    assert "gateway-request" in lines
    assert [secret for secret in SECRETS if secret in lines] == []


REQUESTS = [path.stem for path in sorted((ROOT / "events").glob("*.json")) if "httpMethod" in event_file(path.stem)]


def errors_in(answer: Answer) -> str:
    """Return the errors of an answer. A batch also names each event by its id, so that its sender can find it."""
    if answer.status == 200:
        return ""
    return json.dumps(answer.body.get("errors") or [result.get("errors") for result in answer.body["results"]])


@pytest.mark.parametrize("name", REQUESTS)
def test_neither_logs_metrics_traces_nor_error_bodies_hold_a_value_that_was_sent(
    name: str, functions_table: Table, printed: Printed, traces: Callable[[], str]
) -> None:
    """Send each file of events/ with DEBUG on; then without a table, which is a failure on our side."""
    a_user(Account(functions_table, "demo"), ANA)
    before = logger.log_level
    logger.setLevel("DEBUG")
    event = event_file(name)
    answers = [answer_to(event), answer_to(event)]
    functions_table.client.delete_table(TableName=functions_table.name)
    answers.append(answer_to(event))
    dynamodb.create_table(functions_table.client, functions_table.name)
    logger.setLevel(before)
    lines = json.dumps(printed.read(), ensure_ascii=False)
    assert event["requestContext"]["requestId"] in lines
    shown = lines + traces() + "".join(errors_in(answer) for answer in answers)
    assert [value for value in sent_in(event) if value in shown] == []


def sent_in(event: dict[str, Any]) -> set[str]:
    """Values of the body, the path and the query, the key, and addresses."""
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


def test_the_authorizer_says_why_it_denies_and_never_the_key(functions_table: Table, printed: Printed) -> None:
    def made(**parameters: str) -> tuple[str, str]:
        answer = keys.handler({"action": "create", "account": ACCOUNT, **parameters}, Context())
        return answer["apiKey"], answer["keyId"]

    (good, good_id), (old, old_id) = made(), made(expiresOn="2020-01-31T00:00:00Z")
    for key, told in {
        good: ("allowed", ACCOUNT, good_id, None),
        old: ("denied", ACCOUNT, old_id, "expired"),
        "key_guess": ("denied", None, None, "unknown"),
    }.items():
        printed.read()
        authorizer.handler({"authorizationToken": key, "methodArn": ARN}, Context())
        lines, metrics = printed.read()
        assert tuple(map(lines[-1].get, ("outcome", "account", "key_id", "reason"))) == told
        assert not any(secret in json.dumps([lines, metrics]) for secret in (key, "ana%40"))


def test_a_key_that_is_made_expired_or_revoked_is_logged_by_its_id(functions_table: Table, printed: Printed) -> None:
    key_id = keys.handler({"action": "create", "account": ACCOUNT}, Context())["keyId"]
    keys.handler({"action": "revoke", "account": ACCOUNT, "keyId": key_id}, Context())
    lines, _ = printed.read()
    assert [(line["action"], line["key_id"]) for line in lines] == [("create", key_id), ("revoke", key_id)]


THROTTLE = error("ThrottlingException")


def throttled(*, once: bool = False) -> contextlib.AbstractContextManager[None]:
    """Throttle all calls of DynamoDB, or only the first attempt."""
    return answering([THROTTLE] if once else itertools.repeat(THROTTLE))


@contextlib.contextmanager
def answering(answers: Iterable[Fault]) -> Iterator[None]:
    """The next calls get these answers instead of DynamoDB's."""
    left = iter(answers)

    def answer(request: AWSPreparedRequest, **_: object) -> Any:
        return found(request) if (found := next(left, None)) else None

    with hooked(client, "before-send.dynamodb", answer):
        yield


def test_the_line_of_a_503_says_what_dynamodb_answered(ana: str, printed: Printed) -> None:
    with throttled():
        post_event({"search": {"query": "shoes"}})
        with pytest.raises(Unavailable):
            authorizer.handler({"authorizationToken": "key_guess", "methodArn": ARN}, Context())
    lines, _ = printed.read()
    answered = [(line["refused"], line["status"], line["cause"]) for line in lines]
    assert answered == [("Unavailable", 503, "ThrottlingException")] * 2


def broken(_: AWSPreparedRequest) -> Any:
    raise RuntimeError(ANA)


@pytest.mark.parametrize(
    ("answer", "cause", "kind"),
    [
        (THROTTLE, "ThrottlingException", None),
        (error("AccessDeniedException", message=ANA), "AccessDeniedException", "ClientError"),
        (broken, None, "RuntimeError"),
    ],
)
def test_an_event_that_failed_is_an_error_with_its_cause_and_is_counted_alone_and_in_a_batch(
    ana: str, printed: Printed, answer: Fault, cause: str | None, kind: str | None
) -> None:
    """The answer to a batch of which only some events failed is a 207."""
    search: dict[str, Any] = {"search": {"query": "fail me"}}

    def fail(request: Any, **_: object) -> Any:
        return answer(request) if b"fail me" in request.body else None

    entries = [an_entry({"viewitem": {"itemId": "1"}}), an_entry(search), an_entry(search)]
    with hooked(client, "before-send.dynamodb", fail):
        post_event(search)
        post_batch(entries)
    (alone, batch), metrics = printed.read()
    assert batch["status"] == 207
    assert batch["events"] == {"created": 1, "failed": 2}
    for line in (alone, batch):
        assert (line["level"], line["outcome"]) == ("ERROR", "failed")
        assert (line.get("cause"), line.get("error")) == (cause, kind)
    failed = [line["EventsFailed"] for line in metrics if "EventsFailed" in line and line["type"] == "search"]
    assert failed == [[1], [1, 1]]
    assert ANA not in json.dumps([alone, batch])


HOT_KEY = [{"reason": "TableWriteKeyRangeThroughputExceeded", "resource": "arn:aws:dynamodb:::table/x"}]


@pytest.mark.parametrize(
    ("code", "more", "throttling"),
    [
        ("ProvisionedThroughputExceededException", {"ThrottlingReasons": HOT_KEY}, HOT_KEY[0]["reason"]),
        ("ThrottlingException", {"throttlingReasons": HOT_KEY}, HOT_KEY[0]["reason"]),
        ("RequestLimitExceeded", {}, "RequestLimitExceeded"),
        ("InternalServerError", {}, None),
    ],
)
def test_a_throttle_is_counted_with_dynamodbs_reason_and_a_failure_of_dynamodb_is_none(
    ana: str, printed: Printed, code: str, more: dict[str, Any], throttling: str | None
) -> None:
    """In the line of the request, so that a query finds whose batches are throttled too."""
    with answering(itertools.repeat(error(code, **more))):
        entries = [an_entry({"search": {"query": "x"}})]
        post_batch(entries)
    [line], metrics = printed.read()
    assert line.get("throttling") == throttling
    counted = sum(len(each.get("StoreThrottles", ())) for each in metrics)
    assert line.get("throttles", 0) == counted == (2 if throttling else 0)


def test_a_call_that_worked_in_the_end_and_a_condition_that_failed_are_no_cause(ana: str, printed: Printed) -> None:
    with throttled(once=True):
        post_event({"search": {"query": "shoes"}})
    post_event({"confirmation": {"orderId": "1"}})
    post_event({"confirmation": {"orderId": "1"}})
    lines, _ = printed.read()
    assert [line["outcome"] for line in lines] == ["created", "created", "discarded"]
    assert not any("cause" in line for line in lines)


def test_an_answer_that_did_not_come_is_a_cause_too(ana: str, printed: Printed) -> None:
    with answering(itertools.repeat(no_connection)):
        post_event({"search": {"query": "shoes"}})
    [line], _ = printed.read()
    assert (line["status"], line["cause"]) == (503, "NoAnswer")


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


def upsert(*request: Any, **parts: Any) -> dict[str, Any]:
    return gateway_event(*request, **parts) | {"queryStringParameters": {"upsert": "true"}}


def test_each_metric_is_counted_and_by_nothing_that_a_caller_can_choose(ana: str, printed: Printed) -> None:
    post_event({"search": {"query": "shoes"}})
    post_event({"search": {"query": "shoes"}}, userAgent="Googlebot/2.1")
    post_event({"search": {"query": "shoes"}}, email="nobody@example.com")
    erasure.handler({}, Context())
    with throttled():
        response = post_event({"search": {"query": "shoes"}})
    with Bus.running():
        invoke("FeedFunction", event_file("feed"))
    post_event({"confirmation": {"orderId": 1, "total": "59,90"}})
    for _ in range(2):
        user_api.handler(upsert("PUT", "/user/{id}", {}, user="ben@example.com"), Context())
        body = {"user": {"email": "eve@example.com"}, "event": {"search": {"query": "x"}}}
        event_api.handler(upsert("POST", "/event", body), Context())
    _, lines = printed.read()

    assert response["statusCode"] == 503
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
    wrong = {"confirmation": {"orderId": 1, "total": "59,90"}}
    post_event(wrong, Tel="1", City="x")
    [single], _ = printed.read()
    entries = [
        an_entry({"update": {"_id": 1, "createdOn": 2}}),
        an_entry({"confirmation": {"orderId": 2, "total": ""}}),
    ]
    for path in ("/events", "/events/check"):
        post_batch(entries, path)
    [batch, check], _ = printed.read()
    assert single["warnings"] == {"total_not_counted": 1, "similar_name": 1}
    assert batch["warnings"] == {"total_not_counted": 1, "system_attribute_ignored": 1}
    assert "warnings" not in check


def test_a_saved_query_counts_each_code_of_a_warning() -> None:
    query = RESOURCES["WarningsQuery"]["Properties"]["QueryString"]
    assert tuple(re.findall(r"sum\(warnings\.(\w+)\) as \1", query)) == tuple(WARNINGS)


def test_a_traced_call_reaches_the_daemon_of_x_ray(ana: str, traces: Callable[[], str]) -> None:
    post_event({"search": {"query": "shoes"}})
    header, document, *_ = traces().split("\n")
    assert json.loads(header) == {"format": "json", "version": 1}
    subsegment = json.loads(document)
    assert subsegment["trace_id"] == "1-5759e988-bd862e3fe1be46a994272793"
    assert subsegment["parent_id"] == "53995c3f42cd8ad8"
    assert subsegment["aws"] == {"operation": "GetItem"}
    assert subsegment["start_time"] <= subsegment["end_time"]
