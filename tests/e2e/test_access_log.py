"""The lines that `make run` prints about requests, and `make feed` about events."""

import json
import re
from pathlib import Path

from e2e.conftest import Caller
from local import access_log, aws, feed, stack
from local.access_log import PAGES_AGENT


def test_each_request_is_a_line_without_what_was_sent_and_a_failure_has_its_cause_and_its_log(tmp_path: Path) -> None:
    errors = tmp_path / "errors.log"
    with stack.running(folder=tmp_path) as it:
        caller = Caller(it.api_url, it.create_key("shop"))
        ana = {"email": "ana@example.com"}
        caller.send("POST", "/user/", ana)
        search = {"user": ana, "event": {"search": {"query": "shoes"}}}
        batch = [{"eventId": f"e-{number}", "eventTime": "2000-01-01T00:00:00Z", **search} for number in (1, 1)]
        caller.send("POST", "/events/", {"events": [*batch, {}], "import": True})
        caller.send("GET", "/user/ana%40example.com/attributes/ana@example.com?email=ana@example.com")
        caller.send("GET", "/user/ana@example.com", headers={"User-Agent": PAGES_AGENT})
        caller.send("POST", "/event/", search, {"Authorization": "other"})
        outputs = stack.outputs(it.endpoint)
        aws.client("dynamodb", it.endpoint).update_table(
            TableName=outputs["TableName"], DeletionProtectionEnabled=False
        )
        aws.client("dynamodb", it.endpoint).delete_table(TableName=outputs["TableName"])
        caller.event(ana, {"search": {"query": "shoes"}})
        with (tmp_path / "requests.log").open() as requests:
            found = list(access_log.lines(requests, it.endpoint, outputs["LogGroupName"], errors))
    assert [re.sub(r"^[\d:]{8}  | +\d+ ms|(?<= ) +", "", line).strip() for line in found] == [
        "POST /v1/user/ 200",
        "POST /v1/events/ 207 1 created, 1 duplicate, 1 refused, missing_event",
        "GET /v1/user/…/attributes/… 404 not_found",
        "POST /v1/event/ 401 unauthorized",
        "POST /v1/event/ 500 internal_error",
        f"ResourceNotFoundException at table/calls.py:{found[-1].split(':')[1].split(';')[0]}; the log is {errors}",
    ]
    assert '"level":"ERROR"' in errors.read_text()


def test_an_event_of_the_bus_is_one_short_line_that_a_terminal_shows_as_text() -> None:
    detail = {"account": "shop", "userId": "u-1", "type": "search", "createdOn": "2026-11-24T08:00:00Z"}
    event = {"detail": detail | {"payload": {"query": "shoes\x9b2J", "note": "x" * 500}}}
    line = feed.line(json.dumps(event))
    assert line.startswith('2026-11-24T08:00:00Z  shop  u-1  search         query: "shoes?2J", note: "xxx')
    assert len(line) == feed.LINE_LENGTH + 1
    erased = {"account": "shop", "userId": "u-1", "erasedOn": "2026-11-24T08:00:00Z"}
    assert feed.line(json.dumps({"detail": erased})) == "2026-11-24T08:00:00Z  shop  u-1  erased"
