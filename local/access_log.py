"""One line for each request to the API: the emulator writes them to a file, and `make run` prints them.

No line holds an address, an id of a user, or anything else that a caller sent.
"""

import json
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from local import aws

if TYPE_CHECKING:
    from mypy_boto3_logs import CloudWatchLogsClient

PAGES_AGENT = "event-api-pages"
"""The User-Agent of the pages. They read each second, so `make run` shows only their writes."""
PERSONAL = re.compile(r"(?<=/user/)[^/]+|(?<=/erasures/)[^/]+|[^/]*(?:@|%40)[^/]*")


class Recorder:
    """Records one request while the emulator answers it."""

    def __init__(self, scope: dict[str, Any], send: Any, log: TextIO) -> None:
        self.send_on, self.log = send, log
        self.started = time.time()
        self.method, self.path = scope["method"], re.sub(r"^/_aws/execute-api/\w+", "", scope["path"])
        self.agent = dict(scope["headers"]).get(b"user-agent", b"").decode("latin-1")
        self.status, self.headers, self.body = 0, dict[str, str](), b""

    async def send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode().lower(): value.decode("latin-1") for name, value in message["headers"]}
        self.body += message.get("body", b"")
        await self.send_on(message)

    def write(self) -> None:
        entry = {
            "time": self.started,
            "method": self.method,
            "path": PERSONAL.sub("…", self.path),
            "status": self.status,
            "ms": round(1000 * (time.time() - self.started)),
            "outcome": self.outcome(),
        }
        if self.method != "GET" or self.agent != PAGES_AGENT:
            print(json.dumps(entry), file=self.log, flush=True)

    def outcome(self) -> str:
        """Return how many events of a batch have each status, or the status of one event, or the code of an error."""
        code = self.headers.get("x-error-code", "")
        if not self.path.startswith("/v1/events"):
            return code or self.headers.get("x-event-status", "")
        counts = Counter(result["status"] for result in json.loads(self.body).get("results", ()))
        return ", ".join([*(f"{count} {status}" for status, count in counts.items()), *filter(None, [code])])


def lines(entries: Iterable[str], endpoint: str, log_group: str, errors: Path) -> Iterator[str]:
    """Yield what to print about the requests. Add the functions' log of a 5xx to the file `errors`."""
    for text in entries:
        entry = json.loads(text)
        moment = datetime.fromtimestamp(entry["time"]).astimezone()
        request = f"{entry['method']:<6} {entry['path']:<34} {entry['status']} {entry['ms']:>5} ms"
        yield f"{moment:%H:%M:%S}  {request}  {entry['outcome']}".rstrip()
        if entry["status"] >= HTTPStatus.INTERNAL_SERVER_ERROR:
            yield f"          {cause(entry['time'], endpoint, log_group, errors)}; the log is {errors}"


def cause(since: float, endpoint: str, log_group: str, errors: Path) -> str:
    """Return why a function failed, without what the caller sent, and keep its log."""
    logs: CloudWatchLogsClient = aws.client("logs", endpoint)
    found = logs.filter_log_events(logGroupName=log_group, startTime=int(since * 1000))["events"]
    messages = [event["message"] for event in found]
    with errors.open("a") as file:
        file.writelines(f"{message}\n" for message in messages)
    failures = [message for message in messages if '"level":"ERROR"' in message]
    if not failures:
        return "No function logged an error"
    failure = json.loads(failures[-1])
    place = re.findall(r'code/(\S+)", line (\d+)', "".join(failure.get("stack", ())))[-1:]
    return " at ".join([failure.get("cause") or failure.get("error", "Failed"), *(":".join(each) for each in place)])
