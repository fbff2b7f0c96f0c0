"""Contract section 7: attributes fill a profile up to a limit; the system's attributes fit above it.

No test here knows that limit in bytes. A profile is filled until one more byte is refused. Values of every kind are
used, because the size of an item in DynamoDB differs from that of its JSON. The engine is AWS's own, which measures.
"""

import itertools
from bisect import bisect_left
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

import capacity
from builders import ANA, a_moment, a_user, an_entry, as_sent, send, send_batch, the_events, the_profile
from domain.ids import new_id
from domain.outcomes import Outcome
from domain.problems import TooLarge
from domain.profile import SYSTEM_ATTRIBUTES, Profile
from domain.times import iso
from engines import aws_engine_only
from faults import at_each_call
from stored import a_profile_of_1_0, everything, item_at, profile_key, put
from table import Account
from table.calls import Table
from table.overlay import Overlay
from use_cases import users

pytestmark = aws_engine_only

ITEM_BYTES = 400 * 1024  # DynamoDB's limit
LONG_ADDRESS = f"{'a' * 64}@{'b' * 60}.{'c' * 60}.{'d' * 60}.com"
WINDOW = timedelta(minutes=20)


def put_attributes(account: Account, attributes: dict[str, Any], identifier: str = ANA) -> None:
    users.change(identifier, attributes, False, account, a_moment())


def a_refusal(*fields: str) -> AbstractContextManager[object]:
    """Expect that something is too large, and that the error names these fields."""
    return pytest.raises(TooLarge, check=lambda refused: [each.field for each in refused.problems] == [*fields])


def fits(account: Account, attributes: dict[str, Any], identifier: str = ANA) -> bool:
    """Set the attributes; return False if the profile is full, for which the error must name `user`."""
    try:
        put_attributes(account, attributes, identifier)
    except TooLarge as refused:
        assert [problem.field for problem in refused.problems] == ["user"]  # noqa: PT017 the test expects it
        return False
    return True


def fill(account: Account, identifier: str = ANA, within: int = 1, length: int = 40_000) -> tuple[int, int]:
    """Sets attributes until no more fit, then a text that fits to `within` bytes: how many, and how long the text."""
    number = 0
    for step in (8, 4, 2, 1):
        while fits(account, {f"a{n}": "x" * length for n in range(number, number + step)}, identifier):
            number += step
    lengths = range(0, 2**16, within)
    too_long = bisect_left(lengths, True, key=lambda length: not fits(account, {"rest": "x" * length}, identifier))
    assert too_long > 1
    assert fits(account, {"rest": "x" * lengths[too_long - 1]}, identifier)
    return number, lengths[too_long - 1]


def buy(account: Account, order_id: object, **more: Any) -> None:
    order = {"orderId": order_id, "total": "-999999999999999.999999999"} | more
    assert send(account, {"confirmation": order}).status == "created"


def overlaid(account: Account) -> Account:
    """The account as a check has it."""
    return account._replace(table=Overlay.over(account.table))


def open_and_buy(account: Account, times: int = 3) -> None:
    """All that the system keeps of a user comes to be kept, as long as it can be."""
    now = a_moment()
    for n in range(times):
        buy(account, n)
        assert send(account, {"emailopen": {}}, now=now + n * WINDOW).status == "created"
    profile = the_profile(account)
    assert (profile["isCustomer"], profile["numberOfPurchases"]) == (True, times)
    assert profile["totalPurchasesValue"] == times * Decimal("-999999999999999.999999999")
    assert profile["lastEmailOpenDate"] == iso(now + (times - 1) * WINDOW)


def attributes_of(account: Account, identifier: str = ANA) -> set[str]:
    return the_profile(account, identifier).keys() - {"_id", "email", *SYSTEM_ATTRIBUTES}


# --- The limit --------------------------------------------------------------------------------------


def test_a_full_profile_takes_every_purchase_and_open_and_values_that_are_not_longer(account: Account) -> None:
    a_user(account)
    fill(account)
    assert fits(account, {"a0": "y" * 40_000}), "as long as before"
    assert not fits(account, {"a0": "y" * 40_001})
    assert the_profile(account)["a0"] == "y" * 40_000
    open_and_buy(account)
    assert fits(account, {"a0": "y" * 1_000})
    assert fits(account, {"a0": "z" * 40_000}), "the room that was made is there"
    assert fits(account, {f"a{n}": "y" for n in range(9)})
    buy(account, "last")


@pytest.mark.parametrize("tag", ["{:0200d}", "日" * 60 + "{}"], ids=["long", "wide"])
def test_a_profile_full_of_tags_takes_every_purchase_and_every_open(account: Account, ana: Profile, tag: str) -> None:
    numbers = itertools.count()
    for size in (20_000, 4_000, 1_000):
        while fits(account, {"tags": [tag.format(next(numbers)) for _ in range(size)]}):
            pass
    fill(account, within=1_000)
    open_and_buy(account, times=1)
    put_attributes(account, {"tags": [f"-{tag}" for tag in the_profile(account)["tags"]]})
    assert fits(account, {"room": "x" * 100_000})


def test_a_full_profile_that_has_no_address_yet_takes_the_longest_one(account: Account) -> None:
    anonymous = a_user(account, None)
    fill(account, identifier=anonymous.id)
    answer = send(account, {"login": {"email": LONG_ADDRESS}}, _id=anonymous.id)
    assert (answer.user_id, answer.warnings) == (anonymous.id, ())
    send(account, {"confirmation": {"orderId": 1, "total": 1}}, email=LONG_ADDRESS)
    assert the_profile(account, LONG_ADDRESS)["numberOfPurchases"] == 1


KINDS: dict[str, Any] = {
    "text": "x" * 1_000, "wide text": "日é😀" * 100, "no text": "", "nothing": None, "flag": True,
    "list": [None, True, "", []] * 200,
    "object": {f"n{n}": {} for n in range(200)},
    "wide names": {f"日{n}": {"é": None} for n in range(200)},
    "deep": [[[[[[[[{"a": [{"b": [True]}]}]]]]]]]] * 100,
    "0": 0, "negative": -1,
    "whole": [7, 10, 12, 100, 123, 1_000, 99_999] * 50,
    "long": [Decimal(10**37 + n) for n in range(100)],
    "negative and long": [Decimal(-(10**37) - n) for n in range(100)],
    "fraction": [Decimal("0.1"), Decimal("-12.345"), Decimal("1E-7"), Decimal("1.05"), Decimal("100.5")] * 50,
    "extreme": [Decimal("-1E-130"), Decimal("9.9E125"), Decimal("1E37"), Decimal("1E38"), Decimal("1E125")] * 50,
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_no_fewer_bytes_are_counted_than_by_dynamodb(account: Account, table: Table, kind: str) -> None:
    """Nor many more."""
    key = profile_key(a_user(account).id)
    before: Any = item_at(table, key)
    put_attributes(account, {"kind": KINDS[kind]})
    after: Any = item_at(table, key)
    truly = _measured(table, after["attributes"]) - _measured(table, {"M": {}})
    assert truly <= int(after["attributeBytes"]["N"]) - int(before["attributeBytes"]["N"]) <= 2 * truly + 16


def _measured(table: Table, value: dict[str, Any]) -> int:
    """Return the bytes of the value: 400 KB minus the longest text that fits next to it."""

    def is_too_long(length: int) -> bool:
        item = {"pk": {"S": "measured"}, "sk": {"S": "x"}, "value": value, "text": {"S": "x" * length}}
        try:
            table.client.put_item(TableName=table.name, Item=item)
        except table.client.exceptions.ClientError:
            return True
        return False

    return ITEM_BYTES - bisect_left(range(ITEM_BYTES), True, key=is_too_long) + 1


EVENTS: list[dict[str, Any]] = [
    {"update": {"more": "x" * 3_000}},
    {"update": {"tags": ["x" * 200 + str(n) for n in range(20)]}},
    {"update": {f"more{n}": "x" * 30 for n in range(120)}},
    {"login": {"more": "x" * 3_000}},
]


def test_an_event_that_does_not_fit_is_refused_with_its_field(account: Account, ana: Profile, table: Table) -> None:
    fill(account)
    before = everything(table)
    for event in EVENTS:
        with a_refusal("user"):
            send(account, event)
    for event in ({"search": {"query": "x" * 410_000}}, {"confirmation": {"orderId": 1, "note": "x" * 410_000}}):
        with a_refusal("event"):
            send(account, event)
    assert everything(table) == before


@pytest.mark.parametrize("named_by", ["email", "_id"])
def test_in_a_batch_a_change_is_refused_although_the_next_one_takes_it_back(account: Account, named_by: str) -> None:
    """A check predicts it, and changes nothing."""
    half = "x" * 210_000
    user = {named_by: a_user(account, a=half).flat()[named_by]}
    entries = [an_entry({"update": {"b": value}}, **user) for value in (half, "")]
    before = everything(account.table)
    checked = send_batch(overlaid(account), entries)
    assert everything(account.table) == before
    too_large, small = send_batch(account, entries)
    assert isinstance(too_large, TooLarge)
    assert isinstance(checked[0], TooLarge)
    assert (checked[0].problems, checked[1]) == (too_large.problems, small)
    assert isinstance(small, Outcome)
    assert (small.status, len(the_events(account))) == ("created", 1)


def test_a_check_measures_numbers_as_the_table_does(account: Account, ana: Profile) -> None:
    """In a list each takes a byte more. The rest of the item takes less than 400 bytes."""
    sizes = {1: 2, 10: 2, 12: 2, 123: 3, 1.5: 3, 0.1: 2, -1: 3}
    each_takes = sum(sizes.values()) + len(sizes)
    fits, too_many = (ITEM_BYTES - 400) // each_takes, ITEM_BYTES // each_takes
    entries = [an_entry({"search": {"query": "x", "n": [*sizes] * count}}) for count in (fits, too_many)]
    for each in (overlaid(account), account):
        assert [type(outcome) for outcome in send_batch(each, entries)] == [Outcome, TooLarge]


def test_a_user_is_not_made_with_more_than_fits(account: Account, table: Table) -> None:
    attempts: list[Callable[[dict[str, Any]], object]] = [
        lambda sent: users.create({"email": ANA, **sent}, account, a_moment()),
        lambda sent: users.create(sent, account, a_moment()),
        lambda sent: users.change(ANA, sent, True, account, a_moment()),
        lambda sent: users.change(new_id(a_moment()), {"email": ANA, **sent}, True, account, a_moment()),
    ]
    for attempt in attempts:
        for size in (ITEM_BYTES - 300, ITEM_BYTES + 1):  # either would fit DynamoDB or not; neither our limit
            with a_refusal("user"):
                attempt({"large": "x" * size})
    assert everything(table) == []


# --- Making room ------------------------------------------------------------------------------------


# Ways to change a profile by which a count of its bytes could drift.
TRAFFIC: list[dict[str, Any]] = [
    *({"a": each} for each in ("x", "x" * 9_000, [1, {"b": None}], None, None)),
    {f"m{n}": "x" * (n % 7) for n in range(150)},
    {f"m{n}": "日" * (n % 5) for n in range(120)},
    *({"tags": each} for each in (["one", "two", "three"], ["one", "-two", "-never there"])),
    {"tags": [f"t{n}" for n in range(150)]},
    {"tags": ["-one", "-three", *(f"-t{n}" for n in range(150))]},
    {"_id": "x" * 500, "createdOn": "x" * 500, "isCustomer": "x" * 500},
]


def empty(account: Account, identifier: str = ANA) -> None:
    for name in attributes_of(account, identifier) - {"tags"}:
        users.remove_attribute(identifier, name, account)
    tags = the_profile(account, identifier).get("tags", [])
    put_attributes(account, {"tags": [f"-{tag}" for tag in tags]}, identifier)
    assert attributes_of(account, identifier) == set()


def test_an_emptied_profile_takes_as_much_as_a_new_one(account: Account, ana: Profile) -> None:
    a_user(account, "new@example.com")
    for attributes in TRAFFIC:
        put_attributes(account, as_sent(attributes))
        send(account, {"update": as_sent(attributes)})
        send(account, {"search": {"query": "x"}}, email=ANA, city="x" * len(attributes), tel="1")
    open_and_buy(account)
    empty(account)
    assert fill(account) == fill(account, identifier="new@example.com")


# --- A profile that 1.0 filled ----------------------------------------------------------------------


def a_full_profile_of_1_0(table: Table) -> None:
    """With no byte left of DynamoDB's 400 KB."""
    user_id, attributes = new_id(a_moment()), {f"a{n}": "x" * 9_990 for n in range(40)} | {"rest": ""}
    [profile, _] = a_profile_of_1_0(user_id, ANA, a_moment(), attributes)
    attributes["rest"] = "x" * (ITEM_BYTES - capacity.size(profile))
    put(table, *a_profile_of_1_0(user_id, ANA, a_moment(), attributes))


def test_where_dynamodb_has_no_space_a_purchase_is_413_until_there_is_some(account: Account, table: Table) -> None:
    a_full_profile_of_1_0(table)
    before = everything(table)
    orders = [an_entry({"confirmation": {"orderId": number, "total": 1}}) for number in range(3)]
    assert [type(outcome) for outcome in send_batch(account, orders)] == [TooLarge] * 3
    assert everything(table) == before
    assert fits(account, {"a0": "y" * 9_000}), "less than before, though over the limit still"
    assert send(account, {"update": {"a1": "y" * 8_000}}).status == "created"
    assert not fits(account, {"a2": "y" * 9_991})
    open_and_buy(account)
    a_user(account, "new@example.com")
    empty(account)
    assert fill(account) == fill(account, identifier="new@example.com")


def test_what_1_0_stored_counts_before_anything_was_changed(account: Account, table: Table) -> None:
    """A profile well below the limit whose bytes were not counted yet."""
    attributes: dict[str, Any] = {f"a{n}": "x" * 40_000 for n in range(5)}
    put(table, *a_profile_of_1_0(new_id(a_moment()), ANA, a_moment(), attributes))
    a_user(account, "new@example.com", **attributes)
    buy(account, "first")
    assert fill(account) == fill(account, identifier="new@example.com")
    buy(account, "second")


# --- Another change at any call ---------------------------------------------------------------------


@pytest.mark.parametrize("theirs", ["gone", "tags"])
def test_the_size_stays_correct_with_another_change_at_any_call(account: Account, table: Table, theirs: str) -> None:
    a_user(account, "new@example.com")
    room = fill(account, identifier="new@example.com")

    def change(email: str) -> None:
        if theirs == "gone":
            users.remove_attribute(email, "a", account)
        else:
            put_attributes(account, {"tags": ["a", "b", "-c"]}, email)

    runs = at_each_call(
        table.client,
        lambda name: a_user(account, f"ana{name}@example.com", a="x" * 2_000, tags=["c"]).email or "",
        lambda email: put_attributes(account, {"a": "x" * 3_000, "tags": ["d"]}, email),
        change,
    )
    for email, _, _ in runs:
        empty(account, email)
        assert fill(account, identifier=email) == room
