"""What holds however many requests come at once. Not on moto: its transactions know no threads."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import pytest

from builders import ANA, a_moment, a_user, send, the_events, the_profile
from declared import RESTRICTED, with_declared_types
from domain.outcomes import KEY_LIFETIME, IdempotencyKey
from domain.problems import Conflict
from engines import not_on_moto
from table import Account
from table.calls import Table
from use_cases import users

pytestmark = not_on_moto

Result = TypeVar("Result")


@pytest.fixture
def account(table: Table) -> Account:
    return Account(table, "shop")


def at_once(times: int, what: Callable[[int], Result]) -> list[Result]:
    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(what, range(times)))


def test_attributes_and_tags_set_at_once_are_all_kept(account: Account) -> None:
    a_user(account, tags=[f"old{n}" for n in range(20)])
    at_once(20, lambda n: send(account, {"update": {f"a{n}": n, "tags": [f"new{n}", f"-old{n}"]}}))
    profile = the_profile(account)
    assert {f"a{n}": profile[f"a{n}"] for n in range(20)} == {f"a{n}": n for n in range(20)}
    assert profile["tags"] == sorted(f"new{n}" for n in range(20))


def test_changes_too_large_for_an_expression_lose_nothing_either(account: Account) -> None:
    a_user(account)

    def update(n: int) -> None:
        send(account, {"update": {f"{n}-{i}": i for i in range(150 if n % 2 else 3)}})

    at_once(4, update)
    profile = the_profile(account)
    assert sum("-" in name for name in profile) == 2 * 150 + 2 * 3


def test_of_many_logins_claiming_one_address_one_user_gets_it_and_replaces_the_others(account: Account) -> None:
    ids = [a_user(account, None).id for _ in range(20)]
    answers = at_once(20, lambda n: send(account, {"login": {"email": ANA, f"from{n}": n}}, _id=ids[n]))
    [winner] = {answer.user_id for answer in answers}
    profile = the_profile(account)
    assert profile["_id"] == winner
    assert winner in ids
    assert {f"from{n}" for n in range(20)} <= profile.keys()
    assert sorted(the_events(account)) == sorted(answer.event_id for answer in answers)
    losers = [the_profile(account, each) for each in ids if each != winner]
    assert all("email" not in loser for loser in losers)


def test_of_many_new_users_with_one_address_one_is_made(account: Account) -> None:
    def create(n: int) -> str | None:
        try:
            return users.create({"email": ANA}, account, a_moment())[0].id
        except Conflict:
            return None

    made = [each for each in at_once(20, create) if each]
    assert made == [the_profile(account)["_id"]]


EVERY_KIND: list[dict[str, Any]] = [
    {"search": {"query": "x"}},
    {"update": {"a": 1}},
    *(kind.event() for kind in RESTRICTED),
]


@with_declared_types
@pytest.mark.parametrize("event", EVERY_KIND, ids=lambda event: next(iter(event)))
def test_of_many_repeats_of_one_idempotency_key_one_stores_and_all_get_its_answer(
    account: Account, event: dict[str, Any]
) -> None:
    a_user(account)
    key = IdempotencyKey.of("key", b"body")
    answers = at_once(20, lambda _: send(account, event, key=key))
    assert len({(answer.event_id, answer.user_id, answer.restriction) for answer in answers}) == 1
    assert Counter(answer.replayed for answer in answers) == {False: 1, True: 19}
    assert the_events(account) == [answers[0].event_id]


def test_of_many_requests_under_a_key_whose_24_hours_are_over_one_stores(account: Account) -> None:
    """The old item is there still: TTL removes it late."""
    a_user(account)
    key = IdempotencyKey.of("key", b"body")
    now = a_moment()
    send(account, {"search": {"query": "x"}}, now=now, key=key)
    answers = at_once(20, lambda _: send(account, {"search": {"query": "x"}}, now=now + KEY_LIFETIME, key=key))
    assert Counter(answer.replayed for answer in answers) == {False: 1, True: 19}
    assert len(the_events(account)) == 2
