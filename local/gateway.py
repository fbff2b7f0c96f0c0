"""Complete the deployed REST API with what the emulator leaves out of it.

SAM hands the whole API to API Gateway as one OpenAPI document. MiniStack 1.5 makes that document with the defaults of
the template's parameters. It ignores two of AWS's extensions: the gateway's own error bodies, and methods that take any
verb. This module reads them from the deployed stack and adds them with the equivalent API Gateway calls.
"""

import json
import re
from typing import TYPE_CHECKING, Any

from local import aws

if TYPE_CHECKING:
    from mypy_boto3_apigateway import APIGatewayClient
    from mypy_boto3_apigateway.type_defs import PatchOperationTypeDef
    from mypy_boto3_cloudformation import CloudFormationClient

ANY_METHOD = "x-amazon-apigateway-any-method"
GATEWAY_RESPONSES = "x-amazon-apigateway-gateway-responses"
INTEGRATION = "x-amazon-apigateway-integration"


def complete(endpoint: str, stack_name: str, api_id: str) -> None:
    gateway: APIGatewayClient = aws.client("apigateway", endpoint)
    document = deployed_document(endpoint, stack_name)
    [authorizer] = gateway.get_authorizers(restApiId=api_id)["items"]
    set_authorizer_cache(gateway, api_id, authorizer["id"], parameters(endpoint, stack_name)["AuthorizerCacheSeconds"])
    # The emulator knows only one of the gateway's two request ids.
    responses = json.dumps(document[GATEWAY_RESPONSES]).replace("context.extendedRequestId", "context.requestId")
    for response_type, response in json.loads(responses).items():
        gateway.put_gateway_response(restApiId=api_id, responseType=response_type, **response)
    for path, operations in document["paths"].items():
        if ANY_METHOD in operations:
            uri = integration_uri(endpoint, stack_name, operations[ANY_METHOD])
            put_any_method(gateway, api_id, authorizer["id"], path, uri)
    gateway.create_deployment(restApiId=api_id, stageName="v1")


def deployed_document(endpoint: str, stack_name: str) -> dict[str, Any]:
    """Return the OpenAPI document that SAM made from the template."""
    cloudformation: CloudFormationClient = aws.client("cloudformation", endpoint)
    template = cloudformation.get_template(StackName=stack_name, TemplateStage="Processed")["TemplateBody"]
    document: dict[str, Any] = template["Resources"]["Api"]["Properties"]["Body"]
    return document


def parameters(endpoint: str, stack_name: str) -> dict[str, str]:
    cloudformation: CloudFormationClient = aws.client("cloudformation", endpoint)
    [stack] = cloudformation.describe_stacks(StackName=stack_name)["Stacks"]
    return {parameter["ParameterKey"]: parameter["ParameterValue"] for parameter in stack["Parameters"]}


def integration_uri(endpoint: str, stack_name: str, operation: dict[str, Any]) -> str:
    """Return the URI of the operation's function, with the ARN of the alias."""
    uri: str = operation[INTEGRATION]["uri"]["Fn::Sub"]
    [alias] = re.findall(r"\$\{(\w+)\}", uri)
    cloudformation: CloudFormationClient = aws.client("cloudformation", endpoint)
    resource = cloudformation.describe_stack_resource(StackName=stack_name, LogicalResourceId=alias)
    arn = resource["StackResourceDetail"]["PhysicalResourceId"]
    return uri.replace(f"${{{alias}}}", arn).replace("${AWS::Region}", aws.REGION)


def set_authorizer_cache(gateway: "APIGatewayClient", api_id: str, authorizer_id: str, seconds: str) -> None:
    change: PatchOperationTypeDef = {"op": "replace", "path": "/authorizerResultTtlInSeconds", "value": seconds}
    gateway.update_authorizer(restApiId=api_id, authorizerId=authorizer_id, patchOperations=[change])


def put_any_method(gateway: "APIGatewayClient", api_id: str, authorizer_id: str, path: str, uri: str) -> None:
    resources = gateway.get_resources(restApiId=api_id, limit=500)["items"]
    [resource_id] = [resource["id"] for resource in resources if resource["path"] == path]
    gateway.put_method(
        restApiId=api_id,
        resourceId=resource_id,
        httpMethod="ANY",
        authorizationType="CUSTOM",
        authorizerId=authorizer_id,
    )
    gateway.put_integration(
        restApiId=api_id,
        resourceId=resource_id,
        httpMethod="ANY",
        type="AWS_PROXY",
        integrationHttpMethod="POST",
        uri=uri,
    )
