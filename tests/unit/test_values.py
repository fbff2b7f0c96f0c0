"""Values that DynamoDB can hold come back unchanged; values that it cannot hold are named."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

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


@given(numbers)
def test_a_number_is_written_with_at_most_38_digits(number: Decimal) -> None:
    written = serialize(number)["N"]
    assert Decimal(written) == number
    assert "_" not in written
    assert written != "-0"
    assert len(Decimal(written).normalize().as_tuple().digits) <= 38


@pytest.mark.parametrize("value", [True, False])
def test_a_boolean_is_not_a_number(value: bool) -> None:
    assert serialize(value) == {"BOOL": value}
    assert deserialize(serialize(value)) is value


@pytest.mark.parametrize("sent", ["1E+125", "1." + "2" * 37 + "E+125", "1E-130", "9" * 38])
def test_a_number_that_dynamodb_returns_with_all_its_zeros_is_short_again(sent: str) -> None:
    plain = f"{Decimal(sent):f}"
    assert deserialize({"N": plain}) == Decimal(sent)
    assert len(str(deserialize({"N": plain}))) <= len("-1.E+125") + 37


@pytest.mark.parametrize("number", ["100", "0", "-20", "1" + "0" * 30])
def test_a_usual_number_keeps_its_zeros(number: str) -> None:
    assert str(deserialize({"N": number})) == number


def test_money_does_not_drift() -> None:
    assert serialize(Decimal("0.1"))["N"] == "0.1"
    assert serialize(Decimal("19.90"))["N"] == "19.9"
    assert serialize(Decimal("-0"))["N"] == "0"


def test_a_value_that_is_not_json_is_a_type_error() -> None:
    with pytest.raises(TypeError):
        serialize(1.5)


@pytest.mark.parametrize(
    "text",
    [
        "NaN", "sNaN", "Infinity", "-Infinity", "1E126", "-1E126", "1E-131", "9" * 39, "0." + "1" * 39,
        "1" + "0" * 38 + "1", "9E-131", "1E999999", "-1E-999999",
    ],
)  # fmt: skip
def test_a_number_beyond_dynamodbs_is_named(text: str) -> None:
    assert fields({"n": Decimal(text)}) == ["it.n"]


@pytest.mark.parametrize(
    "text", ["1E125", "9." + "9" * 37 + "E125", "1E-130", "-1E-130", "9" * 38, "0", "-0", "1" + "0" * 125, "1.50000"]
)
def test_a_number_up_to_dynamodbs_limits_is_storable(text: str) -> None:
    assert fields(Decimal(text)) == []
    assert Decimal(serialize(Decimal(text))["N"]) == Decimal(text)


@pytest.mark.parametrize("empty", [[], {}, "x"])
def test_the_innermost_of_the_allowed_levels_holds_no_list_or_object(empty: Any) -> None:
    is_container = empty != "x"
    assert fields(nested(MAX_LEVELS - 1 - is_container, empty)) == []
    [field] = fields(nested(MAX_LEVELS - is_container, empty))
    assert str(field).startswith("it.")


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb"])
def test_a_lone_surrogate_is_named_as_value_and_as_name(text: str) -> None:
    assert fields({"a": [text]}) == ["it.a.0"]
    assert len(fields({text: 1})) == 1


@pytest.mark.parametrize("name", ["", "x" * (MAX_NAME_BYTES + 1), "é" * (MAX_NAME_BYTES // 2 + 1)])
def test_a_name_that_is_empty_or_too_long_is_named(name: str) -> None:
    [problem] = unstorable({name: 1}, "it")
    assert problem.message == "Invalid name"


def test_every_part_that_cannot_be_stored_is_named() -> None:
    assert fields({"a": Decimal("NaN"), "b": {"c": ["\ud800", {"": True}]}}) == ["it.a", "it.b.c.0", "it.b.c.1"]
