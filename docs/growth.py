"""Make the tables of docs/growth.md: `make growth`. Other inputs: `make growth GROWTH="--duration-ms 20"`.

The prices are inputs too: US$, list prices of us-east-1 without free tiers and discounts. They were read on 2026-11-23
in copies of AWS's price pages and pages that quote them. Compare them with the pages named before you rely on them.
"""

import argparse
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from docs.units import AUTHORIZER, BILLS

PAGE = Path(__file__).with_name("growth.md")
MILLION, GB = 1e6, 2**30
DAY, MONTH = 86_400, 30 * 86_400  # seconds

Tiers = Sequence[tuple[float, float]]  # how many at which price each; the last price is for all beyond

# --- Prices ---------------------------------------------------------------------------------------

# https://aws.amazon.com/api-gateway/pricing/
REST_API: Tiers = [(333e6, 3.50e-6), (667e6, 2.80e-6), (19e9, 2.38e-6), (0, 1.51e-6)]
HTTP_API: Tiers = [(300e6, 1.00e-6), (0, 0.90e-6)]
# https://aws.amazon.com/ec2/pricing/on-demand/, data transfer to the internet
DATA_OUT_GB: Tiers = [(10e3, 0.09), (40e3, 0.085), (100e3, 0.07), (0, 0.05)]
# https://aws.amazon.com/lambda/pricing/
INVOCATION = 0.20e-6
GB_SECOND, GB_SECOND_ARM = 0.0000166667, 0.0000133334
# https://aws.amazon.com/dynamodb/pricing/on-demand/ and /provisioned/
WRU, RRU = 0.625e-6, 0.125e-6
WCU_HOUR, RCU_HOUR = 0.00065, 0.00013
STORED_GB_MONTH, PITR_GB_MONTH = 0.25, 0.20
# https://aws.amazon.com/cloudwatch/pricing/, /xray/pricing/ and /sqs/pricing/
LAMBDA_LOGS_GB: Tiers = [(10e3, 0.50), (20e3, 0.25), (20e3, 0.10), (0, 0.05)]
KEPT_LOGS_GB_MONTH = 0.03
METRIC_MONTH, ALARM_MONTH, DASHBOARD_MONTH = 0.30, 0.10, 3.00
TRACE, TRACED_SHARE = 5e-6, 0.05  # X-Ray's default rule records 5 % beyond the first request of a second
QUEUE_REQUEST = 0.40e-6
# https://aws.amazon.com/eventbridge/pricing/: an event of up to 64 KB; delivery inside of the AWS account is free
BUS_EVENT, WEBHOOK_CALL = 1.00e-6, 0.20e-6

# --- The system: tests/unit/test_growth.py compares these with template.yaml and the code ---------

MEMORY_MB = 1024
THROTTLE_RATE = 1_000
KEY_REMEMBERED_SECONDS = 60
METRICS, ALARMS = 50, 12
ITEM_BYTES = 1024 + 100  # an event of 1 KB, and what DynamoDB adds to each item
OUR_LOG_BYTES = 1_100  # the request's line and its metrics; tests/api/test_observability.py measures them
LAMBDA_LOG_BYTES = 250  # START, END and REPORT
ANSWER_BYTES = 700  # with its headers
BATCH = 100  # events in one request at most
BATCH_TIME = 0.5  # of what its events take one by one, an assumption like the duration
RESULT_BYTES = 150  # what a batch answers of each event
PROVISIONED_USE = 0.7  # of provisioned capacity: the default target of auto scaling

# --- AWS's limits: defaults that can be raised, but for an environment's --------------------------

NEW_TABLE_WRU, NEW_TABLE_RRU = 4_000, 12_000
TABLE_WRU, TABLE_RRU = 40_000, 40_000
GATEWAY_RATE = 10_000
CONCURRENCY, RATE_OF_ONE_ENVIRONMENT = 1_000, 10
IDLE_SECONDS, LIFE_SECONDS = 600, 2 * 3600  # of an environment, until Lambda ends it: seen, not promised


@dataclass(frozen=True)
class Inputs:
    events_a_day: Sequence[int] = tuple(10**exponent for exponent in range(3, 10))
    duration_ms: float = 12  # warm: about 5 ms of CPU at 1024 MB, the rest is waiting for DynamoDB
    init_ms: float = 600  # of a start, billed like the rest of the time since August 2025
    memory_mb: int = MEMORY_MB
    batch: int = 1  # events in one request
    keys: int = 10  # API keys in use
    peak: float = 5  # the busiest second, as a multiple of the average one
    mix: Mapping[str, float] = field(  # percent
        default_factory=lambda: {
            "plain": 70,
            "update": 10,
            "confirmation": 2,
            "emailopen": 10,
            "emailopen-discarded": 3,
            "bot": 5,
        }
    )

    def mean(self, of: Mapping[str, float]) -> float:
        return sum(share * of[kind] for kind, share in self.mix.items()) / sum(self.mix.values())

    @property
    def rru(self) -> float:
        return self.mean({kind: bill.rru for kind, bill in BILLS.items()})

    @property
    def wru(self) -> float:
        return self.mean({kind: bill.wru for kind, bill in BILLS.items()})

    @property
    def stored(self) -> float:
        """The share of the events that are stored: discarded ones leave nothing."""
        return self.mean({kind: bool(bill.wru) for kind, bill in BILLS.items()})

    @property
    def stored_gb(self) -> float:
        """Return the GB of one event, stored or not."""
        return self.stored * ITEM_BYTES / GB

    @property
    def event_seconds(self) -> float:
        """In the function, of one event."""
        return self.duration_ms / 1000 * (1 if self.batch == 1 else BATCH_TIME)

    @property
    def gb_seconds(self) -> float:
        """Return the GB-seconds of one event."""
        return self.memory_mb / 1024 * self.event_seconds

    @property
    def answer_bytes(self) -> float:
        """Return the bytes of the answer to one event, with its share of the headers."""
        return ANSWER_BYTES if self.batch == 1 else ANSWER_BYTES / self.batch + RESULT_BYTES

    @property
    def use(self) -> float:
        """The share of the time that one environment can be busy at most."""
        return min(1, self.event_seconds * self.batch * RATE_OF_ONE_ENVIRONMENT)


# --- Arithmetic -----------------------------------------------------------------------------------


def tiered(amount: float, tiers: Tiers) -> float:
    """Return the price of an amount in a month."""
    *limited, (_, last_price) = tiers
    cost = 0.0
    for size, price in limited:
        cost += min(amount, size) * price
        amount = max(0, amount - size)
    return cost + amount * last_price


def look_ups(inputs: Inputs, events_a_day: float) -> float:
    """Return the gateway's questions to the authorizer in a day, if it caches each key's answer in one place."""
    return min(events_a_day / inputs.batch, inputs.keys * DAY / KEY_REMEMBERED_SECONDS)


def starts(inputs: Inputs, invocations_a_day: float) -> float:
    """Return how many environments of a function start in a day: after a pause, at the peak, at the end of a life."""
    rate = invocations_a_day / DAY
    environments = max(1, rate * inputs.event_seconds * inputs.batch / inputs.use)
    after_pauses = invocations_a_day * math.exp(-rate * IDLE_SECONDS)
    return min(invocations_a_day, after_pauses + environments * (inputs.peak + DAY / LIFE_SECONDS))


def month(inputs: Inputs, events_a_day: float) -> dict[str, float]:
    """Return the costs of a month by share, without earlier events."""
    events, asked = 30 * events_a_day, 30 * look_ups(inputs, events_a_day)
    requests = events / inputs.batch
    invocations = requests + asked
    started = 30 * sum(starts(inputs, each) for each in (events_a_day / inputs.batch, asked / 30))
    log_gb = invocations * (OUR_LOG_BYTES + LAMBDA_LOG_BYTES) / GB
    return {
        "API Gateway, REST": tiered(requests, REST_API),
        "Lambda, requests": invocations * INVOCATION,
        "Lambda, GB-seconds": (events + asked) * inputs.gb_seconds * GB_SECOND,
        "Lambda, starts": started * inputs.init_ms / 1000 * inputs.memory_mb / 1024 * GB_SECOND,
        "DynamoDB, writes": events * inputs.wru * WRU,
        "DynamoDB, reads": (events * inputs.rru + asked * AUTHORIZER.rru) * RRU,
        "logs, written and kept for 30 days": tiered(log_gb, LAMBDA_LOGS_GB) + log_gb * KEPT_LOGS_GB_MONTH,
        "answers, sent to the internet": tiered(events * inputs.answer_bytes / GB, DATA_OUT_GB),
    }


def storage_month(inputs: Inputs, events: float) -> float:
    """Return the monthly price of that many stored events, with point-in-time recovery."""
    return events * inputs.stored_gb * (STORED_GB_MONTH + PITR_GB_MONTH)


def feed(inputs: Inputs, events: float, batch: int) -> float:
    """Return the price of publishing the stored ones of that many events, `batch` in an invocation."""
    log_gb = (OUR_LOG_BYTES + LAMBDA_LOG_BYTES) / GB
    logs = log_gb * (LAMBDA_LOGS_GB[0][1] + KEPT_LOGS_GB_MONTH)
    return events * inputs.stored * (BUS_EVENT + (INVOCATION + inputs.gb_seconds * GB_SECOND + logs) / batch)


def fixed_month(inputs: Inputs) -> float:
    """Metrics, alarms, the dashboard, and the erasure function's run each minute."""
    erasures = MONTH / 60 * (INVOCATION + inputs.gb_seconds * GB_SECOND)
    return METRICS * METRIC_MONTH + ALARMS * ALARM_MONTH + DASHBOARD_MONTH + erasures


@dataclass(frozen=True)
class Limit:
    name: str
    default: str
    events_a_second: float


def limits(inputs: Inputs) -> list[Limit]:
    """Return the limits in the order in which growth reaches them."""
    at_once = CONCURRENCY * inputs.use / inputs.event_seconds
    found = [
        Limit("`ThrottleRate`", f"{THROTTLE_RATE:,} requests/s", THROTTLE_RATE * inputs.batch),
        Limit("new table's writes", f"{NEW_TABLE_WRU:,} WRU/s", NEW_TABLE_WRU / inputs.wru),
        Limit("new table's reads", f"{NEW_TABLE_RRU:,} RRU/s", NEW_TABLE_RRU / inputs.rru),
        Limit("API Gateway", f"{GATEWAY_RATE:,} requests/s", GATEWAY_RATE * inputs.batch),
        Limit("Lambda", f"{CONCURRENCY:,} at once", at_once),
        Limit("table's writes", f"{TABLE_WRU:,} WRU/s", TABLE_WRU / inputs.wru),
        Limit("table's reads", f"{TABLE_RRU:,} RRU/s", TABLE_RRU / inputs.rru),
    ]
    return sorted(found, key=lambda limit: limit.events_a_second)


# --- Tables ---------------------------------------------------------------------------------------


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def dollars(amount: float) -> str:
    return f"{amount:,.2f}" if abs(amount) < 100 else f"{amount:,.0f}"


def round_number(amount: float) -> str:
    return f"{amount:,.0f}" if amount >= 10 else f"{amount:.2g}"


def mix_sentence(inputs: Inputs) -> str:
    shares = ",\n".join(f"{share:g} % `{kind}`" for kind, share in inputs.mix.items())
    return f"The mix is {shares}.\nThe mean is {inputs.rru:.3g} RRU and {inputs.wru:.3g} WRU.\n"


def million(inputs: Inputs) -> dict[str, float]:
    """Return the costs of a million events by share, at a million events a day."""
    shares = {name: cost / 30 for name, cost in month(inputs, MILLION).items()}
    return shares | {"what they leave in the table, each month": storage_month(inputs, MILLION)}


def price_table(inputs: Inputs) -> str:
    shares, batched = million(inputs), million(replace(inputs, batch=BATCH))
    rows = [[name, dollars(cost), dollars(batched[name])] for name, cost in shares.items()]
    fixed = f"every month: about {METRICS} metrics, {ALARMS} alarms, the dashboard, the erasures' runs"
    rows += [["sum", dollars(sum(shares.values())), dollars(sum(batched.values()))]]
    rows += [[fixed, dollars(fixed_month(inputs)), dollars(fixed_month(inputs))]]
    return table(["a million events", "US$", f"in batches of {BATCH}"], rows)


def limit_table(inputs: Inputs) -> str:
    batched = {limit.name: limit.events_a_second for limit in limits(replace(inputs, batch=BATCH))}

    def a_day(events_a_second: float) -> str:
        return f"{events_a_second / inputs.peak * DAY / MILLION:,.0f}"

    rows = [
        [
            str(number),
            limit.name,
            limit.default,
            round_number(limit.events_a_second),
            a_day(limit.events_a_second),
            a_day(batched[limit.name]),
        ]
        for number, limit in enumerate(limits(inputs), 1)
    ]
    peak = f"million events a day, peak {inputs.peak:g}"
    return table(["", "limit", "default", "events/s", peak, f"in batches of {BATCH}"], rows)


def growth_table(inputs: Inputs) -> str:
    head = ["events a day", "events/s at the peak", "limits passed", "US$ a month", "a million", "a year's events"]
    return table(head, [growth_row(inputs, events) for events in inputs.events_a_day])


def growth_row(inputs: Inputs, events_a_day: float) -> list[str]:
    peak = events_a_day / DAY * inputs.peak
    passed = sum(limit.events_a_second < peak for limit in limits(inputs))
    cost = sum(month(inputs, events_a_day).values()) + fixed_month(inputs)
    return [
        f"{events_a_day:,}",
        round_number(peak),
        f"1 to {passed}" if passed else "none",
        dollars(cost),
        dollars(cost / (30 * events_a_day / MILLION)),
        dollars(storage_month(inputs, 365 * events_a_day)),
    ]


def choice_table(inputs: Inputs) -> str:
    """Return the table of other choices and their price for a million events, in the first tier."""
    gateway, seconds = tiered(MILLION / inputs.batch, REST_API), MILLION * inputs.gb_seconds
    now = sum(million(inputs).values())
    on_demand = MILLION * (inputs.wru * WRU + inputs.rru * RRU)
    capacity = MILLION / 3600 / PROVISIONED_USE * (inputs.wru * WCU_HOUR + inputs.rru * RCU_HOUR)
    plain = MILLION * inputs.mix.get("plain", 0) / sum(inputs.mix.values())
    more_wru = BILLS["plain-idempotent"].wru - BILLS["plain"].wru
    choices = {
        "HTTP API": tiered(MILLION, HTTP_API) - gateway,
        "function URL": -gateway,
        f"batches of {BATCH}": sum(million(replace(inputs, batch=BATCH)).values()) - now,
        "a queue behind the gateway, read ten at a time": MILLION * (1.2 * QUEUE_REQUEST - 0.9 * INVOCATION),
        "arm64, at the same speed": seconds * (GB_SECOND_ARM - GB_SECOND),
        f"provisioned capacity, {100 * PROVISIONED_USE:.0f} % used": capacity - on_demand,
        "an `Idempotency-Key` with every plain event": plain * more_wru * WRU,
        "`Tracing=Active`": MILLION * TRACED_SHARE * TRACE,
        "`Feed=on`, ten events in an invocation": feed(inputs, MILLION, batch=10),
        "a webhook for the whole feed, in addition": MILLION * inputs.stored * WEBHOOK_CALL,
    }
    return table(["instead", "US$ a million"], [[name, f"{cost:+.2f}"] for name, cost in choices.items()])


def tables(inputs: Inputs) -> dict[str, str]:
    from docs import simulation  # which is made of this module

    return {
        "mix": mix_sentence(inputs),
        "price": price_table(inputs),
        "limits": limit_table(inputs),
        "growth": growth_table(inputs),
        "choices": choice_table(inputs),
        **simulation.tables(inputs),
    }


def page(text: str) -> str:
    """Return the page with new tables."""
    for name, made in tables(Inputs()).items():
        before, rest = text.split(f"<!-- {name} -->\n")
        _, after = rest.split("<!-- end -->\n", 1)
        text = f"{before}<!-- {name} -->\n{made}<!-- end -->\n{after}"
    return text


def parse_mix(text: str) -> dict[str, float]:
    """Return the shares in a text such as `plain=70,update=30`."""
    mix = {kind: float(share) for kind, _, share in (part.partition("=") for part in text.split(","))}
    if unknown := mix.keys() - BILLS.keys():
        raise ValueError(unknown)
    if not any(share > 0 and BILLS[kind].wru for kind, share in mix.items()):
        raise argparse.ArgumentTypeError("this mix stores nothing")
    return mix


def main() -> None:
    parser = argparse.ArgumentParser("docs.growth", description="Prints the tables of docs/growth.md.")
    parser.add_argument("--write", action="store_true", help="writes them there, with the default inputs")
    parser.add_argument("--events-a-day", type=int, nargs="+", help="rows of the table of growth")
    parser.add_argument("--duration-ms", type=float, help="of a warm invocation")
    parser.add_argument("--init-ms", type=float, help="of a start of a function")
    parser.add_argument("--memory-mb", type=int)
    parser.add_argument("--batch", type=int, help="events in one request")
    parser.add_argument("--keys", type=int, help="API keys in use")
    parser.add_argument("--peak", type=float, help="the busiest second, as a multiple of the average one")
    parser.add_argument("--mix", type=parse_mix, help=f"percent: plain=70,update=30; kinds: {', '.join(BILLS)}")
    given = vars(parser.parse_args())
    if given.pop("write"):
        PAGE.write_text(page(PAGE.read_text()))
    else:
        inputs = Inputs(**{name: value for name, value in given.items() if value is not None})
        print("\n".join(tables(inputs).values()), end="")


if __name__ == "__main__":
    main()
