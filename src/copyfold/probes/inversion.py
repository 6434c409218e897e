"""Feature inversion: find an image whose representation in a layer equals that of another image."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from copyfold.corruptions import Blur, Clean, Corruption, Mix, noise_like, uniform_like
from copyfold.errors import UsageError, at_least, one_of, within
from copyfold.measures import distance, filled, flatness, kurtosis, noise_level, normality, psnr
from copyfold.probes.base import Probe, Reading, still, tap
from copyfold.types import Film, Float, Images, Statistics

Start: TypeAlias = Literal["noise", "constant", "uniform", "zero"]
Difference: TypeAlias = Literal["l1", "l2"]
Optimizer: TypeAlias = Literal["descent", "adam", "lbfgs"]
Span: TypeAlias = tuple[float, float]
"""From the first step to the last, linearly."""
Loss: TypeAlias = Callable[[Images], tuple[Tensor, Images]]
"""Images to the loss of every image, and its gradient."""

MEMORY = 20  # past steps that L-BFGS uses
TINY = 1e-30
ENOUGH = 1e-4  # Armijo condition: a step with less than this part of the predicted decrease is shortened


@dataclass(frozen=True)
class Inversion(Probe):
    r"""What a layer represents: an image optimised until it gives x's output there.

        l2:  L(a) = scale/2 ||O(a) - O(x~)||^2        l1:  L(a) = scale ||O(a) - O(x~)||_1        x~ ~ C(x)
        descent:  a[n+1] = a[n] - rate dL/da          a[0] ~ N(mean, std^2), or as `start` or `first` say

    O is the output of `layer`, a name of model.named_modules(), "" the whole model: of any nn.Module, in eval
    mode. Differences that O does not see stay as in a[0]. Images are optimised independently, except under batch
    `statistics`; a step is one pass forward and backward. "lbfgs" estimates curvature from past steps, and takes
    back a step that does not lower the loss; its first step changes no pixel by more than rate[0]. Where O is
    rough, as with untrained weights, "adam" with rate (0.03, 0.003) gets farther. "adam" and "descent" go from
    rate[0] to rate[1], and can `blur` after every step (3x3, std from..to), `clamp` to [0, 1], and give the model
    the image rolled by up to `jitter` pixels. With size < 1 the image has that share of x's sides, and the model
    gets it enlarged; `after` is another inversion, whose result this one starts from.

    Numbers per image: "layer" = ||O(a) - O(x~)||_2, "image" = ||a - x||_2, "psnr" in dB; of the noise a - x:
    "noise" (std of what is white in it), "kurtosis", "normality" and "flatness" (see `measures`). To compare,
    "layer, reference" and "image, reference" are the distances of x~ + N(0, shift^2) from x~: a layer nearer
    than that to an image farther than that is not one-to-one. Where there is a corruption, "image, corrupted" =
    ||a - x~||_2, and "corruption" = ||x~ - x||_2. Images: "target" x, "corrupted" x~, "found" a.
    Mahendran and Vedaldi, 2015 (arXiv:1412.0035); the class methods have the settings of the essay's scripts.

    When: To see what information a layer holds about an image.
    Cost: `steps` passes forward and backward, and one more by descent and Adam.
    Fails: The search may stop early: a large "layer" distance says that nothing follows about the layer.
    Source: Mahendran and Vedaldi, 2015 (arXiv:1412.0035).
    """

    layer: str = ""
    steps: int = 50
    optimizer: Optimizer = "lbfgs"
    distance: Difference = "l2"
    scale: float = 1.0
    rate: Span = (0.1, 0.1)
    start: Start = "noise"
    mean: float = 0.7
    std: float = 1 / 20
    first: Images | None = None
    blur: Span | None = None
    jitter: int = 0
    clamp: bool = False
    size: float = 1.0
    after: "Inversion | None" = None
    corruption: Corruption = field(default_factory=Clean)
    shift: float = 1 / 18
    statistics: Statistics = "running"

    def __post_init__(self) -> None:
        at_least(1, steps=self.steps)
        at_least(0, jitter=self.jitter)
        one_of(Optimizer, "optimizer", self.optimizer)
        one_of(Difference, "distance", self.distance)
        one_of(Start, "start", self.start)
        one_of(Statistics, "statistics", self.statistics)
        within("(0, inf)", self, scale=self.scale)
        for name in ("rate", "blur"):
            span = getattr(self, name)
            if span is not None:
                object.__setattr__(self, name, tuple(span))  # of the list that a recipe has
                for end in span:
                    within("(0, inf)", self, **{name: end})
        within("(0, 1]", self, size=self.size)
        within("[0, inf)", self, std=self.std, shift=self.shift)
        if self.optimizer == "lbfgs" and (self.blur or self.jitter or self.clamp):
            raise UsageError(
                "Inversion(optimizer='lbfgs') is invalid with blur, jitter or clamp, which break its curvature: "
                "give optimizer=adam, or descent"
            )

    @classmethod
    def unet_variations(cls, layer: str = "") -> "Inversion":
        """Of noised images: the essay's unet_variations.py, lines 380-507; 1000 steps."""
        return cls._script(layer, 0.01, 1000, corruption=Mix(0.5), statistics="batch")

    @classmethod
    def unet_representations(cls, layer: str = "") -> "Inversion":
        """Of clean images in eval mode: the essay's unet_representations.py, lines 270-385; 500 steps."""
        return cls._script(layer, 0.005, 500)

    @classmethod
    def unet_linear_attention(cls, layer: str = "") -> "Inversion":
        """Of clean images with batch statistics: unet_linear_attention.py, lines 564-692; 1000 steps."""
        return cls._script(layer, 0.02, 1000, statistics="batch")

    @classmethod
    def mlp_representations(cls, layer: str = "") -> "Inversion":
        """Of wide linear layers: the essay's author's depth-representation, mlp_representations.py."""
        return cls._script(layer, 0.35, 500)

    @classmethod
    def prior_generator(cls, layer: str = "") -> "Inversion":
        """With a blur: the author's prior_CIFAR100_generator.py, lines 243-295; there of ResNet50's layer3."""
        return cls._script(layer, 0.002, 200, (2.5, 1.5), blur=(2.0, 0.5), mean=0.6)

    @classmethod
    def growing(cls, layer: str = "") -> "Inversion":
        """In three octaves: the author's resnet_cifar_generator.py, lines 401-411, which has no layer as target.

        Its 32, 50 and 60 pixels as shares of x's sides, with its steps, rates and blur; the scale, which it has
        not, is that of prior_generator. Its crops, which a layer of fixed target has no use for, are left out.
        """
        scale = 0.002
        small = cls._script(layer, scale, 220, (2.5, 1.5), blur=(2.4, 0.8), size=32 / 60)
        middle = cls._script(layer, scale, 200, (1.5, 0.3), blur=(1.5, 0.4), size=50 / 60, after=small)
        return cls._script(layer, scale, 100, (1.5, 0.4), blur=(1.5, 0.4), after=middle)

    @classmethod
    def _script(cls, layer: str, scale: float, steps: int, rate: Span = (0.1, 0.1), **given: Any) -> "Inversion":
        """The settings that all those scripts share: gradient descent on the L1 norm."""
        return cls(layer, steps, "descent", "l1", scale, rate, **given)

    def film(self, model: nn.Module, x: Images, rng: Generator) -> Film:
        """Yield the images while they are optimised, of x's shape: a frame per step, first those of `after`."""
        for frame, _ in self.trace(model, x, rng):
            yield frame

    def trace(self, model: nn.Module, x: Images, rng: Generator, ended: Tensor | None = None) -> "Frames":
        """The same film, each frame with how far each image is from its target at the layer, by `distance`.

        The distances are those that the search goes by: of frames as the model was given them, at no further pass.
        Between frames the caller may set `ended[i]`: then image i is no longer computed, and what later frames
        have of it means nothing. With batch statistics all are computed.
        """
        yield from self._formed(model, self.corruption(filled(x), rng), rng, ended)

    def __call__(self, model: nn.Module, x: Images, rng: Generator) -> Reading:
        """Invert the layer, and compare the image found with x."""
        x = filled(x)
        seen = self.corruption(x, rng)
        ((found, _),) = deque(self._formed(model, seen, rng), maxlen=1)
        if not found.isfinite().all():
            raise UsageError(f"Inversion(rate={self.rate}, scale={self.scale}) diverged: lower rate or scale")
        near = seen + noise_like(seen, 0.0, self.shift, rng)
        with still(model, self.statistics), torch.no_grad():
            target, reached, beside = (tap(model, self.layer, a) for a in (seen, found, near))
        rest = found - x
        numbers = {
            "layer": distance(reached, target),
            "layer, reference": distance(beside, target),
            "image": distance(found, x),
            "image, reference": distance(near, seen),
            "psnr": psnr(found, x),
            "noise": noise_level(rest),
            "kurtosis": kurtosis(rest),
            "normality": normality(rest),
            "flatness": flatness(rest),
        }
        if isinstance(self.corruption, Clean):
            return Reading(numbers, {"target": x, "found": found})
        numbers |= {"image, corrupted": distance(found, seen), "corruption": distance(seen, x)}
        return Reading(numbers, {"target": x, "corrupted": seen, "found": found})

    def _formed(self, model: nn.Module, seen: Images, rng: Generator, ended: Tensor | None = None) -> "Frames":
        """The images after each step, with their distances from the target."""
        image = self._begun(seen, rng)
        if self.after is not None:
            for image, left in self.after._formed(model, seen, rng, ended):
                yield image, left
        with still(model, self.statistics), torch.no_grad():
            target = tap(model, self.layer, seen)

        def loss(a: Images) -> tuple[Tensor, Images]:
            if ended is None or self.statistics == "batch" or not ended.any():
                return of(a, target)
            losses, gradient, going = a.new_zeros(len(a)), torch.zeros_like(a), ~ended
            if going.any():
                losses[going], gradient[going] = of(a[going], target[going])
            return losses, gradient

        def of(a: Images, target: Tensor) -> tuple[Tensor, Images]:
            with still(model, self.statistics), torch.enable_grad():
                a = a.detach().requires_grad_()
                shown = self._shaken(_resized(a, seen.shape[2:]), rng)
                reached = tap(model, self.layer, shown)
                # By its length, a part that is no row per image may look like one
                if reached.shape != target.shape:
                    raise UsageError(f"the layer {self.layer!r} has no row per image: leave none of them out")
                rest = reached - target
                each = self.scale * (rest.abs() if self.distance == "l1" else rest.square() / 2).sum(dim=1)
                (gradient,) = torch.autograd.grad(each.sum(), a)
            return each.detach(), gradient

        sides = [max(1, round(self.size * side)) for side in seen.shape[2:]]
        find = self._curved if self.optimizer == "lbfgs" else self._stepped
        for a, each in find(_resized(image, sides), loss):
            left = each / self.scale if self.distance == "l1" else (2 * each / self.scale).sqrt()
            yield _resized(a, seen.shape[2:]), left

    def _begun(self, x: Images, rng: Generator) -> Images:
        """The image before the first step."""
        if self.first is not None:
            if self.first.shape[1] != x.shape[1] or len(self.first) not in (1, len(x)):
                raise UsageError(
                    f"first={tuple(self.first.shape)} does not fit images {tuple(x.shape)}: "
                    "give one image or one for each, with their channels"
                )
            return self.first.to(x).expand(len(x), -1, -1, -1)
        match self.start:
            case "noise":
                return noise_like(x, self.mean, self.std, rng)
            case "constant":
                return torch.full_like(x, self.mean)
            case "uniform":
                return uniform_like(x, rng).to(x)
            case "zero":
                return torch.zeros_like(x)

    def _shaken(self, a: Images, rng: Generator) -> Images:
        """The images rolled by a few pixels, all by the same."""
        if not self.jitter:
            return a
        by = torch.randint(-self.jitter, self.jitter + 1, (2,), generator=rng, device=rng.device)
        return a.roll(by.tolist(), (2, 3))

    def _stepped(self, a: Images, loss: Loss) -> "Frames":
        """Gradient descent or Adam with a linear rate, then blur and clamp after every step; with the losses."""
        a = a.clone()
        # eps is tiny because the gradient of a deep layer may be: Adam's step must not depend on its scale
        steps = torch.optim.Adam([a], eps=TINY) if self.optimizer == "adam" else torch.optim.SGD([a])
        _, a.grad = loss(a)
        for rate, std in zip(_span(self.rate, self.steps), _span(self.blur, self.steps), strict=True):
            steps.param_groups[0]["lr"] = rate
            steps.step()
            if std:
                a.copy_(Blur(3, std)(a))
            if self.clamp:
                a.clamp_(0, 1)
            losses, a.grad = loss(a)
            yield a.clone(), losses

    def _curved(self, a: Images, loss: Loss) -> "Frames":
        """L-BFGS with a line search, one evaluation per step, for each image independently; with the losses.

        Liu and Nocedal, "On the limited memory BFGS method for large scale optimization" (1989); step lengths by
        interpolation: Nocedal and Wright, Numerical Optimization (2006), section 3.5.
        """
        losses, gradient = loss(a)
        yield a, losses
        past: deque[Pair] = deque(maxlen=MEMORY)
        scale = self.rate[0] / gradient.abs().amax(dim=(1, 2, 3)).clamp(min=TINY)
        move = -_each(scale) * gradient
        for _ in range(1, self.steps):
            ahead, there = loss(a + move)
            slope = _dot(gradient, move)
            pays = _each(ahead <= losses + ENOUGH * slope)
            # A rejected step adds a pair of zeros, so that the memory of all images has the same length
            s, y = (torch.where(pays, v, torch.zeros_like(v)) for v in (move, there - gradient))
            inner = _dot(s, y)
            curved = inner > 1e-6 * (_dot(s, s) * _dot(y, y)).sqrt()
            past.append((s, y, torch.where(curved, 1 / inner, torch.zeros_like(inner))))
            scale = torch.where(curved, inner / _dot(y, y), scale)
            # The minimum of the parabola through both losses with this slope; NaN becomes the shortest step
            least = (slope / (2 * (slope + losses - ahead))).nan_to_num(0.0).clamp(0.1, 0.5)
            a, gradient = torch.where(pays, a + move, a), torch.where(pays, there, gradient)
            losses = torch.where(pays.flatten(), ahead, losses)
            move = torch.where(pays, _direction(gradient, past, scale), _each(least) * move)
            yield a, losses


Frames: TypeAlias = Iterator[tuple[Images, Float[Tensor, "b"]]]
"""Frames, each with a number for every image."""

Pair: TypeAlias = tuple[Images, Images, Tensor]
"""A step, the change of the gradient along it, and one over their inner product, of every image."""


def _direction(gradient: Images, past: Sequence[Pair], scale: Tensor) -> Images:
    """-H g, H the inverse Hessian estimated from the pairs: the two-loop recursion, for each image."""
    q, shares = -gradient, deque[Tensor]()
    for s, y, weight in reversed(past):
        shares.appendleft(_each(weight * _dot(s, q)))
        q = q - shares[0] * y
    q = _each(scale) * q
    for (s, y, weight), share in zip(past, shares, strict=True):
        q = q + (share - _each(weight * _dot(y, q))) * s
    return q


def _dot(a: Images, b: Images) -> Tensor:
    """The inner product of each pair of images."""
    return (a * b).sum(dim=(1, 2, 3))


def _each(weights: Tensor) -> Tensor:
    """A number for each image, to multiply images with."""
    return weights[:, None, None, None]


def _span(span: Span | None, steps: int) -> list[float]:
    """From the first to the last in equal steps; zeros where there is none."""
    low, high = span or (0.0, 0.0)
    return [low + (high - low) * n / max(1, steps - 1) for n in range(steps)]


def _resized(a: Tensor, sides: Sequence[int]) -> Tensor:
    """The images with these sides; themselves where they have them."""
    if list(a.shape[2:]) == list(sides):
        return a
    return F.interpolate(a, list(sides), mode="bilinear", antialias=True)
