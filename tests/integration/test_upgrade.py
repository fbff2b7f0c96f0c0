"""Upgrade and back: a table that 1.0 wrote, under this version, and then under 1.0 again.

The table is recorded (tests/table_of_1_0.py); both versions run as processes (tests/releases.py).
"""

import json
from datetime import timedelta
from typing import Any

import pytest

from api.gateway import Answer
from domain.ids import derived_id, new_id
from domain.times import iso
from engines import aws_engine_only
from releases import VERSION_1_0, Release, Releases, entry, ok, results
from stored import as_text, everything, put_many
from table.calls import Table
from table_of_1_0 import ANA, BO, FILE, FIRST_OPEN, KEYED, MORNING, NOON, ORDER, PLAIN

RECORDED: dict[str, Any] = json.loads(FILE.read_text())
ANSWERS, IDS, KEYS = RECORDED["answers"], RECORDED["ids"], RECORDED["keys"]
OPEN: dict[str, Any] = {"emailopen": {}}
OPEN_SEEN = "This user already has an email open within 20 minutes of this one"
WORDED_ANEW = {"results": {"message": "Event discarded", "email": OPEN_SEEN}}
pytestmark = [pytest.mark.long, aws_engine_only]  # it starts processes
MINUTE, SECOND, MILLISECOND = timedelta(minutes=1), timedelta(seconds=1), timedelta(milliseconds=1)
UPSERT = {"queryStringParameters": {"upsert": "true"}}


@pytest.fixture
def both(table: Table, releases: Releases) -> tuple[Release, Release]:
    """1.0 and this version, over what 1.0 had stored."""
    put_many(table, RECORDED["items"])
    return releases.of(table, VERSION_1_0)


# --- What 1.0 wrote, under this version -----------------------------------------------------------


def test_this_version_shows_the_users_events_and_keys_of_1_0_as_1_0_did(old: Release, new: Release) -> None:
    for identifier in (ANA, BO, IDS["nobody"]):
        assert ok(new.user(identifier, NOON)) == ok(old.user(identifier, NOON))
        assert new.events(identifier, NOON) == old.events(identifier, NOON) != []
    assert old.user(IDS["cleo"], NOON).status == new.user(IDS["cleo"], NOON).status == 404
    assert ok(new.user(ANA, NOON)) == ANSWERS[ANA]["body"]
    by_new, by_old = new.key_function("list", NOON)["keys"], ANSWERS["list of keys"]["body"]["keys"]
    assert [{**key, "scopes": None} for key in by_new] == [{**key, "scopes": None} for key in by_old]
    allowed = {name: new.is_allowed(key, NOON) for name, key in KEYS.items()}
    assert allowed == {"good": True, "expired": False, "revoked": False}
    ok(new.send({"search": {"query": "newer"}}, NOON))
    page = ok(new.page(ANA, NOON, limit="4", cursor=ANSWERS["first page"]["body"]["cursor"]))
    assert page == ANSWERS["second page"]["body"]


def test_a_repeat_under_a_key_of_1_0_gets_its_answer_and_stores_nothing(new: Release, table: Table) -> None:
    before = everything(table)
    for name, asked in KEYED.items():
        repeat, first = new.send(**asked, at=NOON, key=name), ANSWERS[name]
        assert ok(repeat) == (WORDED_ANEW if "20 minutes" in str(first["body"]) else first["body"])
        assert repeat.headers.items() >= (first["headers"] | {"Idempotent-Replayed": "true"}).items()
        assert new.send({"search": {"query": "other"}}, NOON, key=name).status == 422
    assert [item for item in everything(table) if "#REFUSALS" not in item["pk"]["S"]] == before


def test_an_order_of_1_0_keeps_its_later_ones_out_and_is_named_as_the_first(new: Release) -> None:
    before = ok(new.user(ANA, NOON))
    answer = new.send(ORDER, NOON, user={"email": BO})
    assert answer.headers["X-Event-Status"] == "discarded"
    [confirmation] = ok(new.page(ANA, NOON, type="confirmation"))["events"]
    assert answer.body["first"] == {"eventId": confirmation["_id"], "createdOn": confirmation["createdOn"]}
    [of_batch] = ok(new.call("POST", "/events", {"events": [entry(ORDER, NOON, "again")]}, at=NOON))["results"]
    assert (of_batch["code"], of_batch["first"]) == ("order_id_seen", answer.body["first"])
    assert ok(new.user(ANA, NOON)) == before
    assert "isCustomer" not in ok(new.user(BO, NOON))


def test_a_window_of_1_0_holds_to_its_end_and_for_opens_of_an_earlier_time(new: Release) -> None:
    [first] = ok(new.page(ANA, NOON, type="emailopen"))["events"]
    inside = new.send(OPEN, FIRST_OPEN + 20 * MINUTE - MILLISECOND)
    assert ok(inside)["first"] == {"eventId": first["_id"], "createdOn": iso(FIRST_OPEN)}
    within = [entry(OPEN, FIRST_OPEN - ago) for ago in (20 * MINUTE - MILLISECOND, MINUTE, -MINUTE)]
    assert results(new.call("POST", "/events", {"events": within}, at=NOON)) == ["discarded"] * 3
    before, after = entry(OPEN, FIRST_OPEN - 20 * MINUTE, "before"), entry(OPEN, FIRST_OPEN + 20 * MINUTE, "after")
    assert results(new.call("POST", "/events", {"events": [before, after]}, at=NOON)) == ["created"] * 2
    assert ok(new.user(ANA, NOON))["lastEmailOpenDate"] == iso(FIRST_OPEN + 20 * MINUTE)


def test_the_first_changes_of_a_profile_of_1_0_add_to_what_is_there(new: Release) -> None:
    before = ANSWERS[ANA]["body"]
    ok(new.send({"update": {"color": "red", "tags": ["loud", "-vip"]}}, NOON))
    ok(new.send({"confirmation": {"orderId": "B-2", "total": 40.1}}, NOON))
    ok(new.user(ANA, NOON, "PUT", {"score": 13}))
    bought = {"numberOfPurchases": 2, "totalPurchasesValue": 100, "lastPurchaseValue": 40.1}
    changed = {"color": "red", "tags": ["loud", "new"], "score": 13, "lastPurchaseDate": iso(NOON)}
    assert ok(new.user(ANA, NOON)) == before | bought | changed


def test_a_late_event_leaves_what_a_profile_of_1_0_has(new: Release) -> None:
    """For a profile that 1.0 changed, the API knows only that no attribute is older than the user."""
    for name in ("before a change by this version", "after it"):
        before = ok(new.user(ANA, NOON))
        late = new.send({"update": {"firstname": "old", name: 38}}, NOON, eventTime=iso(MORNING - 10 * MINUTE))
        assert [warning["field"] for warning in ok(late)["warnings"]] == ["event.update.firstname"]
        assert ok(new.user(ANA, NOON)) == before | {name: 38}
        ok(new.send({"update": {"color": "red"}}, NOON))


def test_an_erasure_that_1_0_began_ends_and_its_id_never_comes_back(new: Release, table: Table) -> None:
    cleo = IDS["cleo"]
    assert cleo in as_text(table)
    assert new.user(cleo, NOON).status == 404
    assert new.user(cleo, NOON, "PUT", {"color": "red"}, **UPSERT).headers["X-Error-Code"] == "user_erased"
    assert new.erase_leftovers(NOON) == 0
    assert new.user(cleo, NOON, "PUT", {"color": "red"}, **UPSERT).headers["X-Error-Code"] == "user_erased"
    assert cleo not in as_text(table)
    ok(new.call("POST", "/user", {"email": "cleo@example.com"}, at=NOON))


# --- And under 1.0 again --------------------------------------------------------------------------

AFTERNOON = NOON + timedelta(hours=2)
EVE = "eve@example.com"
OWN_ID = "caller-1"
CHANGED = ("last", "total", "number", "city", "tags")  # by orders, opens and updates


@pytest.fixture
def written_on(new: Release) -> dict[str, Answer]:
    """This version writes on the table of 1.0 what only it can write; what it answered under keys."""
    ok(new.call("POST", "/user", {"email": EVE, "tags": ["new"]}, at=NOON))
    ok(new.user(new_id(NOON), NOON, "PUT", {"color": "red"}, **UPSERT))
    batch = [
        entry({"search": {"query": "own id"}}, NOON - timedelta(days=1), OWN_ID),
        entry({"update": {"color": "blue", "size": "M"}}, NOON - timedelta(days=1), "change", email=EVE),
        entry({"confirmation": {"orderId": "E-1", "total": 10}}, NOON - timedelta(days=2), "order-1", email=EVE),
        entry(OPEN, FIRST_OPEN - timedelta(hours=1), "open-0"),
        entry(OPEN, FIRST_OPEN + 30 * MINUTE, "open-2"),
        entry(OPEN, NOON, email=EVE),
    ]
    assert results(new.call("POST", "/events", {"events": batch}, at=NOON)) == ["created"] * 6
    ancient = [entry({"search": {"query": "imported"}}, NOON - timedelta(days=900), "ancient")]
    assert results(new.call("POST", "/events", {"events": ancient, "import": True}, at=NOON)) == ["created"]
    ok(new.user(ANA, NOON, "PUT", {"score": 14}))
    removed = {"pathParameters": {"id": ANA, "name": "note"}}
    ok(new.call("DELETE", "/user/{id}/attributes/{name}", at=NOON, **removed))
    assert new.send({"nonsense": {}}, NOON).status == 400
    answers = {name: new.send(**asked, at=NOON, key=f"new {name}") for name, asked in KEYED_BY_NEW.items()}
    assert {answer.status for answer in answers.values()} == {200}
    return answers


KEYED_BY_NEW: dict[str, dict[str, Any]] = {
    "created": {"event": {"search": {"query": "keyed"}}},
    "with an id": {"event": {"search": {"query": "keyed"}}, "eventId": "mine", "eventTime": iso(NOON - MINUTE)},
    "order seen": {"event": ORDER},
    "order seen, with an id": {"event": ORDER, "eventId": "order-again", "eventTime": iso(NOON - MINUTE)},
    "order of an id seen": {"event": {"confirmation": {"orderId": "E-1"}}, "user": {"email": EVE}},
    "open in window": {"event": OPEN, "user": {"email": EVE}},
    "a bot": KEYED["bot"],
}


def shown(release: Release, identifier: str) -> tuple[Any, list[tuple[Any, ...]]]:
    events = release.events(identifier, AFTERNOON)
    return ok(release.user(identifier, AFTERNOON)), [(e["createdOn"], e["type"], e["payload"]) for e in events]


@pytest.mark.usefixtures("written_on")
def test_1_0_shows_what_this_version_wrote_under_the_ids_that_it_knows(old: Release, new: Release) -> None:
    for identifier in (ANA, BO, EVE, IDS["nobody"]):
        assert shown(old, identifier) == shown(new, identifier)
    ana = ok(new.user(ANA, AFTERNOON))["_id"]
    uuid = derived_id(NOON - timedelta(days=1), ana, OWN_ID)  # 1.0 knows no ids but those in the key
    assert uuid in [event["_id"] for event in old.events(ANA, AFTERNOON)]
    assert OWN_ID in [event["_id"] for event in new.events(ANA, AFTERNOON)]


def test_1_0_knows_the_keys_of_this_version(old: Release, table: Table, written_on: dict[str, Answer]) -> None:
    before = everything(table)
    for name, asked in KEYED_BY_NEW.items():
        first, repeat = written_on[name], old.send(**asked, at=AFTERNOON, key=f"new {name}")
        ok(repeat)
        assert repeat.headers["Idempotent-Replayed"] == "true"
        told = ("X-Event-Status", "X-User-Id")
        assert [repeat.headers[header] for header in told] == [first.headers[header] for header in told]
        assert repeat.body["results"]["message"] == first.body["results"]["message"]
    assert everything(table) == before


@pytest.mark.usefixtures("written_on")
def test_1_0_discards_what_an_order_or_open_of_this_version_discards(old: Release) -> None:
    for order_id in ("A-1001", "E-1"):
        order = old.send({"confirmation": {"orderId": order_id, "total": 1}}, AFTERNOON)
        assert order.headers["X-Event-Status"] == "discarded"
    for minutes, status in ((20 * MINUTE - MILLISECOND, "discarded"), (20 * MINUTE, "created")):
        answer = old.send(OPEN, NOON + minutes, user={"email": EVE})
        assert answer.headers["X-Event-Status"] == status
    assert ok(old.user(EVE, AFTERNOON))["lastEmailOpenDate"] == iso(NOON + 20 * MINUTE)


@pytest.mark.usefixtures("written_on")
def test_1_0_writes_on_and_neither_version_loses_anything(old: Release, new: Release) -> None:
    users = (ANA, BO, EVE)
    before = {email: shown(new, email) for email in users}
    more = [*PLAIN, {"update": {"city": "Faro", "tags": ["back"]}}, {"login": {"seen": True}}, OPEN]
    for email in users:
        order = {"confirmation": {"orderId": f"back {email}", "total": 1}}
        for place, event in enumerate([*more, order]):
            ok(old.send(event, AFTERNOON + place * SECOND, user={"email": email}, key=f"{email} {place}"))
    ok(old.user(EVE, AFTERNOON, "PUT", {"hat": "tall"}))
    for email in users:
        profile, events = shown(new, email)
        profile_before, events_before = before[email]
        assert events[-len(events_before) :] == events_before
        assert len(events) == len(events_before) + len(more) + 1
        assert profile["numberOfPurchases"] == profile_before.get("numberOfPurchases", 0) + 1
        assert {*profile_before.get("tags", ()), "back"} == {*profile["tags"]}
        kept = {
            n: v for n, v in profile_before.items() if not n.startswith(("last", "total", "number", "city", "tags"))
        }
        assert profile.items() >= kept.items()
    ok(new.send({"update": {"color": "green", "tags": ["-back"]}}, AFTERNOON + MINUTE))
    assert ok(new.user(ANA, AFTERNOON))["color"] == "green"
