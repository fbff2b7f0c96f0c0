"""Contract sections 6 and 7: users, their timeline, their last purchase, and the accounts that they are in."""

import itertools
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from builders import ANA, a_moment, a_user, an_entry, as_sent, send, send_batch, the_events, the_pages, the_profile
from domain.accounts import hash_of, new_api_key
from domain.ids import is_id, new_id
from domain.outcomes import IdempotencyKey, Outcome
from domain.problems import EMAIL_STAYS, SYSTEM_ATTRIBUTE, Conflict, Invalid, NotFound, Refused
from domain.profile import Profile
from domain.request import parse_request
from domain.times import iso
from engines import aws_engine_only
from handlers.bodies import json_object
from stored import as_text, everything
from table import Account, api_keys, profiles
from table.calls import Table
from use_cases import users
from use_cases.collect import collect_one
from use_cases.erasure import IN_FLIGHT, erase_leftovers

BOB = "bob@example.com"
CONTROL = "\\u0001"  # one byte in the table, six in JSON
LAMBDA_ANSWER_BYTES = 6 * 1024 * 1024


def change(account: Account, identifier: str, upsert: bool = False, **sent: Any) -> tuple[dict[str, Any], bool]:
    profile, _, created = users.change(identifier, as_sent(sent), upsert, account, a_moment())
    return profile.flat(), created


# --- Users ----------------------------------------------------------------------------------------


def test_a_user_is_created_and_read_by_email_and_by_id(account: Account) -> None:
    now = a_moment()
    made, warnings, _ = users.create(as_sent({"email": " Ana@Example.com", "age": 33, "tags": "VIP"}), account, now)
    assert is_id(made.id)
    expected = {"_id": made.id, "email": ANA, "createdOn": iso(now), "age": 33, "tags": ["vip"]}
    assert (made.flat(), warnings) == (expected, ())
    for identifier in (ANA, "ANA@example.com", made.id):
        assert the_profile(account, identifier) == expected


def test_a_put_sets_attributes_but_neither_identity_nor_what_the_system_maintains(account: Account) -> None:
    ana = a_user(account, city="Vigo", kept=1, tags="old")
    sent = {"email": BOB, "_id": "x", "numberOfPurchases": 5, "city": "Madrid", "tags": "new;-old"}
    profile, warnings, created = users.change(ANA, as_sent(sent), False, account, a_moment())
    assert ({warning.field for warning in warnings}, created) == ({"email", "_id", "numberOfPurchases"}, False)
    assert profile.flat() == the_profile(account) == ana.flat() | {"city": "Madrid", "tags": ["new"]}
    assert change(account, ana.id)[0] == profile.flat()
    with pytest.raises(NotFound):
        users.get(BOB, account)


def test_a_put_with_upsert_creates_by_email_or_by_id(account: Account) -> None:
    by_email, created = change(account, ANA, upsert=True, city="Vigo")
    assert created
    assert the_profile(account) == by_email
    made_id = new_id(a_moment())
    by_id, created = change(account, made_id, upsert=True, email=BOB)
    assert (created, by_id["_id"], by_id["email"]) == (True, made_id, BOB)
    assert change(account, ANA, upsert=True, city="Madrid") == (by_email | {"city": "Madrid"}, False)
    assert the_profile(account) == by_email | {"city": "Madrid"}
    with pytest.raises(Conflict) as refused:
        change(account, new_id(a_moment()), upsert=True, email=ANA)
    assert [problem.code for problem in refused.value.problems] == ["user_exists"]


def test_an_upsert_makes_no_user_of_a_crafted_name(account: Account) -> None:
    for identifier in ("x", "ana@", "@", "a#b", "", "01A20000-0000-7000-8000-000000000000", "x" * 3000):
        with pytest.raises(Invalid):
            change(account, identifier, upsert=True, a=1)
    assert everything(account.table) == []


def test_invalid_values_have_the_documented_error(account: Account, ana: Profile) -> None:
    rows: list[tuple[dict[str, Any], str | None]] = [
        ({"email": "ana"}, "email"), ({"tags": 7}, "tags"), ({"a": [Decimal("NaN")]}, "a.0"), ({"": 1}, None),
        ({"a": "\ud800"}, "a"),
    ]  # fmt: skip
    calls: list[Callable[[dict[str, Any]], object]] = [
        lambda sent: users.create(sent, account, a_moment()),
        lambda sent: users.change(ANA, sent, False, account, a_moment()),
    ]
    for (sent, field), call in itertools.product(rows, calls):
        with pytest.raises(Invalid) as refused:
            call(sent)
        told = [(each.message, each.description, each.field) for each in refused.value.problems]
        assert told == [("Invalid data format/type", "Error validating user attributes", field)]


def test_an_attribute_is_removed_alone_and_removing_what_is_not_there_changes_nothing(account: Account) -> None:
    names = ["a.b", "#a", ":v", "SELECT", "size", " ", "é", "attributes", "x" * 500, "a/b", "..", "%2F"]
    attributes: dict[str, Any] = dict.fromkeys(names, 1) | {"a": {"b": 2}, "kept": 3, "tags": ["vip"]}
    a_user(account, **attributes)
    for number, name in enumerate([*names, "never there"], 1):
        shown = users.remove_attribute(ANA, name, account).flat()
        assert shown == the_profile(account)
        assert shown.keys() - {"_id", "email", "createdOn"} == {*names[number:], "a", "kept", "tags"}
    assert (shown["a"], shown["kept"]) == ({"b": 2}, 3)
    assert "tags" not in users.remove_attribute(ANA, "tags", account).flat()
    before = the_profile(account)
    for name in ("_id", "lastPurchaseValue", "email"):
        with pytest.raises(Invalid) as refused:
            users.remove_attribute(ANA, name, account)
        assert refused.value.problems == (EMAIL_STAYS if name == "email" else SYSTEM_ATTRIBUTE,)
    with pytest.raises(NotFound):
        users.remove_attribute(BOB, "city", account)
    assert the_profile(account) == before


# --- The email ------------------------------------------------------------------------------------


def set_email(account: Account, identifier: str, email: object) -> dict[str, Any]:
    return users.change_email(identifier, {"email": email, "city": "ignored"}, account).flat()


def test_a_changed_email_names_the_same_user_and_the_old_one_is_free_at_once(account: Account) -> None:
    ana = a_user(account, city="Vigo")
    [sent] = search(account, 1)
    assert set_email(account, ANA, " Bob@Example.com ") == ana.flat() | {"email": BOB}
    assert the_profile(account, BOB) == the_profile(account, ana.id) == ana.flat() | {"email": BOB}
    assert the_events(account, BOB) == [sent]
    for nobody in (lambda: users.get(ANA, account), lambda: search(account, 1)):
        with pytest.raises(NotFound):
            nobody()
    assert a_user(account).id != ana.id
    users.erase(ana.id, account, a_moment())
    assert a_user(account, BOB).id != ana.id


def test_an_anonymous_user_gets_an_email_and_what_is_refused_or_equal_changes_nothing(account: Account) -> None:
    a_user(account, BOB)
    anonymous = a_user(account, None)
    for _ in range(2):
        assert set_email(account, anonymous.id, ANA) == anonymous.flat() | {"email": ANA}
    assert set_email(account, ANA, ANA.upper()) == the_profile(account)
    assert profiles.change_email(account, anonymous, "new@example.com") == "", "the user has an email by now"
    before = everything(account.table)
    refusals: list[tuple[str, str | None, type[Refused], str]] = [
        (ANA, BOB, Conflict, "email_taken"),
        (ANA, None, Invalid, "invalid_email"),
        (ANA, "ana", Invalid, "invalid_email"),
        ("nobody@example.com", "new@example.com", NotFound, "user_not_found"),
    ]
    for identifier, email, kind, code in refusals:
        with pytest.raises(kind) as refused:
            set_email(account, identifier, email)
        assert refused.value.problems[0].code == code
    assert everything(account.table) == before


# --- The last purchase ----------------------------------------------------------------------------

ORDERS: list[dict[str, Any]] = [{"total": "5.50"}, {"total": "20,00"}, {}]


def buy(account: Account, email: str, moment: datetime, order: dict[str, Any]) -> bool:
    event = {"confirmation": {"orderId": f"{email} {moment}", **order}}
    return send(account, event, now=moment, email=email).restriction is None


@pytest.mark.parametrize("latest", ORDERS, ids=repr)
def test_the_latest_purchase_is_the_last_one_in_any_order_of_storing(account: Account, latest: dict[str, Any]) -> None:
    now = a_moment()
    orders = [*(order for order in ORDERS if order != latest), latest]
    for number, order_of_storing in enumerate(itertools.permutations(enumerate(orders))):
        email = f"ana{number}@example.com"
        a_user(account, email)
        for minutes, order in order_of_storing:
            assert buy(account, email, now + timedelta(minutes=minutes), order)
        profile = the_profile(account, email)
        assert profile["lastPurchaseDate"] == iso(now + timedelta(minutes=2))
        assert profile.get("lastPurchaseValue") == {"5.50": Decimal("5.50")}.get(latest.get("total", ""))
        counted = (profile["isCustomer"], profile["numberOfPurchases"], profile["totalPurchasesValue"])
        assert counted == (True, 3, Decimal("5.50"))


# --- Timeline -------------------------------------------------------------------------------------


def search(account: Account, count: int, **user: Any) -> list[str]:
    """The ids of so many events, newest first."""
    begin = a_moment()
    moments = [begin + timedelta(milliseconds=n) for n in range(count)]
    return [send(account, {"search": {"query": "x"}}, now=now, **user).event_id for now in moments][::-1]


def test_paging_neither_skips_nor_repeats_while_events_arrive(account: Account, ana: Profile) -> None:
    sent = search(account, 6)
    read: list[str] = []
    for page in the_pages(account, ANA, None, limit="2"):
        read += [event.id for event in page]
        send(account, {"search": {"query": "meanwhile"}}, now=a_moment() + timedelta(seconds=10))
    assert read == sent


def test_from_and_to_bound_the_timeline_to_the_millisecond_and_cursors_stay_within(account: Account) -> None:
    a_user(account)
    begin = a_moment()
    moments = [begin + timedelta(milliseconds=n) for n in (0, 1, 1, 2, 5)]
    sent = [(now, send(account, {"search": {"query": "x"}}, now=now).event_id) for now in moments]
    bounds = [None, begin - timedelta(days=9000), *(begin + timedelta(milliseconds=n) for n in (0, 1, 2, 3, 9))]
    _, outside = users.timeline(ANA, {"limit": "1"}, account, a_moment())
    for first, end in itertools.combinations_with_replacement([None, *bounds, None], 2):
        given = {"from": first, "to": end}
        query = {"limit": "2"} | {name: iso(moment) for name, moment in given.items() if moment}
        wanted = {each for now, each in sent if (not first or first <= now) and (not end or now < end)}
        assert sorted(the_events(account, **query)) == sorted(wanted)
        # A cursor of a page with other bounds.
        page, _ = users.timeline(ANA, query | {"cursor": str(outside), "limit": "100"}, account, a_moment())
        assert {event.id for event in page} == wanted - {sent[-1][1]}


def test_from_before_all_times_is_the_beginning(account: Account, ana: Profile) -> None:
    assert users.timeline(ANA, {}, account, a_moment()) == ([], None)
    [sent] = search(account, 1)
    for first in ("0001-01-01T00:00:00Z", "1969-12-31T23:59:59Z"):
        page, _ = users.timeline(ANA, {"from": first, "to": "9999-12-31T23:59:59Z"}, account, a_moment())
        assert [event.id for event in page] == [sent]
        assert users.timeline(ANA, {"from": first, "to": first}, account, a_moment()) == ([], None)
    with pytest.raises(Invalid):
        users.timeline(ANA, {"from": "2026-11-24T08:00:00.001Z", "to": "2026-11-24T08:00:00Z"}, account, a_moment())


def test_a_timeline_of_one_type_pages_to_the_end(account: Account, ana: Profile) -> None:
    search(account, 3)
    now = a_moment() + timedelta(seconds=1)
    opens = [send(account, {"emailopen": {}}, now=now + n * timedelta(hours=1)).event_id for n in range(3)]
    search(account, 3)
    for wire_name in ("emailopen", "emailOpen"):
        assert the_events(account, limit="2", type=wire_name) == opens[::-1]


def test_a_timeline_of_more_than_a_megabyte_pages_to_the_end(account: Account, ana: Profile) -> None:
    sent = [send(account, {"search": {"query": "x" * 200_000}}).event_id for _ in range(8)]
    assert sorted(the_events(account)) == sorted(sent)


def short_pages(account: Account) -> list[list[str]]:
    """Return the ids on each page; every page fits into an answer."""
    pages = list(the_pages(account, ANA, None, limit="100"))
    texts = [json.dumps(users.json_text([event.payload for event in page])) for page in pages]
    assert all(len(text) < LAMBDA_ANSWER_BYTES for text in texts)
    return [[event.id for event in page] for page in pages]


@aws_engine_only
@pytest.mark.parametrize(("long", "number"), [
    pytest.param(f'"{CONTROL * 40_000}"', 26, id="text"), pytest.param(f"[{'1E125,' * 40_000}1]", 9, id="numbers"),
])  # fmt: skip
def test_a_page_whose_json_is_much_longer_than_its_items_is_short(account: Account, long: str, number: int) -> None:
    a_user(account)
    body = json_object(f'{{"user": {{"email": "{ANA}"}}, "event": {{"checkout": {{"a": {long}}}}}}}'.encode())
    sent = [collect_one(parse_request(body, a_moment()), account, a_moment()).event_id for _ in range(number)]
    pages = short_pages(account)
    assert len(pages) > 1
    assert sorted(itertools.chain.from_iterable(pages)) == sorted(sent)


@aws_engine_only
def test_an_event_whose_json_is_longer_than_a_page_is_alone_on_a_page(account: Account, ana: Profile) -> None:
    """In a batch the zeros of a number count nothing, so an event may be that long."""
    values: list[Any] = ["x", [Decimal("1e37")] * 64_000, "x"]
    moments = [a_moment() - timedelta(seconds=number) for number in range(3)]
    batch = [an_entry({"checkout": {"a": a}}, eventTime=at) for a, at in zip(values, moments, strict=True)]
    assert [outcome.status for outcome in send_batch(account, batch) if isinstance(outcome, Outcome)] == ["created"] * 3
    assert short_pages(account) == [[entry["eventId"]] for entry in batch]


WRONG: dict[str, list[str]] = {
    "limit": ["0", "101", "-1", "1.0", "", "x", "٣", "1e1", "9" * 5000], "type": ["x", "", "Search"],
    "cursor": ["", "x", "ñ", "A" * 43, "/../", "A" * 9000, "\ud800"], "from": ["", "2026-11-24"],
    "to": ["now", "2026-11-24T08:00:00 02:00"],
}  # fmt: skip


def test_all_wrong_parameters_of_the_timeline_are_reported_at_once(account: Account, ana: Profile) -> None:
    search(account, 1)
    queries = [{name: value} for name, values in WRONG.items() for value in values]
    for query in [*queries, {"limit": "0", "type": "x", "cursor": "x"}]:
        with pytest.raises(Invalid) as refused:
            users.timeline(ANA, query, account, a_moment())
        assert [problem.field for problem in refused.value.problems] == list(query)


def test_a_cursor_is_its_users_alone_says_nothing_of_them_and_no_byte_of_it_can_be_changed(account: Account) -> None:
    ana, bob = a_user(account), a_user(account, BOB)
    search(account, 2)
    search(account, 2, email=BOB)
    _, cursor = users.timeline(ANA, {"limit": "1"}, account, a_moment())
    assert cursor
    assert ana.id not in cursor
    assert ana.cursor_key not in cursor + str(ana.flat())
    with pytest.raises(Invalid):
        users.timeline(bob.id, {"cursor": cursor}, account, a_moment())
    signed = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    flipped = [signed[:n] + bytes([signed[n] ^ 1]) + signed[n + 1 :] for n in range(len(signed))]
    others = [*flipped, signed + b"\0", signed[:-1], signed[:16], b""]
    texts = [urlsafe_b64encode(each).rstrip(b"=").decode() for each in others]
    texts += [cursor + "=", cursor + "A", " " + cursor, cursor[:-1], cursor.swapcase()]
    for text in texts:
        with pytest.raises(Invalid):
            users.timeline(ANA, {"cursor": text}, account, a_moment())
    assert len(users.timeline(ANA, {"cursor": cursor}, account, a_moment())[0]) == 1


# --- Accounts -------------------------------------------------------------------------------------

KEY = IdempotencyKey.of("key", b"body")


@pytest.fixture
def other(table: Table) -> Account:
    return Account(table, "shop-2")


def test_the_same_address_order_open_and_key_count_in_each_account(account: Account, other: Account) -> None:
    mine, theirs = a_user(account, city="Vigo"), a_user(other)
    assert mine.id != theirs.id
    send(account, {"update": {"city": "Madrid"}})
    assert the_profile(other) == theirs.flat()
    assert the_events(other) == []
    for each in (account, other):
        assert send(each, {"confirmation": {"orderId": "A-1"}}).restriction is None
        assert send(each, {"emailopen": {}}).restriction is None
        assert not send(each, {"search": {"query": "x"}}, key=KEY).replayed
    assert (len(the_events(account)), len(the_events(other))) == (4, 3)


def test_the_same_id_is_another_user_with_other_cursors_in_each_account(account: Account, other: Account) -> None:
    mine = a_user(account, city="Vigo")
    with pytest.raises(NotFound):
        users.get(mine.id, other)
    with pytest.raises(NotFound):
        send(other, {"search": {"query": "x"}}, _id=mine.id)
    theirs, _, created = users.change(mine.id, {"city": "Madrid"}, True, other, a_moment())
    assert (created, theirs.id) == (True, mine.id)
    assert the_profile(account, mine.id) == mine.flat()
    for each in (account, other, account, other):
        send(each, {"search": {"query": "x"}}, _id=mine.id)
    _, cursor = users.timeline(mine.id, {"limit": "1"}, account, a_moment())
    with pytest.raises(Invalid):
        users.timeline(mine.id, {"cursor": str(cursor)}, other, a_moment())


def test_an_erasure_leaves_the_same_id_and_address_of_another_account_alone(account: Account, other: Account) -> None:
    mine = a_user(account)
    users.change(mine.id, {"email": ANA, "city": "Vigo"}, True, other, a_moment())
    send(other, {"search": {"query": "x"}}, key=KEY)
    before, now = the_profile(other), a_moment()
    users.erase(ANA, account, now)
    assert erase_leftovers(account.table, now + IN_FLIGHT) == []
    assert the_profile(other) == before
    assert len(the_events(other)) == 1
    assert send(other, {"search": {"query": "x"}}, key=KEY).replayed


CRAFTED = ["shop-2#USER#x", "2#USER#x", "#USER#x", "-2#USER#{id}", "2#EMAIL#ana", "../shop-2", "USER#{id}", "{id}#"]


def test_no_crafted_id_or_order_crosses_over(account: Account, ana: Profile, other: Account) -> None:
    theirs = a_user(other)
    for crafted in (text.replace("{id}", theirs.id) for text in CRAFTED):
        with pytest.raises(NotFound):
            users.get(crafted, account)
        with pytest.raises((Invalid, NotFound)):
            users.change(crafted, {}, True, account, a_moment())
        for each in (account, other):
            assert send(each, {"confirmation": {"orderId": crafted}}).restriction is None
        assert the_profile(other)["_id"] == theirs.id


# --- API keys -------------------------------------------------------------------------------------


def test_a_key_is_stored_as_a_hash_and_stays_revoked(account: Account) -> None:
    now = a_moment()
    secret, key = new_api_key(now, None)
    api_keys.add(account, key)
    text = as_text(account.table)
    assert secret not in text
    assert hash_of(secret) in text
    found = api_keys.find(account.table, hash_of(secret))
    assert found
    assert (found.account, found.id) == (account.name, key.id)
    assert [api_keys.revoke(account, key, now) for _ in range(2)] == [True, True], "a response may have been lost"
    assert not api_keys.revoke(account, key, now + timedelta(seconds=1))
    assert not api_keys.expire(account, key, iso(now + timedelta(days=1)), now)
    assert api_keys.find(account.table, hash_of(secret)) is None
    _, unknown = new_api_key(now, None)
    assert not api_keys.revoke(account, unknown, now)
    assert not api_keys.expire(account, unknown, iso(now), now)
    assert [each.revoked_on for each in api_keys.of_account(account)] == [iso(now)]
