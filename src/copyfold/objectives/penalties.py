"""Penalties on a code: what makes an autoencoder sparse, contractive or variational."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Normal

from copyfold.errors import UsageError
from copyfold.models.base import Autoencoder
from copyfold.objectives.base import Penalty
from copyfold.types import Code, Images


@dataclass(frozen=True)
class L1(Penalty):
    """Sparse codes: weight * mean over the batch of sum_k |z_k|.

    Murphy, Probabilistic Machine Learning: Advanced Topics, section 20.3. A tuple of maps is summed over all.
    """

    weight: float = 1.0

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise UsageError(f"L1(weight={self.weight}) cannot be: a penalty's weight must not be below 0")

    def __call__(self, model: Autoencoder, x: Images, z: Code, q: Normal | None = None) -> Tensor:
        """The weighted sum of absolute values per image."""
        maps = z if isinstance(z, tuple) else (z,)
        return self.weight * torch.stack([m.float().abs().sum() for m in maps]).sum() / len(x)
