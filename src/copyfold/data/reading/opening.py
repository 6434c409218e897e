"""Recognising what kind of source was given."""

import os
from pathlib import Path

import numpy as np
import torch

from copyfold.data.reading import tiff
from copyfold.data.reading.arrays import Digits, Memory, array_file
from copyfold.data.reading.folders import IMAGES, Folder, Stack, files_below
from copyfold.data.reading.sources import Source
from copyfold.data.reading.tables import PARQUET, Hub, Parquet
from copyfold.errors import DataError, UsageError

Given = str | os.PathLike[str] | np.ndarray | torch.Tensor | None
"""What can be given as a source: a path, hf://owner/name, an array, or nothing (the digits)."""


def recognise(given: Given, layout: str | None) -> Source:
    """Make the source that fits what was given; raises DataError where nothing does."""
    source = _recognise(given, layout)
    if layout is not None and not hasattr(source, "layout"):
        raise UsageError(f"a layout says how to read an array, and {source.where} is a {source.kind}")
    return source


def _recognise(given: Given, layout: str | None) -> Source:
    if given is None:
        return Digits()
    if isinstance(given, (np.ndarray, torch.Tensor)):
        return Memory(given, layout)
    if not isinstance(given, str | os.PathLike):
        raise UsageError(
            f"{given!r} is not a source of images: give a path, hf://owner/name, an array or a tensor"
        )
    if isinstance(given, str) and given.startswith("hf://"):
        return Hub(given)
    path = Path(os.path.abspath(Path(given).expanduser()))
    if path.is_dir():
        files = files_below(path, PARQUET | IMAGES)
        tables = [file for file in files if os.path.splitext(file[0])[1].lower() in PARQUET]
        return Parquet(path, tables) if tables else Folder(path, files)
    if not path.exists():
        raise DataError(
            f"there is no folder or file {path}: give a folder of images, a .npy or .npz, or hf://owner/name"
        )
    return _file(path, layout)


def _file(path: Path, layout: str | None) -> Source:
    extension = path.suffix.lower()
    if extension in (".npy", ".npz"):
        return array_file(path, layout)
    if extension in PARQUET:
        status = path.stat()
        return Parquet(path, [(path.name, status.st_size, status.st_mtime_ns)])
    if extension in tiff.TIFFS and len(tiff.pages(path)) > 1:
        return Stack(path)
    if extension in IMAGES:
        raise DataError(f"{path} is a single image: give the folder that it lies in")
    raise DataError(f"{path} cannot be read as data: give a folder of images, a .npy, .npz or .parquet file")
