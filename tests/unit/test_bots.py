"""Contract section 4: an agent is a crawler's only if its own name or address says so.

Agents of persons: the test data of Matomo's device detector (LGPL), as the package device-detector contains it. Agents
of crawlers: the examples of the maintained list itself.
"""

import re
from collections.abc import Iterator
from importlib.metadata import files

from crawleruseragents import CRAWLER_USER_AGENTS_DATA

from domain.bots import SERVERS, is_called_crawler
from domain.restrictions import is_bot


def agents_of_persons() -> Iterator[str]:
    for path in files("device-detector") or ():
        if "fixtures/upstream" in str(path) and not path.name.startswith(("bots", "clienthints", "unknown")):
            for agent in re.findall(r"^\W*user_agent: (.+)$", path.read_text(), re.MULTILINE):
                yield agent[1:-1].replace("''", "'") if agent[0] in "'\"" else agent


def test_at_most_one_person_in_10_000_is_taken_for_a_bot() -> None:
    persons = set(agents_of_persons())
    assert len(persons) > 30_000
    assert len([agent for agent in persons if is_bot(agent)]) <= len(persons) / 10_000


def test_of_the_crawlers_of_the_list_97_percent_are_bots_and_of_its_http_libraries_none() -> None:
    crawlers = {agent for each in CRAWLER_USER_AGENTS_DATA if is_called_crawler(each) for agent in each["instances"]}
    crawlers = {agent for agent in crawlers if not any(server in agent for server in SERVERS)}
    assert len(crawlers) > 1_500
    assert len([agent for agent in crawlers if is_bot(agent)]) >= 0.97 * len(crawlers)
    libraries = [each for each in CRAWLER_USER_AGENTS_DATA if not is_called_crawler(each)]
    assert len(libraries) > 20
    assert [agent for each in libraries for agent in each["instances"] if is_bot(agent)] == []


CRAWLERS = [
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X) AppleWebKit/537.36 Chrome/99.0 (compatible; Googlebot/2.1)",
    "Mozilla/5.0 (Windows NT 10.0; x64; trendictionbot0.5.0; http://www.trendiction.de/bot) Firefox/67.0",
    "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/120.0 Safari/537.36",
]  # fmt: skip
OTHERS = [  # persons, image proxies, HTTP libraries and shops
    "", "Mozilla/5.0",
    "Mozilla/5.0 (Linux; Android 9; CUBOT_X19) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/94.0 Mobile Safari/537.36",
    "Mozilla/5.0 (Linux; Android 15; CPH2557 Build/AP3A.240617.008; wv) Chrome/142.0 Mobile Instagram 406.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148 [FBAN/FBIOS;FBAV/470.0]",
    "Dalvik/2.1.0 (Linux; U; Android 7.0; CUBOT NOTE Plus Build/NRD90M)",
    "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
    "YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html",
    "curl/8.5.0", "python-requests/2.31.0", "GuzzleHttp/7", "okhttp/4.12.0", "Go-http-client/2.0", "axios/1.6.2",
    "node-fetch/1.0 (+https://github.com/bitinn/node-fetch)", "Apache-HttpClient/4.5.14 (Java/17.0.9)",
    "WordPress/6.4.2; https://shop.example.com", "WooCommerce/8.5 Hookshot (WordPress/6.4)", "Shopify-Captain-Hook",
    "PrestaShop/8.1", "Zapier",
]  # fmt: skip


def test_only_a_crawler_that_says_so_is_a_bot() -> None:
    assert [agent for agent in CRAWLERS if not is_bot(agent)] == []
    assert [agent for agent in OTHERS if is_bot(agent)] == []

    assert is_bot("Googlebot/2.1 " + "x" * 250_000), "an endless one is judged by its beginning"
    assert not is_bot("x" * 250_000 + " Googlebot/2.1")
