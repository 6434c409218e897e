"""A page of images in rows, for what is found in a folder: outliers with their maps, neighbours, duplicates."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from copyfold.files import readable
from copyfold.pictures import Picture
from copyfold.report.page import encoded, rendered


@dataclass(frozen=True)
class Row:
    """Pictures beside each other, each with its caption, and a text after them."""

    pictures: Sequence[tuple[Picture, str]]
    text: str = ""


@dataclass(frozen=True)
class Group:
    """A heading, a text, and rows."""

    title: str
    text: str
    rows: Sequence[Row]


def gallery(
    title: str,
    facts: str,
    said: Sequence[str],
    groups: Sequence[Group],
    figure: Any = None,
    caption: str = "",
) -> str:
    """The page, which needs no other file: facts, sentences, a figure where there is one, and the groups."""
    return rendered(
        "gallery.html",
        title=readable(title),
        facts=readable(facts),
        said=list(map(readable, said)),
        picture="" if figure is None else encoded(figure),
        caption=caption,
        groups=[_shown(group) for group in groups],
    )


def _shown(group: Group) -> dict[str, Any]:
    rows = [
        {
            "pictures": [
                {"picture": encoded(picture), "caption": readable(words)} for picture, words in row.pictures
            ],
            "text": readable(row.text),
        }
        for row in group.rows
    ]
    return {"title": readable(group.title), "text": readable(group.text), "rows": rows}
