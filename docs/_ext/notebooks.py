"""The notebooks of the gallery: links of the site, which Sphinx-Gallery leaves as they are, become plain names."""

import re
from typing import Any

from sphinx.application import Sphinx
from sphinx_gallery import notebook

ROLE = re.compile(r":(?:py:)?(class|func|meth|doc):`([^`]+)`")
written = notebook.rst2md


def plain(text: str) -> str:
    """The same Markdown with names in place of roles: `copyfold.Walk`, and of a page its name or its title."""

    def name(found: re.Match[str]) -> str:
        kind, target = found.groups()
        title = target.partition(" <")[0].lstrip("~")
        return title if " " in title else f"`{title.rpartition('/')[2] if kind == 'doc' else title}`"

    return ROLE.sub(name, text)


def rst2md(*arguments: Any, **named: Any) -> str:
    """What Sphinx-Gallery writes, without roles."""
    return plain(written(*arguments, **named))


def setup(app: Sphinx) -> dict[str, bool]:
    """Change how Sphinx-Gallery writes a cell of text."""
    notebook.rst2md = rst2md
    return {"parallel_read_safe": True, "parallel_write_safe": True}
