"""/v1/user/...: API Gateway has routed the request; each route is one function here."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

from domain import users
from domain.ids import time_of
from domain.problems import UNKNOWN_PATH, NotFound, Warning
from domain.profile import Profile, iso
from domain.store import Store
from handlers import rest
from handlers.runtime import table


@rest.endpoint
def handler(event: rest.Event) -> rest.Response:
    store = Store(table(), rest.account_of(event))
    route = ROUTES.get(f"{event.get('httpMethod')} {event.get('resource')}")
    if route is None:
        raise NotFound([UNKNOWN_PATH])
    return route(event, store)


def _get(event: rest.Event, store: Store) -> rest.Response:
    return rest.ok(users.read(_identifier(event), store).flat(), dumps=users.json_text)


def _post(event: rest.Event, store: Store) -> rest.Response:
    profile, warnings = users.create(rest.json_object(rest.body_of(event)), store, datetime.now(UTC))
    return _result("Successfully added new user.", profile, warnings)


def _put(event: rest.Event, store: Store) -> rest.Response:
    sent = rest.json_object(rest.body_of(event))
    upsert = _query(event).get("upsert", "").lower() == "true"
    profile, warnings, created = users.change(_identifier(event), sent, upsert, store, datetime.now(UTC))
    return _result("Successfully added new user." if created else "Successfully updated user.", profile, warnings)


def _delete(event: rest.Event, store: Store) -> rest.Response:
    profile = users.erase(_identifier(event), store, datetime.now(UTC))
    return rest.ok({"results": [_message("Successfully deleted user.", profile)]})


def _get_events(event: rest.Event, store: Store) -> rest.Response:
    page, cursor = users.events(_identifier(event), _query(event), store)
    listed = [
        {"_id": each.id, "type": each.type, "payload": each.payload, "createdOn": iso(time_of(each.id))}
        for each in page
    ]
    return rest.ok({"events": listed} | ({"cursor": cursor} if cursor else {}), dumps=users.json_text)


ROUTES: Mapping[str, Callable[[rest.Event, Store], rest.Response]] = {
    "POST /user": _post,
    "GET /user/{id}": _get,
    "PUT /user/{id}": _put,
    "DELETE /user/{id}": _delete,
    "GET /user/{id}/events": _get_events,
}


def _result(message: str, profile: Profile, warnings: list[Warning]) -> rest.Response:
    results = {"results": [_message(message, profile)], "object": profile.flat()}
    return rest.ok({**results, **rest.warnings_of(warnings)}, dumps=users.json_text)


def _message(message: str, profile: Profile) -> dict[str, Any]:
    return {"message": message} | ({"email": profile.email} if profile.email else {})


def _identifier(event: rest.Event) -> str:
    return unquote((event.get("pathParameters") or {}).get("id") or "")


def _query(event: rest.Event) -> dict[str, str]:
    return {name: value for name, value in (event.get("queryStringParameters") or {}).items() if value is not None}
