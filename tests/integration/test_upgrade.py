"""Upgrade and back: a table on which 1.0 or 1.1 wrote, then this version, and then the old version again.

Both versions run as processes (tests/releases.py). This version's functions keep events for 40 days, so an event of the
old version next to theirs shows which one ends.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from api.gateway import Answer
from domain.ids import derived_id
from domain.times import iso
from engines import aws_engine_only
from faults import at_each_call
from releases import VERSION_1_0, VERSION_1_1, Release, Releases, entry, ok
from stored import as_text, everything
from table.calls import Table
from table.erasures import pending
from use_cases.erasure import erase_leftovers

pytestmark = [pytest.mark.long, aws_engine_only]  # it starts processes
ANA, BO, CLEO, DORA, EVE, NEW_BO = (f"{name}@example.com" for name in ("ana", "bo", "cleo", "dora", "eve", "new-bo"))
MORNING = datetime(2026, 11, 24, 8, tzinfo=UTC)
MILLISECOND, SECOND, MINUTE = timedelta(milliseconds=1), timedelta(seconds=1), timedelta(minutes=1)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
FIRST_OPEN, NOON, EVENING = MORNING + 10 * MINUTE, MORNING + 4 * HOUR, MORNING + 12 * HOUR
UPSERT = {"queryStringParameters": {"upsert": "true"}}
OPEN: dict[str, Any] = {"emailopen": {}}
ORDER: dict[str, Any] = {"confirmation": {"orderId": "A-1", "generic": {"total": "59.90", "currency": "EUR"}}}
OTHER_ORDER: dict[str, Any] = {"confirmation": {"orderId": "A-1", "total": 1}}
SEARCH: dict[str, Any] = {"search": {"query": "x"}}
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
    "order seen": {"event": OTHER_ORDER},
    "open in window": {"event": {"emailopen": {"campaign": "autumn"}}},
    "bot": {"event": SEARCH, "user": {"email": ANA, "userAgent": "Googlebot/2.1"}},
}
KEYED_SINCE_1_1: dict[str, dict[str, Any]] = {
    "with an id": {"event": SEARCH, "eventId": "keyed-1", "eventTime": iso(MORNING)},
    "order seen, with an id": {"event": ORDER, "eventId": "order-again", "eventTime": iso(MORNING)},
}
BATCH_OF_1_1 = [  # for an import, with what a repeat of it is
    (entry(SEARCH, NOON - DAY, "search-1"), "duplicate"),
    (entry({"update": {"isCustomer": True, "tags": ["own"]}}, NOON - MINUTE, "update-1"), "duplicate"),
    (entry({"confirmation": {"orderId": "A-0"}}, NOON - 2 * DAY, "order-1"), "duplicate"),
    (entry(OTHER_ORDER, NOON, "order-2"), "discarded"),
    (entry(OPEN, NOON - DAY, "open-1"), "duplicate"),
    (entry(OPEN, NOON - DAY + MINUTE, "open-2"), "discarded"),
]


@pytest.fixture(params=[VERSION_1_0, VERSION_1_1], ids=["1.0", "1.1"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def both(version: str, table: Table, releases: Releases) -> tuple[Release, Release]:
    """Return the old version and this one, over what the old one has stored."""
    old, new = releases.of(table, version, EVENT_RETENTION_DAYS="40")
    user = {"firstname": "Ana", "note": None, "score": 12.5, "address": {"city": "Porto"}, "sizes": [38, "M"]}
    ok(old.call("POST", "/user", {"email": ANA, "tags": ["new", "trial"], **user}, at=MORNING))
    for email in (BO, CLEO, DORA):
        ok(old.call("POST", "/user", {"email": email}, at=MORNING))
    changes: dict[str, Any] = {"firstname": "Anna", "vip": True, "tags": ["vip", "-trial"]}
    for number, event in enumerate([ORDER, *PLAIN, {"update": changes}, {"login": {"seen": 1}}]):
        ok(old.send(event, MORNING + number * SECOND))
    ok(old.send(OPEN, FIRST_OPEN))
    for email in (CLEO, DORA):
        ok(old.send({"search": {"query": "Lovelace"}}, MORNING, user={"email": email}, key=email))
    return old, new


@pytest.fixture
def old(both: tuple[Release, Release]) -> Release:
    return both[0]


@pytest.fixture
def new(both: tuple[Release, Release]) -> Release:
    return both[1]


def send_keyed(release: Release, asked: dict[str, dict[str, Any]], at: datetime) -> dict[str, Answer]:
    return {name: release.send(**each, at=at, key=name) for name, each in asked.items()}


def batch(release: Release, *events: dict[str, Any], at: datetime = EVENING) -> list[dict[str, Any]]:
    """Return the results of an import, without the texts that were worded anew."""
    answer = release.call("POST", "/events", {"events": events, "import": True}, at=at)
    return [{name: each[name] for name in each.keys() - {"message", "warnings"}} for each in answer.body["results"]]


def statuses(results: list[dict[str, Any]]) -> list[str]:
    return [each["status"] for each in results]


def shown(release: Release, identifier: str, at: datetime = EVENING) -> tuple[Any, list[dict[str, Any]]]:
    """Return the user, and the events without the warnings, which the old versions do not show."""
    events = release.events(identifier, at)
    return ok(release.user(identifier, at)), [{name: e[name] for name in e.keys() - {"warnings"}} for e in events]


def receipt(release: Release, user_id: str, at: datetime = EVENING) -> Any:
    return ok(release.call("GET", "/erasures/{id}", at=at, pathParameters={"id": user_id}))


def status_of(answer: Answer) -> str:
    return answer.headers["X-Event-Status"]


# --- What the old version wrote, under this one ---------------------------------------------------


def test_all_is_shown_as_by_the_old_version_and_repeats_get_its_answers(
    old: Release, new: Release, table: Table, version: str
) -> None:
    asked = KEYED | (KEYED_SINCE_1_1 if version == VERSION_1_1 else {})
    answers = send_keyed(old, asked, FIRST_OPEN + MINUTE)
    repeated = [each for each, _ in BATCH_OF_1_1 if version == VERSION_1_1]
    if repeated:
        assert set(statuses(batch(old, *repeated, at=NOON))) == {"created", "discarded"}
        assert batch(new, *repeated) == batch(old, *repeated)
        assert statuses(batch(new, *repeated)) == [status for _, status in BATCH_OF_1_1]
    before = everything(table)
    for name, first in answers.items():
        repeat = new.send(**asked[name], at=EVENING, key=name)
        told = {name: value for name, value in first.headers.items() if name != "X-Request-Id"}
        assert repeat.headers.items() >= (told | {"Idempotent-Replayed": "true"}).items()
        assert "open" in name or ok(repeat) == old.send(**asked[name], at=EVENING, key=name).body
        assert new.send({"search": {"query": "other"}}, EVENING, key=name).status == 422
    assert [item for item in everything(table) if "#REFUSALS" not in item["pk"]["S"]] == before
    first_page = ok(old.page(ANA, EVENING, limit="4"))
    second_page = ok(old.page(ANA, EVENING, limit="4", cursor=first_page["cursor"]))
    for identifier in (ANA, BO):
        assert shown(new, identifier) == shown(old, identifier)
    ok(new.send({"search": {"query": "newer"}}, EVENING))
    page = ok(new.page(ANA, EVENING, limit="4", cursor=first_page["cursor"]))
    assert page == second_page
    assert len(page["events"]) == 4


def test_keys_of_the_old_version_open_what_they_opened(old: Release, new: Release) -> None:
    more: list[dict[str, Any]] = [{}, {"expiresOn": iso(MORNING + HOUR)}, {}]
    keys = [old.key_function("create", MORNING, **each) for each in more]
    old.key_function("revoke", MORNING, keyId=keys[2]["keyId"])
    assert [new.is_allowed(key["apiKey"], NOON) for key in keys] == [True, False, False]
    scopes = {"send", "read", "write", "erase"}
    assert new.scopes_of(keys[0]["apiKey"], NOON) == scopes
    listed = new.key_function("list", NOON)["keys"]
    assert [{*each.pop("scopes")} for each in listed] == [scopes] * 3
    assert listed == old.key_function("list", NOON)["keys"]


def test_orders_and_opens_of_the_old_version_discard_later_ones_and_never_end(old: Release, new: Release) -> None:
    """An event of this version next to them ends."""
    before, kept = shown(old, ANA)
    [order], [first] = (ok(new.page(ANA, NOON, type=each))["events"] for each in ("confirmation", "emailopen"))
    answer = new.send(OTHER_ORDER, NOON, user={"email": BO})
    inside = new.send(OPEN, FIRST_OPEN + 20 * MINUTE - MILLISECOND)
    for each, stored in ((answer, order), (inside, first)):
        assert status_of(each) == "discarded"
        assert ok(each)["first"].items() >= {("eventId", stored["_id"]), ("createdOn", stored["createdOn"])}
    [of_batch] = batch(new, entry(OTHER_ORDER, NOON, "again"))
    assert (of_batch["code"], of_batch["first"]["eventId"]) == ("order_id_seen", order["_id"])
    assert (ok(new.user(ANA, NOON)), "isCustomer" in ok(new.user(BO, NOON))) == (before, False)
    within = [entry(OPEN, FIRST_OPEN + after) for after in (MILLISECOND - 20 * MINUTE, -MINUTE, MINUTE)]
    after = [entry(OPEN, FIRST_OPEN - 20 * MINUTE), entry(OPEN, FIRST_OPEN + 20 * MINUTE), entry(SEARCH, NOON, "ends")]
    assert statuses(batch(new, *within, *after)) == ["discarded"] * 3 + ["created"] * 3
    assert ok(new.user(ANA, NOON))["lastEmailOpenDate"] == iso(FIRST_OPEN + 20 * MINUTE)
    assert new.events(ANA, EVENING + 100 * DAY) == kept


def test_changes_add_to_a_profile_of_the_old_version_and_late_ones_leave_what_it_has(new: Release) -> None:
    """For a profile that 1.0 changed, the API knows only that no attribute is older than the user."""
    before = ok(new.user(ANA, NOON))
    for name in ("before a change by this version", "after it"):
        late = new.send({"update": {"firstname": "old", name: 38}}, NOON, eventTime=iso(MORNING - 10 * MINUTE))
        assert [warning["field"] for warning in ok(late)["warnings"]] == ["event.update.firstname"]
        before |= {name: 38}
        assert ok(new.user(ANA, NOON)) == before
        ok(new.send({"update": {"color": "red", "tags": ["loud", "-vip"]}}, NOON))
        before |= {"color": "red", "tags": ["loud", "new"]}
    ok(new.send({"confirmation": {"orderId": "B-2", "total": 40.1}}, NOON))
    ok(new.user(ANA, NOON, "PUT", {"score": 13}))
    bought = {"numberOfPurchases": 2, "totalPurchasesValue": 100, "lastPurchaseValue": 40.1}
    assert ok(new.user(ANA, NOON)) == before | bought | {"score": 13, "lastPurchaseDate": iso(NOON)}


def test_erasures_of_the_old_version_end_and_have_a_receipt_without_a_count(
    old: Release, new: Release, table: Table, version: str
) -> None:
    """1.0 leaves nothing of an erasure that has ended."""
    ids = {email: ok(old.user(email, NOON))["_id"] for email in (CLEO, DORA)}
    ok(old.user(CLEO, NOON, "DELETE"))
    assert old.erase_leftovers(NOON + 5 * MINUTE) == 0
    ok(old.user(DORA, NOON, "DELETE"))
    assert version == VERSION_1_0 or receipt(new, ids[CLEO])["status"] == "finished"
    assert receipt(new, ids[DORA]) == {"_id": ids[DORA], "status": "in_progress", "requestedOn": iso(NOON)}
    assert new.user(ids[DORA], NOON).status == 404
    assert new.user(ids[DORA], EVENING, "PUT", {}, **UPSERT).headers["X-Error-Code"] == "user_erased"
    assert new.erase_leftovers(EVENING) == 0
    assert receipt(new, ids[DORA])["status"] == "finished"
    assert not [text for text in ("Lovelace", *ids.values()) if text in as_text(table)]
    for user_id in [*ids.values()][version == VERSION_1_0 :]:
        assert "eventsDeleted" not in receipt(new, user_id)
        assert new.user(user_id, EVENING, "PUT", {}, **UPSERT).headers["X-Error-Code"] == "user_erased"
    ok(new.call("POST", "/user", {"email": DORA}, at=EVENING))


# --- And under the old version again --------------------------------------------------------------

REFUNDS = ("numberOfRefunds", "totalRefundsValue", "lastRefundDate")
OWN_ID = "search-2"
NEW_BATCH = [
    entry({"refund": {"refundId": "R-1", "orderId": "A-1", "total": 9}}, NOON + MINUTE, "refund-1"),
    entry({"update": {"city": "Vigo", "tags": ["vip", "!"]}}, NOON + MINUTE, "update-2"),
    entry({"search": {"query": "by this version"}}, NOON + MINUTE, OWN_ID),
    entry({"confirmation": {"orderId": "A-2", "total": "1.00000000001"}}, NOON - 2 * DAY, "order-3"),
    entry(OPEN, NOON - DAY, "open-3"),
    entry(OPEN, NOON, "open-4"),
    entry({"search": {"query": "imported"}}, NOON - 900 * DAY, "ancient"),
    entry({"update": {"color": "blue", "size": "M"}}, NOON - DAY, "update-3", email=EVE),
]
KEYED_BY_NEW = {f"new {name}": each for name, each in {**KEYED, **KEYED_SINCE_1_1}.items()}


@pytest.fixture
def written(old: Release, new: Release) -> dict[str, Answer]:
    """This version writes what only it can write; return what it answered under keys."""
    ok(new.call("POST", "/user", {"email": EVE, "tags": ["new"]}, at=NOON))
    assert set(statuses(batch(new, *NEW_BATCH, at=NOON + HOUR))) == {"created"}
    search = entry(SEARCH, NOON, "search-3", email="new@example.com")
    assert statuses(ok(new.call("POST", "/events", {"events": [search]}, at=NOON, **UPSERT))["results"]) == ["created"]
    ok(new.call("PUT", "/user/{id}/email", {"email": NEW_BO}, at=NOON, pathParameters={"id": BO}))
    ok(new.user(ANA, NOON, "PUT", {"score": 14}))
    ok(new.call("DELETE", "/user/{id}/attributes/{name}", at=NOON, pathParameters={"id": ANA, "name": "note"}))
    assert new.send({"nonsense": {}}, NOON).status == 400
    return send_keyed(new, KEYED_BY_NEW, NOON + MINUTE)


USERS = (ANA, NEW_BO, EVE)


def without_id(event: dict[str, Any]) -> list[Any]:
    return [event[name] for name in ("createdOn", "type", "payload")]


def test_the_old_version_shows_what_this_one_wrote_but_no_refunds_and_repeats_its_answers(
    old: Release, new: Release, table: Table, version: str, written: dict[str, Answer]
) -> None:
    for identifier in USERS:
        profile, events = shown(new, identifier)
        user, by_old = shown(old, identifier)
        assert user == {name: profile[name] for name in profile.keys() - {*REFUNDS}}
        if version == VERSION_1_1:
            assert by_old == events
            continue
        assert [without_id(each) for each in by_old] == [without_id(each) for each in events]
        own = derived_id(NOON + MINUTE, user["_id"], OWN_ID)  # 1.0 knows no ids but those in the key
        assert (own in [each["_id"] for each in by_old]) == (identifier == ANA)
    assert old.user(BO, EVENING).status == 404
    before = everything(table)
    for name, first in written.items():
        repeat = old.send(**KEYED_BY_NEW[name], at=EVENING, key=name)
        assert repeat.headers["Idempotent-Replayed"] == "true"
        told = ("X-Event-Status", "X-User-Id")
        assert [repeat.headers[header] for header in told] == [first.headers[header] for header in told]
        assert ok(repeat)["results"]["message"] == first.body["results"]["message"]
    assert everything(table) == before


@pytest.mark.usefixtures("written")
def test_the_old_version_discards_what_an_order_open_or_repeat_of_this_one_discards(
    old: Release, new: Release, version: str
) -> None:
    """It knows no refunds, ends or scopes."""
    if version == VERSION_1_1:
        refund, *others = batch(old, *NEW_BATCH)
        assert (refund["errors"][0]["code"], set(statuses(others))) == ("unknown_event_type", {"duplicate"})
        ended = NOON + 41 * DAY
        assert [OWN_ID in {each["_id"] for each in it.events(ANA, ended)} for it in (old, new)] == [True, False]
        assert statuses(batch(old, NEW_BATCH[2], at=ended)) == ["duplicate"]
    for order_id in ("A-1", "A-2"):
        assert status_of(old.send({"confirmation": {"orderId": order_id, "total": 1}}, EVENING)) == "discarded"
    for after, status in ((20 * MINUTE - MILLISECOND, "discarded"), (20 * MINUTE, "created")):
        assert status_of(old.send(OPEN, NOON + after)) == status
    assert ok(old.user(ANA, EVENING))["lastEmailOpenDate"] == iso(NOON + 20 * MINUTE)
    key = new.key_function("create", NOON, scopes=["read"])["apiKey"]
    assert (new.scopes_of(key, NOON), old.is_allowed(key, NOON)) == ({"read"}, True)


@pytest.mark.usefixtures("written")
def test_the_old_version_writes_on_and_neither_version_loses_anything(old: Release, new: Release) -> None:
    before = {email: shown(new, email) for email in USERS}
    more = [*PLAIN, {"update": {"city": "Faro", "tags": ["back"]}}, {"login": {"seen": True}}, OPEN]
    for email in USERS:
        order = {"confirmation": {"orderId": f"back {email}", "total": 1}}
        for place, event in enumerate([*more, order]):
            ok(old.send(event, EVENING + place * SECOND, user={"email": email}, key=f"{email} {place}"))
    ok(old.user(EVE, EVENING, "PUT", {"hat": "tall"}))
    for email in USERS:
        (profile, events), (profile_before, events_before) = shown(new, email, EVENING + MINUTE), before[email]
        assert (events[len(more) + 1 :], len(events[: len(more) + 1])) == (events_before, len(more) + 1)
        assert profile["numberOfPurchases"] == profile_before.get("numberOfPurchases", 0) + 1
        assert {*profile_before.get("tags", ()), "back"} == {*profile["tags"]}
        changed = ("lastP", "lastE", "totalP", "numberOfP", "city", "tags", "seen")
        kept = {name: value for name, value in profile_before.items() if not name.startswith(changed)}
        assert profile.items() >= kept.items()
    ok(new.send({"update": {"color": "green", "tags": ["-back"]}}, EVENING + MINUTE))
    assert ok(new.user(ANA, EVENING))["color"] == "green"
    assert set(statuses(batch(new, *NEW_BATCH, at=EVENING + MINUTE))) == {"duplicate"}


@pytest.mark.usefixtures("written")
@pytest.mark.parametrize("begun_by", ["the old version", "this version"])
def test_the_old_version_erases_what_this_one_wrote(
    old: Release, new: Release, table: Table, version: str, begun_by: str
) -> None:
    """The receipt has no count: the old version does not count what it deletes. 1.0 makes no receipts."""
    user_id = ok(new.user(ANA, EVENING))["_id"]
    ok((new if begun_by == "this version" else old).user(ANA, EVENING, "DELETE"))
    assert old.erase_leftovers(EVENING + 5 * MINUTE) == 0
    left = as_text(table)
    assert not [text for text in (ANA, user_id, "refund-1", "order-3", "Vigo") if text in left]
    if version == VERSION_1_1 or begun_by == "this version":
        found = receipt(new, user_id, EVENING + DAY)
        assert ("eventsDeleted" in found, found["status"]) == (False, "finished")


# --- Both at once, during a deployment ------------------------------------------------------------


def test_a_user_to_whom_1_0_gives_an_erased_id_at_any_call_of_the_erasure_keeps_everything(
    table: Table, releases: Releases
) -> None:
    """1.0 ends the erasure and then takes an id for a new one. This version would refuse it."""
    old, new = releases.of(table, VERSION_1_0)

    def erased(name: str) -> str:
        user_id: str = ok(old.call("POST", "/user", {"email": f"{name}@example.com"}, at=MORNING))["object"]["_id"]
        for event in (OPEN, SEARCH, ORDER):
            ok(old.send(event, MORNING, user={"_id": user_id}, key=f"{name} {event}"))
        ok(old.user(user_id, NOON, "DELETE"))
        return user_id

    def created_again(user_id: str) -> list[dict[str, Any]]:
        old.erase_leftovers(EVENING)
        ok(old.user(user_id, EVENING, "PUT", {"city": "Faro"}, **UPSERT))
        assert status_of(old.send(OPEN, EVENING, user={"_id": user_id}, key=user_id)) == "created"
        return old.events(user_id, EVENING)

    runs = at_each_call(table.client, erased, lambda _: erase_leftovers(table, EVENING), created_again)
    for user_id, events, _ in runs:
        assert pending(table) == []
        assert (ok(new.user(user_id, EVENING))["city"], old.events(user_id, EVENING)) == ("Faro", events)
        assert status_of(old.send(OPEN, EVENING, user={"_id": user_id}, key=user_id)) == "created"
        assert status_of(old.send(OPEN, EVENING + MINUTE, user={"_id": user_id})) == "discarded"
