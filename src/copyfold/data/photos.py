"""Photos: any source of images, decoded once into uint8 squares that later runs memory-map."""

import logging
import operator
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from copyfold import screen
from copyfold.data.batches import Batches
from copyfold.data.reading import cache
from copyfold.data.reading.decoding import Fit
from copyfold.data.reading.opening import Given, recognise
from copyfold.data.reading.preparation import LARGEST, Bad, Choice, choose, median_side, prepared, refuse
from copyfold.data.reading.sources import Listing, Source
from copyfold.data.sampling import SHOWN, Sample, as_images, described, stratified
from copyfold.errors import UsageError
from copyfold.pictures import embedded, grid, shown
from copyfold.types import Images, Progress, Shape

log = logging.getLogger("copyfold")

Suits = Callable[[Shape], bool]
Which = Literal["train", "held_out"]


class Photos(Dataset[Any]):
    """Images to learn from and images held out: uint8 squares, memory-mapped.

    A torch Dataset of the images to train on: photos[i] is a float32 tensor C·H·W in [0, 1], or (image, label)
    where there are labels, as torchvision's data sets have it; `flip` has no effect there. The workers of a
    DataLoader map the pixels in the cache, which are not copied to them.

    Args:
        source: A folder of images of any depth, or a .zip of one; a .npy or .npz file; a folder of parquet, or of
            `save_to_disk`, or a file of them; `hf://owner/name[@revision]`; or None for scikit-learn's digits. In
            Python also an array or tensor; a list of paths, arrays, tensors or Pillow images; a torch Dataset, of
            images, of (image, label, ...) or of dicts with an image; a DataLoader, of which the dataset is read.
        size: The side in pixels. Unless given, the median short side, at most 128, moved to the nearest side
            that the model takes (`suits`).
        fit: "crop" scales the short side to `size` and takes the centre; "pad" scales the long side and
            pads with black.
        limit: The largest number of images in `train` and in `held_out`, drawn by seed before decoding.
        flip: Mirror every image with probability 1/2 in training (`Batches` does it).
        layout: The axes of an array: NHW, NCHW, NHWC or lsun. Detected unless given; an error where ambiguous.
        skip_bad: Leave unreadable images out instead of raising.
        channels: 1 for grey or 3 for colour; detected unless given.
        column: The column of images of a table, the array of an .npz, or the key of a dict. Unless given, `image`,
            or else `img`, or else the only one of images, or else the first, which `notes` say.
        seed: For the random choice of held-out images and of those that `limit` takes.
        whole: Hold nothing out: all images, of every split and in their order, are in `train`, to be evaluated.
            They cannot be trained on.
        suits: Says whether a model takes images of a shape. None means multiples of 16.
        progress: As in `fit`: unless given, a bar as images are read where there is a terminal or a notebook; a
            function is called as progress(what, done, total, numbers).

    The test split of a source is held out, or else its validation split, or else a tenth. Splits are named by
    folders, files or arrays, in any spelling (Train, TESTING, dev). What is in memory is identified by a hash of
    its content; a torch Dataset is read once, so its random transforms stay as they came out. There is 1 channel
    where every image is grey (by its decoded pixels, not by its mode), else 3. The result is cached by path, size
    and modification time of the files, see `cache`.

    Raises UsageError for invalid arguments, DataError where there is no usable image.
    """

    shape: Shape
    """Channels, height, width of every image."""
    train: np.ndarray
    """The images to train on, uint8 N·H·W·C."""
    held_out: np.ndarray
    """The images held out, uint8 N·H·W·C; none where `whole`."""
    whole: bool
    """Whether all images are in `train`, and cannot be trained on."""
    labels: np.ndarray | None
    """Class numbers of `train`, where the source has them; -1 is a missing one."""
    held_out_labels: np.ndarray | None
    """Class numbers of `held_out`."""
    classes: tuple[str, ...] | None
    """The names of the classes, where they have names."""
    names: list[str]
    """File names or row numbers of `train`."""
    held_out_names: list[str]
    """File names or row numbers of `held_out`."""
    notes: tuple[str, ...]
    """Sentences about automatic choices: size, split, channels, files left out."""
    fingerprint: str
    """Hexadecimal: identifies the source's files and how they were prepared."""

    def __init__(
        self,
        source: Given = None,
        size: int | None = None,
        *,
        fit: Fit = "crop",
        limit: int | None = None,
        flip: bool = False,
        layout: str | None = None,
        skip_bad: bool = False,
        channels: int | None = None,
        column: str | None = None,
        seed: int = 0,
        whole: bool = False,
        suits: Suits | None = None,
        progress: Progress | bool | None = None,
    ) -> None:
        _check(size, fit, limit, seed, channels)
        self.flip, self.whole = flip, whole
        with recognise(source, layout, column) as opened, screen.told(progress) as told:
            make = _Preparation(opened, fit, limit, skip_bad, seed, channels, whole, told)
            pixels, meta, why = make(size, suits)
            self.size = pixels.shape[1]
            self.shape = (pixels.shape[3], self.size, self.size)
            self._recipe = (
                {
                    "data": opened.describe(),
                    "size": self.size,
                    "fit": fit,
                    "limit": limit,
                    "flip": flip,
                    "layout": layout,
                    "skip_bad": skip_bad,
                    "channels": channels,
                    "seed": seed,
                }
                | ({"whole": True} if whole else {})
                | ({"column": column} if column is not None else {})
            )
            where, asides = opened.where, opened.asides()
        self.fingerprint = meta["fingerprint"]
        self._divide(pixels, meta)
        self.notes = tuple(note for note in (why, *meta["notes"], *asides) if note)
        for note in self.notes:
            log.info("%s: %s", where, note)

    def __len__(self) -> int:
        return len(self.train)

    def __getitem__(self, index: int) -> Tensor | tuple[Tensor, int]:
        """An image to train on, float32 C·H·W in [0, 1]; where there are labels with its own, -1 if missing."""
        row = operator.index(index)
        if not -len(self) <= row < len(self):
            raise IndexError(f"index {row} is out of range for {len(self)} images to train on")
        row %= len(self)
        image = as_images(self.train[row : row + 1])[0]
        return image if self.labels is None else (image, int(self.labels[row]))

    def __getstate__(self) -> dict[str, Any]:
        """The state to pickle: of mapped pixels the file, not the pixels."""
        parts = {name: cache.where(getattr(self, name)) for name in ("train", "held_out")}
        return vars(self) | {name: place for name, place in parts.items() if place is not None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value.mapped() if isinstance(value, cache.Mapped) else value)

    def __repr__(self) -> str:
        return described(self, self.held_out)

    def _repr_html_(self) -> str:
        """For a notebook: what they are, and some of them."""
        return shown(repr(self), embedded(grid(self.sample("train", 2 * SHOWN).images, columns=SHOWN)))

    def recipe(self) -> dict[str, Any]:
        """Return the arguments that give the same images again, as plain data, with the resolved size.

        An array in memory cannot be serialised: its "data" is a description in words.
        """
        return dict(self._recipe)

    def batches(self, batch: int, seed: int = 0, rank: int = 0, world: int = 1) -> Batches:
        """The batches to train on, see `Batches`."""
        return Batches(self.train, batch, seed, self.flip, rank, world)

    def images(self, which: Which = "train", count: int | None = None, start: int = 0) -> Images:
        """Return `count` images (None: all) from `start` on, as float32 N·C·H·W in [0, 1].

        For a fair choice of images take a `sample`: the first of a folder may all be of one class.
        """
        return as_images(self._part(which)[0][start : None if count is None else start + count])

    def sample(self, which: Which = "train", count: int | None = None, seed: int = 0) -> Sample:
        """Return `count` images (None: all) spread evenly over the set, with their rows, names and labels.

        One of each of `count` equal parts of the set, drawn by `seed` (see `stratified`), in the set's order; all
        where there are no more. Other seeds give other images.
        """
        pixels, names, labels = self._part(which)
        rows = stratified(len(pixels), count, seed)
        return Sample(
            as_images(pixels[rows]),
            torch.from_numpy(rows),
            tuple(names[row] for row in rows),
            None if labels is None else torch.from_numpy(labels[rows]),
        )

    def _part(self, which: Which) -> tuple[np.ndarray, list[str], np.ndarray | None]:
        """Pixels, names and labels of either part."""
        if which not in get_args(Which):
            raise UsageError(f"which={which!r} is invalid: expected train or held_out")
        if which == "train":
            return self.train, self.names, self.labels
        return self.held_out, self.held_out_names, self.held_out_labels

    def _divide(self, pixels: np.ndarray, meta: dict[str, Any]) -> None:
        train, rows, labels = meta["train"], meta["names"], meta["labels"]
        # A single image is trained on and held out alike.
        held = slice(train if len(rows) > train or self.whole else 0, None)
        self.train, self.held_out = pixels[:train], pixels[held]
        self.names, self.held_out_names = rows[:train], rows[held]
        numbers = None if labels is None else np.asarray(labels, dtype=np.int64)
        self.labels = None if numbers is None else numbers[:train]
        self.held_out_labels = None if numbers is None else numbers[held]
        self.classes = tuple(meta["classes"]) if meta["classes"] else None


def natural_side(
    source: Given,
    limit: int | None = None,
    layout: str | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    column: str | None = None,
) -> int:
    """The side that `Photos` aims at where none is given: the median short side, at most 128.

    Headers are read for it, and no image is decoded. DataError where there is no image.
    """
    with recognise(source, layout, column) as opened:
        make = _Preparation(opened, "crop", limit, False, seed, None, False, progress)
        return make.wanted


def _check(size: int | None, fit: str, limit: int | None, seed: int, channels: int | None) -> None:
    """UsageError for invalid arguments."""
    if size is not None and size < 1:
        raise UsageError(f"size={size} is invalid: expected a number of pixels, at least 1")
    if limit is not None and limit < 1:
        raise UsageError(f"limit={limit} is invalid: expected a number of images, at least 1")
    if fit not in get_args(Fit):
        raise UsageError(f"fit={fit!r} is invalid: expected crop or pad")
    if seed < 0:
        raise UsageError(f"seed={seed} is invalid: expected a whole number of at least 0")
    if channels not in (None, 1, 3):
        raise UsageError(f"channels={channels} is invalid: expected 1 (grey) or 3 (colour)")


class _Preparation:
    """The steps from a source to its pixels, each skipped where the cache has it."""

    def __init__(
        self,
        source: Source,
        fit: Fit,
        limit: int | None,
        skip_bad: bool,
        seed: int,
        channels: int | None,
        whole: bool,
        progress: Progress | None,
    ) -> None:
        self.source = source
        self.fit: Fit = fit
        self.limit = limit
        self.skip_bad = skip_bad
        self.seed = seed
        self.channels = channels
        self.whole = whole
        self.progress = progress
        identity = cache.digest(source.identity())
        taken = (limit, seed, "whole") if whole else (limit, seed)
        self.key = partial(cache.key, source.kind, identity, getattr(source, "layout", None), *taken)
        self._listed: tuple[Listing, Choice] | None = None

    def __call__(self, size: int | None, suits: Suits | None) -> tuple[np.ndarray, dict[str, Any], str]:
        """The images, their metadata, and a note on how their side was chosen where it was not given."""
        if size is not None:
            return *self.pixels(size), ""
        wanted = self.wanted
        # Whether there is colour is known only after decoding: until then assume colour images.
        side = _nearest_side(wanted, self.channels or 3, suits) or wanted
        pixels, meta = self.pixels(side)
        best = _nearest_side(wanted, pixels.shape[3], suits)
        if best is None:
            raise UsageError(
                f"the model takes no images near {wanted}x{wanted} with {pixels.shape[3]} channels: give --size"
            )
        if best != side:
            pixels, meta = self.pixels(best)
        if self.source.side:
            return pixels, meta, f"enlarged to {best}x{best}"
        return pixels, meta, f"size {best}x{best}, for a median short side of {self.median} pixels"

    def listed(self) -> tuple[Listing, Choice]:
        """List the images, and which of them are taken."""
        if self._listed is None:
            listing = self.source.listing()
            self._listed = listing, choose(listing, self.limit, self.seed, self.whole)
        return self._listed

    @property
    def wanted(self) -> int:
        """The side to take where none is asked for."""
        return self.source.side or min(self.median, LARGEST)

    @cached_property
    def median(self) -> int:
        """The median short side of the images in pixels."""
        name = self.key("side")
        if not self.source.in_memory and (known := cache.recall(name)):
            return known["side"]
        found = median_side(self.source, self.listed()[1].all, self.progress)
        if not self.source.in_memory:
            cache.store(name, lambda _: {"side": found})
        return found

    def pixels(self, side: int) -> tuple[np.ndarray, dict[str, Any]]:
        """The images and their metadata, from the cache or prepared now."""
        if self.source.in_memory:
            bad: Bad = []
            blocks = list(self._blocks(side, self.channels, bad))
            most = max(block.shape[3] for block in blocks)
            pixels = np.concatenate([np.broadcast_to(block, (*block.shape[:3], most)) for block in blocks])
            return pixels, self._describe(pixels.shape, bad)
        meta = self._made(side)
        if meta is None:
            with cache.alone(self.key("making", side)):  # another process of the same training may be preparing it
                meta = self._made(side) or cache.store(None, partial(self._make, side=side))
        return cache.pixels(meta["fingerprint"]), meta

    def _made(self, side: int) -> dict[str, Any] | None:
        """The metadata of the images where they are in the cache; else None."""
        channels = self._known(side)
        return None if channels is None else cache.recall(self._name(side, channels))

    def _make(self, place: Path, side: int) -> dict[str, Any]:
        bad: Bad = []
        channels = self._known(side)
        blocks = self._blocks(side, channels, bad)
        shape = cache.write_pixels(place, blocks, len(self.listed()[1].all))
        meta = self._describe(shape, bad)
        if channels is None:
            cache.store(self.key("channels", side), lambda _: {"channels": shape[3]})
        return meta

    def _known(self, side: int) -> int | None:
        """The channels, asked for or found when images of this side were first made."""
        if self.channels:
            return self.channels
        found = cache.recall(self.key("channels", side))
        return found["channels"] if found else None

    def _name(self, side: int, channels: int) -> str:
        return self.key("pixels", side, channels, self.fit, self.skip_bad)

    def _blocks(self, side: int, channels: int | None, bad: Bad) -> Iterator[np.ndarray]:
        return prepared(self.source, self.listed()[1].all, side, channels, self.fit, bad, self.progress)

    def _describe(self, shape: tuple[int, ...], bad: Bad) -> dict[str, Any]:
        listing, choice = self.listed()
        bad.sort()
        if bad and not self.skip_bad:
            raise refuse(self.source, listing, bad, len(choice.all))
        left_out = {index for index, _ in bad}
        train = [int(index) for index in choice.train if index not in left_out]
        rows = train + [int(index) for index in choice.held_out if index not in left_out]
        if not train:
            raise refuse(self.source, listing, bad, len(choice.all))
        if len(rows) == len(train) > 1 and not self.whole:  # all that was held out is unreadable
            train.pop()
        grey = "read as grey: 1 channel" if self.channels else "every image is grey: 1 channel"
        notes = [*choice.notes, grey if shape[3] == 1 else "3 channels"]
        if bad:
            named = ", ".join(f"{listing.names[index]} {reason}" for index, reason in bad)
            notes.append(f"{len(bad)} unreadable images are left out: {named}")
        return {
            "fingerprint": self._name(shape[1], shape[3]),
            "shape": list(shape),
            "train": len(train),
            "names": [listing.names[index] for index in rows],
            "labels": None if listing.labels is None else [listing.labels[index] for index in rows],
            "classes": listing.classes,
            "notes": notes,
        }


def _nearest_side(wanted: int, channels: int, suits: Suits | None) -> int | None:
    """The side nearest to the one wanted that a model takes, the smaller of two; None where it takes none."""
    fits = suits or (lambda shape: shape[1] % 16 == 0)
    for distance in range(max(wanted, 1024)):
        for side in (wanted - distance, wanted + distance):
            if side >= 1 and fits((channels, side, side)):
                return side
    return None
