"""The contract as a model in memory (tests/contract.py); the system are the real functions on AWS's own engine.

hypothesis generates requests, right and wrong ones. The model takes the events one after the other. Every answer,
profile and timeline, the counts of GET /v1/refusals and the messages of the feed are compared with it. `make stress`
runs many more of them, `--hypothesis-seed` others.
"""

import contextlib
import copy
import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import chain, pairwise
from typing import Any, ClassVar, NamedTuple
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from mypy_boto3_dynamodb import DynamoDBClient
from mypy_boto3_dynamodbstreams import DynamoDBStreamsClient

from api.gateway import Answer, answer_to, proxy_event
from builders import a_moment, as_sent, the_pages, the_profile
from contract import REMEMBERED, WINDOWS, Contract, Expected, Person, Reason, Sent, Wrong, as_result, hour_of, shown
from declared import with_declared_types
from domain.ids import new_id
from domain.news import VERSION
from domain.outcomes import StoredEvent
from domain.times import iso
from engines import new_table
from figures import STRESS, Figures
from handlers import rest, runtime
from local import aws
from stored import as_text, everything
from stream import Bus, Pump, as_lambda_has_it
from table import Account
from table import primary_keys as keys
from table.calls import Table
from use_cases.erasure import erase_leftovers

EXAMPLES = 15 * STRESS
SHOP = "shop"
ADDRESSES = ["ana@example.com", "bob@example.com", "eve@example.com"]
DAY = 24 * 60
TRIED = ("histories", "steps", "events", "events checked", "refusals counted", "records published")
CODES = {
    "confirmation": "order_id_seen", "refund": "refund_id_seen", "review": "review_id_seen",
    "emailopen": "email_open_in_window", "emailclick": "email_click_in_window",
}  # fmt: skip
SEARCH = {"event": {"search": {"query": "x"}}}
WRONG = [
    Wrong(Reason("missing_event", "", "event"), {"event": {}}),
    Wrong(Reason("invalid_event", "", "event"), {"event": [7]}),
    Wrong(Reason("more_than_one_event", "", "event"), {"event": {"search": {"query": "x"}, "emailopen": {}}}),
    Wrong(Reason("unknown_event_type", "", "event"), {"event": {"ana@example.com": {}}}),
    Wrong(Reason("invalid_payload", "search", "event.search"), {"event": {"search": 7}}),
    Wrong(Reason("invalid_payload", "update", "event.update"), {"event": {"update": {}}}),
    Wrong(Reason("invalid_payload", "emailclick", "event.emailclick"), {"event": {"emailClick": None}}),
    Wrong(Reason("missing_field", "search", "event.search.query"), {"event": {"search": {}}}),
    Wrong(Reason("missing_field", "refund", "event.refund.refundId"), {"event": {"refund": {"orderId": 1}}}),
    Wrong(Reason("invalid_field", "review", "event.review.reviewId"), {"event": {"review": {"reviewId": ""}}}),
    Wrong(Reason("invalid_number", "search", "event.search"), {"event": {"search": {"query": "x", "who": 1e300}}}),
    Wrong(Reason("missing_user", "search", "user"), {**SEARCH, "user": {}}),
    Wrong(Reason("invalid_user", "search", "user"), {**SEARCH, "user": "ana@example.com"}),
    Wrong(Reason("missing_identifier", "search", "user"), {**SEARCH, "user": {"city": "Rome"}}),
    Wrong(Reason("invalid_email", "search", "user.email"), {**SEARCH, "user": {"email": "ana"}}),
    Wrong(Reason("invalid_id", "search", "user._id"), {**SEARCH, "user": {"_id": 7}}),
    Wrong(Reason("invalid_attribute", "search", "user.city"), {**SEARCH, "user": {"email": ADDRESSES[0], "city": 7}}),
    Wrong(Reason("user_not_found", "search", "user._id"), {**SEARCH, "user": {"_id": "nobody"}}),
    Wrong(Reason("invalid_event_id", "search", "eventId"), {**SEARCH, "eventId": "ñ"}),
    Wrong(Reason("missing_event_time", "search", "eventTime"), {**SEARCH, "eventId": "a", "eventTime": None}),
    Wrong(Reason("invalid_event_time", "search", "eventTime"), {**SEARCH, "eventTime": "yesterday"}),
]
WITHOUT_ID = Wrong(Reason("missing_event_id", "search", "eventId"), {**SEARCH, "eventId": None})
WRONG_BATCHES: list[tuple[Reason, Any]] = [
    (Reason("missing_events", "", "events"), {"events": []}),
    (Reason("invalid_events", "", "events"), {"events": {}}),
    (Reason("too_many_events", "", "events"), {"events": [{}] * 101}),
    (Reason("invalid_import", "", "import"), {"events": [{}], "import": "yes"}),
    (Reason("invalid_json"), '{"events": ['),
]

names = st.sampled_from(["colour", "size", "a.b", "#", "city"])
values = st.sampled_from([None, True, "", "red", 7, ["x", 1], {"a.b": {"#": None}}])
tags = st.lists(st.sampled_from(["vip", "-vip", "new", "-new"]), max_size=3)
attributes = st.dictionaries(names, values, min_size=1, max_size=3)
# Minutes from now at which something happened; some of them just inside and just outside of a limit.
usual = [0, 0, 0, 4, -1, -4, -5, -6, -9, -10, -19, -20, -21, -40, -600, -601, -615, -20 * DAY]
minutes = st.sampled_from([*usual, *usual, 5, 6, -35 * DAY, -36 * DAY, -3000 * DAY, -12000 * DAY])
milliseconds = st.sampled_from([0, 0, 0, -1, 1])
one_of, made = st.sampled_from, st.fixed_dictionaries
total = {"total": st.integers(0, 9)}
KINDS: list[tuple[str, st.SearchStrategy[dict[str, Any]]]] = [
    ("search", made({"query": one_of(["x", "y"])})),
    ("update", attributes),
    ("update", made({"tags": tags, "colour": values})),
    ("login", made({"email": one_of(ADDRESSES), "size": values})),
    ("confirmation", made({"orderId": one_of(["1", "2", 2, "3"])}, optional=total)),
    *[("emailopen", made({}))] * 2,
    ("refund", made({"refundId": one_of(["1", 1, "2"]), "orderId": one_of(["1", 2])}, optional=total)),
    ("review", made({"reviewId": one_of(["1", 1])})),
    ("emailclick", one_of([{}, {"link": "x"}])),
]
payloads = st.one_of(*(st.tuples(st.just(name), payload) for name, payload in KINDS))
cities = one_of([{}, {}, {}, {"city": "Rome"}, {"city": "Vigo"}])
ids = st.sampled_from(["a", "b", "c/1"]) | st.none()
moments = st.tuples(minutes, milliseconds)
whoever = st.integers(0, 9)
STRANGERS = ["01900000-0000-7000-8000-000000000000", "01900000-0000-7000-8000-000000000001", "dan@example.com"]


class Sketch(NamedTuple):
    """An event to send, without its user and time."""

    who: int
    by_id: bool
    event: tuple[str, dict[str, Any]]
    event_id: str | None
    moment: tuple[int, int]
    fields: dict[str, str]
    wrong: Wrong | None


def sketches(wrong: Sequence[Wrong]) -> st.SearchStrategy[Sketch]:
    """About one in seven is wrong."""
    wrongs = st.sampled_from([*wrong, *[None] * 6 * len(wrong)])
    return st.builds(Sketch, whoever, st.booleans(), payloads, ids, moments, cities, wrongs)


batches = st.lists(sketches([*WRONG, WITHOUT_ID, Wrong(Reason("invalid_events"), None)]), min_size=1, max_size=8)
seldom = st.sampled_from([False, False, True])


def on_people(**drawn: Any) -> Callable[[Any], Any]:
    """Make a rule for while there is a user."""
    made: Any = rule(**drawn)
    return lambda method: precondition(lambda self: self.model.people)(made(method))


class Shop(RuleBasedStateMachine):
    client: DynamoDBClient
    streams: DynamoDBStreamsClient
    bus: Bus
    tried: ClassVar[Counter[str]] = Counter()
    now: datetime

    def __init__(self) -> None:
        super().__init__()
        Shop.tried["histories"] += 1
        self.resources = contextlib.ExitStack()
        self.table: Table = self.resources.enter_context(new_table(self.client, f"model-{uuid4()}"))
        self.account = Account(self.table, SHOP)
        self.stream = Stream(self.streams, self.table)
        self.patched = self.resources.enter_context(pytest.MonkeyPatch.context())
        self.patched.setattr(runtime, "TABLE_NAME", self.table.name)
        self.patched.setattr(rest, "now", lambda: self.now)
        # Without time limits, for a slow machine, and without combinations of reasons that share a place.
        self.patched.setattr(rest, "table", lambda: self.table)
        self.patched.setattr("use_cases.erasure.STEP_SECONDS", math.inf)
        self.patched.setattr("table.refusal_counts.COMBINATIONS", 10**18)
        self.model = Contract()
        self.told: dict[str, tuple[dict[str, Any], list[StoredEvent]]] = {}
        self.counted: list[dict[str, Any]] | None = None
        self.now = a_moment()
        self.gone: list[str] = []
        self.answers: dict[str, Answer] = {}
        self.earlier: list[Sent] = []
        self.fresh = self.requests = 0

    def teardown(self) -> None:
        self.resources.close()

    @initialize(event_days=st.sampled_from([0, 40, 40]))
    def create_first_users(self, event_days: int) -> None:
        self.model.event_days = event_days
        self.patched.setattr(rest, "EVENT_DAYS", event_days)
        self.create(ADDRESSES[0], {})
        self.create(None, {})

    @rule(email=st.none() | st.sampled_from(ADDRESSES), sent=st.just({}) | attributes)
    def create(self, email: str | None, sent: dict[str, Any]) -> None:
        answer = self.call("POST", "/user", {**sent, "email": email})
        if email and self.model.named(email):
            self.is_refused(answer, 409, Reason("user_exists", "", "email"))
            return
        person = Person(answer.body["object"]["_id"], email)
        person.set(sent, [], self.now)
        self.model.people.append(person)

    @on_people(who=whoever, sent=attributes)
    def change(self, who: int, sent: dict[str, Any]) -> None:
        person = self.person(who)
        assert self.of_user("PUT", person.id, sent).status == 200
        person.set(sent, [], max(self.now, person.changed_at))

    @on_people(who=whoever, name=names | st.sampled_from(["tags", "isCustomer"]))
    def remove(self, who: int, name: str) -> None:
        person = self.person(who)
        answer = self.of_user("DELETE", person.id, None, "/attributes/{name}", name=name)
        if name == "isCustomer":
            self.is_refused(answer, 400, Reason("system_attribute"))
            return
        assert answer.status == 200
        person.attributes.pop(name, None)
        if name == "tags":
            person.tags.clear()

    @on_people(who=whoever, email=st.sampled_from(ADDRESSES))
    def move(self, who: int, email: str) -> None:
        person = self.person(who)
        answer = self.of_user("PUT", person.id, {"email": email}, "/email")
        if self.model.moves(person, email):
            assert (answer.status, answer.body["object"]["email"]) == (200, email)
        else:
            self.is_refused(answer, 409, Reason("email_taken", "", "email"))

    @on_people(who=whoever, moments=st.tuples(moments, moments), limit=st.integers(1, 3))
    def look_at_a_part(self, who: int, moments: tuple[tuple[int, int], ...], limit: int) -> None:
        person = self.person(who)
        since, until = sorted(self.now + timedelta(minutes=each[0], milliseconds=each[1]) for each in moments)
        within = {"limit": str(limit), "from": iso(since), "to": iso(until)}
        pages = list(the_pages(self.account, person.id, self.now, **within))
        found = [(each.happened_at, each.id) for page in pages for each in page]
        assert sorted(found) == sorted((each.at, each.id) for each in person.events if since <= each.at < until)
        assert all(newer >= older for (newer, _), (older, _) in pairwise(found))
        assert all(len(page) == limit for page in pages[:-1])

    @on_people(who=whoever)
    def erase(self, who: int) -> None:
        person = self.person(who)
        assert self.of_user("DELETE", person.id).status == 200
        self.model.erase(person, self.now)
        self.gone.append(person.id)

    @precondition(lambda self: self.gone)
    @rule(who=whoever, upsert=st.booleans())
    def change_the_erased(self, who: int, upsert: bool) -> None:
        user_id = self.gone[who % len(self.gone)]
        answer = self.of_user("PUT", user_id, {}, queryStringParameters={"upsert": json.dumps(upsert)})
        reason = Reason("user_erased", "", "_id") if upsert else Reason("user_not_found", "", "user._id")
        self.is_refused(answer, 409 if upsert else 404, reason)

    @on_people(sketch=sketches(WRONG), predicted=seldom)
    def one(self, sketch: Sketch, predicted: bool) -> None:
        sent = self.sketched(sketch)
        check = self.check([sent]) if predicted else None
        result = as_result(self.call("POST", "/event", sent.entry))
        self.earlier.append(sent)
        expected = self.model.receives(sent, self.now)
        compare(sent, expected, result)
        self.refuses(expected.reason)
        if check:
            assert_predicted(check.body["results"][0], result)
        Shop.tried["events"] += 1

    @on_people(sketch=sketches(WRONG), other=sketches(WRONG), repeats=st.integers(0, 2))
    def under_a_key(self, sketch: Sketch, other: Sketch, repeats: int) -> None:
        """A request, the same again, and another one, all under one Idempotency-Key."""
        sent, another = self.sketched(sketch), self.sketched(other)
        self.fresh += 1
        for each in (sent, *[sent] * repeats, another):
            self.sent_under(f"key-{self.fresh}", each)

    @precondition(lambda self: self.model.keys)
    @rule(who=whoever)
    def again_under_its_key(self, who: int) -> None:
        key, (sent, _, _) = list(self.model.keys.items())[who % len(self.model.keys)]
        self.sent_under(key, sent)

    def sent_under(self, key: str, sent: Sent) -> None:
        known = self.model.keys.get(key)
        answer = self.call("POST", "/event", sent.entry, headers={"Idempotency-Key": key})
        expected = self.model.receives_under(key, sent, self.now)
        self.refuses(expected.reason)
        if known and known == self.model.keys[key] and not expected.reason:
            first = self.answers[key]
            again = {"Idempotent-Replayed": "true", "X-Request-Id": answer.headers["X-Request-Id"]}
            assert answer == replace(first, headers={**first.headers, **again})
        else:
            compare(sent, expected, as_result(answer))
            if not expected.reason:
                self.answers[key] = answer

    @on_people(sketches=batches, predicted=seldom, imported=st.booleans())
    def many(self, sketches: list[Sketch], predicted: bool, imported: bool) -> None:
        self.send(list(map(self.sketched, sketches)), predicted, imported=imported)

    many_more = many  # as probable as two rules

    @precondition(lambda self: self.earlier)
    @rule(which=st.integers(1, 9), number=st.integers(1, 3), predicted=seldom, days=st.sampled_from([0, 40, 40]))
    def import_again(self, which: int, number: int, predicted: bool, days: int) -> None:
        """Import some of the last events again. After 40 days they may have ended."""
        self.pass_time(timedelta(days=days))
        self.send(self.earlier[-which:][:number], predicted, imported=True)

    @on_people(sketches=batches, predicted=seldom, imported=seldom)
    def upserts(self, sketches: list[Sketch], predicted: bool, imported: bool) -> None:
        sent = [self.sketched(sketch, upsert=True) for sketch in sketches]
        self.send(sent, predicted, imported=imported, upsert=True)

    def send(self, sent: Sequence[Sent], predicted: bool, *, imported: bool, upsert: bool = False) -> None:
        check = self.check(sent, imported, upsert) if predicted else None
        answer = self.batch("/events", sent, imported, upsert)
        known = {person.id for person in self.model.people}
        self.refuses(*self.compare_all(sent, answer, self.model, imported, upsert))
        self.earlier += sent
        if check:
            body, unforeseen = check.body, dict[str, str]()
            for each, result, checked in zip(sent, answer.body["results"], body["results"], strict=True):
                if result.get("userId") not in {None, *known}:  # a check cannot foretell the id of a new user
                    ours, theirs = (keys.event_uuid(found["userId"], each.id, each.at) for found in (result, checked))
                    unforeseen[theirs] = ours  # nor the UUID of that user's event, which is made from it
                    checked["userId"] = result["userId"]
                if first := checked.get("first"):
                    first["eventId"] = unforeseen.get(first["eventId"], first["eventId"])
            assert (check.status, body) == (answer.status, {"stored": False, **answer.body})
        Shop.tried["events"] += len(sent)

    @on_people(sketches=batches, imported=seldom)
    def only_check(self, sketches: list[Sketch], imported: bool) -> None:
        sent = list(map(self.sketched, sketches))
        self.compare_all(sent, self.check(sent, imported), copy.deepcopy(self.model), imported)

    @rule(wrong=st.sampled_from(WRONG_BATCHES), checked=st.booleans())
    def a_wrong_batch(self, wrong: tuple[Reason, Any], checked: bool) -> None:
        reason, body = wrong
        answer = self.call("POST", "/events/check" if checked else "/events", body)
        assert (answer.status, answer.headers["X-Error-Code"]) == (400, reason.code)
        self.refuses(*[reason][checked:])

    @rule(minutes=one_of([0, 1, 5, 20, DAY]), milliseconds=milliseconds, what=one_of(["", "sweep", "TTL"]))
    def meanwhile(self, minutes: int, milliseconds: int, what: str) -> None:
        self.pass_time(timedelta(minutes=minutes, milliseconds=milliseconds))
        if what == "sweep":
            erase_leftovers(self.table, self.now)
        for item in everything(self.table) if what == "TTL" else ():
            if "expiresAt" in item and int(item["expiresAt"]["N"]) < self.now.timestamp():
                self.table.client.delete_item(TableName=self.table.name, Key={"pk": item["pk"], "sk": item["sk"]})

    def pass_time(self, time: timedelta) -> None:
        self.now += time
        self.model.time_is(self.now)
        self.told.clear()
        self.counted = None

    @invariant()
    def the_feed_and_all_readers_agree_with_the_model(self) -> None:
        """Compare everything; read again only what has changed by the table's stream."""
        Shop.tried["steps"] += 1
        records = self.stream.read()
        changed = {record["dynamodb"]["Keys"]["pk"]["S"] for record in records}
        self.check_feed(records)
        for person in self.model.people:
            if person.id not in self.told or keys.user(SHOP, person.id) in changed:
                events = chain.from_iterable(the_pages(self.account, person.id, self.now, limit="100"))
                self.told[person.id] = the_profile(self.account, person.id), list(events)
            assert_shown(person, *self.told[person.id])
        if self.counted is None or keys.refusals(SHOP) in changed:
            self.counted = list(self.refusals())
        self.check_refusals(self.counted)

    def check_feed(self, records: Sequence[Any]) -> None:
        self.bus.sent.clear()
        Pump().pump(records)
        created, erased = self.bus.published(), self.bus.published("UserErased")
        ids = [each.pop("id") for each in (*created, *erased)]
        assert len(ids) == len(set(ids))
        Shop.tried["records published"] += len(ids)
        assert len(ids) == len(self.bus.sent)
        head = {"version": VERSION, "account": SHOP}
        wanted = [
            {
                **head, "userId": person.id, "eventId": event.id, "type": event.type, "createdOn": iso(event.at),
                "receivedOn": iso(event.received_at), "imported": event.imported, "payload": event.payload,
            }
            for person, event in self.model.created
        ]  # fmt: skip
        assert as_sent(sorted(created, key=repr)) == as_sent(sorted(wanted, key=repr))
        assert erased == [{**head, "userId": who, "erasedOn": iso(at)} for who, at in self.model.erased]
        self.model.created.clear()
        self.model.erased.clear()

    def check_refusals(self, counted: Sequence[dict[str, Any]]) -> None:
        found = {
            (each["hour"], Reason(each["code"], each.get("type", ""), each.get("field", ""))): each for each in counted
        }
        assert len(found) == len(counted)
        oldest = hour_of(self.now - REMEMBERED)
        wanted = {key: counted for key, counted in self.model.refused.items() if key[0] >= oldest}
        assert {key: each["count"] for key, each in found.items()} == {key: len(each) for key, each in wanted.items()}
        for key, requests in wanted.items():  # functions' clocks differ: the last one, or one of its moment or later
            last_ids = {request_id for at, request_id in requests if at >= requests[-1][0]}
            assert found[key]["lastRequestId"] in last_ids

    @invariant()
    def nothing_of_the_erased_is_named(self) -> None:
        self.fresh += 1
        if self.gone and self.fresh % 5 == 0:
            erase_leftovers(self.table, self.now + timedelta(days=1))
            text = as_text(self.table)
            assert not [user_id for user_id in self.gone if user_id in text]

    def person(self, who: int) -> Person:
        return self.model.people[who % len(self.model.people)]

    def sketched(self, sketch: Sketch, *, upsert: bool = False) -> Sent:
        person = self.person(sketch.who)
        named = person.id if sketch.by_id or person.email is None else person.email
        if upsert and sketch.wrong and sketch.wrong.reason.code == "user_not_found":
            sketch = sketch._replace(wrong=None)
        if upsert and sketch.who == 7:
            named = [*STRANGERS, *self.gone][self.fresh % (len(STRANGERS) + len(self.gone))]
        also = person.id if sketch.who == 8 else None
        if sketch.who >= 8:
            named = ADDRESSES[self.fresh % 3]  # perhaps a user's, perhaps one that a login claims
        self.fresh += 1
        at = self.now + timedelta(minutes=sketch.moment[0], milliseconds=sketch.moment[1])
        if sketch.wrong:
            at = self.now  # so that nothing else is wrong
        own_time = bool(sketch.wrong or sketch.event_id or self.fresh % 3)
        event_id = sketch.event_id or (f"fresh-{self.fresh}" if own_time else new_id(at))
        return Sent(named, *sketch.event, event_id, at, sketch.fields, own_time, also, sketch.wrong)

    def call(self, method: str, path: str, body: Any = None, **parts: Any) -> Answer:
        self.requests += 1
        event = proxy_event(method, path, body, SHOP, **parts)
        event["requestContext"]["extendedRequestId"] = f"request-{self.requests}"
        return answer_to(event)

    def of_user(self, method: str, user_id: str, body: Any = None, path: str = "", **parts: Any) -> Answer:
        named = {"id": user_id, "name": parts.pop("name", "")}
        return self.call(method, f"/user/{{id}}{path}", body, pathParameters=named, **parts)

    def batch(self, path: str, sent: Sequence[Sent], imported: bool, upsert: bool) -> Answer:
        body = {"events": [each.entry for each in sent]} | ({"import": True} if imported else {})
        return self.call("POST", path, body, queryStringParameters={"upsert": json.dumps(upsert)})

    def check(self, sent: Sequence[Sent], imported: bool = False, upsert: bool = False) -> Answer:
        """Return the answer of the check, which must leave every item unchanged."""
        before = everything(self.table)
        answer = self.batch("/events/check", sent, imported, upsert)
        assert everything(self.table) == before
        assert answer.body["stored"] is False
        Shop.tried["events checked"] += len(sent)
        return answer

    def compare_all(
        self, sent: Sequence[Sent], answer: Answer, model: Contract, imported: bool, upsert: bool = False
    ) -> list[Reason]:
        """Compare each result; return why events were refused."""
        reasons = []
        for each, result in zip(sent, answer.body["results"], strict=True):
            new_id = result.get("userId", "") if upsert else None
            expected = model.receives(each, self.now, imported=imported, new_id=new_id)
            compare(each, expected, result)
            reasons += [expected.reason] if expected.reason else []
        assert answer.status == (200 if not reasons else 207 if len(reasons) < len(sent) else 400)
        assert answer.headers.get("X-Error-Code") == (reasons[0].code if reasons else None)
        return reasons

    def refuses(self, *reasons: Reason | None) -> None:
        """Count why the last request, or a part of it, was refused. None: it was not."""
        counted = list(filter(None, reasons))
        self.model.refuses(counted, f"request-{self.requests}", self.now)
        Shop.tried["refusals counted"] += len(counted)

    def is_refused(self, answer: Answer, status: int, reason: Reason) -> None:
        assert (answer.status, answer.headers["X-Error-Code"]) == (status, reason.code)
        self.refuses(reason)

    def refusals(self) -> Iterator[dict[str, Any]]:
        query: dict[str, str] | None = {"limit": "100"}
        while query:
            body = self.call("GET", "/refusals", queryStringParameters=query).body
            yield from body["refusals"]
            query = {**query, "cursor": body["cursor"]} if "cursor" in body else None


class Stream:
    """The stream of a table, read from where the last reading ended."""

    def __init__(self, client: DynamoDBStreamsClient, table: Table) -> None:
        specification: Any = {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"}
        made = table.client.update_table(TableName=table.name, StreamSpecification=specification)
        self.client, self.arn = client, made["TableDescription"]["LatestStreamArn"]
        [shard] = client.describe_stream(StreamArn=self.arn)["StreamDescription"]["Shards"]
        self.iterator = client.get_shard_iterator(
            StreamArn=self.arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]

    def read(self) -> list[Any]:
        page = self.client.get_records(ShardIterator=self.iterator)
        self.iterator = page["NextShardIterator"]
        return [as_lambda_has_it(record, self.arn) for record in page["Records"]]


def assert_shown(person: Person, profile: dict[str, Any], events: Sequence[StoredEvent]) -> None:
    """Assert that the readers show a person as the model does."""
    assert {name: value for name, value in profile.items() if name != "createdOn"} == shown(person)
    assert [each.happened_at for each in events] == sorted((each.happened_at for each in events), reverse=True)
    told = [(e.happened_at, e.id, e.type, e.payload, e.received_on, e.imported) for e in events]
    kept = [(e.at, e.id, e.type, as_sent(e.payload), iso(e.received_at), e.imported) for e in person.events]
    assert sorted(told, key=repr) == sorted(kept, key=repr)
    for kind, window in WINDOWS.items():
        moments = sorted(each.happened_at for each in events if each.type == kind)
        assert all(later - earlier >= window for earlier, later in pairwise(moments))


def assert_predicted(checked: dict[str, Any], result: dict[str, Any]) -> None:
    """Assert that the check of a batch of one predicted the single call."""
    for name in ("status", "eventId", "userId", "samePayload", "first"):
        if name in result:
            assert checked.get(name) == result[name], (checked, result)
    if result["status"] == "created":
        assert [each["field"] for each in checked["warnings"]] == [each["field"] for each in result["warnings"]]
    if result["status"] == "refused":
        assert checked["errors"][0]["code"] == result["errors"][0]["code"]


def compare(sent: Sent, expected: Expected, result: dict[str, Any]) -> None:
    which = sent, expected, result
    assert result["status"] == expected.status, which
    if expected.reason:
        assert result["errors"][0]["code"] == expected.reason.code, which
        return
    assert (result.get("userId"), result["eventId"]) == (expected.user_id, sent.id), which
    assert result.get("userCreated", False) == expected.user_created, which
    if "warnings" in result:
        warned = sorted(each["field"].split(".", 2)[2] for each in result["warnings"])
        also = ["eventId"] if expected.same is False and expected.status == "duplicate" else []
        assert warned == sorted([*expected.warnings, *also]), which
    if expected.status == "duplicate":
        assert result["samePayload"] == expected.same, which
        assert result.get("createdOn", iso(sent.at)) == iso(sent.at), which
    if expected.status == "discarded":
        assert result.get("code", CODES[sent.type]) == CODES[sent.type], which
        same = result["first"].get("samePayload")  # the digest goes with an erased user
        assert same == expected.same or (expected.same if expected.first else same) is None, which
        assert not expected.first or result["first"]["eventId"] in expected.first, which


@with_declared_types
def test_a_batch_means_what_its_events_mean_one_after_the_other(
    dynamodb_local_client: DynamoDBClient, monkeypatch: pytest.MonkeyPatch, figures: Figures
) -> None:
    Shop.client = dynamodb_local_client
    monkeypatch.setattr(runtime, "client", Shop.client)
    monkeypatch.setattr(runtime, "_fail_fast_client", lambda: Shop.client)  # a slow machine loses no count
    Shop.streams = aws.client("dynamodbstreams", dynamodb_local_client.meta.endpoint_url)
    case: Any = Shop.TestCase()
    case.settings = settings(max_examples=EXAMPLES, stateful_step_count=25, suppress_health_check=list(HealthCheck))
    with Bus.running() as Shop.bus:
        case.runTest()
    tried = ", ".join(f"{Shop.tried[what]:,} {what}" for what in TRIED)
    figures("`test_model_of_batches.py`", tried, 0)
