"""Requests of `POST /v1/events/`, and what the client does after each answer (contract, section 8)."""

import gzip
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Any

import httpx

from event_api_client.entries import body_of, from_json

TIMEOUT_SECONDS = 30.0  # API Gateway answers within 29 seconds
LONGEST_RETRY_AFTER = 3600.0
AGAIN = {408, 429, 500, 502, 503, 504}
WRONG_BATCH = {400, 413, 422}
Result = dict[str, Any]


class Next(Enum):
    """The next step that an answer asks for."""

    READ_RESULTS = "each event has a result; send the failed ones again"
    SEND_AGAIN = "send the same events again"
    SPLIT = "the API cannot read the batch: find the event that it cannot read"
    STOP = "the key or the address is wrong: no event can be sent"


@dataclass(frozen=True)
class Answer:
    """An answer. `errors` are those of the request; `retry_after` is in seconds, None without the header."""

    next: Next
    results: list[Result] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)
    retry_after: float | None = None
    problem: str = ""
    """What went wrong, for people. It contains nothing that was sent."""


@dataclass(frozen=True)
class Settings:
    """Where to send, and with which key."""

    url: str
    key: str = field(repr=False)

    @staticmethod
    def read(url: str | None = None, key: str | None = None) -> "Settings":
        """Return the settings, those that are missing from API_URL and API_KEY. Raises ValueError."""
        found = {"API_URL": url or os.environ.get("API_URL", ""), "API_KEY": key or os.environ.get("API_KEY", "")}
        missing = [name for name, value in found.items() if not value.strip()]
        if missing:
            raise ValueError(f"Set {' and '.join(missing)} in the environment")
        url, key = (value.strip() for value in found.values())
        if not _is_url(url):
            raise ValueError("API_URL is not an address: it starts with https:// and ends with /v1")
        if not key.isascii() or not key.isprintable():
            raise ValueError("API_KEY contains characters that a key never has")
        return Settings(url.rstrip("/"), key)


def _is_url(text: str) -> bool:
    try:
        return httpx.URL(text).scheme in ("http", "https") and bool(httpx.URL(text).host)
    except httpx.InvalidURL:
        return False


class Api:
    """A connection to the API. Use one for each thread. Raises ValueError for a proxy that cannot be used."""

    def __init__(self, settings: Settings, transport: httpx.BaseTransport | None = None) -> None:
        headers = {"Authorization": settings.key, "Content-Type": "application/json", "Content-Encoding": "gzip"}
        headers |= {"User-Agent": "event-api-client/1.2"}
        self._url = settings.url
        try:
            self._client = httpx.Client(headers=headers, timeout=TIMEOUT_SECONDS, transport=transport)
        except (ImportError, ValueError, httpx.InvalidURL) as error:
            raise ValueError(f"The proxy or the certificates of the environment cannot be used: {error}") from error

    def close(self) -> None:
        self._client.close()

    def send(
        self, entries: Sequence[bytes], *, upsert: bool = False, imported: bool = False, check: bool = False
    ) -> Answer:
        """Send a batch and return its answer. `check` stores nothing."""
        path = "/events/check" if check else "/events/"
        content = gzip.compress(body_of(entries, imported=imported), compresslevel=1)
        try:
            response = self._client.post(self._url + path, content=content, params={"upsert": "true"} if upsert else {})
        except httpx.HTTPError as error:  # its text can contain the address, which can contain a password
            return Answer(Next.SEND_AGAIN, problem=f"No answer ({type(error).__name__})")
        return _read(response, len(entries))


def _read(response: httpx.Response, count: int) -> Answer:
    status, body = response.status_code, _json_object(response)
    results, errors = _results(body, count), _errors(body)
    retry_after = _seconds(response.headers.get("Retry-After"))
    problem = f"HTTP {status}" + "".join(f", {error.get('message')}" for error in errors[:1])
    if status in (200, 207, 400, 503) and results:
        return Answer(Next.READ_RESULTS, results, retry_after=retry_after, problem=problem)
    if status == 413 or (status in WRONG_BATCH and errors):
        return Answer(Next.SPLIT, errors=errors, problem=problem)
    if status in AGAIN or status >= 500 or response.is_success:  # a 200 without results is not from this API
        return Answer(Next.SEND_AGAIN, retry_after=retry_after, problem=problem)
    return Answer(Next.STOP, errors=errors, problem=problem)


def _json_object(response: httpx.Response) -> dict[str, Any]:
    try:
        body = from_json(response.content)
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


def _errors(body: dict[str, Any]) -> list[dict[str, Any]]:
    return _objects(body.get("errors"))


def _results(body: dict[str, Any], count: int) -> list[Result]:
    """Return the result of each event. Empty if there is not one for each."""
    results = _objects(body.get("results"))
    if len(results) != count or not all(isinstance(each.get("status"), str) for each in results):
        return []
    lists = ("errors", "warnings")
    return [each | {name: _objects(each[name]) for name in lists if name in each} for each in results]


def _objects(value: object) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _seconds(retry_after: str | None) -> float | None:
    if retry_after is None:
        return None
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(retry_after).timestamp() - time.time()
        except (ValueError, TypeError):
            return None
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER) if seconds == seconds else None  # noqa: PLR0124 NaN
