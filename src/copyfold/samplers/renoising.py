"""Renoising: images from noise, by an autoencoder that was trained only to copy."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import torch
from torch import Generator
from torch.nn import functional as F

from copyfold.catalogue import Recorded
from copyfold.corruptions import noise_like
from copyfold.errors import UsageError, at_least, of_model, within
from copyfold.models.base import Autoencoder, class_name
from copyfold.samplers.base import Sampler
from copyfold.types import Film, Images, Shape


class Schedule(Recorded, ABC):
    """The weights of the current image, its reconstruction and new noise in the next image.

    A function of n and steps. `copyfold.testing.check_schedule` tests one of your own.
    """

    @abstractmethod
    def __call__(self, n: int, steps: int) -> tuple[float, float, float]:
        """The weights (image, reconstruction, noise) after step n = 1 .. steps."""


@dataclass(frozen=True)
class Ramp(Schedule):
    """The essay's schedule: (0, c, 1 - c) with c = n / over.

    over = steps unless it is given. The scripts also use over = 20 for 60 steps, which lets c grow to 3 and the
    noise turn negative, over = 800 for 200, which stops at c = 1/4, and over = 40 for 30 of growing resolution.
    They count from 0, and so begin with a step whose c is 0: one reconstruction of noise more.
    """

    over: int | None = None

    def __post_init__(self) -> None:
        if self.over is not None:
            at_least(1, over=self.over)

    def __call__(self, n: int, steps: int) -> tuple[float, float, float]:
        """Weight 0 for the image, c for its reconstruction, 1 - c for noise."""
        c = n / (self.over or steps)
        return 0.0, c, 1 - c


@dataclass(frozen=True)
class Additive(Schedule):
    """The scripts' other schedule: (1, rate, 0), for 100 steps.

    Add some of the reconstruction to the image, and no noise.
    """

    rate: float = 0.1

    def __call__(self, n: int, steps: int) -> tuple[float, float, float]:
        """Weight 1 for the image, `rate` for its reconstruction, 0 for noise."""
        return 1.0, self.rate, 0.0


@dataclass(frozen=True)
class Renoising(Sampler):
    r"""Diffusion with no diffusion: denoise, then corrupt a little less each time.

        a[n+1] = c D(E(a[n])) + (1 - c) eta        eta ~ N(mean, std^2),   c = n / steps

    Yields the reconstructions D(E(a[n])), `steps` of them. Start from pure noise N(mean, std^2) to generate;
    steps = 1 is the baseline that the essay compares with, one pass over pure noise. `schedule` gives the weights;
    30 and 200 steps are the essay's ("Diffusion with no Diffusion"). Its scripts start from noise of mean 0.7; one
    of them then adds noise of mean 0.6, in 80 steps, another of mean 0.5, in 50: `start_mean` is the mean of the
    first noise where it differs from `mean`.

    `grow` = ((n, side), ...) resizes a[n] bilinearly, before it is reconstructed, to that height and the width in
    proportion, so that frames from n on are larger (the scripts' increasing resolution). It needs a model that
    takes images of other sizes (UsageError). `clip` clips every reconstruction to [0, 1]; default: no clipping.

    When: To see what a network that was trained only to copy takes for an image.
    Cost: `steps` passes through the model.
    Fails: With skips: a maze of texture. For good images train on noise of all levels and take `Ascent`.
    Source: The essay.
    """

    steps: int = 30
    mean: float = 0.7
    std: float = 0.2
    schedule: Schedule = field(default_factory=Ramp)
    start_mean: float | None = None
    grow: tuple[tuple[int, int], ...] = ()
    clip: bool = False

    def __post_init__(self) -> None:
        at_least(1, steps=self.steps)
        within("[0, inf)", self, std=self.std)
        for n, side in self.grow:
            at_least(1, side=side)
            if not 1 < n <= self.steps:
                raise UsageError(f"step {n} in grow is invalid: expected a step from 2 to {self.steps}")

    def noise(self, count: int, shape: Shape, rng: Generator) -> Images:
        """Pure noise to start from, count x c x h x w, where rng is."""
        mean = self.mean if self.start_mean is None else self.start_mean
        return noise_like(torch.empty(count, *shape, device=rng.device), mean, self.std, rng)

    @torch.no_grad()
    def __call__(self, model: Autoencoder, x: Images, rng: Generator) -> Film:
        """Yield D(E(a[n])) for n = 1 .. steps, starting at a[1] = x."""
        sizes = {n: _size(model, x, side) for n, side in self.grow}
        for n in range(1, self.steps + 1):
            if n in sizes:
                x = F.interpolate(x, sizes[n], mode="bilinear")
            clean = model(x).clamp(0, 1) if self.clip else model(x)
            yield clean
            kept, copied, noise = self.schedule(n, self.steps)
            x = kept * x + copied * clean + noise * noise_like(x, self.mean, self.std, rng)

    def remedy(self, model: Autoencoder) -> str:
        """Where skip connections pass the input on, another network; else longer training, or another sampler."""
        if len(model.code_shapes()) > 1:
            return (
                "the skip connections of this network pass its input on, noise included, and it has learned "
                f"little of what images look like: train one with {of_model('skips', 'none')} or self"
            )
        return "train it longer, or sample from the distribution of the codes, by the sampler FittedGaussian"


def _size(model: Autoencoder, x: Images, height: int) -> tuple[int, int]:
    """Height and width of a larger x; UsageError where the model takes one size only."""
    size, name = (height, max(1, round(height * x.shape[3] / x.shape[2]))), class_name(model)
    if model.multiple is None:
        raise UsageError(
            f"a film cannot grow to {size[0]}x{size[1]} with this {name}, which only takes images of "
            f"{model.shape[1]}x{model.shape[2]}: leave out grow, or train a UNet or Conv without a dense middle"
        )
    return size
