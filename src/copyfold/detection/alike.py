"""Images that are alike, by their codes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from copyfold import screen
from copyfold.data import Photos
from copyfold.data.reading.opening import Given
from copyfold.data.sampling import as_images, stratified
from copyfold.data.writing import write_table
from copyfold.detection.codes import Space, Vectors
from copyfold.detection.sets import batches, named, parts, searched
from copyfold.errors import UsageError, at_least
from copyfold.models.base import Autoencoder
from copyfold.models.checks import check_model
from copyfold.probes.base import still
from copyfold.probes.nearest import neighbours
from copyfold.types import Float, Progress

__all__ = ["similar"]

FITTED = 2048
"""Images that the space of codes is fitted to, at most."""

ALIKE = 1
"""The grid of `Vectors` that suits neighbours: which features an image has, and not where."""


@dataclass(frozen=True, repr=False)
class Similar:
    """The nearest images of each, the nearest first: what `similar` returns."""

    names: Sequence[str]
    """The images that were searched."""
    queries: Sequence[str]
    """The images whose neighbours were searched: the same, or those of `to`."""
    rows: np.ndarray
    """Which images are nearest, queries x count."""
    distances: np.ndarray
    """How far, from 0 to 2, queries x count; see `Space`."""

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return (
            f"Similar({len(self):,} images with {self.rows.shape[1]} neighbours each, among {len(self.names):,})"
        )

    def columns(self) -> dict[str, tuple[Any, Any]]:
        """The columns of a table with a row for every neighbour."""
        count = self.rows.shape[1]
        return {
            "path": ("name", [name for name in self.queries for _ in range(count)]),
            "rank": ("int64", np.tile(np.arange(1, count + 1), len(self))),
            "neighbour": ("name", [self.names[row] for row in self.rows.flatten()]),
            "distance": ("float64", self.distances.flatten()),
        }

    def save(self, path: str | Path) -> Path:
        """Write a table, .csv or .parquet: path, rank, neighbour, distance."""
        return write_table(path, self.columns())


def similar(
    model: Autoencoder,
    photos: Photos | Given,
    to: Photos | Given = None,
    count: int = 8,
    *,
    layer: str = "",
    grid: int = ALIKE,
    progress: Progress | bool | None = None,
) -> Similar:
    """The images of `photos` whose codes are nearest to those of `to`.

    Args:
        model: An autoencoder; see `Vectors` for its codes, and `Space` for where they are compared.
        photos: The images to search, of the model's shape; all of them. Any other source of images that `Photos`
            takes is read at the model's own height, width and channels.
        to: The images to find neighbours for, likewise; all of them. Those of `photos` themselves unless given.
        count: How many neighbours at most.
        layer: A name of `model.named_modules()`; "" is the code.
        grid: Maps are averaged to at most grid x grid places. With 1 it does not matter where in an image things
        are.
        progress: As in `fit`.

    A few images are in memory at a time, and of each 128 numbers are kept. UsageError where the images do not fit
    the model, and where there is a single one.
    """
    at_least(1, count=count)
    check_model(model)
    photos = searched(model, photos, progress)
    to = None if to is None else searched(model, to, progress)
    available = sum(map(len, parts(photos))) - (to is None)
    if available < 1:
        raise UsageError("there is no other image to search: give more")
    count = min(count, available)
    with screen.told(progress) as tell:
        space = fitted(Vectors(layer, grid), model, photos)
        places = placed(space, photos, tell)
        asked = places if to is None else placed(space, to, tell)
        found = list(_nearest(asked, places, count, to is None, tell))
    distances, rows = (torch.cat(part).numpy() for part in zip(*found, strict=True))
    names = named(photos)
    # root mean squares of differences, as distances of vectors
    lengths = distances.astype(np.float64) * places.shape[1] ** 0.5
    return Similar(names, names if to is None else named(to), rows, lengths)


def fitted(vectors: Vectors, model: Autoencoder, photos: Photos) -> Space:
    """The space of the codes of some of the images, spread evenly over them."""
    like = next(model.parameters(), torch.empty(0))
    some = as_images(photos.train[stratified(len(photos.train), FITTED)]).to(like)
    with still(model):
        return Space(vectors, model, some)


def placed(space: Space, photos: Photos, tell: Progress | None) -> Float[Tensor, "n d"]:
    """Where all images are in the space, on the CPU."""
    like = next(space.model.parameters(), torch.empty(0))
    found: list[Tensor] = []
    total = sum(map(len, parts(photos)))
    with still(space.model):
        for pixels in parts(photos):
            for x in batches(pixels, like):
                found.append(space(x).cpu())
                if tell is not None:
                    tell("encoding", sum(map(len, found)), total, {})
    return torch.cat(found)


def _nearest(
    asked: Tensor, places: Tensor, count: int, own: bool, tell: Progress | None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Distances and rows of the neighbours of some images at a time."""
    step = 1024
    for start in range(0, len(asked), step):
        distances, rows = neighbours(asked[start : start + step], places, count + own)
        if own:  # which is first but where another is equal to it
            mine = torch.arange(start, start + len(rows))[:, None]
            last = torch.arange(count + 1) == count
            drop = torch.where((rows == mine).any(1, keepdim=True), rows == mine, last)
            distances, rows = (part[~drop].reshape(-1, count) for part in (distances, rows))
        yield distances, rows
        if tell is not None:
            tell("searching", min(start + step, len(asked)), len(asked), {})
