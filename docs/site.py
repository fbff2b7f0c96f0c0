"""Copy the pages of the site to `.site/pages`, and run Zensical on them: python -m docs.site build|serve.

A code host shows the Markdown files at their places. The site has one flat folder, so links between folders change, and
links to source files become plain text.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import flask_swagger_ui

ROOT = Path(__file__).parent.parent
# Pages outside of docs/, and their names on the site.
OTHERS = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "events/README.md": "events.md",
    "clients/python/README.md": "python-client.md",
}
LANGUAGES = {".mjs": "js", ".mts": "ts"}
WITH_PROGRAMS = ("recipes", "clients", "feed")
DOWNLOADS = (".json", ".sql", ".svg")
VIEWER = ("swagger-ui.css", "swagger-ui-bundle.js")
API = """\
# API

<iframe src="api/index.html" title="API reference" style="width: 100%; height: 85vh; border: 0"></iframe>
"""
LINK = re.compile(r"(!?)\[([^\]]+)\]\((?!https?:)([^)#\s]*)(#[^)\s]*)?\)")


def names() -> dict[str, str]:
    """Return the name on the site of each file that the site has, by its path in the repository."""
    docs = ROOT / "docs"
    kept = [path for path in docs.iterdir() if path.suffix in (".md", *DOWNLOADS)]
    others = {path: name for path, name in OTHERS.items() if (ROOT / path).exists()}
    return others | {f"docs/{name}": name for name in (path.relative_to(docs).as_posix() for path in kept)}


def page(path: str, on_site: dict[str, str]) -> str:
    """Return the text of a page with the links of the site, and with the programs of the folder of its name."""
    folder = (ROOT / path).with_suffix("")
    programs = sorted(file for file in folder.glob("*.*") if folder.name in WITH_PROGRAMS)

    def link(found: re.Match[str]) -> str:
        image, label, target, anchor = found[1], found[2], found[3], found[4] or ""
        if not target:
            return found[0]
        file = ROOT / os.path.normpath(Path(path).parent / target)
        if file in programs:
            return f"[{label}](#{file.name.replace('.', '')})"
        name = on_site.get(file.relative_to(ROOT).as_posix())
        return f"{image}[{label}]({name}{anchor})" if name else label

    parts = re.split(r"(^ *```.*?^ *```$)", (ROOT / path).read_text(), flags=re.MULTILINE | re.DOTALL)
    text = "".join(part if index % 2 else LINK.sub(link, part) for index, part in enumerate(parts))
    return text + "".join(
        f"\n## {file.name}\n\n```{LANGUAGES.get(file.suffix, file.suffix[1:])}\n{file.read_text()}```\n"
        for file in programs
    )


def copy_pages(folder: Path) -> None:
    """Write all pages, downloads and the viewer of the API to the folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    on_site = names()
    for path, name in on_site.items():
        if name.endswith(".md"):
            (folder / name).write_text(page(path, on_site))
        else:
            shutil.copy(ROOT / path, folder / name)
    (folder / "api.md").write_text(API)
    (folder / "api").mkdir()
    shutil.copy(ROOT / "docs" / "api.html", folder / "api" / "index.html")
    for name in VIEWER:
        shutil.copy(Path(flask_swagger_ui.__file__).parent / "dist" / name, folder / "api")


def main() -> int:
    copy_pages(ROOT / ".site" / "pages")
    zensical = Path(sys.executable).with_name("zensical")
    return subprocess.run([zensical, *sys.argv[1:]], cwd=ROOT, check=False).returncode  # noqa: S603


if __name__ == "__main__":
    sys.exit(main())
