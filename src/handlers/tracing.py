"""Calls of DynamoDB as subsegments of X-Ray's traces. Imported only if tracing is on.

Subsegments are sent to the daemon that runs with the function. AWS's SDK is deprecated and imports all of botocore.

https://docs.aws.amazon.com/xray/latest/devguide/xray-api-sendingdata.html
"""

import json
import os
import socket
from contextlib import suppress
from secrets import token_hex


def send_call(operation: str, begun: float, ended: float, *, failed: bool, throttled: bool) -> None:
    """Send a subsegment for a call, without its parameters. Times are seconds since 1970."""
    header = dict(part.partition("=")[::2] for part in os.environ.get("_X_AMZN_TRACE_ID", "").split(";"))
    host, _, port = os.environ.get("AWS_XRAY_DAEMON_ADDRESS", "").rpartition(":")
    if header.get("Sampled") != "1" or not host:
        return
    subsegment = {
        "type": "subsegment",
        "name": "DynamoDB",
        "namespace": "aws",
        "id": token_hex(8),
        "trace_id": header["Root"],
        "parent_id": header["Parent"],
        "start_time": begun,
        "end_time": ended,
        "error": failed,
        "throttle": throttled,
        "aws": {"operation": operation},
    }
    document = '{"format": "json", "version": 1}\n' + json.dumps(subsegment)
    # A failed trace must not fail a request.
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as daemon:
        daemon.sendto(document.encode(), (host, int(port)))
