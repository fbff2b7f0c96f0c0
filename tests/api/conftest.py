import pytest

from builders import ANA, a_user
from domain.profile import Profile
from table import Account
from table.calls import Table


@pytest.fixture
def demo(functions_table: Table) -> Account:
    return Account(functions_table, "demo")


@pytest.fixture
def ana(demo: Account) -> Profile:
    return a_user(demo, ANA)
