"""Functions run in containers whose clocks differ. Each decides by its own, and leaves its time for the others."""

from datetime import timedelta
from itertools import pairwise

import pytest

from builders import a_moment, a_user, send, the_events
from domain.idempotency import LIFETIME, IdempotencyKey
from domain.ids import time_of
from domain.restrictions import EMAIL_OPEN_WINDOW
from domain.store import Store

KEY = IdempotencyKey.of("key", b"body")
SEARCH = {"search": {"query": "x"}}
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
a_skew = pytest.mark.parametrize("skew", [-10 * MINUTE, -SECOND, SECOND, 10 * MINUTE], ids=timedelta.total_seconds)


@a_skew
def test_opens_let_in_by_two_clocks_are_20_minutes_apart_by_their_times(store: Store, skew: timedelta) -> None:
    a_user(store)
    begin = a_moment()
    for minute in range(65):
        send(store, {"emailopen": {}}, now=begin + minute * MINUTE + (skew if minute % 2 else timedelta()))
    times = [time_of(event_id) for event_id in reversed(the_events(store))]
    assert 3 <= len(times) <= 5
    assert all(later - earlier >= EMAIL_OPEN_WINDOW for earlier, later in pairwise(times))


def test_a_timeline_is_in_the_order_of_the_clocks_whatever_the_order_of_arrival(store: Store) -> None:
    a_user(store)
    now = a_moment()
    arrivals = [send(store, SEARCH, now=now + skew).event_id for skew in (SECOND, -MINUTE, MINUTE, -SECOND)]
    assert the_events(store) == [arrivals[number] for number in (2, 0, 3, 1)]


@a_skew
def test_an_idempotency_key_is_remembered_until_the_time_that_its_first_clock_set(
    store: Store, skew: timedelta
) -> None:
    a_user(store)
    end = a_moment().replace(microsecond=0) + LIFETIME
    first = send(store, SEARCH, now=end - LIFETIME, key=KEY)
    for moment in (end - LIFETIME + skew, end - SECOND):
        repeat = send(store, SEARCH, now=moment, key=KEY)
        assert (repeat.event_id, repeat.replayed) == (first.event_id, True)
    assert not send(store, SEARCH, now=end, key=KEY).replayed


@pytest.mark.parametrize("late", [timedelta(), SECOND, 2 * DAY, 60 * DAY], ids=timedelta.total_seconds)
def test_what_ttl_removes_late_stands_in_nobodys_way(store: Store, late: timedelta) -> None:
    """No engine here deletes by TTL: both items lie there past their time."""
    a_user(store)
    now = a_moment()
    opened_first = send(store, {"emailopen": {}}, now=now, key=KEY)
    again = send(store, {"emailopen": {"other": "body"}}, now=now + LIFETIME + late, key=IdempotencyKey.of("key", b"b"))
    assert (again.discarded, again.replayed) == (None, False)
    assert the_events(store) == [again.event_id, opened_first.event_id]
