"""Check a built site: every link within it has a target, and no page loads anything from elsewhere.

python docs/links.py docs/_build/html
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src"}


class Page(HTMLParser):
    """What a page links to, what it loads, and the names that a link can end with."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.names: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note one element."""
        given = dict(attrs)
        self.names.update(filter(None, (given.get("id"), given.get("name"))))
        if tag == "a" and given.get("href"):
            self.links.append(str(given["href"]))
        if tag in LOADED and given.get(LOADED[tag]) and given.get("rel") != "canonical":
            self.loaded.append(str(given[LOADED[tag]]))


def problems(site: Path) -> list[str]:
    """What is wrong with a site, a line each."""
    pages = {path: Page(path) for path in sorted(site.rglob("*.html")) if "_static" not in path.parts}
    found = [] if pages else [f"{site} has no page: build it first"]
    for path, page in pages.items():
        here = path.relative_to(site)
        for target in [*page.links, *page.loaded]:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                if target in page.loaded and parts.scheme != "data":
                    found.append(f"{here} loads {target}")
                continue
            place = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not place.exists():
                found.append(f"{here} links to {target}, which does not exist")
            elif parts.fragment and place in pages and unquote(parts.fragment) not in pages[place].names:
                found.append(f"{here} links to {target}, and there is no such name on that page")
    return found


if __name__ == "__main__":
    said = problems(Path(sys.argv[1]).resolve())
    print("\n".join(said) or "every link within the site has a target, and nothing is loaded from elsewhere")
    sys.exit(bool(said))
