"""Fixtures for every test: the user's own AWS settings are never used."""

import gc
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

from local import aws

# How long an example takes says nothing on a busy machine.
settings.register_profile("tests", deadline=None)
settings.load_profile("tests")

pytest_plugins = ["clone", "declared", "engines", "figures", "releases"]

# A shell's background job ignores Ctrl-C, and so would all that the tests start and stop.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Some containers set it. Then each of the hundreds of processes that the tests start would compile its modules again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Before the handlers are imported: they read their environment once.
for name in [name for name in os.environ if name.startswith("AWS_")]:
    del os.environ[name]
os.environ |= dict.fromkeys(("TABLE_NAME", "BUS_NAME", "POWERTOOLS_SERVICE_NAME"), "test")
os.environ |= {"AWS_ACCESS_KEY_ID": aws.ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": aws.SECRET_KEY}
os.environ |= {"AWS_DEFAULT_REGION": aws.REGION, "AWS_EC2_METADATA_DISABLED": "true"}
os.environ |= dict.fromkeys(("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"), os.devnull)

FOLDERS = ["e2e", "integration", "tests", "api", "unit"]
# Not about behaviour: CI and `make test` run them, `make quick` does not.
REPOSITORY = {"test_analytics", "test_development", "test_documents", "test_growth", "test_openapi", "test_release"} | {
    *("test_replay_feed", "test_start")
}


def pytest_xdist_auto_num_workers() -> int:
    """Return three workers for two cores: the tests of pages and programs wait for a part of their time."""
    return (os.cpu_count() or 1) * 3 // 2


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if "MUTANT_UNDER_TEST" not in os.environ:  # mutmut runs the fastest tests first
        items.sort(key=turns(items))
    for item in items:
        if item.path.stem in REPOSITORY:
            item.add_marker(pytest.mark.repository)


def pytest_collection_finish() -> None:
    """Let the garbage collector leave out what is there before the first test, and run seldom: it took 6 % of a run."""
    gc.freeze()
    gc.set_threshold(100_000, 20)


def turns(items: list[pytest.Item]) -> Callable[[pytest.Item], tuple[int, Path]]:
    """Let the files of tests that wait take turns with those that compute, so that both cores have work.

    Long files come first, so that in the end no worker waits for another.
    """
    paths = {item.path for item in items}
    files = sorted(paths, key=lambda path: (FOLDERS.index(path.parent.name), -path.stat().st_size))
    waiting = [path for path in files if path.parent.name == "e2e"]
    computing = [path for path in files if path not in waiting]
    turn = {path: number for group in (waiting, computing) for number, path in enumerate(group)}
    return lambda item: (turn[item.path], item.path)
