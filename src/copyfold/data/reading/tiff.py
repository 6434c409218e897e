"""The directories of a TIFF file: where its pages are, and the file as if it began with one of them."""

import io
import os
import struct
from dataclasses import dataclass
from typing import IO

from copyfold.files import binary, regular

TIFFS = frozenset({".tif", ".tiff"})
MOST = 2**16
"""Directories that are read of one file."""

REDUCED, MASK = 1, 4  # bits of NewSubfileType: a smaller copy of another image, a transparency mask
ENTRIES = 4096  # in one directory; those of photographs have some twenty


@dataclass(frozen=True)
class Page:
    """An image of a TIFF file of several: the file, and the byte at which the image's directory begins."""

    path: str
    offset: int


@dataclass(frozen=True)
class _Layout:
    """How a directory is written: in which byte order, with numbers of 32 bits or (BigTIFF) of 64."""

    order: str
    count: str
    entry: int
    """Bytes of an entry."""
    link: str
    head: int
    """Bytes of the file's header, at the end of which the first link is."""


def pages(path: str | os.PathLike[str]) -> list[int]:
    """Where the directories of the images in a TIFF file begin, in bytes; [] where it is none that can be read.

    Smaller copies of other images (thumbnails, pyramids) and transparency masks are not counted, unless there is
    nothing else. Only directories are read, at most 65,536 of them.
    """
    found, others = _directories(path)
    return found or others[:1]


def others(path: str | os.PathLike[str]) -> list[int]:
    """Where the directories of smaller copies and masks begin, which `pages` does not count."""
    found, others = _directories(path)
    return others if found else others[1:]


def named(name: str, number: int) -> str:
    """The name of a page, counted from 0, of a file: stack.tif#0003 is the fourth."""
    return f"{name}#{number:04d}"


def parted(name: str) -> tuple[str, str]:
    """The file and the number of a page that `named` has named; "" is the number of a file that is no page."""
    file, _, number = name.rpartition("#")
    several = number.isdecimal() and os.path.splitext(file)[1].lower() in TIFFS
    return (file, number) if several else (name, "")


def opened(page: Page) -> IO[bytes]:
    """The file of a page, opened to be read as if the page's directory were its first."""
    return _From(page)


def _directories(path: str | os.PathLike[str]) -> tuple[list[int], list[int]]:
    """The directories of images, and those of smaller copies and masks; none where the file cannot be read."""
    found: dict[int, bool] = {}
    try:
        with binary(path) as file:
            layout = _layout(file.read(16))
            if layout is None:
                return [], []
            place = _number(file, layout.head - struct.calcsize(layout.link), layout.order + layout.link)
            while place and place not in found and len(found) < MOST:
                count = _number(file, place, layout.order + layout.count)
                if count is None or count > ENTRIES:
                    break
                entries = file.read(count * layout.entry)
                found[place] = bool(_kind(entries, layout) & (REDUCED | MASK))
                place = _number(file, file.tell(), layout.order + layout.link)
    except OSError:  # whoever reads the image will say why
        pass
    return [place for place, other in found.items() if not other], [
        place for place, other in found.items() if other
    ]


def _layout(head: bytes) -> _Layout | None:
    """What the first bytes of a file say; None where it is no TIFF."""
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None or len(head) < 8:
        return None
    version = struct.unpack(order + "H", head[2:4])[0]
    return {42: _Layout(order, "H", 12, "I", 8), 43: _Layout(order, "Q", 20, "Q", 16)}.get(version)


def _number(file: IO[bytes], place: int, form: str) -> int | None:
    """A number at a place in a file; None where the file ends before."""
    file.seek(place)
    data = file.read(struct.calcsize(form))
    return struct.unpack(form, data)[0] if len(data) == struct.calcsize(form) else None


def _kind(entries: bytes, layout: _Layout) -> int:
    """NewSubfileType of a directory, or what the old SubfileType means in its bits."""
    for k in range(0, len(entries) - layout.entry + 1, layout.entry):
        tag, form = struct.unpack_from(layout.order + "HH", entries, k)
        if tag in (254, 255):
            value = entries[k + layout.entry - struct.calcsize(layout.link) : k + layout.entry]
            number = struct.unpack_from(layout.order + ("H" if form == 3 else "I"), value)[0]
            return number if tag == 254 else REDUCED * (number == 2)
        if tag > 255:  # they are sorted
            break
    return 0


class _From(io.BufferedReader):
    """A TIFF file of which the header names another directory as the first; the file itself is not changed."""

    def __init__(self, page: Page) -> None:
        regular(page.path)
        super().__init__(io.FileIO(page.path))
        head = super().read(16)
        layout = _layout(head)
        self.head = b""
        if layout is not None:
            link = struct.pack(layout.order + layout.link, page.offset)
            self.head = head[: layout.head - len(link)] + link
        self.seek(0)

    def read(self, size: int | None = -1, /) -> bytes:
        """Read on, the header as it is to be seen."""
        start = self.tell()
        data = super().read(size)
        return self.head[start : start + len(data)] + data[max(0, len(self.head) - start) :]
