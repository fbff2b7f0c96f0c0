"""The documentation page of `make run`, in a headless Chromium as a newcomer would use it."""

import json
import shutil
import socket
from collections.abc import Iterator
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, urlsplit
from urllib.request import Request, urlopen

import pytest
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.expected_conditions import element_to_be_clickable, presence_of_element_located
from selenium.webdriver.support.select import Select
from selenium.webdriver.support.wait import WebDriverWait

from docs.openapi import document
from domain.events import CATALOGUE
from domain.problems import UNKNOWN_EMAIL
from e2e.conftest import Answer, Caller
from engines import skip_lane
from local import aws, docs, stack

SECONDS = 60
SEND_EVENT = "#operations-Events-sendEvent"
FLAGS = [
    "--headless",
    "--no-sandbox",  # as root it has none
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # as without the internet
    "--window-size=1200,1600",
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver):
        skip_lane("the documentation page needs Chromium. On Debian: apt install chromium chromium-driver")
    options = ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    chrome = Chrome(options, ChromeService(driver))
    yield chrome
    chrome.quit()


@pytest.fixture
def page(browser: Chrome, caller: Caller) -> Iterator[str]:
    """The page's address; the browser has it open. Nothing may have gone wrong in it, or have left the machine."""
    with docs.running(caller.api_url, caller.key) as url:
        browser.get(url)
        find(browser, SEND_EVENT)
        find(browser, ".authorize.locked")
        yield url
    complaints = [entry["message"] for entry in log(browser, "browser")]
    assert [each for each in complaints if "the server responded with a status of 404" not in each] == []
    asked = [sent["request"]["url"] for sent in network(browser, "Network.requestWillBeSent")]
    assert asked
    assert [each for each in asked if not each.startswith((url, "data:", "chrome:"))] == []


def log(browser: Chrome, name: str) -> list[dict[str, Any]]:
    """What is new in it."""
    entries: list[dict[str, Any]] = browser.get_log(name)  # type: ignore[no-untyped-call]
    return entries


def network(browser: Chrome, method: str) -> Iterator[dict[str, Any]]:
    messages = (json.loads(entry["message"])["message"] for entry in log(browser, "performance"))
    return (message["params"] for message in messages if message["method"] == method)


def find(browser: Chrome, selector: str) -> WebElement:
    return WebDriverWait(browser, SECONDS).until(presence_of_element_located((By.CSS_SELECTOR, selector)))


def click(browser: Chrome, selector: str) -> None:
    WebDriverWait(browser, SECONDS).until(element_to_be_clickable((By.CSS_SELECTOR, selector))).click()


def send_example(browser: Chrome, event_type: str) -> None:
    """As it stands in the page."""
    if not browser.find_elements(By.CSS_SELECTOR, f"{SEND_EVENT}.is-open"):
        click(browser, f"{SEND_EVENT} .opblock-summary-control")
    Select(find(browser, f"{SEND_EVENT} .opblock-section-request-body .examples-select-element")).select_by_value(
        event_type
    )
    click(browser, f"{SEND_EVENT} .execute")


def answer(browser: Chrome) -> tuple[str, str]:
    """Status and body, as the page shows them."""
    shown = find(browser, f"{SEND_EVENT} .live-responses-table tbody .response-col_status").text
    body = find(browser, f"{SEND_EVENT} .live-responses-table tbody .response-col_description .microlight").text
    return shown.split()[0], body


def test_an_example_is_sent_with_the_demo_key_by_two_clicks(
    browser: Chrome, page: str, caller: Caller, ana: dict[str, str]
) -> None:
    send_example(browser, "update")
    status, body = answer(browser)
    assert status == "200"
    assert "Event created" in body
    assert caller.send("GET", f"/user/{ana['email']}").body["tags"] == ["vip"]


def test_an_error_is_shown_with_its_reason(browser: Chrome, page: str) -> None:
    send_example(browser, "search")
    status, body = answer(browser)
    assert status == "404"
    assert UNKNOWN_EMAIL.message in body


def test_every_operation_and_every_event_type_is_shown(browser: Chrome, page: str) -> None:
    operations = [operation for path in document()["paths"].values() for operation in path.values()]
    for operation in operations:
        find(browser, f"[id^=operations-][id$={operation['operationId']}]")
    click(browser, f"{SEND_EVENT} .opblock-summary-control")
    offered = Select(find(browser, f"{SEND_EVENT} .opblock-section-request-body .examples-select-element")).options
    assert [option.text for option in offered] == list(CATALOGUE)


def test_the_page_is_for_this_machine_only(page: str) -> None:
    for host, status in (("127.0.0.1", 200), ("localhost", 200), ("elsewhere.example.com", 400)):
        assert status_of(Request(page, headers={"Host": host})) == status
    for path in ("start.js/../../aws.py", "swagger-ui/../__init__.py", "swagger-ui/%2e%2e/__init__.py", "v2/event/"):
        assert status_of(Request(page + path)) == 404
    with pytest.raises(OSError):  # noqa: PT011 each system words it in another way
        socket.create_connection(("127.0.0.2", urlsplit(page).port), timeout=5)


@pytest.mark.parametrize(
    ("element", "attribute", "refused"),
    [("img", "src", "img-src"), ("script", "src", "script-src-elem"), ("script", "text", "script-src-elem")],
)
def test_the_page_may_take_nothing_from_elsewhere_and_run_no_script_of_its_own(
    element: str, attribute: str, refused: str, browser: Chrome, caller: Caller
) -> None:
    put_in = """
        const [element, attribute, value, done] = arguments;
        document.addEventListener("securitypolicyviolation", event => done(event.effectiveDirective));
        document.body.append(Object.assign(document.createElement(element), {[attribute]: value}));
    """
    with docs.running(caller.api_url, caller.key) as url:
        browser.get(url)
        assert browser.execute_async_script(put_in, element, attribute, f"{caller.api_url}/x") == refused
    for name in ("browser", "performance"):
        log(browser, name)  # the next test need not see this


def status_of(request: Request) -> int:
    try:
        with urlopen(request, timeout=SECONDS) as response:
            status: int = response.status
            return status
    except HTTPError as error:
        return error.code


def test_what_the_page_asks_is_answered_as_by_the_api(page: str, caller: Caller, ana: dict[str, str]) -> None:
    through_page = Caller(f"{page}v1", caller.key)
    odd = "a+%d/&?#@example.com"
    for user in (ana["email"], quote(odd, safe="")):
        sent = ("PUT", f"/user/{user}?upsert=true", {"firstname": "Ána"})
        caller.send(*sent)
        assert_same(caller.send(*sent), through_page.send(*sent))
    assert caller.event(ana, {"search": {"query": "shoes"}}).status == 200
    for method, path in (
        ("GET", f"/user/{quote(odd, safe='')}"),
        ("GET", "/user/ana@example.com/events?limit=1&type=search"),
        ("GET", "/user/ana@example.com/events?limit=none"),
        ("GET", "/nowhere"),
        ("DELETE", "/user/nobody@example.com"),
    ):
        assert_same(caller.send(method, path), through_page.send(method, path))
    assert_same(Caller(caller.api_url, "").send("GET", "/user/x"), Caller(f"{page}v1", "").send("GET", "/user/x"))


def test_a_repeat_from_the_page_is_known_as_one(page: str, caller: Caller, ana: dict[str, str]) -> None:
    event, key = {"search": {"query": "shoes"}}, {"Idempotency-Key": "of the page"}
    first = caller.event(ana, event, **key)
    repeat = Caller(f"{page}v1", caller.key).event(ana, event, **key)
    assert_same(first, repeat)
    assert repeat.headers["Idempotent-Replayed"] == "true"
    assert repeat.headers["X-Event-Id"] == first.headers["X-Event-Id"]


def assert_same(answer: Answer, through_page: Answer) -> None:
    assert (through_page.status, through_page.text) == (answer.status, answer.text)
    assert through_page.headers["Content-Type"] == answer.headers["Content-Type"]


def test_an_api_that_does_not_answer_is_said_in_the_page_and_nowhere_else(caplog: pytest.LogCaptureFixture) -> None:
    with docs.running(f"http://{aws.HOST}:{stack.free_port()}/v1", "key") as url:
        answer = Caller(f"{url}v1", "key").send("GET", "/user/ana@example.com")
    assert answer.status == 502
    assert answer.body == docs.NO_ANSWER
    assert caplog.records == []


def test_a_taken_port_is_no_obstacle(caller: Caller) -> None:
    with docs.running(caller.api_url, caller.key) as first:
        port = urlsplit(first).port
        assert port
        with docs.running(caller.api_url, caller.key, port) as second:
            assert first != second
            assert status_of(Request(second)) == 200
