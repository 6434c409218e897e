"""From a source to pixels: which images are taken, in how many channels, and their decoding."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from copyfold.data.reading.decoding import GREY, Fit, Refused, colourless, flatten, square
from copyfold.data.reading.folders import HELD_OUT
from copyfold.data.reading.parallel import cores, in_order
from copyfold.data.reading.sources import Listing, Source
from copyfold.errors import DataError
from copyfold.types import Progress

LARGEST = 128
"""The largest side in pixels that is taken without being asked for."""

HELD_OUT_SHARE = 0.1
SMALL = 100
"""Images with a shorter side in pixels are decoded in one thread: more would only wait for the lock."""

PIECE = 16
NAMED = 5

Bad = list[tuple[int, str]]
"""Images that cannot be read: index and reason."""


@dataclass(frozen=True)
class Choice:
    """Which images are trained on and which are held out, as indices into a listing.

    None held out means that the one image trained on is held out too.
    """

    train: np.ndarray
    held_out: np.ndarray
    notes: tuple[str, ...]

    @property
    def all(self) -> np.ndarray:
        """Both, those to train on first."""
        return np.concatenate([self.train, self.held_out])


@dataclass(frozen=True)
class Plan:
    """What the headers of the chosen images say.

    The median short side in pixels, the channels, and the images that are unreadable so far.
    """

    side: int
    channels: int
    bad: Bad

    def write(self) -> dict[str, Any]:
        """Write it as plain data."""
        return asdict(self)

    @classmethod
    def read(cls, meta: dict[str, Any]) -> Self:
        """Read what `write` wrote."""
        return cls(meta["side"], meta["channels"], [(index, reason) for index, reason in meta["bad"]])


def choose(listing: Listing, limit: int | None, seed: int) -> Choice:
    """Divide the images into those to train on and those held out, at most `limit` of each.

    A test split is held out, or else a validation split; without either, a tenth of the images, drawn by
    seed. Images to train on keep their order. Those held out come in an order drawn by seed, so that the
    first few are a fair sample even where a source is sorted by class.
    """
    rng = np.random.default_rng(seed)
    held_name = next((name for name in HELD_OUT if name in listing.splits), None)
    rest = [name for name in listing.splits if name not in HELD_OUT]
    if held_name is not None and rest:
        used = ["train"] if "train" in rest else rest
        train = np.concatenate([listing.splits[name] for name in used])
        held_out = rng.permutation(listing.splits[held_name])
        note = f"the split {held_name} is held out"
    else:
        used = ["train"] if "train" in rest else list(listing.splits)
        everything = np.concatenate([listing.splits[name] for name in used])
        order = rng.permutation(everything)
        count = max(1, round(len(order) * HELD_OUT_SHARE))
        train, held_out = np.sort(order[count:]), order[:count]
        note = f"{count} of {len(order)} images are held out, drawn by seed {seed}"
        if len(order) == 1:  # anything else would leave nothing to do
            train, held_out = order, order[:0]
            note = "the only image is trained on and held out alike"
    unused = set(listing.splits) - set(used) - {held_name}
    notes = (note, *listing.notes, *(f"the split {name} is not used" for name in sorted(unused)))
    if limit is not None and limit < len(train):
        notes += (f"limited to {limit} of {len(train)} images to train on, drawn by seed {seed}",)
        train = np.sort(rng.permutation(train)[:limit])
    return Choice(train, held_out[:limit], notes)


def plan(source: Source, chosen: np.ndarray, progress: Progress | None) -> Plan:
    """Read the header of every chosen image, without decoding it, and decide on channels."""
    source.check(chosen)

    def look(indices: np.ndarray) -> list[tuple[int, int, str] | tuple[int, str]]:
        found: list[tuple[int, int, str] | tuple[int, str]] = []
        for index in indices:
            try:
                header = source.header(int(index))
                found.append((int(index), min(header.width, header.height), header.mode))
            except Refused as error:
                found.append((int(index), str(error)))
        return found

    seen = [item for piece in _pieces(look, chosen, "looking at images", progress) for item in piece]
    good = [item for item in seen if len(item) == 3]
    coloured = np.array([index for index, _, mode in good if mode not in GREY], dtype=np.int64)
    return Plan(
        side=int(np.median([short for _, short, _ in good])) if good else 1,
        channels=1 if _all_colourless(source, coloured) else 3,
        bad=[item for item in seen if len(item) == 2],
    )


def _all_colourless(source: Source, indices: np.ndarray) -> bool:
    """Whether images of colour modes are all grey in fact; the first that is not ends the search."""

    def look(piece: np.ndarray) -> bool:
        for index in piece:
            try:
                ready = source.ready(int(index))
                if not colourless(source.read(int(index), None) if ready is None else ready):
                    return False
            except Refused:  # it will be named when all are decoded
                continue
        return True

    # Look at one image before starting threads: nearly always it has colour.
    return look(indices[:1]) and all(_pieces(look, indices[1:], "", None))


def prepared(
    source: Source, chosen: np.ndarray, found: Plan, side: int, fit: Fit, bad: Bad, progress: Progress | None
) -> Iterator[np.ndarray]:
    """Yield uint8 blocks N·H·W·C of the chosen images in order; those unreadable are added to `bad`."""
    channels = found.channels
    workers = 1 if found.side < SMALL else None
    known = {index for index, _ in bad}

    def decode(indices: np.ndarray) -> tuple[np.ndarray, Bad]:
        block = np.empty((len(indices), side, side, channels), np.uint8)
        count, refused = 0, []
        for index in indices:
            if index in known:
                continue
            try:
                pixels = source.ready(int(index))
                if pixels is None or pixels.shape != block.shape[1:]:
                    image = flatten(source.read(int(index), side), channels)
                    pixels = np.asarray(square(image, side, fit)).reshape(block.shape[1:])
                block[count] = pixels
                count += 1
            except Refused as error:
                refused.append((int(index), str(error)))
        return block[:count], refused

    for block, refused in _pieces(decode, chosen, "reading images", progress, workers):
        bad += refused
        yield block


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
    workers: int | None = None,
) -> Iterator[Any]:
    """work() of the indices piece by piece and in order, in a thread per core, telling progress."""
    pieces = [indices[k : k + PIECE] for k in range(0, len(indices), PIECE)]
    done = 0
    for piece, result in zip(pieces, in_order(work, pieces, workers or cores()), strict=True):
        done += len(piece)
        if progress is not None:
            progress(what, done, len(indices))
        yield result
