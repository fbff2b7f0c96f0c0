import json
import os
import time
import uuid
from datetime import datetime, timezone
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.request import Request, urlopen


class Sender:
    """Collects events, and sends them. `refused` and `warnings` are pairs of an event and what the API says of it."""

    def __init__(self):
        self.events, self.refused, self.warnings = [], [], []

    def add(self, user, event):
        event_time = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        self.events.append({"eventId": str(uuid.uuid4()), "eventTime": event_time, "user": user, "event": event})

    def flush(self, attempts=5):
        """Send the events. Those that could not be sent stay in `events`. Raises ValueError if the batch is wrong."""
        while self.events and attempts:
            batch, failed = self.events[:100], []
            status, seconds, body = post({"events": batch})
            if "results" in body:
                for event, result in zip(batch, body["results"]):
                    if result["status"] == "failed":
                        failed.append(event)
                    elif result["status"] == "refused":
                        self.refused.append((event, result["errors"]))
                    elif result.get("warnings"):
                        self.warnings.append((event, result["warnings"]))
            elif status in (None, 429, 500, 503):
                failed = batch
            else:
                raise ValueError(body)
            self.events = failed + self.events[len(batch) :]
            if failed:
                attempts -= 1
                time.sleep(seconds)


def post(batch):
    """Return the status (None: no response), the seconds to wait before another attempt, and the body."""
    headers = {"Authorization": os.environ["API_KEY"], "Content-Type": "application/json"}
    try:
        answer = urlopen(Request(os.environ["API_URL"] + "/events/", json.dumps(batch).encode(), headers), timeout=30)
    except HTTPError as error:
        answer = error
    except OSError:
        return None, 1, {}
    try:
        with answer:
            return answer.status, int(answer.headers.get("Retry-After", 1)), json.loads(answer.read())
    except (OSError, HTTPException, ValueError):  # the connection broke, or the body is not JSON
        return None, 1, {}


sender = Sender()
sender.add({"email": "ana@example.com"}, {"viewitem": {"itemId": "SKU-1"}})
sender.add({"email": "ana@example.com"}, {"search": {"query": "red shoes"}})
try:
    sender.flush()
finally:
    for event, errors in sender.refused:
        print("refused:", event["eventId"], errors[0]["message"])
    for event, warnings in sender.warnings:
        print("warning:", event["eventId"], warnings[0]["message"])
print(len(sender.events), "left")
