"""Make docs/postman.json, a collection for Postman and Newman, from the examples in the catalogue: `make openapi`.

A run creates a new user, sends every event type, checks the results, provokes the main errors and erases the user. It
can be repeated, and leaves only the ids of its orders.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docs.openapi import CREATED, example_of
from domain.event_types import CATALOGUE, Confirmation, EmailOpen
from domain.problems import EMAIL_TAKEN, MISSING_EVENT, MISSING_EVENTS, UNAUTHORIZED, UNKNOWN_EMAIL, Problem
from domain.restrictions import Restriction
from handlers.rest import errors_of

FILE = Path(__file__).with_name("postman.json")
EMAIL = "{{email}}"
USER = {"email": EMAIL}
SCHEMA = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"

Json = dict[str, Any]
Test = tuple[str, str]  # what it promises, and JavaScript that fails if it is not so

NEW_PERSON = [
    'const run = pm.variables.replaceIn("{{$guid}}");',
    "pm.collectionVariables.set('email', `postman-${run}@example.com`);",
    "pm.collectionVariables.set('order_id', run);",
    "pm.collectionVariables.set('idempotency_key', run);",
    "pm.collectionVariables.set('event_id', `view-${run}`);",
    "pm.collectionVariables.set('event_time', new Date().toISOString());",
]
IDS = "[pm.response.headers.get('X-Event-Id'), pm.response.headers.get('X-User-Id')]"
SETS_NEW_EMAIL = "pm.collectionVariables.set('email', pm.response.json().object.email);"
NAMES_BOTH: Test = (
    "it says which event and whose",
    f"for (const id of {IDS}) pm.expect(id).to.match(/^[0-9a-f-]{{36}}$/);",
)


def document() -> Json:
    return {
        "info": {
            "name": "Event API",
            "description": "Set api_url and api_key, and run it from top to bottom: the first request makes up a user.",
            "schema": SCHEMA,
        },
        "auth": {
            "type": "apikey",
            "apikey": [
                {"key": "key", "value": "Authorization"},
                {"key": "value", "value": "{{api_key}}"},
                {"key": "in", "value": "header"},
            ],
        },
        "variable": [
            {"key": name, "value": ""}
            for name in (
                "api_url",
                "api_key",
                "email",
                "order_id",
                "idempotency_key",
                "event_id",
                "event_time",
                "erased_id",
            )
        ],
        "item": [
            {"name": "A new user", "item": list(new_user())},
            {"name": "Events", "item": list(events())},
            {"name": "Many events", "item": list(batches())},
            {"name": "Results", "item": list(results())},
            {"name": "Errors", "item": list(errors())},
            {"name": "Erasure", "item": list(erasure())},
        ],
    }


# --- The requests, in the order in which they run -------------------------------------------------


def new_user() -> Iterator[Json]:
    answered = done("Successfully added new user.")
    first = request("Create a user", "POST", "user/", USER | {"firstname": "Ana"}, tests=answered)
    first["event"].append({"listen": "prerequest", "script": script(NEW_PERSON)})
    yield first
    yield request("Create the same user again", "POST", "user/", USER, tests=refused(409, EMAIL_TAKEN))


def events() -> Iterator[Json]:
    for name, model in CATALOGUE.items():
        yield event(name, {name: payload(name, example_of(model))}, created())
    again = {"confirmation": payload("confirmation", {})}
    yield event("confirmation, the same order", again, discarded(Confirmation.restriction))
    yield event("emailopen, within 20 minutes", {"emailopen": {}}, discarded(EmailOpen.restriction))
    for name, replayed in (("search, with a key", "false"), ("search, repeated under its key", "true")):
        first_answer = f"pm.expect(pm.response.headers.get('Idempotent-Replayed') === 'true').to.equal({replayed});"
        once = event(name, {"search": {"query": "red shoes"}}, [*created(), ("it is stored once", first_answer)])
        once["request"]["header"] = [{"key": "Idempotency-Key", "value": "{{idempotency_key}}"}]
        yield once


def batches() -> Iterator[Json]:
    """Yield batches of two valid events and an invalid one. `check` is first, because it stores nothing."""
    view = of_a_batch({"viewitem": {"itemId": "SHOE-42-RED"}}, eventId="{{event_id}}")
    order = of_a_batch({"confirmation": {"orderId": "{{order_id}}"}}, eventId="{{event_id}}-order")
    nobody = of_a_batch({"emailopen": {}}, eventId="{{event_id}}-nobody", user={"email": f"nobody-{EMAIL}"})
    for name, path in (("Check events", "events/check"), ("Send events", "events/")):
        yield request(name, "POST", path, {"events": [view, order]}, tests=has_results(200, "created", "discarded"))
    again = has_results(207, "duplicate", "refused")
    yield request("Send one of them again, and a wrong one", "POST", "events/", {"events": [view, nobody]}, tests=again)
    yield request("Only a wrong one", "POST", "events/", {"events": [nobody]}, tests=has_results(400, "refused"))
    yield request("No events", "POST", "events/", {"events": []}, tests=refused(400, MISSING_EVENTS))


def results() -> Iterator[Json]:
    updated = done("Successfully updated user.")
    yield request("Set an attribute", "PUT", f"user/{EMAIL}", {"city": "Madrid"}, tests=updated)
    profile = [
        status(200),
        ("it has what was set", body_has({"email": EMAIL, "firstname": "Ana", "city": "Madrid"})),
        ("the order was counted once", body_has({"numberOfPurchases": 1, "totalPurchasesValue": 59.9})),
        ("the refund was counted once", body_has({"numberOfRefunds": 1, "totalRefundsValue": 55.0})),
    ]
    yield request("Read the user", "GET", f"user/{EMAIL}", tests=profile)
    each_once = listed(len(CATALOGUE) + 2, "each event is there once")
    yield request("List the events", "GET", f"user/{EMAIL}/events?limit=100", tests=each_once)
    one_order = listed(1, "the order is there once")
    yield request("List the orders", "GET", f"user/{EMAIL}/events?type=confirmation", tests=one_order)
    gone = ("the attribute is gone", "pm.expect(pm.response.json().object).to.not.have.property('city');")
    yield request("Remove the attribute", "DELETE", f"user/{EMAIL}/attributes/city", tests=[*updated, gone])


def errors() -> Iterator[Json]:
    yield request("No event", "POST", "event/", {"user": USER}, tests=refused(400, MISSING_EVENT))
    nobody = {"user": {"email": f"nobody-{EMAIL}"}, "event": {"search": {"query": "red shoes"}}}
    yield request("Nobody", "POST", "event/", nobody, tests=refused(404, UNKNOWN_EMAIL))
    wrong_key = request("A wrong API key", "GET", f"user/{EMAIL}", tests=refused(401, UNAUTHORIZED))
    wrong_key["request"]["auth"] = {"type": "noauth"}
    wrong_key["request"]["header"] = [{"key": "Authorization", "value": "key_of_nobody"}]
    yield wrong_key
    counted = (
        "it counts, and holds no value",
        "for (const each of pm.response.json().refusals) pm.expect(each.count).to.be.above(0);",
    )
    yield request("What was refused", "GET", "refusals?limit=10", tests=[status(200), counted])


def erasure() -> Iterator[Json]:
    changed = body_has({"results": [{"message": "Successfully updated user.", "email": f"new-{EMAIL}"}]})
    tests = [status(200), ("it names the new email", changed), ("it is set", SETS_NEW_EMAIL)]
    yield request("Change the email", "PUT", f"user/{EMAIL}/email", {"email": f"new-{EMAIL}"}, tests=tests)
    keep = ("it names the erasure", "pm.collectionVariables.set('erased_id', pm.response.json().erasure._id);")
    yield request("Erase the user", "DELETE", f"user/{EMAIL}", tests=[*done("Successfully deleted user."), keep])
    ours = ("it is the receipt of this erasure", body_has({"_id": "{{erased_id}}"}))
    yield request("Read the receipt", "GET", "erasures/{{erased_id}}", tests=[status(200), ours])
    yield request("Read the erased user", "GET", f"user/{EMAIL}", tests=refused(404, UNKNOWN_EMAIL))


def payload(name: str, example: Json) -> Json:
    ids = {"orderId": "{{order_id}}"}
    own = {"login": USER, "confirmation": ids, "refund": {"refundId": "{{order_id}}", **ids}}
    return example | own.get(name, {})


# --- Parts ----------------------------------------------------------------------------------------


def event(name: str, sent: Json, tests: list[Test]) -> Json:
    return request(name, "POST", "event/", {"user": USER, "event": sent}, tests=tests)


def of_a_batch(sent: Json, **more: object) -> Json:
    return {"eventTime": "{{event_time}}", "user": USER, "event": sent, **more}


def has_results(code: int, *statuses: str) -> list[Test]:
    told = f"pm.expect(pm.response.json().results.map(each => each.status)).to.eql({json.dumps(statuses)});"
    return [status(code), ("it tells of each event", told)]


def request(name: str, method: str, path: str, body: Json | None = None, *, tests: list[Test]) -> Json:
    asserted = [f"pm.test({json.dumps(promise)}, () => {{ {code} }});" for promise, code in tests]
    described: Json = {"method": method, "header": [], "url": "{{api_url}}/" + path}
    if body is not None:
        raw = json.dumps(body, indent=2)
        described["body"] = {"mode": "raw", "raw": raw, "options": {"raw": {"language": "json"}}}
    return {"name": name, "event": [{"listen": "test", "script": script(asserted)}], "request": described}


def script(lines: list[str]) -> Json:
    return {"type": "text/javascript", "exec": lines}


def status(code: int) -> Test:
    return f"it answers {code}", f"pm.response.to.have.status({code});"


def created() -> list[Test]:
    said = "pm.expect(pm.response.headers.get('X-Event-Status')).to.equal('created');"
    return [status(200), ("it is created", said), ("nothing was left out", body_is({"results": CREATED})), NAMES_BOTH]


def discarded(reason: Restriction) -> list[Test]:
    said = "pm.expect(pm.response.headers.get('X-Event-Status')).to.equal('discarded');"
    results = body_has({"results": {"message": "Event discarded", "email": reason.text}})
    return [status(200), ("it is discarded", said), ("it says why", results), NAMES_BOTH]


def listed(events: int, promise: str) -> list[Test]:
    return [status(200), (promise, f"pm.expect(pm.response.json().events).to.have.length({events});")]


def refused(code: int, problem: Problem) -> list[Test]:
    return [status(code), ("it says what is wrong", body_is(errors_of([problem])))]


def done(message: str) -> list[Test]:
    results = body_has({"results": [{"message": message, "email": EMAIL}]})
    return [status(200), ("it says what was done, and whose user it is", results)]


def body_is(values: Json) -> str:
    return f"pm.expect(pm.response.json()).to.eql({expected(values)});"


def body_has(values: Json) -> str:
    return f"pm.expect(pm.response.json()).to.deep.include({expected(values)});"


def expected(values: Json) -> str:
    """JavaScript for the values, with the collection's variables filled in."""
    return f"JSON.parse(pm.variables.replaceIn({json.dumps(json.dumps(values))}))"


def text() -> str:
    return json.dumps(document(), indent=2) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())
