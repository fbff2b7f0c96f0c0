"""The function that a team usually writes, with Powertools' resolver, validation, Logger, Metrics, Tracer and boto3.

It takes plain events, stores them as the functions do, and shares no code with them.
"""

import os
import time
import uuid
from decimal import Decimal
from typing import Any

import boto3
from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.event_handler import APIGatewayRestResolver
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import BaseModel, ConfigDict

# Lambda passes a trace with each request and samples few. The emulator passes none, and the X-Ray SDK would complain.
TRACE = "Root=1-6924e1c0-0123456789abcdef01234567;Parent=0123456789abcdef;Sampled=0"

logger = Logger()
metrics = Metrics(namespace="EventApi")
tracer = Tracer()
app = APIGatewayRestResolver(enable_validation=True, strip_prefixes=["/v1"])
table = boto3.resource("dynamodb").Table(os.environ["TABLE_NAME"])


class User(BaseModel):
    email: str


class Search(BaseModel):
    model_config = ConfigDict(extra="allow")

    query: str


class Event(BaseModel):
    search: Search


class Request(BaseModel):
    user: User
    event: Event


class Results(BaseModel):
    results: dict[str, str]


@app.post("/event")
@tracer.capture_method
def post_event(request: Request) -> Results:
    account = app.current_event.request_context.authorizer["account"]
    address = {"pk": f"{account}#EMAIL#{request.user.email}", "sk": "EMAIL"}
    user_id = str(table.get_item(Key=address, ConsistentRead=True)["Item"]["userId"])
    event_id = f"{time.time_ns() // 1_000_000:x}-{uuid.uuid4()}"
    payload = {
        name: Decimal(str(value)) if isinstance(value, float) else value
        for name, value in request.event.search.model_dump().items()
    }
    item = {"pk": f"{account}#USER#{user_id}", "sk": f"EVENT#{event_id}"}
    table.put_item(Item=item | {"type": "search", "payload": payload})
    metrics.add_metric("EventsCreated", MetricUnit.Count, 1)
    logger.info("answered", status=200, event_id=event_id)
    return Results(results={"message": "Event created"})


@logger.inject_lambda_context(correlation_id_path="requestContext.requestId")
@tracer.capture_lambda_handler
@metrics.log_metrics
def traced(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    return app.resolve(event, context)


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    os.environ["_X_AMZN_TRACE_ID"] = TRACE
    answer: dict[str, Any] = traced(event, context)
    return answer
