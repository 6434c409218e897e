"""The page: sections and sentences as one HTML file that needs no other."""

import base64
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment

import copyfold
from copyfold import pictures
from copyfold.report.parts.sentences import BELOW, SENTENCES
from copyfold.report.parts.subject import Section


def page(
    title: str,
    facts: str,
    sentences: Mapping[str, str],
    sections: Sequence[Section],
    numbers: Mapping[str, float],
    seconds: float,
) -> str:
    """The whole page; pictures are inside it."""
    text = files("copyfold.report.parts").joinpath("page.html").read_text(encoding="utf-8")
    template = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(text)
    return template.render(
        title=title,
        facts=facts,
        sentences=sentences,
        sections=[_shown(section) for section in sections],
        thresholds=list(_thresholds(numbers)),
        version=copyfold.__version__,
        seconds=round(seconds),
    )


def _shown(section: Section) -> dict[str, Any]:
    """A section with its pictures as text and its numbers as a person reads them."""
    plates = [
        {
            "picture": base64.b64encode(pictures.png(plate.picture)).decode(),
            "caption": plate.caption,
            "command": plate.command,
        }
        for plate in section.plates
    ]
    numbers = {name: f"{value:.4g}" for name, value in section.numbers.items()}
    return {"title": section.title, "text": section.text, "plates": plates, "numbers": numbers}


def _thresholds(numbers: Mapping[str, float]) -> Any:
    """The table behind the sentences, a row a level."""
    for scales in SENTENCES.values():
        for scale in scales:
            for place, (least, words) in enumerate(scale.levels):
                first = place == 0
                yield {
                    "number": scale.number if first else "",
                    "meaning": scale.meaning if first else "",
                    "value": f"{numbers[scale.number]:.4g}" if first and scale.number in numbers else "",
                    "least": "below" if least == BELOW else f"{least:g}",
                    "words": re.sub(r"\{.*?\}", "…", words).strip(" ,;."),
                }
