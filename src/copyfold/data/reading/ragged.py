"""Images of several sizes in one array of values, one behind the other: decoded whole, cut when they are used."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from copyfold.data.reading import cache
from copyfold.errors import CopyfoldError


@dataclass(frozen=True)
class Ragged:
    """Images of any sizes with as many channels; those of a file are on the disk until they are cut."""

    values: np.ndarray
    """All values in one axis: of each image by rows, columns and channels."""
    starts: np.ndarray
    """Where each image begins in it."""
    sizes: np.ndarray
    """Height and width of each, N x 2."""
    channels: int

    @classmethod
    def of(cls, values: np.ndarray, sizes: Sequence[Sequence[int]], channels: int) -> "Ragged":
        """Images that lie one behind the other from the first value on."""
        known = np.array(sizes, dtype=np.int64).reshape(-1, 2)
        ends = channels * known.prod(1).cumsum()
        # Not memmap itself: each slice of one takes several times as long.
        return cls(np.asarray(values), np.concatenate([[0], ends[:-1]])[: len(known)], known, channels)

    @classmethod
    def joined(cls, images: Iterable[np.ndarray]) -> "Ragged":
        """Images H·W·C put one behind the other in memory, in colour where one is."""
        found = list(images)
        channels = max((image.shape[2] for image in found), default=1)
        flat = [np.broadcast_to(image, (*image.shape[:2], channels)).reshape(-1) for image in found]
        values = np.concatenate(flat) if flat else np.empty(0, np.uint8)
        return cls.of(values, [image.shape[:2] for image in found], channels)

    def __getstate__(self) -> dict[str, Any]:
        """The state to pickle: of mapped values the file, not the values."""
        return vars(self) | {"values": cache.where(self.values) or self.values}

    def __setstate__(self, state: dict[str, Any]) -> None:
        values = state["values"]
        vars(self).update(
            state | {"values": np.asarray(values.mapped() if isinstance(values, cache.Mapped) else values)}
        )

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, k: int) -> np.ndarray:
        """One image, H·W·C: a view."""
        height, width = self.sizes[k].tolist()
        start = int(self.starts[k])
        return self.values[start : start + height * width * self.channels].reshape(height, width, self.channels)

    def some(self, rows: np.ndarray) -> "Ragged":
        """Some of the images; nothing is read."""
        return replace(self, starts=self.starts[rows], sizes=self.sizes[rows])

    def cut(self, places: np.ndarray, height: int, width: int) -> np.ndarray:
        """Crops N·height·width·C at the rows of `places`: which image, the top and the left of the crop in it."""
        found = np.empty((len(places), height, width, self.channels), self.values.dtype)
        for crop, (k, top, left) in zip(found, places.tolist(), strict=True):
            crop[...] = self[k][top : top + height, left : left + width]
        return found


def write(place: Path, blocks: Iterable[np.ndarray]) -> tuple[list[list[int]], int]:
    """Write images one behind another into place/pixels.npy, an array of one axis; returns sizes and channels.

    Blocks are as in `cache.write_pixels`, of images of one size each: from the first in colour on, the whole is.
    """
    sizes: list[list[int]] = []
    count = channels = start = 0
    kind = np.dtype(np.uint8)
    with open(place / "pixels.npy", "w+b") as file:
        for block in filter(len, blocks):
            if not channels:
                kind = block.dtype
                start = cache.npy_header(file, (0,), kind)
            elif block.shape[3] > channels:
                count *= block.shape[3]
                cache.colour(file, start, count * kind.itemsize, kind)
            channels = max(channels, block.shape[3])
            sizes += [list(block.shape[1:3])] * len(block)
            file.write(np.ascontiguousarray(np.broadcast_to(block, (*block.shape[:3], channels))).data)
            count += prod(block.shape[:3]) * channels
        file.seek(0)
        if cache.npy_header(file, (count,), kind) != start and channels:
            raise CopyfoldError("NumPy changed the length of a .npy header; this is a fault in copyfold")
        file.flush()
        os.fsync(file.fileno())
    return sizes, channels
