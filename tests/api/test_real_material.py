"""Payloads of real shops and trackers: stored value for value and counted right, or refused with a text that helps.

tests/material has one payload of each source, in the shape that the source documents; `_source` names the page.
"""

import json
from decimal import Decimal
from functools import partial
from typing import Any
from urllib.parse import quote

import pytest
import simplejson

from api.gateway import call, timeline, user
from local.stack import ROOT
from table import Account

as_json = partial(simplejson.dumps, use_decimal=True)
exact = partial(json.loads, parse_int=Decimal, parse_float=Decimal)
NOV_29 = "2024-11-29T08:00:00Z"
ANA = {"email": "ana@example.com"}


def material(name: str) -> Any:
    payload = exact((ROOT / "tests" / "material" / f"{name}.json").read_text())
    assert "https://" in payload.pop("_source")
    return payload


SHOPIFY, WOOCOMMERCE, PRESTASHOP = material("shopify"), material("woocommerce"), material("prestashop")
SEGMENT, GA4, KLAVIYO = material("segment"), material("ga4"), material("klaviyo")["data"]["attributes"]
TRAITS, COMPLETED = SEGMENT["identify"]["traits"], SEGMENT["track"]["properties"]
PURCHASE, PROFILE = GA4["events"][0]["params"], KLAVIYO["profile"]["data"]["attributes"]


def send(*sent: Any) -> list[dict[str, Any]]:
    """Import events, each with its user, in batches; create the users. Return the results."""
    results: list[dict[str, Any]] = []
    entries = [{"eventId": f"e-{number}", "eventTime": NOV_29} | each for number, each in enumerate(sent)]
    for first in range(0, len(entries), 100):
        body = as_json({"import": True, "events": entries[first : first + 100]})
        results += call("POST", "/events", body, queryStringParameters={"upsert": "true"}).body["results"]
    return results


def payloads(email: str) -> dict[str, Any]:
    query, found = {"limit": "100"}, dict[str, Any]()
    while query.get("cursor") != "":
        page = exact(timeline(quote(email), query).text)
        found |= {event["_id"]: event["payload"] for event in page["events"]}
        query["cursor"] = page.get("cursor", "")
    return found


def typed(value: Any) -> Any:
    """Return a value that also differs from another one if only their types do, such as true and 1."""
    if isinstance(value, dict):
        return {name: typed(each) for name, each in value.items()}
    return [typed(each) for each in value] if isinstance(value, list) else (type(value), value)


def confirmation(sent: Any, order_id: str, total: str, amounts: Any = None) -> dict[str, Any]:
    return {"confirmation": sent | {"orderId": sent[order_id], "total": (amounts or sent)[total]}}


@pytest.mark.parametrize(("email", "events", "counted", "warned"), [
    (SHOPIFY["email"], [confirmation(SHOPIFY, "id", "total_price"), {"update": SHOPIFY["customer"]}], "119.8",
     ["comma_in_tags"]),
    (WOOCOMMERCE["billing"]["email"], [confirmation(WOOCOMMERCE, "id", "total")], "29.35", []),
    (ANA["email"], [confirmation(PRESTASHOP, "reference", "total_paid")], "20.904", []),
    (TRAITS["email"], [confirmation(COMPLETED, "order_id", "total"), {"update": TRAITS},
                       {"generic": SEGMENT["track"] | {"event_name": SEGMENT["track"]["event"]}}], "27.5", []),
    (ANA["email"], [confirmation(PURCHASE, "transaction_id", "value"), {"event": GA4 | {"event_name": "purchase"}}],
     "30.03", []),
    (PROFILE["email"], [confirmation(KLAVIYO["properties"], "OrderId", "value", KLAVIYO), {"update": PROFILE},
                        {"generic": KLAVIYO | {"event_name": "Placed Order"}}], "29.98", []),
], ids=["shopify", "woocommerce", "prestashop", "segment", "ga4", "klaviyo"])  # fmt: skip
def test_a_payload_is_stored_value_for_value_and_counted(
    email: str, events: list[Any], counted: str, warned: list[str], demo: Account
) -> None:
    results = send(*({"user": {"email": email}, "event": event} for event in events))
    assert [result["status"] for result in results] == ["created"] * len(events)
    assert [warning["code"] for result in results for warning in result["warnings"]] == warned
    sent = {f"e-{number}": payload for number, event in enumerate(events) for payload in event.values()}
    assert typed(payloads(email)) == typed(sent)
    profile = exact(user("GET", quote(email)).text)
    assert (profile["numberOfPurchases"], profile["totalPurchasesValue"]) == (1, Decimal(counted))
    for attributes in (event["update"] for event in events if "update" in event):
        kept = {name: value for name, value in attributes.items() if name not in ("email", "tags")}
        assert typed({name: profile[name] for name in kept}) == typed(kept)


def test_what_must_be_changed_is_named_with_its_field(demo: Account) -> None:
    digits_of_php = Decimal("0.1000000000000000055511151231257827021181583404541015625")
    order = {"orderId": "A-1", "total": 1}
    wrong: list[tuple[dict[str, Any], str, str]] = [
        ({"event": {"confirmation": SHOPIFY}}, "event.confirmation.orderId", "Add orderId to event.confirmation"),
        ({"event": {"confirmation": COMPLETED}}, "event.confirmation.orderId", "did you mean orderId?"),
        ({"event": {"confirmation": KLAVIYO["properties"]}}, "event.confirmation.orderId", "It has OrderId;"),
        ({"event": {"confirmation": {"generic": {"OrderId": 1}}}}, "event.confirmation.orderId", "It has generic.O"),
        ({"event": {"Order Completed": COMPLETED}}, "event.Order Completed", "For your own events use generic."),
        ({"event": SEGMENT["track"]}, "event", "exactly one key"),
        ({"event": SEGMENT["track"]["event"]}, "event", "Send event as an object"),
        ({"event": {"confirmation": order | {"tax": digits_of_php}}}, "event.confirmation.tax", "Round it"),
        ({"event": {"confirmation": order | {"meta": [{"": 1}]}}}, "event.confirmation.meta.0", "Rename it"),
        ({"event": {"confirmation": order | {"note": "\ud83d"}}}, "event.confirmation.note", "whole characters"),
        ({"user": {"email": ""}}, "user.email", "Send the address alone"),
        ({"user": {"userId": "97980cfea0067"}}, "user", "email or _id"),
        ({"user": {"$email": PROFILE["email"]}}, "user", "It has $email; did you mean email?"),
        ({"user": ANA | {"tel": 15005550006}}, "user.tel", "tel must be a string."),
        ({"eventTime": PRESTASHOP["date_add"]}, "eventTime", "There is no T between date and time."),
        ({"eventTime": GA4["timestamp_micros"]}, "eventTime", "This is a Unix time."),
    ]
    results = send(*({"user": ANA, "event": {"confirmation": order}} | changes for changes, _, _ in wrong))
    for number, (result, (_, field, text)) in enumerate(zip(results, wrong, strict=True)):
        [error] = result["errors"]
        assert error["field"] == f"events.{number}.{field}"
        assert text in error["description"] + error.get("hint", "")
