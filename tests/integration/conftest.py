import pytest

from domain.dynamodb import Table
from domain.store import Store


@pytest.fixture
def store(table: Table) -> Store:
    return Store(table, "shop")
