"""What visitors may bring: how many files, how large, and how large once decoded."""

import os
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from copyfold.data.reading.archives import Zip
from copyfold.data.reading.decoding import Header, Refused, header
from copyfold.data.reading.folders import IMAGES
from copyfold.errors import DataError, UsageError

COUNT = 1000
"""Files that are dropped at once, or in one archive."""

FILE = 100_000_000
"""Bytes of one file."""

TOTAL = 1_000_000_000
"""Bytes of all that is dropped at once, in an archive unpacked; and of one request."""

KEPT = 4_000_000_000
"""Bytes of all temporary files of all visitors, above which nothing more is taken."""

PIXELS = 50_000_000
"""Pixels of one image."""

DECODED = 4_000_000_000
"""Pixels of all images that are dropped at once."""

WORDS = 4_000_000
"""Bytes of a request that brings no file."""


def check(files: Sequence[Path]) -> None:
    """Refuse dropped files that are too many or too large, or no images; no image is decoded for it."""
    if not files:
        raise UsageError("nothing was dropped: choose images, or a .zip of images")
    if len(files) > COUNT:
        raise UsageError(
            f"{len(files):,} files are too many: expected at most {COUNT:,}; put a folder below the root"
        )
    sizes = [file.stat().st_size for file in files]
    if max(sizes) > FILE or sum(sizes) > TOTAL:
        raise UsageError(f"the files are too large: expected at most {_mega(FILE)} each and {_mega(TOTAL)} in all")
    archives = [file for file in files if file.suffix.lower() == ".zip"]
    if archives and len(files) > 1:
        raise UsageError("a .zip is dropped alone: drop it by itself, or the images in it")
    if archives:
        _check_archive(archives[0])
    else:
        check_images(files)


def check_images(files: Sequence[Path]) -> None:
    """Refuse files that are no images, or have too many pixels."""
    for file in files:
        if file.suffix.lower() not in IMAGES:
            raise UsageError(f"{file.name} is no image: expected {', '.join(sorted(IMAGES))}, or one .zip")
    _check_pixels((file.name, _header(file)) for file in files)


def check_room(folder: Path) -> None:
    """Refuse more files where those of all visitors fill what there is for them."""
    held = sum(os.path.getsize(os.path.join(at, name)) for at, _, names in os.walk(folder) for name in names)
    if held > KEPT:
        raise UsageError(f"the studio holds {_mega(held)} of dropped files already: try again later")


def _check_archive(file: Path) -> None:
    try:
        with zipfile.ZipFile(file) as opened:
            members = opened.infolist()
    except (OSError, zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise DataError(f"{file.name} cannot be read as a .zip: {error}") from None
    if len(members) > COUNT:
        raise UsageError(f"{file.name} has {len(members):,} files: expected at most {COUNT:,}")
    if (unpacked := sum(member.file_size for member in members)) > TOTAL:
        raise UsageError(f"{file.name} is {_mega(unpacked)} unpacked: expected at most {_mega(TOTAL)}")
    with Zip(file) as source:
        names = source.listing().names
        _check_pixels((name, _of(source, index)) for index, name in enumerate(names))


def _of(source: Zip, index: int) -> Header | None:
    try:
        return source.header(index)
    except Refused:  # `copyfold data` says which files cannot be read, and why
        return None


def _header(file: Path) -> Header | None:
    try:
        return header(file)
    except Refused:
        return None


def _check_pixels(images: Iterable[tuple[str, Header | None]]) -> None:
    total = 0
    for name, found in images:
        pixels = found.width * found.height if found else 0
        total += pixels
        if found and pixels > PIXELS:
            raise UsageError(
                f"{name} has {found.width} x {found.height} pixels: expected at most {PIXELS // 10**6} megapixels"
            )
        if total > DECODED:
            raise UsageError(f"the images have more than {DECODED // 10**6:,} megapixels together: drop fewer")


def _mega(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"
