"""Contract section 8: the check of a batch measures as the table does. The model compares all else that it predicts."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from builders import a_user, an_entry, send_batch
from domain.outcomes import Outcome
from domain.problems import Refused, TooLarge
from engines import aws_engine_only
from stored import everything
from table import Account
from table.overlay import Overlay


def labels(outcomes: Sequence[Outcome | Refused]) -> list[object]:
    return [each if isinstance(each, Outcome) else (type(each), each.problems) for each in outcomes]


@aws_engine_only
def test_a_check_predicts_what_does_not_fit_into_a_profile_and_changes_nothing(account: Account) -> None:
    a_user(account)
    updates = [{"a": "x" * 200_000, "b": "x" * 190_000}, {"c": "x" * 50_000}, {"c": 1}]
    entries = [an_entry({"update": each}) for each in updates]
    before = everything(account.table)
    checked = labels(send_batch(replace(account, table=Overlay.over(account.table)), entries))
    assert everything(account.table) == before
    done = send_batch(account, entries)
    assert checked == labels(done)
    assert [type(each) for each in done] == [Outcome, TooLarge, Outcome]


@aws_engine_only
@pytest.mark.parametrize(("number", "size"), [(1, 2), (10, 2), (12, 2), (123, 3), (1.5, 3), (0.1, 2), (-1, 3)])
def test_a_check_measures_numbers_as_the_table_does(number: float, size: int, account: Account) -> None:
    """In a list each takes a byte more. The rest of the item takes less than 400 bytes."""
    a_user(account)
    fits, too_many = (400 * 1024 - 400) // (size + 1), 400 * 1024 // (size + 1)
    entries = [an_entry({"search": {"query": "x", "n": [number] * count}}) for count in (fits, too_many)]
    for each in (replace(account, table=Overlay.over(account.table)), account):
        created, refused = send_batch(each, entries)
        assert isinstance(created, Outcome)
        assert isinstance(refused, TooLarge)
