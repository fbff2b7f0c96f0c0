"""Between API Gateway's proxy events and the domain. Nothing else makes a response or an error body."""

import base64
import json
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal, InvalidOperation
from functools import wraps
from typing import Any

from domain.idempotency import MAX_KEY_LENGTH, IdempotencyKey
from domain.problems import (
    BODY_TOO_LARGE,
    UNAUTHORIZED,
    Conflict,
    Invalid,
    KeyReused,
    NotFound,
    Problem,
    Refused,
    TooLarge,
    Unauthorized,
    Unavailable,
    Warning,
    invalid_json,
    invalid_parameter,
)
from handlers.metrics import record
from handlers.runtime import logger, observed

Event = dict[str, Any]
Response = dict[str, Any]

STATUS: Mapping[type[Refused], int] = {
    Invalid: 400,
    Unauthorized: 401,
    NotFound: 404,
    Conflict: 409,
    TooLarge: 413,
    KeyReused: 422,
    Unavailable: 503,
}
MAX_BODY_BYTES = 256 * 1024
RETRY_AFTER_SECONDS = 1
NOT_UTF_8 = "The body is not text in UTF-8. It may not be compressed."


def endpoint(answer: Callable[[Event], Response]) -> Callable[[Event, Any], Response]:
    """Makes a Lambda handler of a function that answers a request or raises Refused.

    It logs one line, with no more of the request than is named here and by the handlers: what callers send
    (paths, field names and values) tells who somebody is.
    """

    @observed
    @wraps(answer)
    def handler(event: Event, context: Any) -> Response:
        logger.append_keys(
            correlation_id=_request_id(event),
            # The one of the gateway's two ids that a caller cannot choose.
            extended_request_id=(event.get("requestContext") or {}).get("extendedRequestId"),
            account=_authorizer(event).get("account"),
            route=f"{event.get('httpMethod')} {event.get('resource')}",
            outcome="done",
        )
        try:
            response = answer(event)
        except Refused as refused:
            response = _refusal(refused)
        except Exception as error:  # noqa: BLE001 the last resort: the caller learns the request id, the log the rest
            response = _failure(error, event)
        log = logger.error if response["statusCode"] == 500 else logger.info
        log("answered", status=response["statusCode"])
        return response

    return handler


def account_of(event: Event) -> str:
    """The account that the authorizer found for the API key. Raises Unauthorized."""
    account = _authorizer(event).get("account")
    if not isinstance(account, str) or not account:
        raise Unauthorized([UNAUTHORIZED])
    return account


def body_of(event: Event) -> bytes:
    """The body as the caller sent it. Raises TooLarge and Invalid."""
    body = event.get("body") or ""
    try:
        raw = base64.b64decode(body, validate=True) if event.get("isBase64Encoded") else body.encode()
    except ValueError as error:
        raise Invalid([invalid_json(NOT_UTF_8)]) from error
    if len(raw) > MAX_BODY_BYTES:
        raise TooLarge([BODY_TOO_LARGE])
    return raw


def json_object(body: bytes) -> dict[str, Any]:
    """The JSON object in a body, its numbers as Decimal. Raises Invalid."""
    try:
        value = json.loads(
            body.decode("utf-8-sig"),  # PHP's editors like to begin with a byte order mark
            parse_int=_number,
            parse_float=_number,
            parse_constant=_number,
            object_pairs_hook=_unique,
        )
    except json.JSONDecodeError as error:
        what = error.msg if body else "The body is empty: an object is expected"
        raise Invalid([invalid_json(f"{what} at line {error.lineno}, column {error.colno}.")]) from error
    except UnicodeDecodeError as error:
        raise Invalid([invalid_json(NOT_UTF_8)]) from error
    except RecursionError as error:
        raise Invalid([invalid_json("Lists and objects are nested too deep.")]) from error
    if not isinstance(value, dict):
        raise Invalid([invalid_json("The body is not an object, which would start with { at line 1, column 1.")])
    return value


def idempotency_key(event: Event, body: bytes) -> tuple[IdempotencyKey | None, list[Problem]]:
    """The key of the Idempotency-Key header, and what is wrong with it."""
    key = header(event, "Idempotency-Key")
    if key is None:
        return None, []
    if not 1 <= len(key) <= MAX_KEY_LENGTH:
        return None, [invalid_parameter("Idempotency-Key", f"The key has 1 to {MAX_KEY_LENGTH} characters.")]
    return IdempotencyKey.of(key, body), []


def header(event: Event, name: str) -> str | None:
    """The value of a header, whatever case its name comes in."""
    for given, value in (event.get("headers") or {}).items():
        if given.lower() == name.lower() and value is not None:
            return str(value)
    return None


def ok(
    body: Mapping[str, Any], headers: Mapping[str, str] | None = None, dumps: Callable[..., str] = json.dumps
) -> Response:
    return _response(200, dumps(body), headers or {})


def warnings_of(warnings: Iterable[Warning]) -> dict[str, Any]:
    """The `warnings` of a body: absent when there are none."""
    listed = [{"field": warning.field, "message": warning.message} for warning in warnings]
    return {"warnings": listed} if listed else {}


def errors_of(problems: Iterable[Problem]) -> dict[str, Any]:
    """The one shape of an error body."""
    return {
        "errors": [
            {"message": problem.message, "description": problem.description}
            | ({"field": problem.field} if problem.field else {})
            for problem in problems
        ]
    }


def _refusal(refused: Refused) -> Response:
    kind = type(refused)
    record("RequestsRefused", kind=kind.__name__)
    problems = [problem.message for problem in refused.problems]
    logger.append_keys(outcome="refused", refused=kind.__name__, problems=problems)
    retry = {"Retry-After": str(RETRY_AFTER_SECONDS)} if kind is Unavailable else {}
    return _response(STATUS[kind], json.dumps(errors_of(refused.problems)), retry)


def _failure(error: Exception, event: Event) -> Response:
    """An error of ours. Its message may hold what the caller sent, so the log gets type and place only."""
    stack = traceback.format_tb(error.__traceback__)
    logger.append_keys(outcome="failed", error=type(error).__name__, stack=stack)
    problem = Problem("Internal server error", f"The request failed on our side. Request id: {_request_id(event)}")
    return _response(500, json.dumps(errors_of([problem])), {})


def _response(status: int, body: str, headers: Mapping[str, str]) -> Response:
    return {"statusCode": status, "headers": {"Content-Type": "application/json", **headers}, "body": body}


def _authorizer(event: Event) -> Mapping[str, Any]:
    return (event.get("requestContext") or {}).get("authorizer") or {}


def _request_id(event: Event) -> str:
    return str((event.get("requestContext") or {}).get("requestId", "unknown"))


def _number(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:  # an exponent beyond Python's: no number that can be stored
        return Decimal("NaN")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; which of two values for one name counts, only the caller could say."""
    value = dict(pairs)
    if len(value) != len(pairs):
        times = Counter(name for name, _ in pairs)
        twice = next(name for name in times if times[name] > 1)
        raise Invalid([invalid_json(f"The name {json.dumps(twice[:64])} is given twice in one object.")])
    return value
