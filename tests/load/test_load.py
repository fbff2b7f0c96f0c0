"""Many callers at once, over HTTP, against the deployed stack; afterwards all that is stored is compared with a model.

The emulator limits how many requests can run at once. It starts one process (70 MB, and half a second of a core) for
each running request and each function. It answers all DynamoDB calls on the one thread that is also its gateway. While
many processes start, a call can take longer than the 2 x 2 s that the functions wait, and they answer with a true 503.
On two cores, 120 requests at once went well on an idle machine, 40 on a busy one. So all callers together have AT_ONCE
requests at a time; AWS's limits are in template.yaml.
"""

from collections.abc import Iterator
from statistics import median
from uuid import uuid4

import pytest

from figures import STRESS, Figures
from load.callers import Api, Connection, Exchange, Request, Sender, send_all
from load.model import Model, is_replay, told
from load.traffic import BATCH, Traffic
from local import stack

CALLERS = min(50 * STRESS, 200)
AT_ONCE = min(12 * STRESS, 40)
SEED = 20261123
PARAMETERS = {"ThrottleRate": "100000", "ThrottleBurst": "100000", "AuthorizerCacheSeconds": "3600"}

pytestmark = pytest.mark.http


@pytest.fixture(scope="module")
def load_stack() -> Iterator[stack.Stack]:
    with stack.running(parameters=PARAMETERS) as it:
        yield it


@pytest.fixture
def api(load_stack: stack.Stack) -> Api:
    """An account for this test only."""
    return Api(load_stack.api_url, load_stack.create_key(f"load-{uuid4().hex[:12]}"))


@pytest.fixture
def connection(api: Api) -> Iterator[Connection]:
    """The connection of a reader without other callers."""
    with Connection(api) as it:
        yield it


def test_what_many_callers_do_to_each_other_leaves_what_they_were_answered(
    api: Api, connection: Connection, figures: Figures
) -> None:
    traffic = Traffic(connection, SEED)
    exchanges = send_all(api, traffic.in_bursts(5 * STRESS), CALLERS, AT_ONCE)
    found = violations(traffic.signed_up + exchanges, connection)
    tried = f"{len(exchanges):,} requests of {CALLERS} callers, {AT_ONCE} at once; {errors(exchanges)} errors"
    figures("`test_load.py`, all at once", tried, len(found))
    assert found == []


def test_a_long_everyday_mix_leaves_what_its_callers_were_answered(
    api: Api, connection: Connection, figures: Figures
) -> None:
    traffic = Traffic(connection, SEED)
    exchanges = send_all(api, traffic.everyday(300 * STRESS), callers=4, at_once=4)
    found = violations(traffic.signed_up + exchanges, connection)
    slower = f"the last tenth took {slowdown(exchanges):.2f} times the first"
    tried = f"{len(exchanges):,} requests; {errors(exchanges)} errors; {slower}"
    figures("`test_load.py`, the everyday mix", tried, len(found))
    assert found == []


def test_full_batches_of_the_everyday_mix_leave_what_their_callers_were_answered(
    api: Api, connection: Connection, figures: Figures
) -> None:
    """Every batch is sent twice, because its sender may have missed the answer."""
    traffic = Traffic(connection, SEED)
    batches = traffic.everyday_batches(traffic.customers(20), 5 * STRESS, repeated=1)
    exchanges = send_all(api, batches, callers=4, at_once=4)
    assert [each.answer.status for each in exchanges] == [200] * len(exchanges)
    events = list(told(exchanges))
    created = sum(each.answer.headers["X-Event-Status"] == "created" and not is_replay(each) for each in events)
    duplicates = sum(is_replay(each) for each in events)
    found = violations(traffic.signed_up + events, connection)
    tried = (
        f"{len(exchanges):,} batches of {BATCH} events; {duplicates:,} events came twice; {errors(exchanges)} errors"
    )
    figures("`test_load.py`, batches of the everyday mix", tried, len(found))
    assert (found, duplicates) == ([], created)


def violations(exchanges: list[Exchange], connection: Sender) -> list[str]:
    return Model(exchanges).violations(lambda path: connection.send(Request("GET", path)))


def errors(exchanges: list[Exchange]) -> int:
    return sum(each.answer.status >= 429 for each in exchanges)


def slowdown(exchanges: list[Exchange]) -> float:
    """The median time of the last tenth of the answers by that of the first. A figure, no test: machines are noisy."""
    tenth = len(exchanges) // 10
    first, last = exchanges[:tenth], exchanges[-tenth:]
    return median(each.answer.seconds for each in last) / median(each.answer.seconds for each in first)
