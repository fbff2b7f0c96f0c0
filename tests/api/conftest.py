import pytest

from builders import ANA, a_user
from domain.dynamodb import Table
from domain.profile import Profile
from domain.store import Store


@pytest.fixture
def demo(functions_table: Table) -> Store:
    """The account of the events in events/."""
    return Store(functions_table, "demo")


@pytest.fixture
def ana(demo: Store) -> Profile:
    """The user whom the events in events/ name."""
    return a_user(demo, ANA)
