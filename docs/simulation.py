"""Simulate an uneven day minute by minute against AWS's limits, for tables of docs/growth.md.

growth.py calculates even traffic. Here a day has a night and an evening, and few shops have most events. The largest
shop has a flash sale, and another one imports old events. A throttled caller sends again in the next minute, as the
contract asks.
"""

import math
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from random import Random

from docs import growth
from docs.growth import BATCH, DAY, Inputs
from docs.units import BILLS

MINUTES = DAY // 60
LARGEST_SHOP = (2**0.01 - 1) / (1001**0.01 - 1)  # its share of all events, by Zipf: 1,000 shops, exponent 0.99
WAVE = 0.8  # the evening is so much above the mean, the night below
EVENING = 20 * 60  # the busiest minute, at which the sale begins
SALE_MINUTES, SALE_TIMES = 30, 10  # the largest shop has so many times its events
IMPORT_BEGIN, IMPORT_MINUTES, IMPORT_SHARE = 2 * 60, 120, 0.1  # of the day's events, on top
SAMPLES = 1_000
GROWTH_MINUTES = 30  # on demand, a table takes twice its peak of longer ago than this


@dataclass(frozen=True)
class Traffic:
    """A day of so many events, an import on top."""

    inputs: Inputs
    events: float
    even: bool = False  # no wave, no sale, no import: what growth.py works out

    def arriving(self, minute: int) -> float:
        """Events a second that callers send for the first time."""
        mean = self.events / DAY
        if self.even:
            return mean
        live = mean * (1 + WAVE * math.cos(2 * math.pi * (minute - EVENING) / MINUTES))
        sale = live * LARGEST_SHOP * (SALE_TIMES - 1) if 0 <= minute - EVENING < SALE_MINUTES else 0
        return live + sale + self.imported(minute)

    def imported(self, minute: int) -> float:
        going_on = not self.even and 0 <= minute - IMPORT_BEGIN < IMPORT_MINUTES
        return self.events * IMPORT_SHARE / (60 * IMPORT_MINUTES) if going_on else 0

    def of_day(self) -> float:
        return 60 * sum(map(self.arriving, range(MINUTES)))


# --- The day --------------------------------------------------------------------------------------


NEW_TABLE = "new table's writes"
LIMITS = ("`ThrottleRate`", "API Gateway", "Lambda", NEW_TABLE, "table's writes")


@dataclass
class Outcome:
    throttled: Counter[str] = field(default_factory=Counter)  # attempts, by the limit
    waiting: float = 0  # throttled events that are sent again, at the end of the day
    longest_minutes: float = 0  # the longest wait of an event, if the oldest is accepted first
    peak_wru: float = 0


def simulate(traffic: Traffic, lifted: Collection[str] = ()) -> Outcome:
    """Each limit, but for those lifted, lets through what it can of what the one before let through."""
    inputs, outcome, wru = traffic.inputs, Outcome(), traffic.inputs.wru
    flow = {limit.name: limit.events_a_second for limit in growth.limits(inputs) if limit.name in LIMITS}
    peaks = [0.0]  # WRU/s, the highest up to each minute
    for minute in range(MINUTES):
        offered = going = traffic.arriving(minute) + outcome.waiting / 60
        seen = peaks[max(0, len(peaks) - GROWTH_MINUTES)]
        flow[NEW_TABLE] = max(growth.NEW_TABLE_WRU, 2 * seen) / wru
        for name, way in flow.items():
            if name not in lifted and going > way * (1 + 1e-9):
                outcome.throttled[name] += round(60 * (going - way))
                going = way
        outcome.waiting = 60 * (offered - going)
        outcome.longest_minutes = max(outcome.longest_minutes, outcome.waiting / 60 / going)
        outcome.peak_wru = max(outcome.peak_wru, going * wru)
        peaks.append(outcome.peak_wru)
    return outcome


# --- A batch that is sorted by user ---------------------------------------------------------------


Batch = list[tuple[int, str]]  # the user and the kind of each event


def sorted_batches(inputs: Inputs) -> Iterator[Batch]:
    """Yield batches as an import may send them, ten events of each user. They are the same in each run."""
    chance = Random(16)
    for _ in range(SAMPLES):
        kinds = chance.choices(list(inputs.mix), list(inputs.mix.values()), k=inputs.batch)
        yield [(number // 10, kind) for number, kind in enumerate(kinds)]


def saved(batch: Batch) -> int:
    """Return the WRU that a batch saves, compared with its events one by one.

    In one batch a user's changes are one change of the profile, and a user's email opens are one change of their lock.
    Each saves 2 WRU. `tests/integration/test_capacity.py` compares this with the calls.
    """
    changes = Counter(user for user, kind in batch if BILLS[kind].user_wru > 2)
    opens = Counter(user for user, kind in batch if kind == "emailopen")
    return 2 * sum(count - 1 for counts in (changes, opens) for count in counts.values())


def fold_sentence(inputs: Inputs) -> str:
    batched = replace(inputs, batch=BATCH)
    of_an_event = sum(map(saved, sorted_batches(batched))) / (SAMPLES * BATCH)
    sorted_by_user, one_by_one = inputs.wru - of_an_event, inputs.wru
    return f"With ten events of each user, an event costs {sorted_by_user:.2f} WRU instead of {one_by_one:.2f}.\n"


# --- Tables ---------------------------------------------------------------------------------------


def both(inputs: Inputs) -> list[Inputs]:
    return [replace(inputs, batch=size) for size in (1, BATCH)]


def wait_table(inputs: Inputs) -> str:
    rows = [
        [f"{events // 10**6:,} million", *(cell for each in both(inputs) for cell in waits(Traffic(each, events)))]
        for events in (10**8, 3 * 10**8, 10**9)
    ]
    return growth.table(["events a day", "one by one: limits", "wait", f"in batches of {BATCH}: limits", "wait"], rows)


def waits(traffic: Traffic) -> list[str]:
    outcome = simulate(traffic, lifted=["`ThrottleRate`"])
    if not outcome.throttled:
        return ["", "none"]
    left = f"; {100 * outcome.waiting / traffic.of_day():.0f} % at midnight" if outcome.waiting else ""
    limits = sorted(outcome.throttled, key=LIMITS.index)
    return [", ".join(limits), f"up to {math.ceil(outcome.longest_minutes):,} min{left}"]


def tables(inputs: Inputs) -> dict[str, str]:
    return {"simulated-waits": wait_table(inputs), "simulated-folding": fold_sentence(inputs)}
