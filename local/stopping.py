"""End a command that runs until Ctrl-C: at once if possible, and at its next pause at the latest.

Python raises KeyboardInterrupt in the code that is running. In a callback of a library (the AWS CRT has one for each
signature) or a finalizer it is printed and dropped. One that is due just before a long wait is raised after it. So the
signal is remembered, loops ask for it, and a dropped one is not printed.
"""

import contextlib
import signal
import sys
import time
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PAUSE_SECONDS = 0.5

_signals: list[int] = []


def by_signals() -> None:
    """Make each of the signals raise KeyboardInterrupt, as Ctrl-C does."""
    for number in SIGNALS:
        signal.signal(number, _stop)
    sys.unraisablehook = _print_unless_signal


def expected() -> contextlib.suppress:
    """Return a block that a signal ends without an error, because the command runs until Ctrl-C."""
    return contextlib.suppress(KeyboardInterrupt)


def ignore_signals() -> None:
    """Ignore all signals, so that nothing interrupts the clean-up."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def signalled() -> bool:
    """Return whether a signal came, even if what it raised was dropped."""
    return bool(_signals)


def check() -> None:
    """Raise KeyboardInterrupt if a signal came, even if an earlier KeyboardInterrupt was dropped."""
    if _signals:
        raise KeyboardInterrupt


def pause() -> None:
    """Wait in a loop. Raises KeyboardInterrupt as `check` does."""
    check()
    time.sleep(PAUSE_SECONDS)


def _print_unless_signal(dropped: "sys.UnraisableHookArgs") -> None:
    if dropped.exc_type is not KeyboardInterrupt:
        sys.__unraisablehook__(dropped)


def _stop(number: int, _frame: FrameType | None) -> None:
    _signals.append(number)
    raise KeyboardInterrupt
