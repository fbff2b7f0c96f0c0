"""Read the documents, for the tests that execute them."""

import re
import textwrap
from typing import Any

from samcli.yamlhelper import yaml_parse

from local.stack import ROOT


def text(document: str) -> str:
    return (ROOT / document).read_text()


def blocks(document: str, language: str = "sh") -> list[str]:
    found = re.findall(rf"^( *)```{language}\n(.*?)^\1```$", text(document), re.MULTILINE | re.DOTALL)
    return [textwrap.dedent(block) for _, block in found]


TEMPLATE: dict[str, Any] = yaml_parse(text("template.yaml"))
RESOURCES: dict[str, Any] = TEMPLATE["Resources"]
