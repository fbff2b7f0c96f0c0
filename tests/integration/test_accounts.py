"""Accounts in one table never see each other, for any names that callers choose; and their API keys."""

from datetime import timedelta

import pytest

from builders import ANA, a_moment, a_user, send, the_events, the_profile
from domain.accounts import hash_of, new_api_key
from domain.outcomes import IdempotencyKey
from domain.problems import Invalid, NotFound
from domain.times import iso
from stored import as_text
from table import Account, api_keys
from table.calls import Table
from use_cases import users
from use_cases.erasure import IN_FLIGHT, erase_leftovers

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


def test_no_crafted_id_or_order_crosses_over(account: Account, other: Account) -> None:
    a_user(account)
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
