"""A headless Chromium, and what tests do with it."""

import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flask import Flask
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.expected_conditions import element_to_be_clickable, presence_of_element_located
from selenium.webdriver.support.wait import WebDriverWait
from werkzeug.serving import make_server

from engines import skip_lane
from local import console
from local.feed import Recent

SECONDS = 60
FLAGS = [
    *("--headless", "--disable-gpu", "--disable-quic", "--disable-sync", "--hide-scrollbars", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--window-size=1200,1600", "--lang=en-US"),
    "--no-sandbox",  # as root it has none
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # as without the internet
]
WIDTHS = {"phone": 375, "desktop": 1280}


@contextmanager
def chromium(profile: Path) -> Iterator[Chrome]:
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (program and driver):
        skip_lane("the pages need Chromium. On Debian: apt install chromium chromium-driver")
    options = ChromeOptions()
    options.binary_location = program
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    chrome = Chrome(options, ChromeService(driver, env={**os.environ, "TZ": "Europe/Madrid"}))
    chrome.set_script_timeout(SECONDS)  # axe takes long on a busy machine
    yield chrome
    chrome.quit()


def log(browser: Chrome, name: str) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = browser.get_log(name)  # type: ignore[no-untyped-call]
    return entries


def forget(browser: Chrome) -> None:
    """Leave the page, with nothing kept and no errors logged that a test made on purpose."""
    browser.execute_script("try { localStorage.clear() } catch {}")
    browser.get("about:blank")
    for name in ("browser", "performance"):
        log(browser, name)


def network(log: list[dict[str, Any]], method: str) -> Iterator[dict[str, Any]]:
    messages = (json.loads(entry["message"])["message"] for entry in log)
    return (message["params"] for message in messages if message["method"] == method)


def find(browser: Chrome, selector: str) -> WebElement:
    return WebDriverWait(browser, SECONDS).until(presence_of_element_located((By.CSS_SELECTOR, selector)))


def click(browser: Chrome, selector: str) -> None:
    WebDriverWait(browser, SECONDS).until(element_to_be_clickable((By.CSS_SELECTOR, selector))).click()


def until(browser: Chrome, holds: Callable[[], object]) -> None:
    """Wait until it holds: the page updates itself when data arrives."""
    WebDriverWait(browser, SECONDS, poll_frequency=0.1).until(lambda _: holds())


def text_of(browser: Chrome, selector: str) -> str:
    return find(browser, selector).text


def types(browser: Chrome) -> list[str]:
    """Return the types of the shown timeline, in one call, because the page can change between two."""
    lines = "document.querySelectorAll('#user:not([hidden]) #timeline li')"
    shown: list[str] = browser.execute_script(f"return [...{lines}].map((each) => each.dataset.type)")
    return shown


def open_page(browser: Chrome, address: str) -> None:
    browser.get("about:blank")  # or only what is behind the # changes
    browser.get(address)


@contextmanager
def screen_of(browser: Chrome, width: int, scheme: str = "light") -> Iterator[None]:
    """As on a screen of that width; a phone lays a page without `viewport` out at 980 pixels."""
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width == WIDTHS["phone"]}
    media = [{"name": "prefers-color-scheme", "value": scheme}, {"name": "prefers-reduced-motion", "value": "reduce"}]
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
    yield
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


@contextmanager
def pages_of(browser: Chrome, answers: dict[str, Any], recent: Recent | None = None) -> Iterator[str]:
    """Serve the pages of a made-up API to a browser that forgets others. Yield their address.

    `answers` are bodies, or pairs of a status and a body, by the path below /v1/.
    """
    app = Flask(__name__)
    missing = (404, {"errors": [{"message": "User not found", "description": "There is no such user."}]})

    @app.route("/v1/<path:path>", methods=["GET", "POST", "PUT"])
    def answer(path: str) -> tuple[Any, int]:
        found = answers.get(path.rstrip("/"), missing)
        status, body = found if isinstance(found, tuple) else (200, found)
        return body, status

    forget(browser)
    server = make_server(console.HOST, 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        with console.running(f"http://{console.HOST}:{server.port}/v1", "key", recent=recent) as url:
            yield url
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
