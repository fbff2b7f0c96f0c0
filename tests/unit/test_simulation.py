"""docs/simulation.py agrees with the arithmetic of growth.py where both can answer, and with common sense elsewhere."""

import pytest

from docs import growth, simulation
from docs.growth import BATCH, Inputs
from docs.simulation import LIMITS, Traffic, simulate

sizes = pytest.mark.parametrize("size", [1, BATCH])


@sizes
@pytest.mark.parametrize("limit", LIMITS)
def test_even_traffic_is_throttled_where_the_arithmetic_says(limit: str, size: int) -> None:
    inputs = Inputs(batch=size)
    [rate] = [each.events_a_second for each in growth.limits(inputs) if each.name == limit]
    others = set(LIMITS) - {limit}
    assert not simulate(Traffic(inputs, 0.999 * rate * growth.DAY, even=True), others).throttled
    assert simulate(Traffic(inputs, 1.001 * rate * growth.DAY, even=True), others).throttled.keys() == {limit}


def test_a_day_has_its_events_and_those_of_the_sale_and_the_import() -> None:
    assert Traffic(Inputs(), 1e6, even=True).of_day() == pytest.approx(1e6)
    assert 1.1e6 < Traffic(Inputs(), 1e6).of_day() < 1.2e6


def test_what_is_throttled_during_a_sale_is_accepted_after_it() -> None:
    outcome = simulate(Traffic(Inputs(), 300e6), lifted=set(LIMITS) - {"API Gateway"})
    assert outcome.throttled.keys() == {"API Gateway"}
    assert outcome.waiting == 0
    assert 0 < outcome.longest_minutes < simulation.SALE_MINUTES
