"""A folder of image files, of any depth."""

import os
from collections import deque
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from copyfold.data.reading import tiff
from copyfold.data.reading.decoding import Header, decode, header
from copyfold.data.reading.sources import Listing, Source
from copyfold.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

IMAGES = frozenset({".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".tif", ".tiff", ".gif"})
HELD_OUT = ("test", "validation", "valid", "val")
"""Names of splits that are held out; where a source has several, the first of these is."""

File = tuple[str, int, int]
"""A file below a folder: its path from there with forward slashes, its bytes, its time in nanoseconds."""


def walk(root: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Every file below root that is not hidden, with its path from there; each folder is read once.

    Linked folders are read after all real ones, so a loop of links ends and no folder loses its own name.
    """
    waiting, seen = deque([("", root)]), set[tuple[int, int]]()
    while waiting:
        prefix, folder = waiting.popleft()
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    add = waiting.append if entry.is_symlink() else waiting.appendleft
                    add((f"{prefix}{entry.name}/", Path(entry.path)))
                elif entry.is_file():
                    yield f"{prefix}{entry.name}", entry


def files_below(root: Path, extensions: frozenset[str]) -> list[File]:
    """The files with these extensions in sorted order, with sizes and times."""
    try:
        found = [
            (path, status.st_size, status.st_mtime_ns)
            for path, entry in walk(root)
            if os.path.splitext(path)[1].lower() in extensions
            for status in (entry.stat(),)
        ]
    except OSError as error:
        raise DataError(f"the folder {root} cannot be read: {error.strerror}: {error.filename}") from None
    return sorted(found, key=lambda file: file[0].split("/"))


class Folder(Source):
    """Image files in a folder of any depth, in sorted order, hidden files left out.

    Top-level folders named train and test (or val, valid, validation) are splits; first-level folders below
    are classes where every image lies in one and there are at least two, as in `datasets`' imagefolder. Each page
    of a TIFF file of several is an image: stack.tif#0003 is the fourth. Of an animation the first frame is.
    """

    kind = "folder of images"

    def __init__(self, root: Path, files: list[File]) -> None:
        self.root = root
        self.where = self._base = str(root)
        self.files = files
        self.notes: list[str] = []
        self._pages: dict[str, tiff.Page] = {}

    def identity(self) -> Iterable[str]:
        """Path, size and modification time of every file."""
        yield str(self.root)
        yield from (f"{path}|{size}|{time}" for path, size, time in self.files)

    def listing(self) -> Listing:
        """The files by name; raises DataError where there is none."""
        if not self.files:
            raise DataError(
                f"the folder {self.root} contains no images: none of its files ends in .png, .jpg, .webp, .bmp, "
                ".tif or .gif"
            )
        labels, classes = self._find_labels()
        return Listing(self.names, self._splits, labels, classes, [*self.notes, *self._stacks()])

    def _stacks(self) -> list[str]:
        """A sentence on TIFF files of several pages, where there are any."""
        if not self._pages:
            return []
        files = len({page.path for page in self._pages.values()})
        said = "1 TIFF file has" if files == 1 else f"{files:,} TIFF files have"
        return [f"{said} several pages, {len(self._pages):,} in all: each is an image"]

    @cached_property
    def names(self) -> list[str]:
        """The name of every image: that of its file, with the number of its page from #0000 where it has several.

        Nothing but the directories of TIFF files is read for it.
        """
        found: list[str] = []
        for name, *_ in self.files:
            several = os.path.splitext(name)[1].lower() in tiff.TIFFS
            offsets = tiff.pages(os.path.join(self._base, name)) if several else []
            if len(offsets) < 2:
                found.append(name)
                continue
            for number, offset in enumerate(offsets):
                found.append(tiff.named(name, number))
                self._pages[found[-1]] = tiff.Page(os.path.join(self._base, name), offset)
        return found

    def header(self, index: int) -> Header:
        """Size and mode of one file."""
        return header(self.coded(index))

    def read(self, index: int, near: int | None) -> "Image.Image":
        """One file, decoded."""
        return decode(self.coded(index), near)

    def coded(self, index: int) -> str | tiff.Page:
        """Where an image is: the path of its file, or a page in one."""
        name = self.names[index]
        if name in self._pages:
            return self._pages[name]
        return os.path.join(self._base, name)  # a Path would take longer than opening it

    @cached_property
    def _splits(self) -> dict[str, np.ndarray]:
        tops = np.array([name.split("/")[0] if "/" in name else "" for name in self.names])
        everything = np.arange(len(tops))
        named = [name for name in ("train", *HELD_OUT) if (tops == name).any()]
        rest = ~np.isin(tops, named)
        # A lone folder called train among others is a class (of pictures of trains), not a split.
        if not named or (named == ["train"] and rest.any()):
            return {"": everything}
        splits = {name: everything[tops == name] for name in named}
        if rest.any() and "train" in splits:
            self.notes.append(f"{int(rest.sum())} images outside of {', '.join(named)} are not used")
        elif rest.any():
            splits["train"] = everything[rest]
        return splits

    def _find_labels(self) -> tuple[list[int] | None, list[str] | None]:
        """First-level folder names below the splits, as numbers into their sorted list."""
        found = [""] * len(self.names)
        for split, indices in self._splits.items():
            for index in indices:
                parts = self.names[index].split("/")
                inside = parts[1:] if parts[0] == split else parts
                if len(inside) < 2:
                    return None, None
                found[index] = inside[0]
        classes = sorted(set(found) - {""})
        if len(classes) < 2:
            return None, None
        number = {name: k for k, name in enumerate(classes)} | {"": -1}
        return [number[name] for name in found], classes


class Stack(Folder):
    """A TIFF file of several pages, each of which is an image."""

    kind = "TIFF file of several pages"

    def __init__(self, path: Path) -> None:
        status = path.stat()
        super().__init__(path.parent, [(path.name, status.st_size, status.st_mtime_ns)])
        self.where = str(path)
