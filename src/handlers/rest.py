"""Between API Gateway's proxy events and the domain. Nothing else makes a response or an error body."""

import base64
import json
import traceback
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import unquote

from domain.accounts import ALL_SCOPES
from domain.outcomes import MAX_KEY_LENGTH, IdempotencyKey
from domain.problems import (
    BODY_TOO_LARGE,
    UNAUTHORIZED,
    UNKNOWN_PATH,
    UNSUPPORTED_ENCODING,
    Conflict,
    Failed,
    Forbidden,
    Invalid,
    KeyReused,
    NotFound,
    Notice,
    Problem,
    Refused,
    TooLarge,
    Unauthorized,
    Unavailable,
    UnsupportedEncoding,
    forbidden,
    internal_error,
    invalid_json,
    invalid_parameter,
)
from domain.times import to_the_millisecond
from handlers import refusals
from handlers.metrics import record
from handlers.runtime import logger, observed, table
from table import Account
from table.calls import code_of

Event = dict[str, Any]
Response = dict[str, Any]


class Route(NamedTuple):
    """One route: the scope that a key needs for it, and what answers it or raises Refused.

    A `read_only` route does not count its refusals, because it changes nothing at all. Only an unknown path needs no
    scope.
    """

    scope: str
    answer: Callable[[Event, Account], Response]
    read_only: bool = False


STATUS: Mapping[type[Refused], int] = {
    Invalid: 400,
    Unauthorized: 401,
    Forbidden: 403,
    NotFound: 404,
    Conflict: 409,
    TooLarge: 413,
    UnsupportedEncoding: 415,
    KeyReused: 422,
    Failed: 500,
    Unavailable: 503,
    Refused: 500,  # one that has no status of its own
}
MAX_BODY_BYTES = 256 * 1024
RETRY_AFTER = {"Retry-After": "1"}  # seconds
GZIP = b"\x1f\x8b"
GZIP_FORMAT = 16 + zlib.MAX_WBITS
MAX_MEMBERS = 100
NOT_UTF_8 = "The body is not text in UTF-8. It may be compressed with gzip, once."
TOO_DEEP = "Lists and objects are nested too deep."
BROKEN_GZIP = "The body begins like gzip, but it is cut off or broken."


def endpoint(routes: Mapping[str, Route]) -> Callable[[Event, Any], Response]:
    """The Lambda handler that answers the requests of some routes, by their names: "POST /event".

    It logs one line, with no more of the request than is named here and by the routes: what callers send (paths, field
    names and values) tells who somebody is.
    """

    @observed
    def handler(event: Event, context: Any) -> Response:
        route = f"{event.get('httpMethod')} {event.get('resource')}"
        logger.append_keys(
            correlation_id=request_id(event),
            extended_request_id=(event.get("requestContext") or {}).get("extendedRequestId"),
            account=_authorizer(event).get("account"),
            key_id=_authorizer(event).get("keyId"),
            route=route,
            outcome="done",
        )
        try:
            response = _answer(routes.get(route, UNKNOWN), event)
        except Exception as error:  # noqa: BLE001 the last resort: the caller learns the request id, the log the rest
            response = _failure(error, event)
        log = logger.error if logger.get_current_keys()["outcome"] == "failed" else logger.info
        log("answered", status=response["statusCode"])
        return response

    return handler


def _answer(route: Route, event: Event) -> Response:
    """What the route answers or is refused with. Raises what only the last resort can answer."""
    try:
        account = Account(table(), _account_name(event))
        _check_scope(route.scope, event)
        return route.answer(event, account)
    except Refused as refused:
        response = _refusal(refused, event)
        if not route.read_only:
            _count(refused, event)
        return response


def now() -> datetime:
    """When a request is received, to the millisecond."""
    return to_the_millisecond(datetime.now(UTC))


def body_of(event: Event, limit: int = MAX_BODY_BYTES, too_large: Problem = BODY_TOO_LARGE) -> bytes:
    """The body as the caller made it, unpacked if it is gzip. Raises TooLarge, Invalid and UnsupportedEncoding."""
    body = event.get("body") or ""
    try:
        raw = base64.b64decode(body, validate=True) if event.get("isBase64Encoded") else body.encode()
    except ValueError as error:
        raise Invalid([invalid_json(NOT_UTF_8)]) from error
    # By its first bytes: the gateway may have unpacked it, and left the header.
    if raw.startswith(GZIP):
        raw = _unpacked(raw, limit)
    elif _is_packed(raw, header(event, "Content-Encoding")):
        raise UnsupportedEncoding([UNSUPPORTED_ENCODING])
    if len(raw) > limit:
        raise TooLarge([too_large])
    return raw


class Twice(dict[str, Any]):
    """An object in which a name is given twice. Which of the two values counts, only the caller could say."""

    name: str


def json_object(body: bytes, marked: list[Twice] | None = None) -> dict[str, Any]:
    """The JSON object in a body, its numbers as Decimal. Raises Invalid.

    Of objects in which a name is given twice it raises as well, or adds them to `marked`: then they are a matter of the
    part of the body that they are in.
    """
    try:
        value = json.loads(
            body.decode("utf-8-sig"),  # PHP's editors like to begin with a byte order mark
            parse_int=_number,
            parse_float=_number,
            parse_constant=_number,
            object_pairs_hook=partial(_object, marked),
        )
    except json.JSONDecodeError as error:
        what = error.msg if body else "The body is empty: an object is expected"
        raise Invalid([invalid_json(f"{what} at line {error.lineno}, column {error.colno}.")]) from error
    except UnicodeDecodeError as error:
        raise Invalid([invalid_json(NOT_UTF_8)]) from error
    except RecursionError as error:
        raise Invalid([invalid_json(TOO_DEEP)]) from error
    if not isinstance(value, dict):
        raise Invalid([invalid_json("The body is not an object, which would start with { at line 1, column 1.")])
    return value


def twice(value: Twice) -> Invalid:
    return Invalid([invalid_json(f"The name {json.dumps(value.name[:64])} is given twice in one object.")])


def find_twice(value: object) -> Twice | None:
    """An object in a JSON value in which a name is given twice."""
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, Twice):
            return part
        waiting += part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
    return None


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


def query(event: Event) -> dict[str, str]:
    return {name: value for name, value in (event.get("queryStringParameters") or {}).items() if value is not None}


def path_parameter(event: Event, name: str) -> str:
    """API Gateway hands path parameters over as they were sent: still encoded."""
    return unquote((event.get("pathParameters") or {}).get(name) or "")


def request_id(event: Event) -> str:
    return str((event.get("requestContext") or {}).get("requestId", "unknown"))


def gateway_id(event: Event) -> str:
    """The one of the gateway's two ids of a request that a caller cannot choose."""
    return str((event.get("requestContext") or {}).get("extendedRequestId") or request_id(event))


def ok(
    body: Mapping[str, Any], headers: Mapping[str, str] | None = None, dumps: Callable[..., str] = json.dumps
) -> Response:
    return response(200, dumps(body), headers or {})


def response(status: int, body: str, headers: Mapping[str, str]) -> Response:
    """A body ends with a line feed, so that a terminal's prompt does not stick to it."""
    return {"statusCode": status, "headers": {"Content-Type": "application/json", **headers}, "body": f"{body}\n"}


def warnings_of(warnings: Iterable[Notice]) -> dict[str, Any]:
    """The `warnings` of a body: absent when there are none."""
    listed = [{"field": warning.field, "message": warning.message} for warning in warnings]
    return {"warnings": listed} if listed else {}


def errors_of(problems: Iterable[Problem]) -> dict[str, Any]:
    """The one shape of an error body."""
    return {
        "errors": [
            {"message": problem.message, "description": problem.description}
            | ({} if problem.as_documented else {"code": problem.code})
            | ({"field": problem.field} if problem.field else {})
            for problem in problems
        ]
    }


def status_of(kind: type[Refused]) -> int:
    """A subclass has the status of its nearest ancestor that has one."""
    return next(STATUS[ancestor] for ancestor in kind.__mro__ if ancestor in STATUS)


def log_failure(error: BaseException) -> None:
    """Log a failure of ours: DynamoDB's code as `cause`, an error of the code by type and place only, because its
    message may hold what the caller sent.
    """
    logger.append_keys(outcome="failed")
    if isinstance(error, Unavailable):
        logger.append_keys(cause=error.reason)
        return
    stack = traceback.format_tb(error.__traceback__)
    logger.append_keys(error=type(error).__name__, stack=stack, cause=code_of(error))


def _check_scope(scope: str, event: Event) -> None:
    """Raise Forbidden if the key does not have the scope.

    The gateway keeps an answer of the authorizer for a while, so right after the update from 1.1 it may name none.
    """
    scopes = _authorizer(event).get("scopes")
    if scope and scope not in (ALL_SCOPES if scopes is None else str(scopes).split(" ")):
        raise Forbidden([forbidden(scope)])


def _unknown_path(event: Event, account: Account) -> Response:
    raise NotFound([UNKNOWN_PATH])


UNKNOWN = Route("", _unknown_path)


def _refusal(refused: Refused, event: Event) -> Response:
    kind, status = type(refused), status_of(type(refused))
    record("RequestsRefused", kind=kind.__name__)
    codes = [problem.code for problem in refused.problems]
    problems = [problem.message for problem in refused.problems]
    logger.append_keys(outcome="refused", refused=kind.__name__, problems=problems, codes=codes)
    headers = {"X-Error-Code": codes[0]}
    if status >= 500:
        log_failure(refused)
    if isinstance(refused, Unavailable):
        headers |= RETRY_AFTER
    elif isinstance(refused, UnsupportedEncoding):
        headers["Accept-Encoding"] = "gzip"
    return response(status, json.dumps(errors_of(refused.problems)), headers)


def _count(refused: Refused, event: Event) -> None:
    """For GET /v1/refusals, if it is the caller's fault and the caller is known."""
    if status_of(type(refused)) < 500 and not isinstance(refused, Unauthorized):
        refusals.count(_account_name(event), [refused], gateway_id(event), now())


def _failure(error: Exception, event: Event) -> Response:
    log_failure(error)
    problem = internal_error(request_id(event))
    return response(500, json.dumps(errors_of([problem])), {"X-Error-Code": problem.code})


def _account_name(event: Event) -> str:
    """The account that the authorizer found for the API key. Raises Unauthorized."""
    account = _authorizer(event).get("account")
    if not isinstance(account, str) or not account:
        raise Unauthorized([UNAUTHORIZED])
    return account


def _authorizer(event: Event) -> Mapping[str, Any]:
    return (event.get("requestContext") or {}).get("authorizer") or {}


def _unpacked(raw: bytes, limit: int) -> bytes:
    """What is in a gzip body, of which no more is unpacked than would be accepted, and one byte."""
    unpacked = b""
    for _ in range(MAX_MEMBERS):  # RFC 1952: a file may be several members, one after the other
        member = zlib.decompressobj(GZIP_FORMAT)
        try:
            unpacked += member.decompress(raw, limit + 1 - len(unpacked))
        except zlib.error as error:
            raise Invalid([invalid_json(BROKEN_GZIP)]) from error
        if len(unpacked) > limit:
            return unpacked
        if not member.eof:
            raise Invalid([invalid_json(BROKEN_GZIP)])
        raw = member.unused_data
        if not raw:
            return unpacked
    raise Invalid([invalid_json(BROKEN_GZIP)])


def _is_packed(raw: bytes, encoding: str | None) -> bool:
    """Whether a body that says that it is compressed still is: then it does not look like JSON."""
    if not encoding or encoding.strip().lower() in ("identity", "gzip", "x-gzip"):
        return False
    try:
        text = raw.decode("utf-8-sig").lstrip()
    except UnicodeDecodeError:
        return True
    return bool(text) and text[0] not in "{["


def _number(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:  # an exponent beyond Python's: no number that can be stored
        return Decimal("NaN")


def _object(marked: list[Twice] | None, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) == len(pairs):
        return value
    times = Counter(name for name, _ in pairs)
    found = Twice(value)
    found.name = next(name for name in times if times[name] > 1)
    if marked is None:
        raise twice(found)
    marked.append(found)
    return found
