"""Keys, the rate limit, paths, headers, bytes and sizes on the deployed stack, which only the gateway shows."""

import json
from collections.abc import Callable
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit
from uuid import uuid4

import pytest

from e2e.conftest import Caller
from local import aws, stack

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

Ana = dict[str, str]
SEARCH = {"search": {"query": "shoes"}}


# --- Keys and the rate limit ----------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [
    lambda _: "", lambda _: " ", lambda _: "unknown", lambda key: f"Basic {key}", lambda key: f"{key},{key}",
    lambda key: key[:-1], str.swapcase, lambda key: key + "é",
])  # fmt: skip
def test_a_key_that_is_not_the_key_is_401(caller: Caller, wrong: Callable[[str], str]) -> None:
    """Also while the gateway remembers the right key."""
    stranger = Caller(caller.api_url, wrong(caller.key))
    for _ in range(2):
        answer = stranger.send("GET", "/user/ana@example.com")
        assert answer.status == 401
        assert answer.body["errors"][0].keys() == {"message", "description", "code"}
        assert caller.send("GET", "/user/ana@example.com").status == 404


def test_an_account_may_have_two_keys_and_a_revoked_or_expired_one_is_401() -> None:
    """With a gateway that asks the authorizer each time."""
    with stack.running(parameters={"AuthorizerCacheSeconds": "0"}) as it:
        account = f"keys-{uuid4().hex[:8]}"
        revoked, expired, kept = (manage(it, action="create", account=account) for _ in range(3))
        callers = [Caller(it.api_url, key["apiKey"]) for key in (revoked, expired, kept)]
        assert [caller.send("POST", "/user/", {}).status for caller in callers] == [200, 200, 200]
        manage(it, action="revoke", account=account, keyId=revoked["keyId"])
        manage(it, action="expire", account=account, keyId=expired["keyId"], expiresOn="2020-01-01T00:00:00Z")
        assert [caller.send("POST", "/user/", {}).status for caller in callers] == [401, 401, 200]
        listed = manage(it, action="list", account=account)["keys"]
        assert [set(key) - {"keyId", "createdOn", "scopes"} for key in listed] == [{"revokedOn"}, {"expiresOn"}, set()]


def test_over_the_rate_limit_is_429_in_the_one_shape() -> None:
    with stack.running(parameters={"ThrottleRate": "1", "ThrottleBurst": "1"}) as it:
        caller = Caller(it.api_url, manage(it, action="create", account="throttled")["apiKey"])
        answers = [caller.send("POST", "/user/", {}) for _ in range(20)]
    [refused, *_] = [answer for answer in answers if answer.status != 200]
    assert (refused.status, refused.headers["Retry-After"]) == (429, "1")
    assert refused.body["errors"][0]["message"] == "Too many requests"


def manage(it: stack.Stack, **request: str) -> dict[str, Any]:
    """Invoke KeyFunction as operators do with `sam remote invoke`."""
    functions: LambdaClient = aws.client("lambda", it.endpoint)
    name = stack.outputs(it.endpoint)["KeyFunctionName"]
    return dict(json.load(functions.invoke(FunctionName=name, Payload=json.dumps(request))["Payload"]))


# --- Paths ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/event", "/event/"])
def test_a_path_works_with_and_without_its_last_slash(caller: Caller, ana: Ana, path: str) -> None:
    assert caller.send("POST", path, {"user": ana, "event": SEARCH}).status == 200


@pytest.mark.parametrize(
    "route", ["GET /event", "POST /nothing", "PATCH /user", "GET /", "PUT /a/b/c", "GET ", "POST "]
)
def test_an_unknown_path_or_method_is_404_in_the_one_shape(caller: Caller, route: str) -> None:
    method, path = route.split(" ")
    answer = caller.send(method, path)
    assert (answer.status, answer.body["errors"][0]["message"]) == (404, "Not found")


PLUS, ESCAPED = "a+t@example.com", "a%2bt@example.com"  # what one decoding too many takes for each other


@pytest.mark.parametrize(("named", "other"), [(PLUS, ESCAPED), (ESCAPED, PLUS)])
@pytest.mark.parametrize("safe", ["", "@"], ids=["encoded", "with a bare @"])
def test_a_path_is_decoded_once_and_names_no_other_user(caller: Caller, named: str, other: str, safe: str) -> None:
    for email in (PLUS, ESCAPED):
        assert caller.send("POST", "/user/", {"email": email}).status == 200
    path = f"/user/{quote(named.replace('t', 'T'), safe=safe)}"
    assert caller.send("GET", path).body["email"] == named
    assert caller.send("PUT", path, {"city": "Vigo"}).body["object"]["email"] == named
    assert caller.send("GET", f"{path}/events").body == {"events": []}
    assert [caller.send(method, path).status for method in ("DELETE", "GET")] == [200, 404]
    assert caller.send("GET", f"/user/{quote(other, safe='')}").body["email"] == other


PATHS = ["\0", "\xff", "..", "../user", "a" * 5_000, "%", "%25", "#", "?", "*", "@", "😀@example.com", "a\r\nX-Own: 1"]


def test_no_path_names_a_user_who_is_not_there(caller: Caller) -> None:
    for identifier in PATHS:
        answer = caller.send("GET", f"/user/{quote(identifier, safe='')}")
        assert (answer.status, answer.body["errors"][0]["message"]) == (404, "User not found")
        assert "X-Own" not in answer.headers


# --- Headers, bytes and sizes ---------------------------------------------------------------------


def test_a_header_name_arrives_in_any_case(caller: Caller, ana: Ana) -> None:
    answer = Caller(caller.api_url, "").send("GET", "/user/ana@example.com", headers={"AUTHORIZATION": caller.key})
    assert answer.status == 200


def test_a_header_that_comes_twice_or_holds_any_bytes_is_no_failure(caller: Caller, ana: Ana) -> None:
    body = json.dumps({"user": ana, "event": SEARCH})
    for values in (["a", "b"], ["é".encode("latin-1").decode("latin-1")], ["\t\x80"], ["x" * 255], [""]):
        assert send_headers(caller, body, [("Idempotency-Key", value) for value in values]) in (200, 400), values


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


NO_JSON = [b"", b"\0", "{}".encode("utf-16"), b"a=1&b=2"]
NO_UTF_8 = [b'{"firstname": "' + text + b'"}' for text in ("José".encode("latin-1"), b"\xff\xfe", b"\xc3")]


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "application/octet-stream"])
def test_bytes_that_are_no_json_are_400_in_the_one_shape(caller: Caller, ana: Ana, content_type: str) -> None:
    for body in NO_JSON + NO_UTF_8:
        answer = caller.send("PUT", f"/user/{ana['email']}", body, {"Content-Type": content_type})
        [error] = answer.body["errors"]
        assert (answer.status, error["message"]) == (400, "Invalid JSON")
        assert ("not text in UTF-8" in error["description"]) == (body in NO_UTF_8 or body == NO_JSON[2])
    assert "firstname" not in caller.send("GET", f"/user/{ana['email']}").body


@pytest.mark.parametrize("size", [256 * 1024 + 1, 11 * 1024 * 1024])
def test_a_body_over_256_kib_is_413_in_the_one_shape(caller: Caller, size: int) -> None:
    answer = caller.send("POST", "/event/", b'"' + b"x" * (size - 2) + b'"')
    assert (answer.status, answer.body["errors"][0]["message"]) == (413, "Request too large")
