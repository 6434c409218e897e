"""Stratified samples of a set of images; and the sizes of the samples that copyfold uses."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from copyfold.errors import at_least
from copyfold.types import Images, Int

SHOWN = 8
"""Images across a picture."""

MEASURED = 128
"""Images that the numbers of a report or a picture are averaged over."""

REFERENCE = 1024
"""Training images that baselines are fitted on and that nearest neighbours are searched in."""

FITTED = 256
"""The same for the pictures after every training, which are to take seconds."""

MAPPED = 500
"""Images whose codes are drawn on a map."""

EVALUATED = 512
"""Held-out images that a row of the log is averaged over: enough for two digits of a mean, and cheap."""

DIAGNOSED = 256
"""The number of these whose codes are evaluated too."""


@dataclass(frozen=True)
class Sample:
    """Some images of a set in its order, each with its row, its name and its label.

    `rows` count from 0 in what was sampled: `photos.train` or `photos.held_out`. `labels` are None where there
    are none; -1 is a missing one.
    """

    images: Images
    rows: Int[Tensor, "n"]
    names: tuple[str, ...]
    labels: Int[Tensor, "n"] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def at(self, places: Sequence[int] | np.ndarray) -> "Sample":
        """The images at these places in the sample, with their rows, names and labels."""
        index = torch.as_tensor(places, dtype=torch.long)
        return Sample(
            self.images[index.to(self.images.device)],
            self.rows[index],
            tuple(self.names[i] for i in index.tolist()),
            None if self.labels is None else self.labels[index],
        )

    def some(self, count: int, seed: int = 0) -> "Sample":
        """At most `count` of the images, spread evenly; see `stratified`."""
        return self.at(stratified(len(self), count, seed))

    def to(self, device: torch.device | str) -> Self:
        """The same sample, with its images on that device."""
        return replace(self, images=self.images.to(device))


def stratified(length: int, count: int | None, seed: int = 0) -> np.ndarray:
    """Draw one row from each of `count` equal parts of the rows 0 .. length - 1, in ascending order.

    The parts begin at a row drawn by seed, and the last wraps around to row 0, so that all rows are equally
    likely. A class of consecutive images gets its share, up to one image at each of its two ends; a periodic order
    does not bias the sample, as it would bias every k-th row. All rows where `count` is None or at least `length`.
    Depends on the seed alone, not on torch's generators. Stratified sampling, as in Cochran, "Sampling Techniques"
    (3rd edition, 1977), chapter 5.
    """
    if count is None or count >= length:
        return np.arange(length)
    at_least(1, count=count)
    rng = np.random.default_rng(seed)
    ends = np.arange(count + 1) * length // count
    return np.sort((rng.integers(ends[:-1], ends[1:]) + rng.integers(length)) % length)


def described(photos: Any, held_out: np.ndarray, what: str = "images", whence: str = "") -> str:
    """Photos or a stream in a line: where they are from, how many there are and how large they are."""
    source, size = photos.recipe()["data"] or "the digits", "x".join(map(str, photos.shape))
    name, count = type(photos).__name__, f"{len(photos):,} {what} of {size}{whence}"
    return f"{name}({source}: {count}, {len(held_out):,} held out)"


TOPS = {torch.uint8: 255, torch.uint16: 65535}
"""The stored pixel that is 1; floats are values already, NaN where a pixel is missing."""


def as_images(pixels: np.ndarray) -> Images:
    """Stored pixels N·H·W·C as float32 N·C·H·W in [0, 1]; NaN where they are missing."""
    return to_values(torch.from_numpy(pixels).permute(0, 3, 1, 2))


def to_values(pixels: Tensor, layout: torch.memory_format = torch.contiguous_format) -> Images:
    """Stored pixels as float32 in [0, 1], in this memory layout: uint8 / 255, uint16 / 65535, or the floats."""
    values = pixels.to(torch.float32, memory_format=layout, copy=True)
    return values.div_(TOPS[pixels.dtype]) if pixels.dtype in TOPS else values
