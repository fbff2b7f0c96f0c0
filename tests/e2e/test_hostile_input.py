"""What nobody sends who means well, over HTTP: answered in the one shape, stored as it was or not at all."""

import json
from http.client import HTTPConnection
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from e2e.conftest import Caller

Ana = dict[str, str]

UPDATE = '{{"user": {{"email": "ana@example.com"}}, "event": {{"update": {}}}}}'
REFUSED: dict[str, bytes] = {
    "nothing": b"",
    "NUL": b"\0",
    "bytes that are no UTF-8": b'{"user": "\xff\xfe"}',
    "half a character": b'{"user": "\xc3"}',
    "UTF-16": "{}".encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf{}",
    "an array": b"[{}]",
    "many arrays": b"[" * 200_000,
    "many objects": b'{"a":' * 50_000,
    "a name twice": b'{"user": {}, "user": {}}',
    "a form": b"user=ana%40example.com&event=update",
    "more than one": b"{}{}",
    "10,000 digits": UPDATE.format('{"a": ' + "9" * 10_000 + "}").encode(),
    "a large exponent": UPDATE.format('{"a": 1e999999999}').encode(),
    "a lone surrogate": UPDATE.format('{"a": "\\ud800"}').encode(),
    "33 levels": UPDATE.format('{"a": ' + "[" * 40 + "]" * 40 + "}").encode(),
    "no name": UPDATE.format('{"": 1}').encode(),
}
# DynamoDB's reserved words, other languages' magic names, what expressions and templates are made of.
NAMES = ["__proto__", "constructor", "__class__", "toString", "size", "name", "data", "SELECT", "a.b", "#a", ":a", "$a"]
NAMES += ["a[0]", "{{7*7}}", "${jndi:ldap://x}", "<script>", "' OR 1=1 --", "\0", " ", "😀", "x" * 1_000]
PATHS = ["\0", "\xff", "..", "../user", "a" * 5_000, "%", "%25", "#", "?", "*", "@", "😀@example.com"]


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "application/octet-stream"])
@pytest.mark.parametrize("body", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_is_400_in_the_one_shape_and_changes_nothing(
    caller: Caller, ana: Ana, body: bytes, content_type: str
) -> None:
    before = caller.send("GET", f"/user/{ana['email']}").text
    answer = caller.send("POST", "/event/", body, {"Content-Type": content_type})
    assert answer.status == 400
    for error in answer.body["errors"]:
        assert {"message", "description"} <= error.keys() <= {"message", "description", "code", "field"}
    assert caller.send("GET", f"/user/{ana['email']}").text == before


@pytest.mark.parametrize("text", ["José".encode("latin-1"), b"\xff\xfe", b"\xc3"])
def test_text_in_another_encoding_is_refused_and_not_mended(caller: Caller, ana: Ana, text: bytes) -> None:
    answer = caller.send("PUT", f"/user/{ana['email']}", b'{"firstname": "' + text + b'"}')
    description = answer.body["errors"][0]["description"]
    assert (answer.status, description) == (400, "The body is not text in UTF-8. It may be compressed with gzip, once.")
    assert "firstname" not in caller.send("GET", f"/user/{ana['email']}").body


def test_every_name_is_kept_as_it_is(caller: Caller, ana: Ana) -> None:
    payload = {name: {name: [name]} for name in NAMES}
    assert caller.event(ana, {"update": payload}).status == 200
    profile = caller.send("GET", f"/user/{ana['email']}").body
    assert {name: profile[name] for name in NAMES} == payload
    [event] = caller.send("GET", f"/user/{ana['email']}/events").body["events"]
    assert event["payload"] == payload


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize("identifier", PATHS, ids=ascii)
def test_no_path_names_a_user_who_is_not_there(caller: Caller, method: str, identifier: str) -> None:
    answer = caller.send(method, f"/user/{quote(identifier, safe='')}", {} if method == "PUT" else None)
    assert answer.status == 404
    assert answer.body["errors"][0]["message"] == "User not found"


def test_a_line_break_in_a_path_makes_no_header(caller: Caller) -> None:
    answer = caller.send("GET", "/user/a%0D%0AX-Injected:%201")
    assert answer.status == 404
    assert "X-Injected" not in answer.headers


def test_a_header_that_comes_twice_or_holds_any_bytes_is_no_failure(caller: Caller, ana: Ana) -> None:
    body = json.dumps({"user": ana, "event": {"search": {"query": "shoes"}}})
    for values in (["a", "b"], ["é".encode("latin-1").decode("latin-1")], ["\t\x80"], ["x" * 255], [""]):
        answer = send_headers(caller, body, [("Idempotency-Key", value) for value in values])
        assert answer in (200, 400), values


def send_headers(caller: Caller, body: str, headers: list[tuple[str, Any]]) -> int:
    """The status of a request with headers that urllib does not send."""
    url = urlsplit(caller.api_url)
    connection = HTTPConnection(url.netloc, timeout=60)
    connection.putrequest("POST", f"{url.path}/event/")
    for name, value in [("Authorization", caller.key), ("Content-Length", str(len(body))), *headers]:
        connection.putheader(name, value)
    connection.endheaders(body.encode())
    status = connection.getresponse().status
    connection.close()
    return status
