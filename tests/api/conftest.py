import math

import pytest

from builders import ANA, a_user
from domain.profile import Profile
from handlers import rest, runtime
from table import Account
from table.calls import Table


@pytest.fixture
def demo(functions_table: Table) -> Account:
    """The account of the events in events/."""
    return Account(functions_table, "demo")


@pytest.fixture
def ana(demo: Account) -> Profile:
    """The user that the events in events/ name."""
    return a_user(demo, ANA)


@pytest.fixture(autouse=True)
def no_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow machine gets the same answers. Time limits: test_template.py, and test_faults.py with a clock."""
    monkeypatch.setattr(rest, "table", lambda: Table(runtime.client, runtime.TABLE_NAME, math.inf))
