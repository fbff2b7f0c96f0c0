"""docs/codes.md describes each code of the closed lists, and shows a request that causes it: contract, section 11.

The requests are executed when the page is made, so that the page is up to date says that each response is the real one.
"""

import json
import re

import pytest

from docs import codes
from docs.openapi import CODES, OF_STATUS
from documents import RESOURCES
from domain.event_types import restrictions
from domain.problems import WARNINGS

GATEWAYS = {
    response["ResponseParameters"]["Headers"]["X-Error-Code"].strip("'")
    for response in RESOURCES["Api"]["Properties"]["GatewayResponses"].values()
}
IN_A_HEADER = {"missing_event", "user_not_found"}  # the two documented bodies, which have no code


@pytest.fixture(scope="module")
def page() -> str:
    codes.responses.cache_clear()  # mutmut tries a change in a process where these tests have run without it
    return codes.text()


def test_the_page_is_up_to_date(page: str) -> None:
    assert codes.FILE.read_text() == page, "run `make openapi`"


def test_each_code_of_the_functions_and_of_the_gateway_has_its_section_and_no_other(page: str) -> None:
    assert set(codes.ALL) == {*CODES, *WARNINGS, *restrictions(), *GATEWAYS}, "describe it in docs/codes.py"
    assert set(re.findall(r"^### `(\w+)`$", page, re.MULTILINE)) == set(codes.ALL)
    assert set(codes.WARNED) == set(WARNINGS)
    assert set(codes.ALL) >= codes.UNSAID
    assert GATEWAYS - CODES.keys() == {"bad_request", "too_many_requests"}
    assert OF_STATUS["too_many_requests"] == 429


@pytest.mark.parametrize("code", codes.ALL)
def test_a_section_says_what_a_code_means_what_to_do_and_shows_a_request_and_its_response(code: str, page: str) -> None:
    assert all(sentence.endswith(".") for sentence in codes.ALL[code])
    problems = [each.code for each in codes.WITHOUT_REQUEST]
    assert code in problems or codes.requests(code), "add a request that causes it to REQUESTS of docs/codes.py"
    [shown] = re.findall(rf"^### `{code}`\n.*?```json\n(.*?)\n```$", page, re.MULTILINE | re.DOTALL)
    found = set(re.findall(r'"code": "(\w+)"', shown))
    assert found == (set() if code in IN_A_HEADER else {code})
    assert len(json.loads(shown).get("errors", [0])) == 1
