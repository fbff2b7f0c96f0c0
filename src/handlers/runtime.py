"""What every function sets up once, when its execution environment starts."""

import os
import time

from aws_lambda_powertools import Logger, Metrics

from domain.dynamodb import REQUEST_SECONDS, Table, new_client

TABLE_NAME = os.environ["TABLE_NAME"]  # the template sets it; without it nothing works

logger = Logger()
metrics = Metrics()
client = new_client()


def table(seconds: float = REQUEST_SECONDS) -> Table:
    """The table, for a request that may start calls for so many seconds from now."""
    return Table(client, TABLE_NAME, time.monotonic() + seconds)
