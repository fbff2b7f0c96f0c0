"""The share of a core that Lambda gives a function of a memory size, by a control group of Linux. For root.

https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html: 1,769 MB are one core.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

MEGABYTES_OF_A_CORE = 1769
PERIOD = 20_000  # microseconds
VERSION_1, VERSION_2 = Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")


class NotAllowed(Exception):
    """This machine or this user cannot limit a process."""


@contextlib.contextmanager
def limited(pid: int, memory: int) -> Iterator[None]:
    """Limit a process and its children to the CPU of a memory size until the block ends. Raise NotAllowed."""
    root = VERSION_1 if VERSION_1.is_dir() else VERSION_2
    group = root / f"benchmark-{uuid4()}"
    quota = PERIOD * memory // MEGABYTES_OF_A_CORE
    try:
        group.mkdir()
        if root == VERSION_1:
            (group / "cpu.cfs_period_us").write_text(str(PERIOD))
            (group / "cpu.cfs_quota_us").write_text(str(quota))
        else:
            (group / "cpu.max").write_text(f"{quota} {PERIOD}")
        (group / "cgroup.procs").write_text(str(pid))
    except OSError as error:
        raise NotAllowed(str(error)) from error
    try:
        yield
    finally:
        for process in (group / "cgroup.procs").read_text().split():
            (root / "cgroup.procs").write_text(process)
        group.rmdir()
