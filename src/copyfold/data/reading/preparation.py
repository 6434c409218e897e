"""From a source to pixels: which images are taken, how large they are, and their decoding."""

from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from copyfold.data.reading.decoding import Refused
from copyfold.data.reading.masks import Masks
from copyfold.data.reading.parallel import cores, in_order
from copyfold.data.reading.sizes import Fit, Sides, plain
from copyfold.data.reading.sources import Listing, Source
from copyfold.data.reading.splits import parted
from copyfold.data.reading.values import Seen, Values, channels_of
from copyfold.errors import DataError, image_numbers, option
from copyfold.types import Progress

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
    """Sentences on it that hold whatever is left out."""
    drawn: int | None = None
    """The seed by which the images held out are drawn from all; None where they are named, or there are none."""

    def said(self, left_out: Collection[int] = ()) -> tuple[str, ...]:
        """Sentences on it, with counts that are without the images left out."""
        if self.drawn is None:
            return self.notes
        total = len(self.all) - len(left_out)
        if total == 1:
            return "the only image is trained on and held out alike", *self.notes
        held = sum(int(index) not in left_out for index in self.held_out) or 1  # see `Photos`: one is taken then
        return f"{held} of {total} images are held out, drawn by seed {self.drawn}", *self.notes

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
        note = ""
        if len(order) == 1:  # anything else would leave nothing to do
            train, held_out = order, order[:0]
    notes = (
        *filter(None, [note]),
        *listing.notes,
        *(f"the split {name} is not used" for name in sorted(splits.unused)),
    )
    if limit is not None and limit < len(train):
        notes += (f"limited to {limit} of {len(train)} images to train on, drawn by seed {seed}",)
        train = np.sort(rng.permutation(train)[:limit])
    return Choice(train, held_out[:limit], notes, None if splits.held_out else seed)


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


def shapes(source: Source, chosen: np.ndarray, progress: Progress | None) -> list[Sides]:
    """Height and width of the chosen images in pixels, by their headers; of those that can be read."""
    look = partial(_shapes, source)
    found = _pieces(look, chosen, "looking at images", progress, _threads(source, chosen))
    return [size for piece in found for size in piece]


def prepared(
    source: Source,
    chosen: np.ndarray,
    size: Sides | None,
    channels: int | None,
    fit: Fit,
    values: Values,
    masks: Masks | None,
    bad: Bad,
    seen: Seen,
    progress: Progress | None,
) -> Iterator[np.ndarray]:
    """Yield blocks N·H·W·C of the chosen images in order, as stored pixels; those unreadable are added to `bad`.

    With `size` None every block is one image, at its own size. With `channels` None a block of pictures has 1
    channel where all in it are grey, and else 3; after the first of 3, others have either, since the search for
    colour has ended. DataError where the numbers of channels differ.
    """
    if masks is None:  # else only what is observed must have its place
        source.check(chosen, values)
    wanted, counts = channels, set[int]()
    near = max(size) if size and masks is None else None  # a mask has the size of the whole image

    def decode(indices: np.ndarray) -> tuple[np.ndarray, Bad]:
        nonlocal wanted
        images, refused = [], []
        for index in map(int, indices):
            try:
                mask = None if masks is None else masks(index)
                images.append(values.pixels(source.read(index, near, values.deep), wanted, size, fit, seen, mask))
            except Refused as error:
                refused.append((index, str(error)))
            if size is not None and images:  # before there are more: colour is known only now
                image_numbers(*size, images[-1].shape[2], option("size", plain(size)))
        found = {image.shape[2] for image in images}
        counts.update(found)
        try:
            channels_of(counts or {1})
        except Refused as error:
            raise DataError(f"{source.where}: {error}") from None
        most = max(found, default=channels or 1)
        if most == 3 and wanted is None:
            wanted = 3
        block = np.empty((len(images), *(images[0].shape[:2] if images else (0, 0)), most), values.dtype)
        for k, image in enumerate(images):
            block[k] = image
        if values == Values() and images:
            seen.eight(block)
        return block, refused

    together = 1 if size is None else PIECE
    for block, refused in _pieces(decode, chosen, "reading images", progress, _threads(source, chosen), together):
        bad += refused
        yield block


def _shapes(source: Source, indices: np.ndarray) -> list[Sides]:
    """Of those images that can be read; the others will be named when all are decoded."""
    found: list[Sides] = []
    for index in indices:
        with suppress(Refused):
            header = source.header(int(index))
            found.append((header.height, header.width))
    return found


def _threads(source: Source, chosen: np.ndarray) -> int:
    """How many threads decode the images fastest: 1 where a few of them are small."""
    sides = [min(shape) for shape in _shapes(source, chosen[:: -(-len(chosen) // SAMPLE)])]
    return 1 if sides and np.median(sides) < SMALL else cores()


def refuse(source: Source, listing: Listing, bad: Bad, count: int, advice: str = "") -> DataError:
    """The error that names the images that cannot be read, the first few of them, and says what to do."""
    named = "; ".join(f"{listing.names[index]} {reason}" for index, reason in bad[:NAMED])
    more = f"; and {len(bad) - NAMED} more" if len(bad) > NAMED else ""
    return DataError(
        f"{len(bad)} of {count} images in {source.where} cannot be read: {named}{more}: "
        + (f"{advice}, " if advice else "mend them, ")
        + f"or leave them out with {option('skip_bad', True)}"
    )


def _pieces(
    work: Callable[[np.ndarray], Any],
    indices: np.ndarray,
    what: str,
    progress: Progress | None,
    workers: int,
    size: int = PIECE,
) -> Iterator[Any]:
    """work() of the indices piece by piece and in order, in so many threads, telling progress."""
    pieces = [indices[k : k + size] for k in range(0, len(indices), size)]
    done = 0
    for piece, result in zip(pieces, in_order(work, pieces, workers), strict=True):
        done += len(piece)
        if progress is not None:
            progress(what, done, len(indices), {})
        yield result
