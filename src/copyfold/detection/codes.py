"""Images as vectors: what a model makes of them, and scores by the distance from those of normal images."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from copyfold.detection.base import PART, Judge, ModelScore, Scored, Seen
from copyfold.errors import UsageError, at_least
from copyfold.models.base import Autoencoder, maps
from copyfold.probes.base import layer_output
from copyfold.probes.nearest import neighbours
from copyfold.types import Float, Images

SAME = 1e-3  # of the usual distance to the nearest: an image that is nearer than this to one is that image


@dataclass(frozen=True)
class Vectors:
    """Images as vectors: the code, or the output of a layer.

    Each map is averaged to at most grid x grid places. `layer` is a name of `model.named_modules()`; "" is the
    code. A `grid` of 1 keeps which features an image has and not where; of 0 nothing is averaged. Computed a few
    images at a time.
    """

    layer: str = ""
    grid: int = 4

    def __post_init__(self) -> None:
        at_least(0, grid=self.grid)

    @torch.no_grad()
    def __call__(self, model: Autoencoder, x: Images) -> Float[Tensor, "b n"]:
        """The vector of every image, in float32."""
        return torch.cat([self.of(Seen(model, part)) for part in x.split(PART)])

    def of(self, seen: Seen) -> Float[Tensor, "b n"]:
        """The vectors of a few images."""
        found = layer_output(seen.model, self.layer, seen.filled) if self.layer else seen.code
        if not all(isinstance(part, Tensor) and len(part) == len(seen.x) for part in maps(found)):
            raise UsageError(f"the layer {self.layer!r} does not return a tensor with a row for every image")
        return torch.cat([self._averaged(part).flatten(1) for part in maps(found)], dim=1).float()

    def _averaged(self, part: Tensor) -> Tensor:
        if part.dim() != 4 or not self.grid or max(part.shape[2:]) <= self.grid:
            return part
        height, width = (min(side, self.grid) for side in part.shape[2:])
        return F.adaptive_avg_pool2d(part, (height, width))


class Space:
    """Where images are compared by their codes: standardised, in few dimensions, at length 1.

        s = A ((z - m) / d) / ||A ((z - m) / d)||

    m and d are the mean and the standard deviation of each number of the code, and A the directions of the largest
    variance of the standardised codes, at most `numbers` of them, all of some images. The distance of two images
    is sqrt(2 - 2 cos), from 0 to 2.
    """

    @torch.no_grad()
    def __init__(self, vectors: Vectors, model: Autoencoder, some: Images, numbers: int = 128) -> None:
        self.vectors, self.model = vectors, model
        z = vectors(model, some).double()
        self.mean, spread = z.mean(0), z.std(0)
        self.spread = torch.where(spread > 0, spread, 1)
        _, _, axes = torch.linalg.svd((z - self.mean) / self.spread, full_matrices=False)
        self.axes = axes[:numbers]

    @torch.no_grad()
    def __call__(self, x: Images) -> Float[Tensor, "b n"]:
        """The place of every image."""
        z = (self.vectors(self.model, x).double() - self.mean) / self.spread
        return F.normalize(z @ self.axes.T, dim=1).float()


@dataclass(frozen=True)
class CodeDistance(ModelScore):
    """A distance of the code from those of normal images; `layer` and `grid` as of `Vectors`."""

    layer: str = ""
    grid: int = 4

    def look(self, seen: Seen) -> Float[Tensor, "b n"]:
        """The code of every image, as a vector."""
        return Vectors(self.layer, self.grid).of(seen)


@dataclass(frozen=True)
class Mahalanobis(CodeDistance):
    r"""The Mahalanobis distance of the code from the mean of normal ones.

        d^2 = (z - m)^T ((1 - a) S + a t I)^-1 (z - m),   t = tr S / n

    m and S are the mean and the covariance of the codes of normal images, n numbers each; the shrinkage a is that
    of Ledoit and Wolf, "A well-conditioned estimator for large-dimensional covariance matrices" (2004), so that
    there may be fewer images than numbers. For one of the normal images m and S are those of the others.
    """

    def learn(self, model: Autoencoder, looked: Tensor) -> Judge:
        """Learn mean and covariance, by the singular values of the codes."""
        gaussian, near = Gaussian(looked), SAME * _usual(looked)

        def judge(z: Tensor) -> Scored:
            return Scored(gaussian.distance(z, neighbours(z, looked)[0][:, 0] <= near))

        return judge


class Gaussian:
    """A normal distribution fitted to rows, its covariance shrunk as by Ledoit and Wolf."""

    def __init__(self, rows: Float[Tensor, "b n"]) -> None:
        count, numbers = rows.shape
        self.count = count
        self.mean = rows.double().mean(0)
        y = rows.double() - self.mean
        _, s, v = torch.linalg.svd(y, full_matrices=False)
        variances = s.square() / count
        mean, squares = variances.sum() / numbers, variances.square().sum()
        beta = (y.square().sum(1).square().sum() / count - squares) / (numbers * count)
        delta = (squares - 2 * mean * variances.sum()) / numbers + mean.square()
        self.shrinkage = (torch.minimum(beta, delta) / delta).item() if delta > 0 else 1.0
        self.axes = v
        self.variances = ((1 - self.shrinkage) * variances + self.shrinkage * mean).clamp(min=1e-12)
        self.rest = (self.shrinkage * mean).clamp(min=1e-12)

    def distance(self, rows: Float[Tensor, "b n"], own: Tensor | None = None) -> Float[Tensor, "b"]:
        """The Mahalanobis distance of rows, of those that are its `own` as if it were fitted to the others.

        The mean and the covariance without a row follow from those with it (Sherman and Morrison); the shrinkage
        stays.
        """
        y = rows.double() - self.mean
        along = y @ self.axes.T
        beside = (y.square().sum(1) - along.square().sum(1)).clamp(min=0)
        squared = (along.square() / self.variances).sum(1) + beside / self.rest
        if own is not None:
            n = self.count
            factor = (1 - self.shrinkage) * n / (n - 1) ** 2
            others = (n / (n - 1)) ** 2 * squared / (1 - factor * squared).clamp(min=1e-6)
            squared = torch.where(own, others, squared)
        return squared.sqrt().to(rows)


@dataclass(frozen=True)
class NeighbourDistance(CodeDistance):
    r"""The mean distance of the code from the nearest of normal ones.

        d = mean over the `count` nearest r of ||(z - r) / s|| / sqrt(n)

    s is the standard deviation of each of the n numbers of the code over the normal images. One of the normal
    images is not its own neighbour.
    """

    count: int = 5

    def __post_init__(self) -> None:
        at_least(1, count=self.count)

    def learn(self, model: Autoencoder, looked: Tensor) -> Judge:
        """Keep the codes of the normal images."""
        if len(looked) <= self.count:
            raise UsageError(
                f"NeighbourDistance(count={self.count}) needs more normal images than that, there are "
                f"{len(looked)}"
            )
        spread = looked.std(0)
        spread = torch.where(spread > 0, spread, 1)
        scaled = looked / spread
        near = SAME * _usual(scaled)

        def judge(z: Tensor) -> Scored:
            distance, _ = neighbours(z / spread, scaled, self.count + 1)
            own = distance[:, :1] <= near
            return Scored(torch.where(own, distance[:, 1:], distance[:, :-1]).mean(1))

        return judge


def _usual(codes: Float[Tensor, "b n"]) -> Tensor:
    """How far codes usually are from the nearest other one."""
    some = codes[:PART]
    return neighbours(some, codes, min(2, len(codes)))[0][:, -1].sort().values[len(some) // 2]
