"""A process that dies between any two calls of DynamoDB leaves all or nothing, and its request can be repeated.

Each use case dies after its first call, after its second, and so on. The table is then as if the request had never come
or as if it had been answered, and a repeat finds it as such. In the same places another request comes. Then the table
and both answers are as if one had come after the other; or it erases the user, and nothing of the user stays.
"""

import contextlib
import itertools
import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import uuid4

import pytest
from mypy_boto3_dynamodb import DynamoDBClient

from builders import ANA, as_sent, send
from declared import DECLARED, RESTRICTED, with_declared_types
from domain.accounts import new_api_key
from domain.outcomes import IdempotencyKey
from domain.problems import NotFound, Refused
from domain.times import iso
from engines import aws_engine_only, both_engines, new_table
from faults import Crash, at_each_call, crash
from stored import as_text, everything
from table import Account, api_keys
from use_cases import users
from use_cases.erasure import IN_FLIGHT, erase_leftovers

pytestmark = with_declared_types

Step = Callable[[Account, datetime], Any]

NOW = datetime(2026, 1, 31, tzinfo=UTC)
EARLIER, LATER = NOW - timedelta(minutes=1), NOW + timedelta(seconds=1)
KEY = IdempotencyKey.of("key", b"body")
ANONYMOUS, ANAS, BOBS, FIRST, SECOND = (f"01900000-0000-7000-8000-00000000000{n}" for n in range(5))
NEW, NEWER = "new@example.com", "newer@example.com"
MANY = {f"a{n}": n for n in range(101)}  # more than one expression can set: the profile is read first
# Values that differ between two runs of a request: secrets, hashes, ids, and times in three forms.
UUID = r"[0-9a-f]{8}-[0-9a-f-]{27}"
VARIABLE = r"[0-9a-f]{32,64}|" + UUID + r"|\d{4}-\d\d-\d\dT[\d:.]+Z|\b\d{10,13}\b"


class UseCase(NamedTuple):
    name: str
    request: Step
    once: bool
    """Whether the contract promises that a repeat of a request that was done does not do it again."""
    given: Step


def nobody(account: Account, now: datetime) -> None: ...


def ana(account: Account, now: datetime) -> None:
    users.create({"email": ANA, "city": "Vigo"}, account, now)


def anonymous(account: Account, now: datetime) -> None:
    users.change(ANONYMOUS, {}, True, account, now)


def both(first: Step, second: Step) -> Step:
    return lambda account, now: (first(account, now), second(account, now))


def event_of(event: dict[str, Any], key: IdempotencyKey | None = None, **user: Any) -> Step:
    return lambda account, now: send(account, event, now, key, **user)


def put(identifier: str, **sent: Any) -> Step:
    return lambda account, now: users.change(identifier, as_sent(sent), True, account, now)


def create(**sent: Any) -> Step:
    return lambda account, now: users.create(sent, account, now)


def move(identifier: str, email: str) -> Step:
    """Return only the id: the profile of the answer is read after the change."""
    return lambda account, _: users.change_email(identifier, {"email": email}, account).id


def erase(identifier: str) -> Step:
    """Return only the id: the profile of the answer may have changed since."""
    return lambda account, now: users.erase(identifier, account, now)[0].id


def sending(name: str, event: dict[str, Any], once: bool, given: Step = ana, **user: Any) -> list[UseCase]:
    with_key = UseCase(f"{name} with a key", event_of(event, KEY, **user), True, given)
    return [UseCase(name, event_of(event, **user), once, given), with_key]


def sent_before(name: str, event: dict[str, Any]) -> list[UseCase]:
    return sending(f"{name} discarded", event, once=True, given=both(ana, event_of(event)))


def create_key(account: Account, now: datetime) -> None:
    api_keys.add(account, new_api_key(now, None)[1])


def expire_key(account: Account, now: datetime) -> bool:
    [key] = api_keys.of_account(account)
    return api_keys.expire(account, key, iso(NOW + timedelta(days=1)), NOW)


def revoke_key(account: Account, now: datetime) -> bool:
    [key] = api_keys.of_account(account)
    return api_keys.revoke(account, key, now)


ORDER: dict[str, Any] = {"confirmation": {"orderId": "A-1", "total": 10}}
LOGIN: dict[str, Any] = {"login": {"email": ANA, "visits": 1}}
USE_CASES = [
    *sending("search", {"search": {"query": "x"}}, once=False),
    *sending("update", {"update": {"city": "Madrid", "tags": "vip", "_id": "left out"}}, once=False),
    *sending("update of many", {"update": MANY}, once=False),
    *sending("login", {"login": {"visits": 1}}, once=False),
    *sending("login that identifies", LOGIN, once=False, given=anonymous, _id=ANONYMOUS),
    *sending("login that replaces", LOGIN, once=False, given=both(ana, anonymous), _id=ANONYMOUS),
    *sending("confirmation", ORDER, once=True),
    *sending("email open", {"emailopen": {}}, once=True),
    *sent_before("confirmation", ORDER),
    *sent_before("email open", {"emailopen": {}}),
    *(case for kind in DECLARED for case in sending(kind.type, kind.event(), once=True)),
    *(case for kind in DECLARED for case in sent_before(kind.type, kind.event())),
    *sending("bot", {"update": {"city": "Madrid"}}, once=True, email=ANA, userAgent="Googlebot/2.1"),
    UseCase("create", create(email=ANA), once=True, given=nobody),
    UseCase("create anonymous", create(), once=False, given=nobody),
    UseCase("put", put(ANA, city="Madrid"), once=True, given=ana),
    UseCase("put of many", put(ANA, **MANY), once=True, given=ana),
    UseCase("upsert by email", put(ANA, city="Madrid"), once=True, given=nobody),
    UseCase("upsert by id", put(ANONYMOUS, email=ANA), once=True, given=nobody),
    UseCase("change email", move(ANONYMOUS, ANA), once=True, given=anonymous),
    UseCase("erase", erase(ANA), once=True, given=ana),
    UseCase("create key", create_key, once=False, given=nobody),
    UseCase("expire key", expire_key, once=True, given=create_key),
    UseCase("revoke key", revoke_key, once=True, given=create_key),
]


def outcome(request: Step, account: Account, now: datetime) -> Any:
    try:
        return request(account, now)
    except Refused as refused:
        return refused


def dies(request: Step, account: Account, number: int) -> bool:
    """Return False if the request makes fewer calls."""
    with contextlib.suppress(Crash), crash(account.table.client, number):
        outcome(request, account, NOW)
        return False
    return True


def seen(account: Account, answer: Any = None) -> str:
    """The whole table and an answer as text. Ids and times are numbered by their first appearance."""
    bound: Any = {"attributeBytes": ""}  # of a profile's size: each change lets it grow
    items = [json.dumps(item | bound, sort_keys=True) for item in everything(account.table)]
    items.sort(key=lambda item: (re.sub(VARIABLE, "", item), re.findall(UUID, item)))  # a UUID begins with its time
    numbers: dict[str, int] = {}
    text = "\n".join([*items, re.sub(r"size=\d+", "", repr(answer))])
    return re.sub(VARIABLE, lambda found: f"<{numbers.setdefault(found.group(), len(numbers))}>", text)


@contextlib.contextmanager
def prepared(client: DynamoDBClient, given: Step) -> Iterator[Account]:
    with new_table(client, f"crash-{uuid4()}") as table:
        account = Account(table, "shop")
        given(account, EARLIER)
        yield account


@aws_engine_only
@pytest.mark.parametrize("use_case", USE_CASES, ids=lambda each: each.name)
def test_a_death_at_any_call_leaves_all_or_nothing(engine: DynamoDBClient, use_case: UseCase) -> None:
    with prepared(engine, use_case.given) as account:
        before = seen(account)
        answer = outcome(use_case.request, account, NOW)
        done, done_and_answered = seen(account), seen(account, answer)
        answer = outcome(use_case.request, account, LATER)
        repeated, repeated_and_answered = seen(account), seen(account, answer)
    assert (repeated == done) == use_case.once
    for number in itertools.count(1):
        with prepared(engine, use_case.given) as account:
            if not dies(use_case.request, account, number):
                break
            left = seen(account)
            assert left in (before, done)
            answer = outcome(use_case.request, account, LATER)
            assert seen(account, answer) == (done_and_answered if left == before else repeated_and_answered)
    assert number > 1


# --- Another request in between -------------------------------------------------------------------


@aws_engine_only
@pytest.mark.parametrize("use_case", USE_CASES, ids=lambda each: each.name)
def test_nothing_is_left_of_a_user_who_is_erased_at_any_call(engine: DynamoDBClient, use_case: UseCase) -> None:
    def erase_both(account: Account) -> list[str]:
        erased = []
        for identifier in (ANA, ANONYMOUS):
            with contextlib.suppress(NotFound):
                erased.append(users.erase(identifier, account, NOW)[0].id)
        erase_leftovers(account.table, NOW)
        return erased

    with contextlib.ExitStack() as tables:
        runs = at_each_call(
            engine,
            lambda _: tables.enter_context(prepared(engine, use_case.given)),
            lambda account: outcome(use_case.request, account, NOW),
            erase_both,
        )
        for account, erased, _ in runs:
            assert erase_leftovers(account.table, NOW + IN_FLIGHT) == []
            left = as_text(account.table)
            assert not [user_id for user_id in erased if user_id in left]


def three_users(account: Account, now: datetime) -> None:
    for step in (put(ANONYMOUS), put(ANAS, email=ANA, a=0), put(BOBS, email="bob@example.com")):
        step(account, now)


def upsert(event: dict[str, Any]) -> Step:
    return lambda account, now: send(account, event, now, upsert=True, email=NEW)


def remove(name: str) -> Step:
    return lambda account, _: users.remove_attribute(ANA, name, account).id


def twice(event: dict[str, Any], key: IdempotencyKey | None = None) -> tuple[Step, Step]:
    return (event_of(event, key),) * 2


def later(total: dict[str, Any]) -> Step:
    return lambda account, now: send(account, {"confirmation": {"orderId": 2, **total}}, now + timedelta(minutes=1))


def login(email: str) -> Step:
    return event_of({"login": {"email": email, email: 1}}, _id=ANONYMOUS)


TOTALS: list[dict[str, Any]] = [{"total": 7}, {"total": "20,00"}, {}]
SEARCH: dict[str, Any] = {"search": {"query": "x"}}
UPDATE: dict[str, Any] = {"update": {"a": 1, "tags": "x;-y"}}
KEYED: list[dict[str, Any]] = [SEARCH, UPDATE, ORDER, {"emailopen": {}}]
OURS: dict[str, Step] = {
    "many attributes": event_of({"update": MANY}),
    "an order": event_of(ORDER),
    "an open": event_of({"emailopen": {}}),
    "a login that replaces": event_of(LOGIN, _id=ANONYMOUS),
}
PAIRS: dict[str, tuple[Step, Step]] = {
    "two new addresses of a user": (move(ANAS, NEW), move(ANAS, NEWER)),
    "a new address of two users": (move(ANAS, NEW), move(BOBS, NEW)),
    "a new address of two users, of whom one logs in": (move(ANAS, NEW), login(NEW)),
    "a login with the new address of another": (login(NEW), move(ANAS, NEW)),
    "two logins of a user": (login(NEW), login(NEWER)),
    "an erasure, and a new address": (erase(ANAS), move(ANAS, NEW)),
    "an erasure, and an upsert of the user": (erase(ANAS), put(ANAS, city="Vigo")),
    "a search by an address that changes": (event_of(SEARCH), move(ANAS, NEW)),
    "an update by an address that changes": (event_of(UPDATE), move(ANAS, NEW)),
    "a new address, and an update by the old one": (move(ANAS, NEW), event_of(UPDATE)),
    "two new users with an address": (create(email=NEW), create(email=NEW)),
    "two upserts of an id": (put(FIRST, email=NEW, ours=1), put(FIRST, email=NEW, theirs=1)),
    "two upserts of an address": (put(NEW, ours=1), put(NEW, theirs=1)),
    "two ids of an address": (put(FIRST, email=NEW), put(SECOND, email=NEW)),
    "two events of a new user": (upsert(UPDATE), upsert(SEARCH)),
    "two updates": (event_of(UPDATE), event_of({"update": {"a": 2, "tags": "-x;y"}})),
    **{f"{name}, and an attribute": (step, put(ANA, theirs=1, tags="theirs")) for name, step in OURS.items()},
    "an attribute that is removed and set": (remove("a"), put(ANA, a=1)),
    **{f"an order, and a later one with {total}": (event_of(ORDER), later(total)) for total in TOTALS},
    **{f"{event} with one key": twice(event, KEY) for event in KEYED},
    **{f"two of a {kind.type}": twice(kind.event()) for kind in RESTRICTED},
}


@both_engines
@pytest.mark.parametrize("name", PAIRS)
def test_a_request_with_another_at_any_call_is_as_before_or_after_it(engine: DynamoDBClient, name: str) -> None:
    def ours(account: Account) -> Any:
        return outcome(PAIRS[name][0], account, NOW)

    def theirs(account: Account) -> Any:
        return outcome(PAIRS[name][1], account, NOW)

    in_order = []
    for order in (1, -1):
        with prepared(engine, three_users) as account:
            answers = [request(account) for request in (ours, theirs)[::order]]
            in_order.append(seen(account, answers[::order]))
    with contextlib.ExitStack() as tables:
        runs = at_each_call(engine, lambda _: tables.enter_context(prepared(engine, three_users)), ours, theirs)
        for account, their_answer, our_answer in runs:
            assert seen(account, [our_answer, their_answer]) in in_order
