"""template.yaml against the code and the runbook."""

import json
import re
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

import pytest

from documents import RESOURCES, TEMPLATE, text
from handlers.bus import CLIENT_CONFIG as FEED_CLIENT_CONFIG
from handlers.erasure import RESERVE_SECONDS
from handlers.feed import RESERVE_SECONDS as FEED_RESERVE_SECONDS
from handlers.metrics import METRICS, NAMESPACE
from table.calls import CLIENT_CONFIG, REQUEST_SECONDS
from use_cases.erasure import IN_FLIGHT

GLOBALS: dict[str, Any] = TEMPLATE["Globals"]["Function"]
GATEWAY_SECONDS = 29
AUTHORIZER_SECONDS = 10
SERVICE = {"Ref": "AWS::StackName"}
ALARMS, FUNCTIONS = (
    {name: each["Properties"] for name, each in RESOURCES.items() if each["Type"] == kind}
    for kind in ("AWS::CloudWatch::Alarm", "AWS::Serverless::Function")
)


def test_everything_says_what_it_is_for_and_every_condition_and_parameter_is_used() -> None:
    described = [*TEMPLATE["Parameters"].values(), *TEMPLATE["Outputs"].values(), *FUNCTIONS.values()]
    assert all(each["Description"] for each in described)
    assert all(alarm["AlarmDescription"] for alarm in ALARMS.values())
    for name in (*TEMPLATE["Parameters"], *TEMPLATE["Conditions"]):
        assert len(re.findall(rf"\b{name}\b", text("template.yaml"))) > 1, name


def test_events_are_kept_without_a_limit_or_for_40_days_at_least() -> None:
    """A repeat may be 35 days old, and must find its first event."""
    pattern = re.compile(TEMPLATE["Parameters"]["EventRetentionDays"]["AllowedPattern"])
    assert all(pattern.fullmatch(days) for days in ("0", "40", "99", "100", "9999"))
    assert not [wrong for wrong in ("", "-1", "1", "9", "39", "040", "4.5", "10000") if pattern.fullmatch(wrong)]


# --- Time limits ---


def slowest_call() -> float:
    config: Any = CLIENT_CONFIG
    attempts = config.retries["total_max_attempts"]
    pause = 2 ** (attempts - 1) - 1  # botocore's standard mode: up to 1 s before the second attempt
    return float(attempts * (config.connect_timeout + config.read_timeout) + pause)


def test_each_function_stops_before_its_time_limit_and_that_is_before_the_gateways() -> None:
    for name in ("EventFunction", "UserFunction"):
        timeout = FUNCTIONS[name].get("Timeout", GLOBALS["Timeout"])
        assert REQUEST_SECONDS + slowest_call() < timeout < GATEWAY_SECONDS
    assert slowest_call() < FUNCTIONS["AuthorizerFunction"]["Timeout"] <= AUTHORIZER_SECONDS
    assert slowest_call() < RESERVE_SECONDS < FUNCTIONS["ErasureFunction"]["Timeout"]
    assert GLOBALS["Timeout"] < IN_FLIGHT.total_seconds()  # an erasure waits for events under way


def test_the_feed_stops_before_its_time_limit_and_what_it_gives_up_stays_in_the_stream_for_most_of_a_day() -> None:
    config: Any = FEED_CLIENT_CONFIG
    slowest = config.connect_timeout + config.read_timeout
    assert config.retries["total_max_attempts"] == 1
    assert slowest < FEED_RESERVE_SECONDS < FUNCTIONS["FeedFunction"]["Timeout"] / 2
    mapping = RESOURCES["FeedSource"]["Properties"]
    assert mapping["MaximumRecordAgeInSeconds"] <= 6 * 3600
    assert mapping["MaximumRetryAttempts"] > 0


# --- Errors of the gateway ---

RESPONSES = RESOURCES["Api"]["Properties"]["GatewayResponses"]


@pytest.mark.parametrize("name", RESPONSES)
def test_a_gateways_error_has_the_shape_of_every_other_and_names_its_code(name: str) -> None:
    response = RESPONSES[name]
    [error] = json.loads(response["ResponseTemplates"]["application/json"])["errors"]
    assert error.keys() == {"message", "description", "code"}
    headers = response["ResponseParameters"]["Headers"]
    assert headers["X-Error-Code"] == f"'{error['code']}'"
    assert headers["X-Request-Id"] == "context.extendedRequestId"
    assert (headers.get("WWW-Authenticate") == "'Bearer'") == (response.get("StatusCode") == "401")
    of_ours = error["code"] in ("internal_error", "unavailable")
    assert ("Request id: $context.extendedRequestId" in error["description"]) == of_ours
    assert ("Retry-After" in headers) == (response.get("StatusCode") in ("429", "503"))
    assert ("Accept-Encoding" in headers) == (response.get("StatusCode") == "415")


def test_a_code_of_the_gateway_means_one_status() -> None:
    headers = [(each["ResponseParameters"]["Headers"], each.get("StatusCode")) for each in RESPONSES.values()]
    codes = {(each["X-Error-Code"], status) for each, status in headers}
    assert len({code for code, _ in codes}) == len(codes) == 8


def test_every_path_and_method_has_a_function() -> None:
    """The gateway takes a key for a broken AWS signature where it has no method, and answers 403."""
    events = [event["Properties"] for each in FUNCTIONS.values() for event in each.get("Events", {}).values()]
    any_method = {event["Path"] for event in events if event.get("Method") == "ANY"}
    assert any_method == {"/", "/{proxy+}"}


# --- Metrics ---


def watched() -> Iterator[Mapping[str, Any]]:
    """Each metric of each alarm: its namespace, name and dimensions."""
    for alarm in ALARMS.values():
        yield from (each["MetricStat"]["Metric"] for each in alarm.get("Metrics", []) if "MetricStat" in each)
        if "MetricName" in alarm:
            yield alarm


def test_alarms_are_on_metrics_that_the_code_emits_or_on_those_of_this_api_and_its_functions() -> None:
    api = RESOURCES["Api"]["Properties"]
    ours = 0
    for metric in watched():
        name, dimensions = metric["MetricName"], {each["Name"]: each["Value"] for each in metric["Dimensions"]}
        match metric["Namespace"]:
            case "AWS/ApiGateway":
                assert name in ("Count", "5XXError", "Latency")
                assert dimensions == {"ApiName": api["Name"], "Stage": api["StageName"]}
            case "AWS/SQS":
                assert dimensions == {"QueueName": {"Fn::GetAtt": ["FeedQueue", "QueueName"]}}
            case "AWS/Lambda":
                assert dimensions["FunctionName"]["Ref"] in FUNCTIONS
            case namespace:
                ours += 1
                assert (namespace, dimensions) == (NAMESPACE, {"service": SERVICE})
                assert name in METRICS
    assert ours == 7
    assert GLOBALS["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"] == SERVICE

    for alarm in (each for each in ALARMS.values() if "Metrics" in each):
        [expression] = [each for each in alarm["Metrics"] if "Expression" in each]
        inputs = {each["Id"] for each in alarm["Metrics"] if each.get("ReturnData") is False}
        assert set(re.findall(r"\b[a-z]+\b", expression["Expression"])) == inputs


def widgets_of_the_dashboard() -> list[dict[str, Any]]:
    """Return the widgets of the dashboard, with everything that a parameter may leave out."""
    body, parts = RESOURCES["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    for name, part in parts.items():
        if name != "TableName":
            _, there, not_there = part["Fn::If"]
            assert not_there == ""
            assert f"${{{name}}}" in body
            body = body.replace(f"${{{name}}}", there["Fn::Sub"])
    found: list[dict[str, Any]] = json.loads(body)["widgets"]
    return found


def metric_on_dashboard(metric: list[Any]) -> tuple[str, ...]:
    if metric[0] == NAMESPACE:
        assert metric[2:4] == ["service", "${AWS::StackName}"]
        return metric[1], "service"
    if not isinstance(metric[0], dict):
        return ()
    search = rf"SEARCH\('{{{NAMESPACE},(\w+),(\w+)}} service=\"\${{AWS::StackName}}\" MetricName=\"(\w+)\"'"
    found = re.match(search, metric[0]["expression"])
    assert found, metric
    return found[3], found[1], found[2]


def test_the_dashboard_shows_each_alarm_and_each_metric_that_the_code_emits_and_no_other() -> None:
    widgets = widgets_of_the_dashboard()
    columns = [range(each["x"], each["x"] + each["width"]) for each in widgets]
    rows = [range(each["y"], each["y"] + each["height"]) for each in widgets]
    cells = [cell for both in zip(columns, rows, strict=True) for cell in product(*both)]
    assert (max(cells)[0] < 24, len({*cells})) == (True, len(cells)), "they do not overlap"
    emitted: set[tuple[str, ...]] = {(name, "service") for name in METRICS}
    emitted |= {(name, "service", dimension) for name, (_, dimension) in METRICS.items() if dimension}
    shown = {metric_on_dashboard(metric) for each in widgets for metric in each["properties"].get("metrics", [])}
    assert shown - {()} == emitted
    [alarms] = [widget["properties"]["alarms"] for widget in widgets if widget["type"] == "alarm"]
    assert {arn.removeprefix("${").removesuffix(".Arn}") for arn in alarms} == set(ALARMS)


SECTIONS = dict(re.findall(r"^### (\w+Alarm)\n(.*?)(?=^##)", text("docs/runbook.md"), re.MULTILINE | re.DOTALL))


def test_an_alarm_notifies_and_says_whether_it_can_wait_and_so_does_its_part_of_the_runbook() -> None:
    assert sorted(SECTIONS) == sorted(ALARMS)
    for name, alarm in ALARMS.items():
        assert alarm["AlarmActions"] == alarm["OKActions"] == [{"Ref": "AlarmTopic"}]
        said = alarm["AlarmDescription"]
        description: str = said["Fn::Sub"] if isinstance(said, dict) else said
        assert description.endswith(f": docs/runbook.md#{name.lower()}")
        parts = dict(re.findall(r"^\*\*(\w+):\*\* ?(.*)$", SECTIONS[name], re.MULTILINE))
        assert [*parts] == ["Means", "Urgency", "Look", "Do"]
        for words, urgency in (("Act now", "now"), ("It can wait for the morning", "can wait for the morning")):
            assert (words in description) == parts["Urgency"].startswith(urgency)
        assert "```sh" in SECTIONS[name]


# --- Releases ---


def test_no_parameter_can_replace_the_table() -> None:
    table = RESOURCES["Table"]
    assert table["DeletionPolicy"] == table["UpdateReplacePolicy"] == "Retain"
    assert "Condition" not in table
    properties = table["Properties"]
    assert properties["DeletionProtectionEnabled"] is True
    assert "TableName" not in properties
    # A stream comes and goes without replacing the table; so do its limits. It holds no old images.
    stream = properties["StreamSpecification"]
    assert stream == {"Fn::If": ["Feeds", {"StreamViewType": "NEW_IMAGE"}, {"Ref": "AWS::NoValue"}]}
    free = ("StreamSpecification", "OnDemandThroughput")
    fixed = {name: value for name, value in properties.items() if name not in free}
    assert not re.search(r'"(Ref|Fn::\w+)"', json.dumps(fixed))


def test_a_release_goes_back_on_alarms_that_exist() -> None:
    condition, alarms, _ = GLOBALS["DeploymentPreference"]["Alarms"]["Fn::If"]
    assert condition == "Monitored"
    assert {alarm["Ref"] for alarm in alarms} <= set(ALARMS)
    assert {"Ref": "EventsFailedAlarm"} in alarms
    assert all(RESOURCES[alarm["Ref"]]["Condition"] == condition for alarm in alarms)
    assert set(TEMPLATE["Mappings"]["Release"]) == set(TEMPLATE["Parameters"]["Release"]["AllowedValues"])
