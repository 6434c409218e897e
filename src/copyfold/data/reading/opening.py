"""Recognising what kind of source was given."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset

from copyfold.data.reading import tiff
from copyfold.data.reading.archives import OTHERS, Zip
from copyfold.data.reading.arrays import Digits, Memory, array_file
from copyfold.data.reading.columns import NoImages
from copyfold.data.reading.folders import IMAGES, File, Folder, Single, Stack, files_below
from copyfold.data.reading.items import from_dataset, from_list, from_loader, is_picture
from copyfold.data.reading.sources import Source
from copyfold.data.reading.tables import ARROW, PARQUET, Hub, Parquet, Saved, arrow_files
from copyfold.data.reading.unread import Unread
from copyfold.errors import DataError, UsageError
from copyfold.files import absolute, regular

Given = str | os.PathLike[str] | np.ndarray | torch.Tensor | Sequence[Any] | Dataset[Any] | DataLoader[Any] | None
"""What can be given as a source, see `Photos`."""

MEMORY = " in memory"  # how the description of what was given from Python ends, in a recipe
EXPECTED = (
    "a folder, a file (.npy, .npz, .parquet, .zip), hf://owner/name, an array or tensor, a list of paths, arrays "
    "or Pillow images, or a torch Dataset or DataLoader"
)


def recognise(given: Given, layout: str | None, column: str | None = None, alone: bool = False) -> Source:
    """Make the source that fits what was given; raises DataError or UsageError where nothing does.

    A single image file is one only where it may be `alone`: to be looked at, and not to be trained on.
    """
    source = _recognise(given, layout, column, alone)
    for name, value in (("layout", layout), ("column", column)):
        if value is not None and getattr(source, name, None) != value:
            use = "how to read an array" if name == "layout" else "which column of a table to read"
            raise UsageError(f"a {name} says {use}, and {source.where} is a {source.kind}")
    return source


def _recognise(given: Any, layout: str | None, column: str | None, alone: bool) -> Source:
    if given is None:
        return Digits()
    if isinstance(given, str | os.PathLike):
        return _at(given, layout, column, alone)
    if isinstance(given, np.ndarray) and given.dtype.kind in "OU":
        given = given.tolist()
    if isinstance(given, np.ndarray | torch.Tensor):
        return Memory(given, layout)
    if (wrong := _wrong(given)) is not None:
        raise UsageError(f"{wrong}: expected {EXPECTED}")
    if isinstance(given, DataLoader):
        return from_loader(given, layout, column)
    if isinstance(given, list | tuple):
        return from_list(given, layout, column)
    return from_dataset(given, layout, column)


def _wrong(given: Any) -> str | None:
    """Why this is no source, and what would be one; None where it is one."""
    name = type(given).__name__
    package = type(given).__module__.partition(".")[0]
    if hasattr(given, "batches") and hasattr(given, "held_out"):
        return f"the source is {name} already: use it as it is"
    if isinstance(given, DataLoader):
        given = given.dataset
    if isinstance(given, IterableDataset) or (isinstance(given, Dataset) and not hasattr(given, "__len__")):
        return f"{type(given).__name__} has no length and no items by number: give list(...) of its images"
    if isinstance(given, torch.nn.Module):
        return f"{name} is a model, and not images"
    if is_picture(given):
        return "the source is a single image: give a list of images"
    if package in ("pandas", "polars", "pyarrow"):
        return f"the source is a {name} of {package}: give a list, as in list(table['path'])"
    if isinstance(given, Mapping):
        keys = ", ".join(map(repr, list(given)[:5]))
        return f"the source is a {name} of {keys}: give one of its values"
    if isinstance(given, set | frozenset):
        return f"the source is a {name}, which has no order: give sorted(...) of it"
    if hasattr(given, "read"):
        return f"the source is an open file ({name}): give its path"
    if isinstance(given, type):
        return f"the source is the class {given.__name__}"
    if isinstance(given, Iterator):
        return f"the source is a {name}, which can be read only once: give list(...) of it"
    if isinstance(given, bytes | bytearray) or not (hasattr(given, "__len__") and hasattr(given, "__getitem__")):
        return f"the source is of type {name}"
    return None


def _at(given: str | os.PathLike[str], layout: str | None, column: str | None, alone: bool) -> Source:
    """What is at a path or an address."""
    if isinstance(given, str) and given.startswith("hf://"):
        return Hub(given, column)
    if isinstance(given, str) and "://" in given:
        raise DataError(f"{given} is an address: only hf://owner/name is read from there; download it")
    if not os.fspath(given):
        raise DataError("the path of the images is empty: give a folder, or . for this one")
    path = absolute(given)
    if path.is_dir():
        return _folder(path, column)
    if path.exists():
        return _file(path, layout, column, alone)
    if str(given).endswith(MEMORY):
        raise DataError(f"{given} was given from Python and is not kept: give the images again")
    pattern = any(sign in path.name for sign in "*?")
    hint = "; for a pattern give the folder, or in Python a list of paths" if pattern else ""
    raise DataError(
        f"there is no folder or file {path}: give a folder of images, a .npy, .npz or .zip, or hf://owner/name{hint}"
    )


def _folder(path: Path, column: str | None) -> Source:
    """Parquet is read before images, which may be there for its README; arrow where there is nothing else."""
    unread = Unread()
    files = files_below(path, PARQUET | ARROW | IMAGES, unread)
    tables = [file for file in files if file[0].lower().endswith(tuple(PARQUET))]
    arrows = arrow_files([file for file in files if file[0].lower().endswith(tuple(ARROW))])
    images = [file for file in files if os.path.splitext(file[0])[1].lower() in IMAGES]
    if tables:
        source = Parquet(path, tables, column, unread)
        if not images or column is not None or _holds_images(source):
            _count([*images, *arrows], unread)
            if images:
                source.said = (f"the parquet files are read, and not the {len(images)} image files beside them",)
            return source
    if arrows and not images:
        return Saved(path, arrows, column, unread)
    _count([*tables, *arrows], unread)
    return Folder(path, images, unread)


def _count(files: list[File], unread: Unread) -> None:
    """Count files that are not read, although they could be."""
    for name, *_ in files:
        unread.add(os.path.basename(name))


def _holds_images(source: Parquet) -> bool:
    """Whether there are images in parquet files that lie beside image files, and do not describe these."""
    try:
        source.laid_out()
    except NoImages:
        return False
    return True


def _file(path: Path, layout: str | None, column: str | None, alone: bool) -> Source:
    try:
        regular(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read as data: {error.strerror}") from None
    ending = path.suffix.lower()
    if ending in (".npy", ".npz"):
        return array_file(path, layout, column)
    if ending in PARQUET | ARROW:
        status = path.stat()
        made = Parquet if ending in PARQUET else Saved
        return made(path, [(path.name, status.st_size, status.st_mtime_ns)], column)
    if ending in tiff.TIFFS and len(tiff.pages(path)) > 1:
        return Stack(path)
    if ending == ".zip":
        return Zip(path)
    if ending in OTHERS:
        raise DataError(
            f"{path} is an archive that is not read here: unpack it, and give the folder, or make a .zip"
        )
    if ending in IMAGES and alone:
        return Single(path)
    if ending in IMAGES:
        raise DataError(f"{path} is a single image: give the folder that it lies in")
    raise DataError(f"{path} cannot be read as data: give a folder of images, a .npy, .npz, .parquet or .zip file")
