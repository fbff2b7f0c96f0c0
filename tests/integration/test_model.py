"""The contract as a model in memory; the system is the real code on AWS's own engine.

hypothesis makes up requests in any order, lets time pass, and compares every answer, every profile and every
timeline with what the model allows. `make stress` runs many more of them.
"""

import contextlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from builders import (
    EMAIL_OPEN_IN_WINDOW,
    EMAIL_OPEN_WINDOW,
    ORDER_ID_SEEN,
    a_moment,
    as_sent,
    send,
    the_events,
    the_profile,
)
from domain.outcomes import IdempotencyKey, Outcome
from domain.problems import Conflict, KeyReused, NotFound
from domain.restrictions import Restriction
from engines import new_table
from figures import STRESS, Figures
from table import Account
from table.calls import Table
from use_cases import users
from use_cases.erasure import erase_leftovers

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

EXAMPLES = 15 * STRESS

emails = st.sampled_from(["ana@example.com", "bob@example.com", "eve@example.com"])
people = st.integers(0, 7)  # the how-manieth user ever made
values = st.sampled_from([None, True, "", "red", 7, "0.10", ["x", 1], {"a.b": {"#": None}}])
names = st.sampled_from(["colour", "size", "a.b", "#"])
tags = st.lists(st.sampled_from(["vip", "-vip", "New", "-new"]), max_size=3)
keys = st.none() | st.sampled_from(["key-1", "key-2"])
totals = st.sampled_from([None, 1, "0.10", "19.99", "many"])


@dataclass
class Person:
    """What the model knows of a user."""

    id: str
    email: str | None
    attributes: dict[str, Any] = field(default_factory=dict)
    tags: set[str] = field(default_factory=set)
    purchases: int = 0
    spent: Decimal = Decimal(0)
    opens_until: datetime | None = None
    events: list[str] = field(default_factory=list)


class Shop(RuleBasedStateMachine):
    client: "DynamoDBClient"
    histories = steps = 0

    def __init__(self) -> None:
        super().__init__()
        Shop.histories += 1
        self.resources = contextlib.ExitStack()
        self.table: Table = self.resources.enter_context(new_table(self.client, f"model-{uuid4()}"))
        self.account = Account(self.table, "shop")
        self.now = a_moment()
        self.made: list[Person] = []
        self.alive: list[Person] = []
        self.orders: set[str] = set()
        self.remembered: dict[str, tuple[str, Outcome, datetime]] = {}

    def teardown(self) -> None:
        self.resources.close()

    # --- What callers do --------------------------------------------------------------------------

    @rule(email=st.none() | emails)
    def create(self, email: str | None) -> None:
        if email and self.owner(email):
            with_conflict(lambda: users.create({"email": email}, self.account, self.now))
            return
        profile = users.create({"email": email}, self.account, self.now).profile
        self.made.append(Person(profile.id, email))
        self.alive.append(self.made[-1])

    @precondition(lambda self: self.made)
    @rule(who=people, name=names, value=values, tags=tags, key=keys)
    def update(self, who: int, name: str, value: Any, tags: list[str], key: str | None) -> None:
        person = self.person(who)
        if self.sent(person, {"update": {name: value, "tags": tags}}, key, person):
            person.attributes[name] = as_sent(value)
            for tag in tags:
                (person.tags.discard if tag.startswith("-") else person.tags.add)(tag.strip("-").lower())

    @precondition(lambda self: self.made)
    @rule(who=people, order=st.integers(1, 4), total=totals, key=keys)
    def order(self, who: int, order: int, total: Any, key: str | None) -> None:
        person = self.person(who)
        reason = ORDER_ID_SEEN if str(order) in self.orders else None
        event = {"confirmation": {"orderId": order} | ({} if total is None else {"total": total})}
        if self.sent(person, event, key, person, reason):
            self.orders.add(str(order))
            person.purchases += 1
            person.spent += Decimal(str(total)) if total not in (None, "many") else 0

    @precondition(lambda self: self.made)
    @rule(who=people, key=keys)
    def open_email(self, who: int, key: str | None) -> None:
        person = self.person(who)
        in_window = person.opens_until is not None and self.now < person.opens_until
        if self.sent(person, {"emailopen": {}}, key, person, EMAIL_OPEN_IN_WINDOW if in_window else None):
            person.opens_until = self.now + EMAIL_OPEN_WINDOW

    @precondition(lambda self: self.made)
    @rule(who=people, email=emails, name=names)
    def log_in(self, who: int, email: str, name: str) -> None:
        person = self.person(who)
        target = person if person.email else self.owner(email) or person
        if self.sent(person, {"login": {"email": email, name: "login"}}, None, target):
            target.attributes[name] = "login"
            target.email = target.email or email

    @precondition(lambda self: self.made)
    @rule(who=people, key=keys)
    def search(self, who: int, key: str | None) -> None:
        self.sent(self.person(who), {"search": {"query": "x"}}, key, self.person(who))

    @precondition(lambda self: self.made)
    @rule(who=people)
    def erase(self, who: int) -> None:
        person = self.person(who)
        if person not in self.alive:
            with_not_found(lambda: users.erase(person.id, self.account, self.now))
            return
        users.erase(person.id, self.account, self.now)
        self.alive.remove(person)
        # Nothing answers about them any more, also before their leftovers are gone: their keys are free.
        self.remembered = {
            key: entry
            for key, entry in self.remembered.items()
            if entry[1].restriction or entry[1].user_id != person.id
        }

    # --- What happens meanwhile -------------------------------------------------------------------

    @rule(minutes=st.sampled_from([1, 19, 20, 60, 24 * 60]), milliseconds=st.sampled_from([-1, 0, 1]))
    def time_passes(self, minutes: int, milliseconds: int) -> None:
        self.now += timedelta(minutes=minutes, milliseconds=milliseconds)

    @rule()
    def leftovers_are_erased(self) -> None:
        erase_leftovers(self.table, self.now)

    # --- What must hold ---------------------------------------------------------------------------

    @invariant()
    def everybody_is_as_the_model_says(self) -> None:
        Shop.steps += 1
        for person in self.alive:
            profile = the_profile(self.account, person.id)
            del profile["createdOn"]
            purchases = {"isCustomer": True, "numberOfPurchases": person.purchases} if person.purchases else {}
            for name in ("lastPurchaseDate", "lastPurchaseValue", "lastEmailOpenDate"):
                profile.pop(name, None)
            assert profile.pop("totalPurchasesValue", Decimal(0)) == person.spent
            expected = {"_id": person.id, **purchases, **person.attributes}
            expected |= {"email": person.email} if person.email else {}
            expected |= {"tags": sorted(person.tags)} if person.tags else {}
            assert profile == expected
            assert sorted(the_events(self.account, person.id)) == sorted(person.events)

    # --- How it is put ----------------------------------------------------------------------------

    def person(self, who: int) -> Person:
        return self.made[who % len(self.made)]

    def owner(self, email: str) -> Person | None:
        return next((person for person in self.alive if person.email == email), None)

    def sent(
        self, person: Person, event: dict[str, Any], key: str | None, target: Person, reason: Restriction | None = None
    ) -> bool:
        """Sends the event and checks its answer. True when it is created now."""
        body = f"{person.id}{event}"
        idempotency_key = IdempotencyKey.of(key, body.encode()) if key else None
        first = self.remembered.get(key or "")
        remembered = first if first and self.now < first[2] else None
        if person not in self.alive:
            with_not_found(lambda: send(self.account, event, self.now, idempotency_key, _id=person.id))
            return False
        if remembered and remembered[0] != body:
            with_key_reused(lambda: send(self.account, event, self.now, idempotency_key, _id=person.id))
            return False
        answer = send(self.account, event, self.now, idempotency_key, _id=person.id)
        assert answer.replayed == bool(remembered)
        if remembered:
            assert (answer.event_id, answer.restriction) == (remembered[1].event_id, remembered[1].restriction)
            return False
        assert (answer.user_id, answer.restriction) == (target.id, reason)
        if key:
            self.remembered[key] = (body, answer, (self.now + timedelta(hours=24)).replace(microsecond=0))
        if reason:
            return False
        target.events.append(answer.event_id)
        return True


def with_conflict(call: Any) -> None:
    with contextlib.suppress(Conflict):
        call()
        raise AssertionError("no Conflict")


def with_not_found(call: Any) -> None:
    with contextlib.suppress(NotFound):
        call()
        raise AssertionError("not NotFound")


def with_key_reused(call: Any) -> None:
    with contextlib.suppress(KeyReused):
        call()
        raise AssertionError("no KeyReused")


def test_the_system_does_what_the_model_of_the_contract_does(
    dynamodb_local_client: "DynamoDBClient", figures: Figures
) -> None:
    Shop.client = dynamodb_local_client
    run_state_machine_as_test(
        Shop,
        settings=settings(
            max_examples=EXAMPLES, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
    compared = "every profile and timeline compared after each"
    figures("`test_model.py`", f"{Shop.histories:,} histories, {Shop.steps:,} steps; {compared}", 0)
