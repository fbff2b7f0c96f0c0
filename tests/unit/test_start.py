"""The measures that make a function's start short, and what they must not change."""

import ssl
import subprocess
import sys

import pytest

from api.gateway import FUNCTIONS
from documents import TEMPLATE
from local.stack import ROOT
from tools import roots

LEAVES_THE_COLLECTOR_ON = """
import gc, sys
import {module}
sys.exit(not gc.isenabled() or gc.get_freeze_count() < 10_000 or "botocore" not in sys.modules)
"""


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_started_function_collects_garbage_but_looks_at_nothing_that_it_started_with(name: str) -> None:
    module = FUNCTIONS[name].rpartition(".")[0]
    command = [sys.executable, "-c", LEAVES_THE_COLLECTOR_ON.format(module=module)]
    done = subprocess.run(command, cwd=ROOT / "src", capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_roots_are_those_of_botocores_bundle() -> None:
    assert roots.FILE.read_text() == roots.amazon_roots(), "`make roots` writes them again"


def test_each_root_is_named_for_its_owner() -> None:
    found = ssl.create_default_context(cafile=str(roots.FILE)).get_ca_certs()
    subjects = [dict(pair for name in each["subject"] for pair in name) for each in found]  # type: ignore[misc]
    assert [subject["commonName"] for subject in subjects] == list(roots.NAMES)


def test_the_functions_read_the_roots_where_aws_signs_with_them() -> None:
    variables = TEMPLATE["Globals"]["Function"]["Environment"]["Variables"]
    condition, file, otherwise = variables["AWS_CA_BUNDLE"]["Fn::If"]
    assert TEMPLATE["Conditions"][condition] == {"Fn::Equals": [{"Ref": "AWS::Partition"}, "aws"]}
    assert file == f"/var/task/{roots.FILE.relative_to(ROOT / TEMPLATE['Globals']['Function']['CodeUri'])}"
    assert otherwise == {"Ref": "AWS::NoValue"}
