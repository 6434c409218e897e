"""The links of the documentation pages are valid, except of pages generated from the claims."""

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WRITTEN = ("coverage.md", "findings.md")
FOLDERS = (ROOT, ROOT / "docs", ROOT / "docs" / "start")
PAGES = sorted(p for folder in FOLDERS for p in folder.glob("*.md") if p.name not in WRITTEN)
BUILT = tuple(ROOT / "docs" / name for name in ("gallery", "reference", "choosing", "project"))


def anchors(page: Path) -> set[str]:
    """What a link can name of a page: its headings, as they are turned into addresses."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_are_valid(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if link.startswith(("https://", "http://")):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if any(target.resolve().is_relative_to(folder) for folder in BUILT):
            continue  # a page that make docs writes, and checks
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_words_of_the_glossary_are_in_order():
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    words = re.findall(r"^\*\*(.+?)\.\*\*", text, re.MULTILINE)
    assert len(words) > 10
    assert words == sorted(words)


def test_a_built_site_is_searched_for_links_without_a_target(tmp_path):
    spec = importlib.util.spec_from_file_location("links", ROOT / "docs" / "links.py")
    assert spec is not None
    assert spec.loader is not None
    links = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(links)
    assert links.problems(tmp_path) == [f"{tmp_path} has no page: build it first"]
    (tmp_path / "b.html").write_text('<h1 id="there">B</h1>')
    good = '<a href="b.html#there">b</a> <a href="#here">here</a> <p id="here"></p> <a href="https://example.org">e</a>'
    (tmp_path / "a.html").write_text(good)
    assert links.problems(tmp_path) == []
    bad = '<a href="c.html">c</a> <a href="b.html#away">b</a> <script src="https://example.org/x.js"></script>'
    (tmp_path / "a.html").write_text(bad)
    assert links.problems(tmp_path) == [
        "a.html links to c.html, which does not exist",
        "a.html links to b.html#away, and there is no such name on that page",
        "a.html loads https://example.org/x.js",
    ]
