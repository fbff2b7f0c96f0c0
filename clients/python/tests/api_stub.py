"""A server that answers `POST /v1/events/` as the contract says, from memory, with the faults that a test gives it."""

import gzip
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Entry = dict[str, Any]
Reply = tuple[int, dict[str, str], Any]  # status, headers, body
DROP: Reply = (0, {}, None)
UNAVAILABLE = {"code": "unavailable", "message": "Service unavailable", "description": "Send it again."}
NOT_FOUND = {"code": "user_not_found", "message": "User not found", "description": "This email does not exist."}
FORBIDDEN: Reply = (403, {}, {"errors": [{"code": "forbidden", "message": "Forbidden", "description": "send"}]})
UNAUTHORIZED: Reply = (401, {}, {"errors": [{"code": "unauthorized", "message": "Unauthorized", "description": "key"}]})


def errors(message: str = "Wrong") -> dict[str, Any]:
    return {"errors": [{"code": "wrong", "message": message, "description": message}]}


@dataclass
class Request:
    path: str
    query: str
    key: str
    events: list[Entry]
    bytes: int
    at: float
    imported: bool = False


@dataclass
class Stub:
    """`before` may answer instead of the API, `after` instead of what it answered, and `fails` lets events fail."""

    keys: set[str] = field(default_factory=lambda: {"key"})
    users: set[str] | None = None  # every user exists
    before: Callable[[Request], Reply | None] = lambda _: None
    after: Callable[[Request], Reply | None] = lambda _: None
    fails: Callable[[Entry], bool] = lambda _: False
    requests: list[Request] = field(default_factory=list)
    stored: list[Entry] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    url: str = ""
    _known: dict[tuple[str, ...], Entry] = field(default_factory=dict)
    _once: dict[tuple[str, str], Entry] = field(default_factory=dict)

    def answer(self, request: Request) -> Reply:
        with self.lock:
            self.requests.append(request)
            if request.key not in self.keys:
                return UNAUTHORIZED
            reply = self.before(request) or self.process(request)
            return self.after(request) or reply

    def process(self, request: Request) -> Reply:
        check, failed = request.path.endswith("/check"), set[str]()
        copies = copy(self.users), copy(self.stored), copy(self._known), copy(self._once)
        results = [self.result(each, request, failed) for each in request.events]
        if check:
            self.users, self.stored, self._known, self._once = copies
        kinds = {result["status"] for result in results}
        settled, status = kinds - {"failed", "refused"}, 200
        if kinds != settled:
            status = 207 if settled else 503 if "failed" in kinds else 400
        headers = {"Retry-After": "0"} if "failed" in kinds else {}
        return status, headers, {"results": results} | ({"stored": False} if check else {})

    def result(  # noqa: PLR0911 one for each rule
        self, entry: Entry, request: Request, failed: set[str]
    ) -> dict[str, Any]:
        name = (entry["user"].get("email") or entry["user"].get("_id", "")).strip().lower()
        result: dict[str, Any] = {"eventId": entry["eventId"]}
        ((kind, payload),) = entry["event"].items()
        if name in failed or self.fails(entry):
            failed.add(name)
            return result | {"status": "failed", "errors": [UNAVAILABLE]}
        too_old = datetime.now(timezone.utc) - datetime.fromisoformat(entry["eventTime"].replace("Z", "+00:00"))
        if too_old > timedelta(days=35) and not request.imported:
            return result | {"status": "refused", "errors": [{"code": "invalid_event_time", "message": "Too old"}]}
        if payload.get("refuse"):
            return result | {"status": "refused", "errors": [{"code": "invalid_field", "message": "Refused"}]}
        exists = self.users is None or name in self.users
        if not exists and "upsert=true" not in request.query:
            return result | {"status": "refused", "errors": [NOT_FOUND]}
        identity = (name, entry["eventId"], entry["eventTime"])
        result["userId"] = name
        if identity in self._known:
            same = self._known[identity]["event"] == entry["event"]
            return result | {"status": "duplicate", "createdOn": entry["eventTime"], "samePayload": same}
        field_name = {"confirmation": "orderId", "refund": "refundId"}.get(kind)
        once = (kind, str(payload.get(field_name)))
        if field_name and once in self._once:
            first = {"eventId": self._once[once]["eventId"]}
            code = "order_id_seen" if kind == "confirmation" else "refund_id_seen"
            return result | {"status": "discarded", "code": code, "message": "seen", "first": first}
        self._known[identity] = entry
        self._once |= {once: entry} if field_name else {}
        self.stored.append(entry)
        if not exists and self.users is not None:
            self.users.add(name)
            result["userCreated"] = True
        return result | {"status": "created", "warnings": []}

    def numbers(self) -> list[int]:
        return [payload["n"] for entry in self.stored for payload in entry["event"].values()]

    def holds_once_in_order(self, numbers: set[int]) -> None:
        """Check that these are stored, and that the numbers of each user rise."""
        assert sorted(self.numbers()) == sorted(numbers)
        assert self.stored_in_order()

    def stored_in_order(self) -> bool:
        pairs = [(entry["user"]["email"], n) for entry, n in zip(self.stored, self.numbers(), strict=True)]
        return sorted(pairs, key=lambda pair: pair[0]) == sorted(pairs)


@contextmanager
def serving(stub: Stub) -> Iterator[Stub]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            body = gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body
            (path, _, query), sent, key = self.path.partition("?"), json.loads(body), self.headers["Authorization"]
            imported = sent.get("import", False)
            request = Request(path, query, key, sent["events"], len(body), time.monotonic(), imported)
            status, headers, content = stub.answer(request)
            if not status:
                self.close_connection = True
                return
            text = content.encode() if isinstance(content, str) else json.dumps(content).encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(text))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None: ...

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 64

        def handle_error(self, *_: object) -> None: ...  # a client that was killed

    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,)).start()
        stub.url = f"http://127.0.0.1:{server.server_port}/v1"
        try:
            yield stub
        finally:
            server.shutdown()
