"""Masks beside images: which of their pixels are observed."""

import os
from collections.abc import Iterable

import numpy as np
import torch

from copyfold.data.reading import tiff
from copyfold.data.reading.archives import Zip
from copyfold.data.reading.arrays import LAYOUTS, arrange, hashed, load_file
from copyfold.data.reading.folders import Folder, Stack
from copyfold.data.reading.opening import recognise
from copyfold.data.reading.sources import Source
from copyfold.errors import DataError
from copyfold.files import absolute

Given = str | os.PathLike[str] | np.ndarray | torch.Tensor
"""An array N·H·W, or in the layout of the images; or the path of one, or of a folder."""


class Masks:
    """Which pixels are observed, of each of a source's images: those where its mask is not 0.

    Masks in files belong to the images of their names, whatever these end in, and to the pages of their numbers;
    those in splits to the images of the same split; of anything else the first is of the first image. A mask has
    1 channel, or those of the images. The alpha channel of a mask is not looked at.
    """

    def __init__(self, given: Given, layout: str | None, images: Source) -> None:
        self._array: np.ndarray | None = None
        self._source: Source | None = None
        self._splits: dict[str, np.ndarray]
        self._identity: tuple[str, ...]
        if isinstance(given, np.ndarray | torch.Tensor):
            self.where = f"the masks {'x'.join(map(str, given.shape))} in memory"
            raw = given.detach().cpu().numpy() if isinstance(given, torch.Tensor) else given
            self._array, self._splits = _arranged(raw, layout, self.where), {}
            self._identity = tuple(hashed(self._array))
        elif (path := absolute(given)).suffix.lower() in (".npy", ".npz"):
            self.where = str(path)
            try:
                status = path.stat()
            except OSError as error:
                raise DataError(f"the masks {path} cannot be read: {error.strerror}") from None
            content = load_file(path)
            self._array, self._splits = _arranged(content.array, layout, self.where), content.splits
            self._identity = (self.where, str(status.st_size), str(status.st_mtime_ns))
        else:
            self._source = recognise(given, None)
            self.where, self._splits = self._source.where, self._source.listing().splits
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
        listing = images.listing()
        if self._source is not None and _are_files(images) and _are_files(self._source):
            return self._named(listing.names, self._source.listing().names)
        count = len(self._array) if self._array is not None else sum(map(len, self._splits.values()))
        if count != len(listing.names):
            raise DataError(f"{self.where} holds {count} masks for {len(listing.names)} images: give one for each")
        if len(self._splits) < 2 or self._splits.keys() != listing.splits.keys():
            return list(range(count))
        rows = np.empty(count, np.int64)
        for split, places in listing.splits.items():
            found = self._splits[split]
            if len(found) != len(places):
                raise DataError(
                    f"{self.where} holds {len(found)} masks for the {len(places)} images of the split {split}: "
                    "give one for each"
                )
            rows[places] = found
        return rows.tolist()

    def _named(self, images: list[str], masks: list[str]) -> list[int]:
        """The mask of each image of files by name, in whatever folder all images, or all masks, may be."""
        keys, known = _keys(images), _keys(masks)
        if not set(keys) <= set(known):
            keys, known = _keys(_below(images)), _keys(_below(masks))
        rows = {key: row for row, key in enumerate(known)}
        if missing := [name for name, key in zip(images, keys, strict=True) if key not in rows]:
            raise DataError(
                f"{len(missing)} of {len(images)} images have no mask of their name in {self.where}, the first is "
                f"{missing[0]}"
            )
        wanted = set(keys)
        for row, key in enumerate(known):
            if key in wanted and rows[key] != row:
                found = f"{masks[row]} and {masks[rows[key]]}"
                raise DataError(f"{self.where} holds two masks of one name, {found}: remove one of them")
        return [rows[key] for key in keys]


def _are_files(source: Source) -> bool:
    """Whether images have names of their own, and not only a number in a file."""
    return isinstance(source, Folder | Zip) and not isinstance(source, Stack)


def _keys(names: list[str]) -> list[tuple[str, str]]:
    """The names of files without what they end in, and the number of the page where there are several."""
    return [(os.path.splitext(file)[0], page) for file, page in map(tiff.parted, names)]


def _below(names: list[str]) -> list[str]:
    """Names without the folder that all are in, such as that of a .zip."""
    shared = os.path.commonpath([os.path.dirname(name) for name in names])
    return [name[len(shared) + 1 :] if shared else name for name in names]


def _arranged(array: np.ndarray, layout: str | None, where: str) -> np.ndarray:
    """An array of masks as N·H·W·C: of three axes N·H·W, of four in the layout of the images."""
    if array.dtype.kind not in "buif":
        raise DataError(f"{where} holds {array.dtype}: masks are numbers, 0 where a pixel is missing")
    four = layout if layout is not None and LAYOUTS.get(layout, (4,))[0] == 4 else None
    return arrange(array, "NHW" if array.ndim == 3 else four, where)
