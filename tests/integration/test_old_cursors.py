"""Contract section 10: a cursor of refusals may be older than what is kept."""

from datetime import timedelta

from builders import a_moment
from table import Account
from table import refusals as stored
from table.refusals import LIFETIME, Reason
from use_cases import refusals


def test_behind_a_cursor_that_is_older_than_all_refusals_there_are_none(account: Account) -> None:
    """DynamoDB refuses a range that ends before it begins."""
    now = a_moment()
    for code in ("invalid_json", "missing_user"):
        stored.count(account, {Reason(code): 1}, "request", now)
    page, cursor = refusals.read({"limit": "1"}, account, now)
    assert len(page) == 1
    assert cursor
    for later in (timedelta(hours=1), timedelta(hours=2)):
        assert refusals.read({"cursor": cursor}, account, now + LIFETIME + later) == ([], None)
