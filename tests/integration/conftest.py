import pytest

from releases import Release
from table import Account
from table.calls import Table


@pytest.fixture
def account(table: Table) -> Account:
    return Account(table, "shop")


@pytest.fixture
def old(both: tuple[Release, Release]) -> Release:
    """Return the old version of a test of upgrades, which has a fixture `both`."""
    return both[0]


@pytest.fixture
def new(both: tuple[Release, Release]) -> Release:
    """Return this version, on the same table."""
    return both[1]
