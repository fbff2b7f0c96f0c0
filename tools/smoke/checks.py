"""The checks of `make smoke`, in the order of its report."""

import gzip
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from tools.smoke.caller import Answer, Api, Check, CheckFailed

CREATED = {"results": {"message": "Event created", "email": "Event was created for the specified user"}}
DISCARDED = {
    "results": {"message": "Event discarded", "email": "A confirmation with this orderId was already received"}
}
MISSING_EVENT = {
    "errors": [{"message": "Missing event information", "description": "Please send event information along with user"}]
}
UNKNOWN_EMAIL = {"errors": [{"message": "User not found", "description": "This email does not exist in our database."}]}
EVENTS: list[dict[str, Any]] = [
    {"update": {"firstname": "Ana", "size": 38.5, "tags": ["vip"]}},
    {"login": {"newsletter": True}},
    {"generic": {"generic": {"event_name": "my_event", "colour": "red"}}},
    {"event": {"event_name": "my_event"}},
    {"viewitem": {"itemId": "SKU-1"}},
    {"viewcategory": {"category": "shoes"}},
    {"search": {"query": "red shoes"}},
    {"addtocart": {"itemId": "SKU-1", "quantity": 2}},
    {"addtowishlist": {"prodId": "SKU-1"}},
    {"checkout": {"cartId": "C-1", "step": 1}},
    {"emailopen": {}},
]
ODD_PATHS = ("", "/", "/nothing", "/event/x", "/events/x", "/user/a/b/c", "/v1/event", "/Event", "/user/%2e%2e/%00")
BODY_BYTES, BATCH_BYTES = 256 * 1024, 1024 * 1024
FEW_AT_ONCE = "A new AWS account may run only 10 functions at once: aws lambda get-account-settings"
ONCE = 20  # requests at once, more than an unused stack keeps warm
ONCE_LOCALLY = 3  # all functions of the emulator share one machine, so many starts at once can exceed their time limits

_checks: list[Check] = []


def all_checks(burst: int) -> list[Check]:
    return [_FIRST, *_checks, *([_rate_limit(burst)] if burst else []), _ERASED]


def holds(promise: str, emulator: str = "") -> Callable[[Callable[[Api], str | None]], Callable[[Api], str | None]]:
    """Add a check. `emulator` says how the emulator of `make run` differs."""

    def add(run: Callable[[Api], str | None]) -> Callable[[Api], str | None]:
        _checks.append(Check(promise, run, emulator))
        return run

    return add


# --- The documented requests ----------------------------------------------------------------------


def _first(api: Api) -> str:
    """Make the first call, and detect whether this is AWS."""
    answer = api.send("GET", f"/user/nobody-{uuid4().hex}@example.com")
    api.on_aws = "x-amz-apigw-id" in answer.headers
    answer.must(404, "user_not_found")
    answer.must_say("the body", answer.body, UNKNOWN_EMAIL)
    return f"{answer.milliseconds:.0f} ms{'' if api.on_aws else '; this is no API Gateway of AWS'}"


_FIRST = Check("The first request is answered: an unknown user is a 404", _first)


@holds("An event of every type is created, and listed newest first as it was sent")
def _(api: Api) -> None:
    user = api.new_user()
    for event in EVENTS:
        answer = api.event(user, event).must(200)
        answer.must_say("the body", answer.body, CREATED)
        answer.must_say("X-Event-Status", answer.headers.get("X-Event-Status"), "created")
    listed = [{each["type"]: each["payload"]} for each in api.timeline(user)]
    answer.must_say("the timeline", listed, EVENTS[::-1])


@holds("An update shows on the profile, value for value")
def _(api: Api) -> None:
    user = api.new_user()
    sent = {"n": 12.25, "big": 10**30, "text": 'ä € 😀 "\\', "list": [1, None, {"a": []}], "no": False, "a.b#c": "x"}
    answer = api.event(user, {"update": sent}).must(200)
    profile = api.profile(user)
    answer.must_say("the profile", {name: profile.get(name) for name in sent}, sent)
    answer.must_say("X-User-Id", answer.headers.get("X-User-Id"), profile["_id"])


@holds("A second confirmation with the same orderId is discarded, also when both come at once")
def _(api: Api) -> None:
    user, orders = api.new_user(), [{"confirmation": {"orderId": uuid4().hex, "total": "19.90"}} for _ in range(2)]
    api.event(user, orders[0]).must(200)
    second = api.event(user, orders[0]).must(200)
    second.must_say("the results", second.body["results"], DISCARDED["results"])
    once = 8 if api.on_aws else ONCE_LOCALLY
    with ThreadPoolExecutor(once) as threads:
        answers = list(threads.map(lambda _: api.event(user, orders[1]).must(200), range(once)))
    created = [each for each in answers if each.headers.get("X-Event-Status") == "created"]
    second.must_say("the number of confirmations created", len(created), 1)
    second.must_say("the total of purchases", api.profile(user)["totalPurchasesValue"], 39.8)


@holds("A second email open within 20 minutes is discarded")
def _(api: Api) -> None:
    user = api.new_user()
    for status in ("created", "discarded"):
        answer = api.event(user, {"emailopen": {}}).must(200)
        answer.must_say("X-Event-Status", answer.headers.get("X-Event-Status"), status)


@holds("A login gives an anonymous user an address")
def _(api: Api) -> None:
    anonymous = api.send("POST", "/user/", {}).must(200).body["object"]["_id"]
    api.users.append(anonymous)
    email = f"smoke-{uuid4().hex}@example.com"
    answer = api.event({"_id": anonymous}, {"login": {"email": email}}).must(200)
    answer.must_say("the _id", api.profile({"email": email})["_id"], anonymous)


@holds("A repeat under an Idempotency-Key stores nothing; another body under it is a 422")
def _(api: Api) -> None:
    user, key = api.new_user(), uuid4().hex
    first, repeat = (api.event(user, EVENTS[4], Idempotency_Key=key).must(200) for _ in range(2))
    repeat.must_say("X-Event-Id", repeat.headers.get("X-Event-Id"), first.headers.get("X-Event-Id"))
    repeat.must_say("Idempotent-Replayed", repeat.headers.get("Idempotent-Replayed"), "true")
    repeat.must_say("the number of events", len(api.timeline(user)), 1)
    api.event(user, EVENTS[5], Idempotency_Key=key).must(422, "idempotency_key_reused")


@holds("What is wrong with a request is a 400 that says it")
def _(api: Api) -> None:
    user = api.new_user()
    missing = api.send("POST", "/event/", {"user": user}).must(400, "missing_event")
    missing.must_say("the body", missing.body, MISSING_EVENT)
    api.send("POST", "/event/", b'{"user": {} "event": {}}').must(400, "invalid_json", "Invalid JSON")
    api.send("POST", "/event/", b"\xff\xfe{}").must(400, "invalid_json", "Invalid JSON")
    api.send("POST", "/event/").must(400, "invalid_json", "Invalid JSON")
    api.send("POST", "/event/", {"event": EVENTS[6]}).must(400, "missing_user", "Missing user information")
    api.event({"tel": "1"}, EVENTS[6]).must(400, "missing_identifier", "Missing user identifier")
    api.event({"email": "nobody"}, EVENTS[6]).must(400, "invalid_email", "Invalid email")
    api.event(user, EVENTS[5] | EVENTS[6]).must(400, "more_than_one_event", "More than one event")
    api.event(user, {"serch": {}}).must(400, "unknown_event_type", "Unknown event type")
    missing.must_say("the number of events", len(api.timeline(user)), 0)


@holds("A user is created, read, changed and erased")
def _(api: Api) -> None:
    user = api.new_user(firstname="Ana")
    path = f"/user/{user['email']}"
    api.send("POST", "/user/", user).must(409, "user_exists")
    changed = api.send("PUT", path, {"firstname": "Eve"}).must(200)
    changed.must_say("firstname", changed.body["object"]["firstname"], "Eve")
    api.send("PUT", f"/user/smoke-{uuid4().hex}@example.com", {"a": 1}).must(404, "user_not_found")
    api.send("DELETE", path).must(200)
    for gone in (api.send("GET", path), api.send("DELETE", path), api.event(user, EVENTS[6])):
        gone.must(404, "user_not_found")


# --- What only a real gateway can show ------------------------------------------------------------


@holds("Without the key, or with nearly the key, every path is a 401")
def _(api: Api) -> None:
    wrong = (
        "",
        " ",
        "unknown",
        f"Basic {api.key}",
        f"{api.key}x",
        f"{api.key},{api.key}",
        api.key[:-1],
        api.key.swapcase(),
    )
    for key in wrong:
        api.send("POST", "/event/", {}, key=key).must(401, "unauthorized", "Unauthorized")
    for path in ("/event", "/user/a@example.com", "/nothing", "/", ""):
        api.send("GET", path, key="unknown").must(401, "unauthorized", "Unauthorized")
    api.send("GET", f"/user/{uuid4().hex}@example.com").must(404, "user_not_found")


@holds("An unknown path or method is a 404")
def _(api: Api) -> None:
    for path in ODD_PATHS:
        for method in ("GET", "POST"):
            api.send(method, path).must(404, "not_found", "Not found")
    for method, path in (("GET", "/event"), ("PATCH", "/user"), ("OPTIONS", "/event"), ("DELETE", "/"), ("PUT", "")):
        api.send(method, path).must(404, "not_found", "Not found")


@holds("Every path works with its last slash and without")
def _(api: Api) -> None:
    user = api.new_user()
    path = f"/user/{user['email']}"
    for number, slash in enumerate(("", "/"), 1):
        api.send("POST", f"/event{slash}", {"user": user, "event": EVENTS[6]}).must(200)
        listed = api.send("GET", f"{path}/events{slash}?limit=9&nothing=1").must(200)
        listed.must_say("the number of events", len(listed.body["events"]), number)
        api.send("PUT", f"{path}{slash}", {"a": number}).must(200)
        read = api.send("GET", f"{path}{slash}").must(200)
        read.must_say("an attribute", read.body["a"], number)
        api.users.append(api.send("POST", f"/user{slash}", {}).must(200).body["object"]["_id"])


@holds("An address in a path is read however it is encoded")
def _(api: Api) -> None:
    for local in ("plus+tag", "o'neil", "per%cent", "a/b", "100%25"):
        email = f"{local}-{uuid4().hex}@example.com"
        created = api.send("POST", "/user/", {"email": email}).must(200).body["object"]["_id"]
        api.users.append(created)
        for path in {quote(email, safe="@+'"), quote(email, safe=""), quote(email.upper(), safe="")}:
            answer = api.send("GET", f"/user/{path}").must(200)
            answer.must_say("the _id", answer.body["_id"], created)
            api.send("GET", f"/user/{path}/events").must(200)


@holds("A header's name is read in any case, and a body whatever its Content-Type says")
def _(api: Api) -> None:
    user = api.new_user()
    for name in ("AUTHORIZATION", "authorization"):
        api.send("GET", f"/user/{user['email']}", key="", **{name: api.key}).must(200)
    for kind in (
        "application/json",
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/octet-stream",
        "x",
    ):
        api.event(user, {"search": {"query": "ä €"}}, Content_Type=kind, Accept="image/png").must(200)
    first, repeat = (api.event(user, EVENTS[4], iDEMPOTENCY_kEY=user["email"]) for _ in range(2))
    repeat.must_say("X-Event-Id", repeat.headers.get("X-Event-Id"), first.headers.get("X-Event-Id"))
    repeat.must_say("a query", api.timeline(user)[1]["payload"], {"query": "ä €"})


@holds("A body of 256 KiB is taken; a larger one is a 413, from us or from the gateway")
def _(api: Api) -> None:
    user = api.new_user()

    def body(size: int) -> bytes:
        shortest = json.dumps({"user": user, "event": {"search": {"query": ""}}})
        return shortest.replace('""', f'"{"x" * (size - len(shortest))}"').encode()

    api.send("POST", "/event/", body(BODY_BYTES)).must(200)
    for size in (BODY_BYTES + 1, 5_000_000, 11_000_000):  # Lambda takes 6 MB, the gateway 10 MB
        api.send("POST", "/event/", body(size)).must(413, "body_too_large", "Request too large")


@holds("A body compressed with gzip is read, with Content-Encoding and without")
def _(api: Api) -> None:
    user = api.new_user()
    body = gzip.compress(json.dumps({"user": user, "event": {"search": {"query": "ä" * 5000}}}).encode())
    api.send("POST", "/event/", body, Content_Encoding="gzip").must(200)
    api.send("POST", "/event/", body).must(200)
    answer = api.send("POST", "/event/", gzip.compress(b" " * 10_000_000)).must(413, "body_too_large")
    answer.must_say("the events", [len(each["payload"]["query"]) for each in api.timeline(user)], [5000, 5000])


@holds("A body compressed in another way is a 415 that names gzip")
def _(api: Api) -> None:
    brotli = b"\x0b\x00\x80{}\x03"
    for coding in ("br", "gzip, br", "zstd"):
        answer = api.send("POST", "/event/", brotli, Content_Encoding=coding).must(415, "unsupported_encoding")
        answer.must_say("Accept-Encoding", answer.headers.get("Accept-Encoding"), "gzip")


@holds("A long answer is compressed for who accepts that", emulator="the emulator compresses no answer")
def _(api: Api) -> None:
    user = api.new_user(note="x" * 5000)
    plain = api.send("GET", f"/user/{user['email']}").must(200)
    packed = api.send("GET", f"/user/{user['email']}", Accept_Encoding="gzip").must(200)
    packed.must_say("Content-Encoding", packed.headers.get("Content-Encoding"), "gzip")
    packed.must_say("the body", packed.body, plain.body)


@holds("An answer names its request, also when the caller chose the id", emulator="the emulator has no x-amz-apigw-id")
def _(api: Api) -> None:
    own = uuid4().hex
    answer = api.send("GET", "/nothing", X_Amzn_RequestId=own)
    for name in ("x-amzn-RequestId", "x-amz-apigw-id"):
        answer.must_say(f"having {name}", name in answer.headers, True)


@holds("Many requests at once are answered, though most of them start a function")
def _(api: Api) -> str:
    user, once = api.new_user(), ONCE if api.on_aws else ONCE_LOCALLY
    alone = [api.event(user, EVENTS[6]).must(200).milliseconds for _ in range(5)]
    with ThreadPoolExecutor(once) as threads:
        answers = list(threads.map(lambda _: api.event(user, EVENTS[6]), range(once)))
    if failed := [answer for answer in answers if answer.status >= 500]:
        raise CheckFailed(f"{len(failed)} of {once} got a {failed[0].status}. {FEW_AT_ONCE}")
    for answer in answers:
        answer.must(200)
    answers[0].must_say("the number of events", len(api.timeline(user)), len(alone) + once)
    slowest = max(answer.milliseconds for answer in answers)
    return f"{slowest:.0f} ms the slowest, {median(alone):.0f} ms alone"


def _rate_limit(burst: int) -> Check:
    def run(api: Api) -> str:
        api.send("GET", "/user/nobody@example.com").must(404)  # after this the gateway caches the key
        with ThreadPoolExecutor(min(burst, 200)) as threads:
            answers = list(threads.map(lambda _: api.send("GET", "/user/nobody@example.com"), range(burst)))
        refused = [answer for answer in answers if answer.status != 404]
        for answer in refused:
            answer.must(429, "too_many_requests", "Too many requests")
            answer.must_say("having Retry-After", "Retry-After" in answer.headers, True)
        if not refused:
            raise CheckFailed(
                f"none of {burst} requests was refused: send more, or lower ThrottleRate and ThrottleBurst"
            )
        return f"{len(refused)} of {burst}"

    return Check("Above the rate limit is a 429 with Retry-After", run)


# --- Batches, eventId, eventTime ------------------------------------------------------------------


def _an_entry(user: dict[str, str], event: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"eventId": f"smoke-{uuid4().hex}", "eventTime": _ago(minutes=1), "user": user, "event": event, **more}


def _ago(**span: float) -> str:
    return (datetime.now(UTC) - timedelta(**span)).isoformat(timespec="milliseconds")


def _statuses(answer: Answer) -> list[str]:
    return [each["status"] for each in answer.body["results"]]


@holds("A batch tells of each of its events, and sent again it stores nothing twice")
def _(api: Api) -> None:
    user, order = api.new_user(), {"confirmation": {"orderId": uuid4().hex, "total": 1}}
    batch = {"events": [_an_entry(user, each) for each in (*EVENTS, order, order)]}
    batch["events"].append(_an_entry({"email": f"nobody-{uuid4().hex}@example.com"}, EVENTS[6]))
    count = len(EVENTS) + 1
    first = api.send("POST", "/events/", batch).must(207)
    first.must_say("the statuses", _statuses(first), ["created"] * count + ["discarded", "refused"])
    again = api.send("POST", "/events", batch).must(207)
    again.must_say("the statuses", _statuses(again), ["duplicate"] * count + ["discarded", "refused"])
    again.must_say("the number of events", len(api.timeline(user)), count)
    settled = api.send("POST", "/events/", {"events": batch["events"][:count]}).must(200)
    settled.must_say("the statuses", _statuses(settled), ["duplicate"] * count)


@holds("A batch that is wrong as a whole is a 400, and a large one a 413")
def _(api: Api) -> None:
    user = api.new_user()
    entries = [_an_entry(user, EVENTS[6]) for _ in range(101)]
    wholly_wrong: tuple[Any, ...] = ({}, {"events": []}, {"events": entries}, {"events": "x"}, [])
    for wrong in wholly_wrong:
        api.send("POST", "/events/", wrong).must(400)
    api.send("POST", "/events/", {"events": entries[:1]}, Idempotency_Key="x").must(400)
    large = {"events": [_an_entry(user, {"search": {"query": "x" * 200_000}}) for _ in range(6)]}
    api.send("POST", "/events/", large).must(413, "body_too_large")
    answer = api.send("POST", "/events/", gzip.compress(json.dumps(large).encode())).must(413, "body_too_large")
    answer.must_say("the number of events", len(api.timeline(user)), 0)


@holds("A batch of nearly 1 MiB is taken, also compressed with gzip")
def _(api: Api) -> None:
    user = api.new_user()
    for packed in (False, True):
        entries = [_an_entry(user, {"search": {"query": "x" * (BATCH_BYTES // 100 - 500)}}) for _ in range(100)]
        body = json.dumps({"events": entries}).encode()
        headers = {"Content_Encoding": "gzip"} if packed else {}
        sent = gzip.compress(body) if packed else body
        answer, statuses = api.send("POST", "/events/", sent, **headers), {"created"}
        if not api.on_aws:
            statuses.add("duplicate")  # it may have been sent again
        for _ in range(3):  # as the contract says, for a stack that is slow or has just begun
            if answer.status in (207, 503) and "failed" in _statuses(answer):
                time.sleep(1)  # Retry-After
                answer, statuses = api.send("POST", "/events/", sent, **headers), {"created", "duplicate"}
        settled = [each for each in _statuses(answer.must(200)) if each in statuses]
        answer.must_say("the number of events that are in", len(settled), len(entries))


@holds("POST /v1/events/check says what would come of a batch, and stores nothing")
def _(api: Api) -> None:
    user = api.new_user()
    batch = {"events": [_an_entry(user, each) for each in EVENTS]}
    for path in ("/events/check", "/events/check/"):
        answer = api.send("POST", path, batch).must(200)
        answer.must_say("stored", answer.body["stored"], False)
        answer.must_say("the statuses", set(_statuses(answer)), {"created"})
    answer.must_say("the number of events", len(api.timeline(user)), 0)


@holds("An eventId makes a repeat harmless, and an eventTime is kept")
def _(api: Api) -> None:
    user = api.new_user()
    entry = _an_entry(user, EVENTS[4])
    first, repeat = (api.send("POST", "/event/", entry).must(200) for _ in range(2))
    first.must_say("X-Event-Id", first.headers.get("X-Event-Id"), entry["eventId"])
    repeat.must_say("Idempotent-Replayed", repeat.headers.get("Idempotent-Replayed"), "true")
    [stored] = api.timeline(user)
    happened = datetime.fromisoformat(stored["createdOn"])
    first.must_say("createdOn", happened, datetime.fromisoformat(entry["eventTime"]))
    first.must_say("having receivedOn", "receivedOn" in stored, True)
    ahead = _an_entry(user, EVENTS[4], eventTime=_ago(minutes=-10))
    api.send("POST", "/event/", ahead).must(400, "invalid_event_time")


@holds("A discarded confirmation names the first one")
def _(api: Api) -> None:
    user, order = api.new_user(), {"confirmation": {"orderId": uuid4().hex, "total": 1}}
    first, second = (api.event(user, order).must(200) for _ in range(2))
    second.must_say("first.eventId", second.body["first"]["eventId"], first.headers.get("X-Event-Id"))
    second.must_say("first.samePayload", second.body["first"]["samePayload"], True)


@holds("An attribute can be removed")
def _(api: Api) -> None:
    user = api.new_user(colour="red")
    answer = api.send("DELETE", f"/user/{user['email']}/attributes/colour").must(200)
    answer.must_say("having colour", "colour" in api.profile(user), False)
    api.send("DELETE", f"/user/{user['email']}/attributes/createdOn").must(400)


@holds("What was refused is listed, without what was sent")
def _(api: Api) -> None:
    answer = api.send("GET", "/refusals?limit=5").must(200)
    answer.must_say("being a list", isinstance(answer.body["refusals"], list), True)


# --- The end --------------------------------------------------------------------------------------


def _erase(api: Api) -> str:
    """Erase all users, also if other checks failed."""
    for user in api.users:
        erased = api.send("DELETE", f"/user/{user}")
        if erased.status != 404:
            begun = erased.must(200).body["erasure"]
            receipt = api.send("GET", f"/erasures/{begun['_id']}").must(200)
            receipt.must_say("requestedOn", receipt.body["requestedOn"], begun["requestedOn"])
        api.send("GET", f"/user/{user}").must(404, "user_not_found")
    return f"{len(api.users)} of them"


_ERASED = Check("The users of this test are erased again", _erase)
