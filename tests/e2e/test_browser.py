"""The pages of `make run` and `make console`, in a headless Chromium as a newcomer and a support person use them.

test_pages.py opens each state of the pages; here they are used, most of them with the deployed API.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from selenium.webdriver import ActionChains, Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.support.select import Select

from docs import codes
from docs.openapi import document
from domain.event_types import CATALOGUE
from e2e.browsing import click, find, forget, log, network, open_page, pages_of, text_of, types, until
from e2e.conftest import Ana, Caller
from local import console
from local.feed import Recent

SEND_EVENT = "#operations-Events-sendEvent"


@pytest.fixture
def pages(browser: Chrome, caller: Caller) -> Iterator[str]:
    """Return the pages' address. No error may be logged in them, no request may leave the machine, and the browser
    never has the key."""
    forget(browser)
    with console.running(caller.api_url, caller.key) as url:
        yield url
        browser.execute_script("localStorage.clear()")
        browser.get("about:blank")  # before the server is gone
    complaints = [entry["message"] for entry in log(browser, "browser")]
    assert [each for each in complaints if "the server responded with a status of 404" not in each] == []
    messages = log(browser, "performance")
    assert [each for each in messages if caller.key in each["message"]] == []
    asked = [sent["request"]["url"] for sent in network(messages, "Network.requestWillBeSent")]
    assert asked
    ours = (url, "data:", "chrome:", "chrome-untrusted:", "about:", f"blob:{url}")
    assert [each for each in asked if not each.startswith(ours)] == []


# --- Try it ---------------------------------------------------------------------------------------


def send_example(browser: Chrome, event_type: str) -> None:
    if not browser.find_elements(By.CSS_SELECTOR, f"{SEND_EVENT}.is-open"):
        click(browser, f"{SEND_EVENT} .opblock-summary-control")
    examples = find(browser, f"{SEND_EVENT} .opblock-section-request-body .examples-select-element")
    Select(examples).select_by_value(event_type)
    click(browser, f"{SEND_EVENT} .execute")


def answer(browser: Chrome) -> tuple[str, str]:
    shown = find(browser, f"{SEND_EVENT} .live-responses-table tbody .response-col_status").text
    body = find(browser, f"{SEND_EVENT} .live-responses-table tbody .response-col_description .microlight").text
    return shown.split()[0], body


def test_a_newcomer_sends_the_examples_and_sees_the_events(browser: Chrome, pages: str, caller: Caller) -> None:
    """Following the links of the first paragraph; also how to go on after the examples' user was erased."""
    browser.get(pages)
    find(browser, SEND_EVENT)
    for operation in (operation for path in document()["paths"].values() for operation in path.values()):
        find(browser, f"[id^=operations-][id$={operation['operationId']}]")
    create, send, users = (find(browser, f".steps li:nth-child({number}) a") for number in (1, 2, 3))
    create.click()
    click(browser, "#operations-Users-createUser .execute")
    find(browser, "#operations-Users-createUser .live-responses-table")
    send.click()
    send_example(browser, "search")
    assert answer(browser)[0] == "200"
    offered = Select(find(browser, f"{SEND_EVENT} .opblock-section-request-body .examples-select-element")).options
    assert [option.text for option in offered] == list(CATALOGUE)
    users.click()
    until(browser, lambda: types(browser) == ["search"])
    browser.get(pages)
    find(browser, SEND_EVENT)
    send_example(browser, "update")
    status, body = answer(browser)
    assert (status, "Event created" in body) == ("200", True)
    assert caller.send("GET", "/user/ana@example.com").body["tags"] == ["vip"]
    command = text_of(browser, ".curl")
    assert command.startswith(f"curl -i -X POST '{caller.api_url}/event/'")
    assert '-H "Authorization: $API_KEY"' in command
    click(browser, ".show-user")
    until(browser, lambda: types(browser) == ["update", "search"])


def test_a_page_may_load_nothing_from_other_hosts_and_run_no_inline_script(browser: Chrome) -> None:
    put_in = """
        const [element, attribute, value, done] = arguments;
        document.addEventListener("securitypolicyviolation", event => done(event.effectiveDirective), {once: true});
        document.body.append(Object.assign(document.createElement(element), {[attribute]: value}));
    """
    with pages_of(browser, {}) as url:
        for path in ("", "users"):
            open_page(browser, url + path)
            for name in ("img.src", "script.src", "script.text"):
                refused = browser.execute_async_script(put_in, *name.split("."), "http://127.0.0.1:9/x")
                assert refused == ("img-src" if name == "img.src" else "script-src-elem")


# --- Users ----------------------------------------------------------------------------------------


def open_users(browser: Chrome, pages: str, who: str = "") -> None:
    open_page(browser, f"{pages}users#{who}")
    find(browser, "#who")


def test_what_happens_is_shown_without_a_touch(browser: Chrome, pages: str, caller: Caller, ana: Ana) -> None:
    open_users(browser, pages, ana["email"])
    until(browser, lambda: text_of(browser, "#none"))
    caller.event(ana, {"search": {"query": "shoes"}})
    until(browser, lambda: types(browser) == ["search"])
    click(browser, "#timeline summary")
    caller.event(ana, {"update": {"city": "Vigo", "tags": "vip"}})
    until(browser, lambda: types(browser) == ["update", "search"])
    until(browser, lambda: "Vigo" in text_of(browser, "#profile"))
    assert text_of(browser, "#timeline [open] pre") == '{\n  "query": "shoes"\n}'
    assert find(browser, "#news").get_attribute("textContent") == "New: Changed the profile"
    caller.event(ana, {"confirmation": {"orderId": "A-1", "total": "59.90", "currency": "EUR", "items": [{}]}})
    until(browser, lambda: "Order A-1\n59.90 EUR · 1 item" in text_of(browser, "#timeline"))
    until(browser, lambda: "Purchases\n1\nSpent\n59.90" in text_of(browser, "#figures"))
    caller.send("PUT", f"/user/{ana['email']}", {"city": "Lugo"})
    until(browser, lambda: "Lugo" in text_of(browser, "#profile"))
    caller.send("DELETE", f"/user/{ana['email']}")
    until(browser, lambda: text_of(browser, "#missing-title") == "There is no user ana@example.com")
    assert not find(browser, "#user").is_displayed()
    assert types(browser) == []


def test_a_user_who_does_not_exist_is_created_by_a_click_and_shown(browser: Chrome, pages: str) -> None:
    for who in ("bob@example.com", "01a22a85-61be-7ed6-8146-2e7d3587c510"):
        open_users(browser, pages, who)
        click(browser, "#create")
        until(browser, lambda: who in text_of(browser, "#user .person"))  # noqa: B023 called at once
        assert not find(browser, "#missing").is_displayed()


def test_events_are_shown_by_page_and_downloaded(browser: Chrome, pages: str, caller: Caller, ana: Ana) -> None:
    events = [
        {"eventId": f"e-{number}", "eventTime": f"2026-01-01T00:{number // 60:02}:{number % 60:02}Z", "user": ana}
        | {"event": {"search": {"query": "shoes"}} if number % 2 else {"viewitem": {"itemId": "SKU-1"}}}
        for number in range(104)
    ]
    for batch in (events[:100], events[100:]):
        assert caller.send("POST", "/events/", {"events": batch, "import": True}).status == 200
    expected = ["search" if number % 2 else "viewitem" for number in reversed(range(104))]
    open_users(browser, pages, ana["email"])
    until(browser, lambda: types(browser) == expected[:50])
    assert browser.find_elements(By.CSS_SELECTOR, "#chart .hatched") != []
    for shown in (100, 104):
        click(browser, "#older")
        until(browser, lambda: types(browser) == expected[:shown])  # noqa: B023 called at once
    assert not find(browser, "#older").is_displayed()
    assert browser.find_elements(By.CSS_SELECTOR, "#chart .hatched") == []
    caller.event(ana, {"login": {}})
    until(browser, lambda: types(browser) == ["login", *expected])
    browser.execute_script("URL.createObjectURL = (blob) => (blob.text().then((text) => (window.saved = text)), '#')")
    click(browser, "#download")
    until(browser, lambda: browser.execute_script("return window.saved"))
    saved = json.loads(browser.execute_script("return window.saved"))
    assert saved["profile"] == caller.send("GET", f"/user/{ana['email']}").body
    assert [event["type"] for event in saved["events"]] == ["login", *expected]


def test_events_are_filtered_by_type_and_day(browser: Chrome, pages: str, caller: Caller, ana: Ana) -> None:
    times = {"search": "2026-01-05T23:30:00Z", "login": "2026-01-05T22:30:00Z", "addtocart": "2026-01-07T12:00:00Z"}
    payloads: dict[str, Any] = {"search": {"query": "x"}, "login": {}, "addtocart": {"itemId": "SKU-1"}}
    named = {name: {name: payload} for name, payload in payloads.items()}
    events = [{"eventId": each, "eventTime": times[each], "user": ana, "event": named[each]} for each in times]
    assert caller.send("POST", "/events/", {"events": events, "import": True}).status == 200
    open_users(browser, pages, ana["email"])
    until(browser, lambda: types(browser) == ["addtocart", "search", "login"])
    find(browser, "#from").send_keys("01062026")  # the browser's clock is Madrid's: one hour ahead
    until(browser, lambda: types(browser) == ["addtocart", "search"])
    find(browser, "#to").send_keys("01062026")
    until(browser, lambda: types(browser) == ["search"])
    Select(find(browser, "#type")).select_by_visible_text("login")
    until(browser, lambda: text_of(browser, "#none") == "No event of this user matches the filter.")
    click(browser, "#filter [type=reset]")
    until(browser, lambda: types(browser) == ["addtocart", "search", "login"])


def test_a_total_is_marked_if_the_api_does_not_count_it(browser: Chrome, pages: str, caller: Caller, ana: Ana) -> None:
    totals = [59.9, "59.90", " 1e3 ", 836.9999999999998, "-5", ".5", "5.", "+7", 0, 10**15, "1e15", "999999999999999.9"]
    totals += ["1.234,56", "€59", "", "NaN", "Infinity", "1_000", "٣", "0x10", "1 000", True, [1], {"a": 1}]
    warned = []
    for number, total in enumerate(totals):
        sent = caller.event(ana, {"confirmation": {"orderId": f"A-{number}", "total": total}})
        warned.append(any(each["code"] == "total_not_counted" for each in sent.body.get("warnings", ())))
    open_users(browser, pages, ana["email"])
    until(browser, lambda: len(types(browser)) == len(totals))
    lines = browser.execute_script("""
        const wrong = (each) => /not counted/.test(each.querySelector(".wrong")?.textContent);
        const line = (each) => [each.querySelector("b").textContent, wrong(each)];
        return [...document.querySelectorAll("#timeline li")].map(line);
    """)
    assert dict(lines) == {f"Order A-{number}": each for number, each in enumerate(warned)}
    assert sum(warned) == 14


def test_what_was_sent_is_shown_digit_by_digit_and_as_text(browser: Chrome, pages: str, caller: Caller) -> None:
    odd, digits = "a+%25&?#@example.com", "12345678901234567890123456789.012345678"
    user, markup = {"email": odd}, "<img src=x onerror=document.body.remove()>"
    assert caller.send("POST", "/user/", user).status == 200
    body = f'{{"user": {json.dumps(user)}, "event": {{"update": {{"n": {digits}, "list": [{digits}]}}}}}}'
    assert caller.send("POST", "/event/", body.encode()).status == 200
    caller.event(user, {"update": {markup: markup, "tags": ["vip"], "firstname": markup}})
    caller.event(user, {"generic": {"event_name": markup}})
    open_users(browser, pages)
    find(browser, "#who").send_keys(f" {odd} ", Keys.ENTER)
    for _ in range(2):
        until(browser, lambda: types(browser) == ["generic", "update", "update"])
        assert odd in text_of(browser, "#user .person")
        browser.refresh()
    until(browser, lambda: types(browser) == ["generic", "update", "update"])
    profile = text_of(browser, "#profile")
    assert (profile.count(markup), profile.count(digits)) == (3, 2)
    click(browser, "#timeline li:last-child summary")
    until(browser, lambda: text_of(browser, "#timeline [open] pre").count(digits) == 2)
    assert browser.find_elements(By.CSS_SELECTOR, ".main img") == []


def press(browser: Chrome, *keys: str) -> None:
    ActionChains(browser).send_keys(*keys).perform()


def test_it_is_used_by_keyboard_alone(browser: Chrome, pages: str, caller: Caller, ana: Ana) -> None:
    caller.event(ana, {"search": {"query": "shoes"}})
    open_users(browser, pages)
    press(browser, *[Keys.TAB] * 4, ana["email"], Keys.ENTER)  # past the links of the pages
    until(browser, lambda: types(browser) == ["search"])
    find(browser, "#filter [type=reset]").send_keys("")  # the focus is on it now
    press(browser, Keys.TAB, Keys.ENTER)
    until(browser, lambda: browser.find_elements(By.CSS_SELECTOR, "#timeline details[open]"))
    caller.event(ana, {"login": {}})
    until(browser, lambda: types(browser) == ["login", "search"])
    assert browser.switch_to.active_element.text.startswith("Searched"), "a new event does not take the focus"


def test_the_browser_keeps_only_the_ids_of_recent_users(browser: Chrome, pages: str, caller: Caller, ana: Ana) -> None:
    anonymous = caller.send("POST", "/user/", {"firstname": "Ána"}).body["object"]["_id"]
    ids = [anonymous, caller.send("GET", f"/user/{ana['email']}").body["_id"]]
    for who in (ana["email"], anonymous):
        open_users(browser, pages, who)
        until(browser, lambda: find(browser, "#user").is_displayed())
    assert text_of(browser, "#name") == "Ána"
    open_users(browser, pages)
    until(browser, lambda: len(browser.find_elements(By.CSS_SELECTOR, "#recent a")) == 2)
    assert caller.key not in browser.page_source + browser.current_url
    kept = "return [document.cookie, sessionStorage.length, history.state, {...localStorage}]"
    assert browser.execute_script(kept) == ["", 0, None, {"recent": json.dumps(ids, separators=(",", ":"))}]
    click(browser, f"#recent a[href$='{anonymous}']")
    until(browser, lambda: anonymous in text_of(browser, "#identity"))
    caller.send("DELETE", f"/user/{anonymous}")
    open_users(browser, pages)
    until(browser, lambda: browser.execute_script("return JSON.parse(localStorage.recent).length") == 1)


def test_a_page_without_its_server_says_what_to_do_and_seldom_asks(browser: Chrome) -> None:
    with pages_of(browser, {"user/x": {"_id": "x"}, "user/x/events": {"events": []}}) as url:
        open_users(browser, url, "x")
        until(browser, lambda: find(browser, "#user").is_displayed())
        count = "const ask = fetch; window.asked = 0; window.fetch = (...all) => { asked++; return ask(...all) }"
        browser.execute_script(count)
    until(browser, lambda: "make run" in text_of(browser, "#problem"))
    asked = browser.execute_script("return asked")
    browser.execute_async_script("setTimeout(arguments[0], 2500)")
    assert browser.execute_script("return asked") - asked <= 2


def test_the_chart_counts_by_type_and_day_up_to_the_newest_event(browser: Chrome) -> None:
    days = {"search": ["24", "24", "12", "01"], "login": ["24", "11"], "update": ["01"]}
    events: list[dict[str, Any]] = [
        {"_id": f"{type_}-{number}", "type": type_, "payload": {}, "createdOn": f"2026-10-{day}T12:00:00.000Z"}
        for type_, each in days.items()
        for number, day in enumerate(each)
    ]
    events.sort(key=lambda event: event["createdOn"], reverse=True)
    with pages_of(browser, {"user/x": {"_id": "x"}, "user/x/events": {"events": events}}) as url:
        open_users(browser, url, "x")
        until(browser, lambda: len(types(browser)) == len(events))
        cells = "return [...document.querySelectorAll('#chart title')].map((each) => each.textContent)"
        counts = ["login, Oct 11: 1", "login, Oct 24: 1", "search, Oct 12: 1", "search, Oct 24: 2"]
        assert browser.execute_script(cells) == counts
        label = find(browser, "#chart svg").get_attribute("aria-label")
        assert "search: 1 on Oct 12, 2 on Oct 24; update: none in these days." in str(label)


# --- Refusals and Live ----------------------------------------------------------------------------


def refusal(count: int, code: str, hour: str = "2099-01-01T08:00:00Z", **where: str) -> dict[str, Any]:
    return {"hour": hour, "code": code, "count": count, "lastRequestId": f"r-{count}", **where}


def test_refusals_are_added_up_by_code_most_frequent_first_and_explained_as_in_the_documents(browser: Chrome) -> None:
    assert console.CODES.read_text() == codes.explanations(), "run `make openapi`"
    search = {"type": "search", "field": "user.email"}
    refusals = [
        refusal(2, "missing_event"),
        refusal(1, "user_not_found", **search),
        refusal(3, "user_not_found", "2099-01-01T07:00:00Z", **search),
        refusal(2, "user_not_found", field="user._id"),
        refusal(9, "invalid_json", "2001-01-01T00:00:00Z"),
    ]
    with pages_of(browser, {"refusals": {"refusals": refusals}}) as url:
        browser.get(f"{url}refusals")
        until(browser, lambda: browser.find_elements(By.CSS_SELECTOR, "#refusals .card"))
        shown = [" ".join(each.text.split()) for each in browser.find_elements(By.CSS_SELECTOR, "#refusals .card")]
        means = codes.ALL["user_not_found"].means.replace("`", "")
        assert [each[:17] for each in shown] == ["6 user_not_found ", "2 missing_event T"]
        assert f"6 user_not_found {means} To do: " in shown[0]
        places = browser.find_elements(By.CSS_SELECTOR, "#refusals .card:first-child .places li")
        assert [place.text.split("\n")[1] for place in places] == ["type search · field user.email", "field user._id"]
        assert "r-1" in places[0].text, "the last request is that of the newest hour"


def test_events_and_refusals_show_when_they_arrive_and_not_while_the_page_is_paused(browser: Chrome) -> None:
    recent, answers = Recent("demo"), {"refusals": {"refusals": [refusal(1, "missing_event")]}}
    with pages_of(browser, answers, recent) as url:
        browser.get(f"{url}live")
        until(browser, lambda: text_of(browser, "#refusals h3") == "1\nmissing_event")
        for number, query in enumerate(("boots", "shoes")):
            detail = {"account": "shop", "userId": f"u-{number}", "type": "search", "createdOn": "2026-11-24T08:00:00Z"}
            recent.add(json.dumps({"detail-type": "EventCreated", "detail": detail | {"payload": {"query": query}}}))
        until(browser, lambda: text_of(browser, "#stream b") == "Searched for “shoes”")
        links = [each.get_attribute("href") for each in browser.find_elements(By.CSS_SELECTOR, "#stream a")]
        assert links == [f"{url}users#u-1", f"{url}users#u-0"]
        answers["refusals"]["refusals"] = [refusal(1, "missing_event"), refusal(5, "user_not_found")]
        until(browser, lambda: text_of(browser, "#refusals h3") == "5\nuser_not_found")
        click(browser, "#pause")
        detail = {"account": "shop", "userId": "u-1", "erasedOn": "2026-11-24T08:00:00Z"}
        recent.add(json.dumps({"detail-type": "UserErased", "detail": detail}))
        browser.execute_async_script("setTimeout(arguments[0], 1500)")
        assert text_of(browser, "#count") == "2"
        click(browser, "#pause")
        until(browser, lambda: text_of(browser, "#stream b") == "User erased")
