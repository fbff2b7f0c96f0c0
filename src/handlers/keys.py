"""API keys, for operators: `sam remote invoke KeyFunction --event '{"action": "create", "account": "shop"}'`.

    {"action": "create", "account": NAME[, "expiresOn": DATE][, "scopes": SCOPES]}
    {"action": "list",   "account": NAME}                                the data of the account's keys
    {"action": "expire", "account": NAME, "keyId": ID, "expiresOn": DATE}
    {"action": "revoke", "account": NAME, "keyId": ID}

`create` returns the key, which is never shown again. DATE is ISO 8601 with an offset. SCOPES is a list of "send",
"read", "write" and "erase". Without it a key has all scopes. Errors have the same form as those of the API.
"""

from datetime import UTC, datetime
from typing import Any

from domain.accounts import ALL_SCOPES, ApiKey, is_account_name, new_api_key, parse_date, parse_scopes
from domain.problems import KEY_NOT_FOUND, KEY_REVOKED, Conflict, Invalid, NotFound, Refused, invalid_parameter
from handlers.rest import errors_of, present
from handlers.runtime import logger, observed, table
from table import Account, api_keys

CHANGES = ("expire", "revoke")
ACTIONS = ("create", "list", *CHANGES)
ACCOUNT_NAMES = "Use 1 to 63 characters: a-z, 0-9 and -, not starting with -."
KEY_ID = "keyId is the id of a key, as list shows it."
EXPIRES_ON = "expiresOn is a date in ISO 8601, such as 2027-01-31T00:00:00Z."
ALLOWED_SCOPES = f"scopes is a list with one or more of {', '.join(ALL_SCOPES)}."


@observed
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    try:
        found = _answer(event, datetime.now(UTC))
    except Refused as refused:
        problems = [problem.message for problem in refused.problems]
        logger.info("answered", outcome="refused", refused=type(refused).__name__, problems=problems)
        return errors_of(refused.problems)
    logger.info("answered", outcome="done", action=event["action"], account=event["account"], key_id=found.get("keyId"))
    return {"account": event["account"], **found}


def _answer(event: dict[str, Any], now: datetime) -> dict[str, Any]:
    expires_on = parse_date(event.get("expiresOn"))
    _check(event, expires_on)
    account = Account(table(), event["account"])
    if event["action"] == "create":
        secret, key = new_api_key(now, expires_on, parse_scopes(event.get("scopes")) or ALL_SCOPES)
        api_keys.add(account, key)
        return {"apiKey": secret, **_shown(key)}
    if event["action"] == "list":
        return {"keys": [_shown(key) for key in api_keys.of_account(account)]}
    key = _find(account, event["keyId"])
    is_expiry = event["action"] == "expire"
    if not (api_keys.expire(account, key, str(expires_on), now) if is_expiry else api_keys.revoke(account, key, now)):
        raise Conflict([KEY_REVOKED])
    return _shown(_find(account, event["keyId"]))


def _check(event: dict[str, Any], expires_on: str | None) -> None:
    action = event.get("action")
    checks = {
        "action": (action in ACTIONS, f"action is one of {', '.join(ACTIONS)}."),
        "account": (is_account_name(event.get("account")), ACCOUNT_NAMES),
        "keyId": (action not in CHANGES or isinstance(event.get("keyId"), str), KEY_ID),
        "expiresOn": (expires_on is not None or not ("expiresOn" in event or action == "expire"), EXPIRES_ON),
        "scopes": ("scopes" not in event or parse_scopes(event["scopes"]) is not None, ALLOWED_SCOPES),
    }
    if wrong := [invalid_parameter(name, hint) for name, (is_valid, hint) in checks.items() if not is_valid]:
        raise Invalid(wrong)


def _find(account: Account, key_id: str) -> ApiKey:
    for key in api_keys.of_account(account):
        if key.id == key_id:
            return key
    raise NotFound([KEY_NOT_FOUND])


def _shown(key: ApiKey) -> dict[str, Any]:
    dates = {"createdOn": key.created_on, "expiresOn": key.expires_on, "revokedOn": key.revoked_on}
    return present({"keyId": key.id, "scopes": list(key.scopes), **dates})
