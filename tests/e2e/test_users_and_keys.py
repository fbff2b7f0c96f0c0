"""Users, tags, bots, warnings and API keys, over HTTP, from the deployed stack."""

import json
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from e2e.conftest import Caller
from local import aws, stack

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

Ana = dict[str, str]


def profile(caller: Caller, identifier: str = "ana@example.com") -> dict[str, Any]:
    answer = caller.send("GET", f"/user/{identifier}")
    assert answer.status == 200
    return dict(answer.body)


def test_tags_are_added_and_removed(caller: Caller, ana: Ana) -> None:
    caller.event(ana, {"update": {"tags": "VIP;New Customer; b2b"}})
    caller.event(ana, {"login": {"tags": ["-vip", "Gold"]}})
    assert profile(caller)["tags"] == ["b2b", "gold", "newcustomer"]


def test_a_bots_event_is_discarded_and_a_cubots_is_not(caller: Caller, ana: Ana) -> None:
    event = {"viewitem": {"itemId": "SKU-1"}}
    bot = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
    phone = "Mozilla/5.0 (Linux; Android 9; CUBOT_X18_Plus) AppleWebKit/537.36 Chrome/89.0 Mobile Safari/537.36"
    answers = [caller.event({**ana, "userAgent": agent}, event) for agent in (bot, phone, "")]
    assert [answer.headers["X-Event-Status"] for answer in answers] == ["discarded", "created", "created"]
    assert answers[0].body["results"]["email"] == "An event from a bot"


def test_what_was_left_out_is_told_in_warnings(caller: Caller, ana: Ana) -> None:
    answer = caller.event(ana, {"update": {"email": "eve@example.com", "numberOfPurchases": 9, "city": "Vigo"}})
    assert answer.status == 200
    assert {warning["field"] for warning in answer.body["warnings"]} == {
        "event.update.email",
        "event.update.numberOfPurchases",
    }
    found = profile(caller)
    assert (found["email"], found["city"], "numberOfPurchases" in found) == ("ana@example.com", "Vigo", False)


def test_attributes_come_back_as_they_were_sent(caller: Caller, ana: Ana) -> None:
    sent = {
        "text": "ñ€",
        "yes": True,
        "nothing": None,
        "list": [1, "1", []],
        "a.b#c": {"deep": {"size": 0.1}},
        "size": 2,
    }
    assert caller.event(ana, {"update": sent}).status == 200
    found = profile(caller)
    assert {name: found[name] for name in sent} == sent


def test_a_number_of_38_digits_comes_back_digit_by_digit(caller: Caller, ana: Ana) -> None:
    digits = "12345678901234567890123456789.012345678"
    body = f'{{"user": {json.dumps(ana)}, "event": {{"update": {{"n": {digits}}}}}}}'
    assert caller.send("POST", "/event/", body.encode()).status == 200
    assert f'"n": {digits}' in caller.send("GET", "/user/ana@example.com").text


def test_a_user_is_made_by_post_and_by_put_with_upsert(caller: Caller) -> None:
    made = caller.send("POST", "/user/", {"email": "bob@example.com", "city": "Vigo"})
    assert made.status == 200
    assert made.body["results"] == [{"message": "Successfully added new user.", "email": "bob@example.com"}]
    assert made.body["object"]["city"] == "Vigo"
    assert caller.send("POST", "/user/", {"email": "BOB@example.com"}).status == 409
    assert caller.send("PUT", "/user/eve@example.com", {"city": "Lugo"}).status == 404
    assert caller.send("PUT", "/user/eve@example.com?upsert=true", {"city": "Lugo"}).status == 200
    assert caller.send("PUT", "/user/eve%40example.com/", {"city": "Ourense"}).body["object"]["city"] == "Ourense"


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "type=unknown", "cursor=x", "cursor="])
def test_a_wrong_query_of_the_timeline_is_400(caller: Caller, ana: Ana, query: str) -> None:
    assert caller.send("GET", f"/user/{ana['email']}/events?{query}").status == 400


def test_a_cursor_opens_nobody_elses_timeline(caller: Caller, ana: Ana) -> None:
    caller.send("POST", "/user/", {"email": "bob@example.com"})
    for number in range(2):
        caller.event(ana, {"search": {"query": str(number)}})
    cursor = caller.send("GET", "/user/ana@example.com/events?limit=1").body["cursor"]
    assert caller.send("GET", f"/user/ana@example.com/events?cursor={cursor}").status == 200
    assert caller.send("GET", f"/user/bob@example.com/events?cursor={cursor}").status == 400


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
        assert [set(key) - {"keyId", "createdOn"} for key in listed] == [{"revokedOn"}, {"expiresOn"}, set()]


def manage(it: stack.Stack, **request: str) -> dict[str, Any]:
    """What operators do with `sam remote invoke KeyFunction`."""
    functions: LambdaClient = aws.client("lambda", it.endpoint)
    name = stack.outputs(it.endpoint)["KeyFunctionName"]
    return dict(json.load(functions.invoke(FunctionName=name, Payload=json.dumps(request))["Payload"]))


def test_over_the_rate_limit_is_429_in_the_one_shape() -> None:
    with stack.running(parameters={"ThrottleRate": "1", "ThrottleBurst": "1"}) as it:
        caller = Caller(it.api_url, manage(it, action="create", account="throttled")["apiKey"])
        answers = [caller.send("POST", "/user/", {}) for _ in range(20)]
    [refused, *_] = [answer for answer in answers if answer.status != 200]
    assert (refused.status, refused.headers["Retry-After"]) == (429, "1")
    assert refused.body["errors"][0]["message"] == "Too many requests"
