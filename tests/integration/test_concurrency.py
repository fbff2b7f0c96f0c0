"""What holds however many requests come at once. Not on moto: its transactions know no threads."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from typing import Any, TypeVar

import pytest

from builders import ANA, a_moment, a_user, send, the_events, the_profile
from domain import users
from domain.dynamodb import Table
from domain.idempotency import LIFETIME, IdempotencyKey
from domain.ids import time_of
from domain.problems import Conflict
from domain.restrictions import EMAIL_OPEN_WINDOW
from domain.store import Store
from engines import not_on_moto

pytestmark = not_on_moto

MILLISECOND = timedelta(milliseconds=1)
Result = TypeVar("Result")


@pytest.fixture
def store(table: Table) -> Store:
    return Store(table, "shop")


def at_once(times: int, what: Callable[[int], Result]) -> list[Result]:
    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(what, range(times)))


def test_of_many_confirmations_with_one_order_id_exactly_one_is_created(store: Store) -> None:
    a_user(store)
    answers = at_once(40, lambda _: send(store, {"confirmation": {"orderId": "A-1", "total": "9.99"}}))
    assert sum(answer.discarded is None for answer in answers) == 1
    profile = the_profile(store)
    assert (profile["numberOfPurchases"], profile["totalPurchasesValue"]) == (1, Decimal("9.99"))
    assert len(the_events(store)) == 1


def test_no_purchase_is_lost_from_the_totals_and_money_is_exact(store: Store) -> None:
    a_user(store)
    at_once(40, lambda n: send(store, {"confirmation": {"orderId": n, "total": "0.1"}}))
    profile = the_profile(store)
    assert (profile["numberOfPurchases"], profile["totalPurchasesValue"]) == (40, Decimal("4.0"))


def test_of_many_opens_exactly_one_is_created(store: Store) -> None:
    a_user(store)
    now = a_moment()
    answers = at_once(40, lambda _: send(store, {"emailopen": {}}, now=now))
    assert sum(answer.discarded is None for answer in answers) == 1
    assert len(the_events(store)) == 1


def test_of_many_opens_at_the_end_of_a_window_by_clocks_that_differ_exactly_one_is_created(store: Store) -> None:
    a_user(store)
    first = a_moment()
    send(store, {"emailopen": {}}, now=first)
    end = first + EMAIL_OPEN_WINDOW
    answers = at_once(40, lambda n: send(store, {"emailopen": {}}, now=end + (n - 20) * MILLISECOND))
    [created] = [answer.event_id for answer in answers if answer.discarded is None]
    assert time_of(created) >= end
    assert len(the_events(store)) == 2


def test_attributes_and_tags_set_at_once_are_all_kept(store: Store) -> None:
    a_user(store, tags=[f"old{n}" for n in range(20)])
    at_once(20, lambda n: send(store, {"update": {f"a{n}": n, "tags": [f"new{n}", f"-old{n}"]}}))
    profile = the_profile(store)
    assert {f"a{n}": profile[f"a{n}"] for n in range(20)} == {f"a{n}": n for n in range(20)}
    assert profile["tags"] == sorted(f"new{n}" for n in range(20))


def test_changes_too_large_for_an_expression_lose_nothing_either(store: Store) -> None:
    a_user(store)

    def update(n: int) -> None:
        send(store, {"update": {f"{n}-{i}": i for i in range(150 if n % 2 else 3)}})

    at_once(4, update)
    profile = the_profile(store)
    assert sum("-" in name for name in profile) == 2 * 150 + 2 * 3


def test_of_many_logins_claiming_one_address_one_user_gets_it_and_replaces_the_others(store: Store) -> None:
    ids = [a_user(store, None).id for _ in range(20)]
    answers = at_once(20, lambda n: send(store, {"login": {"email": ANA, f"from{n}": n}}, _id=ids[n]))
    [winner] = {answer.user_id for answer in answers}
    profile = the_profile(store)
    assert profile["_id"] == winner
    assert winner in ids
    assert {f"from{n}" for n in range(20)} <= profile.keys()
    assert sorted(the_events(store)) == sorted(answer.event_id for answer in answers)
    losers = [the_profile(store, each) for each in ids if each != winner]
    assert all("email" not in loser for loser in losers)


def test_of_many_new_users_with_one_address_one_is_made(store: Store) -> None:
    def create(n: int) -> str | None:
        try:
            return users.create({"email": ANA}, store, a_moment())[0].id
        except Conflict:
            return None

    made = [each for each in at_once(20, create) if each]
    assert made == [the_profile(store)["_id"]]


def test_of_many_upserts_all_attributes_land_on_one_user(store: Store) -> None:
    profiles = at_once(10, lambda n: users.change(ANA, {f"a{n}": Decimal(n)}, True, store, a_moment())[0])
    assert len({profile.id for profile in profiles}) == 1
    assert {f"a{n}" for n in range(10)} <= the_profile(store).keys()


EVERY_KIND: list[dict[str, Any]] = [
    {"search": {"query": "x"}},
    {"update": {"a": 1}},
    {"confirmation": {"orderId": "A-1", "total": 1}},
    {"emailopen": {}},
]


@pytest.mark.parametrize("event", EVERY_KIND, ids=lambda event: next(iter(event)))
def test_of_many_repeats_of_one_idempotency_key_one_stores_and_all_get_its_answer(
    store: Store, event: dict[str, Any]
) -> None:
    a_user(store)
    key = IdempotencyKey.of("key", b"body")
    answers = at_once(20, lambda _: send(store, event, key=key))
    assert len({(answer.event_id, answer.user_id, answer.discarded) for answer in answers}) == 1
    assert Counter(answer.replayed for answer in answers) == {False: 1, True: 19}
    assert the_events(store) == [answers[0].event_id]


def test_of_many_requests_under_a_key_whose_24_hours_are_over_one_stores(store: Store) -> None:
    """The old item is there still: TTL removes it late."""
    a_user(store)
    key = IdempotencyKey.of("key", b"body")
    now = a_moment()
    send(store, {"search": {"query": "x"}}, now=now, key=key)
    answers = at_once(20, lambda _: send(store, {"search": {"query": "x"}}, now=now + LIFETIME, key=key))
    assert Counter(answer.replayed for answer in answers) == {False: 1, True: 19}
    assert len(the_events(store)) == 2
