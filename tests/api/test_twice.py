"""What is given twice: a name in one object, and a key for two bodies."""

import json

from api.gateway import call
from builders import ANA, a_moment
from domain.profile import Profile
from domain.times import iso

TIME = iso(a_moment())


def test_a_name_given_twice_in_one_event_harms_no_other(ana: Profile) -> None:
    """Section 8: one event never harms another, whatever is wrong with it. Now: 400, nothing was looked at."""
    start = f'"eventTime": "{TIME}", "user": {{"email": "{ANA}"}}, "event"'
    wrong = f'{{"eventId": "e-1", {start}: {{"search": {{"query": "x", "query": "y"}}}}}}'
    right = f'{{"eventId": "e-2", {start}: {{"search": {{"query": "x"}}}}}}'
    answer = call("POST", "/events", f'{{"events": [{wrong}, {right}]}}')
    assert [each["status"] for each in answer.body["results"]] == ["refused", "created"]


def test_a_key_whose_first_answer_was_that_of_a_duplicate_is_not_free_for_another_body(ana: Profile) -> None:
    """Section 7: 422 for another body. Now: the answer to a duplicate is not remembered, so this one is stored."""
    event = {"eventId": "e-1", "eventTime": TIME, "user": {"email": ANA}, "event": {"search": {"query": "x"}}}
    headers = {"Idempotency-Key": "key"}
    assert call("POST", "/event", event).status == 200
    assert call("POST", "/event", event, headers=headers).headers["Idempotent-Replayed"] == "true"
    assert call("POST", "/event", json.dumps(event | {"eventId": "e-2"}), headers=headers).status == 422
