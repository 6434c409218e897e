"""The directions in which a denoiser keeps an image."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from copyfold.corruptions import noise_like
from copyfold.errors import UsageError, at_least, within
from copyfold.measures import distance, filled
from copyfold.models.base import Autoencoder
from copyfold.probes.base import Probe, Reading, still
from copyfold.probes.geometry import jacobian, require_independent, singular_vectors
from copyfold.types import Images, Statistics


@dataclass(frozen=True)
class Eigenbasis(Probe):
    r"""The basis in which a denoiser shrinks an image, and its effective rank.

        J = dD/dx~ = sum_i s_i u_i v_i^T at x~ = x + std eta,   rank = ||J||_F^2 = sum_i s_i^2

    A denoiser without additive constants is D(x~) = J x~: it keeps what of x~ lies along the v_i whose s_i is near
    1, and removes the rest. Those v_i follow the edges and flat parts of the image, and become fewer and coarser
    with more noise: a projection onto r directions has rank r, the identity h w c (Mohan et al., 2020,
    arXiv:1906.05478; Kadkhodaie et al., 2024, arXiv:2310.02557). Numbers, with a row per image:

    - "singular values", b x `vectors`, the largest at the last of the `levels`, found in a block Krylov space
      of `iterations` blocks, hence from below.
    - "rank, std S" for each level S, a standard deviation: Hutchinson's estimate, the mean of ||J^T v||^2 over
      `draws` of random signs v.
    - "off the basis, std S", ||J x~ - D(x~)|| / ||D(x~)||: what constants and curvature add, 0 where D(a x) =
      a D(x).

    Images at the last level: "noisy", "restored", and the v_i by their number, each as 1/2 + v / (2 max |v|).
    With batch statistics images have no Jacobian of their own: UsageError.

    When: To see what a denoiser keeps, and how many directions that is.
    Cost: Some `iterations` times `vectors` passes forward and backward for each image: take a few images.
    Fails: Networks with additive constants: D(x) is then more than J x; "off the basis" says how much.
    Source: Mohan et al., 2020 (arXiv:1906.05478); Kadkhodaie et al., 2024 (arXiv:2310.02557).
    """

    levels: Sequence[float] = (0.05, 0.1, 0.2, 0.4)
    vectors: int = 8
    draws: int = 4
    iterations: int = 4
    statistics: Statistics = "running"

    def __post_init__(self) -> None:
        object.__setattr__(self, "levels", tuple(self.levels))
        at_least(1, vectors=self.vectors, draws=self.draws, iterations=self.iterations)
        if not self.levels:
            raise UsageError("Eigenbasis(levels=[]) is invalid: expected at least one number")
        for level in self.levels:
            within("[0, inf)", self, levels=level)

    @torch.no_grad()
    def __call__(self, model: Autoencoder, x: Images, rng: Generator) -> Reading:
        """Differentiate at the noisy images of every level."""
        x, numbers, images = filled(x), dict[str, Tensor](), dict[str, Images]()
        with still(model, self.statistics), sdpa_kernel(SDPBackend.MATH):
            require_independent(model, "Eigenbasis", "a model without batch norm")
            for level in self.levels:
                noisy = x + level * noise_like(x, rng=rng)
                restored, (push, pull) = model(noisy), jacobian(model, noisy)
                signs = [1 - 2 * (noise_like(x, rng=rng) < 0).to(x) for _ in range(self.draws)]
                squares = torch.stack([pull(v).flatten(1).square().sum(1) for v in signs])
                numbers[f"rank, std {level:g}"] = squares.mean(0)
                apart, length = distance(push(noisy), restored), restored.flatten(1).norm(dim=1)
                numbers[f"off the basis, std {level:g}"] = apart / length.clamp(min=1e-30)
                images = {"noisy": noisy, "restored": restored}
            count = min(self.vectors, x[0].numel())
            starts = torch.stack([noise_like(x, rng=rng) for _ in range(count)])
            values, directions = singular_vectors(model, images["noisy"], starts, self.iterations)
        largest = directions.abs().flatten(2).amax(2).clamp(min=1e-30)[..., None, None, None]
        shown = 0.5 + directions / (2 * largest)
        images |= {str(k): shown[:, k - 1] for k in range(1, count + 1)}
        return Reading({"singular values": values} | numbers, images)
