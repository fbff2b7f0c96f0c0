"""A client that obeys the contract (section 8) loses nothing and stores nothing twice, with any faults.

Requests and responses between the client and the function are lost, and each attempt of a call of DynamoDB can have any
fault of faults.py, or another request sends the same events. At the end the table must be equal to the model of the
contract (contract.py), which processes the same events one after the other without faults.

Nothing waits: the test moves the clock. Faults are chosen from SEED, but the writes of a batch run in parallel, so a
repeated run can differ.
"""

import gzip
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any
from uuid import uuid4

import botocore.endpoint
import httpx
import pytest
from botocore.awsrequest import AWSPreparedRequest
from event_api_client import Outbox, outbox
from mypy_boto3_dynamodb import DynamoDBClient

import faults
from api.gateway import Answer, call
from builders import a_moment, a_user, as_sent, the_profile
from contract import Contract, Expected, Person, Sent, as_result, shown
from engines import new_table
from faults import Clock, Crash, Fault, lost_answer, throttled
from figures import STRESS, Figures
from handlers import runtime
from stored import everything
from table import Account, calls
from table.calls import FAIL_FAST_CONFIG, new_client
from use_cases import collect, users

SEED = 20261124
RUNS = 12 * STRESS
PATIENCE = 500  # requests, after which the test fails
SEVERITIES = [0.0, 0.05, 0.2, 0.4, 0.7]  # the share of attempts that meet a fault, while one request is answered
NOBODY = "nobody@example.com"
MAY_BE_STORED = {"lost", "died after", "another request"}  # faults with which the function sees no success


# --- The client -----------------------------------------------------------------------------------

Post = Callable[[str, Any], Answer | None]
"""Sends a body to a path. None: no answer."""


def settle(post: Post, path: str, body: Any) -> Answer:
    """The whole of the client."""
    for _ in range(PATIENCE):
        answer = post(path, body)
        if answer is None or answer.status in (429, 500, 503):
            continue
        if answer.status != 207 or all(result["status"] != "failed" for result in answer.body["results"]):
            return answer
    raise AssertionError(f"not settled after {PATIENCE} requests")


@dataclass
class FaultInjector:
    """Random faults of DynamoDB's calls, and of requests and responses of the client."""

    random: Random
    clock: Clock
    severity: float = 0.0
    happened: Counter[str] = field(default_factory=Counter)
    another_request: Callable[[], None] = lambda: None
    """Sends the current request."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def choose_fault(self, request: AWSPreparedRequest, event_name: str, **_: Any) -> Any:
        """Choose a fault for an attempt: a hook of botocore, before it is sent."""
        with self.lock:
            if self.random.random() >= self.severity:
                return None
            name, fault = self.random.choice(self.faults(event_name.rpartition(".")[2]))
            self.happened[name] += 1
        return fault(request)

    def faults(self, operation: str) -> list[tuple[str, Fault]]:
        found: dict[str, Fault] = {
            "throttled": throttled, "error 500": faults.internal_error, "no connection": faults.no_connection,
            "lost": lost_answer, "died before": faults.die, "died after": faults.done_then(faults.die),
            "slow": lambda _: self.clock.sleep(self.random.uniform(0, 1.5 * calls.REQUEST_SECONDS)),
            "another request": lambda _: self.another_request(),
        }  # fmt: skip
        if operation == "TransactWriteItems":
            found |= {
                "item throttled": faults.one_action("ThrottlingError", self.random),
                "item over its limit": faults.one_action("ProvisionedThroughputExceeded", self.random),
                "item in conflict": faults.one_action("TransactionConflict", self.random),
                "in progress": faults.error("TransactionInProgressException"),
                "lost, token forgotten": faults.without_token(lost_answer),
                "token forgotten": faults.without_token(lambda _: None),
            }
        if operation == "BatchGetItem":
            found |= {f"unprocessed keys {n}": faults.unprocessed(self.random) for n in range(3)}
        if operation == "PutItem":
            found["item in conflict"] = faults.error("TransactionConflictException")
        return list(found.items())


# --- What is sent ---------------------------------------------------------------------------------


@dataclass
class Step:
    """A batch, or a single event, and the outcome of each event without faults."""

    sent: list[Sent]
    expected: list[Expected]
    alone: bool


class Story:
    """Users, the requests about them, and the model that has processed all requests.

    The contract promises an order only for the changes of one user. So within a batch, users have different orders, and
    an id is repeated only with the same event.
    """

    def __init__(self, account: Account, random: Random) -> None:
        self.account, self.random, self.now, self.fresh = account, random, a_moment(), 0
        self.model = Contract()
        for email in ("ana@example.com", "bob@example.com", None, None, None):
            self.model.people.append(Person(a_user(account, email).id, email))
        self.steps: list[Step] = []
        for _ in range(random.randint(3, 8)):
            self.steps.append(self.step())

    @property
    def sent(self) -> list[Sent]:
        return [each for step in self.steps for each in step.sent]

    def step(self) -> Step:
        step = Step([], [], self.random.random() < 0.3)
        settled = list(self.model.once["confirmation"])
        for _ in range(1 if step.alone else self.random.randint(1, 14)):
            step.sent.append(self.event(step.sent, settled))
            step.expected.append(self.model.takes(step.sent[-1]))
        return step

    def event(self, batch: Sequence[Sent], settled: Sequence[str]) -> Sent:
        random = self.random
        earlier = [*self.sent, *batch]
        if earlier and random.random() < 0.1:
            return random.choice(earlier)
        if self.steps and random.random() < 0.05:
            again = random.choice(self.sent)
            if again not in batch and any(person.known(again) for person in self.model.people):
                return Sent(again.who, "search", {"query": "another"}, again.id, again.at)
        person = random.choice(self.model.people)
        who = person.email if person.email and random.random() < 0.5 else person.id
        self.fresh += 1
        minutes = random.choice([0, 0, 0, 0, 4, -1, -4, -6, -19, -20, -21, -40, -600])
        at = self.now + timedelta(minutes=minutes, milliseconds=random.choice([0, 0, -1, 1]))
        fields = random.choice([{}, {}, {}, {"city": f"city {self.fresh}"}])
        if random.random() < 0.02:
            who = NOBODY
        return Sent(who, *self.payload(person, settled), f"event-{self.fresh}", at, fields)

    def payload(self, person: Person, settled: Sequence[str]) -> tuple[str, dict[str, Any]]:
        pick, number = self.random.choice, self.fresh
        orders = [f"{person.id}-{self.random.randint(1, 3)}", *settled]
        search, update = ("search", {"query": f"shoes {number}"}), ("update", {pick(["colour", "size", "a.b"]): number})
        payloads: list[tuple[str, dict[str, Any]]] = [
            *(search, search, update, update),
            ("update", {"tags": [pick(["vip", "-vip", "new", "-new"])], "size": number}),
            ("login", {"email": f"{pick(['ana', 'bob', 'eve', 'joe'])}@example.com", "size": number}),
            ("confirmation", {"orderId": pick(orders), "total": self.random.randint(0, 9)}),
            ("emailopen", {}),
        ]
        return pick(payloads)


# --- Between the client and the function -----------------------------------------------------------


@dataclass
class Line:
    """From the client to the function, by way of the gateway."""

    injector: FaultInjector
    story: Story
    step: Step
    not_alone: bool
    """Another request stores events at the same time."""
    requests: int = 0

    def post(self, path: str, body: Any) -> Answer | None:
        injector, random = self.injector, self.injector.random
        self.requests += 1
        injector.severity = severity = random.choice(SEVERITIES)
        injector.another_request = lambda: self.post_meanwhile(path, body)
        if random.random() < severity / 4:
            return random.choice([None, Answer(429, {}, "")])
        happened, stored = injector.happened.copy(), self.stored()
        try:
            answer = call("POST", path, body, self.story.account.name)
        except Crash:
            return random.choice([None, Answer(500, {}, "")])
        assert_order_of_changes(self.step, answer, self.not_alone)
        may_be_stored = {name.split(",")[0] for name in injector.happened - happened} & MAY_BE_STORED
        if answer.status >= 500 and not may_be_stored:
            assert self.stored() == stored, (answer.status, self.step.sent)
        return None if random.random() < severity / 4 else answer

    def stored(self) -> Counter[str]:
        return Counter() if self.not_alone else events_of(self.story.account)

    def post_meanwhile(self, path: str, body: Any) -> None:
        """Send the same request to another function, without faults."""
        severity, self.injector.severity = self.injector.severity, 0.0
        call("POST", path, body, self.story.account.name)
        self.injector.severity = severity


# --- The function ---------------------------------------------------------------------------------

Shop = Callable[[int], AbstractContextManager[tuple[Account, FaultInjector]]]


@pytest.fixture
def shop(dynamodb_local_client: DynamoDBClient, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """Return a context, by a seed: an account in a new table, whose client has no faults. The functions' clients do."""
    clock = Clock()
    for module in (calls, collect, runtime, botocore.endpoint):
        monkeypatch.setattr(module, "time", clock)
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", dynamodb_local_client.meta.endpoint_url)
    clients = new_client(), new_client(FAIL_FAST_CONFIG)
    monkeypatch.setattr(runtime, "client", clients[0])
    monkeypatch.setattr(runtime, "_fail_fast_client", lambda: clients[1])
    # On Lambda a process handles one request at a time, so two at once have no correct metrics.
    monkeypatch.setattr(runtime, "publish", lambda: None)

    @contextmanager
    def new(seed: int) -> Iterator[tuple[Account, FaultInjector]]:
        injector = FaultInjector(Random(seed), clock)
        with ExitStack() as until_the_end:
            table = until_the_end.enter_context(new_table(dynamodb_local_client, f"obedient-{uuid4()}"))
            monkeypatch.setattr(runtime, "TABLE_NAME", table.name)
            for each in clients:
                until_the_end.enter_context(faults.hooked(each, "before-send.dynamodb", injector.choose_fault))
            yield Account(table, "shop"), injector

    yield new
    for each in clients:
        each.close()


# --- What must hold -------------------------------------------------------------------------------


def body_of(step: Step) -> tuple[str, Any]:
    entries = [each.entry for each in step.sent]
    return ("/event", entries[0]) if step.alone else ("/events", {"events": entries})


def results_of(step: Step, answer: Answer) -> Any:
    """Return the result of each event of a batch, or of a single event."""
    return [as_result(answer)] if step.alone else answer.body["results"]


def compare(step: Step, answer: Answer) -> None:
    """Assert that settled events have the outcome of the model."""
    for which in zip(step.sent, step.expected, results_of(step, answer), strict=True):
        _, expected, result = which
        if result["status"] == "failed":
            continue
        possible = {expected.status, "duplicate"} if expected.status == "created" else {expected.status}
        assert result["status"] in possible, which
        if expected.status != "refused":
            assert result["userId"] == expected.user_id, which
        if result["status"] == "duplicate":
            assert result["samePayload"] == (expected.same is not False), which


def assert_order_of_changes(step: Step, answer: Answer, not_alone: bool) -> None:
    """Assert that no change of a user is stored after a `failed` event that would have changed the same user.

    A login that was stored as an event of another user changes no user when it is sent again. If another request gave
    its sender an email in between, its failure does not count for that other user.
    """
    if step.alone or "results" not in answer.body:
        return
    failed: set[str | None] = set()
    for sent, expected, result in zip(step.sent, step.expected, results_of(step, answer), strict=True):
        if expected.status == "created" and (sent.type != "search" or sent.fields):
            assert not (result["status"] == "created" and expected.user_id in failed), (sent, answer.body)
            may_be_repeat = not_alone and "@" not in sent.who and sent.who != expected.user_id
            if result["status"] == "failed" and not may_be_repeat:
                failed.add(expected.user_id)


def events_of(account: Account) -> Counter[str]:
    return Counter(item["id"]["S"] for item in everything(account.table) if item["sk"]["S"].startswith("EVENT#"))


def assert_equal_to_model(account: Account, model: Contract) -> None:
    for person in model.people:
        profile = the_profile(account, person.id)
        del profile["createdOn"]
        assert profile == shown(person)
        page, _ = users.timeline(person.id, {"limit": "100"}, account, a_moment())
        found = [(event.happened_at, event.id, event.type, event.payload) for event in page]
        kept = [(each.at, each.id, each.type, as_sent(each.payload)) for each in person.events]
        assert sorted(found, key=repr) == sorted(kept, key=repr)
    assert events_of(account) == Counter(each.id for person in model.people for each in person.events)


# --- Tests ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("callers", [1, 2])
def test_each_event_is_stored_once_or_settled_with_any_faults(shop: Shop, figures: Figures, callers: int) -> None:
    """Also if two clients send the same at once."""
    events = requests = 0
    happened: Counter[str] = Counter()
    for run in range(RUNS):
        with shop(SEED + run) as (account, injector), ThreadPoolExecutor(callers) as pool:
            story = Story(account, injector.random)
            sending = [pool.submit(send_all, story, injector, callers > 1) for _ in range(callers)]
            requests += sum(each.result() for each in sending)
            assert_equal_to_model(account, story.model)
        events += len(story.sent)
        happened += injector.happened
    who = ", two clients at once" * (callers - 1)
    figures(f"`test_obedient_client.py`{who}", tried(RUNS, events, requests, happened), 0)


def tried(runs: int, events: int, requests: int, happened: Counter[str]) -> str:
    what = f"{runs:,} runs, {events:,} events in {requests:,} requests"
    return f"{what}, {happened.total():,} faults of {len(happened)} kinds"


def send_all(story: Story, injector: FaultInjector, not_alone: bool) -> int:
    """Return the number of requests."""
    lines = [Line(injector, story, step, not_alone) for step in story.steps]
    for line in lines:
        compare(line.step, settle(line.post, *body_of(line.step)))
    return sum(line.requests for line in lines)


class ToFunction(httpx.BaseTransport):
    """The connection of an outbox."""

    def __init__(self, line: Line) -> None:
        self.line = line

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = self.line.post("/events", json.loads(gzip.decompress(request.read())))
        if answer is None:
            raise httpx.ReadError("no answer")
        return httpx.Response(answer.status, headers=answer.headers, text=answer.text)


def test_an_outbox_loses_nothing_and_stores_nothing_twice_with_any_faults(
    shop: Shop, figures: Figures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It makes its own batches of the events. Its file is opened again for each step."""
    settle = vars(Outbox)["_settle"]
    monkeypatch.setattr(Outbox, "_settle", lambda *arguments: 0 * settle(*arguments))  # seconds to wait
    monkeypatch.setattr(outbox, "LONGEST_WAIT", 0)
    runs, events, requests = RUNS // 3, 0, 0
    happened: Counter[str] = Counter()
    for run in range(runs):
        with shop(SEED + run) as (account, injector):
            story = Story(account, injector.random)
            line = Line(injector, story, Step([], [], alone=True), not_alone=False)
            to_function = ToFunction(line)
            for step in story.steps:
                with Outbox(tmp_path / f"{run}.db", url="http://api", key="key", transport=to_function) as opened:
                    for sent in step.sent:
                        opened.add(sent.entry["user"], sent.entry["event"], sent.id, sent.at)
                    assert opened.flush(60)
                    rejected = [each.event_id for each in opened.rejected()]
            of_model = [
                (sent.id, expected.status)
                for step in story.steps
                for sent, expected in zip(step.sent, step.expected, strict=True)
            ]
            assert rejected == [event_id for event_id, status in of_model if status == "refused"]
            assert_equal_to_model(account, story.model)
        events, requests = events + len(story.sent), requests + line.requests
        happened += injector.happened
    assert not [each for each in caplog.records if each.exc_info]
    figures("`test_obedient_client.py`, `Outbox`", tried(runs, events, requests, happened), 0)
