"""Record table_of_1_0.json: the items and the responses of version 1.0.

    PYTHONPATH=src:tests:. .venv/bin/python -m table_of_1_0

The code of 1.0 runs with DynamoDB Local and a fixed time. A new recording has other random ids. The file has

    items     the table, in DynamoDB's JSON
    answers   the responses of 1.0, by name: to each request of KEYED, and the users and their events at noon
    ids       the ids of users without an email
    keys      API keys, by their state; no deployment accepts them
"""

import json
import math
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from api.gateway import Answer
from engines import new_table
from local import aws, dynamodb
from releases import VERSION_1_0, Process, Release, archive
from stored import everything
from table.calls import Table

FILE = Path(__file__).with_suffix(".json")
MORNING = datetime(2026, 11, 24, 8, tzinfo=UTC)
ANA, BO, CLEO = "ana@example.com", "bo@example.com", "cleo@example.com"
FIRST_OPEN = MORNING + timedelta(minutes=10)
NOON = MORNING + timedelta(hours=4)
ATTRIBUTES = {
    "firstname": "Ana",
    "vip": True,
    "score": 12.5,
    "sizes": [38, "M"],
    "address": {"city": "Porto"},
    "note": None,
}
ORDER = {
    "confirmation": {
        "orderId": "A-1001",
        "generic": {"total": "59.90", "currency": "EUR"},
        "items": [{"itemId": "SKU-1"}],
    }
}
PLAIN: list[dict[str, Any]] = [
    {"generic": {"generic": {"event_name": "newsletter_signup"}}},
    {"event": {"event_name": "scrolled"}},
    {"viewitem": {"itemId": "SKU-1"}},
    {"viewcategory": {"category": "shoes"}},
    {"search": {"query": "red shoes"}},
    {"addtocart": {"itemId": "SKU-1", "quantity": 2}},
    {"addtowishlist": {"prodId": "SKU-2"}},
    {"checkout": {"step": "payment"}},
]
KEYED: dict[str, dict[str, Any]] = {
    "created": {"event": {"search": {"query": "blue shoes"}}},
    "warned": {"event": {"update": {"numberOfPurchases": 9, "city": "Lisbon"}}},
    "order seen": {"event": ORDER},
    "open in window": {"event": {"emailopen": {"campaign": "autumn"}}},
    "bot": {"event": {"search": {"query": "x"}}, "user": {"email": ANA, "userAgent": "Googlebot/2.1"}},
}


def record(old: Release) -> dict[str, Any]:
    """Record a morning: one action each second, the opens apart."""
    moments = (MORNING + timedelta(seconds=second) for second in range(600))

    def ok(answer: Answer) -> Answer:
        assert answer.status == 200, answer
        return answer

    def send(event: dict[str, Any], **more: Any) -> Answer:
        return ok(old.send(event, next(moments), **more))

    keys = {name: old.key_function("create", next(moments)) for name in ("good", "expired", "revoked")}
    old.key_function("expire", next(moments), keyId=keys["expired"]["keyId"], expiresOn="2026-11-24T09:00:00Z")
    old.key_function("revoke", next(moments), keyId=keys["revoked"]["keyId"])
    for email in (ANA, CLEO):
        sent = ATTRIBUTES | {"email": email, "tags": ["new", "trial"]} if email == ANA else {"email": email}
        ok(old.call("POST", "/user", sent, at=next(moments)))
    ids = {
        name: ok(old.call("POST", "/user", sent, at=next(moments))).body["object"]["_id"]
        for name, sent in {"bo": {"firstname": "Bo"}, "nobody": {}}.items()
    }
    send({"login": {"email": BO, "tags": "member"}}, user={"_id": ids["bo"]})
    send({"search": {"query": "hats"}}, user={"_id": ids["nobody"]})
    send({"update": {"firstname": "Anna", "tags": ["vip", "-trial"]}})
    send(ORDER)
    for event in PLAIN:
        send(event)
    send({"search": {"query": "of cleo"}}, user={"email": CLEO}, key="of cleo")
    send({"confirmation": {"orderId": "C-1", "total": 5}}, user={"email": CLEO})
    send({"emailopen": {}}, user={"email": CLEO})
    ids["cleo"] = ok(old.user(CLEO, next(moments))).body["_id"]
    ok(old.user(CLEO, next(moments), "DELETE"))
    ok(old.send({"emailopen": {}}, FIRST_OPEN))
    answers = {}
    for place, (name, request) in enumerate(KEYED.items()):
        at = FIRST_OPEN + timedelta(minutes=1, seconds=place)
        answers[name] = ok(old.send(**request, at=at, key=name))
    answers |= {email: ok(old.user(email, NOON)) for email in (ANA, BO)}
    answers["first page"] = ok(old.page(ANA, NOON, limit="4"))
    answers["second page"] = ok(old.page(ANA, NOON, limit="4", cursor=answers["first page"].body["cursor"]))
    secrets = {name: key["apiKey"] for name, key in keys.items()}
    shown = {name: {"headers": answer.headers, "body": answer.body} for name, answer in answers.items()}
    shown["list of keys"] = {"body": old.key_function("list", NOON)}
    return {"ids": ids, "keys": secrets, "answers": shown}


def main() -> None:
    with dynamodb.running() as endpoint, tempfile.TemporaryDirectory() as folder:
        process = Process(archive(VERSION_1_0, Path(folder)), endpoint)
        with new_table(aws.client("dynamodb", endpoint), "recorded") as table:
            recorded = record(Release(process, table.name))
            items = everything(Table(table.client, table.name, math.inf))
        process.end()
    lines = ",\n".join(map(json.dumps, items))
    answers = ",\n".join(
        f"{json.dumps(name)}: {json.dumps(answer)}" for name, answer in recorded.pop("answers").items()
    )
    others = json.dumps(recorded).removeprefix("{").removesuffix("}")
    FILE.write_text(f'{{{others},\n"answers": {{\n{answers}}},\n"items": [\n{lines}]}}\n')


if __name__ == "__main__":
    main()
