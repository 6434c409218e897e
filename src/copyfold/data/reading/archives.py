"""A .zip of image files, read as the folder that it would be: nothing is unpacked onto the disk."""

import os
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from copyfold.data.reading.decoding import Header, Refused, header
from copyfold.data.reading.depth import decoded
from copyfold.data.reading.folders import IMAGES
from copyfold.data.reading.sources import Listing, Source
from copyfold.data.reading.splits import arranged
from copyfold.data.reading.unread import FOLDERS, Unread, leftover
from copyfold.errors import MEGAPIXELS, DataError

if TYPE_CHECKING:
    from copyfold.data.reading.values import Given

ARRAYS = frozenset({".npy", ".npz"})
OTHERS = frozenset({".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar"})
"""Archives that are not read."""

LARGEST = 8 * MEGAPIXELS * 1_000_000
"""Bytes of a file in an archive: the most pixels that are decoded, in four channels of 16 bits, uncompressed."""

ENCRYPTED = 0x1


class Zip(Source):
    """Image files in a .zip, in sorted order; splits and classes follow from its folders, as with a folder.

    Names in an archive are names only: no file is written, and none outside is opened. A file is unpacked into
    memory when its image is decoded, up to `LARGEST` bytes; beyond that it is refused by the size that it states,
    which `zipfile` never exceeds.
    """

    kind = "zip of images"

    def __init__(self, path: Path) -> None:
        self.where = str(path)
        self.unread = unread = Unread()
        try:
            status = os.stat(path)
            self._identity = (str(path), str(status.st_size), str(status.st_mtime_ns))
            self._file = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile, NotImplementedError, ValueError) as error:
            raise DataError(f"{path} cannot be read as a .zip: {error}") from None
        self._beside: list[str] = []  # files that are no images
        self._members = self._listed(unread)

    def identity(self) -> Iterable[str]:
        """Path, size and time of the archive."""
        return self._identity

    def listing(self) -> Listing:
        """The files by name; raises DataError where there is none."""
        if not self._members:
            arrays = [name for name in self._beside if os.path.splitext(name)[1].lower() in ARRAYS | {".parquet"}]
            advice = f"; unpack it, and give {arrays[0]}" if arrays else ""
            said = f"; {self.unread}" if self.unread else ""
            raise DataError(f"{self.where} contains no images{said}{advice}")
        names = [name for name, _ in self._members]
        found = arranged(names)
        return Listing(names, found.splits, found.labels, found.classes, found.notes)

    def header(self, index: int) -> Header:
        """Size and mode of one file, of which the beginning is unpacked."""
        try:
            with self._file.open(self._known(index)) as file:
                return header(file)
        except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
            raise Refused(f"cannot be unpacked: {error}") from None

    def read(self, index: int, near: int | None, deep: bool = False) -> "Given":
        """One file, decoded."""
        return decoded(self.coded(index), near, deep)

    def coded(self, index: int) -> bytes:
        """One file, unpacked; raises Refused."""
        try:
            return self._file.read(self._known(index))
        except Exception as error:  # zlib, lzma and bz2 have errors of their own
            if isinstance(error, Refused):
                raise
            raise Refused(f"cannot be unpacked: {error}") from None

    def close(self) -> None:
        """Close the archive."""
        self._file.close()

    def _listed(self, unread: Unread) -> list[tuple[str, zipfile.ZipInfo]]:
        found: dict[str, zipfile.ZipInfo] = {}
        for member in self._file.infolist():
            if member.is_dir():
                continue
            # A name may have the separators of another system, or lead out of its folder.
            parts = [part for part in member.filename.replace("\\", "/").split("/") if part not in ("", ".", "..")]
            if not parts:
                continue
            name, folders = "/".join(parts), parts[:-1]
            if any(folder.startswith(".") or folder.lower() in FOLDERS for folder in folders):
                continue
            if parts[-1].startswith(".") or leftover(parts[-1]):
                unread.add(parts[-1])
            elif os.path.splitext(name)[1].lower() in IMAGES:
                found[name] = member  # of two of one name the later counts, as for who unpacks them
            else:
                unread.add(parts[-1])
                self._beside.append(name)
        return sorted(found.items(), key=lambda item: item[0].split("/"))

    def _known(self, index: int) -> zipfile.ZipInfo:
        member = self._members[index][1]
        if member.flag_bits & ENCRYPTED:
            raise Refused("is encrypted: unpack the archive with its password")
        if member.file_size > LARGEST:
            raise Refused(f"is {member.file_size:,} bytes unpacked, more than {LARGEST:,}")
        return member
