"""The two pages of `make run` and `make console`, in a headless Chromium as a newcomer would use them."""

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from flask import Flask, render_template_string
from selenium.webdriver import ActionChains, Chrome, ChromeOptions, ChromeService, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.expected_conditions import element_to_be_clickable, presence_of_element_located
from selenium.webdriver.support.select import Select
from selenium.webdriver.support.wait import WebDriverWait
from werkzeug.serving import make_server

from docs.openapi import document
from domain.event_types import CATALOGUE
from domain.problems import UNKNOWN_EMAIL
from e2e.conftest import Caller
from engines import skip_lane
from local import console

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
    "--lang=en-US",
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
def pages(browser: Chrome, caller: Caller) -> Iterator[str]:
    """The pages' address. Nothing may go wrong in them or leave the machine, and the browser never has the key."""
    with console.running(caller.api_url, caller.key) as url:
        yield url
        browser.get("about:blank")  # before the server is gone
    complaints = [entry["message"] for entry in log(browser, "browser")]
    assert [each for each in complaints if "the server responded with a status of 404" not in each] == []
    messages = log(browser, "performance")
    assert [each for each in messages if caller.key in each["message"]] == []
    asked = [sent["request"]["url"] for sent in network(messages, "Network.requestWillBeSent")]
    assert asked
    assert [each for each in asked if not each.startswith((url, "data:", "chrome:", "about:"))] == []


@pytest.fixture
def page(browser: Chrome, pages: str) -> str:
    """The page to try requests; the browser has it open."""
    browser.get(pages)
    find(browser, SEND_EVENT)
    return pages


def log(browser: Chrome, name: str) -> list[dict[str, Any]]:
    """Return the new entries of the log."""
    entries: list[dict[str, Any]] = browser.get_log(name)  # type: ignore[no-untyped-call]
    return entries


def network(log: list[dict[str, Any]], method: str) -> Iterator[dict[str, Any]]:
    messages = (json.loads(entry["message"])["message"] for entry in log)
    return (message["params"] for message in messages if message["method"] == method)


def find(browser: Chrome, selector: str) -> WebElement:
    return WebDriverWait(browser, SECONDS).until(presence_of_element_located((By.CSS_SELECTOR, selector)))


def click(browser: Chrome, selector: str) -> None:
    WebDriverWait(browser, SECONDS).until(element_to_be_clickable((By.CSS_SELECTOR, selector))).click()


def send_example(browser: Chrome, event_type: str) -> None:
    """Send the example of the page unchanged."""
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
    with console.running(caller.api_url, caller.key) as url:
        browser.get(url)
        assert browser.execute_async_script(put_in, element, attribute, f"{caller.api_url}/x") == refused
    forget_logs(browser)


WIDTHS = {"phone": 375, "desktop": 1200}


@contextmanager
def width_of(browser: Chrome, screen: str) -> Iterator[None]:
    """As on a screen of that kind; a phone lays a page without `viewport` out at 980 pixels."""
    metrics = {"width": WIDTHS[screen], "height": 800, "deviceScaleFactor": 1, "mobile": screen == "phone"}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    yield
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def assert_fits(browser: Chrome, screen: str) -> None:
    assert browser.execute_script("return document.documentElement.scrollWidth") <= WIDTHS[screen]


@pytest.mark.parametrize("screen", WIDTHS)
def test_the_description_fits_the_screen_and_its_schemas_are_folded(browser: Chrome, pages: str, screen: str) -> None:
    with width_of(browser, screen):
        browser.get(f"{pages}#/Events/sendEvent")
        find(browser, f"{SEND_EVENT}.is-open .execute")
        assert_fits(browser, screen)
        assert browser.find_elements(By.CSS_SELECTOR, ".models.is-open") == []


def test_a_newcomer_creates_the_user_of_the_examples_sends_an_event_and_sees_it(browser: Chrome, page: str) -> None:
    """Following the links of the first paragraph; also how to go on after the examples' user was erased."""
    create, send, users = (find(browser, f".start li:nth-child({number}) a") for number in (1, 2, 3))
    create.click()
    click(browser, "#operations-Users-createUser .execute")
    find(browser, "#operations-Users-createUser .live-responses-table")
    send.click()
    send_example(browser, "search")
    assert answer(browser)[0] == "200"
    users.click()
    until(browser, lambda: types(browser) == ["search"])


# --- Users ----------------------------------------------------------------------------------------


def until(browser: Chrome, holds: Callable[[], object]) -> None:
    """Wait until it holds: the page updates itself when data arrives."""
    WebDriverWait(browser, SECONDS, poll_frequency=0.1).until(lambda _: holds())


def text_of(browser: Chrome, selector: str) -> str:
    return find(browser, selector).text


def types(browser: Chrome) -> list[str]:
    """Return the types of the shown timeline, in one call, because the page can change between two."""
    script = "return [...document.querySelectorAll('#user:not([hidden]) #timeline b')].map((each) => each.textContent)"
    shown: list[str] = browser.execute_script(script)
    return shown


def open_users(browser: Chrome, pages: str, who: str = "") -> None:
    browser.get("about:blank")  # or only what is behind the # changes
    browser.get(f"{pages}users#{who}")
    find(browser, "#who")


@pytest.mark.parametrize("screen", WIDTHS)
def test_a_user_is_shown_with_profile_timeline_and_chart(
    screen: str, browser: Chrome, pages: str, caller: Caller, ana: dict[str, str]
) -> None:
    caller.event(ana, {"update": {"tags": "vip", "city": "Vigo", "x" * 200: "y" * 500, "size": {"height": 1.5}}})
    caller.event(ana, {"confirmation": {"orderId": "A-1", "total": "59.90"}})
    for number in range(3):
        caller.event(ana, {"search": {"query": f"shoes {number}"}})
    with width_of(browser, screen):
        open_users(browser, pages, ana["email"])
        until(browser, lambda: types(browser) == ["search"] * 3 + ["confirmation", "update"])
        profile = text_of(browser, "#profile")
        for shown in ("Vigo", "vip", '{"height":1.5}', "59.9", "Purchases\n1"):
            assert shown in profile
        assert text_of(browser, "#name") == ana["email"]
        chart = find(browser, "#chart svg")
        assert [each.text for each in chart.find_elements(By.CSS_SELECTOR, "g text")] == ["1", "3", "1"]
        assert "search: 3 on " in str(chart.get_attribute("aria-label"))
        assert_fits(browser, screen)


def test_what_happens_is_shown_without_a_touch(
    browser: Chrome, pages: str, caller: Caller, ana: dict[str, str]
) -> None:
    open_users(browser, pages, ana["email"])
    until(browser, lambda: text_of(browser, "#none"))
    caller.event(ana, {"search": {"query": "shoes"}})
    until(browser, lambda: types(browser) == ["search"])
    click(browser, "#timeline summary")
    caller.event(ana, {"update": {"city": "Vigo"}})
    until(browser, lambda: types(browser) == ["update", "search"])
    until(browser, lambda: "Vigo" in text_of(browser, "#profile"))
    assert text_of(browser, "#timeline [open] pre") == '{\n  "query": "shoes"\n}'
    assert find(browser, "#news").get_attribute("textContent") == "New: update"
    caller.send("PUT", f"/user/{ana['email']}", {"city": "Lugo"})
    until(browser, lambda: "Lugo" in text_of(browser, "#profile"))
    caller.send("DELETE", f"/user/{ana['email']}")
    until(browser, lambda: "no user ana@example.com" in text_of(browser, "#problem"))
    assert not find(browser, "#user").is_displayed()
    assert types(browser) == []


def test_it_looks_often_enough_to_show_an_event_within_two_seconds(browser: Chrome, pages: str) -> None:
    """The page decides only its pause between two requests, so the test checks that."""
    open_users(browser, pages)
    assert browser.execute_script("return PAUSE") <= 1000


def test_a_user_who_is_created_meanwhile_is_shown(browser: Chrome, pages: str, caller: Caller) -> None:
    open_users(browser, pages, "bob@example.com")
    until(browser, lambda: "no user bob@example.com" in text_of(browser, "#problem"))
    assert find(browser, "#nobody a").is_displayed()
    caller.send("POST", "/user/", {"email": "bob@example.com"})
    until(browser, lambda: text_of(browser, "#name") == "bob@example.com")
    assert not find(browser, "#problem").is_displayed()


def test_older_events_are_shown_page_by_page_and_newer_ones_join_them(
    browser: Chrome, pages: str, caller: Caller, ana: dict[str, str]
) -> None:
    for number in range(53):
        caller.event(ana, {"search": {"query": "shoes"}} if number % 2 else {"viewitem": {"itemId": "SKU-1"}})
    expected = ["search" if number % 2 else "viewitem" for number in reversed(range(53))]
    open_users(browser, pages, ana["email"])
    until(browser, lambda: types(browser) == expected[:50])
    click(browser, "#older")
    until(browser, lambda: types(browser) == expected)
    assert not find(browser, "#older").is_displayed()
    caller.event(ana, {"login": {}})
    until(browser, lambda: types(browser) == ["login", *expected])
    assert "54 events" in text_of(browser, "#chart")


def test_an_anonymous_user_is_found_by_the_id(browser: Chrome, pages: str, caller: Caller) -> None:
    user = caller.send("POST", "/user/", {"firstname": "Ána"}).body["object"]
    open_users(browser, pages, user["_id"])
    until(browser, lambda: text_of(browser, "#name") == "Anonymous user")
    assert user["_id"] in text_of(browser, "#profile")


def test_a_number_is_shown_digit_by_digit(browser: Chrome, pages: str, caller: Caller, ana: dict[str, str]) -> None:
    digits = "12345678901234567890123456789.012345678"
    body = f'{{"user": {json.dumps(ana)}, "event": {{"update": {{"n": {digits}, "list": [{digits}]}}}}}}'
    assert caller.send("POST", "/event/", body.encode()).status == 200
    open_users(browser, pages, ana["email"])
    until(browser, lambda: types(browser) == ["update"])
    assert text_of(browser, "#profile").count(digits) == 2
    click(browser, "#timeline summary")
    assert text_of(browser, "#timeline pre").count(digits) == 2


def test_what_callers_sent_is_text_and_never_markup(
    browser: Chrome, pages: str, caller: Caller, ana: dict[str, str]
) -> None:
    markup = "<img src=x onerror=document.body.remove()>"
    caller.event(ana, {"update": {markup: markup, "tags": ["vip"], "firstname": markup}})
    caller.event(ana, {"generic": {"event_name": markup}})
    open_users(browser, pages, ana["email"])
    until(browser, lambda: types(browser) == ["generic", "update"])
    assert text_of(browser, "#profile").count(markup) == 3
    assert browser.find_elements(By.CSS_SELECTOR, "main img") == []


def test_an_address_with_every_odd_sign_is_found(browser: Chrome, pages: str, caller: Caller) -> None:
    odd = "a+%25&?#@example.com"
    assert caller.send("POST", "/user/", {"email": odd}).status == 200
    open_users(browser, pages)
    find(browser, "#who").send_keys(f" {odd} ", Keys.ENTER)
    until(browser, lambda: text_of(browser, "#name") == odd)
    browser.refresh()
    until(browser, lambda: text_of(browser, "#name") == odd)


def press(browser: Chrome, *keys: str) -> None:
    ActionChains(browser).send_keys(*keys).perform()


def test_it_is_used_by_keyboard_alone(browser: Chrome, pages: str, caller: Caller, ana: dict[str, str]) -> None:
    caller.event(ana, {"search": {"query": "shoes"}})
    open_users(browser, pages)
    press(browser, *[Keys.TAB] * 3, ana["email"], Keys.ENTER)  # past the two links
    until(browser, lambda: types(browser) == ["search"])
    press(browser, *[Keys.TAB] * 2, Keys.ENTER)  # past the button
    until(browser, lambda: browser.find_elements(By.CSS_SELECTOR, "#timeline details[open]"))
    caller.event(ana, {"login": {}})
    until(browser, lambda: types(browser) == ["login", "search"])
    assert browser.switch_to.active_element.text.startswith("search"), "what is new takes the focus from nobody"


def test_everything_to_use_has_a_name_for_a_screen_reader(
    browser: Chrome, pages: str, caller: Caller, ana: dict[str, str]
) -> None:
    caller.event(ana, {"search": {"query": "shoes"}})
    open_users(browser, pages, ana["email"])
    until(browser, lambda: types(browser) == ["search"])
    nodes = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    named = [
        (node["role"]["value"], node.get("name", {}).get("value"))
        for node in nodes
        if node.get("role") and not node["ignored"]
    ]
    roles = {"link", "button", "textbox", "DisclosureTriangle", "image", "search", "navigation", "region"}
    assert roles - {"search"} <= {role for role, _ in named}
    assert [role for role, name in named if role in roles - {"search"} and not name] == []
    for expected in (("textbox", "Email address or _id"), ("heading", "Users"), ("heading", "Events")):
        assert expected in named


def test_the_browser_keeps_no_key_and_nothing_else(
    browser: Chrome, pages: str, caller: Caller, ana: dict[str, str]
) -> None:
    open_users(browser, pages, ana["email"])
    until(browser, lambda: text_of(browser, "#name") == ana["email"])
    assert caller.key not in browser.page_source + browser.current_url
    kept = "return [document.cookie, localStorage.length, sessionStorage.length, history.state]"
    assert browser.execute_script(kept) == ["", 0, 0, None]


def test_a_server_that_is_gone_is_said_with_what_to_do(browser: Chrome, caller: Caller, ana: dict[str, str]) -> None:
    with console.running(caller.api_url, caller.key) as url:
        open_users(browser, url, ana["email"])
        until(browser, lambda: text_of(browser, "#name") == ana["email"])
    until(browser, lambda: "make run" in text_of(browser, "#problem"))
    browser.get("about:blank")
    forget_logs(browser)


def test_a_page_of_another_site_sends_nothing_with_the_key(
    browser: Chrome, pages: str, caller: Caller, ana: dict[str, str]
) -> None:
    """With a form, which browsers send to any address; what is in it, is a request of the API."""
    event = json.dumps({"user": ana, "event": {"search": {"query": "QUERY"}}})
    name, value = event.split("QUERY")
    evil = Flask(__name__)
    template = """<form method="post" enctype="text/plain" action="{{ action }}"><input name="{{ name }}"
        value="{{ value }}"></form>"""

    @evil.get("/")
    def form() -> str:
        return render_template_string(template, action=f"{pages}v1/event/", name=name, value=value)

    with serving(evil) as site:
        browser.get(site)
        find(browser, "form").submit()
        until(browser, lambda: console.ANOTHER_SITE["errors"][0]["message"] in browser.page_source)
        assert caller.send("GET", f"/user/{ana['email']}/events").body == {"events": []}
    forget_logs(browser)
    browser.get(pages)  # of which nothing is wrong


@contextmanager
def an_api(**answers: Any) -> Iterator[str]:
    """A made-up API: its paths with their answers, each a status and a body."""
    app = Flask(__name__)

    @app.get("/v1/<path:path>")
    def answer(path: str) -> tuple[Any, int]:
        status, body = answers.get(path.replace("/", "_"), (404, {"errors": [{"message": "x", "description": "x"}]}))
        return body, status

    with serving(app) as site:
        yield f"{site}/v1"


@contextmanager
def serving(app: Flask) -> Iterator[str]:
    """Its address, on this machine."""
    server = make_server(console.HOST, 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://{console.HOST}:{server.port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_what_was_refused_is_shown_whoever_is_looked_at(browser: Chrome) -> None:
    refusal = {
        "hour": "2026-11-24T08:00:00Z",
        "code": "user_not_found",
        "type": "search",
        "field": "user.email",
        "count": 7,
    }
    with (
        an_api(refusals=(200, {"refusals": [refusal | {"lastRequestId": "r-1"}, {**refusal, "count": 8}]})) as api_url,
        console.running(api_url, "key") as url,
    ):
        open_users(browser, url)
        until(browser, lambda: find(browser, "#refused").is_displayed())
        rows = [row.text.split() for row in browser.find_elements(By.CSS_SELECTOR, "#refused tbody tr")]
        assert rows[0][:4] == ["7", "user_not_found", "search", "user.email"]
        assert rows[0][-1] == "r-1"
        assert rows[1][0] == "8"
        browser.get("about:blank")
    forget_logs(browser)


def test_the_chart_counts_by_type_and_day_up_to_the_newest_event(browser: Chrome) -> None:
    days = {"search": ["24", "24", "12", "01"], "login": ["24", "11"], "update": ["01"]}
    events: list[dict[str, Any]] = [
        {"_id": f"{type_}-{number}", "type": type_, "payload": {}, "createdOn": f"2026-10-{day}T12:00:00.000Z"}
        for type_, each in days.items()
        for number, day in enumerate(each)
    ]
    events.sort(key=lambda event: event["createdOn"], reverse=True)
    found = {
        "user_x_events": (200, {"events": events}),
        "user_x": (200, {"_id": "x", "createdOn": "2026-01-01T00:00:00Z"}),
    }
    with an_api(**found) as api_url, console.running(api_url, "key") as url:
        open_users(browser, url, "x")
        until(browser, lambda: len(types(browser)) == len(events))
        cells = "return [...document.querySelectorAll('#chart title')].map((each) => each.textContent)"
        assert browser.execute_script(cells) == [
            "login, Oct 11: 1",
            "login, Oct 24: 1",
            "search, Oct 12: 1",
            "search, Oct 24: 2",
        ]
        label = find(browser, "#chart svg").get_attribute("aria-label")
        assert "search: 1 on Oct 12, 2 on Oct 24; update: none in these days." in str(label)
        browser.get("about:blank")
    forget_logs(browser)


def test_an_api_without_refusals_shows_none(browser: Chrome) -> None:
    with an_api() as api_url, console.running(api_url, "key") as url:
        open_users(browser, url)
        asked = "return performance.getEntriesByType('resource').some(({ name }) => name.includes('/refusals'))"
        until(browser, lambda: browser.execute_script(asked))
        assert not find(browser, "#refused").is_displayed()
        browser.get("about:blank")
    forget_logs(browser)


@pytest.mark.parametrize(
    ("status", "said"), [(401, "does not accept the key"), (429, "too many requests"), (500, "Our fault.")]
)
def test_an_error_of_the_api_is_said_with_what_to_do(browser: Chrome, status: int, said: str) -> None:
    wrong = (status, {"errors": [{"message": "x", "description": "Our fault."}]})
    with an_api(**{"user_ana@example.com_events": wrong}) as api_url, console.running(api_url, "key") as url:
        open_users(browser, url, "ana@example.com")
        until(browser, lambda: said in text_of(browser, "#problem"))
        browser.get("about:blank")
    forget_logs(browser)


def forget_logs(browser: Chrome) -> None:
    """The next test need not see what went wrong on purpose."""
    for name in ("browser", "performance"):
        log(browser, name)
