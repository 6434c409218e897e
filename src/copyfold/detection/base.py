"""What a score of outliers is: learned from normal images, a number and a heat map for any others."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from copyfold.catalogue import Recorded
from copyfold.models.base import Autoencoder
from copyfold.types import Float, Images

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


def in_parts(detect: Detector, x: Images) -> Scored:
    """The same of many images, computed a few at a time."""
    found = [detect(part) for part in x.split(PART)]
    maps = [part.maps for part in found if part.maps is not None]
    return Scored(torch.cat([part.scores for part in found]), torch.cat(maps) if maps else None)
