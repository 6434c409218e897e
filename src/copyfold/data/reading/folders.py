"""A folder of image files, of any depth."""

import os
from collections import deque
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from copyfold.data.reading import tiff
from copyfold.data.reading.decoding import Header, header
from copyfold.data.reading.depth import decoded
from copyfold.data.reading.sources import Listing, Source
from copyfold.data.reading.splits import arranged
from copyfold.data.reading.unread import FOLDERS, NOWHERE, Unread
from copyfold.errors import DataError

if TYPE_CHECKING:
    from copyfold.data.reading.values import Given

IMAGES = frozenset({".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".tif", ".tiff", ".gif"})

File = tuple[str, int, int]
"""A file below a folder: its path from there with forward slashes, its bytes, its time in nanoseconds."""


def walk(root: Path, unread: Unread | None = None) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Every file below root that is not hidden, with its path from there; each folder is read once.

    Linked folders are read after all real ones, so a loop of links ends and no folder loses its own name. What
    systems leave (`unread.FOLDERS`, ._x.jpg), hidden files and links to nowhere are counted in `unread`.
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
                if entry.name.startswith((".", "~$")):
                    if unread is not None and entry.is_file():
                        unread.add(entry.name)
                elif entry.is_dir():
                    if entry.name.lower() in FOLDERS:
                        if unread is not None:
                            unread.add(entry.name, f"folder {entry.name}")
                        continue
                    add = waiting.append if entry.is_symlink() else waiting.appendleft
                    add((f"{prefix}{entry.name}/", Path(entry.path)))
                elif entry.is_file():
                    yield f"{prefix}{entry.name}", entry
                elif unread is not None:
                    unread.add(entry.name, NOWHERE if entry.is_symlink() else "no plain file")


def files_below(root: Path, extensions: frozenset[str], unread: Unread | None = None) -> list[File]:
    """The files with these extensions in sorted order, with sizes and times; others are counted in `unread`."""
    found: list[File] = []
    try:
        for path, entry in walk(root, unread):
            if os.path.splitext(path)[1].lower() in extensions:
                status = entry.stat()
                found.append((path, status.st_size, status.st_mtime_ns))
            elif unread is not None:
                unread.add(entry.name)
    except OSError as error:
        raise DataError(f"the folder {root} cannot be read: {error.strerror}: {error.filename}") from None
    return sorted(found, key=lambda file: file[0].split("/"))


class Folder(Source):
    """Image files in a folder of any depth, in sorted order, hidden files left out.

    Splits and classes follow from the names of folders, see `splits.arranged`. Each page of a TIFF file of several
    is an image: stack.tif#0003 is the fourth. Of an animation the first frame is.
    """

    kind = "folder of images"

    def __init__(self, root: Path, files: list[File], unread: Unread | None = None) -> None:
        self.root = root
        self.where = self._base = str(root)
        self.files = files
        self.unread = Unread() if unread is None else unread
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
                ".tif or .gif" + (f"; {self.unread}{self.unread.alone()}" if self.unread else "")
            )
        found = arranged(self.names)
        notes = [*found.notes, *self._stacks()]
        return Listing(self.names, found.splits, found.labels, found.classes, notes)

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

    def read(self, index: int, near: int | None, deep: bool = False) -> "Given":
        """One file, decoded."""
        return decoded(self.coded(index), near, deep)

    def coded(self, index: int) -> str | tiff.Page:
        """Where an image is: the path of its file, or a page in one."""
        name = self.names[index]
        if name in self._pages:
            return self._pages[name]
        return os.path.join(self._base, name)  # a Path would take longer than opening it


class Single(Folder):
    """An image file by itself."""

    kind = "image file"

    def __init__(self, path: Path) -> None:
        status = path.stat()
        super().__init__(path.parent, [(path.name, status.st_size, status.st_mtime_ns)])
        self.where = str(path)


class Stack(Single):
    """A TIFF file of several pages, each of which is an image."""

    kind = "TIFF file of several pages"
