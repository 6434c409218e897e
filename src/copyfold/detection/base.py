"""What a score of outliers is: learned from normal images, a number and a heat map for any others."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import torch
from torch import Tensor

from copyfold.catalogue import Recorded
from copyfold.measures import filled
from copyfold.models.base import Autoencoder
from copyfold.types import Code, Float, Images

PART = 64
"""Images that are computed together."""


@dataclass(frozen=True)
class Scored:
    """What a detector says of images."""

    scores: Float[Tensor, "b"]
    """The higher, the less like the normal images."""
    maps: Float[Tensor, "b h w"] | None = None
    """How unusual each place is, in standard deviations of what is usual there; None of a score without places."""

    def __len__(self) -> int:
        return len(self.scores)


Detector: TypeAlias = Callable[[Images], Scored]
"""Scores any number of images of the model's size; the result for one does not depend on the others."""

Judge: TypeAlias = Callable[[Tensor], Scored]
"""Scores images by what `Score.look` says of them, a row for each."""


class Seen:
    """A few images, and what a model makes of them, each of it computed once, when it is first asked for."""

    def __init__(self, model: Autoencoder, x: Images) -> None:
        self.model, self.x = model, x

    @cached_property
    def filled(self) -> Images:
        """The images without missing pixels, as the model sees them."""
        return filled(self.x)

    @cached_property
    def code(self) -> Code:
        """E(x)."""
        return self.model.encode(self.filled)

    @cached_property
    def copy(self) -> Images:
        """The reconstruction D(E(x)), from `code` where that is all that the model's own pass does."""
        plain = type(self.model).forward is Autoencoder.forward and self.x.shape[1:] == self.model.shape
        return self.model.decode(self.code) if plain else self.model(self.filled)


class Score(Recorded, ABC):
    """How unlike normal images an image is: a score learned from these alone.

    A call takes a model and normal images, and returns a detector for others. The model is in eval mode with
    running statistics, and is not changed. Pixels that are missing are NaN: models see `measures.filled` images,
    and errors leave the pixels out. Scores have no unit in common: `outliers` compares each with that of normal
    images, and `Combined` puts several together. An image that is one of the normal images itself is scored as if
    it were not.
    """

    @abstractmethod
    def __call__(self, model: Autoencoder, normal: Images) -> Detector:
        """Learn what is usual from normal images, b x c x h x w, where the model is; nothing is random."""

    def look(self, seen: Seen) -> Tensor:
        """What it looks at in a few images, a row for each: here the images themselves."""
        return seen.x

    def learn(self, model: Autoencoder, looked: Tensor) -> Judge:
        """Learn from what was looked at in normal images."""
        return self(model, looked)


class ModelScore(Score):
    """A score of what a model makes of images: it says what it looks at, and learns from that of normal ones.

    Scores in `Combined` look at the same pass of the images through the model.
    """

    @abstractmethod
    def look(self, seen: Seen) -> Tensor:
        """What it looks at in a few images, a row for each."""

    @abstractmethod
    def learn(self, model: Autoencoder, looked: Tensor) -> Judge:
        """Learn from what was looked at in normal images."""

    @torch.no_grad()
    def __call__(self, model: Autoencoder, normal: Images) -> Detector:
        """Look at the normal images, a few at a time, and learn from that."""
        judge = self.learn(model, torch.cat([self.look(Seen(model, part)) for part in normal.split(PART)]))

        @torch.no_grad()
        def detect(x: Images) -> Scored:
            return judge(self.look(Seen(model, x)))

        return detect


def in_parts(detect: Callable[[Tensor], Scored], rows: Tensor) -> Scored:
    """The same of many rows, computed a few at a time."""
    found = [detect(part) for part in rows.split(PART)]
    maps = [part.maps for part in found if part.maps is not None]
    return Scored(torch.cat([part.scores for part in found]), torch.cat(maps) if maps else None)
