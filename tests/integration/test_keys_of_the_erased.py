"""Contract sections 6 and 7: a key that an erased user's event was sent under names them no more.

The same shop sends the same request again under the same key, for a person who has left and come back.
"""

from datetime import timedelta
from typing import Any

import pytest

from builders import ANA, a_moment, a_user, send, the_events, the_profile
from domain.outcomes import IdempotencyKey, Outcome
from engines import aws_engine_only
from faults import at_each_call
from stored import as_text
from table import Account
from table.calls import Table
from use_cases import users
from use_cases.erasure import erase_leftovers

LATER = timedelta(minutes=5)
KEY = IdempotencyKey.of("key", b"body")
EVENTS: list[dict[str, Any]] = [
    {"search": {"query": "x"}},
    {"update": {"city": "Madrid"}},
    {"login": {"visits": 1}},
    {"emailopen": {}},
    {"confirmation": {"orderId": "A-1", "total": 10}},
]
every_event = pytest.mark.parametrize("event", EVENTS, ids=lambda event: next(iter(event)))


@every_event
def test_a_repeat_for_a_returned_user_is_stored_for_the_new_user(
    table: Table, account: Account, event: dict[str, Any]
) -> None:
    erased = a_user(account)
    first = send(account, event, key=KEY)
    users.erase(erased.id, account, a_moment())
    ana = a_user(account)
    answer = send(account, event, key=KEY)
    assert (answer.user_id, answer.replayed) == (ana.id, False)
    assert answer.event_id != first.event_id
    assert bool(answer.restriction) == ("confirmation" in event), "the order counts once"
    assert the_events(account) == [answer.event_id] * ("confirmation" not in event)
    for now in (a_moment(), a_moment() + LATER):
        repeat = send(account, event, key=KEY)
        assert (repeat.event_id, repeat.user_id, repeat.replayed) == (answer.event_id, ana.id, True)
        assert repeat.restriction == answer.restriction
        erase_leftovers(table, now)
    assert erased.id not in as_text(table)
    assert the_profile(account)["_id"] == ana.id


def test_a_key_of_a_login_that_replaced_the_user_names_no_erased_owner(account: Account) -> None:
    owner, anonymous = a_user(account), a_user(account, None)
    login: dict[str, Any] = {"login": {"email": ANA, "visits": 1}}
    assert send(account, login, key=KEY, _id=anonymous.id).user_id == owner.id
    users.erase(owner.id, account, a_moment())
    answer = send(account, login, key=KEY, _id=anonymous.id)
    assert (answer.user_id, answer.replayed) == (anonymous.id, False)
    assert (the_profile(account)["_id"], the_profile(account)["visits"]) == (anonymous.id, 1)
    assert the_events(account) == [answer.event_id]


def test_a_discarded_event_names_the_new_user(table: Table, account: Account) -> None:
    """The stored answer to a discarded event names no user, so it may stay."""
    erased = a_user(account)
    send(account, {"emailopen": {}})
    assert send(account, {"emailopen": {}}, key=KEY).restriction
    users.erase(erased.id, account, a_moment())
    ana = a_user(account)
    assert send(account, {"emailopen": {}}, key=KEY).user_id == ana.id
    assert erase_leftovers(table, a_moment() + LATER) == []
    assert send(account, {"emailopen": {}}, key=KEY).user_id == ana.id


@aws_engine_only
@pytest.mark.parametrize("event", EVENTS[:1] + EVENTS[3:4], ids=["search", "emailopen"])
def test_a_repeat_at_any_call_of_the_erasures_run_names_the_new_user(
    table: Table, account: Account, event: dict[str, Any]
) -> None:
    now = a_moment()

    def send_again(name: str) -> Outcome:
        sent = {kind: payload | {"orderId": name} for kind, payload in event.items()}
        return send(account, sent, key=IdempotencyKey.of(name, b"body"), email=f"ana{name}@example.com")

    def prepare(name: str) -> tuple[str, str, str]:
        """The name, the id of the erased user, and that of the new one."""
        erased = a_user(account, f"ana{name}@example.com").id
        send_again(name)
        users.erase(erased, account, now)
        return name, erased, a_user(account, f"ana{name}@example.com").id

    runs = at_each_call(
        table.client,
        prepare,
        lambda _: erase_leftovers(table, now + LATER),
        lambda prepared: send_again(prepared[0]),
    )
    for (name, erased, ana), first, _ in runs:
        again = send_again(name)
        assert [(each.user_id, each.replayed) for each in (first, again)] == [(ana, False), (ana, True)]
        assert erase_leftovers(table, now + LATER) == []
        assert send_again(name).event_id == again.event_id
        assert erased not in as_text(table)
