"""The whole stack works: each route and each stored thing once, over HTTP, on the emulator of `make run`."""

from uuid import uuid4

from e2e.conftest import Caller
from local import stack

ANA = "/user/ana@example.com"
ORDER = {"confirmation": {"orderId": "A-1", "total": "19.90"}}
OPEN: dict[str, object] = {"emailOpen": {}}
SEARCH = {"search": {"query": "shoes"}}


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
    assert {
        "city": "Madrid",
        "tags": ["vip"],
        "numberOfPurchases": 1,
        "totalPurchasesValue": 19.9,
    }.items() <= profile.items()
    read, path = list[str](), f"{ANA}/events?limit=2"
    while path:
        page = caller.send("GET", path).body
        read += [event["type"] for event in page["events"]]
        path = f"{ANA}/events?limit=2&cursor={page['cursor']}" if "cursor" in page else ""
    assert sorted(read) == ["confirmation", "emailopen", "login", "search", "search"]
    assert {each["code"] for each in caller.send("GET", "/refusals").body["refusals"]} == {
        "user_not_found", "idempotency_key_reused",
    }  # fmt: skip
    other = Caller(deployed.api_url, deployed.create_key(f"other-{uuid4().hex[:8]}"))
    assert [other.send("GET", each).status for each in (ANA, f"/user/{anonymous}")] == [404, 404]
    assert [caller.send(method, ANA).status for method in ("DELETE", "GET", "DELETE")] == [200, 404, 404]
    assert caller.event(ana, SEARCH).status == 404
