"""Each state of the pages on a phone in light, and on a desktop in dark: it fits, and axe finds nothing.

No colour depends on the width and no layout on the scheme, so the other two would show nothing else.
If a state changes only a part of a page, axe looks at that part. `make screenshots` runs this with SCREENSHOTS=folder,
and keeps a picture of each.
"""

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from selenium.webdriver import Chrome

from e2e.browsing import WIDTHS, click, find, open_page, pages_of, screen_of, until
from engines import skip_lane
from local.feed import Recent
from local.stack import ROOT

AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
RUN = """
    const [part, done] = arguments
    axe.run(part).then(({ violations }) => done(violations.map(({ id, nodes }) => [id, nodes[0].html])))
"""
ID = "01a22a85-61be-7ed6-8146-2e7d3587c510"
HEIGHT = 1600  # of a picture, at most


class State(NamedTuple):
    """One state of a page: its address, what the API answers, what to click, and what is there when all is shown."""

    address: str
    shows: str
    answers: dict[str, Any] = {}  # noqa: RUF012 never changed
    clicks: tuple[str, ...] = ()
    live: tuple[dict[str, Any], ...] | None = ()
    """Events of the local bus; None if the pages are those of a deployed stack."""
    says: str = ""
    part: str = "html"
    """What axe looks at."""


def event(number: int, day: int, type_: str, payload: dict[str, Any]) -> dict[str, Any]:
    created_on = f"2026-11-{day:02}T{number % 24:02}:05:31.000Z"
    return {"_id": f"e-{number}", "type": type_, "payload": payload, "createdOn": created_on}


def errors(status: int, description: str) -> tuple[int, Any]:
    return status, {"errors": [{"message": "x", "description": description}]}


EVENTS = [
    event(12, 24, "confirmation", {"orderId": "A-1002", "total": "1.234,56", "currency": "EUR", "items": [{}, {}]}),
    event(11, 24, "confirmation", {"orderId": "A-1001", "total": 59.9, "currency": "EUR", "items": [{"id": "SKU-1"}]}),
    event(10, 23, "refund", {"refundId": "R-7", "orderId": "A-1001", "total": 20, "currency": "EUR"}),
    event(9, 23, "emailopen", {"campaign": "autumn"}),
    event(8, 22, "addtocart", {"itemId": "SKU-1", "quantity": 2, "cartId": "C-7"}),
    event(7, 22, "search", {"query": "red shoes"}),
    event(6, 21, "generic", {"generic": {"event_name": "size_chart_opened", "note": "a\nnew line " * 40}}),
    event(5, 20, "update", {"city": "Vigo", "list": list(range(200))}),
    event(4, 20, "login", {}),
]
PROFILE = json.loads(r"""
    {"email": "ana@example.com", "firstname": "Ana", "lastname": "Pérez", "createdOn": "2026-10-01T08:00:00.000Z",
     "isCustomer": true, "numberOfPurchases": 2, "totalPurchasesValue": 59.9, "lastPurchaseValue": 59.9,
     "lastPurchaseDate": "2026-11-24T11:05:31.000Z", "numberOfRefunds": 1, "totalRefundsValue": 20,
     "lastRefundDate": "2026-11-23T10:05:31.000Z", "newsletter": true, "consent": "true", "score": null,
     "second": "null", "empty": "", "address": "Rúa do Príncipe 1\n36202 Vigo", "size": {"height": 1.5}}
""")
PROFILE |= {"_id": ID, "tags": [f"tag_{number}" for number in range(60)], "x" * 80: "y" * 600}
ANA = {
    f"user/{who}{path}": body
    for who in (ID, "ana@example.com")
    for path, body in (("", PROFILE), ("/events", {"events": EVENTS, "cursor": "c"}))
}
ANONYMOUS = {f"user/{ID}": {"_id": ID, "createdOn": "2026-10-01T08:00:00.000Z"}, f"user/{ID}/events": {"events": []}}
LONG = f"{'long' * 16}@{'a' * 60}.{'b' * 60}.example.com"
LONG_NAMED = {f"user/{LONG}": PROFILE | {"email": LONG}, f"user/{LONG}/events": {"events": EVENTS[:1]}}
COUNTS: tuple[tuple[int, str, dict[str, str]], ...] = (
    (7, "user_not_found", {"type": "search", "field": "user.email"}), (1, "a_code_of_tomorrow", {}),
    (9, "user_not_found", {"type": "confirmation", "field": "user._id"}),
    (31, "missing_field", {"type": "confirmation", "field": "event.confirmation.orderId"}),
)  # fmt: skip
LAST = {"hour": "2099-01-01T08:00:00Z", "lastRequestId": "kZPdBFrFDoEFEcg="}
REFUSED = {"refusals": {"refusals": [{**LAST, "code": code, "count": count, **more} for count, code, more in COUNTS]}}
OF_ANA = {"account": "demo", "userId": ID}
ARRIVED = (
    *({"detail-type": "EventCreated", "detail": OF_ANA | each} for each in reversed(EVENTS)),
    {"detail-type": "UserErased", "detail": OF_ANA | {"erasedOn": "2026-11-24T12:00:00Z"}},
)
OPENED = ("#timeline li:first-child summary", "#timeline li:nth-child(7) summary", ".tags button", "#profile dd button")
SENT: dict[str, Any] = {"event": {"results": {}}}
PROBLEM, SEND, READ = "#problem:not(:empty)", "#operations-Events-sendEvent", "#operations-Users-readUser"


def failing(status: int, says: str) -> State:
    answers = {"user/ana@example.com/events": errors(status, "Our fault.")}
    return State("users#ana@example.com", PROBLEM, answers, says=says)


STATES = {
    "users-none": State("users", "#recent-none"),
    "users-recent": State("users", "#recent a", ANA, live=ARRIVED),
    "user": State("users#ana@example.com", "#timeline li", ANA),
    "user-opened": State("users#ana@example.com", "#timeline li:nth-child(1) pre", ANA, OPENED),
    "user-anonymous": State(f"users#{ID}", "#none", ANONYMOUS),
    "user-long": State(f"users#{LONG}", "#timeline li", LONG_NAMED),
    "user-missing": State("users#bob@example.com", "#create"),
    "user-impossible": State("users#bob", "#missing"),
    "user-no-key": failing(401, "does not accept the key"),
    "user-too-many": failing(429, "too many requests"),
    "user-failing": failing(500, "Our fault."),
    "refusals": State("refusals", "#refusals li", REFUSED),
    "refusals-none": State("refusals", "#none", {"refusals": {"refusals": []}}),
    "refusals-failing": State("refusals", PROBLEM, {"refusals": errors(500, "Our fault.")}),
    "live": State("live", "#stream li", {**REFUSED, **ANA}, live=ARRIVED),
    "live-none": State("live", "#refused-none", {"refusals": {"refusals": []}}),
    "live-paused": State("live", "#pause[aria-pressed=true]", REFUSED, ("#pause",), ARRIVED),
    "tryit": State("", SEND),
    "tryit-deployed": State("", SEND, live=None),
    "tryit-sent": State("#/Events/sendEvent", ".show-user", SENT, (f"{SEND} .execute",), part=SEND),
    "tryit-refused": State("#/Users/readUser", ".show-user", {}, (f"{READ} .execute",), part=READ),
    "tryit-authorize": State("", ".auth-container input", clicks=(".authorize",), part=".dialog-ux"),
    "tryit-schemas": State("", ".models .json-schema-2020-12", clicks=(".models h4 button",), part=".models"),
    "nowhere": State("nowhere", "h1"),
}  # fmt: skip


@pytest.mark.http
@pytest.mark.parametrize("name", STATES)
def test_each_state_fits_each_screen_and_is_accessible(name: str, browser: Chrome) -> None:
    if not AXE.exists():
        skip_lane("the pages are checked by axe-core: run `npm install`")
    state = STATES[name]
    recent = None if state.live is None else Recent("demo")
    for each in state.live or ():
        assert recent
        recent.add(json.dumps(each))
    with pages_of(browser, state.answers, recent) as url:
        open_page(browser, url + state.address)
        if state.address == "#/Users/readUser":
            find(browser, ".parameters input").send_keys("nobody@example.com")
        for selector in state.clicks:
            click(browser, selector)
        until(browser, find(browser, state.shows).is_displayed)
        assert state.says in find(browser, state.shows).text
        browser.execute_script(AXE.read_text())
        found = {}
        for (screen, width), scheme in zip(WIDTHS.items(), ("light", "dark"), strict=True):
            with screen_of(browser, width, scheme):
                found[screen, scheme] = browser.execute_async_script(RUN, state.part)
                assert browser.execute_script("return document.documentElement.scrollWidth") <= width, screen
                keep_picture(browser, f"{name}-{screen}-{scheme}", width)
    assert {where: violations for where, violations in found.items() if violations} == {}


def keep_picture(browser: Chrome, name: str, width: int) -> None:
    if folder := os.environ.get("SCREENSHOTS"):
        Path(folder).mkdir(exist_ok=True)
        height = min(HEIGHT, browser.execute_script("return document.documentElement.scrollHeight"))
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width == WIDTHS["phone"]}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        browser.save_screenshot(f"{folder}/{name}.png")
