"""Ids, names of accounts, API keys and idempotency keys."""

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import a_moment
from domain.accounts import hash_of, is_account_name, is_expired, new_api_key, parse_date
from domain.ids import is_id, new_id, time_of
from domain.outcomes import IdempotencyKey
from domain.times import iso, milliseconds_of

moments = st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


# --- Ids ------------------------------------------------------------------------------------------


@given(moments, moments)
def test_ids_sort_by_time(one: datetime, other: datetime) -> None:
    if milliseconds_of(one) < milliseconds_of(other):
        assert new_id(one) < new_id(other)


@given(moments)
def test_what_happens_at_once_has_one_time(moment: datetime) -> None:
    assert iso(time_of(new_id(moment))) == iso(moment)


@given(moments)
def test_an_id_is_a_uuid_that_knows_its_time(moment: datetime) -> None:
    made = new_id(moment)
    assert UUID(made).version == 7
    assert UUID(made).variant == "specified in RFC 4122"
    assert is_id(made)
    assert timedelta() <= moment - time_of(made) < timedelta(milliseconds=1)


def test_ids_of_one_moment_differ() -> None:
    now = a_moment()
    assert len({new_id(now) for _ in range(1000)}) == 1000


@pytest.mark.parametrize("text", ["", "x", "urn:uuid:{id}", "{ID}", "{id} ", "{hex}", "../{id}", "{id}#EVENT"])
def test_only_the_canonical_form_is_an_id(text: str) -> None:
    made = "a" + new_id(a_moment())[1:]
    forms = {"{id}": made, "{ID}": made.upper(), "{hex}": made.replace("-", "")}
    for form, value in forms.items():
        text = text.replace(form, value)
    assert is_id(made)
    assert not is_id(text)


# --- Accounts -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["demo", "shop-1", "0", "a" * 63])
def test_an_account_has_a_plain_name(name: str) -> None:
    assert is_account_name(name)


@pytest.mark.parametrize("name", ["", "-a", "Demo", "a#b", "a b", "a/b", "a" * 64, "demo\n", None, 7, "é", "USER"])
def test_a_name_that_could_meet_a_key_of_the_table_is_no_account(name: object) -> None:
    assert not is_account_name(name)


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


# --- Idempotency keys -----------------------------------------------------------------------------


def test_of_an_idempotency_key_and_its_body_only_hashes_are_kept() -> None:
    key = IdempotencyKey.of("order of ana@example.com", b"body")
    assert len(key.key_hash) == len(key.body_hash) == 64
    assert key == IdempotencyKey.of("order of ana@example.com", b"body")
    assert key.body_hash != IdempotencyKey.of("order of ana@example.com", b"body ").body_hash
    assert key.key_hash != IdempotencyKey.of("Order of ana@example.com", b"body").key_hash
