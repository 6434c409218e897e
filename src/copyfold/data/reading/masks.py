"""Masks beside images: which of their pixels are observed."""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from copyfold.data.reading.arrays import LAYOUTS, arrange, hashed, load_file
from copyfold.data.reading.folders import Folder
from copyfold.data.reading.opening import recognise
from copyfold.data.reading.sources import Source
from copyfold.errors import DataError

Given = str | os.PathLike[str] | np.ndarray | torch.Tensor
"""An array N·H·W, or in the layout of the images; or the path of one, or of a folder."""


class Masks:
    """Which pixels are observed, of each of a source's images: those where its mask is not 0.

    Masks in a folder belong to the images of their names, whatever these end in; of anything else the first is of
    the first image. A mask has 1 channel, or those of the images. The alpha channel of a mask is not looked at.
    """

    def __init__(self, given: Given, layout: str | None, images: Source) -> None:
        self._array: np.ndarray | None = None
        self._source: Source | None = None
        self._identity: tuple[str, ...]
        if isinstance(given, np.ndarray | torch.Tensor):
            self.where = f"the masks {'x'.join(map(str, given.shape))} in memory"
            raw = given.detach().cpu().numpy() if isinstance(given, torch.Tensor) else given
            self._array = _arranged(raw, layout, self.where)
            self._identity = tuple(hashed(self._array))
        elif (path := Path(os.path.abspath(Path(given).expanduser()))).suffix.lower() in (".npy", ".npz"):
            self.where = str(path)
            try:
                status = path.stat()
            except OSError as error:
                raise DataError(f"the masks {path} cannot be read: {error.strerror}") from None
            self._array = _arranged(load_file(path).array, layout, self.where)
            self._identity = (self.where, str(status.st_size), str(status.st_mtime_ns))
        else:
            self._source = recognise(given, None)
            self.where = self._source.where
            self._identity = tuple(self._source.identity())
        self._rows = self._matched(images)

    def identity(self) -> Iterable[str]:
        """What changes when the masks do, as of a source."""
        return self._identity

    def __call__(self, index: int) -> np.ndarray:
        """The mask of one image, true where it is observed: H·W·1 or H·W·C; raises Refused."""
        row = self._rows[index]
        if self._array is not None:
            return np.asarray(self._array[row] != 0)
        assert self._source is not None
        mask = self._source.read(row, None)
        if isinstance(mask, np.ndarray):
            return mask != 0
        if mask.mode in ("LA", "La", "PA", "RGBA", "RGBa"):
            mask = mask.convert("L" if mask.mode in ("LA", "La") else "RGB")
        found = np.asarray(mask) != 0
        return found.any(axis=2, keepdims=True) if found.ndim == 3 else found[..., None]

    def close(self) -> None:
        """Let go of temporary files."""
        if self._source is not None:
            self._source.close()

    def _matched(self, images: Source) -> list[int]:
        """The mask of each image, by name where both are files, else by number; DataError where one has none."""
        names = images.listing().names
        if self._array is not None or not (isinstance(images, Folder) and isinstance(self._source, Folder)):
            count = len(self._array) if self._array is not None else len(self._names())
            if count != len(names):
                raise DataError(f"{self.where} holds {count} masks for {len(names)} images: give one for each")
            return list(range(count))
        rows = {os.path.splitext(name)[0]: row for row, name in enumerate(self._names())}
        bare = [os.path.splitext(name)[0] for name in names]
        if missing := [name for name, key in zip(names, bare, strict=True) if key not in rows]:
            raise DataError(
                f"{len(missing)} of {len(names)} images have no mask of their name in {self.where}, the first is "
                f"{missing[0]}"
            )
        return [rows[key] for key in bare]

    def _names(self) -> list[str]:
        assert self._source is not None
        return self._source.listing().names


def _arranged(array: np.ndarray, layout: str | None, where: str) -> np.ndarray:
    """An array of masks as N·H·W·C: of three axes N·H·W, of four in the layout of the images."""
    four = layout if layout is not None and LAYOUTS.get(layout, (4,))[0] == 4 else None
    return arrange(array, "NHW" if array.ndim == 3 else four, where)
