"""Contract section 6, DELETE: nothing of the person is left, with any other request meanwhile."""

from datetime import datetime, timedelta

import pytest

from builders import ANA, a_moment, a_user, send, the_profile
from domain.outcomes import IdempotencyKey
from domain.problems import NotFound
from domain.times import iso
from faults import at_each_call
from stored import as_text
from table import Account, erasures
from table.attribute_values import digest_of
from table.erasures import Receipt
from use_cases import users
from use_cases.erasure import IN_FLIGHT, erase_leftovers

LATER = IN_FLIGHT + timedelta(seconds=1)


def erase(account: Account, identifier: str = ANA) -> datetime:
    """Erases the user, and runs the worker now and when the user's last event in flight has landed."""
    now = a_moment()
    users.erase(identifier, account, now)
    erase_leftovers(account.table, now)
    assert erase_leftovers(account.table, now + LATER) == []
    return now


def test_no_item_names_an_erased_person(account: Account) -> None:
    profile = a_user(account, tel="+34 600 000 000", tags=["vip"])
    key = IdempotencyKey.of("key", b"body")
    send(account, {"update": {"firstname": "Ana"}})
    send(account, {"emailopen": {}})
    send(account, {"confirmation": {"orderId": "A-1", "total": 10}}, key=key)
    send(account, {"search": {"query": "+34 600 000 000"}}, key=IdempotencyKey.of("other", b"body"))
    erase(account)
    left = as_text(account.table)
    for name in (ANA, profile.id, "600 000 000", "Ana", key.key_hash):
        assert name not in left


def test_of_two_erasures_in_one_millisecond_one_erases_the_user(account: Account) -> None:
    ana, now = a_user(account), a_moment()
    assert [erasures.begin(account, ana, now) for _ in range(2)] == [iso(now), None]


def test_a_new_user_with_the_address_loses_nothing_while_the_old_one_is_erased(account: Account) -> None:
    a_user(account, colour="red")
    now = a_moment()
    users.erase(ANA, account, now)
    a_user(account, colour="blue")
    send(account, {"search": {"query": "mine"}})
    assert erase_leftovers(account.table, now + LATER) == []
    assert the_profile(account)["colour"] == "blue"
    assert len(users.timeline(ANA, {}, account, a_moment())[0]) == 1


def test_another_user_keeps_an_idempotency_key_that_the_erased_one_had_before(account: Account) -> None:
    a_user(account)
    a_user(account, "bob@example.com")
    key = IdempotencyKey.of("key", b"body")
    yesterday = a_moment() - timedelta(hours=25)
    send(account, {"search": {"query": "x"}}, now=yesterday, key=key)
    first = send(account, {"search": {"query": "x"}}, key=key, email="bob@example.com")
    erase(account)
    repeat = send(account, {"search": {"query": "x"}}, key=key, email="bob@example.com")
    assert (repeat.event_id, repeat.replayed) == (first.event_id, True)


def test_more_events_than_a_page_holds_are_erased(account: Account) -> None:
    profile = a_user(account)
    long = "x" * 60_000
    for number in range(40):  # 2.4 MB; DynamoDB reads 1 MB at a time
        send(account, {"search": {"query": long, "number": number}})
    erase(account)
    assert profile.id not in as_text(account.table)


def test_an_erasure_is_not_done_while_an_event_may_be_in_flight(account: Account) -> None:
    a_user(account)
    now = a_moment()
    users.erase(ANA, account, now)
    assert len(erase_leftovers(account.table, now + IN_FLIGHT - timedelta(milliseconds=1))) == 1
    assert erase_leftovers(account.table, now + IN_FLIGHT) == []


def test_a_key_that_two_events_of_a_user_had_one_after_the_other_holds_up_no_erasure(account: Account) -> None:
    profile = a_user(account)
    key = IdempotencyKey.of("key", b"body")
    yesterday = a_moment() - timedelta(hours=25)
    send(account, {"search": {"query": "x"}}, now=yesterday, key=key)
    send(account, {"search": {"query": "x"}}, key=key)
    erase(account)
    left = as_text(account.table)
    assert profile.id not in left
    assert key.key_hash not in left


def test_no_item_that_stays_contains_the_content_of_an_order(account: Account) -> None:
    """A digest of a short payload reveals it: with the order's number one can try all telephone numbers."""
    a_user(account)
    order = {"orderId": "A-1", "phone": "+34 600 000 000"}
    send(account, {"confirmation": order})
    erase(account)
    assert digest_of("confirmation", order) not in as_text(account.table)


# --- Receipts -------------------------------------------------------------------------------------


def test_a_receipt_says_when_an_erasure_was_requested_and_finished_and_how_many_events_it_deleted(
    account: Account,
) -> None:
    ana, now = a_user(account), a_moment()
    with pytest.raises(NotFound):
        users.receipt(ana.id, account)
    for number in range(erasures.STEP + 5):
        send(account, {"search": {"query": "x"}}, key=IdempotencyKey.of(str(number), b"") if number < 5 else None)
    send(account, {"emailopen": {}})
    assert users.erase(ANA, account, now)[1] == iso(now)
    assert users.receipt(ana.id, account) == Receipt(iso(now), is_finished=False)
    erase_leftovers(account.table, now)
    assert not users.receipt(ana.id, account).is_finished
    erase_leftovers(account.table, now + LATER)
    erase_leftovers(account.table, now + 2 * LATER)
    receipt = users.receipt(ana.id, account)
    assert (receipt.requested_on, receipt.is_finished, receipt.events_deleted) == (iso(now), True, erasures.STEP + 6)
    assert iso(now + LATER) <= str(receipt.finished_on) < iso(now + 2 * LATER)
    for identifier in (ANA, "x", ana.id.upper()):
        with pytest.raises(NotFound):
            users.receipt(identifier, account)


def test_a_receipt_counts_each_event_once_though_another_run_does_the_same(account: Account) -> None:
    now = a_moment()

    def prepare(name: str) -> str:
        user_id = a_user(account, f"{name}@example.com").id
        for _ in range(3):
            send(account, {"search": {"query": "x"}}, _id=user_id)
        users.erase(user_id, account, now)
        return user_id

    def sweep(_: str) -> list[str]:
        return erase_leftovers(account.table, now + LATER)

    for user_id, _, _ in at_each_call(account.table.client, prepare, sweep, sweep):
        sweep(user_id)
        assert users.receipt(user_id, account).events_deleted == 3
