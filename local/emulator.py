"""MiniStack as a child process that cannot outlive its parent.

It runs until its standard input ends, because the parent closed it or died. It saves its state only if it has read
READY by then: a start that failed half-way is not remembered.
"""

import os
import runpy
import signal
import sys
import threading

READY = b"ready"


def stop_with_parent() -> None:
    ready = sys.stdin.buffer.read() == READY
    os.kill(os.getpid(), signal.SIGTERM if ready else signal.SIGKILL)


if __name__ == "__main__":
    threading.Thread(target=stop_with_parent, daemon=True).start()
    runpy.run_module("ministack", run_name="__main__", alter_sys=True)
