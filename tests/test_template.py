"""template.yaml against the code and the runbook."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from samcli.yamlhelper import yaml_parse

from handlers.bus import CLIENT_CONFIG as FEED_CLIENT_CONFIG
from handlers.erasure import RESERVE_SECONDS
from handlers.feed import RESERVE_SECONDS as FEED_RESERVE_SECONDS
from handlers.metrics import METRICS, NAMESPACE
from local import stack
from table.calls import CLIENT_CONFIG, REQUEST_SECONDS
from use_cases.erasure import IN_FLIGHT

TEMPLATE: dict[str, Any] = yaml_parse((stack.ROOT / "template.yaml").read_text())
RESOURCES: dict[str, Any] = TEMPLATE["Resources"]
GLOBALS: dict[str, Any] = TEMPLATE["Globals"]["Function"]
RUNBOOK = stack.ROOT / "docs" / "runbook.md"
GATEWAY_SECONDS = 29
AUTHORIZER_SECONDS = 10
SERVICE = {"Ref": "AWS::StackName"}


def of_type(resource_type: str) -> dict[str, dict[str, Any]]:
    return {name: each["Properties"] for name, each in RESOURCES.items() if each["Type"] == resource_type}


ALARMS = of_type("AWS::CloudWatch::Alarm")
FUNCTIONS = of_type("AWS::Serverless::Function")


def test_everything_says_what_it_is_for() -> None:
    described = [*TEMPLATE["Parameters"].values(), *TEMPLATE["Outputs"].values(), *FUNCTIONS.values()]
    assert all(each["Description"] for each in described)
    assert all(alarm["AlarmDescription"] for alarm in ALARMS.values())


def test_every_condition_and_parameter_is_used() -> None:
    text = (stack.ROOT / "template.yaml").read_text()
    for name in (*TEMPLATE["Parameters"], *TEMPLATE["Conditions"]):
        assert len(re.findall(rf"\b{name}\b", text)) > 1, name


@pytest.mark.parametrize("days", ["0", "40", "99", "100", "9999"])
def test_events_are_kept_without_a_limit_or_for_40_days_at_least(days: str) -> None:
    """A repeat may be 35 days old, and must find its first event."""
    pattern = TEMPLATE["Parameters"]["EventRetentionDays"]["AllowedPattern"]
    assert re.fullmatch(pattern, days)
    assert not [wrong for wrong in ("", "-1", "1", "9", "39", "040", "4.5", "10000") if re.fullmatch(pattern, wrong)]


# --- Time limits ---


def slowest_call() -> float:
    config: Any = CLIENT_CONFIG
    attempts = config.retries["total_max_attempts"]
    pause = 2 ** (attempts - 1) - 1  # botocore's standard mode: up to 1 s before the second attempt
    return float(attempts * (config.connect_timeout + config.read_timeout) + pause)


@pytest.mark.parametrize("name", ["EventFunction", "UserFunction"])
def test_a_function_answers_before_its_time_limit_and_that_is_before_the_gateways(name: str) -> None:
    timeout = FUNCTIONS[name].get("Timeout", GLOBALS["Timeout"])
    assert REQUEST_SECONDS + slowest_call() < timeout < GATEWAY_SECONDS


def test_the_authorizers_only_call_ends_before_its_time_limit() -> None:
    assert slowest_call() < FUNCTIONS["AuthorizerFunction"]["Timeout"] <= AUTHORIZER_SECONDS


def test_an_erasure_stops_before_its_time_limit_and_waits_for_events_under_way() -> None:
    assert slowest_call() < RESERVE_SECONDS < FUNCTIONS["ErasureFunction"]["Timeout"]
    assert GLOBALS["Timeout"] < IN_FLIGHT.total_seconds()


def test_the_feed_stops_before_its_time_limit() -> None:
    config: Any = FEED_CLIENT_CONFIG
    slowest = config.connect_timeout + config.read_timeout
    assert config.retries["total_max_attempts"] == 1
    assert slowest < FEED_RESERVE_SECONDS < FUNCTIONS["FeedFunction"]["Timeout"] / 2


def test_what_the_feed_gives_up_can_still_be_read_in_the_stream_for_most_of_a_day() -> None:
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
    assert ("Request id: $context.extendedRequestId" in error["description"]) == (
        error["code"] in ("internal_error", "unavailable")
    )
    assert ("Retry-After" in headers) == (response.get("StatusCode") in ("429", "503"))
    assert ("Accept-Encoding" in headers) == (response.get("StatusCode") == "415")


def test_a_code_of_the_gateway_means_one_status() -> None:
    codes = {
        (each["ResponseParameters"]["Headers"]["X-Error-Code"], each.get("StatusCode")) for each in RESPONSES.values()
    }
    assert len({code for code, _ in codes}) == len(codes) == 8


def test_every_path_and_method_has_a_function() -> None:
    """The gateway takes a key for a broken AWS signature where it has no method, and answers 403."""
    events = [event["Properties"] for each in FUNCTIONS.values() for event in each.get("Events", {}).values()]
    any_method = {event["Path"] for event in events if event.get("Method") == "ANY"}
    assert any_method == {"/", "/{proxy+}"}


# --- Metrics ---


def dimensions_of(metric: Mapping[str, Any]) -> dict[str, Any]:
    return {each["Name"]: each["Value"] for each in metric["Dimensions"]}


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
        name, dimensions = metric["MetricName"], dimensions_of(metric)
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


@pytest.mark.parametrize("name", [name for name, alarm in ALARMS.items() if "Metrics" in alarm])
def test_the_expression_of_an_alarm_names_its_metrics(name: str) -> None:
    [expression] = [each for each in ALARMS[name]["Metrics"] if "Expression" in each]
    inputs = {each["Id"] for each in ALARMS[name]["Metrics"] if each.get("ReturnData") is False}
    assert set(re.findall(r"\b[a-z]+\b", expression["Expression"])) == inputs


def dashboard() -> dict[str, Any]:
    """With everything that a parameter may leave out."""
    body, parts = RESOURCES["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    for name, part in parts.items():
        if name == "TableName":
            continue
        _, there, not_there = part["Fn::If"]
        assert not_there == ""
        assert f"${{{name}}}" in body
        body = body.replace(f"${{{name}}}", there["Fn::Sub"])
    parsed: dict[str, Any] = json.loads(body)
    return parsed


def shown_metrics() -> Iterator[tuple[str, ...]]:
    """The name and dimensions of each of our metrics on the dashboard."""
    for widget in dashboard()["widgets"]:
        for metric in widget["properties"].get("metrics", []):
            if metric[0] == NAMESPACE:
                assert metric[2:4] == ["service", "${AWS::StackName}"]
                yield metric[1], "service"
            elif isinstance(metric[0], dict):
                found = re.match(
                    rf"SEARCH\('{{{NAMESPACE},(\w+),(\w+)}} service=\"\${{AWS::StackName}}\" MetricName=\"(\w+)\"'",
                    metric[0]["expression"],
                )
                assert found, metric
                yield found[3], found[1], found[2]


def test_the_dashboard_shows_each_metric_that_the_code_emits_and_no_other() -> None:
    emitted: set[tuple[str, ...]] = {(name, "service") for name in METRICS}
    emitted |= {(name, "service", dimension) for name, (_, dimension) in METRICS.items() if dimension}
    assert set(shown_metrics()) == emitted


def test_the_dashboard_shows_each_alarm() -> None:
    [alarms] = [widget["properties"]["alarms"] for widget in dashboard()["widgets"] if widget["type"] == "alarm"]
    assert {arn.removeprefix("${").removesuffix(".Arn}") for arn in alarms} == set(ALARMS)


def test_the_dashboards_widgets_do_not_overlap() -> None:
    seen: set[tuple[int, int]] = set()
    for widget in dashboard()["widgets"]:
        columns = range(widget["x"], widget["x"] + widget["width"])
        cells = {(x, y) for x in columns for y in range(widget["y"], widget["y"] + widget["height"])}
        assert columns.stop <= 24
        assert seen.isdisjoint(cells)
        seen |= cells


SECTIONS = dict(re.findall(r"^### (\w+Alarm)\n(.*?)(?=^##)", RUNBOOK.read_text(), re.MULTILINE | re.DOTALL))


def test_each_alarm_has_its_part_of_the_runbook_and_a_notification() -> None:
    assert sorted(SECTIONS) == sorted(ALARMS)
    for alarm in ALARMS.values():
        assert alarm["AlarmActions"] == alarm["OKActions"] == [{"Ref": "AlarmTopic"}]


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_says_whether_it_can_wait_and_where_to_look_and_so_does_the_runbook(name: str) -> None:
    said = ALARMS[name]["AlarmDescription"]
    description: str = said["Fn::Sub"] if isinstance(said, dict) else said
    assert description.endswith(f": docs/runbook.md#{name.lower()}")
    parts = re.findall(r"^\*\*(\w+):\*\* ?(.*)$", SECTIONS[name], re.MULTILINE)
    assert [part for part, _ in parts] == ["Means", "Urgency", "Look", "Do"]
    said_of = dict(parts)
    assert ("Act now" in description) == said_of["Urgency"].startswith("now")
    assert ("It can wait for the morning" in description) == said_of["Urgency"].startswith("can wait for the morning")
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
