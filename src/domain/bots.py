"""Decide whether a user agent declares itself a crawler: contract, section 4.

The list of `crawleruseragents` has a pattern for each crawler. The patterns also match phones, builds and apps. So an
agent that looks like a browser, a phone or an app counts as a person. It is compared with the list only if its name has
a word of automation or an address. Its name is the agent without the brackets that describe the device.
"""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

BRACKETS = re.compile(r"\(((?:[^()]|\([^()]*\))*)\)")
SYSTEMS = ("Windows", "Linux", "Android", "Mac", "iP", "X11", "CrOS", "Symbian", "BB10", "Tizen", "KAIOS", "MSIE")
PERSONS = (
    *("Mozilla/", "Opera/", "Dalvik/", "UCWEB", "BlackBerry", "Nokia", "SonyEricsson", "SAMSUNG-", "LG-", "MOT-"),
    *("HTC", "CFNetwork/", "Darwin/", "Android", "iPhone", "iPad", "iOS", "Windows NT", "Macintosh"),
)
ADDRESSES = ("http:", "https:", "www.", "@")
WORDS = (
    *("agent", "archiv", "audit", "bot", "capture", "check", "compatible", "crawl", "externalhit", "favicon", "feed"),
    *("fetch", "grab", "headless", "httrack", "index", "insight", "inspect", "lighthouse", "metrix", "monitor"),
    *("optimiz", "phantom", "pingdom", "playwright", "preview", "probe", "ptst/", "puppeteer", "scan", "scrap"),
    *("selenium", "slurp", "spider", "survey", "synthetic", "test", "uptime", "validat", "verif"),
    *(".com", ".io", ".net", ".org", *ADDRESSES),
)
WORDS_OF_A_DEVICE = ("bot/", "crawl", "preview", "spider", *ADDRESSES)
# Proxies that fetch an image when a person opens a mail, and software of shops: never crawlers.
SERVERS = (
    *("ImageProxy", "ImgProxy", "MailProxy", "FastmailUA"),
    *("WordPress", "WooCommerce", "Shopify", "Zapier", "Make/"),
)


def declares_itself(agent: str) -> bool:
    """Return whether the agent's own name or address is that of a crawler. If it is unclear, it is a person's."""
    if any(server in agent for server in SERVERS):
        return False
    if any(person in agent for person in PERSONS):
        agent = _name_of(agent)
        lower = agent.lower()
        if not any(word in lower for word in WORDS):
            return False
    return any(pattern.search(agent) for pattern in _patterns())


def _name_of(agent: str) -> str:
    """Return the agent without the first brackets, if they describe a device."""
    found = BRACKETS.search(agent)
    if found is None:
        return agent
    device = found[1]
    names_a_crawler = ("compatible" in device and "MSIE" not in device) or any(
        word in device.lower() for word in WORDS_OF_A_DEVICE
    )
    if names_a_crawler or not any(system in device for system in SYSTEMS):
        return agent.replace("compatible; MSIE", "MSIE")
    return agent[: found.start()] + agent[found.end() :]


@cache
def _patterns() -> list[re.Pattern[str]]:
    """Return the list's patterns, without those of HTTP libraries that are not called crawlers."""
    from crawleruseragents import CRAWLER_USER_AGENTS_DATA  # 8 ms, for few requests

    patterns = [each["pattern"] for each in CRAWLER_USER_AGENTS_DATA if is_called_crawler(each)]
    return [re.compile("|".join(patterns[start : start + 25])) for start in range(0, len(patterns), 25)]


def is_called_crawler(listed: Mapping[str, Any]) -> bool:
    """Return whether an entry of the list is about a crawler: an HTTP library is one only if it is called so."""
    is_called_one = any(word in listed["pattern"].lower() for word in ("bot", "crawl", "scrap"))
    return is_called_one or "http-library" not in listed["tags"]
