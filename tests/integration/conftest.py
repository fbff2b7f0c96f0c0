import pytest

from table import Account
from table.calls import Table


@pytest.fixture
def account(table: Table) -> Account:
    return Account(table, "shop")
