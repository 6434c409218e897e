"""Iterating a model: where its own outputs lead."""

from collections import deque
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from copyfold.corruptions import noise_like
from copyfold.errors import UsageError, at_least, within
from copyfold.measures import filled, mse
from copyfold.models.base import Autoencoder
from copyfold.probes.base import Probe, Reading, still
from copyfold.probes.geometry import require_independent, singular_values
from copyfold.probes.nearest import neighbours
from copyfold.types import Float, Images, Statistics

ESCAPED = 1e6  # a value beyond this is on its way to infinity
SPACED = 512  # images whose nearest neighbours tell how far images are apart


@dataclass(frozen=True)
class Stability(Probe):
    r"""Whether iterating a model converges near an image, cycles, or walks away.

        g[n] = O(g[n-1]),   n = 1 .. steps        O = D(E(.)),   g[0] = x,   no noise

    Numbers per image, distances d(a, b) = ||a - b|| / sqrt(D), root mean square per pixel value:

    - "singular values", b x `values`, the largest of the Jacobian of O at x: below 1, O contracts there. Found in
      a block Krylov space of `iterations` blocks, hence from below. values = 0 leaves them out, as batch
      statistics require (UsageError).
    - "late step" d(g[N], g[N-1]) and "displacement" d(g[N], g[1]), which leaves out the first step onto the
      manifold.
    - "period", the smallest p <= `longest` with d(g[N], g[N-p]) <= `tolerance`: 1 is a fixed point, 0 is no cycle
      of this length. A drift slower than the tolerance (a quarter of a level of 8 bits) counts as a fixed point.
    - "walks": 1 where the displacement is above tau or the nearest reference image of g[N] is not that of g[1].
      tau is half the median distance of a reference image to the nearest other one.
    - "escaped": 1 where a value grew beyond 10^6; such an image is no longer updated, and counts as walking.

    For all: "tau", and "fraction" of the images that walk with its 95 % interval, "fraction, low" and
    "fraction, high" (Wilson). Without `reference` the images themselves are the data. Images: "x", "first"
    g[1], "last" g[N]. The walk without noise of the essay "Autoencoders: Learning by Copying".

    When: To ask whether images stay where they are when a model is applied again and again.
    Cost: `steps` passes, and `iterations` times `values` forward and backward for the singular values.
    Fails: A drift slower than the tolerance counts as a fixed point.
    Source: Copyfold's, after the essay's walk without noise; Radhakrishnan et al., 2020 (arXiv:1909.12362), on
    fixed points.
    """

    steps: int = 100
    values: int = 3
    reference: Images | None = None
    tolerance: float = 1e-3
    longest: int = 8
    iterations: int = 10
    statistics: Statistics = "running"

    def __post_init__(self) -> None:
        at_least(1, steps=self.steps, longest=self.longest, iterations=self.iterations)
        at_least(0, values=self.values)
        within("(0, inf)", self, tolerance=self.tolerance)

    @torch.no_grad()
    def __call__(self, model: Autoencoder, x: Images, rng: Generator) -> Reading:
        """Differentiate at the images, then apply the model to them again and again."""
        x = filled(x)
        data = x if self.reference is None else filled(self.reference.to(x))
        tau = 0.5 * spacing(data)
        with still(model, self.statistics):
            numbers = self._singular_values(model, x, rng) if self.values else {}
            frames, escaped = self._walked(model, x)
        first, last = frames[0], frames[-1]
        displacement = rms(last, first)
        changed = neighbours(last, data)[1] != neighbours(first, data)[1]
        walks = (displacement > tau) | changed[:, 0] | escaped
        fraction, low, high = wilson(int(walks.sum()), len(x))
        numbers |= {
            "late step": rms(last, frames[-2]),
            "displacement": displacement,
            "period": self._period(frames[1:]) * ~escaped,
            "walks": walks.float(),
            "escaped": escaped.float(),
            "tau": tau,
            "fraction": tau.new_tensor(fraction),
            "fraction, low": tau.new_tensor(low),
            "fraction, high": tau.new_tensor(high),
        }
        return Reading(numbers, {"x": x, "first": first, "last": last})

    def _singular_values(self, model: Autoencoder, x: Images, rng: Generator) -> dict[str, Tensor]:
        require_independent(model, "Stability", "values=0")
        count = min(self.values, x[0].numel())
        starts = torch.stack([noise_like(x, rng=rng) for _ in range(count)])
        with sdpa_kernel(SDPBackend.MATH):
            return {"singular values": singular_values(model, x, starts, self.iterations)}

    def _walked(self, model: Autoencoder, x: Images) -> tuple[list[Images], Tensor]:
        """g[1], then the last `longest` + 1 frames; and which images escaped."""
        escaped = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        first, late = x, deque([x], maxlen=self.longest + 1)
        for n in range(self.steps):
            g = model(x)
            escaped = escaped | ~(g.abs().flatten(1) < ESCAPED).all(1)
            x = torch.where(escaped.view(-1, 1, 1, 1), x, g)
            late.append(x)
            first = x if n == 0 else first
        return [first, *late], escaped

    def _period(self, frames: list[Images]) -> Tensor:
        """How many frames before the last the nearest equal frame is; 0 where there is none."""
        period = torch.zeros(len(frames[-1]), device=frames[-1].device)
        for p in range(len(frames) - 1, 0, -1):
            period[rms(frames[-1], frames[-1 - p]) <= self.tolerance] = p
        return period


def rms(a: Tensor, b: Tensor) -> Float[Tensor, "b"]:
    """Root mean square difference per pixel value."""
    return mse(a, b).sqrt()


def spacing(data: Images) -> Float[Tensor, ""]:
    """The median distance of an image to the nearest other one: of 512 of them, drawn evenly, to all."""
    if len(data) < 2:
        raise UsageError(
            f"the distance between images is undefined for {len(data)}: give Stability at least 2 images, or "
            "training images as reference"
        )
    drawn = torch.linspace(0, len(data) - 1, min(SPACED, len(data)), dtype=torch.float64).long().to(data.device)
    return neighbours(data[drawn], data, 2)[0][:, 1].quantile(0.5)  # the first is the image itself


def wilson(successes: int, n: int) -> tuple[float, float, float]:
    """A fraction and its 95 % interval: the fractions p within 1.96 sqrt(p (1 - p) / n) of it.

    Wilson, "Probable inference, the law of succession, and statistical inference" (1927); accurate for few trials
    and near 0 and 1. UsageError where `successes` / `n` is not a fraction.
    """
    from scipy.stats import binomtest

    if not 0 <= successes <= n or n < 1:
        raise UsageError(f"{successes} of {n} is invalid: expected a count from 0 to n, and n of at least 1")
    found = binomtest(successes, n).proportion_ci(0.95, method="wilson")
    return successes / n, float(found.low), float(found.high)
