"""Tries a deployed API from outside, the way a caller meets it: `make smoke API_URL=... API_KEY=...`.

It sends the documented requests, and whatever only a real gateway can show, with users of its own that it erases at the
end. It prints what held, and exits with 1 when something did not. API_URL is the output ApiUrl of the stack, API_KEY a
key of an account for such tests. BURST, a number of requests, tries the rate limit as well. It needs only Python.
"""

import contextlib
import gzip
import http.client
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

SECONDS = 40  # more than the gateway's 29


class DidNotHold(Exception):
    """What was found, and what the contract says instead."""


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
            raise DidNotHold(f"{self.request}: the body is no JSON: {self.raw[:100]!r}") from None

    def must(self, status: int, code: str = "", message: str = "") -> "Answer":
        """This answer, when it has the status, and its first error the code and the message. Raises DidNotHold."""
        if self.status != status:
            raise DidNotHold(f"{self.request}: the status is {self.status}, not {status}: {self.raw[:200]!r}")
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
            raise DidNotHold(f"{self.request}: the body has not the shape of an error: {self.raw[:100]!r}")
        self.must_say("having X-Error-Code", "X-Error-Code" in self.headers, True)

    def must_say(self, what: str, found: object, wanted: object) -> None:
        if found != wanted:
            raise DidNotHold(f"{self.request}: {what} is {shown(found)}, not {shown(wanted)}")


@dataclass
class Api:
    url: str
    key: str
    on_aws: bool = True
    """Whether API Gateway answers itself, and no emulator of it."""
    users: list[str] = field(default_factory=list)
    """The ids of those that were created here."""

    def send(self, method: str, path: str, body: Any = None, /, *, key: str | None = None, **headers: str) -> Answer:
        """path: as it goes over the wire. body: bytes as they are, anything else as JSON. key="": without one.

        headers: with _ in the place of -.
        """
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
            # Whoever refuses a large body need not read all of it.
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
        """A user who will be erased: what names it in an event."""
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
    """What else is worth telling, or None. Raises DidNotHold."""
    emulator: str = ""
    """How the emulator of `make run` is known to differ, or nothing."""


def main() -> int:
    url, key, burst = (os.environ.get(name, "") for name in ("API_URL", "API_KEY", "BURST"))
    if not url or not key:
        print("Name the API: make smoke API_URL=... API_KEY=...", file=sys.stderr)
        return 1
    from tools import checks  # which needs this module

    api = Api(url.rstrip("/"), key)
    failed = 0
    for result, check, note in outcomes(api, checks.all_checks(int(burst or 0))):
        failed += result == "FAILED"
        print(f"{result:8} {check.promise}{': ' if note else ''}{note}", flush=True)
    print(f"\n{failed or 'Nothing'} did not hold." if failed else "\nEverything held.")
    return 1 if failed else 0


def outcomes(api: Api, checks: list[Check]) -> Iterator[tuple[str, Check, str]]:
    """Of each check: held, differs (as the emulator is known to) or FAILED, the check, and what to add."""
    for check in checks:
        try:
            note = check.run(api)
            yield "held", check, note or ""
        except (DidNotHold, OSError, http.client.HTTPException, LookupError, TypeError) as error:
            why = str(error) if isinstance(error, DidNotHold) else f"{type(error).__name__}: {error}"
            if check.emulator and not api.on_aws:
                yield "differs", check, check.emulator
            else:
                yield "FAILED", check, why


def shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]} ..."


if __name__ == "__main__":
    sys.exit(main())
