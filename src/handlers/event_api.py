"""POST /v1/event/: reads as the story of a request."""

from datetime import UTC, datetime

from domain.collect import collect
from domain.idempotency import Answer
from domain.problems import NotFound
from domain.request import parse_request
from domain.restrictions import Restriction
from domain.store import Store
from handlers import rest
from handlers.metrics import record
from handlers.runtime import logger, table


@rest.endpoint
def handler(event: rest.Event) -> rest.Response:
    store = Store(table(), rest.account_of(event))
    body = rest.body_of(event)
    key, key_problems = rest.idempotency_key(event, body)
    request = parse_request(rest.json_object(body), key_problems)
    logger.append_keys(event_type=request.event.type)
    try:
        answer = collect(request, store, datetime.now(UTC), key)
    except NotFound:
        record("UnknownUsers", 1)
        raise
    record("UnknownUsers", 0)
    if not answer.replayed:
        _count(request.event.type, answer)
    return _response(answer)


def _count(event_type: str, answer: Answer) -> None:
    if answer.discarded:
        record("EventsDiscarded", kind=Restriction(answer.discarded).name)
    else:
        record("EventsCreated", kind=event_type)


def _response(answer: Answer) -> rest.Response:
    status = "discarded" if answer.discarded else "created"
    logger.append_keys(event_id=answer.event_id, outcome=status, discarded=answer.discarded, replayed=answer.replayed)
    results = {"message": "Event created", "email": "Event was created for the specified user"}
    if answer.discarded:
        results = {"message": "Event discarded", "email": answer.discarded}
    headers = {"X-Event-Id": answer.event_id, "X-Event-Status": status, "X-User-Id": answer.user_id}
    if answer.replayed:
        headers["Idempotent-Replayed"] = "true"
    return rest.ok({"results": results, **rest.warnings_of(answer.warnings)}, headers)
