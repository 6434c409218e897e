"""What is looked at, and what a look at it gives."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Generator

from copyfold.data import Photos, Sample, Stream
from copyfold.data.sampling import MEASURED, REFERENCE, stratified
from copyfold.models.base import Autoencoder
from copyfold.runs import Run
from copyfold.types import Images

HELD = 4  # images to measure, at least


@dataclass(frozen=True)
class Subject:
    """A model, the photos it is looked at with, and the run it comes from where it has one."""

    model: Autoencoder
    measured: Sample
    """Images that numbers are over, where the model is: held-out ones, of photos that hold some out."""
    known: Sample
    """Images beside them, to fit baselines on and look for neighbours among: training images, of such photos."""
    photos: Photos | Stream
    run: Run | None = None
    seed: int = 0

    @classmethod
    def of(cls, model: Autoencoder, photos: Photos | Stream, run: Run | None, seed: int) -> "Subject":
        """The same images for every part of the page, where the model is."""
        device = next(model.parameters(), torch.empty(0)).device
        measured, known = _chosen(photos, seed)
        return cls(model, measured.to(device), known.to(device), photos, run, seed)

    @property
    def x(self) -> Images:
        """The images measured."""
        return self.measured.images

    @property
    def reference(self) -> Images:
        """The images beside them."""
        return self.known.images

    def few(self, count: int) -> Images:
        """So many of the images measured, spread evenly over them."""
        return self.measured.some(count, self.seed).images

    @property
    def held_out(self) -> str:
        """What to call the images measured: nothing is held out of photos that nothing trained on."""
        return "measured" if _whole(self.photos) else "held-out"

    @property
    def training(self) -> str:
        """What to call the images beside them."""
        return "reference" if _whole(self.photos) else "training"

    @property
    def rng(self) -> Generator:
        """A new generator in the same state: one part of the page does not depend on another."""
        return torch.Generator().manual_seed(self.seed)

    @property
    def name(self) -> str:
        """How a command names the model."""
        return "MODEL" if self.run is None else str(self.run.folder)


@dataclass(frozen=True)
class Plate:
    """A picture of the page, what it says to who reads it, and the command that makes it again."""

    picture: Any
    caption: str
    command: str = ""


@dataclass(frozen=True)
class Section:
    """One question and what was found: plates, and numbers by name."""

    title: str
    text: str
    plates: tuple[Plate, ...] = ()
    numbers: dict[str, float] = field(default_factory=dict[str, float])


def _whole(photos: Photos | Stream) -> bool:
    """Whether photos are only looked at, with nothing held out."""
    return isinstance(photos, Photos) and photos.whole


def _chosen(photos: Photos | Stream, seed: int) -> tuple[Sample, Sample]:
    """The images to measure and those beside them; of photos that hold nothing out, a quarter is measured."""
    if not _whole(photos):
        return photos.sample("held_out", MEASURED, seed), photos.sample("train", REFERENCE, seed)
    both = photos.sample("train", MEASURED + REFERENCE, seed)
    rows = stratified(len(both), min(MEASURED, max(HELD, len(both) // 4)), seed)
    return both.at(rows), both.at(np.setdiff1d(np.arange(len(both)), rows))


Part: TypeAlias = Callable[[Subject], Section]
"""One section of the page, made from the subject alone."""
