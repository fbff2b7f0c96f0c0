"""The functions work with the permissions of template.yaml, and with no others."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from e2e.conftest import Caller
from local import aws, stack

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_iam import IAMClient

POLICY = "test-denies"


@pytest.fixture
def may_not_write(deployed: stack.Stack) -> Iterator[None]:
    """The event function's role without PutItem."""
    cloudformation: CloudFormationClient = aws.client("cloudformation", deployed.endpoint)
    iam: IAMClient = aws.client("iam", deployed.endpoint)
    resource = cloudformation.describe_stack_resource(StackName=stack.STACK_NAME, LogicalResourceId="EventFunctionRole")
    role = resource["StackResourceDetail"]["PhysicalResourceId"]
    statement = {"Effect": "Deny", "Action": "dynamodb:PutItem", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_role_policy(RoleName=role, PolicyName=POLICY, PolicyDocument=policy)
    yield
    iam.delete_role_policy(RoleName=role, PolicyName=POLICY)


def test_what_a_functions_role_does_not_allow_fails_here_too(
    caller: Caller, ana: dict[str, str], may_not_write: None
) -> None:
    for event in ({"search": {"query": "shoes"}}, {"update": {"firstname": "Ana"}}):  # a call, and a transaction
        assert caller.event(ana, event).status == 500
    assert caller.send("GET", "/user/ana@example.com/events").body["events"] == []
