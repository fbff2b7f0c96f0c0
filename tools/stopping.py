"""How a command that runs until Ctrl-C ends: at once if it can, and at its next pause at the latest.

KeyboardInterrupt is raised wherever Python happens to be. In a callback of a library (the AWS CRT has one for each
signature) it is printed and dropped, and one that is due just before a long wait begins is raised after it. So the
signal is remembered too, and whoever runs on asks for it.
"""

import signal
import time
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PAUSE_SECONDS = 0.5

_came: list[int] = []


def by_signals() -> None:
    """From now on each of the signals raises KeyboardInterrupt, as Ctrl-C does."""
    for number in SIGNALS:
        signal.signal(number, _stop)


def ignore_signals() -> None:
    """Nothing disturbs what is done from now on."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def check() -> None:
    """Raises KeyboardInterrupt if a signal came, even if what it raised was dropped."""
    if _came:
        raise KeyboardInterrupt


def pause() -> None:
    """For loops that wait. Raises KeyboardInterrupt as `check` does."""
    check()
    time.sleep(PAUSE_SECONDS)


def _stop(number: int, _frame: FrameType | None) -> None:
    _came.append(number)
    raise KeyboardInterrupt
