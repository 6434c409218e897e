"""Enlarging: an image from its means over blocks of pixels."""

from dataclasses import dataclass

import torch.nn.functional as F

from copyfold.errors import MEGAPIXELS, UsageError, at_least
from copyfold.problems.base import Problem
from copyfold.types import Images


@dataclass(frozen=True)
class Enlarge(Problem):
    r"""Enlarging: every measured pixel is the mean of a block of pixels.

        (A x)[i, j] = 1 / f^2 sum_{u,v < f} x[f i + u, f j + v]        f = factor
        A^+ = f^2 A^T: every measured pixel repeated over its block;   M = f A^T

    Blocks do not overlap, and none goes beyond the border: UsageError for images whose sides the factor does not
    divide, and for measurements whose images would have more than 100 megapixels. A photograph that was made small
    by another filter than the mean comes out a little too soft.
    """

    factor: int = 2

    def __post_init__(self) -> None:
        at_least(2, factor=self.factor)
        self._check(1, 1)

    def measure(self, x: Images) -> Images:
        """The means of the blocks: b c h/f w/f."""
        if any(side % self.factor for side in x.shape[2:]):
            raise UsageError(
                f"images of {x.shape[2]}x{x.shape[3]} are invalid for Enlarge(factor={self.factor}): expected "
                f"sides that {self.factor} divides"
            )
        return F.avg_pool2d(x, self.factor)

    def invert(self, m: Images) -> Images:
        """Every pixel repeated over its block."""
        self._check(*m.shape[2:])
        return m.repeat_interleave(self.factor, 2).repeat_interleave(self.factor, 3)

    def _check(self, height: int, width: int) -> None:
        """UsageError, before memory is taken, for images that are too large for a photograph."""
        if height * width * self.factor**2 > MEGAPIXELS * 1_000_000:
            raise UsageError(
                f"Enlarge(factor={self.factor}) is invalid for images of {height}x{width}, which become "
                f"{height * self.factor}x{width * self.factor}: expected at most {MEGAPIXELS} megapixels"
            )
