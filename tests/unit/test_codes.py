"""docs/codes.md describes each code, and it is made of the lists that the code answers from: contract, section 11."""

import re

import pytest

from api.gateway import RESOURCES
from docs import codes
from docs.openapi import OF_STATUS
from domain.event_types import restrictions
from domain.problems import CODES

PAGE = codes.FILE.read_text()
GATEWAYS = {
    response["ResponseParameters"]["Headers"]["X-Error-Code"].strip("'")
    for response in RESOURCES["Api"]["Properties"]["GatewayResponses"].values()
}


def test_the_page_is_up_to_date() -> None:
    assert codes.text() == PAGE, "run `make openapi`"


def test_each_code_of_the_functions_and_of_the_gateway_has_its_section_and_no_other() -> None:
    assert set(codes.ALL) == {*CODES, *restrictions(), *GATEWAYS}
    assert re.findall(r"^### `(\w+)`$", PAGE, re.MULTILINE) == sorted(codes.ALL, key=lambda code: codes.STATUS[code])


@pytest.mark.parametrize("code", codes.ALL)
def test_a_section_says_what_a_code_means_what_to_do_and_shows_it(code: str) -> None:
    about, example = codes.ALL[code], codes.examples()[code]
    assert about.means.endswith(".")
    assert about.do.endswith(".")
    assert example.get("code", code) == code
    assert ("code" in example) == (code not in {"missing_event", "user_not_found"})


def test_a_gateways_code_is_one_of_a_function_or_said_to_be_the_gateways() -> None:
    assert GATEWAYS - CODES.keys() == {"bad_request", "too_many_requests"}
    assert OF_STATUS["too_many_requests"] == 429
