"""What CloudWatch counts: one line in embedded metric format for each request.

Dimensions are lists that this code closes (event types, reasons), never what a caller sends.
"""

import json
from collections.abc import Mapping
from typing import Any

from aws_lambda_powertools import Metrics

NAMESPACE = "EventApi"

# Unit, and the dimension by which it is counted besides the total.
METRICS: Mapping[str, tuple[str, str | None]] = {
    "EventsCreated": ("Count", "type"),
    "EventsDiscarded": ("Count", "reason"),  # the name of a Restriction
    "RequestsRefused": ("Count", "reason"),  # the name of a subclass of Refused
    "UnknownUsers": ("Count", None),  # 0 or 1 for each event: the average is their share
    "StoreLatency": ("Milliseconds", None),
    "StoreThrottles": ("Count", None),
    "OldestErasure": ("Seconds", None),  # the age of the oldest that is not done, 0 when all are
    "FeedPublished": ("Count", None),  # records of the stream that are on the bus
    "FeedFailed": ("Count", None),  # and those that are not, which Lambda hands over again
}

_metrics = Metrics(namespace=NAMESPACE)


def record(name: str, value: float = 1, kind: str = "") -> None:
    """Adds a value to one of METRICS; `kind` is the value of its dimension."""
    unit, dimension = METRICS[name]
    _metrics.add_metric(name, unit, value)
    if dimension:
        _metrics.add_metadata(dimension, kind)


def publish() -> None:
    """Prints what was recorded, once by service and, where there is a dimension, once by service and that.

    Powertools applies each set of dimensions to all metrics of a line. The format itself has a list of
    metrics for each set, so that latency does not become one more metric for each type and reason.
    """
    if not _metrics.metric_set:
        return
    line: dict[str, Any] = {**_metrics.serialize_metric_set()}
    directives = line["_aws"]["CloudWatchMetrics"]
    [by_service] = directives
    for dimension in _metrics.metadata_set:
        counted = [metric for metric in by_service["Metrics"] if METRICS[metric["Name"]][1] == dimension]
        directives.append({**by_service, "Dimensions": [["service", dimension]], "Metrics": counted})
    print(json.dumps(line, separators=(",", ":")))
    _metrics.clear_metrics()
