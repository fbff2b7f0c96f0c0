"""The API's Lambda authorizer: raw API key → account, or a Deny that the gateway answers with 401."""

from datetime import UTC, datetime
from typing import Any

from domain.accounts import hash_of, is_expired
from domain.store import find_key
from handlers.runtime import logger, table


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    found = find_key(table(), hash_of(event["authorizationToken"]))
    if found is None or is_expired(found[1], datetime.now(UTC)):
        logger.info("denied")
        return _policy("Deny", event["methodArn"])
    return _policy("Allow", event["methodArn"]) | {"principalId": found[0], "context": {"account": found[0]}}


def _policy(effect: str, method_arn: str) -> dict[str, Any]:
    """For the whole stage: the gateway remembers the answer for the key, not for the method."""
    stage = "/".join(method_arn.split("/")[:2])
    statement = {"Effect": effect, "Action": "execute-api:Invoke", "Resource": f"{stage}/*"}
    return {
        "principalId": "nobody",
        "policyDocument": {"Version": "2012-10-17", "Statement": [statement]},
    }
