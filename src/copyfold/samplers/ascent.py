"""Ascent: images from the prior that a denoiser has learned, by following its residual from coarse to fine."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Literal, TypeAlias

import torch
from torch import Generator, Tensor

from copyfold.corruptions import noise_like
from copyfold.errors import Diverged, UsageError, at_least, one_of, within
from copyfold.models.base import Autoencoder, class_name
from copyfold.samplers.base import Sampler, Trace
from copyfold.types import Film, Float, Images, Shape

log = logging.getLogger("copyfold")

Level: TypeAlias = Literal["planned", "estimated"]

Denoiser: TypeAlias = Callable[[Images, float], Images]
"""denoise(y, std): y without its noise, whose planned std is given; a blind denoiser ignores it."""

Project: TypeAlias = Callable[[Images, Images], Images]
"""project(f, y): the step to take at y in place of the residual f = D(y) - y, for constrained images."""

PARTED = 2.0  # times the planned level, from which an image is off course
AWAY = 5.0  # times the first level; that of an image of two values varies by chance to four times it
UNTRAINED = 0.75  # of the std of pure noise: a network that sees less of it was not trained to remove it


@dataclass(frozen=True)
class Step:
    """One step of an ascent, before y is changed."""

    image: Images
    """y, with its noise."""
    denoised: Images
    """D(y), clipped where the ascent clips; without the projection."""
    estimated: Float[Tensor, "b"]
    """The std of the noise of each y, by the length of the step: |f| / sqrt(c h w)."""
    planned: float
    """The std of the noise by the schedule."""


@dataclass(frozen=True)
class Ascent(Sampler):
    r"""Stochastic coarse-to-fine ascent: samples from a denoiser's prior.

        f = D(y) - y
        y <- y + h f + g z          z ~ N(0, I),   t = 1, 2, ...
        h = h0 t / (1 + h0 (t - 1)),   g^2 = ((1 - beta h)^2 - (1 - h)^2) s^2

    D is a denoiser trained on noise of all levels from `to_std` to `from_std`; it need not be told the level
    (`Gaussian(std=(0.01, 1.0))`). Its residual f is s^2 times the score of the noisy images (Miyasawa, 1961).
    Each step removes more noise than it adds: the level s of the noise falls to (1 - beta h) s, and the image
    forms from coarse to fine. Start from noise N(mean, from_std^2) to generate. Yields the denoised images D(y):
    the first of pure noise, the last of y with noise of std `to_std`. `trace` also gives the levels, `ascend`
    also y. A `to_std` below the levels of the training makes the worst images: stripes, or one grey; networks
    without additive constants go on to amplify them.

    s is the planned level: `from_std` at first, multiplied by 1 - beta h in every step. With level =
    "estimated", as in the paper, s is |f| / sqrt(c h w), of each image by itself, and an image stays as it is
    once that is at most `to_std`; the estimate is below the level where detail is removed with the noise, so
    that these end after fewer steps. A film has `length()` frames: until the planned level is at most `to_std`,
    or `steps` of them. `clip` clips D(y) to [0, 1]: the mean of images in [0, 1] is there too, so that this
    cannot make a denoiser worse, and no image becomes brighter without end.

    For the best denoiser the limit of small h is exact for every beta, and detail of standard deviation d gets a
    std too small by about h / 4 of it, h being that of the step where s passes d: with the defaults 18 % for d =
    0.1. `h_max` limits h: 0.1 leaves 2 %, for 925 steps in place of 201. A larger beta takes fewer steps; it
    adds less noise, which corrects the errors of a trained network, and beta = 1 adds none. Diverged where the
    level of an image becomes NaN, or five times its first one.

    Z. Kadkhodaie and E. P. Simoncelli, "Stochastic solutions for linear inverse problems using the prior implicit
    in a denoiser" (2021, arXiv:2007.13640), algorithm 1.

    When: For the best images that copyfold makes, with a denoiser of all levels (recipe `prior`).
    Cost: 201 passes with the defaults, 925 with h_max = 0.1.
    Fails: Networks trained on few levels of noise, or only to copy: stripes or one grey.
    Source: Kadkhodaie and Simoncelli, 2021 (arXiv:2007.13640).
    """

    beta: float = 0.05
    h0: float = 0.01
    from_std: float = 1.0
    to_std: float = 0.01
    mean: float = 0.5
    steps: int | None = None
    level: Level = "planned"
    clip: bool = True
    h_max: float = 1.0

    def __post_init__(self) -> None:
        if self.steps is not None:
            at_least(1, steps=self.steps)
        one_of(Level, "level", self.level)
        within("(0, 1]", self, beta=self.beta, h0=self.h0, h_max=self.h_max)
        within("(0, inf)", self, from_std=self.from_std, to_std=self.to_std)
        if self.to_std >= self.from_std:
            raise UsageError(
                f"from_std={self.from_std} and to_std={self.to_std} are invalid: expected from_std > to_std"
            )

    def noise(self, count: int, shape: Shape, rng: Generator) -> Images:
        """Noise N(mean, from_std^2) to start from, count x c x h x w, where rng is."""
        return noise_like(torch.empty(count, *shape, device=rng.device), self.mean, self.from_std, rng)

    def length(self) -> int:
        """How many frames a film has: `steps`, or as many as the plan takes."""
        return len(self.plan())

    def plan(self) -> list[tuple[float, float]]:
        """The planned std and h of every step, to the first std of at most to_std, or `steps` of them."""
        plan: list[tuple[float, float]] = []
        std = self.from_std
        for t in count(1):
            h = min(self.h_max, self.h0 * t / (1 + self.h0 * (t - 1)))
            plan.append((std, h))
            if t == self.steps or (self.steps is None and std <= self.to_std):
                break
            std *= 1 - self.beta * h
        return plan

    def doubt(self, model: Autoencoder) -> str:
        """Where the model does not take pure noise for noise: one trained to copy, or on other levels."""
        device = next(iter(model.parameters()), torch.empty(0)).device
        x = self.noise(4, model.shape, Generator().manual_seed(0)).to(device)
        training = model.training
        with torch.no_grad():
            found = (model.eval()(x) - x).square().mean().sqrt().item()
        model.train(training)
        if UNTRAINED * self.from_std < found < self.from_std / UNTRAINED:
            return ""
        return (
            f"this {class_name(model)} takes noise of std {self.from_std:g} for noise of std {found:.2g}: "
            "Ascent needs a denoiser trained on all levels, as with "
            f"Gaussian(std=({self.to_std:g}, {self.from_std:g})), "
            "or a from_std and to_std within those that this one was trained on"
        )

    def remedy(self, model: Autoencoder) -> str:
        """Longer training, on noise of the level that it starts from."""
        del model
        return f"train the denoiser longer, on noise of all levels up to std {self.from_std:g}"

    def __call__(self, model: Autoencoder, x: Images, rng: Generator) -> Film:
        """Yield the denoised images D(y), starting at y = x; a warning is logged as in `trace`."""
        for frame, _ in self.trace(model, x, rng):
            yield frame

    def trace(self, model: Autoencoder, x: Images, rng: Generator) -> Trace:
        """The film; with each frame the "estimated noise" of every image, and the "planned noise" of all.

        A warning is logged, at once and only once, where the estimated noise of an image is more than twice the
        planned one, or that of most images less than half of it.
        """
        told = False
        for n, step in enumerate(self.ascend(lambda y, _: model(y), x, rng), 1):
            if not told and (remark := self._parted(step)):
                log.warning("at step %d of %d %s", n, self.length(), remark)
                told = True
            planned = torch.tensor(step.planned)
            yield step.denoised, {"estimated noise": step.estimated, "planned noise": planned}

    @torch.no_grad()
    def ascend(
        self, denoise: Denoiser, y: Images, rng: Generator, project: Project | None = None
    ) -> Iterator[Step]:
        r"""The steps of an ascent from y, `length()` of them; the first has y itself.

        The result is the last step's `denoised`, or its `image`, which still has noise of std `to_std`. `noise`
        makes a y to start from. `denoise` may be any function; it is called once for each step.

        `project(f, y)` changes f before its length is measured and the step is taken. For images with the
        measurements M^T y = m, M of orthonormal columns, it is

            (I - M M^T) f + M (m - M^T y)

        (algorithm 2 of the paper): the prior decides what is not measured. Diverged where the level of an image
        is NaN, or five times the larger of `from_std` and its first one.
        """
        bound = y.new_tensor(self.from_std)
        for n, (std, h) in enumerate(self.plan(), 1):
            denoised = denoise(y, std)
            if self.clip:
                denoised = denoised.clamp(0, 1)
            f = denoised - y if project is None else project(denoised - y, y)
            estimated = f.square().mean((1, 2, 3)).sqrt()
            bound = estimated.clamp(min=self.from_std) if n == 1 else bound
            if not (estimated <= AWAY * bound).all():
                raise Diverged(self._ran_away(n, estimated, bound, std))
            yield Step(y, denoised, estimated, std)
            level = estimated.view(-1, 1, 1, 1) if self.level == "estimated" else y.new_tensor(std)
            added = ((1 - self.beta * h) ** 2 - (1 - h) ** 2) ** 0.5 * level
            y = torch.where(level > self.to_std, y + h * f + added * noise_like(y, rng=rng), y)

    def _parted(self, step: Step) -> str:
        """What is wrong where levels are not as planned; "" where they are."""
        planned, middle = max(step.planned, self.to_std), step.estimated.median().item()
        high = int((step.estimated > PARTED * planned).sum())
        if high:
            return (
                f"the noise of {high} of {len(step.image)} images is estimated at more than twice the planned std "
                f"{planned:.2g}, {step.estimated.max():.2g} at most, as of images that run away: take a to_std "
                "that the denoiser was trained on, and clip=True"
            )
        if PARTED * middle >= planned:
            return ""
        levels = f"the noise of the images is estimated at std {middle:.2g} (median), and {planned:.2g} is planned"
        if self.level == "estimated":
            return f'{levels}: they end after fewer steps; level="planned" takes them all'
        return f"{levels}: the denoiser leaves noise as it is; train it on noise of that std, or lower from_std"

    def _ran_away(self, n: int, estimated: Float[Tensor, "b"], bound: Float[Tensor, "b"], std: float) -> str:
        """What is wrong, and what keeps an ascent on course."""
        image = int((~(estimated <= AWAY * bound)).nonzero()[0])
        off = [
            name for name, on in (("clip=True", self.clip), ('level="planned"', self.level == "planned")) if not on
        ]
        advice = "take " + " and ".join(off) if off else "train the denoiser longer, and on noise of these levels"
        return (
            f"the ascent ran away at step {n} of {self.length()}: the noise of image {image} is estimated at std "
            f"{estimated[image]:.3g}, and {std:.2g} is planned; {advice}"
        )
