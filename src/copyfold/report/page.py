"""The page: sections and their sentences as one HTML file that needs no other."""

import base64
import re
from collections.abc import Iterator, Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader

import copyfold
from copyfold import pictures
from copyfold.report.base import BELOW, Content, Section


def page(title: str, facts: str, parts: Sequence[tuple[Section, Content]], seconds: float) -> str:
    """The whole page; pictures are inside it."""
    return rendered(
        "page.html",
        title=title,
        facts=facts,
        sentences={section.title: section.sentence(content.numbers) for section, content in parts},
        sections=[_shown(section, content) for section, content in parts],
        thresholds=[row for section, content in parts for row in _thresholds(section, content)],
        seconds=round(seconds),
    )


def rendered(template: str, **values: Any) -> str:
    """A page of this folder with these values in it."""
    folder = files("copyfold.report")
    loader = FunctionLoader(lambda name: folder.joinpath(name).read_text(encoding="utf-8"))
    environment = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.get_template(template).render(version=copyfold.__version__, **values)


def encoded(picture: Any) -> str:
    """A picture as text, for a page that needs no other file."""
    return base64.b64encode(pictures.png(picture)).decode()


def _shown(section: Section, content: Content) -> dict[str, Any]:
    """A section with its pictures as text and its numbers as a person reads them."""
    drawn = [
        {
            "picture": encoded(figure.picture),
            "caption": figure.caption,
            "command": figure.command,
        }
        for figure in content.figures
    ]
    numbers = {name: f"{value:.4g}" for name, value in content.numbers.items()}
    return {"title": section.title, "text": content.text, "figures": drawn, "numbers": numbers}


def _thresholds(section: Section, content: Content) -> Iterator[dict[str, str]]:
    """The rows of a section in the table behind the sentences, one a level."""
    for scale in section.scales:
        value = content.numbers.get(scale.number)
        for place, (least, words) in enumerate(scale.levels):
            first = place == 0
            yield {
                "number": scale.number if first else "",
                "meaning": scale.meaning if first else "",
                "value": f"{value:.4g}" if first and value is not None else "",
                "least": "below" if least == BELOW else f"{least:g}",
                "words": re.sub(r"\{.*?\}", "…", words).strip(" ,;."),
            }
