"""Values that DynamoDB can hold come back unchanged, others are named; ids, names of accounts, and keys."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import a_moment
from domain.accounts import hash_of, is_account_name, is_expired, new_api_key, parse_date
from domain.ids import is_id, new_id, time_of
from domain.outcomes import IdempotencyKey
from domain.times import iso, milliseconds_of
from domain.values import MAX_LEVELS, MAX_NAME_BYTES, unstorable
from table.attribute_values import deserialize, serialize

texts = st.text(st.characters(exclude_categories=["Cs"]))
digits = st.integers(min_value=-(10**38) + 1, max_value=10**38 - 1)
numbers = st.builds(lambda number, shift: Decimal(number).scaleb(shift), digits, st.integers(-130, 87))
scalars = texts | st.booleans() | st.none() | numbers
names = texts.filter(bool)
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(names, inner))


def fields(value: object) -> list[str | None]:
    return [problem.field for problem in unstorable(value, "it")]


def nested(levels: int, innermost: Any = "x") -> Any:
    value = innermost
    for level in range(levels):
        value = [value] if level % 2 else {"a": value}
    return value


@given(values)
def test_what_is_storable_comes_back_as_it_was(value: Any) -> None:
    assert fields(value) == []
    back = deserialize(serialize(value))
    assert back == value
    assert type(back) is type(value)


def test_a_boolean_is_not_a_number_and_money_does_not_drift() -> None:
    for value in (True, False):
        assert serialize(value) == {"BOOL": value}
        assert deserialize(serialize(value)) is value
    for sent, written in (("0.1", "0.1"), ("19.90", "19.9"), ("-0", "0")):
        assert serialize(Decimal(sent)) == {"N": written}
    with pytest.raises(TypeError):
        serialize(1.5)  # no JSON


def test_a_number_that_dynamodb_returns_with_all_its_zeros_is_short_again_but_a_usual_one_keeps_them() -> None:
    for sent in ("1E+125", "1." + "2" * 37 + "E+125", "1E-130", "9" * 38):
        plain = f"{Decimal(sent):f}"
        assert deserialize({"N": plain}) == Decimal(sent)
        assert len(str(deserialize({"N": plain}))) <= len("-1.E+125") + 37
    for number in ("100", "0", "-20", "1" + "0" * 30):
        assert str(deserialize({"N": number})) == number


BEYOND = [
    "NaN", "sNaN", "Infinity", "-Infinity", "1E126", "-1E126", "1E-131", "9" * 39, "0." + "1" * 39,
    "1" + "0" * 38 + "1", "9E-131", "1E999999", "-1E-999999",
]  # fmt: skip
WITHIN = ["1E125", "9." + "9" * 37 + "E125", "1E-130", "-1E-130", "9" * 38, "0", "-0", "1" + "0" * 125, "1.50000"]


def test_a_number_up_to_dynamodbs_limits_is_storable_and_one_beyond_is_named() -> None:
    for text in BEYOND:
        assert fields({"n": Decimal(text)}) == ["it.n"], text
    for text in WITHIN:
        assert fields(Decimal(text)) == []
        assert Decimal(serialize(Decimal(text))["N"]) == Decimal(text)


@pytest.mark.parametrize("innermost", [[], {}, "x"])
def test_the_innermost_of_the_allowed_levels_holds_no_list_or_object(innermost: Any) -> None:
    levels = MAX_LEVELS - 1 if innermost == "x" else MAX_LEVELS - 2
    assert fields(nested(levels, innermost)) == []
    [field] = fields(nested(levels + 1, innermost))
    assert str(field).startswith("it.")


def test_a_lone_surrogate_and_a_name_that_is_empty_or_too_long_are_named() -> None:
    for text in ("\ud800", "a\udfffb"):
        assert fields({"a": [text]}) == ["it.a.0"]
        assert len(fields({text: 1})) == 1
    for name in ("", "x" * (MAX_NAME_BYTES + 1), "é" * (MAX_NAME_BYTES // 2 + 1)):
        assert [problem.message for problem in unstorable({name: 1}, "it")] == ["Invalid name"]
    assert fields({"a": Decimal("NaN"), "b": {"c": ["\ud800", {"": True}]}}) == ["it.a", "it.b.c.0", "it.b.c.1"], "all"


moments = st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@given(moments, moments)
def test_an_id_is_a_uuid_that_knows_its_time_and_sorts_by_it(one: datetime, other: datetime) -> None:
    made = new_id(one)
    assert (UUID(made).version, UUID(made).variant) == (7, "specified in RFC 4122")
    assert is_id(made)
    assert timedelta() <= one - time_of(made) < timedelta(milliseconds=1)
    assert iso(time_of(made)) == iso(one)
    if milliseconds_of(one) < milliseconds_of(other):
        assert made < new_id(other)


def test_ids_of_one_moment_differ_and_only_the_canonical_form_is_an_id() -> None:
    now = a_moment()
    assert len({new_id(now) for _ in range(1000)}) == 1000
    made = "a" + new_id(a_moment())[1:]
    assert is_id(made)
    others = ["", "x", made.upper(), made.replace("-", ""), *(f"{made}{end}" for end in (" ", "#EVENT"))]
    others += [f"{start}{made}" for start in ("../", "urn:uuid:")]
    assert not any(map(is_id, others))


def test_an_account_has_a_plain_name_that_cannot_meet_a_key_of_the_table() -> None:
    assert all(map(is_account_name, ["demo", "shop-1", "0", "a" * 63]))
    others = ["", "-a", "Demo", "a#b", "a b", "a/b", "a" * 64, "demo\n", None, 7, "é", "USER"]
    assert not any(map(is_account_name, others))


def test_only_the_hash_of_a_key_is_kept() -> None:
    secret, key = new_api_key(a_moment(), None)
    assert secret not in repr(key)
    assert key.hash == hash_of(secret) == sha256(secret.encode()).hexdigest()
    assert new_api_key(a_moment(), None)[0] != secret


def test_a_key_ends_at_its_time() -> None:
    now = a_moment()
    assert not is_expired(None, now)
    assert not is_expired(iso(now + timedelta(milliseconds=1)), now)
    assert is_expired(iso(now), now)


@pytest.mark.parametrize(("text", "stored"), [
    ("2027-01-31T00:00:00Z", "2027-01-31T00:00:00.000Z"), ("2027-01-31T01:00:00+01:00", "2027-01-31T00:00:00.000Z"),
    ("2027-01-31", None), ("2027-01-31T00:00:00", None), ("tomorrow", None), ("", None), (None, None), (7, None),
    ("9999-12-31T23:59:59-05:00", None),
])  # fmt: skip
def test_a_date_has_an_offset_and_is_stored_in_utc(text: object, stored: str | None) -> None:
    assert parse_date(text) == stored


def test_of_an_idempotency_key_and_its_body_only_hashes_are_kept() -> None:
    key = IdempotencyKey.of("order of ana@example.com", b"body")
    assert len(key.key_hash) == len(key.body_hash) == 64
    assert key == IdempotencyKey.of("order of ana@example.com", b"body")
    assert key.body_hash != IdempotencyKey.of("order of ana@example.com", b"body ").body_hash
    assert key.key_hash != IdempotencyKey.of("Order of ana@example.com", b"body").key_hash
