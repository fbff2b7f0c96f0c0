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


def buy(account: Account, email: str, moment: datetime, order: dict[str, Any]) -> bool:
    event = {"confirmation": {"orderId": f"{email} {moment}", **order}}
    return send(account, event, now=moment, email=email).restriction is None


@pytest.mark.parametrize("latest", ORDERS, ids=repr)
def test_the_latest_purchase_is_the_last_one_in_any_order_of_storing(account: Account, latest: dict[str, Any]) -> None:
    now = a_moment()
    orders = [*(order for order in ORDERS if order != latest), latest]
    for number, order_of_storing in enumerate(itertools.permutations(enumerate(orders))):
        email = f"ana{number}@example.com"
        a_user(account, email)
        for minutes, order in order_of_storing:
            assert buy(account, email, now + minutes * MINUTE, order)
        profile = the_profile(account, email)
        assert profile["lastPurchaseDate"] == iso(now + 2 * MINUTE)
        assert profile.get("lastPurchaseValue") == {"5.50": Decimal("5.50")}.get(latest.get("total", ""))
        assert (profile["numberOfPurchases"], profile["totalPurchasesValue"]) == (3, Decimal("5.50"))


@aws_engine_only
@pytest.mark.parametrize("theirs", [{"total": 7}, {"total": "20,00"}, {}], ids=repr)
def test_of_an_order_with_a_later_one_at_any_of_its_calls_nothing_is_last(
    account: Account, table: Table, theirs: dict[str, Any]
) -> None:
    now = a_moment()
    runs = at_each_call(
        table.client,
        lambda name: a_user(account, f"ana{name}@example.com").email or "",
        lambda email: buy(account, email, now, {"total": 10}),
        lambda email: buy(account, email, now + MINUTE, theirs),
    )
    for email, *created in runs:
        assert created == [True, True]
        profile = the_profile(account, email)
        told = profile["lastPurchaseDate"], profile.get("lastPurchaseValue")
        assert told == (iso(now + MINUTE), 7 if theirs.get("total") == 7 else None)
        assert profile["numberOfPurchases"] == 2
