"""Ascent: images from the prior that a denoiser has learned, by following its residual from coarse to fine."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Literal, TypeAlias

import torch
from torch import Generator, Tensor

from copyfold.corruptions import noise_like
from copyfold.errors import UsageError, at_least, one_of
from copyfold.models.base import Autoencoder
from copyfold.samplers.base import Sampler
from copyfold.types import Film, Float, Images, Shape

Level: TypeAlias = Literal["estimated", "planned"]

Denoiser: TypeAlias = Callable[[Images, float], Images]
"""denoise(y, std): images without the noise of y, which has about this std; a blind one ignores it."""

Project: TypeAlias = Callable[[Images, Images], Images]
"""project(f, y): the step to take in place of f = D(y) - y, of its shape; for constrained images."""


@dataclass(frozen=True)
class Step:
    """One step of an ascent, before y is changed; every image has a level of its own."""

    image: Images
    """y, with noise."""
    denoised: Images
    """D(y), clipped if the ascent clips; without the projection."""
    estimated: Float[Tensor, "b"]
    """The std of the noise in y by the length of the step to take: |f| / sqrt(c h w)."""
    planned: float
    """The std of the noise that y should have."""


@dataclass(frozen=True)
class Ascent(Sampler):
    r"""Stochastic coarse-to-fine ascent: samples of the prior in a denoiser.

    f(y) = D(y) - y,   s^2 = |f(y)|^2 / (c h w)
    y <- y + h_t f(y) + g z        h_t = h0 t / (1 + h0 (t - 1)),   z ~ N(0, I)
                                   g^2 = ((1 - beta h_t)^2 - (1 - h_t)^2) s^2
    """

    beta: float = 0.05
    h0: float = 0.01
    from_std: float = 1.0
    to_std: float = 0.01
    mean: float = 0.5
    steps: int | None = None
    level: Level = "estimated"
    clip: bool = False

    def __post_init__(self) -> None:
        if self.steps is not None:
            at_least(1, steps=self.steps)
        one_of(Level, "level", self.level)
        for name in ("beta", "h0"):
            if not 0 < getattr(self, name) <= 1:
                raise UsageError(f"{name}={getattr(self, name)} is invalid: expected a number above 0, at most 1")
        if not 0 < self.to_std <= self.from_std:
            raise UsageError(
                f"to_std={self.to_std} is invalid: expected a number above 0, at most {self.from_std}"
            )

    def noise(self, count: int, shape: Shape, rng: Generator) -> Images:
        """Noise N(mean, from_std^2) to start from, count x c x h x w, where rng is."""
        return noise_like(torch.empty(count, *shape, device=rng.device), self.mean, self.from_std, rng)

    def __call__(self, model: Autoencoder, x: Images, rng: Generator) -> Film:
        """Yield the denoised images D(y), `length()` times, starting at y = x."""
        for step in self.ascend(lambda y, _: model(y), x, rng):
            yield step.denoised

    def plan(self) -> list[tuple[float, float]]:
        """(planned std, h) of every step; the last std is the first of at most to_std."""
        steps, std = [], self.from_std
        for t in count(1):
            h = self.h0 * t / (1 + self.h0 * (t - 1))
            steps.append((std, h))
            if len(steps) == self.steps or (self.steps is None and std <= self.to_std):
                return steps
            std *= 1 - self.beta * h
        raise AssertionError

    @torch.no_grad()
    def ascend(
        self, denoise: Denoiser, y: Images, rng: Generator, project: Project | None = None
    ) -> Iterator[Step]:
        """The steps of the ascent from y, the first with y itself, the last of level to_std: its `denoised` is the
        result, or its `image`, which has noise of std to_std left.

        `project(f, y)` changes the step before its length is measured and it is taken. For y that should meet
        linear measurements, M^T y = m with orthonormal M, it is (I - M M^T) f + M (m - M^T y), algorithm 2 of the
        paper.
        """
        for std, h in self.plan():
            denoised = denoise(y, std)
            f = denoised - y
            if project is not None:
                f = project(f, y)
            estimated = f.square().mean((1, 2, 3)).sqrt()
            yield Step(y, denoised, estimated, std)
            s = estimated.view(-1, 1, 1, 1) if self.level == "estimated" else std
            g = ((1 - self.beta * h) ** 2 - (1 - h) ** 2) ** 0.5
            y = y + h * f + g * s * noise_like(y, rng=rng)
