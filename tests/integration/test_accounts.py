"""Accounts in one table never see each other, for any names that callers choose; and their API keys."""

from datetime import timedelta

import pytest

from builders import ANA, a_moment, a_user, send, the_events, the_profile
from domain.accounts import ApiKey, hash_of, new_api_key
from domain.outcomes import IdempotencyKey
from domain.problems import Invalid, NotFound
from domain.times import iso
from table import Account, api_keys
from table.calls import Table
from use_cases import users
from use_cases.erasure import IN_FLIGHT, erase_leftovers

KEY = IdempotencyKey.of("key", b"body")


@pytest.fixture
def other(table: Table) -> Account:
    return Account(table, "shop-2")


def test_the_same_address_is_another_user_in_another_account(account: Account, other: Account) -> None:
    mine, theirs = a_user(account, city="Vigo"), a_user(other)
    assert mine.id != theirs.id
    send(account, {"update": {"city": "Madrid"}})
    assert the_profile(other) == theirs.flat()
    assert the_events(other) == []


def test_the_same_order_open_and_idempotency_key_count_in_each_account(account: Account, other: Account) -> None:
    for each in (account, other):
        a_user(each)
        assert send(each, {"confirmation": {"orderId": "A-1"}}).restriction is None
        assert send(each, {"emailopen": {}}).restriction is None
        assert not send(each, {"search": {"query": "x"}}, key=KEY).replayed
        assert len(the_events(each)) == 3


def test_the_same_id_is_another_user_in_another_account(account: Account, other: Account) -> None:
    mine = a_user(account, city="Vigo")
    with pytest.raises(NotFound):
        users.get(mine.id, other)
    with pytest.raises(NotFound):
        send(other, {"search": {"query": "x"}}, _id=mine.id)
    theirs, _, created = users.change(mine.id, {"city": "Madrid"}, True, other, a_moment())
    assert (created, theirs.id) == (True, mine.id)
    assert the_profile(account, mine.id) == mine.flat()


def test_a_cursor_does_not_open_the_same_id_in_another_account(account: Account, other: Account) -> None:
    mine = a_user(account)
    users.change(mine.id, {}, True, other, a_moment())
    for each in (account, other):
        for _ in range(2):
            send(each, {"search": {"query": "x"}}, _id=mine.id)
    _, cursor = users.timeline(mine.id, {"limit": "1"}, account, a_moment())
    with pytest.raises(Invalid):
        users.timeline(mine.id, {"cursor": str(cursor)}, other, a_moment())


def test_an_erasure_leaves_the_same_id_and_address_of_another_account_alone(account: Account, other: Account) -> None:
    mine = a_user(account)
    users.change(mine.id, {"email": ANA, "city": "Vigo"}, True, other, a_moment())
    send(other, {"search": {"query": "x"}}, key=KEY)
    before = the_profile(other)
    now = a_moment()
    users.erase(ANA, account, now)
    assert erase_leftovers(account.table, now + IN_FLIGHT) == []
    assert the_profile(other) == before
    assert len(the_events(other)) == 1
    assert send(other, {"search": {"query": "x"}}, key=KEY).replayed


CRAFTED = ["shop-2#USER#x", "2#USER#x", "#USER#x", "-2#USER#{id}", "2#EMAIL#ana", "../shop-2", "USER#{id}", "{id}#"]


@pytest.mark.parametrize("text", CRAFTED)
def test_no_crafted_id_or_order_crosses_over(account: Account, other: Account, text: str) -> None:
    a_user(account)
    theirs = a_user(other)
    crafted = text.replace("{id}", theirs.id)
    with pytest.raises(NotFound):
        users.get(crafted, account)
    with pytest.raises((Invalid, NotFound)):
        users.change(crafted, {}, True, account, a_moment())
    assert send(account, {"confirmation": {"orderId": crafted}}).restriction is None
    assert send(other, {"confirmation": {"orderId": crafted}}).restriction is None
    assert the_profile(other)["_id"] == theirs.id


# --- API keys -------------------------------------------------------------------------------------


def a_key(account: Account, expires_on: str | None = None) -> tuple[str, ApiKey]:
    secret, key = new_api_key(a_moment(), expires_on)
    api_keys.add(account, key)
    return secret, key


def test_a_revoked_key_stays_revoked(account: Account) -> None:
    secret, key = a_key(account)
    now = a_moment()
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


def test_the_key_itself_is_nowhere_in_the_table(account: Account) -> None:
    secret, _ = a_key(account)
    items = repr(account.table.client.scan(TableName=account.table.name)["Items"])
    assert secret not in items
    assert hash_of(secret) in items
