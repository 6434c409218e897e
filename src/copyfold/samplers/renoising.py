"""Diffusion with no diffusion: images from noise, by an autoencoder that was only taught to copy."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import torch
from torch import Generator

from copyfold.corruptions import noise_like
from copyfold.errors import UsageError, at_least
from copyfold.models.base import Autoencoder
from copyfold.samplers.base import Sampler
from copyfold.types import Film, Images, Shape


class Schedule(ABC):
    """How much of the image so far, of its reconstruction and of new noise make the next image."""

    @abstractmethod
    def __call__(self, n: int, steps: int) -> tuple[float, float, float]:
        """The weights (image, reconstruction, noise) after step n = 1 .. steps."""


@dataclass(frozen=True)
class Ramp(Schedule):
    """The essay's schedule: (0, c, 1 - c) with c = n / over.

    over = steps unless it is given. The scripts also use over = 20 for 60 steps, which lets c grow to 3 and the
    noise turn negative, and
    over = 800 for 200, which stops at c = 1/4.
    """

    over: int | None = None

    def __post_init__(self) -> None:
        if self.over is not None:
            at_least(1, over=self.over)

    def __call__(self, n: int, steps: int) -> tuple[float, float, float]:
        """Forget the image, take c of its reconstruction and 1 - c of noise."""
        c = n / (self.over or steps)
        return 0.0, c, 1 - c


@dataclass(frozen=True)
class Additive(Schedule):
    """The scripts' other schedule: (1, rate, 0).

    Add some of the reconstruction to the image, and no noise.
    """

    rate: float = 0.1

    def __call__(self, n: int, steps: int) -> tuple[float, float, float]:
        """Keep the image and add `rate` of its reconstruction."""
        return 1.0, self.rate, 0.0


@dataclass(frozen=True)
class Renoising(Sampler):
    r"""Diffusion with no diffusion: denoise, then corrupt a little less each time.

        a[n+1] = c D(E(a[n])) + (1 - c) eta        eta ~ N(mean, std^2),   c = n / steps

    Yields the reconstructions D(E(a[n])), `steps` of them, unclipped. Start from pure noise N(mean, std^2) to
    generate. `schedule` gives the weights; 30 and 200 steps are the essay's ("Diffusion with no Diffusion").
    """

    steps: int = 30
    mean: float = 0.7
    std: float = 0.2
    schedule: Schedule = field(default_factory=Ramp)

    def __post_init__(self) -> None:
        at_least(1, steps=self.steps)
        if self.std < 0:
            raise UsageError(f"Renoising(std={self.std}) cannot be: a std must not be below 0")

    def noise(self, count: int, shape: Shape, rng: Generator) -> Images:
        """Pure noise N(mean, std^2), count x c x h x w."""
        return noise_like(torch.empty(count, *shape), self.mean, self.std, rng)

    @torch.no_grad()
    def __call__(self, model: Autoencoder, x: Images, rng: Generator) -> Film:
        """Yield D(E(a[n])) for n = 1 .. steps, starting at a[1] = x."""
        for n in range(1, self.steps + 1):
            clean = model(x)
            yield clean
            kept, copied, noise = self.schedule(n, self.steps)
            x = kept * x + copied * clean + noise * noise_like(x, self.mean, self.std, rng)
