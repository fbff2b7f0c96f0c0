"""The Markdown documents lead where they say, and what CONTRIBUTING.md says works in a clone."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from clone import IS_CLONE, make, tracked
from docs import site
from docs.openapi import CODES
from documents import blocks, text
from domain.event_types import CATALOGUE
from local.stack import ROOT

pytestmark = pytest.mark.skipif(not IS_CLONE, reason="this is no clone")

FILES = sorted(tracked()) if IS_CLONE else []
PAGES = [name for name in FILES if name.endswith(".md")]


def prose(page: str) -> str:
    return re.sub(r"^( *)```.*?^\1```$", "", text(page), flags=re.MULTILINE | re.DOTALL)


def anchors(page: str) -> set[str]:
    """Return GitHub's anchors of the headings: lower case, no punctuation, a hyphen for each space."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_each_link_of_a_page_leads_somewhere(page: str) -> None:
    for path, anchor in re.findall(r"\]\((?!https://)([^)\s#]*)#?([^)\s]*)\)", prose(page)):
        target = (Path(page).parent / path).as_posix() if path else page
        assert (ROOT / target).exists(), path
        assert not anchor or anchor in anchors(target), (path, anchor)


def test_the_readme_lists_every_page_of_docs() -> None:
    listed = re.findall(r"^- \[[\w.-]+\]\((docs/[\w.-]+)\): ", text("README.md"), re.MULTILINE)
    assert sorted(listed) == [page for page in PAGES if page.startswith("docs/")]


def test_each_group_of_guarantees_names_tests_that_exist() -> None:
    tests = {Path(name).name for name in FILES if name.startswith("tests/")}
    for group in re.split(r"^## ", text("docs/guarantees.md"), flags=re.MULTILINE)[1:]:
        if group.splitlines()[0] not in ("Known limits", "Attacks", "How the engines differ"):  # they promise nothing
            named = re.findall(r"`(?:tests/\w+/)?(test_\w+\.py)`", group)
            assert named, group
            assert set(named) <= tests


def test_the_contract_has_each_section_that_is_cited() -> None:
    sections = re.findall(r"^## (\d+)\. ", text("docs/contract.md"), re.MULTILINE)
    assert sections == [str(number) for number in range(1, 14)]
    code = "".join(text(name) for name in FILES if name.endswith((".py", ".yaml")))
    cited = re.findall(r"contract,? sections? ((?:\d+(?:, | and | to )?)+)", code)
    assert cited
    assert {number for citation in cited for number in re.findall(r"\d+", citation)} <= {*sections}


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


def test_the_site_lists_every_page_and_code_and_loads_nothing_from_elsewhere(built: Path) -> None:
    listed = re.findall(r"- (?:\w+: )?([\w-]+\.md)$", text("mkdocs.yml"), re.MULTILINE)
    assert sorted(listed) == sorted([*(name for name in site.names().values() if name.endswith(".md")), "api.md"])
    assert all((built / name).with_suffix(".html").exists() for name in listed)
    assert set(CODES) <= set(re.findall(r'<h3 id="(\w+)"', (built / "codes.html").read_text()))
    loads = re.compile(r"""<(?:script|link|img|iframe)[^>]*?(?:src|href)="?([^\s">]+)""")
    loaded = [address for page in built.rglob("*.html") for address in loads.findall(page.read_text())]
    assert loaded
    assert [address for address in loaded if "//" in address] == []


STEPS = [
    "Write one class in the catalogue of `src/domain/event_types.py`",
    "`events/pianotuned.json`: copy `events/search.json` and change the event in its body",
    "Add its row\n   to `events/README.md`",
    "Run `make openapi`",
]
# The messages of the tests if only the class exists.
NAMED = ("events/pianotuned.json", "add a row to events/README.md", "run `make openapi`")


def run_tests(clone: Path) -> "subprocess.CompletedProcess[str]":
    """Run the tests that walk the catalogue, those of the other types apart."""
    others = ("test_lists", "api/test_event_files", "integration/test_events", "integration/test_capacity")
    files = [*clone.glob("tests/unit/test_*.py"), *(clone / "tests" / f"{name}.py" for name in others)]
    readers = [str(path) for path in files if re.search(r"CATALOGUE|restrictions\(\)|event_file", path.read_text())]
    of_the_type = ["-m", "not (hypothesis or long or dynamodb_local)", "-k", "pianotuned or tuning_id_seen or not ["]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *of_the_type, *readers]
    return subprocess.run(command, cwd=clone, capture_output=True, text=True, check=False)


def test_contributing_adds_an_event_type_and_a_step_that_is_left_out_is_named(clone: Path) -> None:
    """The text is what is done here. The type has a restriction."""
    [walkthrough] = re.findall(r"^## Add an event type\n(.*?)^## ", text("CONTRIBUTING.md"), re.MULTILINE | re.DOTALL)
    places = [walkthrough.find(words) for words in STEPS]
    assert -1 not in places
    assert places == sorted(places)
    assert re.findall(r"^(\d)\. ", walkthrough, re.MULTILINE) == ["1", "2", "3"]

    [block] = blocks("CONTRIBUTING.md", "python")
    types = clone / "src" / "domain" / "event_types.py"
    classes, function, rest = types.read_text().partition("def restrictions()")
    types.write_text(f"{classes}{block}\n\n{function}{rest}")
    told = run_tests(clone).stdout
    assert [step for step in NAMED if step not in told] == []
    assert not re.search(r"^E +(Key|Value|Type|Lookup)Error", told, re.MULTILINE), told

    example = json.loads(text("events/search.json"))
    example["body"] = json.dumps(json.loads(example["body"]) | {"event": {"pianotuned": {"tuningId": "T-88"}}})
    (clone / "events" / "pianotuned.json").write_text(json.dumps(example))
    with (clone / "events" / "README.md").open("a") as table:
        table.write("| `pianotuned` | EventFunction | 200 |  |\n")
    subprocess.run(make("openapi"), cwd=clone, check=True)
    done = run_tests(clone)
    assert done.returncode == 0, done.stdout


def test_each_program_to_run_sends_a_different_order() -> None:
    def orders(*places: str) -> list[str]:
        return [each for name in FILES if name.startswith(places) for each in {*re.findall(r"\bA-\d{4}\b", text(name))}]

    programs = orders("docs/recipes/", "docs/clients/", "clients/python/README.md")
    assert programs
    assert len(set(programs)) == len(programs)
    assert not {*programs} & {*orders("events/")}


def test_each_command_of_contributing_names_files_marks_and_a_type_that_exist() -> None:
    pytest_commands = r"^.venv/bin/python -m pytest (.*?) +#"
    commands = re.findall(pytest_commands, "".join(blocks("CONTRIBUTING.md")), re.MULTILINE)
    files, options = zip(*(command.split(" ", 1) for command in commands), strict=True)
    assert [name for name in files if not (ROOT / name).exists()] == []
    named = dict(option.split() for option in options if not option.endswith("--pdb"))
    assert named["-k"] in CATALOGUE
    assert f"{named['-m']}: " in "\n".join(tomllib.loads(text("pyproject.toml"))["tool"]["pytest"]["markers"])
