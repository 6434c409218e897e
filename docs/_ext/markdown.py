"""The Markdown that GitHub shows, as pages of the site: its links to files of the repository are made to fit.

Pages of the root folder (CONTRIBUTING.md and so on) are copied to docs/project/, with their links rebased. A link
to another page of the site stays one; a link to any other file is to a copy of it; of a link to a folder the text
stays.
"""

import os
import re
from pathlib import Path

from sphinx.application import Sphinx

DOCS = Path(__file__).parents[1]
ROOT = DOCS.parent
COPIED = {"CONTRIBUTING.md": "contributing", "SECURITY.md": "security", "CHANGELOG.md": "changes"}
LINK = re.compile(r"(!?)\[((?:[^][]|\[[^]]*\])*)\]\(([^)\s]+)\)")
PICTURE = re.compile(r'<img src="([^"]+)" alt="([^"]*)" width="(\d+)">')


def fitted(text: str, page: Path, home: Path) -> str:
    """Markdown written at the path `page`, as it has to be for a page in the folder `home`."""

    def link(found: re.Match[str]) -> str:
        mark, words, target = found.groups()
        path, _, anchor = target.partition("#")
        if "://" in target or not path:
            return found[0]
        place = (page.parent / path).resolve()
        if place.is_dir():
            return words
        if place == ROOT / "README.md":
            return f"[{words}]({os.path.relpath(DOCS / 'index.md', home)})"
        if place.parent == ROOT and place.name in COPIED:
            place = DOCS / "project" / f"{COPIED[place.name]}.md"
        return f"{mark}[{words}]({os.path.relpath(place, home)}{'#' * bool(anchor)}{anchor})"

    def picture(found: re.Match[str]) -> str:
        path, alt, width = found.groups()
        return f"![{alt}]({os.path.relpath((page.parent / path).resolve(), home)}){{width={width}px}}"

    return PICTURE.sub(picture, LINK.sub(link, text))


def unlisted() -> list[str]:
    """The pages of docs/ that none of the lists of pages names."""
    lists = "".join(
        (DOCS / f"{name}.md").read_text(encoding="utf-8") for name in ("index", "howto", "explanations")
    )
    named = {"index", "findings", *re.findall(r"^[\w/]+$", lists, re.MULTILINE)}
    return sorted(page.stem for page in DOCS.glob("*.md") if page.stem not in named)


def copy_pages(app: Sphinx, _config: object) -> None:
    """Write docs/project/ from the pages of the root folder."""
    for name, shown in COPIED.items():
        copy = DOCS / "project" / f"{shown}.md"
        copy.parent.mkdir(exist_ok=True)
        text = fitted((ROOT / name).read_text(encoding="utf-8"), ROOT / name, copy.parent)
        if not copy.exists() or copy.read_text(encoding="utf-8") != text:
            copy.write_text(text, encoding="utf-8")


def fit(app: Sphinx, docname: str, source: list[str]) -> None:
    """Make the links of a page fit."""
    page = Path(app.env.doc2path(docname))
    if page.suffix == ".md" and page.parent.name != "project":
        source[0] = fitted(source[0], page, page.parent)
    if docname == "howto":  # a new page is on the site with no edit here
        source[0] = source[0].replace("\nmany\n", "\n".join(["\nmany", *unlisted(), ""]), 1)
    if docname == "findings":  # written by findings.py, which knows no site
        source[0] += "\n```{toctree}\n:hidden:\n:glob:\n\nfindings/*\n```\n"


def setup(app: Sphinx) -> dict[str, bool]:
    """Copy pages before the folder is searched, and change those that are read."""
    app.connect("config-inited", copy_pages)
    app.connect("source-read", fit)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
