"""Any JSON is refused with a reason, or stored and read back unchanged."""

import contextlib
import json
from collections import Counter
from decimal import Decimal
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from builders import ANA, a_moment, a_user, parsed
from domain.event_types import CATALOGUE
from domain.problems import Invalid, NotFound, TooLarge
from domain.profile import SYSTEM_ATTRIBUTES
from domain.values import MAX_NAME_BYTES
from engines import aws_engine_only
from figures import STRESS, VIOLATION
from handlers.bodies import json_object
from table import Account
from use_cases import users
from use_cases.collect import collect_one

pytestmark = aws_engine_only  # what can be stored is AWS's to say; MiniStack's ADD rounds to 28 digits

EXAMPLES = 200 * STRESS
NASTY = [
    "", " ", "__proto__", "__class__", "model_fields", "size", "name", "a.b", "#", ":v", "\0", "\ud800", "é", "😀",
    "pk", "attributes", "tags", "email", "_id", "createdOn", "generic", "items", "total", "phone", "x" * 300,
    "x" * 60_000,
]  # fmt: skip
REQUIRED = ["orderId", "event_name", "itemId", "prodId", "category", "query"]
SYSTEM = {*SYSTEM_ATTRIBUTES, "email", "tags"}

# As text, because that is how they come: JSON knows no limits.
numbers = st.from_regex(r"-?(0|[1-9][0-9]{0,45})(\.[0-9]{1,45})?([eE][+-]?[0-9]{1,3})?", fullmatch=True)
texts = st.sampled_from(NASTY) | st.text(max_size=8)
numeric_texts = (numbers | st.from_regex(r"-?[0-9]{1,3}[eE][+-]?[0-9]{4,22}", fullmatch=True)).map(json.dumps)
words = ["null", "true", "false"]
scalars = st.sampled_from([*words, "NaN", "-Infinity"]) | numbers | numeric_texts | texts.map(json.dumps)


def lists(items: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.lists(items, max_size=4).map(lambda values: f"[{','.join(values)}]")


def objects(items: st.SearchStrategy[str], names: st.SearchStrategy[str] = texts) -> st.SearchStrategy[str]:
    return st.dictionaries(names, items, max_size=4).map(
        lambda values: "{" + ",".join(f"{json.dumps(name)}:{value}" for name, value in values.items()) + "}"
    )


anything = st.recursive(scalars, lambda items: lists(items) | objects(items), max_leaves=12)

# The same without what is refused, which otherwise is somewhere in most of it.
good_numbers = st.from_regex(r"-?(0|[1-9][0-9]{0,18})(\.[0-9]{1,19})?([eE][+-]?[0-9]{1,2})?", fullmatch=True)
good_names = texts.filter(lambda text: text != "\ud800" and 0 < len(text) <= MAX_NAME_BYTES)
good_scalars = st.sampled_from([*words, '""']) | good_numbers | numeric_texts | good_names.map(json.dumps)
good = st.recursive(good_scalars, lambda items: lists(items) | objects(items, good_names), max_leaves=12)
NEW_ORDER = "an order that nobody has sent before"
FLAT, NESTED = '{{"orderId":"{}","total":{},"items":[{}]}}', '{{"generic":{{"orderId":"{}","total":{},"phone":{}}}}}'
order_parts = st.just(NEW_ORDER), good_scalars, objects(good, good_names)
orders = st.builds(str.format, st.sampled_from([FLAT, NESTED]), *order_parts)
payloads = objects(good, good_names | st.sampled_from(REQUIRED)) | objects(anything) | anything

event_types = st.sampled_from(["update", "login"]) | st.sampled_from([*CATALOGUE, "emailOpen", "unknown", ""])
events = st.tuples(event_types, payloads) | st.tuples(st.just("confirmation"), orders)


@given(event=events, user=st.just("{}") | objects(anything))
@example(event=("update", '{"a":' + "[" * 31 + "]" * 31 + "}"), user="{}")
@example(event=("update", '{"a":' + "[" * 30 + "]" * 30 + "}"), user="{}")
@example(event=("update", '{"\\ud800":[]}'), user="{}")
@example(event=("update", '{"n":1E125,"m":1E-130,"z":-0,"t":1.10}'), user="{}")
@example(event=("update", "{" + ",".join(f'"{n}":{n}' for n in range(5000)) + "}"), user="{}")
@example(event=("update", '{"tags":' + json.dumps([f"t{n}" for n in range(3000)]) + "}"), user="{}")
@example(event=("update", '{"l":[' + ",".join(["0"] * 120_000) + "]}"), user="{}")
@example(event=("update", '{"' + "k" * 50_000 + '":1}'), user="{}")
@example(event=("confirmation", '{"orderId":"' + "\\ud83d\\ude00" * 256 + '"}'), user="{}")
@example(event=("confirmation", '{"orderId":1E-130,"total":1E125}'), user="{}")
@example(event=("confirmation", '{"orderId":1,"total":"1E9999999"}'), user="{}")
@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_any_event_is_refused_or_stored_as_sent(
    account: Account, outcomes: Counter[str], event: tuple[str, str], user: str
) -> None:
    event_type, payload = event[0], event[1].replace(NEW_ORDER, str(uuid4()))
    named = user[:-1] + ("," if len(user) > 2 else "") + f'"email":"{ANA}"}}'
    body = f'{{"user":{named},"event":{{{json.dumps(event_type)}:{payload}}}}}'.encode()
    with contextlib.suppress(NotFound):  # of the example before
        users.erase(ANA, account, a_moment())
    a_user(account)
    outcomes[VIOLATION] += 1
    outcomes[outcome_of(body, account)] += 1
    outcomes[VIOLATION] -= 1


def outcome_of(body: bytes, account: Account) -> str:
    try:
        request = parsed(json_object(body))
        answer = collect_one(request, account, a_moment())
    except (Invalid, NotFound, TooLarge) as refused:
        return type(refused).__name__
    if answer.restriction:
        return "discarded"
    [event] = users.timeline(ANA, {"limit": "1"}, account, a_moment())[0]
    assert (event.id, event.payload) == (answer.event_id, request.event.payload)
    if event.type == "update":
        profile = users.get(ANA, account).flat()
        kept = {name: value for name, value in request.event.payload.items() if name not in SYSTEM}
        assert {name: profile[name] for name in kept} == kept
    return "stored as sent"


def test_a_number_of_many_digits_is_refused_by_its_field(account: Account) -> None:
    a_user(account)
    for digits in (39, 10_000, 200_000):
        body = json_object(b'{"user":{"email":"ana@example.com"},"event":{"update":{"n":' + b"1" * digits + b"}}}")
        with pytest.raises(Invalid) as refused:
            collect_one(parsed(body), account, a_moment())
        assert [problem.field for problem in refused.value.problems] == ["event.update.n"]
        assert isinstance(body["event"]["update"]["n"], Decimal)
