"""Deblurring: an image from the low frequencies that a Gaussian blur has left."""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from copyfold.errors import within
from copyfold.problems.base import Problem
from copyfold.types import Images


@dataclass(frozen=True)
class Deblur(Problem):
    r"""Deblurring: a Gaussian blur of `std` pixels, where its gain is not too small.

        A = C^T G C        C: the cosine transform (DCT-II, orthonormal) along both axes
        g[k, l] = exp(-std^2 pi^2 (k^2 / h^2 + l^2 / w^2) / 2) where that is at least `threshold`, else 0
        A^+ = C^T G^+ C,   g^+ = 1 / g, or 0 where g is 0

    That is the blur of an image mirrored beyond its border (b a | a b c d | d c). Frequencies whose gain is below
    the threshold count as not measured: they are 0 in a measurement, and are not looked at in a given one, as
    dividing by so small a gain would multiply the rounding of a photograph to 8 bits, an error of .0011, by 1 / g.
    The others are divided by their gain exactly.
    """

    std: float = 2.0
    threshold: float = 0.1

    def __post_init__(self) -> None:
        within("(0, inf)", self, std=self.std)
        within("(0, 1]", self, threshold=self.threshold)

    def measure(self, x: Images) -> Images:
        """The blurred image, without the frequencies whose gain is below the threshold."""
        return _scaled(x, self.gains(*x.shape[2:]))

    def invert(self, m: Images) -> Images:
        """The image with the measured frequencies alone, each divided by its gain."""
        gains = self.gains(*m.shape[2:])
        return _scaled(m, torch.where(gains > 0, 1 / gains, 0))

    def gains(self, height: int, width: int) -> Tensor:
        """g: h x w in float64, 0 where a frequency is not measured."""
        rows, columns = (torch.arange(side, dtype=torch.float64) / side for side in (height, width))
        gains = torch.exp(-((self.std * math.pi) ** 2) / 2 * (rows[:, None] ** 2 + columns**2))
        return torch.where(gains >= self.threshold, gains, 0)


def _scaled(x: Images, gains: Tensor) -> Images:
    """C^T (gains * (C x)): an image with its frequencies multiplied."""
    rows, columns = (_cosines(side).to(x, non_blocking=x.is_cuda) for side in x.shape[2:])
    return rows.T @ (gains.to(x, non_blocking=x.is_cuda) * (rows @ x @ columns.T)) @ columns


@lru_cache(maxsize=4)
def _cosines(side: int) -> Tensor:
    """The orthonormal cosine transform of `side` numbers, as a matrix in float64: frequency x place."""
    k, i = torch.arange(side, dtype=torch.float64)[:, None], torch.arange(side) + 0.5
    waves = torch.cos(math.pi * k * i / side) * (2 / side) ** 0.5
    waves[0] *= 0.5**0.5
    return waves
