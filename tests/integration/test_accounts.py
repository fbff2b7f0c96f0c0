"""Several accounts in one table never meet, whatever their callers make up. And their API keys."""

from datetime import timedelta

import pytest

from builders import ANA, a_moment, a_user, send, the_events, the_profile
from domain import users
from domain.accounts import ApiKey, hash_of, new_api_key
from domain.dynamodb import Table
from domain.erasure import IN_FLIGHT, erase_leftovers
from domain.idempotency import IdempotencyKey
from domain.problems import Invalid, NotFound
from domain.profile import iso
from domain.store import Store, find_key

KEY = IdempotencyKey.of("key", b"body")


@pytest.fixture
def other(table: Table) -> Store:
    return Store(table, "shop-2")


def test_the_same_address_is_another_user_in_another_account(store: Store, other: Store) -> None:
    mine, theirs = a_user(store, city="Vigo"), a_user(other)
    assert mine.id != theirs.id
    send(store, {"update": {"city": "Madrid"}})
    assert the_profile(other) == theirs.flat()
    assert the_events(other) == []


def test_the_same_order_open_and_idempotency_key_count_in_each_account(store: Store, other: Store) -> None:
    for each in (store, other):
        a_user(each)
        assert send(each, {"confirmation": {"orderId": "A-1"}}).discarded is None
        assert send(each, {"emailopen": {}}).discarded is None
        assert not send(each, {"search": {"query": "x"}}, key=KEY).replayed
        assert len(the_events(each)) == 3


def test_the_same_id_is_another_user_in_another_account(store: Store, other: Store) -> None:
    mine = a_user(store, city="Vigo")
    with pytest.raises(NotFound):
        users.read(mine.id, other)
    with pytest.raises(NotFound):
        send(other, {"search": {"query": "x"}}, _id=mine.id)
    theirs, _, created = users.change(mine.id, {"city": "Madrid"}, True, other, a_moment())
    assert (created, theirs.id) == (True, mine.id)
    assert the_profile(store, mine.id) == mine.flat()


def test_a_cursor_does_not_open_the_same_id_in_another_account(store: Store, other: Store) -> None:
    mine = a_user(store)
    users.change(mine.id, {}, True, other, a_moment())
    for each in (store, other):
        for _ in range(2):
            send(each, {"search": {"query": "x"}}, _id=mine.id)
    _, cursor = users.events(mine.id, {"limit": "1"}, store)
    with pytest.raises(Invalid):
        users.events(mine.id, {"cursor": str(cursor)}, other)


def test_an_erasure_leaves_the_same_id_and_address_of_another_account_alone(store: Store, other: Store) -> None:
    mine = a_user(store)
    users.change(mine.id, {"email": ANA, "city": "Vigo"}, True, other, a_moment())
    send(other, {"search": {"query": "x"}}, key=KEY)
    before = the_profile(other)
    now = a_moment()
    users.erase(ANA, store, now)
    assert erase_leftovers(store.table, now + IN_FLIGHT) == []
    assert the_profile(other) == before
    assert len(the_events(other)) == 1
    assert send(other, {"search": {"query": "x"}}, key=KEY).replayed


CRAFTED = ["shop-2#USER#x", "#USER#x", "-2#USER#{id}", "2#EMAIL#ana", "../shop-2", "USER#{id}", "{id}#"]


@pytest.mark.parametrize("text", CRAFTED)
def test_no_crafted_id_or_order_crosses_over(store: Store, other: Store, text: str) -> None:
    a_user(store)
    theirs = a_user(other)
    crafted = text.replace("{id}", theirs.id)
    with pytest.raises(NotFound):
        users.read(crafted, store)
    with pytest.raises((Invalid, NotFound)):
        users.change(crafted, {}, True, store, a_moment())
    assert send(store, {"confirmation": {"orderId": crafted}}).discarded is None
    assert send(other, {"confirmation": {"orderId": crafted}}).discarded is None
    assert the_profile(other)["_id"] == theirs.id


def test_an_account_whose_name_begins_another_does_not_see_it(table: Table) -> None:
    shop, shop2 = Store(table, "shop"), Store(table, "shop2")
    for each in (shop, shop2):
        a_user(each)
        each.add_key(new_api_key(a_moment(), None)[1])
    assert len(shop.api_keys()) == len(shop2.api_keys()) == 1
    with pytest.raises(NotFound):
        users.read("2#USER#x", shop)


# --- API keys -------------------------------------------------------------------------------------


def a_key(store: Store, expires_on: str | None = None) -> tuple[str, ApiKey]:
    secret, key = new_api_key(a_moment(), expires_on)
    store.add_key(key)
    return secret, key


def test_a_key_opens_its_account(store: Store, other: Store) -> None:
    soon = iso(a_moment() + timedelta(days=1))
    (mine, my_key), (theirs, their_key) = a_key(store, soon), a_key(other)
    assert find_key(store.table, hash_of(mine)) == ("shop", my_key.id, soon)
    assert find_key(store.table, hash_of(theirs)) == ("shop-2", their_key.id, None)
    assert find_key(store.table, hash_of("another")) is None


def test_an_account_may_hold_two_keys_and_revoking_one_leaves_the_other(store: Store) -> None:
    (old, old_key), (new, new_key) = a_key(store), a_key(store)
    now = a_moment()
    assert store.revoke_key(old_key, now)
    assert find_key(store.table, hash_of(old)) is None
    assert find_key(store.table, hash_of(new)) == ("shop", new_key.id, None)
    listed = {key.id: key.revoked_on for key in store.api_keys()}
    assert listed == {old_key.id: iso(now), new_key.id: None}


def test_a_revoked_key_stays_revoked(store: Store) -> None:
    secret, key = a_key(store)
    now = a_moment()
    assert store.revoke_key(key, now)
    assert not store.revoke_key(key, now + timedelta(seconds=1))
    assert not store.expire_key(key, iso(now + timedelta(days=1)))
    assert find_key(store.table, hash_of(secret)) is None
    assert store.api_keys()[0].revoked_on == iso(now)


def test_a_key_can_be_given_another_expiry(store: Store) -> None:
    secret, key = a_key(store)
    later = iso(a_moment() + timedelta(days=1))
    assert store.expire_key(key, later)
    assert find_key(store.table, hash_of(secret)) == ("shop", key.id, later)
    assert store.api_keys()[0].expires_on == later


def test_the_key_itself_is_nowhere_in_the_table(store: Store) -> None:
    secret, _ = a_key(store)
    items = repr(store.table.client.scan(TableName=store.table.name)["Items"])
    assert secret not in items
    assert hash_of(secret) in items
