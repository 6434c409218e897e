"""Latent traversal: change one number of the code, keep the others, decode."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal, TypeAlias

import torch
from torch import Generator

from copyfold.errors import UsageError, at_least, one_of
from copyfold.models.base import Autoencoder, flat
from copyfold.samplers.base import Sampler, decoded, parts, unflatten
from copyfold.samplers.latent import no_prior
from copyfold.types import Film, Images

BATCH = 64  # reference images encoded at a time

Unit: TypeAlias = Literal["codes", "prior"]


@dataclass(frozen=True)
class Traversal(Sampler):
    r"""Change one latent dimension of each image's code from low to high, and decode.

        h = E(x),   h[dim] = m + t s,   frame D(h)        t = low .. high in `steps` frames

    m and s are the mean and std of that dimension over the codes of `reference` images (x itself unless given; the
    command line gives the run's training images), or, with unit = "prior", 0 and 1, as for a Variational model.
    All other numbers of the code are unchanged. Where the code is a tuple of maps, `dim` counts the numbers of all
    maps, the deepest first. Unclipped. UsageError where the code has no such dimension.

    When: To see what one number of the code stands for.
    Cost: `steps` passes through the decoder.
    Fails: In most codes one number stands for nothing that has a name; with collapsed dimensions nothing moves.
    Source: As pictures of latent dimensions: Higgins et al., 2017.
    """

    random: ClassVar[bool] = False

    dim: int = 0
    low: float = -3.0
    high: float = 3.0
    steps: int = 31
    unit: Unit = "codes"
    reference: Images | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        at_least(0, dim=self.dim)
        at_least(2, steps=self.steps)
        one_of(Unit, "unit", self.unit)

    def doubt(self, model: Autoencoder) -> str:
        """With unit = "prior": a deterministic model has no prior."""
        return no_prior(model) if self.unit == "prior" else ""

    @torch.no_grad()
    def __call__(self, model: Autoencoder, x: Images, rng: Generator) -> Film:
        """Yield the images of the changed codes."""
        z = model.encode(x)
        row = flat(z)
        if self.dim >= row.shape[1]:
            raise UsageError(f"dim={self.dim} is invalid: expected a dimension, 0 to {row.shape[1] - 1}")
        mean, std = self._scale(model, x)
        for n in range(self.steps):
            t = self.low + (self.high - self.low) * n / (self.steps - 1)
            row = row.clone()
            row[:, self.dim] = mean + t * std
            yield decoded(model, unflatten(row, z), x)

    def _scale(self, model: Autoencoder, x: Images) -> tuple[float, float]:
        """m and s."""
        if self.unit == "prior":
            return 0.0, 1.0
        images = x if self.reference is None else self.reference.to(x)
        values = torch.cat([flat(model.encode(part))[:, self.dim] for part in parts(images, BATCH)])
        if len(values) < 2:
            raise UsageError('1 image is invalid for unit="codes", a std over images: give more, or unit="prior"')
        return values.mean().item(), values.std().item()
