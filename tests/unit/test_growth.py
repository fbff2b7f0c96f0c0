"""docs/growth.md says what growth.py works out, which knows this system and agrees with simulation.py."""

import re
from collections import Counter

import pytest

from docs import growth, simulation
from docs.growth import BATCH, Inputs
from docs.simulation import LIMITS, Traffic, simulate
from docs.units import BATCHES, BILLS, LATE
from documents import TEMPLATE
from domain.event_types import CATALOGUE, restrictions
from domain.problems import WARNINGS, Refused
from handlers.metrics import METRICS

PERFORMANCE = growth.PAGE.with_name("performance.md")


def test_the_page_is_up_to_date_and_one_that_is_not_is_worked_out_again() -> None:
    text = growth.PAGE.read_text()
    assert text == growth.page(text), "run `make growth`"
    assert growth.page(text.replace("| 1,000,000 |", "| 2,000,000 |")) == text


def test_the_script_knows_the_template() -> None:
    parameters = {name: each["Default"] for name, each in TEMPLATE["Parameters"].items()}
    assert TEMPLATE["Globals"]["Function"]["MemorySize"] == growth.MEMORY_MB
    assert parameters["ThrottleRate"] == growth.THROTTLE_RATE
    assert parameters["AuthorizerCacheSeconds"] == growth.KEY_REMEMBERED_SECONDS
    assert parameters["LogRetentionDays"] == 30
    alarms = [each for each in TEMPLATE["Resources"].values() if each["Type"] == "AWS::CloudWatch::Alarm"]
    assert len(alarms) == growth.ALARMS


def test_the_script_knows_about_how_many_metrics_there_are() -> None:
    kinds = len(CATALOGUE) + len(restrictions()) + len(WARNINGS) + len(Refused.__subclasses__())
    assert abs(len(METRICS) + kinds - growth.METRICS) <= 5


def test_performance_md_has_the_measured_units() -> None:
    text = PERFORMANCE.read_text()
    rows = [line.split(" | ")[1:] for line in text.splitlines() if re.match(r"\| .* \| (Batch)?GetItem", line)]
    bills = (*BILLS.values(), *LATE.values())
    assert rows == [[", ".join(bill.calls), f"{bill.rru:g}", f"{bill.wru} |"] for bill in bills]
    for name, bill in BATCHES.items():
        calls = ", ".join(f"{number} {call}" for call, number in Counter(bill.calls).items())
        assert f"\n| {name} | {calls} | {bill.rru:g} | {bill.wru} |\n" in text
    assert Inputs().mix.keys() <= BILLS.keys()
    assert sum(Inputs().mix.values()) == 100


def test_a_million_plain_events_cost_their_units_their_requests_and_their_time() -> None:
    inputs = Inputs(mix={"plain": 100}, duration_ms=10, memory_mb=512, keys=0)
    shares = growth.month(inputs, 1e6 / 30)
    assert shares["API Gateway, REST"] == pytest.approx(3.50)
    assert shares["DynamoDB, writes"] == pytest.approx(0.625)
    assert shares["DynamoDB, reads"] == pytest.approx(0.125)
    assert shares["Lambda, requests"] == pytest.approx(0.20)
    assert shares["Lambda, GB-seconds"] == pytest.approx(5_000 * 0.0000166667)

    # Events of the usual mix in batches cost little more than a third.
    single, batched = (sum(growth.million(Inputs(batch=size)).values()) for size in (1, growth.BATCH))
    assert batched <= 2.20
    assert batched < 0.36 * single


@pytest.mark.parametrize("size", [1, BATCH])
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
