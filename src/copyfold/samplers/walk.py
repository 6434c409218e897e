"""Walking the manifold: encode, disturb the code, decode, and again."""

from dataclasses import dataclass

import torch
from torch import Generator

from copyfold.errors import UsageError, at_least
from copyfold.models.base import Autoencoder
from copyfold.samplers.base import Sampler, perturbed
from copyfold.types import Film, Images


@dataclass(frozen=True)
class Walk(Sampler):
    r"""A walk on the manifold that the autoencoder learned, by its own map.

        g[n] = D(E(g[n-1]) + std xi)        xi ~ N(0, I),   g[0] = x

    Yields g[1] .. g[steps], unclipped. std = 0 is the walk without noise, which shows how stable the manifold
    is; the essay uses 0.2 for 300 steps ("Image Generation with an Autoencoder Manifold Walk"). Where the code
    is a tuple of maps, noise goes on every map.
    """

    steps: int = 300
    std: float = 0.2

    def __post_init__(self) -> None:
        at_least(1, steps=self.steps)
        if self.std < 0:
            raise UsageError(f"Walk(std={self.std}) cannot be: a std must not be below 0")

    @torch.no_grad()
    def __call__(self, model: Autoencoder, x: Images, rng: Generator) -> Film:
        """Yield the images of the walk from x."""
        for _ in range(self.steps):
            x = model.decode(perturbed(model.encode(x), self.std, rng))
            yield x
