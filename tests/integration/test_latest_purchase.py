"""Contract section 7: what a profile says of the last purchase and the last open belongs to the latest of them."""

import itertools
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from builders import a_moment, a_user, send, the_profile
from domain.times import iso
from engines import aws_engine_only
from faults import at_each_call
from table import Account
from table.calls import Table

MINUTE = timedelta(minutes=1)


ORDERS: list[dict[str, Any]] = [{"total": "5.50"}, {"total": "20,00"}, {}]


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
        assert profile.get("lastPurchaseValue") == {"5.50": Decimal("5.50")}.get(orders[-1].get("total", ""))
        assert (profile["numberOfPurchases"], profile["totalPurchasesValue"]) == (3, Decimal("5.50"))


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
