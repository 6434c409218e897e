"""Files beside the images that are not read, counted by their kind and named: nothing is left out in silence."""

import os
from collections import Counter

from copyfold.data.reading.decoding import FORMATS

PICTURES = frozenset(
    (
        *(".heic", ".heif", ".hif", ".avif", ".jxl", ".jp2", ".j2k", ".jpf", ".jpx", ".ppm"),
        *(".pgm", ".pbm", ".pnm", ".pfm", ".tga", ".dng", ".cr2", ".cr3", ".nef", ".arw"),
        *(".orf", ".rw2", ".raf", ".srw", ".pef", ".raw", ".svg", ".psd", ".xcf", ".eps"),
        *(".pdf", ".ico", ".icns", ".pcx", ".dds", ".exr", ".hdr", ".mpo", ".fits", ".dcm"),
        *(".nii"),
    )
)
"""Endings of pictures that are not read."""

HOLDERS = frozenset(
    (
        *(".zip", ".tar", ".gz", ".tgz", ".7z", ".rar", ".npy", ".npz", ".parquet", ".arrow"),
        *(".h5", ".hdf5", ".mat", ".tfrecord", ".mdb", ".mp4", ".mov", ".avi", ".mkv"),
    )
)
"""Endings of what may hold many images."""

UNFINISHED = frozenset((".part", ".partial", ".crdownload", ".download", ".filepart", ".tmp", ".temp"))
SYSTEM = frozenset(("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "picasa.ini"))
FOLDERS = frozenset(
    (
        *("@eadir", "#recycle", "#snapshot", "@recycle", "@tmp", "@__thumb"),  # of a NAS
        *("$recycle.bin", "system volume information", "__macosx", "lost+found"),
    )
)
"""Folders that systems make: the images in them are thumbnails, or were deleted."""

NOWHERE = "link to nowhere"
LEFTOVER = "left by a system or a program"
NAMED = 8


class Unread:
    """What of a folder or an archive is not read; `counts` are by ending, or by what else it is."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def add(self, name: str, what: str | None = None) -> None:
        """Count a file by its name."""
        self.counts[what or _kind(name)] += 1

    def __len__(self) -> int:
        return sum(self.counts.values())

    def __str__(self) -> str:
        """All of it in one sentence; empty where everything is read."""
        return _sentence(self.counts)

    def alone(self) -> str:
        """Advice where there is nothing but files that would be read by themselves."""
        there = [kind for kind in (".zip", ".npz", ".npy") if self.counts[kind]]
        return f"; give the {there[0]} file itself" if there else ""

    def wanted(self) -> str:
        """The same of what may hold images: files of the system and notes beside images are left out."""
        images = {kind: count for kind, count in self.counts.items() if kind in PICTURES | HOLDERS | {NOWHERE}}
        return _sentence(Counter(images))


def leftover(name: str) -> bool:
    """Whether a file is one that a system, a NAS or a program leaves: ._x.jpg, Thumbs.db, x.jpg.part, ~$x.docx."""
    lower = name.lower()
    return (
        lower.startswith(("._", ".ds_store", "~$")) or lower in SYSTEM or os.path.splitext(lower)[1] in UNFINISHED
    )


def _kind(name: str) -> str:
    if leftover(name):
        return LEFTOVER
    if name.startswith("."):
        return "hidden"
    return os.path.splitext(name)[1].lower() or "without an ending"


def _sentence(counts: Counter[str]) -> str:
    total = sum(counts.values())
    if not total:
        return ""
    common = counts.most_common()
    said = [_counted(kind, count) for kind, count in common[:NAMED]]
    if len(common) > NAMED:
        said.append(f"{sum(count for _, count in common[NAMED:]):,} others")
    pictures = [kind for kind, _ in common if kind in PICTURES]
    advice = f"; convert {', '.join(pictures)} to one of {', '.join(FORMATS)}" if pictures else ""
    return f"{total:,} {'file is' if total == 1 else 'files are'} not read: {', '.join(said)}{advice}"


def _counted(kind: str, count: int) -> str:
    if kind == NOWHERE:
        return f"{count:,} {'link' if count == 1 else 'links'} to nowhere"
    if kind.startswith("folder ") and count > 1:
        return f"{count:,} folders {kind.removeprefix('folder ')}"
    return f"{count:,} {kind}"
