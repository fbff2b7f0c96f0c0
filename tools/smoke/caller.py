"""A caller of the API who looks closely at each answer."""

import contextlib
import gzip
import http.client
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

SECONDS = 120  # the gateway gives up after 29; a laptop may take longer to start twenty functions at once


class CheckFailed(Exception):
    """Raised with the observation, and what the contract says instead."""


@dataclass(frozen=True)
class Answer:
    request: str
    status: int
    headers: http.client.HTTPMessage
    raw: bytes
    milliseconds: float

    @property
    def body(self) -> Any:
        compressed = self.headers.get("Content-Encoding") == "gzip"
        try:
            return json.loads(gzip.decompress(self.raw) if compressed else self.raw)
        except ValueError:
            raise CheckFailed(f"{self.request}: the body is no JSON: {self.raw[:100]!r}") from None

    def must(self, status: int, code: str = "", message: str = "") -> "Answer":
        """Return the answer if it has the status, and its first error the code and the message. Raise CheckFailed."""
        if self.status != status:
            raise CheckFailed(f"{self.request}: the status is {self.status}, not {status}: {self.raw[:200]!r}")
        if status >= http.HTTPStatus.BAD_REQUEST:
            self.must_be_an_error()
        if code:
            self.must_say("X-Error-Code", self.headers.get("X-Error-Code"), code)
        if message:
            self.must_say("the message", self.body["errors"][0]["message"], message)
        return self

    def must_be_an_error(self) -> None:
        errors = self.body.get("errors") if isinstance(self.body, dict) else None
        if not errors or not all({"message", "description"} <= error.keys() for error in errors):
            raise CheckFailed(f"{self.request}: the body has not the shape of an error: {self.raw[:100]!r}")
        self.must_say("having X-Error-Code", "X-Error-Code" in self.headers, True)

    def must_say(self, what: str, found: object, wanted: object) -> None:
        if found != wanted:
            raise CheckFailed(f"{self.request}: {what} is {shown(found)}, not {shown(wanted)}")


@dataclass
class Api:
    url: str
    key: str
    on_aws: bool = True
    """Whether API Gateway answers itself, and no emulator of it."""
    users: list[str] = field(default_factory=list)
    """The ids of those that were created here."""

    def send(self, method: str, path: str, body: Any = None, /, *, key: str | None = None, **headers: str) -> Answer:
        """Send a request. `path` is not encoded further. `body` is bytes, or a value for JSON. `key=""` sends none.

        Names of `headers` have _ instead of -. A 503 of an emulator, which a busy machine delays, is sent again.
        """
        for _ in range(0 if self.on_aws else 3):
            answer = self._send_once(method, path, body, key, headers)
            if answer.status != http.HTTPStatus.SERVICE_UNAVAILABLE:
                return answer
            time.sleep(float(answer.headers.get("Retry-After", 1)))
        return self._send_once(method, path, body, key, headers)

    def _send_once(self, method: str, path: str, body: Any, key: str | None, headers: dict[str, str]) -> Answer:
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        key = self.key if key is None else key
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if key:
            sent.setdefault("Authorization", key)
        if data:
            sent.setdefault("Content-Type", "application/json")
        url = urlsplit(self.url)
        secure = url.scheme == "https"
        connection = (http.client.HTTPSConnection if secure else http.client.HTTPConnection)(
            url.netloc, timeout=SECONDS
        )
        begun = time.perf_counter()
        try:
            # A server that refuses a large body need not read all of it.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, url.path + path, data, sent)
            response = connection.getresponse()
            raw = response.read()
        finally:
            connection.close()
        milliseconds = (time.perf_counter() - begun) * 1000
        request = f"{method} {path or '(the empty path)'}"
        return Answer(request, response.status, response.headers, raw, milliseconds)

    def new_user(self, **attributes: Any) -> dict[str, str]:
        """Create a user, who will be erased. Return the identifier for events."""
        email = f"smoke-{uuid4().hex}@example.com"
        created = self.send("POST", "/user/", {"email": email, **attributes}).must(200)
        self.users.append(created.body["object"]["_id"])
        return {"email": email}

    def event(self, user: dict[str, str], event: dict[str, Any], **headers: str) -> Answer:
        return self.send("POST", "/event/", {"user": user, "event": event}, **headers)

    def profile(self, user: dict[str, str]) -> Any:
        return self.send("GET", f"/user/{user['email']}").must(200).body

    def timeline(self, user: dict[str, str]) -> Any:
        return self.send("GET", f"/user/{user['email']}/events").must(200).body["events"]


@dataclass(frozen=True)
class Check:
    promise: str
    run: Callable[[Api], str | None]
    """What else is worth telling, or None. Raises CheckFailed."""
    emulator: str = ""
    """How the emulator of `make run` is known to differ, or nothing."""


def shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]} ..."
