"""A folder of image files, of any depth."""

import os
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from copyfold.data.reading.decoding import Header, decode, header
from copyfold.data.reading.sources import Listing, Source
from copyfold.data.reading.splits import arranged
from copyfold.data.reading.unread import FOLDERS, NOWHERE, Unread
from copyfold.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

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

    Splits and classes follow from the names of folders, see `splits.arranged`.
    """

    kind = "folder of images"

    def __init__(self, root: Path, files: list[File], unread: Unread | None = None) -> None:
        self.root = root
        self.where = self._base = str(root)
        self.files = files
        self.unread = Unread() if unread is None else unread

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
        names = [file[0] for file in self.files]
        found = arranged(names)
        return Listing(names, found.splits, found.labels, found.classes, found.notes)

    def header(self, index: int) -> Header:
        """Size and mode of one file."""
        return header(self._path(index))

    def read(self, index: int, near: int | None) -> "Image.Image":
        """One file, decoded."""
        return decode(self._path(index), near)

    def coded(self, index: int) -> Path:
        """The file."""
        return Path(self._path(index))

    def _path(self, index: int) -> str:
        return os.path.join(self._base, self.files[index][0])  # a Path would take longer than opening it
