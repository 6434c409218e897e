"""Problems in which some pixels are known and the others are missing."""

from abc import abstractmethod
from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor

from copyfold.errors import UsageError, at_least, within
from copyfold.problems.base import Problem
from copyfold.types import Images


class Known(Problem):
    r"""Some pixels are known: (A x)[i] = x[i] where pixel i is known, 0 where it is missing.

    A is its own pseudo-inverse, A^+ = A = M M^T. What a measurement has at the missing pixels is not looked at; it
    may be NaN.
    """

    @abstractmethod
    def known(self, height: int, width: int) -> Tensor:
        """Which pixels are known: bool, h x w, or c x h x w where channels differ."""

    def measure(self, x: Images) -> Images:
        """The image with 0 at the missing pixels."""
        known = self.known(*x.shape[2:]).to(x.device)
        return torch.where(known, x, x.new_zeros(()))

    def invert(self, m: Images) -> Images:
        """The same."""
        return self.measure(m)


@dataclass(frozen=True)
class Inpaint(Known):
    """Inpainting: the pixels where `mask` is 0 are missing, the others are known.

    `mask` has the height and width of the images, h x w, or 1 x h x w; or c x h x w, one for every channel. The
    command line reads it from the image file of --mask, in which black is missing.
    """

    mask: Tensor | None = field(default=None, repr=False, compare=False)

    def known(self, height: int, width: int) -> Tensor:
        """The mask; UsageError where there is none, or where it is of another size."""
        if self.mask is None:
            raise UsageError("Inpaint needs a mask: give one of the images' height and width, 0 where they miss")
        if self.mask.dim() not in (2, 3) or self.mask.shape[-2:] != (height, width):
            given = "x".join(map(str, self.mask.shape))
            raise UsageError(f"a mask of {given} does not fit images of {height}x{width}: expected that size")
        return self.mask != 0


@dataclass(frozen=True)
class Missing(Known):
    r"""Pixels are missing at random, each with probability `rate`, in all channels.

        (A x)[i] = k[i] x[i]        k[i] ~ Bernoulli(1 - rate)

    k is drawn from `seed`, and is the same for all images of a size.
    """

    rate: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        at_least(0, seed=self.seed)
        within("[0, 1)", self, rate=self.rate)

    def known(self, height: int, width: int) -> Tensor:
        """The pixels that are known."""
        return torch.rand(height, width, generator=Generator().manual_seed(self.seed)) >= self.rate
