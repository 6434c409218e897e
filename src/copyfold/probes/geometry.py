"""What a model does to a neighbourhood of an image: its Jacobian."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from copyfold.corruptions import noise_like
from copyfold.errors import at_least
from copyfold.models.base import Autoencoder, flat
from copyfold.probes.base import Probe, Reading
from copyfold.types import Images, Statistics


@dataclass(frozen=True)
class SpectralNorm(Probe):
    r"""How much a small change of an image can grow, at most.

    The largest singular value of the Jacobian, by power iteration:

        ||J||_2 = max over unit v of ||J v||        v <- J^T J v / ||J^T J v||, `iterations` times

    Numbers per image: "encoder", of J = dE/dx, and "autoencoder", of J = d D(E(x))/dx. A map is a contraction
    where it is at most 1 (Murphy, section 20.3); the penalty Contraction is on the Frobenius norm, which is no
    smaller. Power iteration approaches it from below. With batch statistics an image's Jacobian would depend on
    the others, hence "running".
    """

    iterations: int = 50
    statistics: Statistics = "running"

    def __post_init__(self) -> None:
        at_least(1, iterations=self.iterations)

    @torch.no_grad()
    def __call__(self, model: Autoencoder, x: Images, rng: Generator) -> Reading:
        """Iterate from a random direction, for both maps."""
        v = noise_like(x, rng=rng)
        with model.using(self.statistics), sdpa_kernel(SDPBackend.MATH):
            norms = {
                "encoder": self._norm(lambda x: flat(model.encode(x)), x, v),
                "autoencoder": self._norm(model, x, v),
            }
        return Reading(norms)

    def _norm(self, function: Callable[[Tensor], Tensor], x: Images, v: Images) -> Tensor:
        """The norm of the function's Jacobian at each image."""
        y, pull = torch.func.vjp(function, x)[:2]  # u -> J^T u
        push = torch.func.vjp(lambda u: pull(u)[0], torch.zeros_like(y))[1]  # v -> J v, as u -> J^T u is linear
        norm = torch.zeros(len(x), device=x.device)
        for _ in range(self.iterations):
            v = v / v.flatten(1).norm(dim=1).clamp(min=1e-30).view(-1, 1, 1, 1)
            (pushed,) = push(v)
            norm = pushed.flatten(1).norm(dim=1)
            (v,) = pull(pushed)
        return norm
