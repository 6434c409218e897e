"""Stream: images that are decoded during training, for sets that are larger than memory or the disk."""

import logging
import os
import random
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import chain, islice
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from copyfold import screen
from copyfold.data.batches import check_turn, mirror, quarter_turns, rotate
from copyfold.data.crops import NAMED, Crops, alone, drawn, part, too_small
from copyfold.data.photos import Which
from copyfold.data.reading import cache, digests
from copyfold.data.reading.decoding import Refused, header
from copyfold.data.reading.depth import decoded
from copyfold.data.reading.epochs import Found, Reading, encoded
from copyfold.data.reading.parallel import cores, in_order
from copyfold.data.reading.preparation import HELD_OUT_SHARE, PIECE, SMALL
from copyfold.data.reading.ragged import Ragged
from copyfold.data.reading.shards import Coded, Shards, find
from copyfold.data.reading.shuffling import AT_ONCE, Piece, Place, generator, interleaved, number, shared, without
from copyfold.data.reading.sizes import Fit, Sides, Size, plain, sides, simple
from copyfold.data.reading.splits import parted
from copyfold.data.reading.values import Bits, Range, Seen, Values, channels_of
from copyfold.data.reading.values import check as check_values
from copyfold.data.sampling import SHOWN, Sample, as_images, described, stratified
from copyfold.errors import DataError, UsageError, at_least, image_numbers, one_of, option, worded
from copyfold.pictures import embedded, grid, shown
from copyfold.types import Images, Progress, Shape

log = logging.getLogger("copyfold")

T = TypeVar("T")


class Small(str):
    """Why an image is left out that is smaller than the crop: no reason to stop."""

    __slots__ = ()


class Stream:
    """Images to learn from, never all in memory and not copied to the disk; see also `Photos`.

    Each image is read and decoded again in every epoch, to the same pixels as with `Photos`. The memory does not
    grow with the source: `buffer` encoded images, the few that are being decoded, the names of the shards, and the
    images held out.

    The order is a function of (seed, epoch): 16 pieces of the source, drawn at random, are read in turn into a
    shuffle buffer, from which images are drawn at random. This is not a full permutation, as `Photos` has. An
    image cannot come before its piece is read, so where neighbours in the source are similar (a file sorted by
    class, in one row group), batches are similar too, over about `buffer` images. A piece is a row group of a
    parquet file, or 16 files of a folder: row groups of 100 to 1,000 images shuffle well.

    Args:
        source: A folder of parquet files or of `save_to_disk`, or one such file; a folder of image files, a list
            of them or a .zip, the names of which are held in memory; or `hf://owner/name[@revision]`, in parquet,
            of which nothing is kept.
        size: Height and width in pixels, or the side of a square, as in `Photos`. It or `crop` must be given: to
            find a size, all images would have to be read.
        fit: As in `Photos`: "crop" takes the centre, "pad" adds black, "stretch" scales both sides apart.
        flip: Whether training mirrors every image half of the time.
        turn: Whether it turns every image by 0 to 3 quarter turns, drawn at random; of square images.
        channels: 1 for grey, 3 for colour, or the source's own number; None takes 1 where all images held out are
            grey.
        range: As in `Photos`. There are no missing pixels in a stream.
        bits: As in `Photos`.
        column: The column of images of a table, chosen as by `Photos` unless given.
        buffer: Encoded images to draw from, in every process.
        held_out: Images held out, at most a tenth of all.
        seed: Draws what is held out and what `images("train")` shows.
        skip_bad: Put another image of its batch in the place of one that is unreadable, instead of raising.
        crop: As in `Photos`, in place of `size`: crops of images that are not resized. An epoch has one crop of
            each image, at a random place that is a function of (seed, epoch, position): several of one decoded
            image would be in one batch together. An image smaller than the crop is replaced by another of its
            batch, and said.
        progress: As in `Photos`, as shards are looked at.

    Held out are the first images of 16 pieces drawn by seed: of the test split, or else of the validation split,
    or else of the training images themselves, which then never train on them. Class numbers are not read.

    Raises UsageError for invalid arguments, DataError where there is no usable image.
    """

    shape: Shape
    """Channels, height, width of every image."""
    held_out: np.ndarray
    """The images held out, N·H·W·C: uint8, or uint16 with 16 bits."""
    held_out_names: list[str]
    """Where they come from: the file, and the row in it."""
    missing = False
    labels: None = None
    held_out_labels: None = None
    classes: None = None
    notes: tuple[str, ...]
    """Sentences about what was decided: splits, channels, images left out."""
    fingerprint: str
    """Hexadecimal: identifies the source's files and how they are prepared."""
    selection: str
    """Hexadecimal: identifies the source's files and which of them are held out, however they are prepared."""
    size: int | tuple[int, int] | None
    """The side of square images in pixels; else height and width."""

    def __init__(
        self,
        source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        size: Size | None = None,
        *,
        fit: Fit = "crop",
        flip: bool = False,
        turn: bool = False,
        channels: int | None = None,
        range: Range | None = None,
        bits: Bits = 8,
        column: str | None = None,
        buffer: int = 4096,
        held_out: int = 512,
        seed: int = 0,
        skip_bad: bool = False,
        crop: Size | None = None,
        progress: Progress | bool | None = None,
    ) -> None:
        if size is None and crop is None:
            raise UsageError(
                f"a stream needs {option('size')} or {option('crop')}: finding "
                "a size would read all of its images first"
            )
        if channels is not None:
            at_least(1, channels=channels)
        self.crop = None if crop is None else alone(crop, size, fit, channels)
        self._sides = None if size is None else sides(size, channels=channels)
        at_least(1, buffer=buffer, held_out=held_out)
        at_least(0, seed=seed)
        one_of(Fit, "fit", fit)
        self.values = Values(check_values(range, bits), bits)
        self.size = None if self._sides is None else simple(self._sides)
        self.flip, self.turn, self.buffer, self.seed, self.skip_bad = flip, turn, buffer, seed, skip_bad
        self.fit: Fit = fit
        with screen.told(progress) as told:
            self._shards, named, identity = find(source, column, told)
        self._pieces, places, note = _divide(self._shards, held_out, seed)
        self._recipe: dict[str, Any] = {
            "data": named,
            "size": None if self._sides is None else plain(self._sides),
            "fit": fit,
            "flip": flip,
            "turn": turn,
            "channels": channels,
            "range": None if self.values.range is None else list(self.values.range),
            "bits": bits,
            "buffer": buffer,
            "held_out": held_out,
            "seed": seed,
            "skip_bad": skip_bad,
        }
        if column is not None:
            self._recipe["column"] = column
        if self.crop is not None:
            self._recipe["crop"] = plain(self.crop)
        self._small = 0
        self._hold_out(places, channels, held_out)
        few = f"in {len(self._pieces)} row groups only: images in them are shuffled over {buffer} images"
        coarse = len(self._pieces) < AT_ONCE and len(self) > buffer
        check_turn(turn, self.shape)
        self.notes = tuple(map(worded, (note, *self.notes, *[few] * coarse, *self._shards.notes)))
        self.selection = cache.key("stream", "selection", cache.digest(identity), held_out, seed)
        how = (fit, held_out, seed, skip_bad, *((self.values.range, bits) if self.values != Values() else ()))
        how = (*how, *(() if self.crop is None else ("crops",)))
        self.fingerprint = cache.key("stream", cache.digest(identity), self.shape, *how)
        for said in self.notes:
            log.info("%s: %s", self._shards.where, said)

    def __len__(self) -> int:
        """The number of images to train on."""
        return _count(self._pieces)

    def __repr__(self) -> str:
        return described(self, self.held_out, *(() if self.crop is None else ("crops", ", one of each image")))

    def _repr_html_(self) -> str:
        """For a notebook: what they are, and some of those held out, for which nothing is read."""
        return shown(repr(self), embedded(grid(self.sample("held_out", 2 * SHOWN).images, columns=SHOWN)))

    @cached_property
    def digest(self) -> str:
        """Hexadecimal: identifies the images held out, and the number of all; see `Photos.digest`."""
        blocks = digests.of_blocks(self.held_out)
        return digests.of_array(self.held_out.shape, self.held_out.dtype, blocks, len(self))

    def recipe(self) -> dict[str, Any]:
        """Return the arguments that give the same stream again, as plain data."""
        return dict(self._recipe)

    def batches(self, batch: int, seed: int = 0, rank: int = 0, world: int = 1) -> "StreamBatches":
        """The batches to train on, see `StreamBatches`."""
        return StreamBatches(self, batch, seed, rank, world)

    def images(self, which: Which = "train", count: int | None = None, start: int = 0) -> Images:
        """Return `count` images from `start` on, as float32 N·C·H·W in [0, 1].

        Those to train on come as `seed` draws them, out of 16 pieces in turn. All of them (count=None) are
        refused: they may not fit into memory.
        """
        one_of(Which, "which", which)
        if which == "held_out":
            return as_images(self.held_out[start : None if count is None else start + count])
        if count is None:
            raise UsageError("a stream does not give all its images at once: say how many, images('train', count)")
        places = interleaved(_drawn(self._pieces, self.seed, "shown"))
        return as_images(self._decoded(self._read(islice(places, start, start + count)))[0])

    def sample(self, which: Which = "train", count: int | None = None, seed: int = 0) -> Sample:
        """Return `count` images spread evenly over the set, as `Photos.sample` does; there are no labels.

        Those to train on come out of all files of a folder, or out of at most 32 row groups where these hold
        enough, themselves spread evenly: each is read from its beginning to the last image that is wanted. Their
        rows count through all images to train on. All of them (count=None) are refused, as by `images`.
        """
        one_of(Which, "which", which)
        if which == "held_out":
            rows = stratified(len(self.held_out), count, seed)
            names = tuple(self.held_out_names[row] for row in rows)
            return Sample(as_images(self.held_out[rows]), torch.from_numpy(rows), names)
        if count is None:
            raise UsageError("a stream does not give all its images at once: say how many, sample('train', count)")
        rows, places = self._spread(count, seed)
        pixels, names, readable = self._decoded(self._read(places))
        return Sample(as_images(pixels), torch.from_numpy(rows[readable]), tuple(names))

    def encoded(self, seed: int, epoch: int, start: int, rank: int, world: int) -> Iterator[Found]:
        """Encoded images of a process's part of an epoch, from the start-th on; those before are not read."""
        pieces = shared(self._pieces, rank, world, generator(seed, epoch, "deal"))
        return encoded(self._shards, pieces, self.buffer, start, generator(seed, epoch, rank, world))

    def pixels(self, found: Found, rng: random.Random | None = None) -> np.ndarray | str:
        """One image decoded, as stored pixels H·W·C, or why it cannot be.

        With `crop` one crop of it, at a place that `rng` draws, or that is always the same.
        """
        image = self._image(found)
        if isinstance(image, str) or self.crop is None:
            return image
        (piece, row), _ = found
        rng = rng or generator(self.seed, "crop", piece.part, row)
        chance = np.array([rng.random(), rng.random()])
        top, left = drawn(np.array(image.shape[:2]), self.crop, chance).tolist()
        return image[top : top + self.crop[0], left : left + self.crop[1]].copy()  # or all of the image stays

    def readable(self, images: list[np.ndarray | str]) -> list[np.ndarray]:
        """Those that could be read; DataError for the first that could not, unless they are to be left out."""
        bad = [image for image in images if isinstance(image, str)]
        unreadable = [reason for reason in bad if not isinstance(reason, Small)]
        if unreadable and not self.skip_bad:
            raise DataError(
                f"{unreadable[0]}: {self._seen.advice or 'mend it'}, or leave "
                f"such images out with {option('skip_bad', True)}"
            )
        for reason in bad:
            self._small += isinstance(reason, Small)
            if not isinstance(reason, Small) or self._small <= NAMED:
                log.warning("%s: left out", reason)
            elif self._small == NAMED + 1:
                log.warning("other images smaller than the crop are left out and not named")
        return [image for image in images if not isinstance(image, str)]

    def _image(self, found: Found) -> np.ndarray | str:
        """One image as stored pixels, of `size` or, with `crop`, at its own."""
        (piece, row), coded = found
        try:
            if isinstance(coded, Refused):
                raise coded
            image = decoded(coded, max(self._sides) if self._sides else None, self.values.deep)
            pixels = self.values.pixels(image, self.shape[0], self._sides, self.fit, self._seen)
        except Refused as error:
            return f"{self._shards.name(piece.part, row)} {error}"
        if self.crop is not None and (reason := too_small(pixels.shape, self.crop)):
            return Small(f"{self._shards.name(piece.part, row)} {reason}")
        return pixels

    def _hold_out(self, places: list[Place], channels: int | None, most: int) -> None:
        """Decode the images held out, and find the number of channels and of threads from them."""
        found, self._seen = self._read(places), Seen()
        looks = [look for _, image in found if (look := self._look(image, channels)) is not None]
        if not looks:
            advice = f": {self._seen.advice}" if self._seen.advice else ""
            raise DataError(f"none of {len(places)} images of {self._shards.where} can be read{advice}")
        try:
            count = channels or channels_of({each for _, each in looks})
        except Refused as error:
            raise DataError(f"{self._shards.where}: {error}") from None
        height, width = self.crop or self._sides or (0, 0)
        asked = "crop" if self.crop else "size"
        image_numbers(height, width, count, option(asked, plain((height, width))))
        self.shape, grey = (count, height, width), count == 1
        self.workers = 1 if np.median([side for side, _ in looks]) < SMALL else cores()
        self._seen = Seen()  # what was looked at is counted once
        if self.crop is None:
            self.held_out, self.held_out_names, _ = self._decoded(found)
        else:
            self.held_out, self.held_out_names = self._grid(found, self.crop, most)
        said = "read as grey" if channels == 1 else "every image held out is grey"
        if self.held_out.dtype == np.uint8 and self.values == Values():
            self._seen.eight(self.held_out)
        self.notes = (f"{said}: 1 channel" if grey else f"{count} channels", *self._seen.notes())
        if self.crop is not None:
            self.notes += (
                f"an epoch has one crop of {height}x{width} of each image, at a random place",
                f"{len(self.held_out):,} crops at fixed places of the images held out",
            )
        elif left := len(places) - len(self.held_out):
            self.notes += (f"{left} of the images held out cannot be read and are left out",)

    def _look(self, image: Coded, channels: int | None) -> tuple[int, int] | None:
        """The short side of an image, and its channels, if they are asked for; None where it cannot be read."""
        try:
            if isinstance(image, Refused):
                return None
            known = header(image)
            read = decoded(image, None, self.values.deep)
            found = channels or self.values.pixels(read, None, None, self.fit, self._seen).shape[2]
            return min(known.width, known.height), found
        except Refused:  # it will be named when all are decoded
            return None

    def _grid(self, found: list[Found], crop: Sides, most: int) -> tuple[np.ndarray, list[str]]:
        """At most so many crops of some images, or one of each, out of the grid of each: see `Crops`.

        First one of each image, then a second of each, and so on.
        """
        each = max(1, most // len(found))
        cut: list[tuple[int, int, np.ndarray, str]] = []
        for k, one in enumerate(found):
            for image in self.readable([self._image(one)]):
                (piece, row), _ = one
                grid = Crops(Ragged.joined([image]), crop)
                rows = grid.spread(each, number(self.seed, "held out", piece.part, row))
                places = grid.places(rows).tolist()
                name = self._shards.name(piece.part, row)
                for turn, (_, top, left) in enumerate(places):
                    cut.append((turn, k, grid[int(rows[turn])], part(name, top, left, crop)))
        if not cut:
            raise DataError(
                f"none of {len(found)} images held out of {self._shards.where} is as large as the crop of "
                f"{crop[0]}x{crop[1]}: give a smaller {option('crop')}"
            )
        cut.sort(key=lambda one: one[:2])
        return np.stack([pixels for *_, pixels, _ in cut]), [name for *_, name in cut]

    def _read(self, places: Iterable[Place]) -> list[Found]:
        with Reading(self._shards) as read:
            return [read(place) for place in places]

    def _spread(self, count: int, seed: int) -> tuple[np.ndarray, list[Place]]:
        """Rows spread evenly over the pieces, or over as few as may be opened, and where these rows are."""
        sizes = np.array([len(piece.rows) for piece in self._pieces])
        ends = sizes.cumsum()
        most, enough = self._shards.opened, min(count, len(self))
        chosen = stratified(len(sizes), most, seed)
        while most is not None and sizes[chosen].sum() < enough:
            most *= 2
            chosen = stratified(len(sizes), most, seed)
        inside = np.concatenate([np.arange(int(ends[k] - sizes[k]), int(ends[k])) for k in chosen])
        rows = inside[stratified(len(inside), count, seed)]
        pieces = np.searchsorted(ends, rows, side="right")
        within = rows - (ends - sizes)[pieces]
        return rows, [
            (self._pieces[k], self._pieces[k].rows[n])
            for k, n in zip(pieces.tolist(), within.tolist(), strict=True)
        ]

    def _decoded(self, found: list[Found]) -> tuple[np.ndarray, list[str], list[int]]:
        """Those of some images that can be read, stored pixels N·H·W·C, their names, and which they are."""
        images = [self.pixels(one) for one in found]
        good = self.readable(images)
        which = [k for k, image in enumerate(images) if not isinstance(image, str)]
        names = [self._shards.name(piece.part, row) for (piece, row), _ in (found[k] for k in which)]
        empty = np.empty((0, *self.shape[1:], self.shape[0]), self.values.dtype)
        return np.stack(good) if good else empty, names, which


class StreamBatches:
    """Batches of a stream; like `Batches` a pure function of the seed and n, the number of batches so far.

        epoch, position = divmod(n, len(self))

    Iterating yields the rest of the epoch that `n` is in, and advances `n`: set `n` to resume. A resume computes
    the order up to n, and reads or decodes nothing before it, except that the buffer is filled again and row
    groups are read from their beginnings.

    `batch` counts the images of all `world` processes; each yields its own batch / world of them, and the same
    number of batches. Together they see every image at most once in an epoch; an incomplete last batch is
    dropped. Another number of processes makes other batches, unlike with `Photos`.

    Yields stored pixels, uint8 mostly, N·C·H·W, that are views of N·H·W·C memory (channels_last already).
    """

    def __init__(self, stream: Stream, batch: int, seed: int = 0, rank: int = 0, world: int = 1) -> None:
        at_least(1, batch=batch, world=world)
        at_least(0, seed=seed, rank=rank)
        if rank >= world or batch % world:
            raise UsageError(f"a batch of {batch} cannot be divided over {world} processes (rank {rank})")
        self._own = min(batch, len(stream)) // world
        if not self._own:
            raise DataError(f"{len(stream)} images are too few for {world} processes")
        self.stream, self.seed, self.rank, self.world = stream, seed, rank, world
        self.batch = self._own * world
        self.n = 0

    def __len__(self) -> int:
        return len(self.stream) // self.batch

    def __iter__(self) -> Iterator[Tensor]:
        epoch, start = divmod(self.n, len(self))
        workers = self.stream.workers
        size = max(PIECE, self._own // (2 * workers))  # so that two batches, at least, are on their way
        coded = self.stream.encoded(self.seed, epoch, start * self._own, self.rank, self.world)
        chances = self._chances(epoch, range(start * self._own, len(self) * self._own))
        wanted = zip(chances, coded, strict=False)  # which end first, so that no image is read in vain
        images = chain.from_iterable(in_order(self._decode, _grouped(wanted, size), workers))
        for position in range(start, len(self)):
            n = epoch * len(self) + position
            x = self._whole(list(islice(images, self._own)))
            if self.stream.flip:
                mirror(x, torch.rand(self._own, generator=self._generator(n, "flip")) < 0.5)
            if self.stream.turn:
                rotate(x, quarter_turns(self._own, self._generator(n, "turn")))
            self.n = n + 1
            yield x.permute(0, 3, 1, 2)

    def _chances(self, epoch: int, positions: range) -> Iterator[random.Random | None]:
        """What draws the place of the crop at each position of an epoch."""
        for k in positions:
            crop = self.stream.crop is not None
            yield generator(self.seed, epoch, self.rank, self.world, "crop", k) if crop else None

    def _decode(self, wanted: list[tuple[random.Random | None, Found]]) -> list[np.ndarray | str]:
        return [self.stream.pixels(found, rng) for rng, found in wanted]

    def _whole(self, images: list[np.ndarray | str]) -> Tensor:
        """A batch; where images are unreadable, readable ones take their places, so that n still says which."""
        good = self.stream.readable(images)
        if not good:
            raise DataError(f"no image of a batch of {len(images)} can be used: {images[0]}")
        return torch.from_numpy(np.stack((good * len(images))[: len(images)]))

    def _generator(self, n: int, purpose: str) -> torch.Generator:
        return torch.Generator().manual_seed(number(self.seed, n, self.rank, self.world, purpose))


def _divide(shards: Shards, held_out: int, seed: int) -> tuple[list[Piece], list[Place], str]:
    """The pieces to train on, the places held out, and a sentence on which they are."""
    splits = parted(shards.splits)
    train = [piece for name in splits.train for piece in shards.splits[name]]
    held = [piece for name in splits.held_out for piece in shards.splits[name]]
    apart = bool(splits.held_out)
    pieces = held if apart else train
    count = _count(pieces)
    if _count(train) < 2:
        raise DataError(f"{shards.where} holds {_count(train)} images: a stream needs 2 or more")
    most = count if apart else max(1, round(count * HELD_OUT_SHARE))
    places = list(islice(interleaved(_drawn(pieces, seed, "held out")), min(held_out, most)))
    unused = "".join(f"; the split {name} is not used" for name in splits.unused)
    if apart:
        named = " and ".join(splits.held_out)
        return train, places, f"{len(places)} of {count} images of the split {named} are held out{unused}"
    note = f"{len(places)} of {count} images are held out, drawn by seed {seed}{unused}"
    return without(train, places), places, note


def _drawn(pieces: list[Piece], seed: int, purpose: str) -> list[Piece]:
    return generator(seed, purpose).sample(pieces, len(pieces))


def _count(pieces: Iterable[Piece]) -> int:
    return sum(len(piece.rows) for piece in pieces)


def _grouped(found: Iterator[T], size: int) -> Iterator[list[T]]:
    while group := list(islice(found, size)):
        yield group
