"""POST /v1/event/: reads as the story of a request."""

from datetime import UTC, datetime

from aws_lambda_powertools.logging import correlation_paths

from domain.collect import collect
from domain.idempotency import Answer
from domain.request import parse_request
from domain.store import Store
from handlers import rest
from handlers.runtime import logger, table


@logger.inject_lambda_context(correlation_id_path=correlation_paths.API_GATEWAY_REST, clear_state=True)
@rest.endpoint
def handler(event: rest.Event) -> rest.Response:
    store = Store(table(), rest.account_of(event))
    body = rest.body_of(event)
    request = parse_request(rest.json_object(body))
    logger.append_keys(event_type=request.event.type)
    answer = collect(request, store, datetime.now(UTC), rest.idempotency_key(event, body))
    return _response(answer)


def _response(answer: Answer) -> rest.Response:
    status = "discarded" if answer.discarded else "created"
    logger.append_keys(event_id=answer.event_id, outcome=status)
    results = {"message": "Event created", "email": "Event was created for the specified user"}
    if answer.discarded:
        results = {"message": "Event discarded", "email": answer.discarded}
    headers = {"X-Event-Id": answer.event_id, "X-Event-Status": status, "X-User-Id": answer.user_id}
    if answer.replayed:
        headers["Idempotent-Replayed"] = "true"
    return rest.ok({"results": results, **rest.warnings_of(answer.warnings)}, headers)
