"""Contract section 13: an event ends at its stored time, whether or not TTL has deleted it."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from api import gateway
from api.gateway import answer_to, proxy_event
from builders import ANA, a_moment, a_user, an_entry, send, send_batch, the_pages, the_profile
from domain.outcomes import Outcome
from domain.profile import Profile
from domain.times import iso
from handlers import rest
from stored import as_text, everything
from table import Account
from table.calls import Table
from use_cases import users
from use_cases.erasure import IN_FLIGHT, erase_leftovers

pytestmark = pytest.mark.usefixtures("ana")
DAYS = timedelta(days=40)
A_MOMENT = timedelta(milliseconds=1)
SEARCH: dict[str, Any] = {"search": {"query": "x"}}
ORDER: dict[str, Any] = {"confirmation": {"orderId": "A-1", "total": 1}}


@pytest.fixture
def account(account: Account) -> Account:
    return account._replace(event_days=DAYS.days)


@pytest.fixture
def ana(account: Account) -> Profile:
    return a_user(account)


@pytest.fixture
def now() -> datetime:
    """A whole second, because TTL counts in seconds."""
    return a_moment().replace(microsecond=0)


def ttl_runs(account: Account, now: datetime) -> None:
    """Delete all that has ended, as TTL may."""
    for item in everything(account.table):
        if "expiresAt" in item and int(item["expiresAt"]["N"]) <= now.timestamp():
            key: Any = {"pk": item["pk"], "sk": item["sk"]}
            account.table.client.delete_item(TableName=account.table.name, Key=key)


def sent(account: Account, entry: Any, now: datetime) -> Outcome:
    [outcome] = send_batch(account, [entry], now, imported=True)
    assert isinstance(outcome, Outcome), outcome
    return outcome


def timeline(account: Account, now: datetime, **query: str) -> list[str]:
    """Return the ids of all pages; only the last page may have fewer events than its limit."""
    pages = list(the_pages(account, ANA, now, **query))
    assert {len(page) for page in pages[:-1]} <= {int(query.get("limit", 50))}
    return [event.id for page in pages for event in page]


EVENTS = {"a put": SEARCH, "a transaction": {"update": {"city": "Vigo"}}, "an email open": {"emailopen": {}}}


@pytest.mark.parametrize("kind", EVENTS)
@pytest.mark.parametrize("ttl", [False, True], ids=["still there", "deleted"])
def test_an_event_can_be_stored_again_from_its_end_on(account: Account, now: datetime, kind: str, ttl: bool) -> None:
    entry = an_entry(EVENTS[kind], eventId="mine", eventTime=now)
    assert sent(account, entry, now).status == "created"
    last = now + DAYS - A_MOMENT
    assert (timeline(account, last), sent(account, entry, last).status) == (["mine"], "duplicate")
    if ttl:
        ttl_runs(account, now + DAYS)
    assert timeline(account, now + DAYS) == []
    assert sent(account, entry, now + DAYS).status == "created"
    assert timeline(account, now + DAYS) == ["mine"]


def test_an_event_ends_by_its_time_or_by_that_of_its_arrival_if_it_is_later(account: Account, now: datetime) -> None:
    imported, ahead = now - timedelta(days=900), now + timedelta(minutes=4)
    for event_id, moment in (("imported", imported), ("ahead", ahead)):
        sent(account, an_entry(SEARCH, eventId=event_id, eventTime=moment), now)
    assert timeline(account, now + DAYS - A_MOMENT) == ["ahead", "imported"]
    assert timeline(account, now + DAYS) == timeline(account, ahead + DAYS - A_MOMENT) == ["ahead"]
    assert timeline(account, ahead + DAYS) == []


def test_another_limit_is_for_the_events_that_are_stored_from_then_on(account: Account, now: datetime) -> None:
    unlimited = account._replace(event_days=0)
    for each in (account, unlimited, account._replace(event_days=50)):
        sent(each, an_entry(SEARCH, eventId=f"for-{each.event_days}", eventTime=now), now)
    for each in (account, unlimited):
        assert set(timeline(each, now + DAYS)) == {"for-0", "for-50"}
        assert timeline(each, now + 2 * DAYS) == ["for-0"]


def test_what_an_event_caused_outlives_it(account: Account, now: datetime) -> None:
    refund: dict[str, Any] = {"refund": {"refundId": "R-1", "orderId": "A-1", "total": 1}}
    entries = [an_entry(event, eventTime=now, eventId=f"e-{n}") for n, event in enumerate([ORDER, refund, SEARCH])]
    send_batch(account, entries, now)
    before = the_profile(account)
    again = send_batch(account, entries, now + DAYS, imported=True)
    statuses = [each.status for each in again if isinstance(each, Outcome)]
    assert statuses == ["discarded", "discarded", "created"]
    assert the_profile(account) == before
    assert timeline(account, now + DAYS) == ["e-2"]


@pytest.mark.parametrize("own_id", ["mine", None])
def test_a_discarded_order_names_the_stored_first_one(account: Account, now: datetime, own_id: str | None) -> None:
    first = sent(account, an_entry(ORDER, eventId=own_id, eventTime=now), now)
    other = {"confirmation": {"orderId": "A-1", "total": 2}}
    unlimited = account._replace(event_days=0)  # after a change of the setting
    for limit, event, is_same in ((account, ORDER, True), (account, other, False), (unlimited, ORDER, True)):
        met = send(limit, event, now + DAYS - A_MOMENT).first
        assert met
        assert (met.event_id, met.created_on, met.same_payload) == (first.event_id, iso(now), is_same)
    later = send(account, ORDER, now + DAYS).first
    assert later
    assert (later.created_on, later.same_payload) == (iso(now), None)


def test_an_erasure_counts_the_events_that_had_not_ended(account: Account, ana: Profile, now: datetime) -> None:
    """It leaves nothing, although TTL took the event by which it finds the mark of the order."""
    sent(account, an_entry(ORDER, eventId="ana-lovelace-1", eventTime=now), now)
    ttl_runs(account, now + DAYS)
    for event_id, at in (("ended", now), ("there", now + A_MOMENT)):
        sent(account, an_entry(SEARCH, eventId=event_id, eventTime=now), at)
    users.erase(ANA, account, now + DAYS)
    assert erase_leftovers(account.table, now + DAYS + 2 * IN_FLIGHT) == []
    assert users.receipt(ana.id, account).events_deleted == 1
    left = as_text(account.table)
    assert not [text for text in ("lovelace", ana.id, "digest") if text in left]


@pytest.mark.parametrize("ttl", [False, True], ids=["lock still there", "lock deleted"])
def test_an_open_that_has_ended_keeps_nothing_out(account: Account, now: datetime, ttl: bool) -> None:
    """An imported open meets the lock of the ended one, or its place in the timeline."""

    def an_open(minutes: int, at: datetime) -> str:
        return sent(account, an_entry({"emailopen": {}}, eventTime=now + timedelta(minutes=minutes)), at).status

    assert an_open(0, now) == "created"
    assert an_open(-5, now + DAYS - A_MOMENT) == "discarded"
    if ttl:
        ttl_runs(account, now + timedelta(days=1))
    assert an_open(-5, now + DAYS) == "created"
    assert an_open(2, now + DAYS) == "discarded", "by the one that is there"
    assert an_open(-60, now + DAYS) == "created"


def test_pages_are_full_though_events_between_have_ended(account: Account, now: datetime) -> None:
    for n in range(12):  # every third one is imported later, so it ends later
        moment, at = now + timedelta(seconds=n), now + timedelta(days=30 if n % 3 == 0 else 1)
        sent(account, an_entry(SEARCH, eventId=f"e-{n}", eventTime=moment), at)
    later, left = now + timedelta(days=1) + DAYS, ["e-9", "e-6", "e-3", "e-0"]
    for limit in ("1", "2", "3", "100"):
        assert timeline(account, later, limit=limit) == timeline(account, later, limit=limit, type="search") == left
    within = {"from": (now + timedelta(seconds=2)).isoformat(), "to": (now + timedelta(seconds=9)).isoformat()}
    assert timeline(account, later, limit="1", **within) == ["e-6", "e-3"]


def test_a_login_that_repeats_an_ended_one_is_judged_anew(account: Account, ana: Profile, now: datetime) -> None:
    """The sender has an address by now, so the login is the sender's own."""
    sender = a_user(account, None)
    login = an_entry({"login": {"email": ANA}}, eventId="login", eventTime=now, _id=sender.id)
    assert sent(account, login, now).user_id == ana.id
    users.change_email(sender.id, {"email": "ben@example.com"}, account)
    assert sent(account, login, now + DAYS - A_MOMENT).user_id == ana.id
    assert sent(account, login, now + DAYS).user_id == sender.id


def test_the_functions_store_and_show_events_by_the_clock(
    functions_table: Table, monkeypatch: pytest.MonkeyPatch, now: datetime
) -> None:
    a_user(Account(functions_table, "demo"))
    monkeypatch.setattr(rest, "EVENT_DAYS", DAYS.days)
    monkeypatch.setattr(rest, "now", lambda: now)
    assert answer_to(proxy_event("POST", "/event", {"user": {"email": ANA}, "event": SEARCH})).status == 200
    for days, number in ((DAYS - A_MOMENT, 1), (DAYS, 0)):
        monkeypatch.setattr(rest, "now", lambda moment=now + days: moment)
        assert len(gateway.timeline(ANA).body["events"]) == number
