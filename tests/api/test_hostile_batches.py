"""Contract section 8: an invalid value inside a batch affects one event only."""

import json
from bisect import bisect_left
from typing import Any

import pytest

from api.gateway import Answer, call
from builders import ANA, a_moment
from domain.profile import Profile
from domain.times import iso

KIB = 1024
BEYOND_ALL_YEARS = "ffffffff-ffff-7fff-bfff-ffffffffffff"  # a UUIDv7 of the year 10889


def an_event(event_id: str, **more: Any) -> dict[str, Any]:
    event: Any = {"search": {"query": "x"}}
    return {"eventId": event_id, "eventTime": iso(a_moment()), "user": {"email": ANA}, "event": event} | more


def send(*entries: dict[str, Any]) -> Answer:
    return call("POST", "/events", json.dumps({"events": entries}, ensure_ascii=False, separators=(",", ":")))


def statuses(answer: Answer) -> list[str]:
    return [each["status"] for each in answer.body["results"]]


def test_a_uuid_of_a_year_that_no_date_has_is_an_id_like_any_other(ana: Profile) -> None:
    """Such an id contains no usable time."""
    answer = send(an_event(BEYOND_ALL_YEARS, eventTime=None), an_event("e-1"), an_event(BEYOND_ALL_YEARS))
    assert statuses(answer) == ["refused", "created", "created"]
    assert answer.body["results"][0]["errors"][0]["code"] == "missing_event_time"
    again = an_event(BEYOND_ALL_YEARS, eventTime=None)
    assert call("POST", "/event", again).errors == [("Missing eventTime", "eventTime")]


@pytest.mark.parametrize(
    "value", [[1] * 60_000, ["a"] * 50_000, {f"{number}": 1 for number in range(25_000)}, ["\u0107"] * 45_000]
)
def test_an_event_that_is_taken_alone_is_not_too_large_for_a_batch(value: Any, ana: Profile) -> None:
    """Neither numbers nor commas count more than they did in what was sent."""
    large = an_event("e-1", event={"search": {"query": "x", "value": value}})
    alone = json.dumps(large, ensure_ascii=False, separators=(",", ":"))
    assert 110 * KIB < len(alone.encode()) < 256 * KIB
    other = an_event("e-2", event={"search": {"query": "x" * 150 * KIB}})
    assert statuses(send(large, other)) == ["created", "created"]


@pytest.mark.parametrize(("begin", "end"), [("[", "]"), ('{"a":', "}")])
def test_no_depth_causes_a_5xx_or_affects_another_event(begin: str, end: str, ana: Profile) -> None:
    """Just before a body is too deep to be read, what is done with it may be: it is measured if it is long."""
    short, long = (an_event("e-1", event={"search": {"query": "x" * size}}) for size in (1, 257 * KIB))

    def beside(other: dict[str, Any], depth: int) -> Answer:
        deep = f'{{"eventId":"deep","event":{begin * depth}1{end * depth}}}'
        return call("POST", "/events", f'{{"events":[{deep},{json.dumps(other)}]}}')

    deepest = bisect_left(range(50_000), True, key=lambda depth: "results" not in beside(short, depth).body) - 1
    for depth in range(deepest - 30, deepest + 1):
        assert beside(short, depth).status == 207
        assert statuses(beside(long, depth)) == ["refused", "refused"]


@pytest.mark.parametrize("letter", ["\x7f", "\u0107"])
def test_a_response_is_no_longer_than_lambda_allows_with_any_names(letter: str, ana: Profile) -> None:
    """Each letter becomes up to seven in the answer. `call` checks the length."""
    name = letter * (9_000 // len(letter.encode()))
    assert send(*(an_event("e-1", event={name: {}}) for _ in range(100))).status == 400
    assert send(*(an_event(name) for _ in range(100))).status == 400
    assert send(*(an_event(f"e-{each}", event={"update": {name: 1}}) for each in range(100))).status == 200


@pytest.mark.parametrize("number", ["1e37", "15e19", "12e-100", "0.5", "0.05", "-7", "100", "0.0", "-1e-9"])
@pytest.mark.parametrize("bytes_more", [0, 1])
def test_a_number_counts_as_many_bytes_as_its_shortest_form(number: str, bytes_more: int, ana: Profile) -> None:
    """So an event has the same size in a batch and alone."""
    whole = json.dumps(an_event("e-1", event={"search": {"query": "", "n": ["N"]}}), separators=(",", ":"))
    count = (200 * KIB) // len(f"{number},")
    whole = whole.replace('"N"', ",".join([number] * count))
    whole = whole.replace('""', json.dumps("x" * (256 * KIB + bytes_more - len(whole))))
    assert len(whole) == 256 * KIB + bytes_more
    answer = call("POST", "/events/check", f'{{"events": [{whole}, {json.dumps(an_event("e-2"))}]}}')
    codes = [error["code"] for error in answer.body["results"][0].get("errors", [])]
    assert ("body_too_large" in codes) == bool(bytes_more)


def test_a_duplicate_name_in_one_event_affects_no_other(ana: Profile) -> None:
    start = f'"eventTime": "{iso(a_moment())}", "user": {{"email": "{ANA}"}}, "event"'
    wrong = f'{{"eventId": "e-1", {start}: {{"search": {{"query": "x", "query": "y"}}}}}}'
    right = f'{{"eventId": "e-2", {start}: {{"search": {{"query": "x"}}}}}}'
    answer = call("POST", "/events", f'{{"events": [{wrong}, {right}]}}')
    assert [each["status"] for each in answer.body["results"]] == ["refused", "created"]
