"""Noise prediction: a denoising diffusion model, to compare an autoencoder with."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Generator, Tensor

from copyfold.corruptions import noise_like, uniform_like
from copyfold.errors import UsageError, at_least, within
from copyfold.models.base import Autoencoder
from copyfold.objectives.base import Objective
from copyfold.types import Diagnostics, Film, Float, Images, Terms


@dataclass(frozen=True)
class NoisePrediction(Objective):
    r"""Predict the noise in an image at a random level: what diffusion models learn.

        L(x) = 1/2 ||model(x_t) - eps||^2
        x_t = sqrt(a[t]) (2 x - 1) + sqrt(1 - a[t]) eps        eps ~ N(0, I),   t ~ U{1 .. levels}
        a[t] = prod_{s <= t} (1 - beta[s])                     beta from `first` to `last`, linearly

    A sum over pixels, averaged over images. A model that has learned it returns noise and not images: it is no
    autoencoder in use, no probe of copies says anything of it, and `film` makes images with it. The model is not
    told t: it has to see the level in the image, which white noise on many pixels lets it. `DiffusionUNet` is the
    usual network, without its time embedding.

    Term: "noise". Diagnostic: "mse", the squared error of the noise per pixel value: 1 where nothing is learned.
    UsageError for a model whose output is bounded.

    When: To compare an autoencoder's images with a diffusion model's, by the same network.
    Cost: A step as `Classical`; an image takes hundreds of passes, one for each level.
    Fails: On small images, whose level is hard to see; as a denoiser, since it returns the noise.
    Source: Ho, Jain and Abbeel, "Denoising diffusion probabilistic models" (2020, arXiv:2006.11239), equation 14.
    """

    levels: int = 1000
    first: float = 1e-4
    last: float = 0.02

    def __post_init__(self) -> None:
        at_least(1, levels=self.levels)
        within("(0, 1)", self, first=self.first, last=self.last)
        if self.first > self.last:
            raise UsageError(f"first={self.first} and last={self.last} are invalid: expected first <= last")

    def left(self) -> Float[Tensor, "levels"]:
        """a[1] .. a[levels], the share of an image's energy that each level leaves, in float64."""
        return (1 - torch.linspace(self.first, self.last, self.levels, dtype=torch.float64)).cumprod(0)

    def __call__(
        self, model: Autoencoder, x: Images, watch: Diagnostics | None = None, step: int | None = None
    ) -> Terms:
        """Add noise of a level of its own to every image, and compare what the model says of it."""
        del step
        t = (uniform_like(x[:, :1, :1, :1]).float() * self.levels).long().clamp(max=self.levels - 1)
        kept, noise = self.left().to(x)[t], noise_like(x)
        noisy = kept.sqrt() * (2 * x - 1) + (1 - kept).sqrt() * noise
        errors = (model.decode(model.draw(noisy)) - noise).float().square().flatten(1)
        if watch is not None:
            watch |= {"mse": errors.detach().mean()}
        return {"noise": errors.sum(1).mean() / 2}

    def check(self, model: Autoencoder) -> None:
        """UsageError where the model's output is bounded, which noise is not."""
        if model.output != "linear":
            raise UsageError(
                f"output={model.output!r} is invalid for NoisePrediction: noise is not bounded; expected linear"
            )

    def film(self, model: Autoencoder, x: Images, rng: Generator, steps: int = 250, clip: bool = True) -> Film:
        r"""Images from noise x ~ N(0, 1) by ancestral sampling, with a model that has learned this objective.

            x0 = (x_t - sqrt(1 - a[t]) model(x_t)) / sqrt(a[t])
            x_s = (sqrt(a[s]) b x0 + sqrt(a[t] / a[s]) (1 - a[s]) x_t) / (1 - a[t])
                  + sqrt(b (1 - a[s]) / (1 - a[t])) z        b = 1 - a[t] / a[s],   a[0] = 1,   z ~ N(0, I)

        from t to the next lower level s: the posterior of x_s where x0 is true (equations 6 and 7). `steps` of the
        levels are taken, evenly spread. Yields (x0 + 1) / 2, the last of which is the image; `clip` clips x0 to
        [-1, 1], as the paper's code does, since at high levels it is a small difference of large numbers.
        """
        at_least(1, steps=steps)
        if steps > self.levels:
            raise UsageError(f"steps={steps} is invalid: expected at most the {self.levels} levels")
        chosen = torch.linspace(self.levels - 1, 0, steps).round().long()
        for a, b in pairwise([*self.left()[chosen].tolist(), 1.0]):
            with torch.no_grad():
                noise = model(x)
            clean = (x - (1 - a) ** 0.5 * noise) / a**0.5
            if clip:
                clean = clean.clamp(-1, 1)
            yield (clean + 1) / 2
            lost = 1 - a / b
            mean = (b**0.5 * lost * clean + (a / b) ** 0.5 * (1 - b) * x) / (1 - a)
            x = mean + (lost * (1 - b) / (1 - a)) ** 0.5 * noise_like(x, rng=rng)
