"""Contract sections 8 and 9 at the functions: statuses, sizes, compression and ids of batches.

tests/integration/test_model_of_batches.py compares any batch with its events, sent one after the other.
"""

import base64
import gzip
import itertools
import json
import time
from bisect import bisect_left
from datetime import timedelta
from typing import Any

import pytest

from api.gateway import Answer, answer_to, call, proxy_event, timeline
from builders import ANA, a_moment, a_user, an_entry, the_events, the_profile
from domain.ids import new_id
from domain.profile import Profile
from domain.times import iso
from stored import as_text
from table import Account

KIB = 1024
MINUTE, DAY, MILLISECOND = timedelta(minutes=1), timedelta(days=1), timedelta(milliseconds=1)
BOB = "bob@example.com"
SEARCH: dict[str, Any] = {"search": {"query": "shoes"}}
UNKNOWN_ID = "019b6d3a-6c1e-7a52-9d0c-0c6f8f6f4a10"


def send(*entries: Any, path: str = "/events", imported: bool = False) -> Answer:
    return call("POST", path, {"events": list(entries), "import": imported})


def results(answer: Answer) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = answer.body["results"]
    return found


def statuses(answer: Answer) -> list[str]:
    return [result["status"] for result in results(answer)]


# --- Statuses ---------------------------------------------------------------------------------------


def test_a_batch_returns_the_result_of_each_event_in_order(demo: Account, ana: Profile) -> None:
    sent = [an_entry({"search": {"query": str(n)}}) for n in range(100)]
    answer = send(*sent)
    assert (answer.status, answer.body.keys()) == (200, {"results"})
    assert not {"Retry-After", "X-Error-Code"} & answer.headers.keys()
    created = {"status": "created", "userId": ana.id, "warnings": []}
    assert results(answer) == [{**created, "eventId": each["eventId"]} for each in sent]
    assert {*the_events(demo)} == {each["eventId"] for each in sent}


def test_events_happen_in_the_order_of_the_batch_and_sent_again_they_are_duplicates(demo: Account) -> None:
    anonymous, now = a_user(demo, None).id, a_moment()
    updates = [{"n": n, f"n{n}": n, "tags": [f"t{n}", f"-t{n - 1}"]} for n in range(20)]
    created = [
        an_entry({"login": {"email": ANA}}, _id=anonymous),
        *(an_entry({"update": update}, eventTime=now) for update in updates),
        an_entry({"confirmation": {"orderId": 1, "total": 10}}, _id=anonymous, email=ANA),
        an_entry({"emailopen": {}}),
    ]
    discarded = [an_entry({"emailopen": {}}), an_entry({"confirmation": {"orderId": 1, "total": 10}})]
    answer = send(an_entry(SEARCH), *created, *discarded)
    assert statuses(answer) == ["refused"] + ["created"] * len(created) + ["discarded"] * 2, "a login gives an address"
    assert {result["userId"] for result in results(answer)[1:]} == {anonymous}
    before = the_profile(demo), timeline(ANA).body
    assert (before[0]["n"], before[0]["tags"]) == (19, ["t19"])
    assert before[0].keys() >= {f"n{n}" for n in range(20)}
    for _ in range(2):
        again = send(*created, *discarded)
        assert (again.status, statuses(again)) == (200, ["duplicate"] * len(created) + ["discarded"] * 2)
        for result, each in zip(results(again), created, strict=False):
            known = {"eventId": each["eventId"], "userId": anonymous, "createdOn": each["eventTime"]}
            assert result == {"status": "duplicate", "samePayload": True, **known}
        assert (the_profile(demo), timeline(ANA).body) == before


@pytest.mark.parametrize("path", ["/events", "/events/check"])
def test_an_invalid_batch_is_400_and_no_event_is_processed(path: str, demo: Account, ana: Profile) -> None:
    entry = an_entry(SEARCH)
    wrong: list[tuple[Any, str]] = [
        ("{", "invalid_json"), ("[]", "invalid_json"), ("", "invalid_json"),
        ('{"events": [], "events": []}', "invalid_json"), ({}, "missing_events"), ({"events": None}, "missing_events"),
        ({"events": []}, "missing_events"), ({"events": {"0": entry}}, "invalid_events"),
        ({"events": "x"}, "invalid_events"), ({"events": [entry] * 101}, "too_many_events"),
    ]  # fmt: skip
    for body, code in wrong:
        answer = call("POST", path, body)
        assert (answer.status, answer.headers["X-Error-Code"], answer.body.keys()) == (400, code, {"errors"})
        assert [error["code"] for error in answer.body["errors"]] == [code]
    assert the_events(demo) == []


def test_an_invalid_event_in_any_position_affects_no_other(demo: Account, ana: Profile) -> None:
    """Between any two of them an event is stored."""

    def changed(**fields: Any) -> dict[str, Any]:
        return an_entry(SEARCH) | fields

    def searched(more: Any) -> dict[str, Any]:
        return an_entry({"search": {"query": "x"} | more})

    wrong: list[tuple[Any, str, str]] = [  # tests/unit/test_events.py has the rest
        (None, "invalid_events", ""), ([changed()], "invalid_events", ""),
        (changed(event={**SEARCH, "update": {"a": 1}}), "more_than_one_event", ".event"),
        (changed(event={"viewitem": {}}), "missing_field", ".event.viewitem.itemId"),
        (changed(user="x"), "invalid_user", ".user"), (changed(user={"email": "x"}), "invalid_email", ".user.email"),
        (changed(user={"email": BOB}), "user_not_found", ".user.email"),
        (changed(user={"_id": UNKNOWN_ID}), "user_not_found", ".user._id"),
        (changed(user={"email": ANA, "_id": UNKNOWN_ID}), "identifiers_disagree", ".user"),
        (changed(eventId=None), "missing_event_id", ".eventId"),
        *((changed(eventId=each), "invalid_event_id", ".eventId") for each in ("", "x" * 129, "a b", "é", 7, "\ud800")),
        (changed(eventId="e-1", eventTime=None), "missing_event_time", ".eventTime"),
        (changed(eventTime="2026-11-24T08:00:00"), "invalid_event_time", ".eventTime"),
        (searched({"": 1}), "invalid_name", ".event.search"),
        (searched({"d": json.loads("[" * 40 + "]" * 40)}), "too_many_levels", ".event.search.d"),
        (searched({"query": "x" * 256 * KIB}), "body_too_large", ""),
    ]  # fmt: skip
    answer = send(*itertools.chain.from_iterable((each, an_entry(SEARCH)) for each, _, _ in wrong))
    assert (answer.status, statuses(answer)) == (207, ["refused", "created"] * len(wrong))
    assert "Retry-After" not in answer.headers
    assert answer.headers["X-Error-Code"] == "invalid_events", "the first one"
    for place, (_, code, field) in enumerate(wrong):
        result = results(answer)[2 * place]
        assert result.keys() == {"status", "eventId", "errors"}
        error = result["errors"][0]
        assert (error["code"], error["field"].startswith(f"events.{2 * place}{field}")) == (code, True)
        assert min(len(error["message"]), len(error["description"])) > 0
    assert len(the_events(demo)) == len(wrong)


def test_all_problems_of_an_event_are_reported_at_once_and_a_name_given_twice_harms_no_other(ana: Profile) -> None:
    wrong = {"eventId": " ", "eventTime": "x", "user": {"email": "x", "city": 1}, "event": {"viewitem": {}}}
    fields = ("eventId", "eventTime", "user.email", "user.city", "event.viewitem.itemId")
    found = {error["field"] for error in results(send(an_entry(SEARCH), wrong))[1]["errors"]}
    assert found == {f"events.1.{field}" for field in fields}
    right = json.dumps(an_entry(SEARCH))
    twice = right.replace('"query"', '"query": "x", "query"')
    assert statuses(call("POST", "/events", f'{{"events": [{twice}, {right}]}}')) == ["refused", "created"]


# --- Sizes and compression --------------------------------------------------------------------------


def zipped(raw: bytes, **parts: Any) -> Answer:
    return call("POST", "/events", base64.b64encode(raw).decode(), isBase64Encoded=True, **parts)


def test_a_batch_has_1_mib_at_most(demo: Account, ana: Profile) -> None:
    body = json.dumps({"events": [an_entry(SEARCH)]}).encode()
    for pack in (bytes, gzip.compress):
        assert zipped(pack(body + b" " * (1024 * KIB - len(body)))).status == 200
        too_large = zipped(pack(body + b" " * (1024 * KIB - len(body) + 1)))
        assert (too_large.status, too_large.headers["X-Error-Code"]) == (413, "body_too_large")
    assert len(the_events(demo)) == 1


NUMBERS = ["1e37", "15e19", "12e-100", "0.5", "0.05", "-7", "100", "0.0", "-1e-9"]


@pytest.mark.long
@pytest.mark.parametrize("item", [*NUMBERS, '"a"', '"\u0107"', '{"a":1,"b":[]}'])
def test_an_event_has_256_kib_at_most_in_its_shortest_form(item: str, ana: Profile) -> None:
    """So it has the same size in a batch and alone."""
    whole = json.dumps(an_entry({"search": {"query": "", "n": ["N"]}}), separators=(",", ":"))
    whole = whole.replace('"N"', ",".join([item] * (200 * KIB // len(f"{item},".encode()))))
    room = 256 * KIB - len(whole.encode())
    bodies = [whole.replace('""', json.dumps("x" * (room + more))) for more in (0, 1)]
    assert [len(body.encode()) - 256 * KIB for body in bodies] == [0, 1]
    answer = call("POST", "/events/check", f'{{"events": [{", ".join(bodies)}, {json.dumps(an_entry(SEARCH))}]}}')
    codes = [[error["code"] for error in result.get("errors", [])] for result in results(answer)]
    assert codes == [[], ["body_too_large"], []]


def test_gzip_is_recognised_by_its_first_bytes_and_broken_gzip_is_400(demo: Account, ana: Profile) -> None:
    body = json.dumps({"events": [an_entry(SEARCH)]}).encode()
    packed = gzip.compress(body)
    for headers in ({}, {"Content-Encoding": "gzip"}, {"content-encoding": "GZIP"}):
        assert zipped(packed, headers=headers).status == 200
        assert call("POST", "/events", body.decode(), headers=headers).status == 200, "the gateway unpacked it"
    assert zipped(gzip.compress(body[:40]) + gzip.compress(body[40:])).status == 200, "two members are one body"
    broken = [
        packed[:-9], packed[:-1], packed[:2], packed[:10], packed[:-8] + b"12345678", packed + b"x",
        packed + b"\x00\x00{", gzip.compress(packed), gzip.compress(gzip.compress(packed)),
        gzip.compress(b'{"events": "\xff"}'), packed[:12] + bytes(reversed(packed[12:])),
    ]  # fmt: skip
    answers = [zipped(raw) for raw in broken]
    assert {(answer.status, answer.headers["X-Error-Code"]) for answer in answers} == {(400, "invalid_json")}
    assert len(the_events(demo)) == 1


def test_a_bomb_is_a_4xx(ana: Profile) -> None:
    zeros, names = gzip.compress(b"0" * 2**26), b",".join(b'"%d":0' % n for n in range(90_000))
    around = b" " * 2**26 + json.dumps({"events": [an_entry(SEARCH)]}).encode()
    bombs = [zeros, gzip.compress(zeros), gzip.compress(around), gzip.compress(b'{"events": ' + b"[" * 1_000_000)]
    for bomb in (*bombs, gzip.compress(b'{"events": [{' + names + b"}]}")):
        assert zipped(bomb).status in (400, 413)


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


@pytest.mark.long
@pytest.mark.parametrize(("begin", "end"), [("[", "]"), ('{"a":', "}")])
def test_no_depth_is_a_500_or_affects_another_event_that_could_be_read(begin: str, end: str, ana: Profile) -> None:
    """Just before a body is too deep to be read, what is done with it may be: it is measured if it is long."""
    short, long = (an_entry({"search": {"query": "x" * size}}) for size in (1, 257 * KIB))

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
    wrong_id = an_entry(SEARCH) | {"eventId": name}
    for entry, status in ((an_entry({name: {}}), 400), (wrong_id, 400), (an_entry({"update": {name: 1}}), 200)):
        body = json.dumps({"events": [entry] * 100}, ensure_ascii=False, separators=(",", ":"))
        assert call("POST", "/events", body).status == status


# --- Ids and times ------------------------------------------------------------------------------------


def test_id_and_time_are_the_identity_within_one_user(demo: Account, ana: Profile) -> None:
    a_user(demo, BOB)
    now = a_moment()
    sent = [
        an_entry({"update": {"n": 1}}, eventId="same", eventTime=now),
        an_entry({"update": {"n": 1}}, eventId="same") | {"eventTime": now.astimezone().isoformat()},
        an_entry({"update": {"n": 2}}, eventId="same", eventTime=now),
        an_entry(SEARCH, eventId="same", eventTime=now - MINUTE),
        an_entry(SEARCH, eventId="Same", eventTime=now),
        an_entry(SEARCH, eventId="same", eventTime=now, email=BOB),
    ]
    answer = send(*sent)
    assert statuses(answer) == ["created", "duplicate", "duplicate", "created", "created", "created"]
    assert [result.get("samePayload") for result in results(answer)] == [None, True, False, None, None, None]
    assert the_profile(demo)["n"] == 1
    assert (sorted(the_events(demo)), the_events(demo, BOB)) == (["Same", "same", "same"], ["same"])


STRANGE_IDS = ["x", "~" * 128, "!", "#1", "EVENT#1", "a/b", "%2F", '"', "\\", "019b6d3a-6C1E-7a52"]


def test_an_id_of_any_visible_ascii_comes_back(demo: Account, ana: Profile) -> None:
    sent = [an_entry(SEARCH, eventId=event_id) for event_id in STRANGE_IDS]
    assert [result["eventId"] for result in results(send(*sent))] == STRANGE_IDS
    assert sorted(the_events(demo)) == sorted(STRANGE_IDS)
    assert statuses(send(*sent)) == ["duplicate"] * len(sent)


def test_a_uuid7_brings_its_own_time_unless_no_date_has_its_year(ana: Profile) -> None:
    moment = a_moment() - MINUTE
    event_id = new_id(moment)
    without = an_entry(SEARCH, eventId=event_id) | {"eventTime": None}
    with_time = an_entry(SEARCH, eventId=event_id, eventTime=moment)
    assert statuses(send(without, without, with_time)) == ["created", "duplicate", "duplicate"]
    [shown] = timeline(ANA).body["events"]
    assert (shown["_id"], shown["createdOn"]) == (event_id, iso(moment))
    beyond_all_years = an_entry(SEARCH, eventId="ffffffff-ffff-7fff-bfff-ffffffffffff")
    answer = send(beyond_all_years | {"eventTime": None}, an_entry(SEARCH), beyond_all_years)
    assert statuses(answer) == ["refused", "created", "created"]
    assert results(answer)[0]["errors"][0]["code"] == "missing_event_time"
    alone = call("POST", "/event", beyond_all_years | {"eventTime": None})
    assert alone.errors == [("Missing eventTime", "eventTime")]


@pytest.mark.parametrize("imported", [True, False])
def test_how_far_an_event_may_lie_back(imported: bool, ana: Profile) -> None:
    now = a_moment()
    of_a_shop = [(now + 4 * MINUTE, True), (now + 6 * MINUTE, False), (now - 35 * DAY + MINUTE, True)]
    of_a_shop += [(now - 36 * DAY, False)]
    of_an_import: list[tuple[Any, bool]] = [
        (now + 6 * MINUTE, False), (now - 36 * DAY, True),
        ("2000-01-01T00:00:00Z", True), ("1999-12-31T23:59:59.999Z", False), ("2000-01-01T00:00:00+00:01", False),
        ("0001-01-01T00:00:00+14:00", False), ("9999-12-31T23:59:59-23:59", False),
    ]  # fmt: skip
    old = an_entry(SEARCH, eventId="01800000-0000-7000-8000-000000000000") | {"eventTime": None}
    tried = of_an_import if imported else of_a_shop
    times = [time if isinstance(time, str) else iso(time) for time, _ in tried]
    answer = send(old, *(an_entry(SEARCH) | {"eventTime": time} for time in times), imported=imported)
    assert statuses(answer) == ["created" if is_in else "refused" for is_in in (imported, *(each for _, each in tried))]
    told = {each["message"] for result in results(answer) for each in result.get("errors", ())}
    assert told == {"Invalid eventTime"}


@pytest.mark.parametrize("kind", ["update", "login"])
def test_an_event_5_minutes_older_than_its_profile_overwrites_nothing(kind: str, demo: Account, ana: Profile) -> None:
    now = a_moment() - timedelta(hours=1)

    def warned(attributes: dict[str, Any], back: timedelta, **user: str) -> list[str]:
        [result] = results(send(an_entry({kind: attributes}, eventTime=now - back, email=ANA, **user)))
        return [warning["field"] for warning in result["warnings"]]

    assert warned({"a": 1, "tags": ["kept"]}, 0 * MINUTE) == warned({"a": 2}, 5 * MINUTE) == []
    late = warned({"a": "old", "b": "old", "tags": ["added", "-kept"]}, 5 * MINUTE + MILLISECOND, city="x")
    assert {*late} == {f"events.0.event.{kind}.a", f"events.0.event.{kind}.tags"}
    opens = [an_entry({"emailopen": {}}, eventTime=now - each * MINUTE, _id=ana.id) for each in (0, 60)]
    send(opens[0])
    for total in (6, 7):
        order = {"confirmation": {"orderId": total, "total": total}}
        send(opens[1], an_entry(order, eventTime=now - 6 * MINUTE, _id=ana.id, city="y"))
    shown = the_profile(demo)
    assert (shown["a"], shown["b"], shown["city"], shown["tags"]) == (2, "old", "x", ["added", "kept"])
    assert (shown["lastEmailOpenDate"], shown["lastPurchaseDate"]) == (iso(now), iso(now - 6 * MINUTE))
    assert shown["lastPurchaseValue"] == 7, "of two at one time, the later one"
    many = {f"x{n}": n for n in range(2_000)}
    assert warned(many, 0 * MINUTE) == []
    assert warned(many, 6 * MINUTE)[-1] == f"events.0.event.{kind}", "warnings are stored with the event"


# --- Refusals ----------------------------------------------------------------------------------------


def test_refusals_count_neither_checks_nor_show_a_request_id_that_a_caller_chose(demo: Account, ana: Profile) -> None:
    """The gateway takes one from the header X-Amzn-RequestId; a shop may send anything there."""
    send(an_entry(SEARCH, email=BOB), path="/events/check")
    call("POST", "/events/check", "{")
    assert call("GET", "/refusals").body["refusals"] == []
    ids = {"requestId": "order-of.ana.garcia_1980", "extendedRequestId": "JKJaXmPLvHcESHA="}
    unknown: Any = {"events": [an_entry(SEARCH, email=BOB), an_entry(SEARCH, email=BOB)]}
    for path, body in (("/event", "{"), ("/events", unknown)):
        event = proxy_event("POST", path, body)
        event["requestContext"] |= ids
        answer_to(event)
    listed = call("GET", "/refusals").body["refusals"]
    assert {(each["code"], each["count"]) for each in listed} == {("invalid_json", 1), ("user_not_found", 2)}
    assert [each["lastRequestId"] for each in listed] == ["JKJaXmPLvHcESHA="] * 2
    assert BOB not in json.dumps(listed)
    assert "garcia" not in as_text(demo.table)
