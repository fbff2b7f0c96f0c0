"""Functions run in containers whose clocks differ. Each decides by its own, and leaves its time for the others."""

from datetime import timedelta
from itertools import pairwise

import pytest

from builders import a_moment, a_user, send, the_events
from declared import Windowed, every_window, with_declared_types
from domain.ids import time_of
from domain.outcomes import KEY_LIFETIME, IdempotencyKey
from table import Account

KEY = IdempotencyKey.of("key", b"body")
SEARCH = {"search": {"query": "x"}}
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
a_skew = pytest.mark.parametrize("skew", [-10 * MINUTE, -SECOND, SECOND, 10 * MINUTE], ids=timedelta.total_seconds)


@with_declared_types
@every_window
@a_skew
def test_what_two_clocks_let_in_lies_a_window_apart_by_its_times(
    account: Account, windowed: Windowed, skew: timedelta
) -> None:
    a_user(account)
    begin, step = a_moment(), windowed.window / 20
    for number in range(65):
        send(account, windowed.event(), now=begin + number * step + (skew if number % 2 else timedelta()))
    times = [time_of(event_id) for event_id in reversed(the_events(account))]
    assert 3 <= len(times) <= 5
    assert all(later - earlier >= windowed.window for earlier, later in pairwise(times))


def test_a_timeline_is_in_the_order_of_the_clocks_whatever_the_order_of_arrival(account: Account) -> None:
    a_user(account)
    now = a_moment()
    arrivals = [send(account, SEARCH, now=now + skew).event_id for skew in (SECOND, -MINUTE, MINUTE, -SECOND)]
    assert the_events(account) == [arrivals[number] for number in (2, 0, 3, 1)]


@a_skew
def test_an_idempotency_key_is_remembered_until_the_time_that_its_first_clock_set(
    account: Account, skew: timedelta
) -> None:
    a_user(account)
    end = a_moment().replace(microsecond=0) + KEY_LIFETIME
    first = send(account, SEARCH, now=end - KEY_LIFETIME, key=KEY)
    for moment in (end - KEY_LIFETIME + skew, end - SECOND):
        repeat = send(account, SEARCH, now=moment, key=KEY)
        assert (repeat.event_id, repeat.replayed) == (first.event_id, True)
    assert not send(account, SEARCH, now=end, key=KEY).replayed


@pytest.mark.parametrize("late", [timedelta(), SECOND, 2 * DAY, 60 * DAY], ids=timedelta.total_seconds)
def test_what_ttl_removes_late_stands_in_nobodys_way(account: Account, late: timedelta) -> None:
    """No engine here deletes by TTL: both items lie there past their time."""
    a_user(account)
    now = a_moment()
    opened_first = send(account, {"emailopen": {}}, now=now, key=KEY)
    again = send(
        account, {"emailopen": {"other": "body"}}, now=now + KEY_LIFETIME + late, key=IdempotencyKey.of("key", b"b")
    )
    assert (again.restriction, again.replayed) == (None, False)
    assert the_events(account) == [again.event_id, opened_first.event_id]
