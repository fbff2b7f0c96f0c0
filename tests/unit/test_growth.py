"""docs/growth.md says what growth.py works out, and growth.py knows this system."""

import re
from collections import Counter
from typing import Any

import pytest
from samcli.yamlhelper import yaml_parse

from docs import growth
from docs.growth import Inputs
from docs.units import BATCHES, BILLS, LATE
from domain.event_types import CATALOGUE, restrictions
from domain.problems import WARNINGS, Refused
from handlers.metrics import METRICS

TEMPLATE: dict[str, Any] = yaml_parse((growth.PAGE.parents[1] / "template.yaml").read_text())
PERFORMANCE = growth.PAGE.with_name("performance.md")


def test_the_page_is_up_to_date() -> None:
    text = growth.PAGE.read_text()
    assert text == growth.page(text), "run `make growth`"


def test_a_table_that_is_out_of_date_is_worked_out_again() -> None:
    text = growth.PAGE.read_text()
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
    kinds = {
        "EventsCreated": len(CATALOGUE),
        "EventsDiscarded": len(restrictions()),
        "EventsFailed": 0,  # as long as nothing fails
        "Warnings": len(WARNINGS),
        "RequestsRefused": len(Refused.__subclasses__()),
    }
    assert kinds.keys() == {name for name, (_, dimension) in METRICS.items() if dimension}
    assert abs(len(METRICS) + sum(kinds.values()) - growth.METRICS) <= 5


def test_performance_md_has_the_measured_units() -> None:
    lines = PERFORMANCE.read_text().splitlines()
    rows = [line.split(" | ")[1:] for line in lines if re.match(r"\| .* \| (Batch)?GetItem", line)]
    bills = (*BILLS.values(), *LATE.values())
    assert rows == [[", ".join(bill.calls), f"{bill.rru:g}", f"{bill.wru} |"] for bill in bills]


def test_performance_md_has_the_measured_units_of_batches() -> None:
    for name, bill in BATCHES.items():
        calls = ", ".join(f"{number} {call}" for call, number in Counter(bill.calls).items())
        assert f"\n| {name} | {calls} | {bill.rru:g} | {bill.wru} |\n" in PERFORMANCE.read_text()


def test_each_kind_of_the_mix_is_measured() -> None:
    assert Inputs().mix.keys() <= BILLS.keys()
    assert sum(Inputs().mix.values()) == 100


def test_tiers_are_used_up_one_after_the_other() -> None:
    assert growth.tiered(1e6, growth.REST_API) == pytest.approx(3.50)
    assert growth.tiered(1e9, growth.REST_API) == pytest.approx(333 * 3.50 + 667 * 2.80)
    assert growth.tiered(21e9, growth.REST_API) == pytest.approx(333 * 3.50 + 667 * 2.80 + 19_000 * 2.38 + 1_000 * 1.51)


def test_a_million_plain_events_cost_their_units_their_requests_and_their_time() -> None:
    inputs = Inputs(mix={"plain": 100}, duration_ms=10, memory_mb=512, keys=0)
    shares = growth.month(inputs, 1e6 / 30)
    assert shares["API Gateway, REST"] == pytest.approx(3.50)
    assert shares["DynamoDB, writes"] == pytest.approx(0.625)
    assert shares["DynamoDB, reads"] == pytest.approx(0.125)
    assert shares["Lambda, requests"] == pytest.approx(0.20)
    assert shares["Lambda, GB-seconds"] == pytest.approx(5_000 * 0.0000166667)


def test_a_start_is_paid_for_and_is_rare_only_where_events_are_many() -> None:
    inputs = Inputs(init_ms=600, memory_mb=1024)
    assert growth.starts(inputs, 10) == pytest.approx(10, rel=0.1)
    shares = [growth.starts(inputs, events) / events for events in (1e2, 1e3, 1e4, 1e6)]
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] < 0.001
    asleep = growth.month(Inputs(keys=0), 10)
    assert asleep["Lambda, starts"] == pytest.approx(30 * growth.starts(inputs, 10) * 0.6 * growth.GB_SECOND)


def test_the_feed_is_paid_for_by_the_event_that_is_stored_and_by_the_invocation() -> None:
    inputs = Inputs(mix={"plain": 50, "bot": 50})
    alone, together = (growth.feed(inputs, 1e6, batch) for batch in (1, 100))
    assert together == pytest.approx(0.50, rel=0.05), "half of the events, a dollar a million"
    assert (alone - 0.50) == pytest.approx(100 * (together - 0.50))


def test_a_million_events_of_the_usual_mix_in_batches_cost_little_more_than_a_third() -> None:
    single, batched = (sum(growth.million(Inputs(batch=size)).values()) for size in (1, growth.BATCH))
    assert batched <= 2.20
    assert batched < 0.36 * single


def test_a_batch_is_one_request_with_the_units_and_half_the_time_of_its_events() -> None:
    single, batched = (growth.month(Inputs(batch=size, keys=0), 1e6 / 30) for size in (1, 100))
    assert batched["API Gateway, REST"] == pytest.approx(0.035)
    assert batched["Lambda, requests"] == pytest.approx(0.002)
    assert batched["Lambda, GB-seconds"] == pytest.approx(single["Lambda, GB-seconds"] / 2)
    assert batched["DynamoDB, writes"] == single["DynamoDB, writes"]
    assert batched["DynamoDB, reads"] == single["DynamoDB, reads"]
