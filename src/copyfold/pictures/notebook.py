"""What a notebook shows of an object: pieces of HTML that need no other file."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from copyfold.pictures.grids import Picture, png

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, repr=False)
class Clip:
    """A film that a notebook shows: the bytes of a GIF, and its number of frames."""

    data: bytes
    frames: int

    def __repr__(self) -> str:
        return f"Clip({self.frames} frames, {len(self.data) / 1000:,.0f} kB)"

    def _repr_html_(self) -> str:
        """The film itself."""
        return _image("gif", self.data, repr(self))


def shown(text: str, *pieces: str) -> str:
    """A line of text, and pieces of HTML under it."""
    return f"<div><p>{escape(text)}</p>{''.join(pieces)}</div>"


def embedded(picture: "Picture | Figure", alt: str = "") -> str:
    """A picture with its bytes in the page."""
    return _image("png", png(picture), alt)


def table(rows: Mapping[str, object]) -> str:
    """Names and what they stand for."""
    cells = (f"<tr><th>{escape(name)}</th><td>{escape(str(value))}</td></tr>" for name, value in rows.items())
    return f"<table>{''.join(cells)}</table>"


def sheet(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells under the names of their columns."""
    heads = "".join(f"<th>{escape(name)}</th>" for name in names)
    lines = ("".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows)
    return f"<table><tr>{heads}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def _image(kind: str, data: bytes, alt: str) -> str:
    source = f"data:image/{kind};base64,{b64encode(data).decode()}"
    return f'<img alt="{escape(alt)}" style="max-width: 100%" src="{source}">'
