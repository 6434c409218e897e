"""Images that are there twice: the same pixels, the same picture changed a little, and pictures that are alike."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from copyfold import screen
from copyfold.data import Photos
from copyfold.data.images import to_pixels
from copyfold.data.reading.decoding import Refused
from copyfold.data.reading.digests import of_array, of_blocks
from copyfold.data.reading.opening import Given, recognise
from copyfold.data.sampling import SHOWN, as_images
from copyfold.data.writing import write_table
from copyfold.detection.alike import ALIKE, fitted, placed
from copyfold.detection.codes import Vectors
from copyfold.detection.sets import batches, one
from copyfold.detection.thumbnails import alignment, described, thumbnails
from copyfold.errors import UsageError, option
from copyfold.models.base import Autoencoder
from copyfold.models.checks import check_model
from copyfold.probes.nearest import neighbours
from copyfold.types import Images, Progress

__all__ = ["duplicates"]

SIDE = 64
"""Pixels of the square that every image is scaled to."""

NEAR = 0.3
"""The distance of two thumbnails below which they are of one picture: see benchmarks/duplicates.py."""

SIMILAR = 0.6
"""The distance up to which a pair is called similar, of thumbnails and of codes: an angle of 35 degrees."""

FAR = 0.9
"""The distance of whole images from which on no crops of them are compared: a crop of 88 % is mostly within .8."""

NEIGHBOURS = 8
"""Others that each image is compared with: its nearest."""

TOGETHER = 64
"""Images that are compared with their nearest at a time."""


class Pair(NamedTuple):
    """Two images by their rows, and how far they are from each other."""

    first: int
    second: int
    distance: float


@dataclass(frozen=True, repr=False)
class Duplicates:
    """Images that are there more than once: what `duplicates` returns."""

    names: Sequence[str]
    photos: Photos
    """The images, scaled to squares."""
    exact: list[list[int]]
    """Groups of rows of images that are equal in every pixel, at their own size."""
    near: list[list[int]]
    """Groups of rows of one picture: encoded again, in another size, cropped a little, brightened."""
    similar: list[Pair]
    """Pairs of other images that are alike, at most `SIMILAR` = 0.6 apart, the nearest first."""
    distances: dict[tuple[int, int], float]
    """The distances of pairs of near images that are each other's neighbours, by their rows, the smaller first."""

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        return (
            f"Duplicates({len(self):,} images: {len(self.exact):,} exact and {len(self.near):,} near groups, "
            f"{len(self.similar):,} similar pairs)"
        )

    def _repr_html_(self) -> str:
        """For a notebook: the first groups of exact and of near images, a row each."""
        from copyfold.pictures import embedded, grid, shown

        first = [*self.exact[:SHOWN], *self.near[:SHOWN]]
        rows = (grid(torch.cat([self.image(row) for row in group[:SHOWN]]), columns=SHOWN) for group in first)
        return shown(repr(self), *map(embedded, rows))

    def image(self, row: int) -> Images:
        """One of the images, as a square, 1 x c x h x w."""
        return one(self.photos, row)

    def groups(self) -> Iterator[tuple[str, list[int], float]]:
        """Every group, with its kind and the largest distance between neighbours in it."""
        for rows in self.exact:
            yield "exact", rows, 0.0
        group_of = {row: number for number, rows in enumerate(self.near) for row in rows}
        largest = [0.0] * len(self.near)
        for (i, j), distance in self.distances.items():
            number = group_of.get(i)
            if number is not None and number == group_of.get(j):
                largest[number] = max(largest[number], distance)
        for rows, distance in zip(self.near, largest, strict=True):
            yield "near", rows, distance
        for pair in self.similar:
            yield "similar", [pair.first, pair.second], pair.distance

    def columns(self) -> dict[str, tuple[Any, Any]]:
        """The columns of a table with a row for every image of every group."""
        rows = [
            (kind, number, self.names[row], distance)
            for number, (kind, group, distance) in enumerate(self.groups(), 1)
            for row in group
        ]
        kinds, numbers, names, distances = zip(*rows, strict=True) if rows else ((), (), (), ())
        return {
            "kind": ("string", list(kinds)),
            "group": ("int64", list(numbers)),
            "path": ("name", list(names)),
            "distance": ("float64", list(distances)),
        }

    def save(self, path: str | Path) -> Path:
        """Write a table, .csv or .parquet: kind, group, path, distance."""
        return write_table(path, self.columns())


def duplicates(
    source: Given,
    model: Autoencoder | None = None,
    *,
    near: float = NEAR,
    similar: int = 100,
    limit: int | None = None,
    skip_bad: bool = False,
    layout: str | None = None,
    column: str | None = None,
    progress: Progress | bool | None = None,
) -> Duplicates:
    """Find images that are there twice: exactly, nearly, and merely similar ones.

    Nothing is ever deleted. Exact ones are equal in every pixel at their own size, on white where they are
    transparent. Near ones are of one picture: each image is compared with its nearest by the longest waves of a
    small grey version, and with crops of these that leave 88 to 100 % of each side, so that brightness, contrast,
    size, encoding and a small crop do not matter; their distance sqrt(2 - 2 cos) is at most `near`. Mirrored and
    turned images are not found.

    Args:
        source: As for `Photos`. All images of all splits are compared.
        model: With a model, pairs are similar by their codes (see `similar`), and neighbours in these are looked
            at for near ones too.
        near: The largest distance of near images.
        similar: How many similar pairs at most, the nearest ones. None is further apart than 0.6.
        limit: The largest number of images, drawn at random; as in `Photos`, as the next three.
        skip_bad: Leave unreadable images out instead of raising.
        layout: The axes of an array: NHW, NCHW, NHWC or lsun; found unless given.
        column: The column of images of a table, or the array of an .npz; found unless given.
        progress: As in `fit`.

    A few images are in memory at a time, and of each some 150 numbers are kept, and 128 with a model.
    """
    if not 0 <= near < 2:
        raise UsageError(f"{option('near', near)} is invalid: expected a distance from 0 to 2")
    if similar < 0:
        raise UsageError(f"{option('similar', similar)} is invalid: expected a number of pairs of at least 0")
    if model is not None:
        check_model(model)
    taken: dict[str, Any] = {"limit": limit, "skip_bad": skip_bad, "layout": layout, "column": column}
    with screen.told(progress) as tell:
        photos = Photos(source, SIDE, fit="stretch", whole=True, progress=tell or False, **taken)
        exact = _exact(photos, source, layout, column, tell)
        codes = None if model is None else _codes(model, source, photos, taken, tell)
        kept = np.setdiff1d(np.arange(len(photos)), [row for group in exact for row in group[1:]])
        by_pixels, by_code = _compared(photos, kept, None if codes is None else codes[kept], tell)
    pairs = [pair for pair in by_pixels if pair.distance <= near]
    groups = _components([(pair.first, pair.second) for pair in pairs])
    together = {row: number for number, group in enumerate(groups) for row in group}
    alike = [
        pair
        for pair in sorted(by_pixels if model is None else by_code, key=lambda pair: pair.distance)
        if pair.distance <= SIMILAR and together.get(pair.first, -1) != together.get(pair.second, -2)
    ]
    distances = {(pair.first, pair.second): pair.distance for pair in pairs}
    return Duplicates(list(photos.names), photos, exact, groups, alike[:similar], distances)


# ---------------------------------------------------------------- equal pixels


def _exact(
    photos: Photos, source: Given, layout: str | None, column: str | None, tell: Progress | None
) -> list[list[int]]:
    """Groups of equal images: those of equal small versions are read again, as they are."""
    alike: dict[str, list[int]] = defaultdict(list)
    for row in range(len(photos)):
        alike[_digest(photos.train[row])].append(row)
    asked = [row for rows in alike.values() if len(rows) > 1 for row in rows]
    if not asked:
        return []
    whole: dict[str, list[int]] = defaultdict(list)
    with recognise(source, layout, column) as opened:
        places = {name: place for place, name in enumerate(opened.listing().names)}
        for done, row in enumerate(asked, 1):
            try:
                given = opened.read(places[photos.names[row]], None)
            except Refused:  # it changed since it was read first
                continue
            array = given if isinstance(given, np.ndarray) else to_pixels(given, 3)
            whole[_digest(array)].append(row)
            if tell is not None:
                tell("comparing equal images", done, len(asked), {})
    return sorted(rows for rows in whole.values() if len(rows) > 1)


def _digest(array: np.ndarray) -> str:
    return of_array(array.shape, array.dtype, of_blocks(array))


# ---------------------------------------------------------------- nearly equal ones


def _codes(
    model: Autoencoder, source: Given, photos: Photos, taken: dict[str, Any], tell: Progress | None
) -> Tensor:
    """The places of the same images in the space of a model's codes."""
    channels, height, width = model.shape
    same = Photos(source, (height, width), whole=True, channels=channels, progress=tell or False, **taken)
    if list(same.names) != list(photos.names):
        raise UsageError("the images have changed while they were read: run it again")
    return placed(fitted(Vectors("", ALIKE), model, same), same, tell)


def _compared(
    photos: Photos, kept: np.ndarray, codes: Tensor | None, tell: Progress | None
) -> tuple[list[Pair], list[Pair]]:
    """The kept images and their nearest ones in pairs, by their pixels, and by their codes if there are any."""
    places = torch.cat([described(thumbnails(x)) for x in batches(photos.train, torch.empty(0))])[kept]
    count = min(NEIGHBOURS, len(kept) - 1)
    by_pixels: dict[tuple[int, int], float] = {}
    by_code: dict[tuple[int, int], float] = {}
    for start in range(0, len(kept) if count else 0, TOGETHER):
        some = torch.arange(start, min(start + TOGETHER, len(kept)))
        _, rows = neighbours(places[some], places, count + 1)
        if codes is not None:
            lengths, near = neighbours(codes[some], codes, count + 1)
            _note(by_code, some, near, lengths * codes.shape[1] ** 0.5)
            rows = torch.cat([rows, near], dim=1)
        beside = places[rows]
        cos = (places[some, None] * beside).sum(2)
        close = (_apart(cos) <= FAR).any(1).nonzero()[:, 0]
        if len(close):
            small = thumbnails(as_images(photos.train[kept[some[close].numpy()]]))
            cos[close] = torch.maximum(cos[close], alignment(small, beside[close]))
        comparable = beside.any(2) & places[some].any(1, keepdim=True)
        _note(by_pixels, some, rows, torch.where(comparable, _apart(cos), 2.0))
        if tell is not None:
            tell("comparing", int(some[-1]) + 1, len(kept), {})
    first, second = (
        [Pair(int(kept[i]), int(kept[j]), d) for (i, j), d in found.items()] for found in (by_pixels, by_code)
    )
    return first, second


def _apart(cos: Tensor) -> Tensor:
    """The distance of vectors of length 1 with the angle between them."""
    return (2 - 2 * cos.double()).clamp(min=0).sqrt()


def _note(found: dict[tuple[int, int], float], some: Tensor, rows: Tensor, distances: Tensor) -> None:
    """Add the distances of pairs; of the two of one pair, one from each side, the smaller."""
    for i, others, far in zip(some.tolist(), rows.tolist(), distances.tolist(), strict=True):
        for j, d in zip(others, far, strict=True):
            if j != i:
                pair = (min(i, j), max(i, j))
                found[pair] = min(float(d), found.get(pair, 2.0))


def _components(pairs: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Groups of rows that pairs connect, the first by their smallest row."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not pairs:
        return []
    rows, ends = np.unique(pairs, return_inverse=True)
    first, second = ends.reshape(-1, 2).T
    graph = coo_array((np.ones(len(pairs)), (first, second)), shape=(len(rows), len(rows)))
    groups: dict[int, list[int]] = defaultdict(list)
    for row, group in zip(rows.tolist(), connected_components(graph, directed=False)[1].tolist(), strict=True):
        groups[group].append(row)
    return list(groups.values())
