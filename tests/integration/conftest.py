import pytest

from domain.table import Account
from domain.table.calls import Table


@pytest.fixture
def account(table: Table) -> Account:
    return Account(table, "shop")
