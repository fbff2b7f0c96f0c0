"""The behaviour that only the deployed gateway and functions show. `make smoke` checks the rest (test_programs.py)."""

import json
from http.client import HTTPConnection
from typing import Any
from urllib.parse import quote, urlsplit

from e2e.conftest import Ana, Answer, Caller, resources
from local import aws, stack

ANA = "/user/ana@example.com"
SEARCH = {"search": {"query": "shoes"}}


def told(answer: Answer) -> tuple[int, str]:
    [error] = answer.body["errors"]
    return answer.status, error["message"]


def test_what_a_functions_role_does_not_allow_fails_here_too(caller: Caller, ana: Ana, deployed: stack.Stack) -> None:
    iam: Any = aws.client("iam", deployed.endpoint)
    [role] = [each for each in resources(deployed.endpoint) if each["LogicalResourceId"] == "EventFunctionRole"]
    policy = {"RoleName": role["PhysicalResourceId"], "PolicyName": "test-denies"}
    statement = {"Effect": "Deny", "Action": "dynamodb:PutItem", "Resource": "*"}
    iam.put_role_policy(PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}), **policy)
    try:
        for event in (SEARCH, {"update": {"firstname": "Ana"}}):  # a call, and a transaction
            assert caller.event(ana, event).status == 500
    finally:
        iam.delete_role_policy(**policy)
    assert caller.send("GET", f"{ANA}/events").body["events"] == []


def test_a_key_with_a_letter_that_no_key_has_is_401(caller: Caller) -> None:
    answer = Caller(caller.api_url, f"{caller.key}é").send("GET", ANA)
    assert told(answer) == (401, "Unauthorized")


PATHS = ["\0", "\xff", "..", "../user", "a" * 5_000, "%", "%25", "#", "?", "*", "@", "😀@example.com", "a\r\nX-Own: 1"]


def test_no_path_names_a_user_who_is_not_there(caller: Caller) -> None:
    for identifier in PATHS:
        answer = caller.send("GET", f"/user/{quote(identifier, safe='')}")
        assert told(answer) == (404, "User not found")
        assert "X-Own" not in answer.headers


def test_a_header_that_comes_twice_or_holds_any_bytes_is_no_failure(caller: Caller, ana: Ana) -> None:
    body = json.dumps({"user": ana, "event": SEARCH})
    for values in (["a", "b"], ["é".encode("latin-1").decode("latin-1")], ["\t\x80"], ["x" * 255], [""]):
        assert send_headers(caller, body, [("Idempotency-Key", value) for value in values]) in (200, 400), values


def send_headers(caller: Caller, body: str, headers: list[tuple[str, Any]]) -> int:
    url = urlsplit(caller.api_url)
    connection = HTTPConnection(url.netloc, timeout=60)
    connection.putrequest("POST", f"{url.path}/event/")
    for name, value in [("Authorization", caller.key), ("Content-Length", str(len(body))), *headers]:
        connection.putheader(name, value)
    connection.endheaders(body.encode())
    status = connection.getresponse().status
    connection.close()
    return status
