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

ACTIONS = ("create", "list", "expire", "revoke")


@observed
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    try:
        answer = _answer(event, datetime.now(UTC))
    except Refused as refused:
        problems = [problem.message for problem in refused.problems]
        logger.info("answered", outcome="refused", refused=type(refused).__name__, problems=problems)
        return errors_of(refused.problems)
    logger.info(
        "answered", outcome="done", action=event["action"], account=event["account"], key_id=answer.get("keyId")
    )
    return {"account": event["account"], **answer}


def _answer(event: dict[str, Any], now: datetime) -> dict[str, Any]:
    expires_on = parse_date(event.get("expiresOn"))
    _check(event, expires_on)
    account = Account(table(), event["account"])
    match event["action"]:
        case "create":
            secret, key = new_api_key(now, expires_on, parse_scopes(event.get("scopes")) or ALL_SCOPES)
            api_keys.add(account, key)
            return {"apiKey": secret, **_shown(key)}
        case "list":
            return {"keys": [_shown(key) for key in api_keys.of_account(account)]}
        case "expire":
            key = _find(account, event["keyId"])
            changed = api_keys.expire(account, key, str(expires_on), now)
        case _:
            key = _find(account, event["keyId"])
            changed = api_keys.revoke(account, key, now)
    if not changed:
        raise Conflict([KEY_REVOKED])
    return _shown(_find(account, event["keyId"]))


def _check(event: dict[str, Any], expires_on: str | None) -> None:
    problems = []
    if event.get("action") not in ACTIONS:
        problems.append(invalid_parameter("action", f"action is one of {', '.join(ACTIONS)}."))
    if not is_account_name(event.get("account")):
        problems.append(invalid_parameter("account", "Use 1 to 63 characters: a-z, 0-9 and -, not starting with -."))
    if event.get("action") in ("expire", "revoke") and not isinstance(event.get("keyId"), str):
        problems.append(invalid_parameter("keyId", "keyId is the id of a key, as list shows it."))
    if expires_on is None and ("expiresOn" in event or event.get("action") == "expire"):
        problems.append(
            invalid_parameter("expiresOn", "expiresOn is a date in ISO 8601, such as 2027-01-31T00:00:00Z.")
        )
    if "scopes" in event and parse_scopes(event["scopes"]) is None:
        problems.append(invalid_parameter("scopes", f"scopes is a list with one or more of {', '.join(ALL_SCOPES)}."))
    if problems:
        raise Invalid(problems)


def _find(account: Account, key_id: str) -> ApiKey:
    for key in api_keys.of_account(account):
        if key.id == key_id:
            return key
    raise NotFound([KEY_NOT_FOUND])


def _shown(key: ApiKey) -> dict[str, Any]:
    dates = {"createdOn": key.created_on, "expiresOn": key.expires_on, "revokedOn": key.revoked_on}
    return present({"keyId": key.id, "scopes": list(key.scopes), **dates})
