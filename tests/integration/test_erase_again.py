"""After a restore to a moment before an erasure, the user is erased again."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from builders import ANA, a_moment, a_user, send
from domain.ids import new_id
from domain.problems import Conflict, NotFound
from engines import new_table
from table import Account, keys
from table.calls import Table
from table.erasures import Receipt
from table.values import to_item
from tools.erase_again import erase_again
from use_cases import users
from use_cases.erasure import IN_FLIGHT, erase_leftovers

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


@pytest.fixture
def old(engine: "DynamoDBClient") -> Iterator[Table]:
    with new_table(engine, f"test-{uuid4()}") as made:
        yield made


def remember_erasure(old: Table, account: str, user_id: str, **known: Any) -> None:
    """Write the mark that stays of an erased user."""
    item = {**keys.erased(account, user_id), "erasedAt": "2026-11-24T10:00:00.000Z", **known}
    old.client.put_item(TableName=old.name, Item=to_item(item))


def exists(account: Account, identifier: str) -> bool:
    with contextlib.suppress(NotFound):
        return bool(users.read(identifier, account))
    return False


def again(old: Table, restored: Table) -> int:
    return erase_again(restored.client, old.name, restored.name)


def test_who_was_erased_since_is_erased_again_and_nobody_else(old: Table, table: Table) -> None:
    shop, other = Account(table, "shop"), Account(table, "other")
    ana, bob = a_user(shop), a_user(shop, "bob@example.com")
    theirs = a_user(other)
    remember_erasure(old, "shop", ana.id)
    remember_erasure(old, "shop", theirs.id)  # an id of one account says nothing about another's
    assert again(old, table) == 1
    assert not exists(shop, ana.id)
    assert not exists(shop, ANA)
    assert exists(shop, bob.id)
    assert exists(other, theirs.id)


def test_a_second_run_finds_nobody_before_and_after_the_erasure_is_finished(old: Table, table: Table) -> None:
    shop = Account(table, "shop")
    remember_erasure(old, "shop", a_user(shop).id)
    assert again(old, table) == 1
    assert again(old, table) == 0
    assert erase_leftovers(table, a_moment() + 2 * IN_FLIGHT) == []
    assert again(old, table) == 0


def test_the_id_of_one_who_was_created_and_erased_after_that_moment_does_not_come_back(
    old: Table, table: Table
) -> None:
    user_id = new_id(a_moment())
    remember_erasure(old, "shop", user_id)
    assert again(old, table) == 0
    with pytest.raises(Conflict):
        users.change(user_id, {}, True, Account(table, "shop"), a_moment())


def test_the_receipt_of_an_erasure_survives_the_restore(old: Table, table: Table) -> None:
    """It keeps the first request and its count. It is in progress again until nothing is left in the restored table."""
    shop = Account(table, "shop")
    ana, gone = a_user(shop), new_id(a_moment())
    send(shop, {"search": {"query": "x"}})
    for user_id in (ana.id, gone):
        known = {"finishedOn": "2026-11-24T10:05:00.000Z", "eventsDeleted": 7}
        remember_erasure(old, "shop", user_id, **known)
    again(old, table)
    first = Receipt("2026-11-24T10:00:00.000Z", True, "2026-11-24T10:05:00.000Z", 7)
    assert users.receipt(gone, shop) == first
    assert users.receipt(ana.id, shop) == Receipt(first.requested_on, is_finished=False)
    erase_leftovers(table, a_moment() + 2 * IN_FLIGHT)
    again(old, table)
    after = users.receipt(ana.id, shop)
    assert after == replace(first, finished_on=after.finished_on)
    assert str(after.finished_on) > str(first.finished_on)


def test_a_table_of_several_pages_is_read_to_its_end(old: Table, table: Table) -> None:
    shop = Account(table, "shop")
    everybody = [a_user(shop, f"u{n}@example.com", note="x" * 9_000) for n in range(130)]
    for user in everybody[::2]:
        remember_erasure(old, "shop", user.id)
    assert again(old, table) == 65
    assert [exists(shop, user.id) for user in everybody[:4]] == [False, True, False, True]
