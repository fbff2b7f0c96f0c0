"""The whole stack works, over HTTP on the emulator of `make run`: each route and each stored thing once.

Also what only the gateway shows: keys, the rate limit, paths, headers, bytes, sizes and the functions' permissions.
"""

import json
from http.client import HTTPConnection
from itertools import product
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit
from uuid import uuid4

from e2e.conftest import Answer, Caller
from local import aws, stack

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_iam import IAMClient
    from mypy_boto3_lambda import LambdaClient

Ana = dict[str, str]
ANA = "/user/ana@example.com"
ORDER = {"confirmation": {"orderId": "A-1", "total": "19.90"}}
OPEN: dict[str, object] = {"emailOpen": {}}
SEARCH = {"search": {"query": "shoes"}}


def told(answer: Answer) -> tuple[int, str]:
    """The status and the message of an error in the one shape."""
    [error] = answer.body["errors"]
    return answer.status, error["message"]


def test_a_user_comes_buys_reads_and_is_erased(caller: Caller, deployed: stack.Stack) -> None:
    anonymous = caller.send("POST", "/user/", {"city": "Vigo"}).body["object"]["_id"]
    login = caller.event({"_id": anonymous}, {"login": {"email": " Ana@Example.com", "tags": ["VIP"]}})
    assert (login.status, login.headers["X-Event-Status"], login.headers["X-User-Id"]) == (200, "created", anonymous)
    ana = {"email": "ana@example.com"}
    statuses = [caller.event(ana, event).headers["X-Event-Status"] for event in (ORDER, ORDER, OPEN)]
    assert statuses == ["created", "discarded", "created"]
    entry = {"eventId": "e-1", "eventTime": caller.send("GET", ANA).body["createdOn"], "user": ana, "event": SEARCH}
    assert caller.send("POST", "/events/check", {"events": [entry]}).body["stored"] is False
    batch = caller.send("POST", "/events/", {"events": [entry, entry, entry | {"user": {"email": "bo@example.com"}}]})
    assert (batch.status, [each["status"] for each in batch.body["results"]]) == (
        207,
        ["created", "duplicate", "refused"],
    )
    first, again = (caller.event(ana, SEARCH, **{"Idempotency-Key": "key"}) for _ in range(2))
    assert (again.text, again.headers["Idempotent-Replayed"]) == (first.text, "true")
    assert caller.event(ana, {"update": {"city": "Lugo"}}, **{"Idempotency-Key": "key"}).status == 422
    assert caller.send("PUT", f"{ANA}?upsert=true", {"size": 38, "city": "Madrid"}).status == 200
    assert caller.send("DELETE", f"{ANA}/attributes/size").status == 200
    profile = caller.send("GET", ANA).body
    expected = {"city": "Madrid", "tags": ["vip"], "numberOfPurchases": 1, "totalPurchasesValue": 19.9}
    assert expected.items() <= profile.items()
    read, path = list[str](), f"{ANA}/events?limit=2"
    while path:
        page = caller.send("GET", path).body
        read += [event["type"] for event in page["events"]]
        path = f"{ANA}/events?limit=2&cursor={page['cursor']}" if "cursor" in page else ""
    assert sorted(read) == ["confirmation", "emailopen", "login", "search", "search"]
    refusals = caller.send("GET", "/refusals").body["refusals"]
    assert {each["code"] for each in refusals} == {"user_not_found", "idempotency_key_reused"}
    other = Caller(deployed.api_url, deployed.create_key(f"other-{uuid4().hex[:8]}"))
    assert [other.send("GET", each).status for each in (ANA, f"/user/{anonymous}")] == [404, 404]
    assert [caller.send(method, ANA).status for method in ("DELETE", "GET", "DELETE")] == [200, 404, 404]
    assert caller.event(ana, SEARCH).status == 404


def test_what_a_functions_role_does_not_allow_fails_here_too(caller: Caller, ana: Ana, deployed: stack.Stack) -> None:
    cloudformation: CloudFormationClient = aws.client("cloudformation", deployed.endpoint)
    iam: IAMClient = aws.client("iam", deployed.endpoint)
    resource = cloudformation.describe_stack_resource(StackName=stack.STACK_NAME, LogicalResourceId="EventFunctionRole")
    policy = {"RoleName": resource["StackResourceDetail"]["PhysicalResourceId"], "PolicyName": "test-denies"}
    statement = {"Effect": "Deny", "Action": "dynamodb:PutItem", "Resource": "*"}
    iam.put_role_policy(PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}), **policy)
    try:
        for event in (SEARCH, {"update": {"firstname": "Ana"}}):  # a call, and a transaction
            assert caller.event(ana, event).status == 500
    finally:
        iam.delete_role_policy(**policy)
    assert caller.send("GET", f"{ANA}/events").body["events"] == []


# --- Keys and the rate limit ----------------------------------------------------------------------


def test_a_key_that_is_not_the_key_is_401(caller: Caller) -> None:
    """Also while the gateway remembers the right key."""
    key = caller.key
    for wrong in ("", " ", "unknown", f"Basic {key}", f"{key},{key}", key[:-1], key.swapcase(), key + "é"):
        for _ in range(2):
            answer = Caller(caller.api_url, wrong).send("GET", ANA)
            assert (answer.status, answer.body["errors"][0].keys()) == (401, {"message", "description", "code"}), wrong
            assert caller.send("GET", ANA).status == 404


def test_an_account_may_have_two_keys_a_revoked_or_expired_one_is_401_and_over_the_rate_limit_is_429() -> None:
    """With a gateway that asks the authorizer each time."""
    parameters = {"AuthorizerCacheSeconds": "0"}
    with stack.running(parameters=parameters) as it:
        functions: LambdaClient = aws.client("lambda", it.endpoint)

        def manage(**request: str) -> dict[str, Any]:
            """Invoke KeyFunction as operators do with `sam remote invoke`."""
            name, payload = stack.outputs(it.endpoint)["KeyFunctionName"], json.dumps({"account": "keys", **request})
            return dict(json.load(functions.invoke(FunctionName=name, Payload=payload)["Payload"]))

        revoked, expired, kept = (manage(action="create") for _ in range(3))
        callers = [Caller(it.api_url, key["apiKey"]) for key in (revoked, expired, kept)]
        assert [caller.send("POST", "/user/", {}).status for caller in callers] == [200, 200, 200]
        manage(action="revoke", keyId=revoked["keyId"])
        manage(action="expire", keyId=expired["keyId"], expiresOn="2020-01-01T00:00:00Z")
        assert [caller.send("POST", "/user/", {}).status for caller in callers] == [401, 401, 200]
        listed = manage(action="list")["keys"]
        assert [set(key) - {"keyId", "createdOn", "scopes"} for key in listed] == [{"revokedOn"}, {"expiresOn"}, set()]
        stack.deploy(it.endpoint, parameters | {"ThrottleRate": "1", "ThrottleBurst": "1"})
        answers = [callers[2].send("POST", "/user/", {}) for _ in range(20)]
    [refused, *_] = [answer for answer in answers if answer.status != 200]
    assert (*told(refused), refused.headers["Retry-After"]) == (429, "Too many requests", "1")


# --- Paths ----------------------------------------------------------------------------------------


def test_a_path_works_with_and_without_its_last_slash_and_an_unknown_path_or_method_is_404(
    caller: Caller, ana: Ana
) -> None:
    for path in ("/event", "/event/"):
        assert caller.send("POST", path, {"user": ana, "event": SEARCH}).status == 200
    for route in ("GET /event", "POST /nothing", "PATCH /user", "GET /", "PUT /a/b/c", "GET ", "POST "):
        method, path = route.split(" ")
        assert told(caller.send(method, path)) == (404, "Not found"), route


def test_a_path_is_decoded_once_and_names_no_other_user(caller: Caller) -> None:
    emails = ["a+t@example.com", "a%2bt@example.com"]  # what one decoding too many takes for each other
    for (named, other), safe in product((emails, emails[::-1]), ("", "@")):
        for email in emails:
            assert caller.send("POST", "/user/", {"email": email}).status == 200
        path, path_of_other = f"/user/{quote(named.replace('t', 'T'), safe=safe)}", f"/user/{quote(other, safe='')}"
        assert caller.send("GET", path).body["email"] == named
        assert caller.send("PUT", path, {"city": "Vigo"}).body["object"]["email"] == named
        assert caller.send("GET", f"{path}/events").body == {"events": []}
        assert [caller.send(method, path).status for method in ("DELETE", "GET")] == [200, 404]
        assert caller.send("GET", path_of_other).body["email"] == other
        assert caller.send("DELETE", path_of_other).status == 200


PATHS = ["\0", "\xff", "..", "../user", "a" * 5_000, "%", "%25", "#", "?", "*", "@", "😀@example.com", "a\r\nX-Own: 1"]


def test_no_path_names_a_user_who_is_not_there(caller: Caller) -> None:
    for identifier in PATHS:
        answer = caller.send("GET", f"/user/{quote(identifier, safe='')}")
        assert told(answer) == (404, "User not found")
        assert "X-Own" not in answer.headers


# --- Headers, bytes and sizes ---------------------------------------------------------------------


def test_a_header_has_any_case_comes_twice_or_holds_any_bytes(caller: Caller, ana: Ana) -> None:
    assert Caller(caller.api_url, "").send("GET", ANA, headers={"AUTHORIZATION": caller.key}).status == 200
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


def test_bytes_that_are_no_json_are_400_and_a_body_over_256_kib_is_413(caller: Caller, ana: Ana) -> None:
    types = ("application/json", "text/plain", "application/octet-stream")
    for body, content_type in product(NO_JSON + NO_UTF_8, types):
        answer = caller.send("PUT", ANA, body, {"Content-Type": content_type})
        assert told(answer) == (400, "Invalid JSON")
        [error] = answer.body["errors"]
        assert ("not text in UTF-8" in error["description"]) == (body in NO_UTF_8 or body == NO_JSON[2])
    assert "firstname" not in caller.send("GET", ANA).body
    for size in (256 * 1024 + 1, 11 * 1024 * 1024):
        answer = caller.send("POST", "/event/", b'"' + b"x" * (size - 2) + b'"')
        assert told(answer) == (413, "Request too large")
