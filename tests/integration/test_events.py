"""Contract sections 4, 5 and 7: what an event stores, what discards it, and what a repeat under its key does."""

from datetime import timedelta
from typing import Any

import pytest

from builders import ANA, a_moment, a_user, an_entry, an_example, as_sent, send, send_batch, the_events, the_profile
from declared import RESTRICTED, Once, Windowed, every_restriction, restriction_of, with_declared_types
from domain.event_types import CATALOGUE
from domain.ids import new_id, time_of
from domain.outcomes import IdempotencyKey, Outcome
from domain.problems import Invalid, KeyReused, NotFound
from domain.profile import Profile
from domain.restrictions import BOT
from engines import both_engines
from stored import as_text, everything
from table import Account
from use_cases import users

pytestmark = [with_declared_types, both_engines]
BOB = "bob@example.com"
MILLISECOND = timedelta(milliseconds=1)
CRAWLER = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
SEARCH: dict[str, Any] = {"search": {"query": "x"}}


@pytest.mark.parametrize("event_type", CATALOGUE)
def test_an_event_is_stored_as_sent_but_not_of_nobody_or_a_bot(account: Account, event_type: str) -> None:
    ana, now = a_user(account), a_moment()
    event = {event_type: an_example(event_type) | {"extra": [1.5, {"deep": None}], "text": "ñ"}}
    before = everything(account.table)
    nobodies: list[dict[str, Any]] = [{"_id": each} for each in (new_id(now), f"{ana.id}#", "x", "")]
    for user in [{"email": BOB}, *nobodies]:
        with pytest.raises(NotFound):
            send(account, event, **user)
    assert send(account, event, email=ANA, userAgent=CRAWLER, city="Madrid").restriction == BOT
    assert everything(account.table) == before
    answer = send(account, event, now=now, email=ANA, city="Madrid", tel="+34 600")
    assert {"city": "Madrid", "tel": "+34 600"}.items() <= the_profile(account).items()
    [stored], after = users.timeline(ANA, {}, account, a_moment())
    assert (stored.id, {stored.type: stored.payload}) == (answer.event_id, as_sent(event))
    assert (time_of(stored.id), after) == (now, None)


def test_a_user_is_named_by_email_by_id_or_by_both(account: Account) -> None:
    ana, bob = a_user(account), a_user(account, BOB)
    names: list[dict[str, Any]] = [{"email": " ANA@Example.com"}, {"_id": ana.id}, {"email": ANA, "_id": ana.id}]
    assert {send(account, SEARCH, **user).user_id for user in names} == {ana.id}
    with pytest.raises(Invalid) as refused:
        send(account, SEARCH, email=ANA, _id=bob.id)
    assert refused.value.problems[0].message == "User identifiers disagree"
    assert (len(the_events(account)), the_events(account, BOB)) == (3, [])


# --- Attributes -----------------------------------------------------------------------------------

VALUES: dict[str, Any] = {
    "text": "ñ\x00日", "empty": "", "whole": 1, "money": 19.9, "zero": 0, "yes": True, "no": False, "nothing": None,
    "list": [1, "1", [], {}, None], "object": {"a.b": {"#": [None]}}, "size": 1, "name": "x", "a.b": 2, "#a": 3,
    ":v": 4, " ": 5, "SELECT": 6, "attributes": {"x": 1}, "tag": "x", "createdon": "x", "é": 7, "pk": "x", "x" * 500: 8,
}  # fmt: skip


@pytest.mark.parametrize("event_type", ["update", "login"])
def test_attributes_of_any_name_value_and_number_come_back_as_sent(account: Account, event_type: str) -> None:
    a_user(account, kept="x", tags=["kept", "gone"])
    send(account, {event_type: VALUES})
    profile = the_profile(account)
    for name, value in as_sent(VALUES).items():
        assert (profile[name], type(profile[name])) == (value, type(value))
    for count in (99, 100, 101, 500):
        send(account, {event_type: {f"{count}-{n}": n for n in range(count)} | {"tags": ["new", "-gone"]}})
        profile = the_profile(account)
        assert sum(name.startswith(f"{count}-") for name in profile) == count
        assert (profile["kept"], profile["tags"]) == ("x", ["kept", "new"])


# --- Login ----------------------------------------------------------------------------------------


def test_an_anonymous_user_gets_an_email_that_no_user_has_or_is_replaced_by_its_owner(account: Account) -> None:
    first, second = a_user(account, None), a_user(account, None, city="Vigo")
    got = send(account, {"login": {"email": " Ana@example.com", "visits": 1}}, _id=first.id)
    assert the_profile(account) == first.flat() | {"email": ANA, "visits": 1}
    replaced = send(account, {"login": {"email": ANA, "visits": 2, "tags": "vip"}}, _id=second.id, tel="1")
    for answer in (got, replaced):
        assert (answer.user_id, answer.warnings) == (first.id, ())
    assert the_profile(account) == first.flat() | {"email": ANA, "visits": 2, "tags": ["vip"], "tel": "1"}
    assert the_events(account) == [replaced.event_id, got.event_id]
    assert (the_profile(account, second.id), the_events(account, second.id)) == (second.flat(), [])


@pytest.mark.parametrize("owner", [None, BOB])
def test_an_identified_user_keeps_the_identity_and_another_address_is_a_warning(
    account: Account, owner: str | None
) -> None:
    ana = a_user(account)
    if owner:
        a_user(account, owner)
    logins: list[dict[str, Any]] = [{"email": BOB}, {}, {"email": None}, {"email": "ANA@example.com"}]
    for number, login in enumerate(logins):
        answer = send(account, {"login": {**login, "visits": number}})
        warned = ["event.login.email"] * (login == {"email": BOB})
        assert (answer.user_id, [warning.field for warning in answer.warnings]) == (ana.id, warned)
        assert the_profile(account) == ana.flat() | {"visits": number}


def test_an_identified_user_is_not_the_other_who_has_an_event_of_that_id_and_time(account: Account) -> None:
    ana, bob, now = a_user(account), a_user(account, BOB), a_moment()
    logins = [an_entry({"login": {"email": BOB}}, eventId="e-1", eventTime=now, email=email) for email in (BOB, ANA)]
    told = [(each.status, each.user_id) for each in send_batch(account, logins) if isinstance(each, Outcome)]
    assert told == [("created", bob.id), ("created", ana.id)]


@pytest.mark.parametrize("type_and_name", ["login.email", "update.numberOfPurchases", "update.email"])
def test_an_event_of_which_all_is_left_out_says_so(account: Account, ana: Profile, type_and_name: str) -> None:
    """It changes nothing in the profile, so only the event is stored."""
    event_type, name = type_and_name.split(".")
    event = {event_type: {name: BOB}}
    outcomes = [send(account, event), *send_batch(account, [an_entry(event)] * 2)]
    for outcome, status in zip(outcomes, ("created", "created", "duplicate"), strict=True):
        assert isinstance(outcome, Outcome)
        assert (outcome.status, [each.field for each in outcome.warnings]) == (status, [f"event.{type_and_name}"])


# --- An Idempotency-Key ---------------------------------------------------------------------------

KEY, OTHER_BODY = (IdempotencyKey.of("a secret key", body) for body in (b"a secret body", b"other body"))
OF_BOT = IdempotencyKey.of("another key", b"body")
SECOND = timedelta(seconds=1)
DAY = timedelta(hours=24)
EVERY_KIND: list[dict[str, Any]] = [
    {"search": {"query": "x"}},
    {"update": {"city": "Madrid", "_id": "left out"}},
    {"login": {"visits": 1}},
    {"confirmation": {"orderId": "A-1", "total": "ten"}},
    *(kind.event() for kind in RESTRICTED[1:]),
]
every_kind = pytest.mark.parametrize("event", EVERY_KIND, ids=lambda event: next(iter(event)))


@every_kind
def test_a_repeat_gets_the_first_answer_and_another_body_is_refused(account: Account, event: dict[str, Any]) -> None:
    a_user(account)
    now = a_moment()
    first = send(account, event, now=now, key=KEY)
    before = everything(account.table)
    at_once = send(account, event, now=now, key=KEY)
    late = send(account, event, now=now + DAY - SECOND, key=KEY)
    assert not first.replayed
    assert at_once == late == first._replace(replayed=True)
    for other in (event, {"search": {"query": "other"}}):
        with pytest.raises(KeyReused):
            send(account, other, key=OTHER_BODY)
    assert everything(account.table) == before
    assert the_events(account) == [first.event_id]
    assert "secret" not in as_text(account.table), "neither the key nor the body is stored"


@every_restriction
def test_that_an_event_was_discarded_is_remembered(account: Account, ana: Profile, kind: Once | Windowed) -> None:
    of_bot, again = (send(account, kind.event(), key=OF_BOT, email=ANA, userAgent="Googlebot/2.1") for _ in "12")
    assert (of_bot.replayed, again) == (False, of_bot._replace(replayed=True))
    assert of_bot.restriction == BOT
    event = kind.event()
    send_batch(account, [an_entry(event, eventId="mine")])
    first = send(account, event, key=KEY)
    assert (first.restriction, first.first and first.first.event_id) == (restriction_of(kind), "mine")
    later = a_moment() + timedelta(hours=1)  # without its key one of the window would get in by now
    repeat = send(account, event, now=later, key=KEY)
    assert (repeat.event_id, repeat.restriction, repeat.replayed) == (first.event_id, first.restriction, True)
    assert (repeat.status, repeat.first, repeat.user_id) == ("discarded", first.first, ana.id)
    with pytest.raises(KeyReused):
        send(account, event, key=OTHER_BODY)


def test_a_key_is_remembered_for_24_hours_even_while_its_record_is_still_there(account: Account, ana: Profile) -> None:
    now = a_moment().replace(microsecond=999_000)  # TTL counts in seconds
    first = send(account, {"search": {"query": "x"}}, now=now, key=KEY)
    assert send(account, {"search": {"query": "x"}}, now=now + DAY, key=KEY).replayed
    # No engine here deletes by TTL: the record lies there past its time.
    again = send(account, {"search": {"query": "x"}}, now=now + DAY + SECOND, key=KEY)
    assert (again.replayed, again.event_id != first.event_id) == (False, True)
    assert send(account, {"search": {"query": "x"}}, now=now + DAY + 2 * SECOND, key=KEY).event_id == again.event_id


def test_a_refused_request_may_be_corrected_under_its_key(account: Account) -> None:
    with pytest.raises(NotFound):
        send(account, {"search": {"query": "x"}}, key=KEY)
    ana, bob = a_user(account), a_user(account, "bob@example.com")
    with pytest.raises(Invalid):
        send(account, {"search": {"query": "x"}}, key=KEY, email=ana.email, _id=bob.id)
    assert not send(account, {"search": {"query": "x"}}, key=OTHER_BODY).replayed
