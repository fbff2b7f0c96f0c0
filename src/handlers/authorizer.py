"""The API's Lambda authorizer: API key → account and scopes, or a Deny that the gateway answers with 401."""

from datetime import UTC, datetime
from typing import Any

from domain.accounts import hash_of, is_expired
from domain.problems import Unauthorized, Unavailable
from handlers.metrics import record
from handlers.runtime import logger, observed, table
from table import api_keys


@observed
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    try:
        found = api_keys.find(table(), hash_of(_key(event["authorizationToken"])))
    except Unavailable as refused:
        record("RequestsRefused", kind=Unavailable.__name__)
        # API Gateway turns an error into a 503.
        logger.error("answered", outcome="failed", refused=Unavailable.__name__, cause=refused.reason, status=503)
        raise
    if found:
        logger.append_keys(account=found.account, key_id=found.id)
    if found is None or is_expired(found.expires_on, datetime.now(UTC)):
        record("RequestsRefused", kind=Unauthorized.__name__)
        logger.info("answered", outcome="denied", reason="expired" if found else "unknown")
        return _policy("Deny", event["methodArn"])
    logger.info("answered", outcome="allowed")
    return _policy("Allow", event["methodArn"]) | {
        "principalId": found.account,
        "context": {"account": found.account, "keyId": found.id, "scopes": " ".join(found.scopes)},
    }


def _key(header: str) -> str:
    """Return the key of an Authorization header, which may name the scheme Bearer (RFC 9110: in any case)."""
    scheme, _, key = header.partition(" ")
    return key.lstrip(" ") if scheme.lower() == "bearer" else header


def _policy(effect: str, method_arn: str) -> dict[str, Any]:
    """Return a policy for the whole stage, because the gateway caches it by key and not by method."""
    stage = "/".join(method_arn.split("/")[:2])
    statement = {"Effect": effect, "Action": "execute-api:Invoke", "Resource": f"{stage}/*"}
    return {"principalId": "nobody", "policyDocument": {"Version": "2012-10-17", "Statement": [statement]}}
