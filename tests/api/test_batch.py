"""Contract section 8: a batch means what its events would have meant, sent one after the other.

Each test here is written from the contract alone, through the function, with the events of API Gateway.
"""

import base64
import gzip
import itertools
import json
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest

from api.gateway import Answer, answer_to, call, proxy_event, timeline, user
from builders import ANA, a_moment
from domain.profile import Profile
from domain.times import iso
from faults import hooked
from handlers.runtime import client
from stored import as_text
from table import Account

KIB = 1024
MINUTE = timedelta(minutes=1)
BOB = "bob@example.com"
SEARCH: dict[str, Any] = {"search": {"query": "shoes"}}
UUID7 = "019b6d3a-6c1e-7a52-9d0c-0c6f8f6f4a10"  # in December 2025: an import


def entry(event: Any, event_id: object = None, time: datetime | str | None = None, **user: Any) -> dict[str, Any]:
    """Return an event of a batch. Without an id and a time it gets new ones."""
    moment = time or datetime.now(UTC)
    return {
        "eventId": next(IDS) if event_id is None else event_id,
        "eventTime": moment if isinstance(moment, str) else iso(moment),
        "user": user or {"email": ANA},
        "event": event,
    }


IDS = (f"id-{number}" for number in itertools.count())


def send(*entries: Any, path: str = "/events", **parts: Any) -> Answer:
    more = {"import": True} if parts.pop("imported", False) else {}
    return call("POST", path, {"events": list(entries), **more}, **parts)


def results(answer: Answer) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = answer.body["results"]
    return found


def statuses(answer: Answer) -> list[str]:
    return [result["status"] for result in results(answer)]


def stored_ids(identifier: str = ANA, **parts: Any) -> list[str]:
    """Return the ids of all events of the user, newest first."""
    found: list[str] = []
    query = {"limit": "100"}
    while True:
        page = timeline(quote(identifier), query, **parts).body
        found += [event["_id"] for event in page["events"]]
        if "cursor" not in page:
            return found
        query["cursor"] = page["cursor"]


def profile(identifier: str = ANA, **parts: Any) -> dict[str, Any]:
    found: dict[str, Any] = user("GET", quote(identifier), **parts).body
    return found


# --- Statuses ---------------------------------------------------------------------------------------


def test_a_batch_returns_the_result_of_each_event_in_order(ana: Profile) -> None:
    sent = [entry({"search": {"query": str(n)}}) for n in range(100)]
    answer = send(*sent)
    assert (answer.status, answer.body.keys()) == (200, {"results"})
    assert not {"Retry-After", "X-Error-Code"} & answer.headers.keys()
    assert results(answer) == [
        {"status": "created", "eventId": each["eventId"], "userId": ana.id, "warnings": []} for each in sent
    ]
    assert set(stored_ids()) == {each["eventId"] for each in sent}


def test_a_batch_sent_again_is_harmless(ana: Profile) -> None:
    sent = [
        entry(SEARCH),
        entry({"update": {"city": "Vigo"}}),
        entry({"confirmation": {"orderId": 1, "total": 10}}),
        entry({"emailopen": {}}),
        entry({"emailopen": {}}),
        entry({"confirmation": {"orderId": 1, "total": 10}}),
    ]
    assert statuses(send(*sent)) == ["created"] * 4 + ["discarded"] * 2
    before = profile(), timeline(ANA).body
    for _ in range(2):
        again = send(*sent)
        assert again.status == 200
        assert statuses(again) == ["duplicate"] * 4 + ["discarded"] * 2
        for result, each in zip(results(again)[:4], sent, strict=False):
            known = {"eventId": each["eventId"], "userId": ana.id, "createdOn": each["eventTime"]}
            assert result == {"status": "duplicate", "samePayload": True, **known}
        assert (profile(), timeline(ANA).body) == before


def test_a_batch_of_which_some_are_refused_is_207_and_settles_the_others(ana: Profile) -> None:
    answer = send(entry(SEARCH), entry(SEARCH, email=BOB), entry(SEARCH))
    assert answer.status == 207
    assert statuses(answer) == ["created", "refused", "created"]
    assert "Retry-After" not in answer.headers
    assert answer.headers["X-Error-Code"] == "user_not_found"
    [error] = results(answer)[1]["errors"]
    assert error == {
        "code": "user_not_found",
        "message": "User not found",
        "description": "This email does not exist in our database.",
        "field": "events.1.user.email",
    }


def test_a_batch_in_which_all_are_refused_is_400_with_results(ana: Profile) -> None:
    answer = send(entry(SEARCH, email=BOB), {}, entry({"x": {}}))
    assert (answer.status, statuses(answer)) == (400, ["refused"] * 3)
    assert "errors" not in answer.body
    assert stored_ids() == []


WRONG_BATCHES: dict[str, tuple[Any, str]] = {
    "no JSON": ("{", "invalid_json"),
    "a list": ("[]", "invalid_json"),
    "nothing": ("", "invalid_json"),
    "no events": ({}, "missing_events"),
    "null": ({"events": None}, "missing_events"),
    "none": ({"events": []}, "missing_events"),
    "an object": ({"events": {"0": entry(SEARCH)}}, "invalid_events"),
    "a text": ({"events": "x"}, "invalid_events"),
    "101": ({"events": [entry(SEARCH) for _ in range(101)]}, "too_many_events"),
    "twice": ('{"events": [], "events": []}', "invalid_json"),
}


@pytest.mark.parametrize("name", WRONG_BATCHES)
def test_an_invalid_batch_is_400_and_no_event_is_processed(name: str, ana: Profile) -> None:
    body, code = WRONG_BATCHES[name]
    for answer in (call("POST", path, body) for path in ("/events", "/events/check")):
        assert (answer.status, answer.headers["X-Error-Code"], answer.body.keys()) == (400, code, {"errors"})
        assert [error["code"] for error in answer.body["errors"]] == [code]
    assert stored_ids() == []


# --- One event never harms another ------------------------------------------------------------------

POISON: dict[str, tuple[Callable[[], Any], str, str]] = {
    "null": (lambda: None, "invalid_events", ""),
    "a number": (lambda: 1, "invalid_events", ""),
    "a list": (lambda: [entry(SEARCH)], "invalid_events", ""),
    "no event": (lambda: {**entry(SEARCH), "event": None}, "missing_event", ".event"),
    "empty event": (lambda: {**entry(SEARCH), "event": {}}, "missing_event", ".event"),
    "no object": (lambda: {**entry(SEARCH), "event": "search"}, "invalid_event", ".event"),
    "two events": (lambda: entry({"search": {"query": "x"}, "update": {"a": 1}}), "more_than_one_event", ".event"),
    "unknown type": (lambda: entry({"serach": {"query": "x"}}), "unknown_event_type", ".event.serach"),
    "no payload": (lambda: entry({"search": 1}), "invalid_payload", ".event.search"),
    "missing field": (lambda: entry({"viewitem": {}}), "missing_field", ".event.viewitem.itemId"),
    "no order": (lambda: entry({"confirmation": {"total": 1}}), "missing_field", ".event.confirmation.orderId"),
    "no user": (lambda: {**entry(SEARCH), "user": None}, "missing_user", ".user"),
    "user of text": (lambda: {**entry(SEARCH), "user": "x"}, "invalid_user", ".user"),
    "nobody named": (lambda: entry(SEARCH, city="x"), "missing_identifier", ".user"),
    "no address": (lambda: entry(SEARCH, email="x"), "invalid_email", ".user.email"),
    "_id of no text": (lambda: entry(SEARCH, _id=1), "invalid_id", ".user._id"),
    "city of no text": (lambda: entry(SEARCH, email=ANA, city=1), "invalid_attribute", ".user.city"),
    "unknown email": (lambda: entry(SEARCH, email=BOB), "user_not_found", ".user.email"),
    "unknown _id": (lambda: entry(SEARCH, _id=UUID7), "user_not_found", ".user._id"),
    "disagreeing": (lambda: entry(SEARCH, email=ANA, _id=UUID7), "identifiers_disagree", ".user"),
    "no eventId": (lambda: {**entry(SEARCH), "eventId": None}, "missing_event_id", ".eventId"),
    "empty eventId": (lambda: entry(SEARCH, ""), "invalid_event_id", ".eventId"),
    "long eventId": (lambda: entry(SEARCH, "x" * 129), "invalid_event_id", ".eventId"),
    "eventId with a space": (lambda: entry(SEARCH, "a b"), "invalid_event_id", ".eventId"),
    "eventId with a letter": (lambda: entry(SEARCH, "é"), "invalid_event_id", ".eventId"),
    "eventId of a number": (lambda: entry(SEARCH, 7), "invalid_event_id", ".eventId"),
    "eventId of a surrogate": (lambda: entry(SEARCH, "\ud800"), "invalid_event_id", ".eventId"),
    "no eventTime": (lambda: {**entry(SEARCH), "eventTime": None}, "missing_event_time", ".eventTime"),
    "no time": (lambda: entry(SEARCH, time="yesterday"), "invalid_event_time", ".eventTime"),
    "no offset": (lambda: entry(SEARCH, time="2026-11-24T08:00:00"), "invalid_event_time", ".eventTime"),
    "ahead": (lambda: entry(SEARCH, time=a_moment() + 6 * MINUTE), "invalid_event_time", ".eventTime"),
    "too old": (lambda: entry(SEARCH, time=a_moment() - timedelta(days=36)), "invalid_event_time", ".eventTime"),
    "surrogate": (lambda: entry({"search": {"query": "\ud800"}}), "invalid_text", ".event.search.query"),
    "empty name": (lambda: entry({"search": {"query": "x", "": 1}}), "invalid_name", ".event.search"),
    "deep": (lambda: entry({"search": {"query": "x", "d": _nested(40)}}), "too_many_levels", ".event.search.d"),
    "long number": (lambda: entry({"search": {"query": "x", "n": 10**39 + 1}}), "invalid_number", ".event.search.n"),
    "not a number": (lambda: entry({"search": {"query": "x", "n": float("nan")}}), "invalid_number", ".event.search.n"),
    "too large": (lambda: entry({"search": {"query": "x" * 256 * KIB}}), "body_too_large", ""),
}


def _nested(levels: int) -> Any:
    return [_nested(levels - 1)] if levels else []


def test_an_invalid_event_in_any_position_affects_no_other(ana: Profile) -> None:
    """Between any two of them an event is stored."""
    names = [name for name in POISON if name != "too large"]
    sent = itertools.chain.from_iterable((POISON[name][0](), entry(SEARCH)) for name in names)
    answer = send(*sent, entry({"update": {"a": 1}}), POISON["too large"][0]())
    assert answer.status == 207
    assert statuses(answer) == [*["refused", "created"] * len(names), "created", "refused"]
    places = {name: 2 * number for number, name in enumerate(names)} | {"too large": 2 * len(names) + 1}
    for name, place in places.items():
        _, code, field = POISON[name]
        assert results(answer)[place].keys() == {"status", "eventId", "errors"}
        error = results(answer)[place]["errors"][0]
        assert (error["code"], error["field"].startswith(f"events.{place}{field}")) == (code, True), name
        assert min(len(error["message"]), len(error["description"])) > 0
    assert len(stored_ids()) == len(names) + 1


def test_all_problems_of_an_event_are_reported_at_once(ana: Profile) -> None:
    wrong = {"eventId": " ", "eventTime": "x", "user": {"email": "x", "city": 1}, "event": {"viewitem": {}}}
    fields = {error["field"] for error in results(send(entry(SEARCH), wrong))[1]["errors"]}
    assert fields == {
        "events.1.eventId", "events.1.eventTime", "events.1.user.email", "events.1.user.city",
        "events.1.event.viewitem.itemId",
    }  # fmt: skip


def test_a_late_event_of_very_many_attributes_is_stored_and_answered(ana: Profile) -> None:
    """A warning names what was left out, and warnings are stored with the event."""
    attributes = {f"x{n}": n for n in range(2_000)}
    assert send(entry({"update": attributes})).status == 200
    late = send(entry({"update": attributes}, time=a_moment() - timedelta(hours=1)))
    assert (late.status, statuses(late)) == (200, ["created"])


# --- Sizes and compression --------------------------------------------------------------------------


def sized(size: int) -> dict[str, Any]:
    """An event whose JSON is of this many bytes, without spaces."""
    made = entry({"search": {"query": ""}})
    made["event"]["search"]["query"] = "x" * (size - len(json.dumps(made, separators=(",", ":"))))
    return made


def test_an_event_of_a_batch_has_256_kib_at_most(ana: Profile) -> None:
    answer = send(sized(256 * KIB), sized(256 * KIB + 1), entry(SEARCH))
    assert statuses(answer) == ["created", "refused", "created"]
    assert results(answer)[1]["errors"][0]["code"] == "body_too_large"


@pytest.mark.parametrize("packed", [False, True])
def test_a_batch_has_1_mib_at_most(packed: bool, ana: Profile) -> None:
    def padded(size: int) -> Answer:
        body = json.dumps({"events": [entry(SEARCH)]}).encode()
        body += b" " * (size - len(body))
        raw = gzip.compress(body) if packed else body
        return call("POST", "/events", base64.b64encode(raw).decode(), isBase64Encoded=True)

    assert padded(1024 * KIB).status == 200
    too_large = padded(1024 * KIB + 1)
    assert (too_large.status, too_large.headers["X-Error-Code"]) == (413, "body_too_large")
    assert len(stored_ids()) == 1


def zipped(raw: bytes, **parts: Any) -> Answer:
    return call("POST", "/events", base64.b64encode(raw).decode(), isBase64Encoded=True, **parts)


BATCH = {"events": [{"eventId": "z", "eventTime": None, "user": {"email": ANA}, "event": SEARCH}]}


def a_body() -> bytes:
    BATCH["events"][0]["eventTime"] = iso(a_moment())
    return json.dumps(BATCH).encode()


@pytest.mark.parametrize("headers", [{}, {"Content-Encoding": "gzip"}, {"content-encoding": "GZIP"}])
def test_gzip_is_recognised_by_its_first_bytes(headers: dict[str, str], ana: Profile) -> None:
    assert zipped(gzip.compress(a_body()), headers=headers).status == 200
    assert call("POST", "/events", a_body().decode(), headers=headers).status == 200, "the gateway unpacked it"


def test_gzip_of_two_members_is_one_body(ana: Profile) -> None:
    body = a_body()
    assert zipped(gzip.compress(body[:40]) + gzip.compress(body[40:])).status == 200


BROKEN: dict[str, Callable[[bytes], bytes]] = {
    "cut off": lambda packed: packed[:-9],
    "cut off in its sum": lambda packed: packed[:-1],
    "only its first bytes": lambda packed: packed[:2],
    "only its head": lambda packed: packed[:10],
    "a wrong sum": lambda packed: packed[:-8] + b"12345678",
    "something behind": lambda packed: packed + b"x",
    "zeros behind": lambda packed: packed + b"\x00\x00{",
    "twice": gzip.compress,
    "thrice": lambda packed: gzip.compress(gzip.compress(packed)),
    "not UTF-8": lambda _: gzip.compress(b'{"events": "\xff"}'),
    "noise": lambda packed: packed[:12] + bytes(reversed(packed[12:])),
}


@pytest.mark.parametrize("how", BROKEN)
def test_broken_gzip_is_400(how: str, ana: Profile) -> None:
    answer = zipped(BROKEN[how](gzip.compress(a_body())))
    assert (answer.status, answer.headers["X-Error-Code"]) == (400, "invalid_json")
    assert stored_ids() == []


BOMBS: dict[str, Callable[[], bytes]] = {
    "of zeros": lambda: gzip.compress(b"0" * 2**28),
    "of spaces around a batch": lambda: gzip.compress(b" " * 2**26 + a_body()),
    "in a bomb": lambda: gzip.compress(gzip.compress(b"0" * 2**28)),
    "of nesting": lambda: gzip.compress(b'{"events": ' + b"[" * 1_000_000),
    "of names": lambda: gzip.compress(b'{"events": [{' + b",".join(b'"%d":0' % n for n in range(90_000)) + b"}]}"),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_is_a_4xx(kind: str, ana: Profile) -> None:
    assert zipped(BOMBS[kind]()).status in (400, 413)


@pytest.mark.parametrize("content", [b"", b" "], ids=["empty", "a space each"])
def test_a_body_of_very_many_members_takes_time_in_proportion(content: bytes, ana: Profile) -> None:
    """The gateway lets 10 MB through: of the smallest members that are half a million."""
    member = gzip.compress(content)

    def once(members: int) -> float:
        begun = time.process_time()
        assert zipped(member * members).status in (400, 413)
        return time.process_time() - begun

    once(1)
    few, many = (min(once(members) for _ in range(3)) for members in (10_000, 40_000))
    assert many < 8 * few, "four times as much; what is quadratic takes 16 times as long"


# --- Ids ----------------------------------------------------------------------------------------------


def test_the_same_event_twice_in_a_batch_is_a_duplicate(ana: Profile) -> None:
    now = a_moment()
    same = [entry({"update": {"n": n}}, "same", now) for n in (1, 1, 2)]
    answer = send(*same)
    assert answer.status == 200
    assert statuses(answer) == ["created", "duplicate", "duplicate"]
    assert [result.get("samePayload") for result in results(answer)] == [None, True, False]
    assert profile()["n"] == 1
    assert stored_ids() == ["same"]


def test_id_and_time_are_the_identity_within_one_user(demo: Account, ana: Profile) -> None:
    call("POST", "/user", {"email": BOB})
    now = a_moment()
    sent = [
        entry(SEARCH, "same", now),
        entry(SEARCH, "same", now - MINUTE),
        entry(SEARCH, "Same", now),
        entry(SEARCH, "same", now, email=BOB),
        entry(SEARCH, "same", now.astimezone().isoformat()),
    ]
    assert statuses(send(*sent)) == ["created"] * 4 + ["duplicate"]
    assert sorted(stored_ids()) == ["Same", "same", "same"]
    assert stored_ids(BOB) == ["same"]


STRANGE_IDS = ["x", "~" * 128, "!", "#1", "EVENT#1", "a/b", "%2F", '"', "\\", "019b6d3a-6C1E-7a52"]


def test_an_id_of_any_visible_ascii_comes_back(ana: Profile) -> None:
    sent = [entry(SEARCH, event_id) for event_id in STRANGE_IDS]
    assert [result["eventId"] for result in results(send(*sent))] == STRANGE_IDS
    assert sorted(stored_ids()) == sorted(STRANGE_IDS)
    assert statuses(send(*sent)) == ["duplicate"] * len(sent)


def test_a_uuid7_brings_its_own_time(ana: Profile) -> None:
    moment = a_moment() - MINUTE
    milliseconds = int(moment.timestamp() * 1000)
    event_id = f"{milliseconds:012x}"
    event_id = f"{event_id[:8]}-{event_id[8:]}-7a52-9d0c-0c6f8f6f4a10"
    without = {name: value for name, value in entry(SEARCH, event_id).items() if name != "eventTime"}
    assert statuses(send(without, without)) == ["created", "duplicate"]
    [shown] = timeline(ANA).body["events"]
    assert (shown["_id"], shown["createdOn"]) == (event_id, iso(moment))
    assert statuses(send(entry(SEARCH, event_id, moment))) == ["duplicate"]


def test_an_uuid7_of_long_ago_needs_an_import(ana: Profile) -> None:
    old = {**entry(SEARCH, "01800000-0000-7000-8000-000000000000"), "eventTime": None}
    assert results(send(old))[0]["errors"][0]["code"] == "invalid_event_time"
    assert statuses(send(old, imported=True)) == ["created"]


FAR: list[tuple[Callable[[datetime], Any], bool, bool]] = [
    (lambda now: now + 4 * MINUTE, False, True), (lambda now: now + 6 * MINUTE, False, False),
    (lambda now: now + 6 * MINUTE, True, False),
    (lambda now: now - timedelta(days=34, hours=23), False, True), (lambda now: now - timedelta(days=36), False, False),
    (lambda now: now - timedelta(days=36), True, True),
    (lambda _: "2000-01-01T00:00:00Z", True, True), (lambda _: "1999-12-31T23:59:59.999Z", True, False),
    (lambda _: "2000-01-01T00:00:00+00:01", True, False), (lambda _: "0001-01-01T00:00:00+14:00", True, False),
    (lambda _: "9999-12-31T23:59:59-23:59", True, False),
]  # fmt: skip


@pytest.mark.parametrize("imported", [True, False])
def test_how_far_an_event_may_lie_back(imported: bool, ana: Profile) -> None:
    tried = [(time(a_moment()), is_in) for time, of_import, is_in in FAR if of_import == imported]
    answer = send(*(entry(SEARCH, time=time) for time, _ in tried), imported=imported)
    assert statuses(answer) == ["created" if is_in else "refused" for _, is_in in tried]
    told = {each["message"] for result in results(answer) for each in result.get("errors", ())}
    assert told == {"Invalid eventTime"}


# --- Rules, judged by when events happened ----------------------------------------------------------


@pytest.mark.parametrize("kind", ["update", "login"])
def test_a_late_event_overwrites_nothing_that_is_newer(kind: str, ana: Profile) -> None:
    now = a_moment() - timedelta(hours=1)
    send(entry({"update": {"a": "new", "tags": ["kept"]}}, time=now))
    old = {"a": "old", "b": "old", "tags": ["added", "-kept"]}
    late = send(entry({kind: old}, time=now - 6 * MINUTE, email=ANA, city="x"))
    assert statuses(late) == ["created"]
    assert results(late)[0]["warnings"]
    assert all(each["field"].startswith("events.0.") for each in results(late)[0]["warnings"])
    shown = profile()
    assert (shown["a"], shown["b"], shown["city"], shown["tags"]) == ("new", "old", "x", ["added", "kept"])


def test_within_5_minutes_the_later_arrival_counts(ana: Profile) -> None:
    now = a_moment() - timedelta(hours=1)
    send(entry({"update": {"a": 1}}, time=now))
    slightly = send(entry({"update": {"a": 2}}, time=now - 5 * MINUTE))
    assert results(slightly)[0]["warnings"] == []
    assert profile()["a"] == 2
    late = send(entry({"update": {"a": 3}}, time=now - 5 * MINUTE - timedelta(milliseconds=1)))
    assert results(late)[0]["warnings"]
    assert profile()["a"] == 2


def test_updates_of_one_user_in_a_batch_happen_in_its_order(ana: Profile) -> None:
    now = a_moment()
    updates = [entry({"update": {"n": n, f"n{n}": n, "tags": [f"t{n}", f"-t{n - 1}"]}}, time=now) for n in range(100)]
    assert statuses(send(*updates)) == ["created"] * 100
    shown = profile()
    assert (shown["n"], shown["tags"]) == (99, ["t99"])
    assert sum(name[0] == "n" and name[1:].isdigit() for name in shown) == 100


def test_a_user_who_is_identified_within_a_batch_is_found_by_it(demo: Account) -> None:
    anonymous = call("POST", "/user", {}).body["object"]["_id"]
    answer = send(
        entry(SEARCH, email=ANA),
        entry({"login": {"email": ANA}}, _id=anonymous),
        entry(SEARCH, email=ANA),
        entry(SEARCH, email=ANA, _id=anonymous),
    )
    assert statuses(answer) == ["refused", "created", "created", "created"]
    assert {result["userId"] for result in results(answer)[1:]} == {anonymous}


# --- The check ----------------------------------------------------------------------------------------


def test_what_a_check_refuses_is_not_counted_among_the_refusals(demo: Account, ana: Profile) -> None:
    send(entry(SEARCH, email=BOB), path="/events/check")
    call("POST", "/events/check", "{")
    assert call("GET", "/refusals").body["refusals"] == []
    send(entry(SEARCH, email=BOB), entry(SEARCH, email=BOB))
    [refusal] = call("GET", "/refusals").body["refusals"]
    assert (refusal["code"], refusal["count"]) == ("user_not_found", 2)
    assert BOB not in json.dumps(refusal)


def test_a_request_id_that_a_caller_chose_is_not_among_the_refusals(demo: Account, ana: Profile) -> None:
    """The gateway takes one from the header X-Amzn-RequestId; a shop may send anything there."""
    ids = {"requestId": "order-of.ana.garcia_1980", "extendedRequestId": "JKJaXmPLvHcESHA="}
    for path, body in (("/event", "{"), ("/events", {"events": [entry(SEARCH, email=BOB)]})):
        event = proxy_event("POST", path, body)
        event["requestContext"] |= ids
        answer_to(event)
    listed = call("GET", "/refusals").body["refusals"]
    assert [each["lastRequestId"] for each in listed] == ["JKJaXmPLvHcESHA="] * 2
    assert "garcia" not in as_text(demo.table)


# --- Our fault --------------------------------------------------------------------------------------


THROTTLED = {"Error": {"Code": "ThrottlingException", "Message": ""}, "ResponseMetadata": {"HTTPStatusCode": 400}}


@contextmanager
def throttling(mark: str) -> Iterator[None]:
    """DynamoDB throttles each write in which the mark is. The SDK has tried again already."""

    def refuse(model: Any, params: dict[str, Any], **_: Any) -> Any:
        is_write = model.name not in ("GetItem", "BatchGetItem", "TransactGetItems", "Query")
        return (SimpleNamespace(status_code=400), THROTTLED) if is_write and mark in str(params["body"]) else None

    with hooked(client, "before-call.dynamodb", refuse):
        yield


def test_what_failed_is_207_with_retry_after_and_is_stored_when_it_is_sent_again(demo: Account, ana: Profile) -> None:
    bob = call("POST", "/user", {"email": BOB}).body["object"]["_id"]
    sent = [entry(SEARCH), entry(SEARCH, email=BOB), entry({"update": {"a": 1}}), entry(SEARCH, email=BOB)]
    with throttling(bob):
        answer = send(*sent)
    assert answer.status == 207
    assert int(answer.headers["Retry-After"]) >= 1
    assert statuses(answer) == ["created", "failed", "created", "failed"]
    for result in (results(answer)[1], results(answer)[3]):
        assert [error["code"] for error in result["errors"]] == ["unavailable"]
    again = send(*sent)
    assert (again.status, statuses(again)) == (200, ["duplicate", "created", "duplicate", "created"])


def test_where_nothing_was_stored_and_some_failed_it_is_503(demo: Account, ana: Profile) -> None:
    with throttling(ana.id):
        answer = send(entry(SEARCH), entry(SEARCH, email=BOB), entry({"x": {}}))
    assert answer.status == 503
    assert int(answer.headers["Retry-After"]) >= 1
    assert statuses(answer) == ["failed", "refused", "refused"]
    assert stored_ids() == []


# --- Hostile values -----------------------------------------------------------------------------------

BEYOND_ALL_YEARS = "ffffffff-ffff-7fff-bfff-ffffffffffff"  # a UUIDv7 of the year 10889


def send_compact(*entries: dict[str, Any]) -> Answer:
    return call("POST", "/events", json.dumps({"events": entries}, ensure_ascii=False, separators=(",", ":")))


def test_a_uuid_of_a_year_that_no_date_has_is_an_id_like_any_other(ana: Profile) -> None:
    """Such an id contains no usable time."""
    answer = send(
        {**entry(SEARCH, BEYOND_ALL_YEARS), "eventTime": None}, entry(SEARCH), entry(SEARCH, BEYOND_ALL_YEARS)
    )
    assert statuses(answer) == ["refused", "created", "created"]
    assert answer.body["results"][0]["errors"][0]["code"] == "missing_event_time"
    again = {**entry(SEARCH, BEYOND_ALL_YEARS), "eventTime": None}
    assert call("POST", "/event", again).errors == [("Missing eventTime", "eventTime")]


@pytest.mark.parametrize(
    "value", [[1] * 60_000, ["a"] * 50_000, {f"{number}": 1 for number in range(25_000)}, ["\u0107"] * 45_000]
)
def test_an_event_that_is_taken_alone_is_not_too_large_for_a_batch(value: Any, ana: Profile) -> None:
    """Neither numbers nor commas count more than they did in what was sent."""
    large = entry({"search": {"query": "x", "value": value}})
    alone = json.dumps(large, ensure_ascii=False, separators=(",", ":"))
    assert 110 * KIB < len(alone.encode()) < 256 * KIB
    other = entry({"search": {"query": "x" * 150 * KIB}})
    assert statuses(send_compact(large, other)) == ["created", "created"]


@pytest.mark.parametrize(("begin", "end"), [("[", "]"), ('{"a":', "}")])
def test_no_depth_is_a_fault_of_ours_nor_harms_another_event_that_could_be_read(
    begin: str, end: str, ana: Profile
) -> None:
    """Just before a body is too deep to be read, what is done with it may be: it is measured if it is long."""
    short, long = (entry({"search": {"query": "x" * size}}) for size in (1, 257 * KIB))

    def beside(other: dict[str, Any], depth: int) -> Answer:
        deep = f'{{"eventId":"deep","event":{begin * depth}1{end * depth}}}'
        return call("POST", "/events", f'{{"events":[{deep},{json.dumps(other)}]}}')

    deepest = bisect_left(range(50_000), True, key=lambda depth: "results" not in beside(short, depth).body) - 1
    for depth in range(deepest - 30, deepest + 1):
        assert beside(short, depth).status == 207
        assert statuses(beside(long, depth)) == ["refused", "refused"]


@pytest.mark.parametrize("letter", ["\x7f", "\u0107"])
def test_an_answer_is_no_longer_than_lambda_returns_whatever_names_are_made_up(letter: str, ana: Profile) -> None:
    """Each letter becomes up to seven in the answer. `call` checks the length."""
    name = letter * (9_000 // len(letter.encode()))
    assert send_compact(*(entry({name: {}}) for _ in range(100))).status == 400
    assert send_compact(*(entry(SEARCH, name) for _ in range(100))).status == 400
    assert send_compact(*(entry({"update": {name: 1}}) for _ in range(100))).status == 200


@pytest.mark.parametrize("number", ["1e37", "15e19", "12e-100", "0.5", "0.05", "-7", "100", "0.0", "-1e-9"])
@pytest.mark.parametrize("bytes_more", [0, 1])
def test_a_number_counts_as_many_bytes_as_its_shortest_form(number: str, bytes_more: int, ana: Profile) -> None:
    """So an event has the same size in a batch and alone."""
    whole = json.dumps(entry({"search": {"query": "", "n": ["N"]}}), separators=(",", ":"))
    count = (200 * KIB) // len(f"{number},")
    whole = whole.replace('"N"', ",".join([number] * count))
    whole = whole.replace('""', json.dumps("x" * (256 * KIB + bytes_more - len(whole))))
    assert len(whole) == 256 * KIB + bytes_more
    answer = call("POST", "/events/check", f'{{"events": [{whole}, {json.dumps(entry(SEARCH))}]}}')
    codes = [error["code"] for error in answer.body["results"][0].get("errors", [])]
    assert ("body_too_large" in codes) == bool(bytes_more)


def test_a_name_given_twice_in_one_event_harms_no_other(ana: Profile) -> None:
    start = f'"eventTime": "{iso(a_moment())}", "user": {{"email": "{ANA}"}}, "event"'
    wrong = f'{{"eventId": "e-1", {start}: {{"search": {{"query": "x", "query": "y"}}}}}}'
    right = f'{{"eventId": "e-2", {start}: {{"search": {{"query": "x"}}}}}}'
    answer = call("POST", "/events", f'{{"events": [{wrong}, {right}]}}')
    assert [each["status"] for each in answer.body["results"]] == ["refused", "created"]
