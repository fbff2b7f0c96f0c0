"""Contract 1.1 as a model in memory (tests/contract.py); the system is the real code on AWS's own engine.

hypothesis makes up batches and single events in any order, with ids that come again and times late, early and equal,
checks between them, changes of users and erasures. Every answer, every profile and every timeline is compared with what
the model says of the events, one after the other. `make stress` runs many more of them.
"""

import contextlib
import json
from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from builders import EMAIL_OPEN_WINDOW, a_moment, as_sent, the_profile
from contract import Contract, Expected, Person, Sent, shown
from domain import users
from domain.collect import collect, collect_one
from domain.erasure import erase_leftovers
from domain.outcomes import Outcome
from domain.problems import Conflict, NotFound, Refused
from domain.request import parse_batch, parse_request
from domain.table import Account
from domain.table.calls import Table
from domain.table.overlay import Overlay
from domain.times import iso
from engines import new_table
from figures import STRESS, Figures

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

EXAMPLES = 15 * STRESS
ADDRESSES = ["ana@example.com", "bob@example.com", "eve@example.com"]

names = st.sampled_from(["colour", "size", "a.b", "#", "city"])
values = st.sampled_from([None, True, "", "red", 7, ["x", 1], {"a.b": {"#": None}}])
tags = st.lists(st.sampled_from(["vip", "-vip", "new", "-new"]), max_size=3)
attributes = st.dictionaries(names, values, min_size=1, max_size=3)
# Minutes from now at which something happened; some of them just inside and just outside of a limit.
minutes = st.sampled_from([0, 0, 0, 4, -1, -4, -5, -6, -19, -20, -21, -40, -600, -601, -615, -20 * 24 * 60])
milliseconds = st.sampled_from([0, 0, 0, -1, 1])
payloads = st.one_of(
    st.tuples(st.just("search"), st.fixed_dictionaries({"query": st.sampled_from(["x", "y"])})),
    st.tuples(st.just("update"), attributes),
    st.tuples(st.just("update"), st.fixed_dictionaries({"tags": tags, "colour": values})),
    st.tuples(st.just("login"), st.fixed_dictionaries({"email": st.sampled_from(ADDRESSES), "size": values})),
    st.tuples(
        st.just("confirmation"),
        st.fixed_dictionaries({"orderId": st.sampled_from(["1", "2", "3"])}, optional={"total": st.integers(0, 9)}),
    ),
    st.tuples(st.just("emailopen"), st.just({})),
    st.tuples(st.just("emailopen"), st.just({})),
)
cities: list[dict[str, str]] = [{}, {}, {}, {"city": "Rome"}, {"city": "Vigo"}]
ids = st.sampled_from(["a", "b", "c/1"]) | st.none()
moments = st.tuples(minutes, milliseconds)
sketches = st.tuples(st.integers(0, 9), st.booleans(), payloads, ids, moments, st.sampled_from(cities))


class Shop(RuleBasedStateMachine):
    client: "DynamoDBClient"
    histories = steps = events = 0

    def __init__(self) -> None:
        super().__init__()
        Shop.histories += 1
        self.resources = contextlib.ExitStack()
        self.table: Table = self.resources.enter_context(new_table(self.client, f"model-{uuid4()}"))
        self.account = Account(self.table, "shop")
        self.model = Contract()
        self.now = a_moment()
        self.gone: list[str] = []
        self.fresh = 0

    def teardown(self) -> None:
        self.resources.close()

    # --- Users ------------------------------------------------------------------------------------

    @rule(email=st.none() | st.sampled_from(ADDRESSES), sent=st.just({}) | attributes)
    def create(self, email: str | None, sent: dict[str, Any]) -> None:
        if email and self.model.named(email):
            return
        profile = users.create(as_sent({**sent, "email": email}), self.account, self.now).profile
        person = Person(profile.id, email)
        person.set(sent, [], self.now)
        self.model.people.append(person)

    @precondition(lambda self: self.model.people)
    @rule(who=st.integers(0, 9), sent=attributes)
    def change(self, who: int, sent: dict[str, Any]) -> None:
        person = self.person(who)
        users.change(person.id, as_sent(sent), False, self.account, self.now)
        person.set(sent, [], max(self.now, person.changed_at))

    @precondition(lambda self: self.model.people)
    @rule(who=st.integers(0, 9), name=names)
    def remove(self, who: int, name: str) -> None:
        person = self.person(who)
        users.remove_attribute(person.id, name, self.account)
        person.attributes.pop(name, None)

    @precondition(lambda self: self.model.people)
    @rule(who=st.integers(0, 9))
    def erase(self, who: int) -> None:
        person = self.person(who)
        users.erase(person.id, self.account, self.now)
        self.model.people.remove(person)
        self.gone.append(person.id)

    @precondition(lambda self: self.gone)
    @rule(who=st.integers(0, 9))
    def upsert_the_erased(self, who: int) -> None:
        with contextlib.suppress(Conflict):
            users.change(self.gone[who % len(self.gone)], {}, True, self.account, self.now)
            raise AssertionError("no Conflict")

    # --- Events -----------------------------------------------------------------------------------

    @precondition(lambda self: self.model.people)
    @rule(sketch=sketches)
    def one(self, sketch: Any) -> None:
        [sent] = self.sent([sketch])
        expected = self.model.takes(sent)
        try:
            outcome: Outcome | Refused = collect_one(self.request(sent), self.account, self.now)
        except NotFound as refused:
            outcome = refused
        self.compare(sent, expected, outcome)

    @precondition(lambda self: self.model.people)
    @rule(sketches=st.lists(sketches, min_size=1, max_size=8))
    def many(self, sketches: list[Any]) -> None:
        sent = self.sent(sketches)
        for each, expected, outcome in zip(
            sent, map(self.model.takes, sent), self.batch(sent, self.account), strict=True
        ):
            self.compare(each, expected, outcome)

    @precondition(lambda self: self.model.people)
    @rule(sketches=st.lists(sketches, min_size=1, max_size=8))
    def check(self, sketches: list[Any]) -> None:
        sent, before, model = self.sent(sketches), self.stored(), self.model.copy()
        outcomes = self.batch(sent, Account(Overlay.over(self.table), "shop"))
        for each, expected, outcome in zip(sent, map(model.takes, sent), outcomes, strict=True):
            self.compare(each, expected, outcome)
        assert self.stored() == before

    # --- What happens meanwhile -------------------------------------------------------------------

    @rule(minutes=st.sampled_from([1, 5, 20, 24 * 60]), milliseconds=milliseconds)
    def time_passes(self, minutes: int, milliseconds: int) -> None:
        self.now += timedelta(minutes=minutes, milliseconds=milliseconds)

    @rule()
    def leftovers_are_erased(self) -> None:
        erase_leftovers(self.table, self.now)

    @precondition(lambda self: self.model.people)
    @rule()
    def ttl_has_run(self) -> None:
        """Items past their time are gone: with them the locks of windows."""
        for item in self.stored():
            if "expiresAt" in item and int(item["expiresAt"]["N"]) < self.now.timestamp():
                self.table.client.delete_item(TableName=self.table.name, Key={"pk": item["pk"], "sk": item["sk"]})

    # --- What must hold ---------------------------------------------------------------------------

    @invariant()
    def everybody_is_as_the_model_says(self) -> None:
        Shop.steps += 1
        for person in self.model.people:
            profile = the_profile(self.account, person.id)
            del profile["createdOn"]
            assert profile == shown(person)
            page, cursor = users.timeline(person.id, {"limit": "100"}, self.account)
            assert cursor is None
            told = [(event.happened_at, event.id, event.type, event.payload) for event in page]
            assert [each[0] for each in told] == sorted((each[0] for each in told), reverse=True)
            kept = [(each.at, each.id, each.type, as_sent(each.payload)) for each in person.events]
            assert sorted(told, key=repr) == sorted(kept, key=repr)
            opens = sorted(event.happened_at for event in page if event.type == "emailopen")
            assert all(later - earlier >= EMAIL_OPEN_WINDOW for earlier, later in pairwise(opens))

    @invariant()
    def nothing_of_the_erased_is_named(self) -> None:
        self.fresh += 1
        if self.gone and self.fresh % 5 == 0:
            erase_leftovers(self.table, self.now + timedelta(days=1))
            text = json.dumps(self.stored())
            assert not [user_id for user_id in self.gone if user_id in text]

    # --- How it is put ----------------------------------------------------------------------------

    def person(self, who: int) -> Person:
        return self.model.people[who % len(self.model.people)]

    def sent(self, sketches: Sequence[Any]) -> list[Sent]:
        return [self.sketched(*sketch) for sketch in sketches]

    def sketched(
        self, who: int, by_id: bool, event: Any, event_id: str | None, moment: tuple[int, int], fields: Any
    ) -> Sent:
        person = self.person(who)
        named = person.id if by_id or person.email is None else person.email
        if who == 9:
            named = ADDRESSES[self.fresh % 3]  # perhaps somebody's, perhaps one that a login claims
        self.fresh += 1
        at = self.now + timedelta(minutes=moment[0], milliseconds=moment[1])
        return Sent(named, event[0], event[1], event_id or f"fresh-{self.fresh}", at, fields)

    def request(self, sent: Sent) -> Any:
        return parse_request(as_sent(sent.entry), self.now)

    def batch(self, sent: Sequence[Sent], account: Account) -> list[Outcome | Refused]:
        Shop.events += len(sent)
        body = as_sent({"events": [each.entry for each in sent]})
        return collect(parse_batch(body, self.now, lambda _: None), account, self.now)

    def stored(self) -> list[dict[str, Any]]:
        pages: Any = self.client.get_paginator("scan").paginate(TableName=self.table.name)
        return sorted((item for page in pages for item in page["Items"]), key=repr)

    def ids_of_the_living(self) -> set[str]:
        """The order of an erased user stays taken, but its event is not called by a caller's id any more."""
        return {event.id for person in self.model.people for event in person.events if event.type == "confirmation"}

    def compare(self, sent: Sent, expected: Expected, outcome: Outcome | Refused) -> None:
        if isinstance(outcome, Refused):
            assert (expected.status, type(outcome)) == ("refused", NotFound), (sent, expected, outcome)
            return
        said = (outcome.status, outcome.user_id, outcome.event_id)
        assert said == (expected.status, expected.user_id, sent.id), (sent, expected, outcome)
        if expected.status == "duplicate":
            assert (outcome.same_payload, outcome.created_on) == (expected.same, iso(sent.at))
        if expected.status == "discarded":
            assert outcome.first, "the stored event is named"
            if sent.type == "confirmation" and not expected.first & self.ids_of_the_living():
                assert outcome.first.same_payload in (expected.same, None), "its digest goes with the user"
                return
            assert outcome.first.event_id in expected.first
            if expected.same is not None:
                assert outcome.first.same_payload == expected.same


def test_a_batch_means_what_its_events_mean_one_after_the_other(
    dynamodb_local_client: "DynamoDBClient", figures: Figures
) -> None:
    Shop.client = dynamodb_local_client
    run_state_machine_as_test(
        Shop,
        settings=settings(
            max_examples=EXAMPLES, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
    figures(
        "`test_model_of_batches.py`",
        f"{Shop.histories:,} histories, {Shop.steps:,} steps, {Shop.events:,} events in batches and checks",
        0,
    )
