"""The stored pixels of a source of images: out of the cache, or prepared now and kept there."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from copyfold.data.reading import cache, ragged
from copyfold.data.reading.masks import Masks
from copyfold.data.reading.preparation import Bad, Choice, choose, prepared, refuse, shapes
from copyfold.data.reading.ragged import Ragged
from copyfold.data.reading.sizes import Aim, Fit, Sides, Suits, nearest, plain, written
from copyfold.data.reading.sources import Listing, Source
from copyfold.data.reading.values import Seen, Values
from copyfold.errors import UsageError, option
from copyfold.types import Progress


@dataclass(eq=False)
class Stored:
    """The steps from a source to its stored pixels, each skipped where the cache has it; fields as in `Photos`."""

    source: Source
    fit: Fit
    limit: int | None
    skip_bad: bool
    seed: int
    channels: int | None
    values: Values
    masks: Masks | None
    whole: bool
    progress: Progress | None

    def __post_init__(self) -> None:
        kind, values, masks = self.source.kind, self.values, self.masks
        identity = cache.digest(self.source.identity())
        taken = (self.limit, self.seed, *["whole"] * self.whole)
        if values != Values() or masks is not None:
            taken = (*taken, values.range, values.bits, None if masks is None else cache.digest(masks.identity()))
        self.key = partial(cache.key, kind, identity, getattr(self.source, "layout", None), *taken)
        self.selection = cache.key("selection", kind, identity, self.limit, self.seed, self.whole)

    def __call__(self, size: Sides | None, suits: Suits | None) -> tuple[np.ndarray, dict[str, Any], str]:
        """The images, their metadata, and a note on how their size was chosen where it was not given."""
        if size is not None:
            return *self.pixels(size), ""
        aim = self.aim
        # Whether there is colour is known only after decoding: until then assume colour images.
        first = nearest(aim, self.channels or 3, suits) or aim.size
        pixels, meta = self.pixels(first)
        best = nearest(aim, pixels.shape[3], suits)
        if best is None:
            raise UsageError(
                f"the model takes no images near {written(aim.size)} with "
                f"{pixels.shape[3]} channels: give {option('size')}"
            )
        if best != first:
            pixels, meta = self.pixels(best)
        return pixels, meta, f"enlarged to {written(best)}" if self.source.side else aim.said(best)

    @cached_property
    def listed(self) -> tuple[Listing, Choice]:
        """The images of the source, and which of them are taken."""
        listing = self.source.listing()
        return listing, choose(listing, self.limit, self.seed, self.whole)

    @cached_property
    def aim(self) -> Aim:
        """The size to take where none is asked for, before the model is asked."""
        if self.source.side:
            return Aim((self.source.side, self.source.side), None, self.source.side)
        name = self.key("aim")
        if not self.source.in_memory and (known := cache.recall(name)):
            size, common = (pair and (int(pair[0]), int(pair[1])) for pair in (known["size"], known["common"]))
            return Aim(size, common, known["median"])
        found = Aim.of(shapes(self.source, self.listed[1].all, self.progress))
        if not self.source.in_memory:
            cache.store(name, lambda _: found._asdict())
        return found

    def pixels(self, size: Sides) -> tuple[np.ndarray, dict[str, Any]]:
        """The images and their metadata, from the cache or prepared now."""
        if self.source.in_memory:
            bad: Bad = []
            blocks = list(self._blocks(size, self.channels, bad, seen := Seen()))
            most = max(block.shape[3] for block in blocks)
            pixels = np.concatenate([np.broadcast_to(block, (*block.shape[:3], most)) for block in blocks])
            return pixels, self._describe(pixels.shape, bad, seen)
        meta = self._kept(size)
        return cache.pixels(meta["fingerprint"]), meta

    def unscaled(self) -> tuple[Ragged, dict[str, Any]]:
        """The images at their own sizes and their metadata, from the cache or decoded now."""
        if self.source.in_memory:
            bad: Bad = []
            blocks = self._blocks(None, self.channels, bad, seen := Seen())
            images = Ragged.joined(image for block in blocks for image in block)
            return images, self._describe((len(images), None, None, images.channels), bad, seen)
        meta = self._kept(None)
        return Ragged.of(cache.pixels(meta["fingerprint"]), meta["sizes"], meta["channels"]), meta

    def _kept(self, size: Sides | None) -> dict[str, Any]:
        """The metadata of what is in the cache, made now where it is not; `size` None is every image's own."""
        meta = self._made(size)
        if meta is None:
            # another process of the same training may be preparing it
            with cache.alone(self.key("making", _plain(size))):
                meta = self._made(size) or cache.store(None, partial(self._make, size=size))
        return meta

    def _made(self, size: Sides | None) -> dict[str, Any] | None:
        """The metadata of the images where they are in the cache; else None."""
        channels = self._known(size)
        return None if channels is None else cache.recall(self._name(size, channels))

    def _make(self, place: Path, size: Sides | None) -> dict[str, Any]:
        bad: Bad = []
        channels = self._known(size)
        blocks = self._blocks(size, channels, bad, seen := Seen())
        if size is None:
            sizes, found = ragged.write(place, blocks)
            meta = self._describe((len(sizes), None, None, found), bad, seen)
            meta |= {"sizes": sizes, "channels": found, "shape": [found * sum(map(prod, sizes))]}
        else:
            shape = cache.write_pixels(place, blocks, len(self.listed[1].all))
            meta, found = self._describe(shape, bad, seen), shape[3]
        if channels is None:
            cache.store(self.key("channels", _plain(size)), lambda _: {"channels": found})
        return meta

    def _known(self, size: Sides | None) -> int | None:
        """The channels, asked for or found when images of this size were first made."""
        if self.channels:
            return self.channels
        found = cache.recall(self.key("channels", _plain(size)))
        return found["channels"] if found else None

    def _name(self, size: Sides | None, channels: int) -> str:
        return self.key("pixels", _plain(size), channels, self.fit, self.skip_bad)

    def _blocks(self, size: Sides | None, channels: int | None, bad: Bad, seen: Seen) -> Iterator[np.ndarray]:
        chosen = self.listed[1].all
        values = replace(self.values, missing=self.masks is not None or self.source.has_missing(chosen))
        return prepared(
            self.source, chosen, size, channels, self.fit, values, self.masks, bad, seen, self.progress
        )

    def _describe(self, shape: Sequence[Any], bad: Bad, seen: Seen) -> dict[str, Any]:
        listing, choice = self.listed
        bad.sort()
        if bad and not self.skip_bad:
            raise refuse(self.source, listing, bad, len(choice.all), seen.advice)
        left_out = {index for index, _ in bad}
        train = [int(index) for index in choice.train if index not in left_out]
        rows = train + [int(index) for index in choice.held_out if index not in left_out]
        if not train:
            raise refuse(self.source, listing, bad, len(choice.all), seen.advice)
        if len(rows) == len(train) > 1 and not self.whole:  # all that was held out is unreadable
            train.pop()
        grey = "read as grey: 1 channel" if self.channels else "every image is grey: 1 channel"
        notes = [*choice.said(left_out), grey if shape[3] == 1 else f"{shape[3]} channels", *seen.notes()]
        if bad:
            named = ", ".join(f"{listing.names[index]} {reason}" for index, reason in bad)
            notes.append(f"{len(bad)} unreadable images are left out: {named}")
        return {
            "fingerprint": self._name(None if shape[1] is None else (shape[1], shape[2]), shape[3]),
            "shape": list(shape),
            "train": len(train),
            "names": [listing.names[index] for index in rows],
            "labels": None if listing.labels is None else [listing.labels[index] for index in rows],
            "classes": listing.classes,
            "notes": notes,
        }


def _plain(size: Sides | None) -> int | str | None:
    """A size as a recipe has it, or None for every image's own."""
    return None if size is None else plain(size)
