"""Promises for any number of concurrent requests. Not on moto, whose transactions are not safe in threads."""

from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from functools import partial
from itertools import permutations
from random import Random
from typing import Any

import pytest
from mypy_boto3_dynamodb import DynamoDBClient

from builders import ANA, Result, a_moment, a_user, an_entry, at_once, send, send_batch, the_events, the_profile
from domain.ids import new_id
from domain.outcomes import KEY_LIFETIME, IdempotencyKey, Outcome
from domain.problems import NotFound, Refused
from domain.profile import Profile
from engines import not_on_moto
from faults import CRASH_POINTS, at_call
from local import aws
from table import Account
from use_cases import users

pytestmark = not_on_moto


def test_attributes_and_tags_set_at_once_are_all_kept(account: Account) -> None:
    a_user(account, tags=[f"old{n}" for n in range(20)])
    at_once(20, lambda n: send(account, {"update": {f"a{n}": n, "tags": [f"new{n}", f"-old{n}"]}}))
    profile = the_profile(account)
    assert {f"a{n}": profile[f"a{n}"] for n in range(20)} == {f"a{n}": n for n in range(20)}
    assert profile["tags"] == sorted(f"new{n}" for n in range(20))


def test_changes_too_large_for_an_expression_lose_nothing_either(account: Account, ana: Profile) -> None:
    at_once(4, lambda n: send(account, {"update": {f"{n}-{i}": i for i in range(150 if n % 2 else 3)}}))
    assert sum("-" in name for name in the_profile(account)) == 2 * 150 + 2 * 3


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


def test_of_many_repeats_of_one_key_one_stores_and_all_get_its_answer(account: Account, ana: Profile) -> None:
    """Also after the 24 hours, while the old item is still there: TTL removes it late."""
    key, now = IdempotencyKey.of("key", b"body"), a_moment()
    for number, moment in enumerate([now, now + KEY_LIFETIME + timedelta(seconds=1)], 1):
        answers = at_once(20, partial(lambda now, _: send(account, {"update": {"a": 1}}, now=now, key=key), moment))
        assert Counter(answer.replayed for answer in answers) == {False: 1, True: 19}
        [event_id] = {answer.event_id for answer in answers}
        assert (len(events := the_events(account)), events[0]) == (number, event_id)


def answered(what: Callable[[], Result]) -> Result | Refused:
    try:
        return what()
    except Refused as refused:
        return refused


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


# --- A batch, with other requests between its calls -------------------------------------------------

NOW, MINUTE, NEW = a_moment(), timedelta(minutes=1), "new@example.com"
HALF = "x" * 210_000  # two of them do not fit into a profile
KNOWN, ANONYMOUS, RIVAL, OTHER = (new_id(NOW) for _ in range(4))
EVENTS: list[dict[str, Any]] = [
    *({"update": each} for each in ({"size": 1}, {"size": 2, "tags": ["vip"]}, {"b": HALF})),
    *({"confirmation": {"orderId": each, "total": 1}} for each in (1, 2)),
    *[{"emailopen": {}}] * 2,
]
Request = Callable[[Account], Any]


def sending(*entries: dict[str, Any]) -> Request:
    """Return the outcomes, or the problems, in a form that can be compared."""
    return lambda account: [
        each if isinstance(each, Outcome) else each.problems for each in send_batch(account, entries, NOW)
    ]


def erasing(user_id: str) -> Request:
    return lambda account: isinstance(answered(lambda: users.erase(user_id, account, NOW)), NotFound)


def other_requests(user_id: str) -> list[Request]:
    """Return requests of other callers, each of which can change what the events of a user mean."""
    events: list[tuple[dict[str, Any], str]] = [
        ({"login": {"email": NEW}}, RIVAL),
        ({"update": {"a": HALF}}, user_id),
        *(({"confirmation": {"orderId": each}}, OTHER) for each in (1, 2)),
        ({"emailopen": {}}, user_id),
    ]
    sent = [
        an_entry(event, eventId=f"theirs-{n}", eventTime=NOW + MINUTE, _id=who) for n, (event, who) in enumerate(events)
    ]
    return [*map(sending, sent), erasing(user_id)]


def with_users(account: Account) -> Account:
    for user_id, email in {KNOWN: ANA, OTHER: "bob@example.com", ANONYMOUS: None, RIVAL: None}.items():
        users.change(user_id, {"email": email} if email else {}, True, account, NOW)
    return account


def state_of(account: Account) -> list[object]:
    """Return each user as readers see it, with the ids of the events, and the owners of the addresses."""
    identifiers = (KNOWN, ANONYMOUS, RIVAL, OTHER, ANA, NEW)
    found = [
        answered(partial(lambda it: (the_profile(account, it), the_events(account, it)), it)) for it in identifiers
    ]
    return [None if isinstance(each, NotFound) else each for each in found]


@pytest.mark.parametrize("seed", range(20))
def test_a_disturbed_batch_is_as_in_some_serial_order(engine: DynamoDBClient, account: Account, seed: int) -> None:
    random = Random(seed)
    user_id, email = random.choice([(KNOWN, ANA), (ANONYMOUS, NEW)])
    events, names = [{"login": {"email": NEW}}, *random.sample(EVENTS, 3)], [{"_id": user_id}, {"email": email}]
    times = [NOW - random.choice([0, 60]) * MINUTE for _ in events]
    entries = [
        an_entry(event, eventId=f"ours-{n}", eventTime=times[n], **random.choice(names[: n + 1]))
        for n, event in enumerate(events)
    ]
    others = random.sample(other_requests(user_id), random.choice([1, 1, 2]))
    requests = [*map(sending, entries), *others]
    results: dict[int, object] = {}

    def happen(number: int) -> None:
        results[number] = requests[number](account)

    with_users(account)
    client = aws.client("dynamodb", engine.meta.endpoint_url)
    with ExitStack() as meanwhile:
        for number in range(len(entries), len(requests)):
            when, call = random.choice(list(CRASH_POINTS)), random.randint(1, 5)
            meanwhile.enter_context(at_call(client, when, call, partial(happen, number)))
        outcomes = sending(*entries)(Account(replace(account.table, client=client), account.name))
    for number in {*range(len(entries), len(requests))} - results.keys():
        happen(number)
    results |= {number: [each] for number, each in enumerate(outcomes)}
    found = results, state_of(account)
    for order in permutations(range(len(requests))):
        if [number for number in order if number < len(entries)] == [*range(len(entries))]:
            serial = with_users(Account(account.table, f"{order}"))
            if found == ({number: requests[number](serial) for number in order}, state_of(serial)):
                return
    pytest.fail(f"no order of {entries} and of {len(others)} other requests has these results: {found}"[:4000])
