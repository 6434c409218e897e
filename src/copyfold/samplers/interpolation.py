"""Interpolation between two images: of their codes, or, as the control, of their pixels."""

from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias, cast

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from copyfold.corruptions import noise_like
from copyfold.errors import UsageError, at_least, one_of, option, within
from copyfold.models.base import Autoencoder
from copyfold.samplers.base import Sampler, decoded, on_maps
from copyfold.types import Code, Film, Images

Path: TypeAlias = Literal["linear", "spherical"]


@dataclass(frozen=True)
class Interpolation(Sampler):
    r"""Interpolate from each image's code to the next one's, the last to the first.

        linear       h = (1 - t) a + t b                                    t = 0 .. 1 in `steps` frames
        spherical    h = (sin((1 - t) w) a + sin(t w) b) / sin w            w: the angle between a and b

    a = E(x[i]) and b = E(x[i+1]), the posterior's means where there is a posterior. Yields D(h), unclipped; the
    first frame holds the reconstructions, the last those of the next images. Spherical keeps the norm of codes
    of equal norm, as nearly all draws from a wide N(0, I) are (White, "Sampling Generative Networks", 2016,
    arXiv:1609.04468); where a and b are parallel or antiparallel it is linear. Where the code is a tuple of maps,
    each map is interpolated separately. Murphy, section 20.3.5, is linear. UsageError for a single image.

    When: To see what lies between two images, and whether the code is smooth there.
    Cost: `steps` passes through the decoder.
    Fails: With skips the middle is a mixture of pixels; compare with `PixelInterpolation`.
    Source: Murphy, section 20.3.5; spherical: White, 2016.
    """

    random: ClassVar[bool] = False

    steps: int = 31
    kind: Path = "linear"

    def __post_init__(self) -> None:
        at_least(2, steps=self.steps)
        one_of(Path, "kind", self.kind)

    @torch.no_grad()
    def __call__(self, model: Autoencoder, x: Images, rng: Generator) -> Film:
        """Yield the images of the interpolated codes."""
        between = spherical if self.kind == "spherical" else torch.lerp
        z = model.encode(x)
        target = following(z)
        for n in range(self.steps):
            yield decoded(model, on_maps(lambda a, b, t=n / (self.steps - 1): between(a, b, t), z, target), x)


@dataclass(frozen=True)
class PixelInterpolation(Sampler):
    r"""Interpolate pixels, then reconstruct: the control of Interpolation.

        D(E((1 - t) x[i] + t x[i+1] + noise_weight (1 - |1 - 2t|) eta))     eta ~ N(mean, std^2),   t = 0 .. 1

    Its first and last frames are those of Interpolation. The film has one noise sample, whose weight rises to
    `noise_weight` at the middle and falls again: 0 is the plain control; the essay's script has 2, in 61 frames
    (and lets t run to 2). Unclipped.

    When: Beside `Interpolation`, always, as its control.
    Cost: `steps` passes through the model.
    Fails: It is not meant to be good: two images on top of each other.
    Source: The essay's script.
    """

    random: ClassVar[bool] = False

    steps: int = 31
    noise_weight: float = 0.0
    mean: float = 0.5
    std: float = 0.2

    def __post_init__(self) -> None:
        at_least(2, steps=self.steps)
        within("[0, inf)", self, noise_weight=self.noise_weight, std=self.std)

    @torch.no_grad()
    def __call__(self, model: Autoencoder, x: Images, rng: Generator) -> Film:
        """Yield the reconstructions of the interpolated images."""
        target = cast(Tensor, following(x))
        eta = noise_like(x, self.mean, self.std, rng) if self.noise_weight else torch.zeros_like(x)
        for n in range(self.steps):
            t = n / (self.steps - 1)
            yield model(x.lerp(target, t) + self.noise_weight * (1 - abs(1 - 2 * t)) * eta)


def following(z: Code) -> Code:
    """For each image the code of the next one, for the last the first's. UsageError for a single image."""
    first = z[0] if isinstance(z, tuple) else z
    if len(first) < 2:
        raise UsageError(
            f"1 image is invalid for a film from each image to the next: give at least 2 ({option('count', 2)})"
        )
    return on_maps(lambda m: m.roll(-1, 0), z)


def spherical(a: Tensor, b: Tensor, t: float) -> Tensor:
    """Spherical interpolation: the point at t on the arc from each a to its b, b x ..., both b x ..."""
    u, v = F.normalize(a.flatten(1)), F.normalize(b.flatten(1))
    # Exact for small angles too, where the arc cosine of u v loses half of the digits
    angle = 2 * torch.atan2((u - v).norm(dim=1), (u + v).norm(dim=1)).view(-1, *[1] * (a.dim() - 1))
    sine = angle.sin()
    arc = ((1 - t) * angle).sin() / sine * a + (t * angle).sin() / sine * b
    return torch.where(sine > 1e-4, arc, a.lerp(b, t))
