"""Sends the running stack each request of events/ to the event function: `make events`."""

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection, HTTPResponse
from typing import Any
from urllib.parse import urlencode, urlsplit

from local.stack import ROOT

RECORDED_ON = "2026-11-23"
"""The day of the files' times."""
OF_THE_GATEWAY = ("Host", "X-Forwarded-")


def send(api_url: str, api_key: str) -> Iterator[tuple[str, int, str]]:
    """Yield each file's name, the status of its answer, and its outcome. Batches come after the single events."""
    files = {path.stem: json.loads(path.read_text()) for path in (ROOT / "events").glob("*.json")}
    requests = [(file["path"], name) for name, file in files.items() if file.get("path", "").startswith("/event")]
    for _, name in sorted(requests):
        answer, body = _answer(api_url, api_key, files[name])
        yield name, answer.status, _result_text(answer, body)


def _answer(api_url: str, api_key: str, event: dict[str, Any]) -> tuple[HTTPResponse, Any]:
    headers = {name: value for name, value in event["headers"].items() if not name.startswith(OF_THE_GATEWAY)}
    if "Authorization" in headers:
        headers["Authorization"] = api_key
    if event["isBase64Encoded"]:
        body = base64.b64decode(event["body"])
    else:
        # The API refuses times more than 35 days ago.
        yesterday = datetime.now(UTC).date() - timedelta(days=1)
        body = event["body"].replace(RECORDED_ON, str(yesterday)).encode()
    url = urlsplit(api_url)
    connection = HTTPConnection(url.netloc)
    query = urlencode(event["queryStringParameters"] or {})
    connection.request(event["httpMethod"], f"{url.path}{event['path']}?{query}", body, headers)
    answer = connection.getresponse()
    return answer, json.loads(answer.read())


def _result_text(answer: HTTPResponse, body: Any) -> str:
    if isinstance(body.get("results"), list):
        return ", ".join(result["status"] for result in body["results"])
    status: str = answer.headers["X-Event-Status"] or answer.headers["X-Error-Code"]
    return f"{status} before" if "Idempotent-Replayed" in answer.headers else status
