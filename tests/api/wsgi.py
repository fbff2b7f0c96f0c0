"""The functions as a WSGI application, for tools that send HTTP: what API Gateway does around them, in few words."""

import re

from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Request, Response

from api.gateway import RESOURCES, ROUTES, call, invoke

METHOD_ARN = "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3d4e5/v1/GET/"
DENIED = RESOURCES["Api"]["Properties"]["GatewayResponses"]["ACCESS_DENIED"]


def rule(method: str, resource: str) -> Rule:
    """/user/{id} as werkzeug writes it; {proxy+} takes the rest of a path."""
    path = re.sub(r"\{(\w+)\}", r"<\1>", resource).replace("{proxy+}", "<path:proxy>")
    return Rule(f"/v1{path}", endpoint=resource, methods=None if method == "ANY" else [method])


RULES = Map([rule(*route) for route in ROUTES], strict_slashes=False, merge_slashes=False)


@Request.application
def application(request: Request) -> Response:
    token = request.headers.get("Authorization", "")
    policy = invoke("AuthorizerFunction", {"authorizationToken": token, "methodArn": METHOD_ARN})
    if not policy.get("context"):
        text = DENIED["ResponseTemplates"]["application/json"]
        return Response(text, DENIED["StatusCode"], content_type="application/json")
    resource, parameters = RULES.bind_to_environ(request).match()
    queries = dict(request.args.lists())
    answer = call(
        request.method,
        resource,
        request.get_data(as_text=True) or None,
        policy["context"]["account"],
        pathParameters=dict(parameters) or None,
        headers=dict(request.headers),
        queryStringParameters={name: values[-1] for name, values in queries.items()} or None,
        multiValueQueryStringParameters=queries or None,
    )
    return Response(answer.text, answer.status, dict(answer.headers))
