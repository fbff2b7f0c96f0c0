"""Metrics for CloudWatch in embedded metric format. A request prints one line; a batch can print more.

Values of dimensions are from closed lists (event types, reasons), never from a caller.
"""

import json
import os
import time
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger, Metrics

from domain.problems import NotFound, Refused
from table.calls import THROTTLING_CODES

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from domain.outcomes import Outcome

NAMESPACE = "EventApi"

# Unit, and the dimension by which it is counted in addition to the total.
METRICS: Mapping[str, tuple[str, str | None]] = {
    "EventsCreated": ("Count", "type"),
    "EventsDiscarded": ("Count", "reason"),  # the code of a Restriction, in upper case
    "EventsFailed": ("Count", "type"),  # on our side, alone or in a batch; "unknown" if the type is unknown
    "RequestsRefused": ("Count", "reason"),  # the name of a subclass of Refused; also for each event of a batch
    "Warnings": ("Count", "code"),  # one for each warning code of an event or a request
    "UsersCreated": ("Count", None),  # by POST, or by an upsert of a user or an event
    "UnknownUsers": ("Count", None),  # 0 or 1 for each event, so the average is a rate
    "StoreLatency": ("Milliseconds", None),
    "StoreThrottles": ("Count", None),
    "OldestErasure": ("Seconds", None),  # the age of the oldest unfinished one, 0 if there is none
    "FeedPublished": ("Count", None),  # records of the stream that are on the bus
    "FeedFailed": ("Count", None),  # records that are not, which Lambda repeats
}

TRACING = os.environ.get("TRACING") == "Active"
MAX_VALUES = 99  # of a metric in a line: at 100 Powertools prints the line

_metrics = Metrics(namespace=NAMESPACE)
_recorded: list[tuple[str, float, str]] = []


def record(name: str, value: float = 1, kind: str = "") -> None:
    """Add a value to one of METRICS. `kind` is the value of its dimension. Safe in threads."""
    _recorded.append((name, value, kind))


def count_event(outcome: "Outcome | Exception", event_type: str | None) -> None:
    """Record one event, alone or in a batch. The type of a failed one may be unknown."""
    kind = event_type or "unknown"
    if isinstance(outcome, Exception):
        if not isinstance(outcome, Refused) or outcome.is_server_error:
            record("EventsFailed", kind=kind)
        elif isinstance(outcome, NotFound):
            record("UnknownUsers", 1)
        return
    record("UnknownUsers", 0)
    if outcome.replayed or outcome.status == "duplicate":
        return
    if outcome.restriction:
        record("EventsDiscarded", kind=outcome.restriction.code.upper())
    else:
        record("EventsCreated", kind=kind)
        if outcome.user_created:
            record("UsersCreated")


# --- Calls of DynamoDB ----------------------------------------------------------------------------


def watch(client: "DynamoDBClient", logger: Logger) -> None:
    """Record each attempt of a call that this client makes."""
    client.meta.events.register("before-call.dynamodb", _begin_call)
    client.meta.events.register("response-received.dynamodb", partial(_record_answer, logger))


def _begin_call(context: dict[str, Any], **_: Any) -> None:
    context["begun"] = time.time()


def _record_answer(
    logger: Logger, context: dict[str, Any], parsed_response: dict[str, Any] | None, event_name: str, **_: Any
) -> None:
    """Record an attempt. `parsed_response` is None if there was none in time."""
    begun, ended = context["begun"], time.time()
    answer = parsed_response or {"Error": {"Code": "NoAnswer"}}
    reasons = (answer.get("Error"), *answer.get("CancellationReasons", ()))
    codes = [reason["Code"] for reason in reasons if reason]
    throttled = THROTTLING_CODES.intersection(codes)
    operation = event_name.rpartition(".")[2]
    logger.debug("store answered", operation=operation, milliseconds=round((ended - begun) * 1000, 1), codes=codes)
    record("StoreLatency", (ended - begun) * 1000)
    if throttled:
        record("StoreThrottles")
        # The reason is the limit that was reached, or the code of a cancelled transaction, which does not name it.
        listed = answer.get("ThrottlingReasons") or answer.get("throttlingReasons") or [{"reason": min(throttled)}]
        throttles = logger.get_current_keys().get("throttles", 0) + 1
        logger.append_keys(throttles=throttles, throttling=listed[0]["reason"])
    if TRACING:
        from handlers.tracing import send_call  # makes the start slower

        send_call(operation, begun, ended, failed=bool(codes), throttled=bool(throttled))


# --- Lines ----------------------------------------------------------------------------------------


def publish() -> None:
    """Print the recorded values: one line, or more if a batch has events of several kinds."""
    lines: list[tuple[dict[str | None, str], dict[str, list[float]]]] = []  # the kind of each dimension, and the values
    for name, value, kind in _recorded:
        dimension = METRICS[name][1]
        for kinds, values in lines:
            if len(values.get(name, ())) < MAX_VALUES and kinds.get(dimension, kind) == kind:
                break
        else:
            kinds, values = {}, {}
            lines.append((kinds, values))
        kinds[dimension] = kind
        values.setdefault(name, []).append(value)
    _recorded.clear()
    for kinds, values in lines:
        _print({dimension: kind for dimension, kind in kinds.items() if dimension}, values)


def _print(kinds: Mapping[str, str], values: Mapping[str, list[float]]) -> None:
    """Print a line with the dimension service and, if it has another one, with both.

    Powertools applies each set of dimensions to all metrics of a line. Here each set has its own list of metrics.
    """
    for name, listed in values.items():
        for value in listed:
            _metrics.add_metric(name, METRICS[name][0], value)
    for dimension, kind in kinds.items():
        _metrics.add_metadata(dimension, kind)
    document: dict[str, Any] = {**_metrics.serialize_metric_set()}
    directives = document["_aws"]["CloudWatchMetrics"]
    [by_service] = directives
    for dimension in kinds:
        counted = [metric for metric in by_service["Metrics"] if METRICS[metric["Name"]][1] == dimension]
        directives.append({**by_service, "Dimensions": [["service", dimension]], "Metrics": counted})
    print(json.dumps(document, separators=(",", ":")))
    _metrics.clear_metrics()
