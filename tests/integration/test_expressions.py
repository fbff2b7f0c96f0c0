"""Conditions and updates have the same result in memory as on each engine: the check of a batch relies on it.

hypothesis creates items, transactions and conditions. The test applies them to a table and to an overlay.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import uuid4

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from engines import aws_engine_only, every_engine, every_engine_but_moto
from figures import STRESS
from table.attribute_values import serialize
from table.calls import Store, Table
from table.expressions import IS_NEW, Absent, Action, Changes, Check, Compare, Condition, Delete, Exists, Put, Update
from table.overlay import Overlay
from table.primary_keys import Key

Item = dict[str, Any]
Path = tuple[str, ...]
made_up = settings(deadline=None, max_examples=60 * STRESS, suppress_health_check=[HealthCheck.function_scoped_fixture])

# Reserved words, signs of expressions, what looks like a placeholder, and names that differ little.
NAMES = ["size", "name", "SELECT", "a.b", "a", "b", "#a", "#0", ":0", "[0]", "é", "Name", " "]
MAP, NUMBER = "attributes", "total"
names = st.sampled_from(NAMES)
digits = st.integers(-(10**38) + 1, 10**38 - 1)
numbers = st.one_of(
    st.sampled_from([Decimal(0), Decimal(1), Decimal("1.0"), Decimal("-0"), Decimal("0.1"), Decimal(10)]),
    st.builds(lambda number, exponent: Decimal(f"{number}E{exponent}"), digits, st.integers(-60, 60)),
)
small_numbers = st.builds(lambda number: Decimal(f"{number}E-9"), st.integers(-(10**20), 10**20))
texts = st.sampled_from(["", "a", "b", "B", "é", "1", "10", "2026-01-02", "\x00", "😀", "\uffff"])
scalars = st.one_of(texts, numbers, st.booleans(), st.none())
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(names, inner, max_size=2), max_leaves=5
)
items = st.builds(
    lambda others, inner, total: {**others, **inner, **total},
    st.dictionaries(names, values, max_size=4),
    st.fixed_dictionaries({MAP: st.dictionaries(names, values, max_size=3)}),
    st.fixed_dictionaries({}, optional={NUMBER: small_numbers}),
)

anything = st.sampled_from([*NAMES, MAP, NUMBER])


def conditions_on(compared: st.SearchStrategy[Any], ordered: st.SearchStrategy[Any]) -> st.SearchStrategy[Condition]:
    return st.recursive(
        st.one_of(
            st.builds(Exists, anything),
            st.builds(Absent, anything),
            st.just(IS_NEW),
            st.builds(Compare, anything, st.just("="), compared),
            st.builds(Compare, anything, st.sampled_from(["<=", ">"]), ordered),
        ),
        lambda inner: st.builds(lambda a, b: a & b, inner, inner) | st.builds(lambda a, b: a | b, inner, inner),
        max_leaves=4,
    )


conditions = conditions_on(values, texts | numbers)
texts_only = st.builds(lambda others: {**others, MAP: "", NUMBER: "1"}, st.dictionaries(names, texts, max_size=4))


@dataclass(frozen=True)
class Spec:
    """An action on one of the items of a partition."""

    sk: str
    verb: str
    item: Item
    changes: Changes
    condition: Condition | None

    def made(self, pk: str) -> Action:
        key = Key(pk, self.sk)
        if self.verb == "put":
            return Put(key, self.item, self.condition)
        if self.verb == "delete":
            return Delete(key, self.condition)
        if self.verb == "check":
            return Check(key, IS_NEW if self.condition is None else self.condition)
        has_map = Exists(MAP)  # as the profiles: nothing else has paths
        return Update(key, self.changes, has_map if self.condition is None else has_map & self.condition)


@st.composite
def changes(draw: st.DrawFn) -> Changes:
    """No path of it is part of another, which DynamoDB refuses."""
    top: st.SearchStrategy[Path] = st.tuples(names)
    inner: st.SearchStrategy[Path] = st.tuples(st.just(MAP), names)
    paths = draw(st.lists(top | inner, min_size=1, max_size=6, unique=True))
    sets: dict[Path, Any] = {path: draw(values) for path in paths[: draw(st.integers(0, len(paths)))]}
    removes = [path for path in paths if path not in sets]
    adds = {NUMBER: draw(small_numbers)} if draw(st.booleans()) else {}
    if draw(st.booleans()) and all(path[0] != MAP for path in paths):
        sets[MAP,] = draw(st.dictionaries(names, values, max_size=3))
    return Changes(sets=sets, removes=removes, adds=adds)


@st.composite
def transactions(draw: st.DrawFn) -> list[Spec]:
    """At most one action on an item, as DynamoDB demands."""
    sort_keys = draw(st.lists(st.sampled_from("abc"), min_size=1, max_size=3, unique=True))
    verbs = st.sampled_from(["put", "update", "update", "delete", "check"])
    return [Spec(sk, draw(verbs), draw(items), draw(changes()), draw(st.none() | conditions)) for sk in sort_keys]


stored = st.dictionaries(st.sampled_from("abc"), items, max_size=3)


@every_engine_but_moto  # which takes True for 1, and cannot compare a text with a number
@made_up
@given(there=stored, condition=conditions)
@example({"a": {MAP: {}, "a": True}}, Compare("a", "=", Decimal(1)))
@example({"a": {MAP: {}, "a": {"b": [Decimal(0)]}}}, Compare("a", "=", {"b": [False]}))
@example({"a": {MAP: {}, "a": "1"}}, Compare("a", "<=", Decimal(2)))
@example({"a": {MAP: {}, "a": None}}, Compare("a", ">", "") | Exists("a"))
def test_a_condition_means_the_same_in_memory(table: Table, there: dict[str, Item], condition: Condition) -> None:
    assert_agreed(table, there, condition)


@every_engine
@made_up
@given(there=st.dictionaries(st.just("a"), texts_only, max_size=1), condition=conditions_on(texts, texts.filter(bool)))
def test_a_condition_on_texts_means_the_same(table: Table, there: dict[str, Item], condition: Condition) -> None:
    assert_agreed(table, there, condition)


def assert_agreed(table: Table, there: dict[str, Item], condition: Condition) -> None:
    pk = str(uuid4())
    put(table, pk, there)
    key = Key(pk, "a")
    reasons = table.try_write([Check(key, condition)])
    item = {**key._asdict(), **there["a"]} if "a" in there else {}
    assert condition.holds(item) == (reasons is None)
    assert reasons is None or same(reasons.failed, {0: item})


@every_engine_but_moto
@made_up
@given(there=stored, sent=st.lists(transactions(), min_size=1, max_size=3))
def test_transactions_do_the_same_in_memory(table: Table, there: dict[str, Item], sent: list[list[Spec]]) -> None:
    """Compare the result of each transaction, its failed conditions, and the items after it."""
    real, imagined = f"real-{uuid4()}", f"imagined-{uuid4()}"
    for pk in (real, imagined):
        put(table, pk, there)
    overlay = Overlay.over(table)
    for specs in sent:
        done = table.try_write([spec.made(real) for spec in specs])
        predicted = overlay.try_write([spec.made(imagined) for spec in specs])
        assert (done is None) == (predicted is None)
        if done and predicted:
            failed = {index: {**item, "pk": imagined} if item else {} for index, item in done.failed.items()}
            assert same(failed, predicted.failed)
            assert (done.busy, done.too_large, predicted.busy, predicted.too_large) == ({}, set(), {}, set())
        for sk in "abc":
            assert same(of(table, real, sk), of(overlay, imagined, sk))
        assert same(list(map(without_pk, table.partition(real))), list(map(without_pk, overlay.partition(imagined))))
    assert same(list(map(without_pk, table.partition(imagined))), [{"sk": sk, **there[sk]} for sk in sorted(there)])


@aws_engine_only  # moto and MiniStack round to 28 digits
@made_up
@given(numbers=st.lists(st.builds(lambda each: Decimal(f"{each}E-9"), st.integers(-(10**37), 10**37)), max_size=4))
def test_a_sum_has_all_its_digits(table: Table, numbers: list[Decimal]) -> None:
    """One of more than 38 digits is an error of DynamoDB's; what can be counted never comes so far (profile.py)."""
    key = Key(str(uuid4()), "a")
    overlay = Overlay.over(table)
    for number in numbers:
        for each in (overlay, table):
            assert each.try_write([Update(key, Changes(adds={NUMBER: number}))]) is None
    assert same(overlay.get(key), table.get(key))


def put(table: Table, pk: str, there: dict[str, Item]) -> None:
    for sk, item in there.items():
        table.write_one(Put(Key(pk, sk), item))


def of(table: Store, pk: str, sk: str) -> Item | None:
    found = table.get(Key(pk, sk))
    return without_pk(found) if found else None


def without_pk(item: Item) -> Item:
    return {name: value for name, value in item.items() if name != "pk"}


def same(one: object, other: object) -> bool:
    """In type too: True is not 1. Numbers are the same that are equal."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return serialize(one) == serialize(other)
