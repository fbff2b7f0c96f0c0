"""Contract section 9: two stored opens are at least 20 minutes apart, whenever TTL deletes a lock."""

from datetime import datetime, timedelta

import pytest

from builders import a_moment, a_user, an_entry, send_batch, the_events
from domain.outcomes import Outcome
from engines import not_on_moto
from faults import at_call
from stored import item_at, open_key
from table import Account

LONGEST_REQUEST = timedelta(seconds=15)  # the time limit of the function
CALLS = 6  # of a late open: user, lock, timeline, profile, write; and one that does not come


def delete_expired(account: Account, user_id: str, now: datetime) -> None:
    """Delete expired items at once, which is the fastest that TTL can be."""
    lock = item_at(account.table, open_key(user_id))
    if lock and int(lock["expiresAt"]["N"]) < now.timestamp():
        account.table.client.delete_item(TableName=account.table.name, Key=open_key(user_id))


@not_on_moto
@pytest.mark.parametrize("number", range(1, CALLS + 1))
def test_two_late_opens_are_a_window_apart_even_if_ttl_deletes_the_lock_between_two_calls(
    number: int, account: Account
) -> None:
    user_id, now = a_user(account).id, a_moment()
    one, other = (an_entry({"emailopen": {}}, eventTime=now - timedelta(minutes=ago)) for ago in (60, 50))

    def the_other() -> None:
        [created] = send_batch(account, [other], now)
        assert isinstance(created, Outcome)
        delete_expired(account, user_id, now + LONGEST_REQUEST)

    with at_call(account.table.client, "before", number, the_other):
        send_batch(account, [one], now)
    assert len(the_events(account)) == 1
