"""/v1/user/..., /v1/erasures/... and /v1/refusals, with one function for each route."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from domain.outcomes import StoredEvent
from domain.profile import Profile
from domain.times import iso
from handlers import bodies, rest
from handlers.metrics import record
from table import Account
from use_cases import users

if TYPE_CHECKING:
    from table.refusal_counts import Refusal


def _get(event: rest.Event, account: Account) -> rest.Response:
    return rest.ok(users.get(_identifier(event), account).flat(), dumps=users.json_text)


def _post(event: rest.Event, account: Account) -> rest.Response:
    changed = users.create(bodies.json_of(event), account, rest.now())
    return _result("Successfully added new user.", changed.profile, changed)


def _put(event: rest.Event, account: Account) -> rest.Response:
    sent = bodies.json_of(event)
    upsert, problems = rest.flag(event, "upsert")
    changed = users.change(_identifier(event), sent, upsert, account, rest.now(), problems)
    message = "Successfully added new user." if changed.is_new else "Successfully updated user."
    return _result(message, changed.profile, changed)


def _put_email(event: rest.Event, account: Account) -> rest.Response:
    profile = users.change_email(_identifier(event), bodies.json_of(event), account)
    return _result("Successfully updated user.", profile)


def _delete_attribute(event: rest.Event, account: Account) -> rest.Response:
    name = rest.path_parameter(event, "name")
    profile = users.remove_attribute(_identifier(event), name, account)
    return _result("Successfully updated user.", profile)


def _delete(event: rest.Event, account: Account) -> rest.Response:
    profile, requested_on = users.erase(_identifier(event), account, rest.now())
    results = {"results": [_message("Successfully deleted user.", profile)]}
    return rest.ok({**results, "erasure": {"_id": profile.id, "requestedOn": requested_on}})


def _get_erasure(event: rest.Event, account: Account) -> rest.Response:
    user_id = _identifier(event)
    receipt = users.receipt(user_id, account)
    status = "finished" if receipt.is_finished else "in_progress"
    counted = {"finishedOn": receipt.finished_on, "eventsDeleted": receipt.events_deleted}
    return rest.ok(rest.present({"_id": user_id, "status": status, "requestedOn": receipt.requested_on, **counted}))


def _get_events(event: rest.Event, account: Account) -> rest.Response:
    page, cursor = users.timeline(_identifier(event), rest.query(event), account, rest.now())
    return rest.ok(rest.present({"events": list(map(_shown, page)), "cursor": cursor}), dumps=users.json_text)


def _get_refusals(event: rest.Event, account: Account) -> rest.Response:
    from use_cases import refusals  # rarely used

    page, cursor = refusals.newest(rest.query(event), account, rest.now())
    return rest.ok(rest.present({"refusals": list(map(_counted, page)), "cursor": cursor}))


def _counted(refusal: "Refusal") -> dict[str, Any]:
    reason = {name: value for name, value in refusal.reason._asdict().items() if value}
    return {"hour": refusal.hour, **reason, "count": refusal.count, "lastRequestId": refusal.last_request_id}


def _shown(event: StoredEvent) -> dict[str, Any]:
    shown = {"_id": event.id, "type": event.type, "payload": event.payload, "createdOn": iso(event.happened_at)}
    more = {"receivedOn": event.received_on, "warnings": rest.warnings_of(event.warnings) or None}
    return rest.present(shown | more)


def _result(message: str, profile: Profile, changed: users.Changed | None = None) -> rest.Response:
    body: dict[str, Any] = {"results": [_message(message, profile)], "object": profile.flat()}
    if changed and changed.is_new:
        record("UsersCreated")
    if changed and changed.warnings:
        body["warnings"] = rest.warnings_of(changed.warnings)
        rest.count_warnings([changed.warnings])
    return rest.ok(body, dumps=users.json_text)


def _message(message: str, profile: Profile) -> dict[str, Any]:
    return rest.present({"message": message, "email": profile.email})


def _identifier(event: rest.Event) -> str:
    return rest.path_parameter(event, "id")


ROUTES: Mapping[str, rest.Route] = {
    "POST /user": rest.Route("write", _post),
    "GET /user/{id}": rest.Route("read", _get),
    "PUT /user/{id}": rest.Route("write", _put),
    "PUT /user/{id}/email": rest.Route("write", _put_email),
    "DELETE /user/{id}": rest.Route("erase", _delete),
    "DELETE /user/{id}/attributes/{name}": rest.Route("write", _delete_attribute),
    "GET /user/{id}/events": rest.Route("read", _get_events),
    "GET /erasures/{id}": rest.Route("read", _get_erasure),
    "GET /refusals": rest.Route("read", _get_refusals),
}
handler = rest.endpoint(ROUTES, elsewhere=("POST /event", "POST /events", "POST /events/check"))
