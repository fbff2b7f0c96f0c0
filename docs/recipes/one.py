import json
import os
import sys
import time
import uuid
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.request import Request, urlopen


def send_event(user, event, attempts=5):
    """Return "created" or "discarded". Raises ValueError if the request is wrong."""
    headers = {"Authorization": os.environ["API_KEY"], "Content-Type": "application/json"}
    headers["Idempotency-Key"] = str(uuid.uuid4())
    body = json.dumps({"user": user, "event": event}).encode()
    request = Request(os.environ["API_URL"] + "/event/", body, headers)
    for attempt in range(1, attempts + 1):
        try:
            with urlopen(request, timeout=30) as answer:
                for warning in json.load(answer).get("warnings", []):
                    print("warning:", warning["field"], warning["message"], file=sys.stderr)
                return answer.headers["X-Event-Status"]
        except (OSError, HTTPException, ValueError) as error:  # also: no connection, or half a body
            answered = isinstance(error, HTTPError)
            if answered and error.code < 500 and error.code != 429:
                raise ValueError(error.read().decode()) from error
            if attempt == attempts:
                raise
            time.sleep(int(error.headers.get("Retry-After", 1)) if answered else 1)


print(send_event({"email": "ana@example.com"}, {"viewitem": {"itemId": "SKU-1"}}))
