"""Contract section 7: what a profile says of the last purchase and the last open belongs to the latest of them."""

import itertools
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from builders import a_moment, a_user, send, the_profile
from domain.times import iso
from engines import aws_engine_only, not_on_moto
from faults import at_each_call
from table import Account
from table.calls import Table

MINUTE = timedelta(minutes=1)


def buy(account: Account, order_id: object, now: datetime, **order: Any) -> None:
    assert send(account, {"confirmation": {"orderId": order_id, **order}}, now=now).restriction is None


def last_purchase(account: Account) -> tuple[str, Decimal | None]:
    profile = the_profile(account)
    return profile["lastPurchaseDate"], profile.get("lastPurchaseValue")


ORDERS: list[dict[str, Any]] = [{"total": 10}, {"total": "20,00"}, {"total": "5.50"}, {}]


@pytest.mark.parametrize("latest", range(len(ORDERS)), ids=lambda index: repr(ORDERS[index]))
def test_the_latest_purchase_is_the_last_one_in_any_order_of_storing(account: Account, latest: int) -> None:
    now = a_moment()
    orders = [*(order for index, order in enumerate(ORDERS) if index != latest), ORDERS[latest]]
    for number, order_of_storing in enumerate(itertools.permutations(range(len(orders)))):
        email = f"ana{number}@example.com"
        a_user(account, email)
        for index in order_of_storing:
            event = {"confirmation": {"orderId": f"{number}-{index}", **orders[index]}}
            assert send(account, event, now=now + index * MINUTE, email=email).restriction is None
        profile = the_profile(account, email)
        assert profile["lastPurchaseDate"] == iso(now + (len(orders) - 1) * MINUTE)
        assert profile.get("lastPurchaseValue") == {"10": 10, "5.50": Decimal("5.50")}.get(str(orders[-1].get("total")))
        assert (profile["numberOfPurchases"], profile["totalPurchasesValue"]) == (4, Decimal("15.50"))


@aws_engine_only
@pytest.mark.parametrize("theirs", [{"total": 7}, {"total": "20,00"}, {}], ids=repr)
def test_of_an_order_with_a_later_one_at_any_of_its_calls_nothing_is_last(
    account: Account, table: Table, theirs: dict[str, Any]
) -> None:
    now = a_moment()

    def buy_at(email: str, moment: datetime, **order: Any) -> bool:
        event = {"confirmation": {"orderId": f"{email} {moment}", **order}}
        return send(account, event, now=moment, email=email).restriction is None

    runs = at_each_call(
        table.client,
        lambda name: a_user(account, f"ana{name}@example.com").email or "",
        lambda email: buy_at(email, now, total=10),
        lambda email: buy_at(email, now + MINUTE, **theirs),
    )
    for email, *created in runs:
        assert created == [True, True]
        profile = the_profile(account, email)
        assert (profile["lastPurchaseDate"], profile.get("lastPurchaseValue")) == (
            iso(now + MINUTE), theirs["total"] if theirs.get("total") == 7 else None,
        )  # fmt: skip
        assert profile["numberOfPurchases"] == 2


@not_on_moto
def test_of_many_orders_at_once_the_latest_is_the_last_and_all_count(account: Account) -> None:
    a_user(account)
    now = a_moment()
    with ThreadPoolExecutor(10) as pool:
        list(pool.map(lambda n: buy(account, n, now + (n * 7 % 30) * MINUTE, total=n * 7 % 30), range(30)))
    assert last_purchase(account) == (iso(now + 29 * MINUTE), Decimal(29))
    assert (the_profile(account)["numberOfPurchases"], the_profile(account)["totalPurchasesValue"]) == (
        30,
        sum(range(30)),
    )


@aws_engine_only
def test_of_an_open_with_a_later_one_at_any_of_its_calls_the_later_is_the_last(account: Account, table: Table) -> None:
    now = a_moment()
    runs = at_each_call(
        table.client,
        lambda name: a_user(account, f"ana{name}@example.com").email or "",
        lambda email: send(account, {"emailopen": {}}, now=now, email=email),
        lambda email: send(account, {"emailopen": {}}, now=now + 20 * MINUTE, email=email).status,
    )
    for email, later, _ in runs:
        assert later == "created", "the two are 20 minutes apart"
        assert the_profile(account, email)["lastEmailOpenDate"] == iso(now + 20 * MINUTE)
