"""Translate API Gateway's proxy events. No other module makes a response or an error body."""

import json
import re
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import unquote

from domain import problems
from domain.accounts import ALL_SCOPES
from domain.problems import Failed, Forbidden, NotFound, Notice, Problem, Refused, Unauthorized, Unavailable
from domain.times import to_the_millisecond
from handlers.metrics import record
from handlers.runtime import EVENT_DAYS, fail_fast_table, logger, observed, table
from table import Account
from table.calls import code_of

Event = dict[str, Any]
Response = dict[str, Any]
Headers = Mapping[str, str]


class Route(NamedTuple):
    """One route: the scope that a key needs, and the function that answers or raises Refused.

    A `read_only` route changes nothing, so it does not count its refusals. Only an unknown path needs no scope.
    """

    scope: str
    answer: Callable[[Event, Account], Response]
    read_only: bool = False


RETRY_AFTER = {"Retry-After": "1"}  # seconds
# The headers that responses to some kinds of refusal have in addition.
HEADERS: Mapping[type[Refused], Headers] = {
    Unavailable: RETRY_AFTER,
    problems.UnsupportedEncoding: {"Accept-Encoding": "gzip"},
    Unauthorized: {"WWW-Authenticate": "Bearer"},
}


def endpoint(routes: Mapping[str, Route], elsewhere: Iterable[str] = ()) -> Callable[[Event, Any], Response]:
    """Return the Lambda handler for some routes, by their names: "POST /event". `elsewhere` has other functions' names.

    It logs one line, without paths, names of fields and values, because they can identify a person.
    """
    unknown = Route("", partial(_unknown_path, [*routes, *elsewhere]))

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
            response = _answer(routes.get(route, unknown), event)
        except Exception as error:  # noqa: BLE001 the response has the request id, and the log the error
            log_failure(error)
            response = _errors(Failed.by(error), event, {})
        response["headers"]["X-Request-Id"] = gateway_id(event)
        log = logger.error if logger.get_current_keys()["outcome"] == "failed" else logger.info
        log("answered", status=response["statusCode"])
        return response

    return handler


def _answer(route: Route, event: Event) -> Response:
    """Return the response of the route, or of the Refused that it raises."""
    try:
        account = Account(table(), _account_name(event), EVENT_DAYS)
        _check_scope(route.scope, event)
        return route.answer(event, account)
    except Refused as refused:
        response = _refusal(refused, event)
        if not (route.read_only or refused.is_server_error or isinstance(refused, Unauthorized)):
            count_refusals(_account_name(event), [refused], event)
        return response


def now() -> datetime:
    """Return the time of receipt, to the millisecond."""
    return to_the_millisecond(datetime.now(UTC))


def query(event: Event) -> dict[str, str]:
    return present(event.get("queryStringParameters") or {})


def flag(event: Event, name: str) -> tuple[bool, list[Problem]]:
    """Return the value of a query parameter that is true or false, and its problems."""
    value = query(event).get(name, "false").lower()
    if value not in ("true", "false"):
        return False, [problems.invalid_parameter(name, f"{name} must be true or false.")]
    return value == "true", []


def path_parameter(event: Event, name: str) -> str:
    """Return a decoded path parameter; API Gateway passes them encoded."""
    return unquote((event.get("pathParameters") or {}).get(name) or "")


def request_id(event: Event) -> str:
    return str((event.get("requestContext") or {}).get("requestId", "unknown"))


def gateway_id(event: Event) -> str:
    """Return the gateway's id of a request that a caller cannot choose."""
    return str((event.get("requestContext") or {}).get("extendedRequestId") or request_id(event))


def present(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a body that are not None."""
    return {name: value for name, value in fields.items() if value is not None}


def ok(body: Mapping[str, Any], headers: Headers | None = None, dumps: Callable[..., str] = json.dumps) -> Response:
    return response(200, dumps(body), headers or {})


def response(status: int, body: str, headers: Headers) -> Response:
    """Return a response. Its body ends with a line feed, so that a terminal's prompt is on a new line."""
    return {"statusCode": status, "headers": {"Content-Type": "application/json", **headers}, "body": f"{body}\n"}


def warnings_of(warnings: Iterable[Notice], place: str = "") -> list[dict[str, str]]:
    """Return warnings as a body has them. `place` is the path of an event of a batch. 1.1 stored no codes."""
    return [
        present({"field": place + warning.field, "message": warning.message, "code": warning.code or None})
        for warning in warnings
    ]


def errors_of(found: Iterable[Problem], request_id: str = "") -> dict[str, Any]:
    """Return an error body. Each description includes `request_id`, if it is given."""
    errors = [
        {
            "message": problem.message,
            "description": problem.description + (f" Request id: {request_id}" if request_id else ""),
            "code": None if problem.as_documented else problem.code,
            "field": problem.field or None,
            "hint": problem.hint or None,
        }
        for problem in found
    ]
    return {"errors": list(map(present, errors))}


def count_warnings(warned: Iterable[Iterable[Notice]]) -> None:
    """Count and log the codes of warnings, each code once for each event or request."""
    codes = Counter(code for warnings in warned for code in {warning.code for warning in warnings} if code)
    for code, times in codes.items():
        record("Warnings", times, kind=code)
    if codes:
        logger.append_keys(warnings=codes)


def count_refusals(account: str, refused: Sequence[Refused], event: Event) -> None:
    """Count a refused request, or the refused events of a batch, for GET /v1/refusals, in one small write.

    A failed count never fails the request and hardly delays it: there is one attempt with a short time limit.
    """
    from use_cases.refusals import count_refused  # only for requests that fail

    try:
        count_refused(refused, account, fail_fast_table(), gateway_id(event), now())
    except Exception as error:  # noqa: BLE001 the request is refused in any case
        logger.debug("refusal not counted", error=type(error).__name__)


def log_failure(error: BaseException) -> None:
    """Log a failure: DynamoDB's code as `cause`, or the type and the stack of an exception.

    The message of an exception is not logged, because it can contain values of a caller.
    """
    logger.append_keys(outcome="failed")
    if isinstance(error, Unavailable):
        logger.append_keys(cause=error.reason)
        return
    stack = traceback.format_tb(error.__traceback__)
    logger.append_keys(error=type(error).__name__, stack=stack, cause=code_of(error))


def _check_scope(scope: str, event: Event) -> None:
    """Raise Forbidden if the key lacks the scope. An authorizer's response of 1.1, still cached, names no scopes."""
    scopes = _authorizer(event).get("scopes")
    if scope and scope not in (ALL_SCOPES if scopes is None else str(scopes).split(" ")):
        raise Forbidden([problems.forbidden(scope)])


def _unknown_path(known: Iterable[str], event: Event, account: Account) -> Response:
    """Raise NotFound. If the path exists, the description names its methods."""
    path = f"/{path_parameter(event, 'proxy').strip('/')}"
    methods = [route.split(" ") for route in known]
    found = [each for each in methods if re.fullmatch(re.sub(r"{\w+}", "[^/]+", each[1]), path)]
    if not found:
        raise NotFound([problems.UNKNOWN_PATH])
    others = sorted(method for method, _ in found)
    raise NotFound([problems.wrong_method(str(event.get("httpMethod")), found[0][1], others)])


def _refusal(refused: Refused, event: Event) -> Response:
    kind = type(refused).__name__
    record("RequestsRefused", kind=kind)
    codes = [problem.code for problem in refused.problems]
    messages = [problem.message for problem in refused.problems]
    logger.append_keys(outcome="refused", refused=kind, problems=messages, codes=codes)
    if refused.is_server_error:
        log_failure(refused)
    return _errors(refused, event, HEADERS.get(type(refused), {}))


def _errors(refused: Refused, event: Event, headers: Headers) -> Response:
    body = errors_of(refused.problems, gateway_id(event) if refused.is_server_error else "")
    return response(refused.status, json.dumps(body), {"X-Error-Code": refused.problems[0].code, **headers})


def _account_name(event: Event) -> str:
    """Return the name of the account that the authorizer found for the API key. Raise Unauthorized."""
    account = _authorizer(event).get("account")
    if not isinstance(account, str) or not account:
        raise Unauthorized([problems.UNAUTHORIZED])
    return account


def _authorizer(event: Event) -> Mapping[str, Any]:
    return (event.get("requestContext") or {}).get("authorizer") or {}
