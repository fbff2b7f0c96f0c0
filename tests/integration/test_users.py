"""Contract section 6: users and their timeline."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from builders import ANA, a_moment, a_user, as_sent, send, the_events, the_profile
from domain import users
from domain.collect import collect
from domain.ids import is_id, new_id
from domain.problems import BEING_ERASED, Conflict, Invalid, NotFound, TooLarge
from domain.profile import iso
from domain.request import parse_request
from domain.store import Store
from engines import not_on_moto
from handlers.rest import json_object

BOB = "bob@example.com"
CONTROL = "\\u0001"  # one byte as it is stored, six in JSON
LAMBDA_ANSWER_BYTES = 6 * 1024 * 1024


def change(
    store: Store, identifier: str, sent: dict[str, Any], upsert: bool = False
) -> tuple[dict[str, Any], list[str], bool]:
    profile, warnings, created = users.change(identifier, as_sent(sent), upsert, store, a_moment())
    return profile.flat(), [warning.field for warning in warnings], created


# --- Users ----------------------------------------------------------------------------------------


def test_a_user_is_created_and_read_by_email_and_by_id(store: Store) -> None:
    now = a_moment()
    made, warnings = users.create(as_sent({"email": " Ana@Example.com", "age": 33, "tags": "VIP"}), store, now)
    assert is_id(made.id)
    expected = {"_id": made.id, "email": ANA, "createdOn": iso(now), "age": 33, "tags": ["vip"]}
    assert (made.flat(), warnings) == (expected, [])
    for identifier in (ANA, "ANA@example.com", made.id):
        assert the_profile(store, identifier) == expected


def test_an_anonymous_user_has_no_email(store: Store) -> None:
    made = a_user(store, None)
    assert the_profile(store, made.id).keys() == {"_id", "createdOn"}


def test_a_taken_email_is_a_conflict(store: Store) -> None:
    ana = a_user(store)
    with pytest.raises(Conflict):
        users.create({"email": "ANA@example.com", "city": "Vigo"}, store, a_moment())
    assert the_profile(store) == ana.flat()


@pytest.mark.parametrize(
    "identifier",
    ["", "x", BOB, "ana@", "@", "00000000-0000-7000-8000-000000000000", "PROFILE", "a#b", "\ud800", "x" * 3000],
)
def test_an_unknown_user_is_not_found(store: Store, identifier: str) -> None:
    a_user(store)
    for call in (
        lambda: users.read(identifier, store),
        lambda: users.erase(identifier, store, a_moment()),
        lambda: users.events(identifier, {}, store),
        lambda: change(store, identifier, {"a": 1}),
    ):
        with pytest.raises(NotFound):
            call()


def test_a_put_sets_attributes(store: Store) -> None:
    ana = a_user(store, city="Vigo", kept=1, tags="old")
    shown, warned, created = change(store, ANA, {"city": "Madrid", "tags": "new;-old"})
    assert (warned, created) == ([], False)
    assert shown == the_profile(store) == ana.flat() | {"city": "Madrid", "tags": ["new"]}
    assert change(store, ana.id, {})[0] == shown


def test_a_put_changes_neither_identity_nor_what_the_system_maintains(store: Store) -> None:
    ana = a_user(store)
    shown, warned, _ = change(store, ANA, {"email": BOB, "_id": "x", "numberOfPurchases": 5, "city": "Vigo"})
    assert shown == ana.flat() | {"city": "Vigo"}
    assert set(warned) == {"email", "_id", "numberOfPurchases"}
    with pytest.raises(NotFound):
        users.read(BOB, store)


def test_a_put_with_upsert_creates_by_email_or_by_id(store: Store) -> None:
    by_email, _, created = change(store, ANA, {"city": "Vigo"}, upsert=True)
    assert created
    assert the_profile(store) == by_email
    made_id = new_id(a_moment())
    by_id, _, created = change(store, made_id, {"email": BOB}, upsert=True)
    assert (created, by_id["_id"], by_id["email"]) == (True, made_id, BOB)
    _, _, created = change(store, ANA, {"city": "Madrid"}, upsert=True)
    assert not created
    assert the_profile(store) == by_email | {"city": "Madrid"}


def test_an_upsert_by_id_with_a_taken_email_is_a_conflict(store: Store) -> None:
    ana = a_user(store)
    with pytest.raises(Conflict):
        change(store, new_id(a_moment()), {"email": ANA}, upsert=True)
    assert the_profile(store) == ana.flat()


def test_an_upsert_by_the_id_of_one_who_is_being_erased_is_a_conflict_until_nothing_is_left(store: Store) -> None:
    ana = a_user(store)
    users.erase(ana.id, store, a_moment())
    with pytest.raises(Conflict) as refused:
        change(store, ana.id, {"city": "Vigo"}, upsert=True)
    assert refused.value.problems == (BEING_ERASED,)
    store.end_erasure(ana.id)
    shown, _, created = change(store, ana.id, {"city": "Vigo"}, upsert=True)
    assert (created, shown["_id"], shown.keys()) == (True, ana.id, {"_id", "createdOn", "city"})


@pytest.mark.parametrize(
    "identifier", ["x", "ana@", "@", "a#b", "", "01A20000-0000-7000-8000-000000000000", "x" * 3000]
)
def test_an_upsert_makes_no_user_of_a_crafted_name(store: Store, identifier: str) -> None:
    with pytest.raises(Invalid):
        change(store, identifier, {"a": 1}, upsert=True)
    assert store.table.client.scan(TableName=store.table.name)["Items"] == []


@pytest.mark.parametrize(("sent", "field"), [
    ({"email": "ana"}, "email"), ({"tags": 7}, "tags"), ({"a": [Decimal("NaN")]}, "a.0"), ({"": 1}, ""),
    ({"a": "\ud800"}, "a"),
])  # fmt: skip
def test_invalid_values_are_told_in_the_documented_words(store: Store, sent: dict[str, Any], field: str) -> None:
    a_user(store)
    for call in (
        lambda: users.create(sent, store, a_moment()),
        lambda: users.change(ANA, sent, False, store, a_moment()),
    ):
        with pytest.raises(Invalid) as refused:
            call()
        [problem] = refused.value.problems
        assert problem.message == "Invalid data format/type"
        assert problem.description == "Error validating user attributes"
        assert problem.field == (field or "user")


@not_on_moto
def test_a_user_who_would_exceed_400_kb_is_too_large(store: Store) -> None:
    with pytest.raises(TooLarge):
        users.create({"email": ANA, "much": ["x" * 1000] * 500}, store, a_moment())
    a_user(store, one="x" * 250_000)
    with pytest.raises(TooLarge):
        change(store, ANA, {"two": "x" * 250_000})
    assert "two" not in the_profile(store)


# --- Timeline -------------------------------------------------------------------------------------


def search(store: Store, count: int, **user: Any) -> list[str]:
    """The ids of so many events, newest first."""
    begin = a_moment()
    moments = [begin + timedelta(milliseconds=n) for n in range(count)]
    return [send(store, {"search": {"query": "x"}}, now=now, **user).event_id for now in moments][::-1]


@pytest.mark.parametrize("limit", ["1", "2", "3", "7", "100"])
def test_the_pages_hold_each_event_once_newest_first(store: Store, limit: str) -> None:
    a_user(store)
    sent = search(store, 7)
    read: list[str] = []
    query = {"limit": limit}
    while True:
        page, cursor = users.events(ANA, query, store)
        assert 0 < len(page) <= int(limit)
        read += [event.id for event in page]
        if cursor is None:
            break
        query["cursor"] = cursor
    assert read == sent


def test_a_page_holds_50_unless_told(store: Store) -> None:
    a_user(store)
    search(store, 51)
    page, cursor = users.events(ANA, {}, store)
    assert len(page) == 50
    assert cursor


def test_paging_neither_skips_nor_repeats_while_events_arrive(store: Store) -> None:
    a_user(store)
    sent = search(store, 6)
    read: list[str] = []
    query = {"limit": "2"}
    while True:
        page, cursor = users.events(ANA, query, store)
        read += [event.id for event in page]
        if cursor is None:
            break
        query["cursor"] = cursor
        send(store, {"search": {"query": "meanwhile"}}, now=a_moment() + timedelta(seconds=10))
    assert read == sent


def test_no_other_item_of_the_user_is_in_the_timeline(store: Store) -> None:
    a_user(store)
    assert users.events(ANA, {}, store) == ([], None)
    answer = send(store, {"emailopen": {}})
    assert the_events(store) == [answer.event_id]


@pytest.mark.parametrize("wire_name", ["emailopen", "emailOpen"])
def test_a_timeline_of_one_type_pages_to_the_end(store: Store, wire_name: str) -> None:
    a_user(store)
    search(store, 3)
    now = a_moment() + timedelta(seconds=1)
    opens = [send(store, {"emailopen": {}}, now=now + n * timedelta(hours=1)).event_id for n in range(3)]
    search(store, 3)
    read: list[str] = []
    query = {"limit": "2", "type": wire_name}
    while True:
        page, cursor = users.events(ANA, query, store)
        read += [event.id for event in page]
        if cursor is None:
            break
        query["cursor"] = cursor
    assert read == opens[::-1]


def test_a_timeline_of_more_than_a_megabyte_pages_to_the_end(store: Store) -> None:
    a_user(store)
    sent = [send(store, {"search": {"query": "x" * 200_000}}).event_id for _ in range(8)]
    assert sorted(the_events(store)) == sorted(sent)


@not_on_moto
@pytest.mark.parametrize("long", [f'"{CONTROL * 40_000}"', f"[{'1E125,' * 40_000}1]"])
def test_a_page_whose_json_is_much_longer_than_its_items_is_short(store: Store, long: str) -> None:
    a_user(store)
    request = parse_request(
        json_object(f'{{"user": {{"email": "{ANA}"}}, "event": {{"checkout": {{"a": {long}}}}}}}'.encode())
    )
    sent = [collect(request, store, a_moment()).event_id for _ in range(26)]
    page, cursor = users.events(ANA, {"limit": "100"}, store)
    assert cursor
    assert len(json.dumps(users.json_text([event.payload for event in page]))) < LAMBDA_ANSWER_BYTES
    assert sorted(the_events(store)) == sorted(sent)


@pytest.mark.parametrize("query", [
    {"limit": "0"}, {"limit": "101"}, {"limit": "-1"}, {"limit": "1.0"}, {"limit": ""}, {"limit": "x"}, {"limit": "٣"},
    {"limit": "1e1"}, {"limit": "9" * 5000}, {"type": "x"}, {"type": ""}, {"type": "Search"}, {"cursor": ""},
    {"cursor": "x"}, {"cursor": "ñ"}, {"cursor": "A" * 43}, {"cursor": "/../"}, {"cursor": "A" * 9000},
    {"cursor": "\ud800"},
])  # fmt: skip
def test_a_wrong_limit_type_or_cursor_is_invalid(store: Store, query: dict[str, str]) -> None:
    a_user(store)
    search(store, 1)
    with pytest.raises(Invalid) as refused:
        users.events(ANA, query, store)
    assert [problem.field for problem in refused.value.problems] == list(query)


def test_all_that_is_wrong_with_a_query_is_told_at_once(store: Store) -> None:
    a_user(store)
    with pytest.raises(Invalid) as refused:
        users.events(ANA, {"cursor": "x", "limit": "0", "type": "x"}, store)
    assert [problem.field for problem in refused.value.problems] == ["limit", "type", "cursor"]


def test_no_byte_of_a_cursor_can_be_changed(store: Store) -> None:
    a_user(store)
    search(store, 2)
    _, cursor = users.events(ANA, {"limit": "1"}, store)
    assert cursor
    signed = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    flipped = [signed[:n] + bytes([signed[n] ^ 1]) + signed[n + 1 :] for n in range(len(signed))]
    longer = [signed + b"\0", signed[:-1], signed[:16], b""]
    texts = [urlsafe_b64encode(each).rstrip(b"=").decode() for each in flipped + longer]
    texts += [cursor + "=", cursor + "A", " " + cursor, cursor[:-1], cursor.swapcase()]
    for text in texts:
        with pytest.raises(Invalid):
            users.events(ANA, {"cursor": text}, store)
    assert len(users.events(ANA, {"cursor": cursor}, store)[0]) == 1


def test_a_cursor_is_its_users_alone(store: Store) -> None:
    a_user(store), a_user(store, BOB)
    search(store, 3)
    search(store, 3, email=BOB)
    _, cursor = users.events(ANA, {"limit": "1"}, store)
    assert cursor
    with pytest.raises(Invalid):
        users.events(BOB, {"cursor": cursor}, store)


def test_a_cursor_says_nothing_about_the_user(store: Store) -> None:
    a_user(store)
    search(store, 2)
    ana = users.read(ANA, store)
    _, cursor = users.events(ANA, {"limit": "1"}, store)
    assert ana.id not in str(cursor)
    assert ana.cursor_key not in str(cursor) + str(ana.flat())
