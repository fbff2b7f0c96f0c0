"""Contract section 6: equal upserts of one new user are all answered with 200, and each sets its attributes."""

from typing import Any

import pytest

from builders import ANA, a_moment, a_user, as_sent, at_once, the_profile
from domain.ids import new_id
from domain.problems import Conflict
from engines import aws_engine_only, both_engines, not_on_moto
from faults import at_each_call
from table import Account
from table.calls import Table
from use_cases import users

pytestmark = both_engines
BOB = "bob@example.com"


def upsert(account: Account, identifier: str, **attributes: Any) -> str:
    """Return the _id of the user that the upsert created or changed."""
    return users.change(identifier, as_sent(attributes), True, account, a_moment())[0].id


@aws_engine_only
@pytest.mark.parametrize("by_id", [True, False], ids=["by _id", "by email"])
def test_an_upsert_with_an_equal_one_at_any_of_its_calls_is_done_like_it(
    account: Account, table: Table, by_id: bool
) -> None:
    def prepare(name: str) -> tuple[str, str]:
        """The identifier, and the email."""
        email = f"ana{name}@example.com"
        return (new_id(a_moment()) if by_id else email), email

    runs = at_each_call(
        table.client,
        prepare,
        lambda named: upsert(account, named[0], email=named[1], ours=1),
        lambda named: upsert(account, named[0], email=named[1], theirs=1),
    )
    for (_, email), theirs, ours in runs:
        assert theirs == ours
        profile = the_profile(account, email)
        assert (profile["_id"], profile["ours"], profile["theirs"]) == (ours, 1, 1)


def test_an_upsert_of_a_new_id_with_an_address_that_is_anothers_is_a_conflict_still(account: Account) -> None:
    a_user(account)
    a_user(account, BOB)
    with pytest.raises(Conflict) as refused:
        upsert(account, new_id(a_moment()), email=ANA)
    assert [problem.message for problem in refused.value.problems] == ["User already exists"]


@not_on_moto
def test_of_upserts_of_many_new_ids_with_one_email_at_once_one_makes_its_user(account: Account) -> None:
    ids = [new_id(a_moment()) for _ in range(10)]

    def refused(user_id: str) -> list[str]:
        try:
            upsert(account, user_id, email=ANA)
        except Conflict as conflict:
            return [problem.message for problem in conflict.problems]
        return []

    results = dict(zip(ids, at_once(10, lambda n: refused(ids[n])), strict=True))
    assert sorted(results.values()) == [[], *[["User already exists"]] * 9]
    assert results[the_profile(account)["_id"]] == []
