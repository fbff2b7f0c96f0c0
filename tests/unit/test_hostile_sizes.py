"""No body makes more work, or a longer answer, than its size allows: eight times as much costs about eight times."""

import json
import math
import timeit
import tracemalloc
from collections.abc import Callable, Sequence
from datetime import timedelta
from decimal import Decimal
from functools import partial
from time import process_time
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest

from builders import ANA, a_moment, an_entry, as_sent, parsed
from domain.email import MAX_LENGTH, normal_email
from domain.problems import Refused
from domain.profile import Profile, change_attributes, countable
from domain.request import EventRequest, parse_batch
from domain.restrictions import is_bot
from faults import answers
from handlers.bodies import json_object
from handlers.rest import errors_of, warnings_of
from table import Account, profiles
from table.attribute_values import serialize
from table.calls import Table, new_client
from table.primary_keys import Key
from use_cases import users
from use_cases.collect import collect

pytestmark = pytest.mark.long

SMALL, LARGE = 30_000, 240_000  # bytes, the large one just below what a body may have
GROWTH = 32  # what is linear grows by 8, what is quadratic by 64
NOISE_SECONDS = 0.1
MAX_ANSWER_BYTES = 4_000_000  # Lambda returns 6 MB
USER = f'{{"email":"{ANA}"}}'


def repeated(text: str, size: int, between: str = ",") -> str:
    """About so many bytes of the text again and again; {} in it is another number each time."""
    return between.join(text.replace("{}", f"{number:06}") for number in range(size // (len(text) + 5)))


def numbered(size: int) -> str:
    return repeated('"{}":1', size)


def event(event_type: str, payload: str) -> str:
    return f'{{"user":{USER},"event":{{"{event_type}":{payload}}}}}'


update, order = partial(event, "update"), partial(event, "confirmation")


def user(fields: str) -> str:
    return f'{{"user":{{{fields}}},"event":{{"search":{{"query":"x"}}}}}}'


BODIES: dict[str, Callable[[int], str]] = {
    "many names": lambda size: update(f"{{{numbered(size)}}}"),
    "the last name twice": lambda size: update(f'{{{numbered(size)},"x":1,"x":1}}'),
    "many event types": lambda size: f'{{"user":{USER},"event":{{{numbered(size)}}}}}',
    "bottomless": lambda size: update('{"a":' + "[" * size),
    "many deep ones": lambda size: update('{"a":[' + repeated("[" * 28 + "0" + "]" * 28, size) + "]}"),
    "digits": lambda size: update('{"a":' + "1" * size + "}"),
    "many large numbers": lambda size: update('{"a":[' + repeated("1e100000", size) + "]}"),
    "a large total": lambda _: order('{"orderId":"1","total":"1e999999999999"}'),
    "two totals": lambda size: order('{"total":"' + "1" * size + '","generic":{"orderId":"1","total":1}}'),
    "tags in one string": lambda size: update('{"tags":"' + repeated("-{}", size, ";") + '"}'),
    "one long tag": lambda size: update('{"tags":"' + "-" * size + '"}'),
    "much that cannot be stored": lambda size: update('{"a":[' + repeated("NaN", size) + "]}"),
    "the same below a long name": lambda s: update(f'{{"{"k" * (s // 2)}":[{repeated("NaN", s // 2)}]}}'),
    "many names that cannot be stored": lambda size: update("{" + repeated('"\\ud800{}":1', size) + "}"),
    "an email in spaces": lambda size: user('"email":"' + " " * size + f'{ANA}"'),
    "a long user agent": lambda size: user(f'"email":"{ANA}","userAgent":"' + repeated("Mozilla (", size, "") + '"'),
}


def answer_to(body: str) -> str:
    try:
        request = parsed(json_object(body.encode()))
        is_bot(request.user.user_agent)
        change = change_attributes(request.event.payload, ANA, "", 0)
        serialize(change.attributes)
        countable(getattr(request.event.model, "total", None))
        serialize(request.event.payload)
    except Refused as refused:
        return json.dumps(errors_of(refused.problems))
    return ""


def seconds(work: Callable[[], object]) -> float:
    """Return the processor time of `work`, without other processes. The best of three runs excludes pauses."""

    return min(timeit.repeat(work, timer=process_time, number=1, repeat=3))


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_work_and_answer_grow_no_faster_than_the_body(body: Callable[[int], str]) -> None:
    small, large = body(SMALL), body(LARGE)
    assert len(large) <= 256 * 1024
    assert seconds(lambda: answer_to(large)) <= GROWTH * seconds(lambda: answer_to(small)) + NOISE_SECONDS
    assert len(answer_to(large)) <= MAX_ANSWER_BYTES


@pytest.fixture
def shop() -> Account:
    """The account of a store that answers every call."""
    account = Account(Table(new_client(), "none", math.inf), "shop")
    account.table.client.meta.events.register_first("before-send.dynamodb", every_call_succeeds)
    return account


def test_many_changes_of_a_large_profile_read_it_as_often_as_one_does() -> None:
    """A batch has 100 changes. If each read the whole profile, the batch would run out of time at each attempt."""
    large = Profile("ana", attributes={f"{number}": Decimal(1) for number in range(30_000)}, changed_at=0)
    changes = [change_attributes({f"new {number}": Decimal(1)}, ANA, "", 1) for number in range(100)]

    def plan(number: int) -> None:
        planned = profiles.plan(Key("pk", "PROFILE"), changes[:number], None, large)
        assert planned
        assert planned.too_large == frozenset()

    assert seconds(lambda: plan(100)) <= 10 * seconds(lambda: plan(1))


@pytest.mark.parametrize("event", ["confirmation", "update", "emailopen", "search"])
def test_the_work_for_a_batch_depends_on_its_bytes_and_not_on_its_number_of_events(event: str, shop: Account) -> None:
    """Nothing walks through the payloads of a run again for each event that joins it."""

    def batch(number: int) -> Sequence[EventRequest | Refused]:
        payload = {"query": "x", "n": list(range(120_000 // number))}
        begin, hour = a_moment() - timedelta(days=9), timedelta(hours=1)
        orders = [{event: {**payload, "orderId": each}} for each in range(number)]
        entries = [an_entry(order, eventTime=begin + each * hour) for each, order in enumerate(orders)]
        return parse_batch(as_sent({"events": entries}), a_moment(), lambda _: None)

    few, many = batch(5), batch(100)
    assert seconds(lambda: collect(many, shop, a_moment())) <= 3 * seconds(lambda: collect(few, shop, a_moment()))


def test_the_search_for_a_misplaced_email_repeats_no_long_name(shop: Account) -> None:
    sent = as_sent({"k" * 20_000: {f"{number}": "x" for number in range(1000)}})
    users.create(sent, shop, a_moment())
    tracemalloc.start()
    users.create(sent, shop, a_moment())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5_000_000


def test_variants_of_a_name_cause_few_short_warnings_that_can_be_stored() -> None:
    variants = {f"User\ud800{'-' * number}": 1 for number in range(1000)}
    request = parsed({"user": {"email": ANA}, "event": {"search": {"query": "x"}}, **variants})
    assert 1 <= len(request.warnings) <= 10
    assert all(len(warning.field.encode()) <= 100 for warning in request.warnings)


def test_the_warnings_of_the_largest_batch_fit_into_an_answer() -> None:
    """They are counted as Lambda returns them: JSON as a string in JSON."""
    names = {f"{'é' * 45}{number:02}": 1 for number in range(100)}
    body = {"user": {"email": ANA}, "event": {"update": {**names, "tags": [*(["-"] * 101), "-x"]}}}
    assert 100 * len(json.dumps(body, ensure_ascii=False).encode()) < 1.1 * 1024 * 1024
    late = parsed(body).change(ANA).as_late(names)
    assert 100 * len(json.dumps(json.dumps(warnings_of(late.warnings, "events.99.")))) <= MAX_ANSWER_BYTES


def every_call_succeeds(request: AWSPreparedRequest, **_: Any) -> Any:
    """The address is a user's, who has no attributes yet, and nothing else is there."""
    profile = {"createdOn": {"S": "2026"}, "cursorKey": {"S": ""}, "attributes": {"M": {}}, "tags": {"M": {}}}
    there = {"EMAIL": {"userId": {"S": "ana"}}, "PROFILE": profile | {"changedAt": {"N": "0"}}}
    key = json.loads(request.body if isinstance(request.body, bytes) else "{}").get("Key", {})
    found = there.get(key.get("sk", {}).get("S", ""))
    return answers({"Items": [], "Responses": {}} | ({"Item": found} if found else {}))(request)


def test_no_address_of_the_longest_length_takes_long() -> None:
    for part in ("a", "a-", "a.", "-", ".", "é", "é.", '"', "\\", "(", "@", "[", "1.", " a", "xn--"):
        long = (part * MAX_LENGTH)[: MAX_LENGTH // 2 - 4]
        for address in (f"{long}@b.co", f"a@{long}", f"a@{long}.co", f"{long}@{long}.co", f'"{long}"@b.co', long * 2):
            took = timeit.timeit(partial(normal_email, address), timer=process_time, number=1)
            assert took < 5, "a search that goes back and forth would take for ever"


def test_an_answer_lists_the_first_hundred_problems_and_names_the_beginning_of_long_names() -> None:
    refused = json.loads(answer_to(update('{"a":[' + ",".join(["NaN"] * 1000) + '],"' + "k" * 200 + '":{"b":NaN}}')))
    assert [error["field"] for error in refused["errors"]] == [f"event.update.a.{number}" for number in range(100)]
    [deep] = json.loads(answer_to(update('{"' + "k" * 200 + '":{"b":NaN}}')))["errors"]
    assert deep["field"] == f"event.update.{'k' * 64}.b"
    for body in (order(f'{{"OrderId{"-" * 9000}":1}}'), user(f'"Email{"-" * 9000}":1')):
        assert "did you mean" in answer_to(body)
        assert len(answer_to(body)) < 1000
