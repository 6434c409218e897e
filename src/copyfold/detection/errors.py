"""Scores by the error of the reconstruction, compared with what is usual at that place."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from copyfold.corruptions import Blur
from copyfold.detection.base import Judge, ModelScore, Scored, Seen
from copyfold.errors import at_least, within
from copyfold.models.base import Autoencoder
from copyfold.types import Float, Images

LEAST = (
    1e-6  # added to squared errors and contrasts before their logarithm: a quarter of the step of 8 bits, squared
)
DRAWN = 2**20  # places that the levels of contrast are drawn from


@dataclass(frozen=True)
class RelativeError(ModelScore):
    r"""Squared error over what is usual at that place and at that contrast.

        z(p) = |log e(p) - g(c(p)) - b(p)| / s(c(p)),   score = sqrt(mean over p of z(p)^2)

    e is the squared error of the reconstruction, mean over channels and over a Gaussian window of standard
    deviation `window` in pixels; c the variance of the image in the same window. Of the normal images, g and s are
    the mean and the standard deviation of log e at each of `levels` levels of contrast, and b what is left at each
    place. By the plain error an empty image, which most models copy well, comes below all normal ones; here too
    small an error is as unusual as too large a one. The map is z: where the error is unusual, on either side.
    """

    window: float = 2.0
    levels: int = 16

    def __post_init__(self) -> None:
        within("(0, inf)", self, window=self.window)
        at_least(2, levels=self.levels)

    def look(self, seen: Seen) -> Float[Tensor, "b two h w"]:
        """The logarithms of squared error and of contrast around every pixel."""
        blur = Blur(_kernel(self.window), self.window)
        error = _around((seen.copy - seen.x).square(), seen.x, self.window)
        contrast = (blur(seen.filled.square()) - blur(seen.filled).square()).mean(1)
        return torch.stack([error + LEAST, contrast.clamp(min=0) + LEAST], 1).log()

    def learn(self, model: Autoencoder, looked: Tensor) -> Judge:
        """Learn the usual error at every level of contrast, and then at every place."""
        errors, contrasts = looked.unbind(1)
        some = contrasts.flatten()[:: max(1, contrasts.numel() // DRAWN)]
        inner = torch.arange(1, self.levels, device=some.device) / self.levels
        edges = some.sort().values[(inner * len(some)).long()]
        level = torch.bucketize(contrasts.contiguous(), edges)
        usual = _means(errors, level, self.levels)
        left = errors - usual[level]
        place = left.mean(0)
        spread = _means((left - place).square(), level, self.levels).sqrt().clamp(min=1e-3)

        def judge(looked: Tensor) -> Scored:
            error, contrast = looked.unbind(1)
            level = torch.bucketize(contrast.contiguous(), edges)
            z = (error - usual[level] - place).abs() / spread[level]
            return Scored(z.flatten(1).square().mean(1).sqrt(), z)

        return judge


@dataclass(frozen=True)
class RestorationError(ModelScore):
    r"""The change by a network taught to repair, over what is usual at that place.

        z(p) = (a(p) - m(p)) / s(p),   score = mean of the largest `share` of z

    a is the absolute difference of image and reconstruction, mean over channels and over a Gaussian window of
    standard deviation `window` in pixels; m and s its mean and standard deviation at each place over the normal
    images, s not below its median over places. For a network that was trained to undo defects (corruption
    `Patches`, recipe `defects`), which a normal image passes unchanged; any autoencoder is taken. The map is z.
    """

    window: float = 1.5
    share: float = 0.01

    def __post_init__(self) -> None:
        within("(0, inf)", self, window=self.window)
        within("(0, 1]", self, share=self.share)

    def look(self, seen: Seen) -> Float[Tensor, "b h w"]:
        """The absolute difference of image and reconstruction around every pixel."""
        return _around((seen.copy - seen.x).abs(), seen.x, self.window)

    def learn(self, model: Autoencoder, looked: Tensor) -> Judge:
        """Learn the usual change at every place."""
        mean, spread = looked.mean(0), looked.std(0, correction=0)
        spread = torch.maximum(spread, spread.flatten().sort().values[spread.numel() // 2]).clamp(min=LEAST)

        def judge(change: Tensor) -> Scored:
            z = (change - mean) / spread
            most = max(1, round(self.share * z[0].numel()))
            return Scored(z.flatten(1).topk(most).values.mean(1), z)

        return judge


def _around(values: Images, x: Images, window: float) -> Float[Tensor, "b h w"]:
    """The mean around every pixel, of those that are not missing in x; 0 where all are."""
    blur, missing = Blur(_kernel(window), window), x.isnan()
    if not missing.any():
        return blur(values).mean(1)
    share = blur((~missing).to(values)).mean(1)
    return blur(values.masked_fill(missing, 0)).mean(1) / share.clamp(min=LEAST)


def _means(values: Tensor, level: Tensor, levels: int) -> Float[Tensor, "levels"]:
    """The mean of the values at each level; at a level without any, that of all."""
    flat, place = values.flatten().double(), level.flatten()
    sums = torch.zeros(levels, dtype=flat.dtype, device=flat.device).scatter_add_(0, place, flat)
    counts = torch.zeros_like(sums).scatter_add_(0, place, torch.ones_like(flat))
    return torch.where(counts > 0, sums / counts.clamp(min=1), flat.mean()).to(values)


def _kernel(std: float) -> int:
    """The pixels of a window: two standard deviations to each side."""
    return 2 * math.ceil(2 * std) + 1
