"""Order, from many callers at once: email opens that arrive in any order, and updates that keep theirs: contract,
sections 4, 8 and 9.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from random import Random
from typing import Any

from builders import EMAIL_OPEN_WINDOW, a_moment, a_user, an_entry, as_sent, send_batch, the_events, the_profile
from domain.outcomes import Outcome
from domain.request import parse_request
from engines import aws_engine_only
from figures import STRESS, Figures
from table import Account
from table.calls import Table
from use_cases import users
from use_cases.collect import collect_one

pytestmark = aws_engine_only

CALLERS = 8
OPENS = 90 * STRESS
SEED = 20261124
BACK = timedelta(days=35) - timedelta(minutes=10)


@dataclass(frozen=True)
class Answered:
    status: str
    at: datetime


def moments(random: Random, now: datetime) -> list[datetime]:
    """In clusters of two hours, and some just inside and outside of another one's window."""
    starts = [now - random.random() * BACK for _ in range(max(3, OPENS // 30))] + [now - timedelta(hours=2)]
    found = [random.choice(starts) + timedelta(minutes=random.uniform(0, 110)) for _ in range(OPENS // 2)]
    edges = [-EMAIL_OPEN_WINDOW, EMAIL_OPEN_WINDOW, timedelta()]
    milliseconds = [timedelta(milliseconds=each) for each in (-1, 0, 1)]
    while len(found) < OPENS:
        at = random.choice(found) + random.choice(edges) + random.choice(milliseconds)
        if now - BACK <= at <= now:
            found.append(at)
    return [to_milliseconds(each) for each in found]


def to_milliseconds(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def in_requests(random: Random, times: Sequence[datetime], user_id: str) -> list[list[dict[str, Any]]]:
    """Singles and batches, in any order."""
    waiting = [an_entry({"emailopen": {"number": n}}, eventTime=at, _id=user_id) for n, at in enumerate(times)]
    random.shuffle(waiting)
    requests = []
    while waiting:
        size = random.choice([1, 1, 2, 7])
        requests.append(waiting[:size])
        waiting = waiting[size:]
    return requests


def test_shuffled_opens_from_many_callers_are_a_window_apart_and_none_is_discarded_for_nothing(
    account: Account, figures: Figures
) -> None:
    random = Random(SEED)
    user_id, now = a_user(account).id, a_moment()

    def send(entries: list[dict[str, Any]]) -> list[Answered]:
        if len(entries) == 1:
            outcomes: Sequence[object] = [collect_one(parse_request(as_sent(entries[0]), now), account, now)]
        else:
            outcomes = send_batch(account, entries, now)
        found = []
        for entry, outcome in zip(entries, outcomes, strict=True):
            assert isinstance(outcome, Outcome), outcome
            found.append(Answered(outcome.status, datetime.fromisoformat(entry["eventTime"])))
        return found

    with ThreadPoolExecutor(CALLERS) as pool:
        requests = in_requests(random, moments(random, now), user_id)
        answered = [each for answers in pool.map(send, requests) for each in answers]
    created = sorted(each.at for each in answered if each.status == "created")
    discarded = [each.at for each in answered if each.status == "discarded"]
    assert len(created) + len(discarded) == OPENS
    assert discarded
    assert len(the_events(account)) == len(created)
    assert all(later - earlier >= EMAIL_OPEN_WINDOW for earlier, later in pairwise(created))
    for at in discarded:
        assert any(abs(at - each) < EMAIL_OPEN_WINDOW for each in created), at
    page, _ = users.timeline(user_id, {"limit": "100"}, account)
    assert [each.happened_at for each in page] == sorted(created, reverse=True)[:100]
    assert datetime.fromisoformat(the_profile(account)["lastEmailOpenDate"]) == created[-1]
    figures("`test_order.py`", f"{OPENS:,} opens of {CALLERS} callers, {len(created):,} stored", 0)


def test_updates_in_batches_from_many_callers_are_never_reordered(account: Account) -> None:
    """Each caller has its own attribute, and all share one, whose value is that of some batch's last event."""
    random = Random(SEED)
    user_id, now, size = a_user(account).id, a_moment(), 9

    def send(caller: int) -> None:
        updates = [{"of all": f"{caller}-{n}", f"of {caller}": n, f"{caller}-{n}": n} for n in range(size)]
        for n, update in enumerate(updates):
            update["tags"] = [f"t{caller}" if n % 2 else f"-t{caller}"]
        entries = [an_entry({"update": update}, eventTime=now, _id=user_id) for update in updates]
        cut = random.randrange(size)
        for outcome in [*send_batch(account, entries[:cut] or entries[:1]), *send_batch(account, entries[cut:])]:
            assert isinstance(outcome, Outcome), outcome

    with ThreadPoolExecutor(CALLERS) as pool:
        list(pool.map(send, range(CALLERS)))
    profile = the_profile(account)
    assert {f"of {n}": profile[f"of {n}"] for n in range(CALLERS)} == {f"of {n}": size - 1 for n in range(CALLERS)}
    assert {f"{c}-{n}" for c in range(CALLERS) for n in range(size)} <= profile.keys()
    assert profile["of all"].endswith(f"-{size - 1}")
    assert "tags" not in profile  # the last word on each tag was to remove it
    assert len(the_events(account)) == CALLERS * size


def test_a_batch_folded_into_one_write_leaves_what_its_events_leave_one_by_one(table: Table) -> None:
    random = Random(SEED)
    now = a_moment()
    events: list[dict[str, Any]] = [
        *({"update": {random.choice("abc"): n, "tags": [random.choice(["x", "-x", "y", "-y"])]}} for n in range(12)),
        *({"confirmation": {"orderId": f"{n}", "total": random.choice([n, "0.1", None])}} for n in range(4)),
        *({"emailopen": {"n": n}} for n in range(4)),
        *({"login": {random.choice("cd"): n}} for n in range(4)),
    ]
    for number in range(6):
        random.shuffle(events)
        times = [now - timedelta(minutes=random.choice([0, 0, 1, 4, 6, 21, 45])) for _ in events]
        entries = [an_entry(event, eventTime=at) for event, at in zip(events, times, strict=True)]
        of_batch = left_by([entries], Account(table, f"batch{number}"), now)
        assert of_batch == left_by([[entry] for entry in entries], Account(table, f"singles{number}"), now)


def left_by(
    batches: Sequence[Sequence[dict[str, Any]]], account: Account, now: datetime
) -> tuple[list[str], list[str], dict[str, Any]]:
    """Return the answers, and the stored events and profile."""
    a_user(account)
    outcomes = [each for batch in batches for each in send_batch(account, batch, now)]
    profile = the_profile(account)
    of_its_own = {profile.pop(name) for name in ("_id", "createdOn")}
    assert len(of_its_own) == 2
    return [each.status for each in outcomes if isinstance(each, Outcome)], the_events(account), profile
