"""The first Ctrl-C ends a command, at any point of its run."""

import subprocess
import sys

import pytest

from local.stack import ROOT

DROPPED = """
import os, signal, sys
from local import stopping

class Library:
    def __del__(self):  # as in a callback of C: what is raised here is dropped
        os.kill(os.getpid(), signal.SIGINT)

stopping.by_signals()
Library()
print("goes on", flush=True)
try:
    stopping.pause()
except KeyboardInterrupt:
    print("stops")
"""
RAISED = """
import os, signal, time
from local import stopping

stopping.by_signals()
try:
    os.kill(os.getpid(), signal.{signal})
    time.sleep(10)
except KeyboardInterrupt:
    stopping.ignore_signals()
    os.kill(os.getpid(), signal.{signal})
    print("cleans up")
"""


def printed(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


def test_a_ctrl_c_that_python_drops_stops_at_the_next_pause_and_prints_nothing() -> None:
    assert printed(DROPPED) == "goes on\nstops\n"


@pytest.mark.parametrize("signal", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_each_signal_stops_at_once_and_a_second_one_does_not_disturb_what_cleans_up(signal: str) -> None:
    assert printed(RAISED.format(signal=signal)) == "cleans up\n"
