"""Contract sections 1 and 6 at the functions: the user API, the authorizer, and keys for operators."""

import json
import re
from datetime import timedelta
from typing import Any

import pytest

from api.gateway import ROUTES, answer_to, call, event_file, invoke, post_event, proxy_event, timeline, user
from builders import ANA, a_moment
from docs.openapi import document
from domain.accounts import ALL_SCOPES
from domain.profile import Profile
from domain.times import iso
from handlers import event_api, user_api
from stored import as_text
from table import Account
from use_cases.erasure import IN_FLIGHT, erase_leftovers

BOB = "bob@example.com"
ARN = "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3d4e5/v1/POST/event"
ALL = " ".join(ALL_SCOPES)
HANDLED = {**event_api.ROUTES, **user_api.ROUTES}
SCOPE_OF = {each: HANDLED[each].scope for each in (f"{method} {path}" for method, path in ROUTES if method != "ANY")}


# --- Users ----------------------------------------------------------------------------------------


def test_the_examples_of_the_openapi_document_are_answered_as_they_say(demo: Account) -> None:
    operations = {each["operationId"]: each for path in document()["paths"].values() for each in path.values()}
    [create], [change] = (examples(operations[name]["requestBody"]) for name in ("createUser", "changeUser"))
    answers = {"createUser": call("POST", "/user", create), "changeUser": user("PUT", ANA, change)}
    [search] = [each for each in examples(operations["sendEvent"]["requestBody"]) if "search" in each["event"]]
    assert call("POST", "/event", search).status == 200
    answers |= {"readUser": user("GET", ANA), "listEvents": timeline(ANA), "eraseUser": user("DELETE", ANA)}
    for name, answer in answers.items():
        [example] = examples(operations[name]["responses"]["200"])
        assert without_ids(answer.body) == without_ids(example)


def examples(part: dict[str, Any]) -> list[Any]:
    return [each["value"] for each in part["content"]["application/json"]["examples"].values()]


def without_ids(body: Any) -> str:
    return re.sub(r'"(_id|createdOn|requestedOn)": "[^"]+"', r'"\1"', json.dumps(body))


def test_only_upsert_true_creates_in_any_case_and_another_value_is_400(demo: Account) -> None:
    for query in (None, {}, {"upsert": "false"}, {"upsert": "FALSE"}):
        assert user("PUT", BOB, {"city": "Vigo"}, queryStringParameters=query).status == 404
    for value in ("", "1", "yes", " true", "x"):
        answer = user("PUT", BOB, {"city": "Vigo"}, queryStringParameters={"upsert": value})
        assert (answer.status, answer.errors) == (400, [("Invalid upsert", "upsert")])
    assert user("GET", BOB).status == 404
    for number, value in enumerate(("true", "True")):
        query = {"upsert": value, "unknown": "x"}
        assert user("PUT", f"{number}{BOB}", {}, queryStringParameters=query).status == 200
        assert user("GET", f"{number}{BOB}").status == 200


def test_an_unknown_user_is_404_for_each_call(ana: Profile) -> None:
    strange = ["x", "%", "%2F", "demo#USER#x", "..%2F..", "%ff", "null", "", "PROFILE", "a#b", "\ud800", "x" * 3000]
    for identifier in ("00000000-0000-7000-8000-000000000000", *strange):
        answers = [user(method, identifier, {}) for method in ("GET", "PUT", "DELETE")] + [timeline(identifier)]
        for answer in answers:
            assert (answer.status, answer.errors) == (404, [("User not found", None)])
            assert answer.body["errors"][0]["description"] == "This _id does not exist in our database."


def test_an_erased_user_is_404_at_once_and_gone_after_the_erasure(ana: Profile, demo: Account) -> None:
    post_event({"search": {"query": "x"}})
    answer = user("DELETE", ANA)
    assert (answer.status, answer.body["results"]) == (200, [{"message": "Successfully deleted user.", "email": ANA}])
    receipt = call("GET", "/erasures/{id}", pathParameters={"id": ana.id}).body
    assert receipt == {"status": "in_progress", **answer.body["erasure"]}
    assert receipt.keys() == {"_id", "status", "requestedOn"}
    for later in (user("GET", ANA), user("DELETE", ANA), timeline(ANA), post_event({"search": {"query": "x"}})):
        assert later.status == 404
    assert call("POST", "/user", {"email": ANA}).status == 200, "the address is free at once"
    assert invoke("ErasureFunction", event_file("erasure")) == {"unfinished": 1}, "an event may be in flight"
    erase_leftovers(demo.table, a_moment() + IN_FLIGHT)
    finished = call("GET", "/erasures/{id}", pathParameters={"id": ana.id}).body
    assert finished == receipt | {"status": "finished", "finishedOn": finished["finishedOn"], "eventsDeleted": 1}


# --- Keys and the authorizer ----------------------------------------------------------------------


def effect(token: str) -> tuple[str, Any]:
    policy = invoke("AuthorizerFunction", {"type": "TOKEN", "authorizationToken": token, "methodArn": ARN})
    [statement] = policy["policyDocument"]["Statement"]
    assert statement["Resource"] == "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3d4e5/v1/*"
    return statement["Effect"], policy.get("context")


def keys(action: str, account: str = "demo", **more: Any) -> dict[str, Any]:
    answer: dict[str, Any] = invoke("KeyFunction", {"action": action, "account": account, **more})
    return answer


def test_a_key_opens_its_account_until_it_is_revoked_or_expires(demo: Account) -> None:
    past, future = (iso(a_moment() + timedelta(hours=hours)) for hours in (-1, 1))
    first, second = keys("create"), keys("create")
    assert '"scopes"' not in as_text(demo.table), "so it will have scopes that a later version adds"
    for key in (first, second):
        context = {"account": "demo", "keyId": key["keyId"], "scopes": "send read write erase"}
        assert effect(key["apiKey"]) == ("Allow", context)
    revoked = keys("revoke", keyId=first["keyId"])
    assert revoked.keys() == {"account", "keyId", "scopes", "createdOn", "revokedOn"}
    assert (effect(first["apiKey"])[0], effect(second["apiKey"])[0]) == ("Deny", "Allow")
    assert keys("revoke", keyId=first["keyId"])["errors"][0]["message"] == "Key revoked"
    key = keys("create", expiresOn=future)
    assert (effect(keys("create", expiresOn=past)["apiKey"])[0], effect(key["apiKey"])[0]) == ("Deny", "Allow")
    assert keys("expire", keyId=key["keyId"], expiresOn=past)["expiresOn"] == past
    assert effect(key["apiKey"])[0] == "Deny"


def test_nothing_but_the_key_alone_or_after_bearer_is_the_key(demo: Account) -> None:
    key = keys("create")["apiKey"]
    wrong = ["", " ", "x", "Bearer", "Bearer ", f"Bearer Bearer {key}", f"Basic {key}", f"{key} ", f"{key}x", "\ud800"]
    for token in (*wrong, "KEY", "x" * 9000):
        assert effect(token) == ("Deny", None)
    for scheme in ("Bearer ", "bearer ", "BEARER  "):
        assert effect(scheme + key) == effect(key)
    assert effect(key)[0] == "Allow"


MISTAKES: list[tuple[dict[str, Any], list[str]]] = [
    ({}, ["action", "account"]), ({"action": "create"}, ["account"]), ({"account": "a#b"}, ["account"]),
    ({"expiresOn": "soon"}, ["expiresOn"]), ({"action": "expire"}, ["keyId", "expiresOn"]),
    ({"scopes": "send"}, ["scopes"]), ({"scopes": ["send", "admin"]}, ["scopes"]), ({"scopes": []}, ["scopes"]),
    ({"scopes": [["send"]]}, ["scopes"]), ({"action": "revoke"}, ["keyId"]),
    ({"action": "revoke", "keyId": "x"}, ["keyId"]),
]  # fmt: skip


def test_an_operators_mistakes_are_named(demo: Account) -> None:
    for number, (changes, fields) in enumerate(MISTAKES):
        request = changes if number < 2 else {"action": "create", "account": "demo", **changes}
        assert [error["field"] for error in invoke("KeyFunction", request)["errors"]] == fields, changes


def test_another_accounts_key_cannot_be_revoked_and_no_list_opens_an_account(demo: Account) -> None:
    ours, theirs = keys("create"), keys("create", account="other")
    assert keys("revoke", keyId=theirs["keyId"])["errors"][0]["message"] == "Key not found"
    assert effect(theirs["apiKey"])[1] == {"account": "other", "keyId": theirs["keyId"], "scopes": ALL}
    [listed] = keys("list")["keys"]
    assert listed.keys() == {"keyId", "scopes", "createdOn"}
    assert ours["apiKey"] not in str(listed)


def test_a_key_keeps_the_scopes_that_it_was_created_with(demo: Account) -> None:
    key = keys("create", scopes=["read", "send", "read"])
    assert key["scopes"] == ["send", "read"]
    assert effect(key["apiKey"])[1]["scopes"] == "send read"
    assert keys("expire", keyId=key["keyId"], expiresOn="2099-01-01T00:00:00Z")["scopes"] == ["send", "read"]
    assert effect(key["apiKey"])[1]["scopes"] == "send read"
    assert [each["scopes"] for each in keys("list")["keys"]] == [["send", "read"]]


@pytest.mark.parametrize("route", sorted(SCOPE_OF))
def test_a_route_demands_a_scope_and_a_key_without_it_changes_nothing(route: str, ana: Profile, demo: Account) -> None:
    method, resource = route.split(" ")
    scope = SCOPE_OF[route]
    event = proxy_event(method, resource, "no JSON", pathParameters={"id": ana.id, "name": "city"})
    before = demo.table.client.scan(TableName=demo.table.name)["Items"]
    event["requestContext"]["authorizer"]["scopes"] = " ".join(set(ALL.split()) - {scope})
    answer = answer_to(event)
    [error] = answer.body["errors"]
    assert (answer.status, error["code"], answer.headers["X-Error-Code"]) == (403, "forbidden", "forbidden")
    assert f"scope {scope}." in error["description"]
    after = demo.table.client.scan(TableName=demo.table.name)["Items"]
    assert [item for item in after if not item["pk"]["S"].endswith("#REFUSALS")] == before
    event["requestContext"]["authorizer"]["scopes"] = scope
    assert answer_to(event).status != 403
