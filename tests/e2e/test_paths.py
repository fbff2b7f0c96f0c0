"""A path names the user that the caller encoded, and nobody else: API Gateway hands it over as it was sent."""

from urllib.parse import quote

import pytest

from e2e.conftest import Caller

PLUS, ESCAPED = "a+t@example.com", "a%2bt@example.com"  # what one decoding too many takes for each other


@pytest.fixture
def both(caller: Caller) -> Caller:
    """A caller with two users whose addresses differ only so."""
    for email in (PLUS, ESCAPED):
        assert caller.send("POST", "/user/", {"email": email}).status == 200
    return caller


@pytest.mark.parametrize("email", [PLUS, ESCAPED])
@pytest.mark.parametrize("safe", ["", "@"], ids=["encoded", "with a bare @"])
def test_a_path_is_decoded_once(both: Caller, email: str, safe: str) -> None:
    path = f"/user/{quote(email.replace('t', 'T'), safe=safe)}"
    assert both.send("GET", path).body["email"] == email
    assert both.send("PUT", path, {"city": "Vigo"}).body["object"]["email"] == email
    assert both.send("GET", f"{path}/events").body == {"events": []}


@pytest.mark.parametrize(("erased", "kept"), [(PLUS, ESCAPED), (ESCAPED, PLUS)])
def test_an_erasure_is_of_the_person_whom_the_path_names(both: Caller, erased: str, kept: str) -> None:
    assert both.send("DELETE", f"/user/{quote(erased, safe='')}").status == 200
    assert both.send("GET", f"/user/{quote(erased, safe='')}").status == 404
    assert both.send("GET", f"/user/{quote(kept, safe='')}").body["email"] == kept
