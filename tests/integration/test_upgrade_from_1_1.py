"""Upgrade and back: a table on which 1.1 wrote, then this version, and then 1.1 again.

This version's functions keep events for 40 days, so an event of 1.1 next to theirs shows which one ends.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from domain.times import iso
from engines import aws_engine_only
from releases import VERSION_1_1, Release, Releases, entry, ok, results
from stored import as_text
from table.calls import Table

pytestmark = [pytest.mark.long, aws_engine_only]  # it starts processes
ANA, BO, CLEO, DORA, EVE = (f"{name}@example.com" for name in ("ana", "bo", "cleo", "dora", "eve"))
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
EVENING = NOON + timedelta(hours=8)
UPSERT = {"queryStringParameters": {"upsert": "true"}}
OPEN: dict[str, Any] = {"emailopen": {}}
ORDER: dict[str, Any] = {"confirmation": {"orderId": "A-1", "total": "59.90"}}
OTHER_ORDER: dict[str, Any] = {"confirmation": {"orderId": "A-1", "total": 1}}
REFUND: dict[str, Any] = {"refund": {"refundId": "R-1", "orderId": "A-1", "total": 9}}
BATCH = [
    entry({"search": {"query": "own id"}}, NOON - DAY, "search-1"),
    entry({"update": {"firstname": "Ana", "isCustomer": True, "tags": ["new"]}}, NOON - MINUTE, "update-1"),
    entry(ORDER, NOON - 2 * DAY, "order-1"),
    entry(OTHER_ORDER, NOON, "order-2"),
    entry(OPEN, NOON - DAY, "open-1"),
    entry(OPEN, NOON - DAY + MINUTE, "open-2"),
    entry(OPEN, NOON, "open-3"),
]
CREATED = {"search-1", "update-1", "order-1", "open-1", "open-3"}
REPEATED = ["duplicate", "duplicate", "duplicate", "discarded", "duplicate", "discarded", "duplicate"]
KEYED: dict[str, dict[str, Any]] = {
    "of an event": {"event": {"search": {"query": "keyed"}}},
    "of its id": {"event": {"search": {"query": "x"}}, "eventId": "keyed-1", "eventTime": iso(NOON)},
    "of an order": {"event": OTHER_ORDER},
}


@pytest.fixture
def both(table: Table, releases: Releases) -> tuple[Release, Release]:
    """1.1 and this version, over what 1.1 has stored."""
    old, new = releases.of(table, VERSION_1_1, EVENT_RETENTION_DAYS="40")
    for email in (ANA, CLEO, DORA):
        ok(old.call("POST", "/user", {"email": email}, at=NOON))
    assert results(old.call("POST", "/events", {"events": BATCH}, at=NOON)) == [
        "created" if each["eventId"] in CREATED else "discarded" for each in BATCH
    ]
    for name, asked in KEYED.items():
        ok(old.send(**asked, at=NOON, key=name))
    return old, new


def batch(release: Release, *events: dict[str, Any], at: datetime = EVENING) -> list[dict[str, Any]]:
    """Return the results of an import, without the texts that were worded anew."""
    answer = release.call("POST", "/events", {"events": events, "import": True}, at=at)
    return [{name: each[name] for name in each.keys() - {"message", "warnings"}} for each in ok(answer)["results"]]


def shown(release: Release, identifier: str, at: datetime = EVENING) -> tuple[Any, list[dict[str, Any]]]:
    """Return the user, and the events without the warnings, which 1.1 does not show."""
    events = release.events(identifier, at)
    return ok(release.user(identifier, at)), [{name: e[name] for name in e.keys() - {"warnings"}} for e in events]


# --- What 1.1 wrote, under this version -----------------------------------------------------------


def test_users_and_events_of_1_1_are_shown_as_by_1_1_and_repeats_get_its_responses(old: Release, new: Release) -> None:
    assert shown(new, ANA) == shown(old, ANA)
    by_old, by_new = batch(old, *BATCH), batch(new, *BATCH)
    assert [each["status"] for each in by_new] == REPEATED
    assert by_new == by_old
    for name, asked in KEYED.items():
        answers = [release.send(**asked, at=EVENING, key=name) for release in (old, new)]
        assert ok(answers[1]) == ok(answers[0]), name
        assert answers[1].headers["Idempotent-Replayed"] == "true"
    assert shown(new, ANA) == shown(old, ANA)


def test_a_window_of_1_1_holds_and_an_event_of_1_1_never_ends(new: Release) -> None:
    """Its neighbour that this version stored ends."""
    inside = [entry(OPEN, NOON + minutes * MINUTE) for minutes in (-19, 19)]
    assert {each["first"]["eventId"] for each in batch(new, *inside)} == {"open-3"}
    after, plain = entry(OPEN, NOON + 20 * MINUTE), entry({"search": {"query": "ends"}}, NOON, "search-2")
    answers = batch(new, after, *inside, plain)
    assert [each["status"] for each in answers] == ["created", "discarded", "discarded", "created"]
    later = NOON + 100 * DAY
    ids = {each["_id"] for each in new.events(ANA, later)}
    assert ids >= CREATED
    assert "search-2" not in ids
    assert [each["status"] for each in batch(new, *BATCH, at=later)] == REPEATED


def test_a_key_of_1_1_has_all_scopes(old: Release, new: Release) -> None:
    key = old.key_function("create", NOON)["apiKey"]
    assert new.is_allowed(key, NOON)
    assert new.scopes_of(key, NOON) == {"send", "read", "write", "erase"}
    assert [each["scopes"] for each in new.key_function("list", NOON)["keys"]] == [["send", "read", "write", "erase"]]


def test_erasures_of_1_1_end_and_have_a_receipt_without_a_count(old: Release, new: Release, table: Table) -> None:
    ids = {email: ok(old.user(email, NOON))["_id"] for email in (CLEO, DORA)}
    for email in (CLEO, DORA):
        ok(old.send({"search": {"query": "Lovelace"}}, NOON, user={"email": email}))
    ok(old.user(CLEO, NOON, "DELETE"))
    assert old.erase_leftovers(NOON + 5 * MINUTE) == 0
    ok(old.user(DORA, NOON, "DELETE"))
    assert receipt(new, ids[CLEO])["status"] == "finished"
    assert receipt(new, ids[DORA]) == {"_id": ids[DORA], "status": "in_progress", "requestedOn": iso(NOON)}
    assert new.erase_leftovers(EVENING) == 0
    assert receipt(new, ids[DORA])["status"] == "finished"
    assert not [text for text in ("Lovelace", *ids.values()) if text in as_text(table)]
    for user_id in ids.values():
        assert "eventsDeleted" not in receipt(new, user_id)
        assert new.user(user_id, EVENING, "PUT", {}, **UPSERT).headers["X-Error-Code"] == "user_erased"


def receipt(release: Release, user_id: str, at: datetime = EVENING) -> Any:
    return ok(release.call("GET", "/erasures/{id}", at=at, pathParameters={"id": user_id}))


# --- And under 1.1 again --------------------------------------------------------------------------

NEW_BATCH = [
    entry(REFUND, NOON + MINUTE, "refund-1"),
    entry({"update": {"city": "Vigo", "tags": ["vip", "!"]}}, NOON + MINUTE, "update-2"),
    entry({"search": {"query": "by 1.2"}}, NOON + MINUTE, "search-2"),
    entry({"confirmation": {"orderId": "A-2", "total": "1.00000000001"}}, NOON + MINUTE, "order-3"),
    entry(OPEN, NOON + 60 * MINUTE, "open-4"),
]
REFUNDS = ("numberOfRefunds", "totalRefundsValue", "lastRefundDate")


@pytest.fixture
def back(old: Release, new: Release) -> Release:
    """1.1, after this version has written what only it can write."""
    assert {each["status"] for each in batch(new, *NEW_BATCH)} == {"created"}
    search = entry({"search": {"query": "new"}}, NOON, "search-3", email=EVE)
    assert results(new.call("POST", "/events", {"events": [search]}, at=NOON, **UPSERT)) == ["created"]
    ok(new.call("PUT", "/user/{id}/email", {"email": BO}, at=NOON, pathParameters={"id": EVE}))
    return old


def test_1_1_shows_what_this_version_wrote_but_for_the_counters_of_refunds(back: Release, new: Release) -> None:
    for identifier in (ANA, BO):
        profile, events = shown(new, identifier)
        assert shown(back, identifier) == ({n: profile[n] for n in profile.keys() - {*REFUNDS}}, events)
    assert back.user(EVE, EVENING).status == 404


def test_1_1_knows_the_repeats_of_this_version_but_no_refund_end_or_scope(back: Release, new: Release) -> None:
    answer = back.call("POST", "/events", {"events": NEW_BATCH}, at=EVENING)
    refund, *others = answer.body["results"]
    assert refund["errors"][0]["code"] == "unknown_event_type"
    assert {each["status"] for each in others} == {"duplicate"}
    order = back.send({"confirmation": {"orderId": "A-2"}}, EVENING)
    assert order.headers["X-Event-Status"] == "discarded"
    for minutes, status in ((79, "discarded"), (80, "created")):
        assert back.send(OPEN, NOON + minutes * MINUTE).headers["X-Event-Status"] == status
    # 1.1 knows nothing of ends and scopes.
    ended = NOON + 41 * DAY
    assert ["search-2" in {each["_id"] for each in it.events(ANA, ended)} for it in (back, new)] == [True, False]
    assert batch(back, NEW_BATCH[2], at=ended)[0]["status"] == "duplicate"
    key = new.key_function("create", NOON, scopes=["read"])["apiKey"]
    assert new.scopes_of(key, NOON) == {"read"}
    assert back.is_allowed(key, NOON)


def test_1_1_writes_on_and_this_version_goes_on_with_both(back: Release, new: Release) -> None:
    before, events = shown(new, ANA)
    more = [ORDER | {"confirmation": {"orderId": "A-3", "total": 1}}, {"update": {"city": "Faro"}}, OPEN]
    for event in more:
        ok(back.send(event, EVENING))
    profile, now = shown(new, ANA)
    assert now[-len(events) :] == events
    assert len(now) == len(events) + len(more)
    assert {name: profile[name] for name in REFUNDS} == {name: before[name] for name in REFUNDS}
    assert (profile["city"], profile["numberOfPurchases"]) == ("Faro", before["numberOfPurchases"] + 1)
    assert [each["status"] for each in batch(new, *NEW_BATCH)] == ["duplicate"] * len(NEW_BATCH)


@pytest.mark.parametrize("begun_by", ["1.1", "this version"])
def test_1_1_erases_what_this_version_wrote(back: Release, new: Release, table: Table, begun_by: str) -> None:
    """The receipt has no count: 1.1 does not count what it deletes."""
    user_id = ok(new.user(ANA, EVENING))["_id"]
    ok((new if begun_by == "this version" else back).user(ANA, EVENING, "DELETE"))
    assert back.erase_leftovers(EVENING + 5 * MINUTE) == 0
    left = as_text(table)
    assert not [text for text in (ANA, user_id, "refund-1", "order-3", "Vigo") if text in left]
    assert "eventsDeleted" not in receipt(new, user_id, EVENING + DAY)
    assert receipt(new, user_id, EVENING + DAY)["status"] == "finished"
