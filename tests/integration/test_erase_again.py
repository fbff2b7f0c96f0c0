"""After a restore, users who were erased after the backup are erased again, and later changes of keys are copied."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from mypy_boto3_dynamodb import DynamoDBClient

from builders import ANA, a_moment, a_user, send
from domain.accounts import ApiKey, new_api_key
from domain.ids import new_id
from domain.problems import Conflict, NotFound
from domain.times import iso
from engines import aws_engine_only, both_engines, new_table
from faults import Crash, die, faults
from table import Account, api_keys
from table import primary_keys as keys
from table.attribute_values import to_item
from table.calls import Table
from table.erasures import Receipt
from tools.erase_again import Run, erase_again
from use_cases import users
from use_cases.erasure import IN_FLIGHT, erase_leftovers

pytestmark = both_engines


@pytest.fixture
def old(engine: DynamoDBClient) -> Iterator[Table]:
    with new_table(engine, f"test-{uuid4()}") as made:
        yield made


def remember_erasure(old: Table, user_id: str, **known: Any) -> None:
    """Write the mark that stays of an erased user."""
    item = {**keys.erased("shop", user_id)._asdict(), "erasedAt": "2026-11-24T10:00:00.000Z", **known}
    old.client.put_item(TableName=old.name, Item=to_item(item))


def again(old: Table, restored: Table) -> int:
    erased, _ = erase_again(restored.client, Run(old.name, restored.name))
    return erased


def test_users_erased_after_the_backup_are_erased_again_once(old: Table, table: Table, account: Account) -> None:
    other = Account(table, "other")
    ana, bob, gone = a_user(account), a_user(account, "bob@example.com"), new_id(a_moment())
    theirs = a_user(other)
    for user_id in (ana.id, theirs.id, gone):  # an id of one account says nothing about another's
        remember_erasure(old, user_id)
    assert again(old, table) == 1
    for identifier in (ana.id, ANA):
        with pytest.raises(NotFound):
            users.get(identifier, account)
    assert users.get(bob.id, account) == bob
    assert users.get(theirs.id, other) == theirs
    with pytest.raises(Conflict):  # created and erased after the backup
        users.change(gone, {}, True, account, a_moment())
    assert again(old, table) == 0
    assert erase_leftovers(table, a_moment() + 2 * IN_FLIGHT) == []
    assert again(old, table) == 0


def test_the_receipt_of_an_erasure_survives_the_restore(old: Table, table: Table, account: Account) -> None:
    """It keeps the first request and its count. It is in progress again until nothing is left in the restored table."""
    ana, bob, gone = a_user(account), a_user(account, "bob@example.com"), new_id(a_moment())
    for user in (ana, bob):
        send(account, {"search": {"query": "x"}}, _id=user.id)
    for user_id in (ana.id, gone):
        remember_erasure(old, user_id, finishedOn="2026-11-24T10:05:00.000Z", eventsDeleted=7)
    remember_erasure(old, bob.id, eventsDeleted=7)
    again(old, table)
    first = Receipt("2026-11-24T10:00:00.000Z", True, "2026-11-24T10:05:00.000Z", 7)
    assert users.receipt(gone, account) == first
    assert users.receipt(ana.id, account) == Receipt(first.requested_on, is_finished=False)
    erase_leftovers(table, a_moment() + 2 * IN_FLIGHT)
    again(old, table)
    after = users.receipt(ana.id, account)
    assert after == first._replace(finished_on=after.finished_on)
    assert str(after.finished_on) > str(first.finished_on)
    assert users.receipt(bob.id, account).events_deleted == 1, "not finished before, so it counts from the start"


# --- Keys -------------------------------------------------------------------------------------------


def a_key(*tables: Table) -> ApiKey:
    """Create a key of the account shop in the tables; in both if it is older than the restore."""
    _, key = new_api_key(a_moment(), None)
    for each in tables:
        api_keys.add(Account(each, "shop"), key)
    return key


def state(key: ApiKey, table: Table) -> tuple[str | None, str | None, bool]:
    """When a key expires, when it was revoked, and whether it opens anything."""
    [found] = [each for each in api_keys.of_account(Account(table, "shop")) if each.id == key.id]
    return found.expires_on, found.revoked_on, api_keys.find(table, key.hash) is not None


def expired(key: ApiKey, table: Table, days: int, now: datetime) -> None:
    assert api_keys.expire(Account(table, "shop"), key, iso(now + timedelta(days=days)), now)


def test_keys_are_in_the_restored_table_as_they_were_made_changed_and_revoked_since(old: Table, table: Table) -> None:
    now = a_moment()
    later = now + timedelta(minutes=1)
    made, revoked, changed, changed_by_1_1 = a_key(old), a_key(old, table), a_key(old, table), a_key(old, table)
    assert api_keys.revoke(Account(old, "shop"), revoked, now)
    for key in (changed, changed_by_1_1):
        expired(key, old, 30, now)
    place = to_item(keys.key_of_account("shop", changed_by_1_1.id)._asdict())  # 1.1 does not note when it changes a key
    old.client.update_item(TableName=old.name, Key=place, UpdateExpression="REMOVE changedOn")
    untouched = a_key(old, table)
    _, carried = erase_again(table.client, Run(old.name, table.name))
    assert carried == 4
    for key in (made, revoked, changed, changed_by_1_1, untouched):
        assert state(key, table) == state(key, old)
    assert state(revoked, table)[2] is False
    # The functions use the restored table now: what happens there is later than what the old one knows.
    assert api_keys.revoke(Account(table, "shop"), made, later)
    expired(changed, table, 60, later)
    new = a_key(table)
    before = [state(key, table) for key in (made, revoked, changed, new)]
    assert erase_again(table.client, Run(old.name, table.name))[1] == 0
    assert [state(key, table) for key in (made, revoked, changed, new)] == before


# --- A large table ----------------------------------------------------------------------------------


@aws_engine_only
def test_a_run_that_stops_goes_on_where_it_stopped(old: Table, table: Table, account: Account, tmp_path: Path) -> None:
    """Also with what it found in the old table, which it does not read again."""
    file = tmp_path / "run.json"
    everybody = [a_user(account, f"u{n}@example.com", note="x" * 9_000) for n in range(130)]
    for user in everybody[::2]:
        remember_erasure(old, user.id)
    stopped = Run.resumed(old.name, table.name, file)
    with faults(table.client, "TransactWriteItems", *[lambda _: None] * 20, die), pytest.raises(Crash):
        erase_again(table.client, stopped)
    assert file.stat().st_mode & 0o077 == 0
    resumed = Run.resumed(old.name, table.name, file)
    assert resumed.began_before
    assert erase_again(table.client, resumed)[0] >= 1
    profiles = [account.table.get(keys.profile("shop", user.id)) or {} for user in everybody]
    assert ["createdOn" in profile for profile in profiles] == [False, True] * 65
    assert not file.exists()
    assert not Run.resumed(old.name, table.name, file).began_before
