"""Promises for any number of concurrent requests. Not on moto, whose transactions are not safe in threads."""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest

from builders import ANA, Result, a_moment, a_user, an_entry, at_once, send, send_batch, the_events, the_profile
from declared import RESTRICTED, with_declared_types
from domain.outcomes import KEY_LIFETIME, IdempotencyKey, Outcome
from domain.problems import Conflict, NotFound, Refused
from domain.profile import Profile
from engines import not_on_moto
from table import Account, profiles
from use_cases import users

pytestmark = not_on_moto


def test_attributes_and_tags_set_at_once_are_all_kept(account: Account) -> None:
    a_user(account, tags=[f"old{n}" for n in range(20)])
    at_once(20, lambda n: send(account, {"update": {f"a{n}": n, "tags": [f"new{n}", f"-old{n}"]}}))
    profile = the_profile(account)
    assert {f"a{n}": profile[f"a{n}"] for n in range(20)} == {f"a{n}": n for n in range(20)}
    assert profile["tags"] == sorted(f"new{n}" for n in range(20))


def test_changes_too_large_for_an_expression_lose_nothing_either(account: Account) -> None:
    a_user(account)

    def update(n: int) -> None:
        send(account, {"update": {f"{n}-{i}": i for i in range(150 if n % 2 else 3)}})

    at_once(4, update)
    profile = the_profile(account)
    assert sum("-" in name for name in profile) == 2 * 150 + 2 * 3


def test_of_many_logins_claiming_one_address_one_user_gets_it_and_replaces_the_others(account: Account) -> None:
    ids = [a_user(account, None).id for _ in range(20)]
    answers = at_once(20, lambda n: send(account, {"login": {"email": ANA, f"from{n}": n}}, _id=ids[n]))
    [winner] = {answer.user_id for answer in answers}
    profile = the_profile(account)
    assert profile["_id"] == winner
    assert winner in ids
    assert {f"from{n}" for n in range(20)} <= profile.keys()
    assert sorted(the_events(account)) == sorted(answer.event_id for answer in answers)
    losers = [the_profile(account, each) for each in ids if each != winner]
    assert all("email" not in loser for loser in losers)


def test_of_many_new_users_with_one_address_one_is_made(account: Account) -> None:
    def create(n: int) -> str | None:
        try:
            return users.create({"email": ANA}, account, a_moment())[0].id
        except Conflict:
            return None

    made = [each for each in at_once(20, create) if each]
    assert made == [the_profile(account)["_id"]]


KINDS: list[dict[str, Any]] = [{"search": {"query": "x"}}, {"update": {"a": 1}}, *(each.event() for each in RESTRICTED)]


@with_declared_types
@pytest.mark.parametrize("event", KINDS, ids=lambda event: next(iter(event)))
def test_of_many_repeats_of_one_idempotency_key_one_stores_and_all_get_its_answer(
    account: Account, event: dict[str, Any]
) -> None:
    a_user(account)
    key = IdempotencyKey.of("key", b"body")
    answers = at_once(20, lambda _: send(account, event, key=key))
    assert len({(answer.event_id, answer.user_id, answer.restriction) for answer in answers}) == 1
    assert Counter(answer.replayed for answer in answers) == {False: 1, True: 19}
    assert the_events(account) == [answers[0].event_id]


def test_of_many_requests_under_a_key_whose_24_hours_are_over_one_stores(account: Account) -> None:
    """The old item is there still: TTL removes it late."""
    a_user(account)
    key = IdempotencyKey.of("key", b"body")
    now = a_moment()
    send(account, {"search": {"query": "x"}}, now=now, key=key)
    over = now + KEY_LIFETIME + timedelta(seconds=1)  # the end is rounded up to a second
    answers = at_once(20, lambda _: send(account, {"search": {"query": "x"}}, now=over, key=key))
    assert Counter(answer.replayed for answer in answers) == {False: 1, True: 19}
    assert len(the_events(account)) == 2


# --- The email of a user --------------------------------------------------------------------------


def answered(what: Callable[[], Result]) -> Result | Refused:
    try:
        return what()
    except Refused as refused:
        return refused


def owners(account: Account, emails: Sequence[str]) -> dict[str, str]:
    """Return the id of the user of each email, and check that the user has this email."""
    found = {email: profiles.user_id_of(account, email) for email in emails}
    taken = {email: user_id for email, user_id in found.items() if user_id}
    assert {email: the_profile(account, user_id)["email"] for email, user_id in taken.items()} == {
        email: email for email in taken
    }
    return taken


def test_of_many_users_who_change_to_one_address_one_gets_it(account: Account) -> None:
    emails = [f"u{n}@example.com" for n in range(20)]
    ids = [a_user(account, email).id for email in emails]
    answers = at_once(20, lambda n: answered(lambda: users.change_email(ids[n], {"email": ANA}, account)))
    [winner] = [answer.id for answer in answers if isinstance(answer, Profile)]
    assert all(isinstance(answer, Conflict) for answer in answers if not isinstance(answer, Profile))
    kept = {email: user_id for email, user_id in zip(emails, ids, strict=True) if user_id != winner}
    assert owners(account, [*emails, ANA]) == kept | {ANA: winner}


def test_of_many_changes_of_one_user_the_last_address_is_the_only_one(account: Account) -> None:
    ana, emails = a_user(account), [f"u{n}@example.com" for n in range(20)]
    answers = at_once(20, lambda n: answered(lambda: users.change_email(ana.id, {"email": emails[n]}, account)))
    assert any(isinstance(answer, Profile) for answer in answers)
    assert list(owners(account, [*emails, ANA]).values()) == [ana.id]


def race(*works: Callable[[], Any]) -> list[Any]:
    return at_once(len(works), lambda n: answered(works[n]))


@pytest.mark.parametrize("attempt", range(3))
def test_a_change_and_a_login_that_claim_one_address_give_it_to_one_user(account: Account, attempt: int) -> None:
    ana, anonymous, new = a_user(account), a_user(account, None), "new@example.com"
    changed, logged_in = race(
        lambda: users.change_email(ana.id, {"email": new}, account),
        lambda: send(account, {"login": {"email": new}}, _id=anonymous.id),
    )
    has_changed = isinstance(changed, Profile)
    assert has_changed or isinstance(changed, Conflict)
    owner = ana.id if has_changed else anonymous.id
    assert logged_in.user_id == owner
    assert owners(account, [ANA, new]) == ({} if has_changed else {ANA: ana.id}) | {new: owner}


@pytest.mark.parametrize("attempt", range(3))
def test_a_change_during_an_erasure_leaves_no_email_behind(account: Account, attempt: int) -> None:
    ana, new = a_user(account), "new@example.com"
    changed, erased = race(
        lambda: users.change_email(ana.id, {"email": new}, account), lambda: users.erase(ana.id, account, a_moment())
    )
    assert isinstance(changed, Profile | NotFound)
    assert not isinstance(erased, Refused)
    assert owners(account, [ANA, new]) == {}


def test_events_by_the_old_address_are_stored_or_404_and_none_is_lost_while_it_changes(account: Account) -> None:
    ana = a_user(account)

    def do(n: int) -> object:
        if n == 10:
            return users.change_email(ANA, {"email": "new@example.com"}, account)
        return answered(lambda: send(account, {"update": {f"a{n}": n}} if n % 2 else {"search": {"query": "x"}}))

    answers = at_once(20, do)
    created = [answer for answer in answers if isinstance(answer, Outcome)]
    assert all(isinstance(answer, Outcome | NotFound | Profile) for answer in answers)
    assert {answer.user_id for answer in created} <= {ana.id}
    assert sorted(the_events(account, ana.id)) == sorted(answer.event_id for answer in created)
    assert the_profile(account, ana.id)["email"] == "new@example.com"


def test_updates_in_batches_from_many_callers_are_never_reordered(account: Account) -> None:
    """Each caller sets its own attribute and a shared one, whose final value is the last of some batch."""
    user_id, now, size, callers = a_user(account).id, a_moment(), 9, 8

    def send_two_batches(caller: int) -> None:
        updates = [{"of all": f"{caller}-{n}", f"of {caller}": n, f"{caller}-{n}": n} for n in range(size)]
        entries = [an_entry({"update": update}, eventTime=now, _id=user_id) for update in updates]
        for batch in (entries[: caller + 1], entries[caller + 1 :]):
            assert all(isinstance(outcome, Outcome) for outcome in send_batch(account, batch or entries[:1]))

    at_once(callers, send_two_batches)
    profile = the_profile(account)
    assert [profile[f"of {n}"] for n in range(callers)] == [size - 1] * callers
    assert {f"{caller}-{n}" for caller in range(callers) for n in range(size)} <= profile.keys()
    assert profile["of all"].endswith(f"-{size - 1}")
    assert len(the_events(account)) == callers * size
