"""Run the tour of docs/quickstart.md: its commands in their order, unchanged, with `make run` in another process."""

import json
import os
import re
import shlex
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from api.test_event_files import BATCHES, ROWS
from clone import make
from documents import blocks
from domain.event_types import CATALOGUE
from e2e.conftest import shell
from e2e.test_analytics import cells
from e2e.test_commands import running

[*_SEND, _DEMO, FEED, EVENTS, SOLD, REFUSED, ERASE] = blocks("docs/quickstart.md")

MANY = 500


def in_the_clone(commands: str) -> str:
    return re.sub(r"^make(?= )", shlex.join(make()), commands, flags=re.MULTILINE)


@contextmanager
def feed(clone: Path) -> Iterator[Iterator[dict[str, Any]]]:
    """Yield what `make feed` prints until Ctrl-C."""
    command, pipe = shlex.split(in_the_clone(FEED)), subprocess.PIPE
    with subprocess.Popen(command, cwd=clone, stdout=pipe, stderr=pipe, text=True, start_new_session=True) as process:
        try:
            assert process.stderr
            assert "Listening; Ctrl-C ends it\n" in process.stderr
            yield map(json.loads, process.stdout or ())
        finally:
            os.killpg(process.pid, signal.SIGINT)
            assert process.stderr
            assert process.stderr.read() == ""


@pytest.mark.http
def test_the_events_of_events_are_sent_watched_counted_explained_and_erased(clone: Path) -> None:
    with running(clone) as found, feed(clone) as arriving:
        url = found["API_URL"]
        printed = shell(in_the_clone(EVENTS), url, clone)
        answers = dict(re.findall(r"^(\S+) +(\d{3} .+)$", printed, re.MULTILINE))
        assert {name: int(answers[name][:3]) for name in answers} == {name: ROWS[name].status for name in answers}
        assert {name for name in answers if "discarded" in ROWS[name].answer} == {
            name for name, answer in answers.items() if answer == "200 discarded"
        }
        assert {name: answers[name][4:].split(", ") for name in BATCHES} == BATCHES
        assert answers["event-id-of-another-payload"] == "200 created before"
        sold = [["EUR", "4", "239.600000000"], ["NULL", "2", "59.900000000"]]
        assert cells(shell(in_the_clone(SOLD), url, clone)) == sold

        reasons = {each["code"] for each in json.loads(shell(REFUSED, url, clone, **found))["refusals"]}
        assert {"unknown_event_type", "user_not_found", "invalid_json"} <= reasons

        assert "Successfully deleted user." in shell(ERASE, url, clone, **found)
        watched = []
        for event in arriving:
            watched.append(event)
            if event["detail-type"] == "UserErased":
                break
        types = {event["detail"]["type"] for event in watched if event["detail-type"] == "EventCreated"}
        assert types == CATALOGUE.keys()
        for _ in range(MANY):  # the pages listen to the same bus, and may hear of it later
            if '"UserErased"' in shell(f"curl {found['LIVE_URL']}/events", url, clone):
                break
        else:
            pytest.fail("the page Live does not show the erasure")
        assert cells(shell(in_the_clone(SOLD), url, clone)) == [["NULL", "1", "59.900000000"]]  # of event-upsert.json
