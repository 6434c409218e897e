"""From a source to pixels: which images are taken, how large they are, and their decoding."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from copyfold.data.reading.decoding import Fit, Refused, flatten, square
from copyfold.data.reading.parallel import cores, in_order
from copyfold.data.reading.sources import Listing, Source
from copyfold.data.reading.splits import parted
from copyfold.errors import DataError
from copyfold.types import Progress

LARGEST = 128
"""The largest side in pixels that is taken without being asked for."""

HELD_OUT_SHARE = 0.1
SMALL = 100
"""Images with a shorter side in pixels are decoded in one thread: more would only wait for the lock."""

SAMPLE = 16
"""So many images say whether the others are small too."""

PIECE = 16
NAMED = 5

Bad = list[tuple[int, str]]
"""Images that cannot be read: index and reason."""


@dataclass(frozen=True)
class Choice:
    """Which images are trained on and which are held out, as indices into a listing.

    None held out means that the one image trained on is held out too, or that all are to be looked at only.
    """

    train: np.ndarray
    held_out: np.ndarray
    notes: tuple[str, ...]

    @property
    def all(self) -> np.ndarray:
        """Both, those to train on first."""
        return np.concatenate([self.train, self.held_out])


def choose(listing: Listing, limit: int | None, seed: int, whole: bool = False) -> Choice:
    """Divide the images into those to train on and those held out, at most `limit` of each.

    `whole` does not divide them: all of them, of every split and in order, are in the first part.

    A test split is held out, or else a validation split; without either, a tenth of the images, drawn by
    seed. Images to train on keep their order. Those held out come in an order drawn by seed, so that the
    first few are a fair sample even where a source is sorted by class.
    """
    rng = np.random.default_rng(seed)
    if whole:
        return _all(listing, limit, rng, seed)
    splits = parted(listing.splits)
    train = np.concatenate([listing.splits[name] for name in splits.train])
    if splits.held_out:
        held_out = rng.permutation(np.concatenate([listing.splits[name] for name in splits.held_out]))
        many = len(splits.held_out) > 1
        named = " and ".join(splits.held_out)
        note = f"the splits {named} are held out" if many else f"the split {named} is held out"
    else:
        order = rng.permutation(train)
        count = max(1, round(len(order) * HELD_OUT_SHARE))
        train, held_out = np.sort(order[count:]), order[:count]
        note = f"{count} of {len(order)} images are held out, drawn by seed {seed}"
        if len(order) == 1:  # anything else would leave nothing to do
            train, held_out = order, order[:0]
            note = "the only image is trained on and held out alike"
    notes = (note, *listing.notes, *(f"the split {name} is not used" for name in sorted(splits.unused)))
    if limit is not None and limit < len(train):
        notes += (f"limited to {limit} of {len(train)} images to train on, drawn by seed {seed}",)
        train = np.sort(rng.permutation(train)[:limit])
    return Choice(train, held_out[:limit], notes)


def _all(listing: Listing, limit: int | None, rng: np.random.Generator, seed: int) -> Choice:
    """Every image, or `limit` of them, to be looked at: what is said of them does not speak of training."""
    everything = np.sort(np.concatenate(list(listing.splits.values())))
    notes = tuple(listing.notes)
    if len(listing.splits) > 1:
        notes = (f"the splits {', '.join(listing.splits)} are taken together", *notes)
    if limit is not None and limit < len(everything):
        notes += (f"limited to {limit} of {len(everything)} images, drawn by seed {seed}",)
        everything = np.sort(rng.permutation(everything)[:limit])
    return Choice(everything, everything[:0], notes)


def median_side(source: Source, chosen: np.ndarray, progress: Progress | None) -> int:
    """The median short side of the chosen images in pixels, by their headers; 1 where none can be read."""
    look = partial(_short_sides, source)
    found = _pieces(look, chosen, "looking at images", progress, _threads(source, chosen))
    sides = [side for piece in found for side in piece]
    return int(np.median(sides)) if sides else 1


def prepared(
    source: Source,
    chosen: np.ndarray,
    side: int,
    channels: int | None,
    fit: Fit,
    bad: Bad,
    progress: Progress | None,
) -> Iterator[np.ndarray]:
    """Yield uint8 blocks N·H·W·C of the chosen images in order; those unreadable are added to `bad`.

    With `channels` None a block has 1 channel where all in it are grey, and else 3; after the first of 3, others
    have either, since the search for colour has ended.
    """
    source.check(chosen)
    wanted = channels

    def decode(indices: np.ndarray) -> tuple[np.ndarray, Bad]:
        nonlocal wanted
        images, refused = [], []
        for index in indices:
            try:
                images.append(_pixels(source, int(index), side, wanted, fit))
            except Refused as error:
                refused.append((int(index), str(error)))
        most = max((image.shape[2] for image in images), default=channels or 1)
        if most == 3:
            wanted = 3
        block = np.empty((len(images), side, side, most), np.uint8)
        for k, image in enumerate(images):
            block[k] = image
        return block, refused

    for block, refused in _pieces(decode, chosen, "reading images", progress, _threads(source, chosen)):
        bad += refused
        yield block


def _pixels(source: Source, index: int, side: int, channels: int | None, fit: Fit) -> np.ndarray:
    """One image, uint8 H·W·C; with `channels` None of 1 channel if it is grey, else of 3."""
    pixels = source.ready(index)
    if pixels is not None and pixels.shape[:2] == (side, side) and channels in (None, pixels.shape[2]):
        return pixels if channels or (pixels != pixels[..., :1]).any() else pixels[..., :1]
    image = square(flatten(source.read(index, side), channels), side, fit)
    return np.asarray(image).reshape(side, side, -1)


def _short_sides(source: Source, indices: np.ndarray) -> list[int]:
    """Of those images that can be read, in pixels; the others will be named when all are decoded."""
    sides = []
    for index in indices:
        with suppress(Refused):
            header = source.header(int(index))
            sides.append(min(header.width, header.height))
    return sides


def _threads(source: Source, chosen: np.ndarray) -> int:
    """How many threads decode the images fastest: 1 where a few of them are small."""
    sides = _short_sides(source, chosen[:: -(-len(chosen) // SAMPLE)])
    return 1 if sides and np.median(sides) < SMALL else cores()


def refuse(source: Source, listing: Listing, bad: Bad, count: int) -> DataError:
    """The error that names the images that cannot be read, the first few of them."""
    named = "; ".join(f"{listing.names[index]} {reason}" for index, reason in bad[:NAMED])
    more = f"; and {len(bad) - NAMED} more" if len(bad) > NAMED else ""
    return DataError(
        f"{len(bad)} of {count} images in {source.where} cannot be read: {named}{more}: "
        "mend them, or leave them out with --skip-bad"
    )


def _pieces(
    work: Callable[[np.ndarray], Any],
    indices: np.ndarray,
    what: str,
    progress: Progress | None,
    workers: int,
) -> Iterator[Any]:
    """work() of the indices piece by piece and in order, in so many threads, telling progress."""
    pieces = [indices[k : k + PIECE] for k in range(0, len(indices), PIECE)]
    done = 0
    for piece, result in zip(pieces, in_order(work, pieces, workers), strict=True):
        done += len(piece)
        if progress is not None:
            progress(what, done, len(indices), {})
        yield result
