"""Manifold walks: encode, add noise to the code, decode, and repeat."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator

from copyfold.errors import at_least, within
from copyfold.models.base import Autoencoder
from copyfold.samplers.base import Sampler, decoded, on_maps, perturbed
from copyfold.samplers.interpolation import following
from copyfold.types import Film, Images


@dataclass(frozen=True)
class Walk(Sampler):
    r"""A walk on the learned manifold: encode, add noise, decode, repeat.

        g[n] = D(h[n]),   h[n] = E(g[n-1]) + std xi        xi ~ N(0, I),   g[0] = x

    Yields g[1] .. g[steps], unclipped. std = 0 is the walk without noise, which shows how stable the manifold
    is; the essay uses 0.2 for 300 steps ("Image Generation with an Autoencoder Manifold Walk"). Where the code
    is a tuple of maps, noise is added to every map. The effect of a std depends on the scale of the code:
    `relative` gives std in units of each map's standard deviation, over all its numbers in the codes of x. Without
    `reencode` it is a random walk of the code, h[n] = h[n-1] + std xi, as in one of the scripts (std = 100, 30
    steps).

    When: To see which images a network knows, and how stable it is (std = 0).
    Cost: `steps` passes through the model.
    Fails: A std that is large against the code leads into images that are none: use `relative`.
    Source: The essay.
    """

    steps: int = 300
    std: float = 0.2
    relative: bool = False
    reencode: bool = True

    def __post_init__(self) -> None:
        at_least(1, steps=self.steps)
        within("[0, inf)", self, std=self.std)

    @torch.no_grad()
    def __call__(self, model: Autoencoder, x: Images, rng: Generator) -> Film:
        """Yield the images of the walk from x."""
        z = model.encode(x)
        unit = on_maps(lambda m: m.std(correction=0), z) if self.relative else None
        for n in range(self.steps):
            if n and self.reencode:
                z = model.encode(x)
            z = perturbed(z, self.std, rng, unit)
            x = decoded(model, z, x)
            yield x


@dataclass(frozen=True)
class DirectedWalk(Sampler):
    r"""A walk to a target: from each image to the next, the last to the first.

        g[n] = D(h[n]),   h[n] = e + (E(y) - e) / (steps - n + 1) + std xi        e = h[n-1],   h[0] = E(x)

    y are the next images. Yields g[1] .. g[steps], unclipped. With std = 0 this is the scripts'
    h = (1 - a) E(x) + a E(y) with a = n / steps, in 60 steps. With `reencode`, e = E(g[n-1]): every step starts
    from the image of the step before. Without noise the film ends at D(E(y)).

    When: To turn one photograph into another, as a film.
    Cost: `steps` passes through the decoder, and as many through the encoder with `reencode`.
    Fails: With a code of large maps the middle is two images on top of each other.
    Source: The essay's scripts.
    """

    random: ClassVar[bool] = False

    steps: int = 60
    std: float = 0.0
    reencode: bool = False

    def __post_init__(self) -> None:
        at_least(1, steps=self.steps)
        within("[0, inf)", self, std=self.std)

    @torch.no_grad()
    def __call__(self, model: Autoencoder, x: Images, rng: Generator) -> Film:
        """Yield the images of the walk from x to the next images."""
        z = model.encode(x)
        target = following(z)
        for left in range(self.steps, 0, -1):
            if left < self.steps and self.reencode:
                z = model.encode(x)
            z = on_maps(lambda m, t, share=1 / left: m.lerp(t, share), z, target)
            z = perturbed(z, self.std, rng)
            x = decoded(model, z, x)
            yield x
