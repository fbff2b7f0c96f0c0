"""Contract section 10: what was refused is counted by hour, code, type and field, and read page by page."""

from base64 import urlsafe_b64encode
from collections import Counter
from datetime import datetime, timedelta
from hashlib import sha256
from itertools import combinations, product

import pytest

from builders import a_moment
from docs.openapi import CODES
from domain.problems import Invalid, invalid_number
from table import Account
from table.refusal_counts import HOUR, LIFETIME, Reason, Refusal
from table.refusal_counts import count as count_reasons
from use_cases import refusals
from use_cases.pages import SIGNATURE_BYTES


def pages(account: Account, limit: int, now: datetime) -> list[Refusal]:
    found: list[Refusal] = []
    query = {"limit": str(limit)}
    while True:
        page, cursor = refusals.newest(query, account, now)
        assert len(page) <= limit
        found += page
        if cursor is None:
            return found
        query["cursor"] = cursor


def test_pages_of_any_size_hold_each_reason_of_each_hour_once_newest_hour_first(account: Account) -> None:
    now = a_moment()
    wanted: Counter[tuple[str, Reason]] = Counter()
    for hours, place in product(range(2), range(4)):
        moment = now - timedelta(hours=hours)
        named = zip(list(CODES)[place:], ("", "search", "update"), strict=False)
        reasons = {Reason(code, kind): place + 1 for code, kind in named}
        count_reasons(account, reasons, "r-1", moment)
        for reason, number in reasons.items():
            wanted[moment.strftime("%Y-%m-%dT%H:00:00.000Z"), reason] += number
    for limit in (1, 2, 3, 100):
        found = pages(account, limit, now)
        assert {(each.hour, each.reason): each.count for each in found} == wanted
        assert len(found) == len(wanted)
        assert [each.hour for each in found] == sorted((each.hour for each in found), reverse=True)


def a_cursor(account: Account, counted_at: datetime, now: datetime) -> str:
    count_reasons(account, {Reason(code): 1 for code in list(CODES)[:3]}, "r-1", counted_at)
    page, cursor = refusals.newest({"limit": "1"}, account, now)
    assert len(page) == 1
    assert cursor
    return cursor


def test_a_cursor_that_has_grown_old_ends_the_pages(account: Account) -> None:
    """A page ends in the oldest hour, which is forgotten before the next one is asked for."""
    now = a_moment()
    cursor = a_cursor(account, now - LIFETIME, now)
    assert refusals.newest({"limit": "1", "cursor": cursor}, account, now + timedelta(hours=1)) == ([], None)


def test_only_the_cursor_that_the_page_before_gave_to_this_account_goes_on(account: Account) -> None:
    """Also if a caller makes one: it must hold an hour."""
    now, other = a_moment(), Account(account.table, "other")
    cursor, theirs = (a_cursor(each, now, now) for each in (account, other))
    for given in (cursor, made_up(now.strftime(HOUR), account)):
        assert refusals.newest({"cursor": given}, account, now)[0]
    letters = {cursor[:place] + chr(ord(cursor[place]) ^ 1) + cursor[place + 1 :] for place in range(len(cursor))}
    hours = ("", "~", "z" * 2000, "2026-11-24T08:30:00.000Z", "2026-11-24T08:00:00.000Z~")
    others = ("", "x", "ñ", "AAAA", cursor + "=", f" {cursor}", cursor[:-1], theirs)
    for wrong in (*others, *letters, *(made_up(hour, account) for hour in hours)):
        with pytest.raises(Invalid, match="Invalid cursor"):
            refusals.newest({"cursor": wrong}, account, now)


def made_up(hour: str, account: Account) -> str:
    """Make a cursor as a caller could."""
    text = f"{hour}###"
    digest = sha256(f"{account.name}#{text}".encode()).hexdigest()[:SIGNATURE_BYTES]
    return urlsafe_b64encode(f"{text}#{digest}".encode()).rstrip(b"=").decode()


def test_however_a_caller_nests_known_names_there_are_few_reasons(account: Account) -> None:
    now, names = a_moment(), ("email", "user", "event", "tags", "limit")
    for number, nested in enumerate(product(names, repeat=3)):
        refused = Invalid([invalid_number(".".join(("event.update", *nested, names[number % 5])))])
        refusals.count_refused([refused], account.name, account.table, "r-1", now)
    assert {each.reason.field for each in pages(account, 100, now)} == {"event.update", "event.update.tags"}


def test_the_last_request_id_is_that_of_the_last_request(account: Account) -> None:
    now = a_moment()
    user, event = Reason("user_not_found"), Reason("missing_event")
    count_reasons(account, {user: 2, event: 1}, "r-1", now)
    count_reasons(account, {event: 1}, "r-2", now + timedelta(milliseconds=1))
    count_reasons(account, {user: 2, event: 1}, "r-3", now + timedelta(milliseconds=2))
    assert {each.last_request_id for each in pages(account, 100, now)} == {"r-3"}
    count_reasons(account, {event: 1}, "r-4", now + timedelta(milliseconds=3))
    assert {each.reason: each.last_request_id for each in pages(account, 100, now)} == {user: "r-3", event: "r-4"}


def test_ever_new_combinations_of_reasons_make_few_items(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the place of a combination is taken, the most frequent reason of the batch is counted, and never too much."""
    monkeypatch.setattr("table.refusal_counts.COMBINATIONS", 4)
    now, codes, sent = a_moment(), list(CODES), Counter[Reason]()
    for first, second in combinations(codes[:12], 2):
        reasons = {Reason(first): 2, Reason(second): 1}
        count_reasons(account, reasons, "r-1", now)
        sent.update(reasons)
    items = account.table.partition(f"{account.name}#REFUSALS")
    assert len(list(items)) <= 4 + 12
    found = {each.reason: each.count for each in pages(account, 100, now)}
    assert all(found[reason] <= sent[reason] for reason in found)
    assert {Reason(code) for code in codes[:11]} <= found.keys()
    again = {Reason(codes[0]): 2, Reason(codes[1]): 1}
    count_reasons(account, again, "r-2", now)
    after = {each.reason: each.count for each in pages(account, 100, now)}
    assert after[Reason(codes[0])] == found[Reason(codes[0])] + 2
