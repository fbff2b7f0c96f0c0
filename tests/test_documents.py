"""The Markdown documents lead where they say, and the contract has the sections that the code cites."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from clone import IS_CLONE, tracked
from docs import site
from documents import blocks, text
from domain.problems import CODES
from local.stack import ROOT

pytestmark = pytest.mark.skipif(not IS_CLONE, reason="this is no clone")

PAGES = sorted(name for name in tracked() if name.endswith(".md")) if IS_CLONE else []
CODE = sorted(name for name in tracked() if name.endswith((".py", ".yaml"))) if IS_CLONE else []


def prose(page: str) -> str:
    """The page without its fenced code."""
    return re.sub(r"^( *)```.*?^\1```$", "", text(page), flags=re.MULTILINE | re.DOTALL)


def anchors(page: str) -> set[str]:
    """Return GitHub's anchors of the headings: lower case, no punctuation, a hyphen for each space."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_each_link_of_a_page_leads_somewhere(page: str) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (Path(page).parent / path).as_posix() if path else page
        assert (ROOT / target).exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_readme_lists_every_page_of_docs() -> None:
    listed = re.findall(r"^- \[[\w.-]+\]\((docs/[\w.-]+)\): ", text("README.md"), re.MULTILINE)
    assert sorted(listed) == [page for page in PAGES if page.startswith("docs/")]


def test_each_group_of_guarantees_names_tests_that_exist() -> None:
    tests = {Path(name).name for name in tracked() if name.startswith("tests/")}
    groups = re.split(r"^## ", text("docs/guarantees.md"), flags=re.MULTILINE)[1:]
    for group in groups:
        if group.splitlines()[0] in ("Known limits", "How the engines differ"):  # they promise nothing
            continue
        named = re.findall(r"`(?:tests/\w+/)?(test_\w+\.py)`", group)
        assert named, group
        assert set(named) <= tests


def test_the_contract_has_each_section_that_is_cited() -> None:
    sections = set(re.findall(r"^## (\d+)\. ", text("docs/contract.md"), re.MULTILINE))
    assert sections == {str(number) for number in range(1, 14)}
    cited = {
        (number, name)
        for name in CODE
        for citation in re.findall(r"contract,? sections? ((?:\d+(?:, | and | to )?)+)", text(name))
        for number in re.findall(r"\d+", citation)
    }
    assert cited
    assert {number for number, _ in cited} <= sections, cited


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site; a link or an anchor that does not exist is an error."""
    folder = tmp_path_factory.mktemp("site")
    site.copy_pages(folder / ".site" / "pages")
    (folder / "mkdocs.yml").write_text(text("mkdocs.yml"))
    build = [str(Path(sys.executable).with_name("zensical")), "build", "--strict"]
    done = subprocess.run(build, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    return folder / ".site" / "html"


def test_the_site_lists_every_page_in_its_navigation(built: Path) -> None:
    listed = re.findall(r"- (?:\w+: )?([\w-]+\.md)$", text("mkdocs.yml"), re.MULTILINE)
    assert sorted(listed) == sorted([*(name for name in site.names().values() if name.endswith(".md")), "api.md"])
    assert all((built / name).with_suffix(".html").exists() for name in listed)


def test_the_site_loads_nothing_from_elsewhere(built: Path) -> None:
    loaded = [
        address
        for page in built.rglob("*.html")
        for address in re.findall(r"""<(?:script|link|img|iframe)[^>]*?(?:src|href)="?([^\s">]+)""", page.read_text())
    ]
    assert [address for address in loaded if "//" in address] == []


def test_each_code_has_an_address_on_the_site(built: Path) -> None:
    assert set(CODES) <= set(re.findall(r'<h3 id="(\w+)"', (built / "codes.html").read_text()))


def test_each_program_to_run_sends_a_different_order() -> None:
    def orders(*places: str) -> list[str]:
        files = [name for name in tracked() if name.startswith(places)]
        return [number for name in files for number in sorted(set(re.findall(r"\bA-\d{4}\b", text(name))))]

    programs = orders("docs/recipes/", "docs/clients/", "clients/python/README.md")
    assert programs
    assert len(set(programs)) == len(programs)
    assert not {*programs} & {*orders("events/")}


PYTEST = re.findall(r"^.venv/bin/python -m (pytest .*?) +#", "".join(blocks("CONTRIBUTING.md")), re.MULTILINE)


@pytest.mark.long
@pytest.mark.parametrize("command", PYTEST)
def test_each_command_of_contributing_finds_tests(command: str) -> None:
    whole = [sys.executable, "-m", *command.split(), "--collect-only", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(whole, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
