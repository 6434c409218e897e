"""Crops of photographs at their own resolution: a fixed grid to look at, and random ones to train on.

One rule for `Photos` and `Stream`: as many crops as fit into a photograph without overlap count as its images.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast, overload

import numpy as np
import torch
from torch import Tensor

from copyfold.data.batches import Batches
from copyfold.data.reading.ragged import Ragged
from copyfold.data.reading.sizes import Sides, Size, sides
from copyfold.errors import DataError, UsageError, option

HELD_OUT, VALUES = 1024, 2**26  # crops held out at most, and values of them all: 67 MB
NAMED = 5


def alone(crop: Size, size: object = None, fit: str = "crop", channels: int | None = None) -> Sides:
    """Height and width of a crop, see `sides`; UsageError beside arguments that say how to resize."""
    if size is not None or fit != "crop":
        other = f"size={size}" if size is not None else f"fit={fit!r}"
        raise UsageError(
            f"crop={crop} and {other} are invalid together: a crop is cut from an image that is not resized; give "
            "one of them"
        )
    return sides(crop, "crop", channels)


def drawn(sizes: np.ndarray, crop: Sides, chance: np.ndarray) -> np.ndarray:
    """The top and left of random crops: every place in its image is equally likely.

        top = floor(u (H - h + 1)),   left = floor(v (W - w + 1))        u, v uniform in [0, 1)

    Rows of `sizes` are H and W of the image of each, rows of `chance` are u and v.
    """
    return (chance * (sizes - np.array(crop) + 1)).astype(np.int64)


def part(name: str, top: int, left: int, crop: Sides) -> str:
    """The name of a crop, as ImageMagick writes a part of a file: photo.png[WIDTHxHEIGHT+LEFT+TOP]."""
    return f"{name}[{crop[1]}x{crop[0]}+{left}+{top}]"


def too_small(size: Sequence[int], crop: Sides) -> str:
    """Why an image is left out: "is 40x50, smaller than the crop"; "" where it is not. Heights come first."""
    if size[0] >= crop[0] and size[1] >= crop[1]:
        return ""
    return f"is {size[0]}x{size[1]}, smaller than the crop of {crop[0]}x{crop[1]}"


class Crops:
    """The grid of crops of all images, to be used like an array N·h·w·C of stored pixels.

        n = floor(H / h) floor(W / w) crops of an image of H·W

    They do not overlap, and are spread evenly from edge to edge; a single row or column of them is in the middle.
    `crops[rows]` reads those at an index, a slice, or an array of indices or booleans, np.asarray(crops) all of
    them. Nothing is in memory before.
    """

    def __init__(self, images: Ragged, crop: Sides) -> None:
        self.images, self.crop = images, crop
        self.counts = (images.sizes // np.array(crop)).prod(1)
        """The crops of each image."""
        self._ends = self.counts.cumsum()
        self.shape = (int(self._ends[-1]) if len(images) else 0, *crop, images.channels)
        self.dtype = images.values.dtype
        self.ndim = 4

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        height, width = self.crop
        return f"Crops({len(self):,} of {height}x{width} from {len(self.images):,} images)"

    def __getitem__(self, rows: Any) -> np.ndarray:
        if isinstance(rows, int | np.integer):
            return self[[rows]][0]
        return self.images.cut(self.places(self._rows(rows)), *self.crop)

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[row] for row in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("crops are cut when they are read: an array of them is always a copy")
        return self[:] if dtype is None else self[:].astype(dtype)

    def tobytes(self) -> bytes:
        """The values of all crops."""
        return self[:].tobytes()

    def owners(self, rows: np.ndarray) -> np.ndarray:
        """Which image each of some crops is of."""
        return np.searchsorted(self._ends, rows, side="right")

    def places(self, rows: np.ndarray) -> np.ndarray:
        """The image, the top and the left of each of some crops of the grid."""
        owners = self.owners(rows)
        sizes = self.images.sizes[owners]
        across = sizes // np.array(self.crop)
        at = np.stack(np.divmod(rows - (self._ends - self.counts)[owners], across[:, 1]), 1)
        room = sizes - np.array(self.crop)
        corners = np.where(across > 1, at * room // np.maximum(across - 1, 1), room // 2)
        return np.column_stack([owners, corners])

    def drawn(self, rows: np.ndarray, chance: np.ndarray) -> np.ndarray:
        """The same of random crops of these crops' images, see `drawn`."""
        owners = self.owners(rows)
        return np.column_stack([owners, drawn(self.images.sizes[owners], self.crop, chance)])

    def spread(self, most: int, seed: int) -> np.ndarray:
        """At most so many rows, as many of every image as of any other that has them.

        Those of an image are drawn by seed. First comes one of each image, then a second of each, and so on, so
        that the first few are of different images. Where there are more images than `most`, of the first ones.
        """
        rng = np.random.default_rng(seed)
        counts = self.counts[:most].tolist()
        each = max(1, most // max(1, len(counts)))
        starts = (self._ends - self.counts).tolist()
        chosen = [
            (turn, image, starts[image] + int(cell))
            for image, count in enumerate(counts)
            for turn, cell in enumerate(rng.permutation(count)[:each])
        ]
        return np.array([row for *_, row in sorted(chosen)], dtype=np.int64)

    def _rows(self, rows: Any) -> np.ndarray:
        """Row numbers from 0 on; IndexError beyond the last."""
        if isinstance(rows, slice):
            return np.arange(*rows.indices(len(self)))
        found = np.asarray(rows)
        if found.dtype == bool:
            found = np.flatnonzero(found) if len(found) == len(self) else np.array([len(self)])
        if found.size and (found.ndim != 1 or found.dtype.kind not in "iu"):
            raise IndexError(f"{rows!r} is invalid for crops: expected row numbers, a slice or booleans")
        if found.size and not -len(self) <= found.min() <= found.max() < len(self):
            raise IndexError(f"a row is out of bounds for {len(self)} crops")
        return np.where(found < 0, found + len(self), found).astype(np.int64)


class CropNames(Sequence[str]):
    """Names of the crops of a grid, see `part`; made when they are read, since an epoch may have millions."""

    def __init__(self, names: Sequence[str], crops: Crops) -> None:
        self._names, self._crops = names, crops

    def __len__(self) -> int:
        return len(self._crops)

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> list[str]: ...
    def __getitem__(self, row: int | slice) -> str | list[str]:
        if isinstance(row, slice):
            return self._named(np.arange(*row.indices(len(self))))
        return self._named(np.array([range(len(self))[row]]))[0]

    def _named(self, rows: np.ndarray) -> list[str]:
        places: list[list[int]] = self._crops.places(rows).tolist()
        return [part(self._names[k], top, left, self._crops.crop) for k, top, left in places]


class CropBatches(Batches):
    """Batches of random crops; a pure function of the seed and n, as `Batches`.

    An epoch has as many crops of an image as `Crops`, and so uses a large photograph more often than a small one.
    Their order, places, flips and turns are drawn for the whole epoch by a generator that is seeded by a hash of
    (seed, epoch): which crop is at a position of the epoch does not depend on the size of the batches.
    """

    @property
    def crops(self) -> Crops:
        """The grid of crops that the batches are made of."""
        return cast(Crops, self._pixels)

    def _draw(self, rng: torch.Generator) -> tuple[np.ndarray, Tensor]:
        """Image, top and left at every position of an epoch, and which are mirrored."""
        order = torch.randperm(len(self.crops), generator=rng).numpy()
        flipped = torch.rand(len(order), generator=rng) < 0.5
        chance = torch.rand(len(order), 2, generator=rng, dtype=torch.float64).numpy()
        return self.crops.drawn(order, chance), flipped

    def _read(self, places: np.ndarray) -> np.ndarray:
        """The crops at rows of image, top and left."""
        return self.crops.images.cut(places, *self.crops.crop)


@dataclass(frozen=True)
class Division:
    """Crops to train on and crops held out, with names and class numbers."""

    train: Crops
    held_out: np.ndarray
    names: Sequence[str]
    held_out_names: list[str]
    labels: np.ndarray | None
    held_out_labels: np.ndarray | None
    notes: tuple[str, ...]


def divide(images: Ragged, meta: dict[str, Any], crop: Sides, whole: bool, seed: int, where: str) -> Division:
    """Crops of the images of a source whose `meta` says which are trained on, and their names and labels.

    Images smaller than the crop are left out. Held out is a part of the grid of crops of the images held out, at
    most 1,024 in 67 MB, spread over them; none where `whole`.
    """
    names, labels = meta["names"], meta["labels"]
    reasons = [too_small(size, crop) for size in images.sizes.tolist()]
    large = np.flatnonzero([not reason for reason in reasons])
    train, held = np.split(large, [np.searchsorted(large, meta["train"])])
    if not len(train):
        raise DataError(
            f"none of {meta['train']} images {'' if whole else 'to train on '}in {where} is as large as the crop: "
            f"{names[0]} {reasons[0]}; give a smaller {option('crop')}"
        )
    if not whole and not len(held):  # they are too small, or there is a single image
        train, held = (train[:-1], train[-1:]) if len(train) > 1 else (train, train)
    grid, apart = Crops(images.some(train), crop), Crops(images.some(held), crop)
    rows = apart.spread(max(1, min(HELD_OUT, VALUES // int(np.prod(apart.shape[1:])))), seed)
    apart_names = CropNames([names[k] for k in held], apart)
    numbers = None if labels is None else np.asarray(labels, dtype=np.int64)
    return Division(
        grid,
        apart[rows],
        CropNames([names[k] for k in train], grid),
        [apart_names[row] for row in rows.tolist()],
        None if numbers is None else numbers[train].repeat(grid.counts),
        None if numbers is None else numbers[held][apart.owners(rows)],
        tuple(_notes(grid, apart, None if whole else len(rows), names, reasons)),
    )


def _images(count: int) -> str:
    return f"{count:,} image{'s' * (count != 1)}"


def _notes(
    grid: Crops, apart: Crops, held_out: int | None, names: Sequence[str], reasons: Sequence[str]
) -> Iterator[str]:
    """Sentences on the crops, and on the images that have a reason to be left out."""
    size, images = "x".join(map(str, grid.crop)), len(grid.images)
    if held_out is None:
        yield f"{len(grid):,} crops of {size} of {_images(images)}"
    else:
        yield f"{len(grid):,} crops of {size} an epoch, at random places of {_images(images)}"
        yield f"{held_out:,} crops at fixed places of {_images(len(apart.images))} are held out"
    small = [f"{name} {reason}" for name, reason in zip(names, reasons, strict=True) if reason]
    if small:
        more = f"; and {len(small) - NAMED} more" if len(small) > NAMED else ""
        count = f"{len(small):,} image{'s are' if len(small) > 1 else ' is'}"
        yield f"{count} smaller than the crop and left out: {'; '.join(small[:NAMED])}{more}"
