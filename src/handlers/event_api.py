"""POST /v1/event/, /v1/events/ and /v1/events/check, in the order in which a request is processed."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from domain import problems
from domain.event_types import known_type
from domain.outcomes import First, Outcome
from domain.problems import Failed, Invalid, Notice, Problem, Refused
from domain.request import BATCH_FIELDS, MAX_EVENT_ID_LENGTH, EventRequest, parse_batch, parse_request, unread
from handlers import bodies, rest
from handlers.metrics import count_event, record
from handlers.runtime import logger
from table import Account
from use_cases.collect import collect, collect_one

MAX_BATCH_BYTES = 1024 * 1024
MAX_FIELDS = 10_000  # characters of the fields in the errors of one event of a batch
CREATED = {"message": "Event created", "email": "Event was created for the specified user"}


# --- One event ------------------------------------------------------------------------------------


def _post_event(event: rest.Event, account: Account) -> rest.Response:
    sent, key, key_problems = bodies.json_and_key_of(event)
    upsert, upsert_problems = rest.flag(event, "upsert")
    now = rest.now()
    try:
        request = parse_request(sent, now, [*key_problems, *upsert_problems])
        logger.append_keys(event_type=request.event.type)
        outcome = collect_one(request, account, now, key, upsert=upsert)
    except Exception as error:
        kind = known_type(sent)
        if isinstance(error, Refused):
            error.event_type = kind
        count_event(error, kind)
        raise
    count_event(outcome, request.event.type)
    if warnings := _new_warnings(outcome):
        rest.count_warnings([warnings])
    return _answer(outcome, logged_id=not request.own_id)


def _answer(outcome: Outcome, *, logged_id: bool) -> rest.Response:
    """Return the response for an event. A duplicate gets the response of the first request."""
    is_replay = outcome.replayed or outcome.status == "duplicate"
    status = "discarded" if outcome.restriction else "created"
    logger.append_keys(
        event_id=outcome.event_id if logged_id else None,  # a caller's id can contain personal data
        outcome=outcome.status,
        discarded=outcome.restriction and outcome.restriction.code,
        replayed=is_replay,
        user_created=outcome.user_created or None,
    )
    body: dict[str, Any] = {"results": CREATED}
    if outcome.restriction:
        body = {"results": {"message": "Event discarded", "email": outcome.restriction.text}}
    if outcome.first:
        body["first"] = _first(outcome.first)
    headers = {"X-Event-Id": outcome.event_id, "X-Event-Status": status}
    headers |= {"X-User-Id": outcome.user_id} if outcome.user_id else {}
    headers |= {"X-User-Created": "true"} if outcome.user_created else {}
    if is_replay:
        headers["Idempotent-Replayed"] = "true"
    if outcome.warnings:
        body["warnings"] = rest.warnings_of(outcome.warnings)
    return rest.ok(body, headers)


# --- Many events ----------------------------------------------------------------------------------


def _check_events(event: rest.Event, account: Account) -> rest.Response:
    """Process a batch on a table that is not written."""
    from table.overlay import Overlay

    return _post_events(event, account._replace(table=Overlay.over(account.table)), stored=False)


def _post_events(event: rest.Event, account: Account, *, stored: bool = True) -> rest.Response:
    body = bodies.body_of(event, MAX_BATCH_BYTES, problems.BATCH_TOO_LARGE)
    upsert, wrong = rest.flag(event, "upsert")
    if bodies.header(event, "Idempotency-Key") is not None:
        wrong.append(problems.invalid_parameter("Idempotency-Key", problems.KEY_NOT_FOR_BATCHES))
    if wrong:
        raise Invalid(wrong)
    sent, refuse = bodies.json_batch(body)
    now = rest.now()
    requests = parse_batch(sent, now, refuse)
    outcomes = collect(requests, account, now, upsert=upsert)
    for entry, outcome in zip(sent["events"], outcomes, strict=True):
        if isinstance(outcome, Refused):
            outcome.event_type = known_type(entry)
    refused = [outcome for outcome in outcomes if isinstance(outcome, Refused) and not outcome.is_server_error]
    if stored:
        if refused:
            rest.count_refusals(account.name, refused, event)
        for request, outcome in zip(requests, outcomes, strict=True):
            count_event(outcome, request.event.type if isinstance(request, EventRequest) else None)
            if isinstance(outcome, Refused):
                record("RequestsRefused", kind=type(outcome).__name__)
        rest.count_warnings(_new_warnings(outcome) for outcome in outcomes if isinstance(outcome, Outcome))
    pairs = enumerate(zip(sent["events"], outcomes, strict=True))
    results = [_result(place, *pair, rest.gateway_id(event)) for place, pair in pairs]
    unknown = unread(sent, BATCH_FIELDS, "")
    around = ({} if stored else {"stored": False}) | ({"warnings": rest.warnings_of(unknown)} if unknown else {})
    return _results(outcomes, {**around, "results": results})


def _results(outcomes: Sequence[Outcome | Refused], body: dict[str, Any]) -> rest.Response:
    refused = [outcome for outcome in outcomes if isinstance(outcome, Refused)]
    codes = Counter(outcome.problems[0].code for outcome in refused)
    logger.append_keys(
        events=Counter(result["status"] for result in body["results"]),
        users_created=sum("userCreated" in result for result in body["results"]) or None,
        codes=codes,
        types=Counter(outcome.event_type or "unknown" for outcome in refused) or None,
    )
    failures = [outcome for outcome in refused if outcome.is_server_error]
    for failed in failures:
        rest.log_failure(failed.__cause__ if isinstance(failed, Failed) and failed.__cause__ else failed)
    headers = {"X-Error-Code": refused[0].problems[0].code} if refused else {}
    headers |= rest.RETRY_AFTER if failures else {}
    return rest.response(_status(outcomes, refused, failures), json.dumps(body), headers)


def _status(outcomes: Sequence[object], refused: Sequence[object], failures: Sequence[object]) -> int:
    if not refused:
        return 200
    if len(refused) < len(outcomes):
        return 207
    return 503 if failures else 400


def _result(place: int, entry: object, outcome: Outcome | Refused, request_id: str) -> dict[str, Any]:
    """Return the entry of `results` for one event."""
    if isinstance(outcome, Refused):
        event_id = entry.get("eventId") if isinstance(entry, dict) else None
        return {
            "status": "failed" if outcome.is_server_error else "refused",
            "eventId": event_id[:MAX_EVENT_ID_LENGTH] if isinstance(event_id, str) else None,
            **rest.errors_of(_listed_problems(outcome, place), request_id if outcome.is_server_error else ""),
        }
    result: dict[str, Any] = {"status": outcome.status, "eventId": outcome.event_id}
    result |= {"userId": outcome.user_id} if outcome.user_id else {}
    if outcome.restriction:
        result |= {"code": outcome.restriction.code, "message": outcome.restriction.text}
        return result | ({"first": _first(outcome.first)} if outcome.first else {})
    if outcome.status == "duplicate":
        return result | {"createdOn": outcome.created_on, "samePayload": outcome.same_payload}
    result |= {"userCreated": True} if outcome.user_created else {}
    return result | {"warnings": rest.warnings_of(outcome.warnings, f"events.{place}.")}


def _listed_problems(refused: Refused, place: int) -> list[Problem]:
    """Return the problems of one event: the first one, and more as far as they fit. Lambda returns at most 6 MB."""
    if refused.is_server_error:
        return [problems.of_a_batch(problem) for problem in refused.problems]
    found = [problem.under(f"events.{place}") for problem in refused.problems]
    sizes = accumulate(len(json.dumps(problem.field)) for problem in found)
    return found[: max(1, sum(size <= MAX_FIELDS for size in sizes))]


# --- Both -----------------------------------------------------------------------------------------


def _first(first: First) -> dict[str, Any]:
    shown = {"eventId": first.event_id, "createdOn": first.created_on, "samePayload": first.same_payload}
    return rest.present(shown)


def _new_warnings(outcome: Outcome) -> Sequence[Notice]:
    """Return the warnings of this request, without the stored warnings that a repeat returns again."""
    if outcome.status == "created" and not outcome.replayed:
        return outcome.warnings
    return () if outcome.same_payload else outcome.warnings[-1:]


ROUTES: Mapping[str, rest.Route] = {
    "POST /event": rest.Route("send", _post_event),
    "POST /events": rest.Route("send", _post_events),
    "POST /events/check": rest.Route("send", _check_events, read_only=True),
}
handler = rest.endpoint(ROUTES)
