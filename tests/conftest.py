"""Fixtures for every test: the user's own AWS settings are never used."""

import os
import signal

import pytest
from hypothesis import settings

from local import aws

# How long an example takes says nothing on a busy machine.
settings.register_profile("tests", deadline=None)
settings.load_profile("tests")

pytest_plugins = ["clone", "declared", "engines", "figures", "releases"]

# A shell's background job ignores Ctrl-C, and so would all that the tests start and stop.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Before the handlers are imported: they read their environment once.
for name in [name for name in os.environ if name.startswith("AWS_")]:
    del os.environ[name]
os.environ |= dict.fromkeys(("TABLE_NAME", "BUS_NAME", "POWERTOOLS_SERVICE_NAME"), "test")
os.environ |= {"AWS_ACCESS_KEY_ID": aws.ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": aws.SECRET_KEY}
os.environ |= {"AWS_DEFAULT_REGION": aws.REGION, "AWS_EC2_METADATA_DISABLED": "true"}
os.environ |= dict.fromkeys(("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"), os.devnull)

# Where the files that take longest are comes first: the last ones of a run are short, and no worker waits for another.
FOLDERS = ["e2e", "tests", "api", "integration", "unit"]
# Not about behaviour: CI and `make test` run them, `make quick` does not.
REPOSITORY = {"test_analytics", "test_development", "test_documents", "test_growth", "test_openapi", "test_release"} | {
    *("test_replay_feed", "test_start")
}


def pytest_xdist_auto_num_workers() -> int:
    """Return three workers for two cores: the tests of pages and programs wait for a part of their time."""
    return (os.cpu_count() or 1) * 3 // 2


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if "MUTANT_UNDER_TEST" not in os.environ:  # mutmut runs the fastest tests first
        items.sort(key=lambda item: FOLDERS.index(item.path.parent.name))
    for item in items:
        if item.path.stem in REPOSITORY:
            item.add_marker(pytest.mark.repository)
