"""Metrics for CloudWatch in embedded metric format. A request prints one line; a batch can print more.

Values of dimensions are from closed lists (event types, reasons), never from a caller.
"""

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from aws_lambda_powertools import Metrics

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

MAX_VALUES = 99  # of a metric in a line: at 100 Powertools prints the line

_metrics = Metrics(namespace=NAMESPACE)
_recorded: list[tuple[str, float, str]] = []


class _Line:
    """One line: values of metrics, and one kind for each dimension."""

    def __init__(self) -> None:
        self.values: Counter[str] = Counter()
        self.kinds: dict[str, str] = {}
        self.recorded: list[tuple[str, float]] = []

    def takes(self, name: str, kind: str) -> bool:
        dimension = METRICS[name][1]
        return self.values[name] < MAX_VALUES and (dimension is None or self.kinds.get(dimension, kind) == kind)

    def add(self, name: str, value: float, kind: str) -> None:
        if dimension := METRICS[name][1]:
            self.kinds[dimension] = kind
        self.values[name] += 1
        self.recorded.append((name, value))


def record(name: str, value: float = 1, kind: str = "") -> None:
    """Add a value to one of METRICS. `kind` is the value of its dimension. Safe in threads."""
    _recorded.append((name, value, kind))


def publish() -> None:
    """Print the recorded values: one line, or more if a batch has events of several kinds."""
    lines: list[_Line] = []
    for name, value, kind in _recorded:
        line = next((line for line in lines if line.takes(name, kind)), None)
        if line is None:
            lines.append(line := _Line())
        line.add(name, value, kind)
    _recorded.clear()
    for line in lines:
        _print(line)


def _print(line: _Line) -> None:
    """Print a line with the dimension service and, if it has another one, with both.

    Powertools applies each set of dimensions to all metrics of a line. The format allows a list of metrics for each, so
    latency is not counted for each type and reason.
    """
    for name, value in line.recorded:
        _metrics.add_metric(name, METRICS[name][0], value)
    for dimension, kind in line.kinds.items():
        _metrics.add_metadata(dimension, kind)
    document: dict[str, Any] = {**_metrics.serialize_metric_set()}
    directives = document["_aws"]["CloudWatchMetrics"]
    [by_service] = directives
    for dimension in line.kinds:
        counted = [metric for metric in by_service["Metrics"] if METRICS[metric["Name"]][1] == dimension]
        directives.append({**by_service, "Dimensions": [["service", dimension]], "Metrics": counted})
    print(json.dumps(document, separators=(",", ":")))
    _metrics.clear_metrics()
