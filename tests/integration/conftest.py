import pytest

from builders import a_user
from domain.profile import Profile
from table import Account
from table.calls import Table


@pytest.fixture
def account(table: Table) -> Account:
    return Account(table, "shop")


@pytest.fixture
def ana(account: Account) -> Profile:
    """Return the user ana@example.com, who has no attributes."""
    return a_user(account)
