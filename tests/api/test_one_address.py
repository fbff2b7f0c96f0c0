"""Contract section 2: a user is found by any spelling of the address, and by the one that we return."""

from urllib.parse import quote

import pytest

from api.gateway import call, post_event, timeline, user
from table import Account

WAYS = ["J\u030c@example.com", "j\u030c@example.com", "\u01f0@example.com", " J\u030c@Example.COM "]


@pytest.mark.parametrize("written", WAYS, ids=["capital", "small", "composed", "spaces"])
def test_a_user_is_found_by_every_way_to_write_the_address(demo: Account, written: str) -> None:
    made = call("POST", "/user", {"email": written}).body["object"]
    for way in [*WAYS, made["email"]]:
        assert user("GET", quote(way)).body["_id"] == made["_id"]
        assert call("POST", "/user", {"email": way}).status == 409
        assert user("PUT", quote(way), {"city": "Vigo"}, queryStringParameters={"upsert": "true"}).status == 200
        sent = post_event({"search": {"query": "x"}}, {"email": way})
        assert (sent.status, sent.headers["X-User-Id"]) == (200, made["_id"])
        assert timeline(quote(way)).body["events"][0]["_id"] == sent.headers["X-Event-Id"]
    assert user("DELETE", quote(made["email"])).status == 200
