"""What is looked at, and what a look at it gives."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import Generator

from copyfold.data import Photos, Stream
from copyfold.models.base import Autoencoder
from copyfold.runs import Run
from copyfold.types import Images

SEEN, REFERENCE = 128, 1024  # held-out images that numbers are over; training images that baselines are fitted on


@dataclass(frozen=True)
class Subject:
    """A model, the photos it is looked at with, and the run it comes from where it has one."""

    model: Autoencoder
    x: Images
    """Held-out images."""
    reference: Images
    """Images that it was trained on, where it was trained on these photos."""
    photos: Photos | Stream
    run: Run | None = None
    seed: int = 0

    @classmethod
    def of(cls, model: Autoencoder, photos: Photos | Stream, run: Run | None, seed: int) -> "Subject":
        """The same images for every part of the page, where the model is."""
        device = next(model.parameters(), torch.empty(0)).device
        x, reference = photos.images("held_out", SEEN), photos.images("train", REFERENCE)
        return cls(model, x.to(device), reference.to(device), photos, run, seed)

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


Part: TypeAlias = Callable[[Subject], Section]
"""One section of the page, made from the subject alone."""
