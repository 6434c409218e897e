"""The Jacobian of a model at an image."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import torch
from torch import Generator, Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from copyfold.corruptions import Corruption, Gaussian, noise_like
from copyfold.errors import UsageError, at_least
from copyfold.measures import distance, filled
from copyfold.models.base import Autoencoder, flat
from copyfold.probes.base import Probe, Reading, still
from copyfold.types import Images, Statistics

Map: TypeAlias = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class SpectralNorm(Probe):
    r"""By how much a small change of an image can grow at most.

    The largest singular value of the Jacobian, by power iteration:

        ||J||_2 = max over unit v of ||J v||        v <- J^T J v / ||J^T J v||, `iterations` times

    Numbers per image: "encoder", of J = dE/dx, and "autoencoder", of J = d D(E(x))/dx. A map is a contraction
    where it is at most 1 (Murphy, section 20.3); the penalty Contraction is on the Frobenius norm, which is no
    smaller. Power iteration approaches it from below. With batch statistics an image's Jacobian would depend on
    the others, hence "running".

    When: To ask whether a map is a contraction.
    Cost: `iterations` passes forward and backward.
    Fails: It is of one point, and from below: elsewhere the map may stretch more.
    Source: Power iteration; contraction: Murphy, section 20.3.
    """

    iterations: int = 50
    statistics: Statistics = "running"

    def __post_init__(self) -> None:
        at_least(1, iterations=self.iterations)

    @torch.no_grad()
    def __call__(self, model: Autoencoder, x: Images, rng: Generator) -> Reading:
        """Power iteration from a random direction, for both maps."""
        x = filled(x)
        v = noise_like(x, rng=rng)
        with model.using(self.statistics), sdpa_kernel(SDPBackend.MATH):
            norms = {
                "encoder": self._norm(lambda x: flat(model.encode(x)), x, v),
                "autoencoder": self._norm(model, x, v),
            }
        return Reading(norms)

    def _norm(self, function: Map, x: Images, v: Images) -> Tensor:
        """The norm of the function's Jacobian at each image."""
        push, pull = jacobian(function, x)
        norm = torch.zeros(len(x), device=x.device)
        for _ in range(self.iterations):
            v = v / v.flatten(1).norm(dim=1).clamp(min=1e-30).view(-1, 1, 1, 1)
            pushed = push(v)
            norm = pushed.flatten(1).norm(dim=1)
            v = pull(pushed)
        return norm


@dataclass(frozen=True)
class IdentityGap(Probe):
    r"""How far a model is from the identity, on corrupted images and locally.

        gap      = ||O(x~) - x~|| / ||x - x~||                          x~ ~ C(x),   O = D(E(.))
        passed   = <O(x~) - O(x), x~ - x> / ||x~ - x||^2
        jacobian = ||J - I||_F / sqrt(D)                                J = dO/dx at the clean x,   D = c h w

    Numbers per image. "gap" and "jacobian" are 0 for the identity; "gap" is 1 for a perfect denoiser, "jacobian"
    is 1 for a map that ignores its input. A gap near 0 means that an overcomplete autoencoder only copies; a gap
    near 1 does not show that it moves in the right direction (Denoising does), and the error on clean images adds
    to it. "passed" does not contain that error: it is the share of the added perturbation that passes to the
    output, 1 for the identity, 0 where the output does not follow it; for weak noise it is tr J / D.

    The Frobenius norm is Hutchinson's estimate, the root of the mean of ||(J - I)^T v||^2 over `draws` of v
    uniform on {-1, 1}^D: its square is unbiased, with a relative standard deviation of at most sqrt(2 / draws),
    far less where many directions contribute. draws = 0 leaves it out, as batch statistics require: with them an
    image's Jacobian depends on the others (UsageError). Also UsageError where C does not change an image.

    When: To ask whether a large network only copies.
    Cost: Two passes, and `draws` backward passes.
    Fails: A gap near 1 may also be a bad model: read it beside the error of the copy.
    Source: Copyfold's, after the essay's question; the estimate: Hutchinson, 1990.
    """

    corruption: Corruption = field(default_factory=Gaussian)
    draws: int = 8
    statistics: Statistics = "running"

    def __post_init__(self) -> None:
        at_least(0, draws=self.draws)

    @torch.no_grad()
    def __call__(self, model: Autoencoder, x: Images, rng: Generator) -> Reading:
        """Corrupt the images and differentiate at the clean ones."""
        x = filled(x)
        noisy = self.corruption(x, rng)
        moved = distance(noisy, x)
        if not (moved > 0).all():
            raise UsageError(
                f"IdentityGap(corruption={self.corruption}) is invalid: it leaves an image unchanged; expected a "
                "corruption that changes every image, such as Gaussian"
            )
        with still(model, self.statistics):
            restored = model(noisy)
            answer = ((restored - model(x)) * (noisy - x)).flatten(1).sum(1)
            numbers = {"gap": distance(restored, noisy) / moved, "passed": answer / moved.square()}
            if self.draws:
                require_independent(model, "IdentityGap", "draws=0")
                numbers["jacobian"] = self._from_identity(model, x, rng)
        return Reading(numbers)

    def _from_identity(self, model: Autoencoder, x: Images, rng: Generator) -> Tensor:
        """||J - I||_F / sqrt(D) of each image."""
        with sdpa_kernel(SDPBackend.MATH):
            pull = torch.func.vjp(model, x)[1]
            squares = torch.zeros(len(x), dtype=x.dtype, device=x.device)
            for _ in range(self.draws):
                v = 1 - 2 * (noise_like(x, rng=rng) < 0).to(x)
                squares += distance(pull(v)[0], v).square() / v[0].numel()
        return (squares / self.draws).sqrt()


def jacobian(function: Map, x: Tensor) -> tuple[Map, Map]:
    """The function's Jacobian at x and its transpose, as the maps v -> J v and u -> J^T u."""
    y, pull = torch.func.vjp(function, x)[:2]
    push = torch.func.vjp(lambda u: pull(u)[0], torch.zeros_like(y))[1]  # u -> J^T u is linear: J is its transpose
    return lambda v: push(v)[0], lambda u: pull(u)[0]


def singular_values(function: Map, x: Tensor, starts: Tensor, iterations: int) -> Tensor:
    """The largest singular values of the function's Jacobian at each image, b x k, in descending order."""
    return singular_vectors(function, x, starts, iterations)[0]


def singular_vectors(function: Map, x: Tensor, starts: Tensor, iterations: int) -> tuple[Tensor, Tensor]:
    """The largest singular values of the function's Jacobian at each image, b x k, and the v_i, b x k x c x h x w.

        J = sum_i s_i u_i v_i^T,   s_1 >= s_2 >= ...

    `starts` are k random directions, k x b x c x h x w. They and their images under powers of J^T J, `iterations`
    blocks in all, span a block Krylov space (Musco and Musco, 2015, arXiv:1504.05477). The values are those of J
    restricted to that space: no larger than J's own, and far nearer to them than those of the last block alone.
    They are J's own once the space is that of all images.
    """
    push, pull = jacobian(function, x)
    b, size = len(x), math.prod(x.shape[1:])
    block, space, images = starts, x.new_zeros(b, size, 0), []
    for _ in range(iterations):
        known = space.shape[2]
        space = torch.linalg.qr(torch.cat((space, block.flatten(2).permute(1, 2, 0)), dim=2)).Q
        added = space[..., known:].permute(2, 0, 1).reshape(-1, *x.shape)
        if not len(added):  # the space is that of all images
            break
        images += [push(v) for v in added]
        block = torch.stack([pull(u) for u in images[-len(added) :]])
    pushed = torch.stack([u.flatten(1) for u in images], dim=2)
    _, values, within = torch.linalg.svd(pushed, full_matrices=False)
    directions = (within[:, : len(starts)] @ space.mT).reshape(b, -1, *x.shape[1:])
    return values[:, : len(starts)], directions


def require_independent(model: Autoencoder, probe: str, instead: str) -> None:
    """UsageError under batch statistics, with which an image has no Jacobian of its own; called while in use."""
    if model.has_statistics and model.statistics == "batch":
        raise UsageError(
            f'{probe}(statistics="batch") is invalid: every image changes the others, so that none has its own '
            f'Jacobian; give {instead}, or statistics="running"'
        )
