"""Photos: any source of images, decoded once into uint8 squares that later runs only map into memory."""

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch

from copyfold.data.batches import Batches
from copyfold.data.reading import cache
from copyfold.data.reading.decoding import Fit
from copyfold.data.reading.opening import Given, recognise
from copyfold.data.reading.preparation import LARGEST, Choice, Plan, choose, plan, prepared, refuse
from copyfold.data.reading.sources import Listing, Source
from copyfold.errors import UsageError
from copyfold.types import Images, Progress, Shape

log = logging.getLogger("copyfold")

Suits = Callable[[Shape], bool]
Which = Literal["train", "held_out"]


class Photos:
    """Images to learn from and images held out: uint8 squares, memory-mapped.

    Args:
        source: A folder of images of any depth, a .npy or .npz file, a local dataset in parquet,
            `hf://owner/name[@revision]`, an array or tensor, or None for scikit-learn's digits.
        size: The side in pixels. None takes the median short side, at most 128, moved to the nearest side
            that `suits`.
        fit: "crop" scales the short side to `size` and takes the centre; "pad" scales the long side and
            pads with black.
        limit: At most so many images to train on, and at most so many held out, drawn by seed before
            anything is decoded.
        flip: Whether training mirrors every image half of the time (`Batches` does it).
        layout: How to read an array: NHW, NCHW, NHWC or lsun. None finds out, or asks.
        skip_bad: Leave unreadable images out instead of raising.
        channels: 1 for grey or 3 for colour, whatever the images are; None finds out.
        seed: Draws what is held out and what `limit` takes.
        suits: Says whether a model takes images of a shape. None means multiples of 16.
        progress: Called as images are read.

    The test split of a source is held out, or else its validation split, or else a tenth. There is 1 channel
    where every image is grey (in its pixels, whatever its mode says), else 3. Everything is cached by path,
    size and modification time of the files, see `cache`.

    Raises UsageError for arguments without meaning, DataError where there is no usable image.
    """

    shape: Shape
    """Channels, height, width of every image."""
    train: np.ndarray
    """The images to train on, uint8 N·H·W·C."""
    held_out: np.ndarray
    """The images held out, uint8 N·H·W·C."""
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
    """Sentences about what was decided: size, split, channels, files left out."""
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
        seed: int = 0,
        suits: Suits | None = None,
        progress: Progress | None = None,
    ) -> None:
        _check(size, fit, limit, seed, channels)
        self.flip = flip
        with recognise(source, layout) as opened:
            make = _Making(opened, fit, limit, skip_bad, seed, channels, progress)
            self.size, found, why = make.size(size, suits)
            self.shape = (found, self.size, self.size)
            pixels, meta = make.pixels(self.size)
            self._recipe = {
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
            where = opened.where
        self.fingerprint = meta["fingerprint"]
        self._divide(pixels, meta)
        self.notes = tuple(note for note in (why, *meta["notes"]) if note)
        for note in self.notes:
            log.info("%s: %s", where, note)

    def __len__(self) -> int:
        return len(self.train)

    def recipe(self) -> dict[str, Any]:
        """Return the arguments that make the same images again, as plain data; the size is the one resolved.

        An array in memory cannot be written down: its data is a description in words.
        """
        return dict(self._recipe)

    def batches(self, batch: int, seed: int = 0, rank: int = 0, world: int = 1) -> Batches:
        """The batches to train on, see `Batches`."""
        return Batches(self.train, batch, seed, self.flip, rank, world)

    def images(self, which: Which = "train", count: int | None = None, start: int = 0) -> Images:
        """Return `count` images (None: all) from `start` on, as float32 N·C·H·W in [0, 1]."""
        if which not in get_args(Which):
            raise UsageError(f"which is {which!r}: it must be train or held_out")
        pixels = self.train if which == "train" else self.held_out
        chosen = torch.from_numpy(pixels[start : None if count is None else start + count])
        return chosen.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format).div_(255)

    def _divide(self, pixels: np.ndarray, meta: dict[str, Any]) -> None:
        train, rows, labels = meta["train"], meta["names"], meta["labels"]
        # A single image is trained on and held out alike.
        held = slice(train if len(rows) > train else 0, None)
        self.train, self.held_out = pixels[:train], pixels[held]
        self.names, self.held_out_names = rows[:train], rows[held]
        numbers = None if labels is None else np.asarray(labels, dtype=np.int64)
        self.labels = None if numbers is None else numbers[:train]
        self.held_out_labels = None if numbers is None else numbers[held]
        self.classes = tuple(meta["classes"]) if meta["classes"] else None


def _check(size: int | None, fit: str, limit: int | None, seed: int, channels: int | None) -> None:
    """Raise UsageError for arguments without meaning."""
    if size is not None and size < 1:
        raise UsageError(f"a size of {size} pixels is none: it must be at least 1")
    if limit is not None and limit < 1:
        raise UsageError(f"a limit of {limit} images leaves none: it must be at least 1")
    if fit not in get_args(Fit):
        raise UsageError(f"fit is {fit!r}: it must be crop or pad")
    if seed < 0:
        raise UsageError(f"the seed is {seed}: it must not be negative")
    if channels not in (None, 1, 3):
        raise UsageError(f"images are read as 1 channel, grey, or as 3, colour, not as {channels}")


class _Making:
    """The steps from a source to its pixels, each skipped where the cache has it."""

    def __init__(
        self,
        source: Source,
        fit: Fit,
        limit: int | None,
        skip_bad: bool,
        seed: int,
        channels: int | None,
        progress: Progress | None,
    ) -> None:
        self.source = source
        self.fit: Fit = fit
        self.limit = limit
        self.skip_bad = skip_bad
        self.seed = seed
        self.channels = channels
        self.progress = progress
        identity = cache.digest(source.identity())
        self.key = partial(cache.key, source.kind, identity, getattr(source, "layout", None), limit, seed)
        self._listed: tuple[Listing, Choice] | None = None
        self._plan: Plan | None = None

    def listed(self) -> tuple[Listing, Choice]:
        """List the images, and which of them are taken."""
        if self._listed is None:
            listing = self.source.listing()
            self._listed = listing, choose(listing, self.limit, self.seed)
        return self._listed

    def plan(self) -> Plan:
        """What the headers say."""
        if self._plan is None:
            found = None if self.source.in_memory else cache.recall(self.key("plan"))
            if found is not None:
                self._plan = Plan.read(found)
            else:
                listing, choice = self.listed()
                self._plan = plan(self.source, choice.all, self.progress)
                if len(self._plan.bad) == len(choice.all):
                    raise refuse(self.source, listing, self._plan.bad, len(choice.all))
                if not self.source.in_memory:
                    cache.store(self.key("plan"), lambda _: self.plan().write())
        return self._plan

    def size(self, size: int | None, suits: Suits | None) -> tuple[int, int, str]:
        """Side in pixels, channels, and a sentence on how the side was found where it was not asked for."""
        found = self.plan()
        channels = self.channels or found.channels
        if size is not None:
            return size, channels, ""
        wanted = self.source.side or min(found.side, LARGEST)
        side = _nearest_side(wanted, channels, suits)
        if self.source.side:
            return side, channels, f"enlarged to {side}x{side}"
        return side, channels, f"size {side}x{side}, for a median short side of {found.side} pixels"

    def pixels(self, side: int) -> tuple[np.ndarray, dict[str, Any]]:
        """The images and what goes with them, from the cache or made now."""
        name = self.key("pixels", side, self.channels or self.plan().channels, self.fit, self.skip_bad)
        if self.source.in_memory:
            blocks, describe = self._start(side, name)
            pixels = np.concatenate(list(blocks))
            return pixels, describe(pixels.shape)
        meta = cache.recall(name)
        if meta is None:
            with cache.alone(name):  # another process of the same training may be making it
                meta = cache.recall(name) or cache.store(name, lambda place: self._write(place, side, name))
        return cache.pixels(name), meta

    def _write(self, place: Path, side: int, name: str) -> dict[str, Any]:
        blocks, describe = self._start(side, name)
        return describe(cache.write_pixels(place, blocks, len(self.listed()[1].all)))

    def _start(self, side: int, name: str) -> tuple[Any, Callable[[tuple[int, ...]], dict[str, Any]]]:
        """The blocks of pixels, and what to call when they are used up to learn what they were."""
        found = self.plan()
        if self.channels:
            found = replace(found, channels=self.channels)
        bad = list(found.bad)
        if bad and not self.skip_bad:
            log.info("%s: %d images cannot be read; looking at the others", self.source.where, len(bad))
        chosen = self.listed()[1].all
        blocks = prepared(self.source, chosen, found, side, self.fit, bad, self.progress)
        return blocks, lambda shape: self._describe(shape, bad, found.channels, name)

    def _describe(
        self, shape: tuple[int, ...], bad: list[tuple[int, str]], channels: int, name: str
    ) -> dict[str, Any]:
        listing, choice = self.listed()
        bad.sort()
        if bad and not self.skip_bad:
            raise refuse(self.source, listing, bad, len(choice.all))
        left_out = {index for index, _ in bad}
        train = [int(index) for index in choice.train if index not in left_out]
        rows = train + [int(index) for index in choice.held_out if index not in left_out]
        if not train:
            raise refuse(self.source, listing, bad, len(choice.all))
        if len(rows) == len(train) > 1:  # all that was held out is unreadable
            train.pop()
        grey = "read as grey: 1 channel" if self.channels else "every image is grey: 1 channel"
        notes = [*choice.notes, grey if channels == 1 else "3 channels"]
        if bad:
            named = ", ".join(f"{listing.names[index]} {reason}" for index, reason in bad)
            notes.append(f"{len(bad)} unreadable images are left out: {named}")
        return {
            "fingerprint": name,
            "shape": list(shape),
            "train": len(train),
            "names": [listing.names[index] for index in rows],
            "labels": None if listing.labels is None else [listing.labels[index] for index in rows],
            "classes": listing.classes,
            "notes": notes,
        }


def _nearest_side(wanted: int, channels: int, suits: Suits | None) -> int:
    """The side nearest to the one wanted that a model takes, the smaller of two."""
    fits = suits or (lambda shape: shape[1] % 16 == 0)
    for distance in range(max(wanted, 1024)):
        for side in (wanted - distance, wanted + distance):
            if side >= 1 and fits((channels, side, side)):
                return side
    raise UsageError(f"the model takes no image of about {wanted}x{wanted} with {channels} channels: give --size")
