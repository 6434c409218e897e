"""The quality of samples: distances between sets of images that need no pretrained network."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from copyfold.errors import UsageError, at_least
from copyfold.measures import filled, sharpness, sliced_wasserstein
from copyfold.models.base import Autoencoder, flat
from copyfold.probes.base import Probe, Reading, layer_output, still
from copyfold.types import Code, Float, Images, Statistics

PATCH = 7  # pixels, the side of a patch of a pyramid's level
COARSEST = 16  # pixels, the smallest side of a pyramid's last level
PATCHES = 16_384  # of every level and set
LARGEST = 1024  # numbers that a feature vector may have before its maps are averaged over positions
ROWS = 1024  # vectors that are compared with all others at once

Others: TypeAlias = Float[Tensor, "m c h w"]
"""Images beside a batch of another size."""


@dataclass(frozen=True)
class Quality(Probe):
    r"""Distances of generated images from real ones, beside those of real ones.

    Numbers for all, each also as "..., real", the same measure of as many other real images in place of x:

    - "sliced Wasserstein", the mean over the levels of a Laplacian pyramid, and each level, "sliced Wasserstein,
      32x32": see `patch_wasserstein`.
    - "Frechet distance, F" and "kernel distance, F", "density, F" and "coverage, F": see the functions of these
      names. F names the features: "encoder", the model's own code, or that of `extractor`, any module that takes
      these images, at its `layer` (as in `named_modules`; "" is its output, of an Autoencoder its code). Maps
      of more than 1024 numbers together are averaged over positions.
    - "sharpness", the mean of `measures.sharpness` divided by the reference's: 1 is as sharp. It is left out where
      the reference is flat.

    Features are centred at the reference's mean and divided by its root mean variance, since the scale of a code
    is arbitrary; the Frechet distance is also divided by their number, so that it is 1 for copies of the mean.
    Numbers of two models are compared in the features of one `extractor`, not each in its own.

    `reference` are the real images to compare with, `floor` other real ones; without `floor` a random half of the
    reference is used for it. Two samples of one distribution are not at distance 0, and the fewer images, the
    larger it is: x and the floor are cut to equal random subsets, and x is worse than real where its number
    exceeds the floor's. Measured on digits (benchmarks/quality.py): patches detect blur, noise and lost modes;
    Frechet and kernel distance detect lost modes first, and faint blur and noise not at all; density detects no
    lost modes; sharpness hardly does, and counts noise as detail. None detects copies of the reference: the
    nearest training image does. `extractor` is used in eval mode. UsageError without `reference`, for images of
    another size, or where there are fewer images than a measure needs.

    When: To compare generated images by numbers, without a pretrained network.
    Cost: Seconds for hundreds of images.
    Fails: No number finds copies of the reference; faint noise and blur are found by patches alone.
    Source: Karras et al., 2018 (sliced Wasserstein); Heusel et al., 2017; Binkowski et al., 2018; Naeem et al.,
    2020.
    """

    reference: Images | None = None
    floor: Others | None = None
    extractor: nn.Module | None = None
    layer: str = ""
    neighbours: int = 5
    statistics: Statistics = "running"
    batch: int = 64

    def __post_init__(self) -> None:
        at_least(1, neighbours=self.neighbours, batch=self.batch)

    @torch.no_grad()
    def __call__(self, model: Autoencoder, x: Images, rng: Generator) -> Reading:
        """Measure x, then as many real images."""
        x = filled(x)
        reference, real = self._divided(x, rng)
        count = min(len(x), len(real))
        b = self._features(model, reference)
        ours, theirs = (self._measured(model, _drawn(y, count, rng), reference, b, rng) for y in (x, real))
        numbers = {}
        for name, value in ours.items():
            numbers |= {name: value, f"{name}, real": theirs[name]}
        return Reading(numbers)

    def _divided(self, x: Images, rng: Generator) -> tuple[Tensor, Tensor]:
        """The images to compare with, and other real ones."""
        if self.reference is None:
            raise UsageError("Quality needs real images to compare with: give Quality(reference=real images)")
        for real in (self.reference, self.floor):
            if real is not None and real.shape[1:] != x.shape[1:]:
                raise UsageError(
                    f"images of {tuple(x.shape[1:])} cannot be compared with real ones of "
                    f"{tuple(real.shape[1:])}: give both one size and number of channels"
                )
        reference = filled(self.reference.to(x))
        if self.floor is not None:
            return reference, filled(self.floor.to(x))
        mixed = _drawn(reference, len(reference), rng)
        return mixed[len(mixed) // 2 :], mixed[: len(mixed) // 2]

    def _measured(
        self, model: Autoencoder, x: Images, reference: Others, b: Float[Tensor, "m d"], rng: Generator
    ) -> dict[str, Tensor]:
        """Every measure of x against the reference, whose features are b."""
        found = patch_wasserstein(x, reference, rng)
        numbers = {"sliced Wasserstein": torch.stack(list(found.values())).mean()}
        numbers |= {f"sliced Wasserstein, {level}": value for level, value in found.items()}
        a = self._features(model, x)
        centre, scale = b.mean(0), b.var(0, correction=0).mean().sqrt().clamp(min=1e-12)
        a, b = (a - centre) / scale, (b - centre) / scale
        density, coverage = density_and_coverage(a, b, self.neighbours)
        features = {
            "Frechet distance": frechet_distance(a, b) / a.shape[1],
            "kernel distance": kernel_distance(a, b),
            "density": density,
            "coverage": coverage,
        }
        name = "encoder"
        if self.extractor is not None:
            name = f"{type(self.extractor).__name__} {self.layer}".strip()
        numbers |= {f"{measure}, {name}": value for measure, value in features.items()}
        sharp = sharpness(reference).mean()
        return numbers | ({"sharpness": sharpness(x).mean() / sharp} if sharp > 0 else {})

    def _features(self, model: Autoencoder, x: Images) -> Float[Tensor, "b d"]:
        """The feature vector of every image, in double precision."""
        judge = model if self.extractor is None else self.extractor
        see = (
            judge.encode
            if isinstance(judge, Autoencoder) and not self.layer
            else partial(layer_output, judge, self.layer)
        )
        with still(judge, self.statistics):
            return torch.cat([_vectors(see(part)) for part in x.split(self.batch)]).double()


def patch_wasserstein(x: Images, reference: Others, rng: Generator) -> dict[str, Float[Tensor, ""]]:
    r"""Distance of the patches of two sets of images, for every level of a Laplacian pyramid, by its size.

        SW2(patches of level l of x, patches of level l of reference)        7 x 7 pixels, all channels

    The finest level is the finest detail and the last, the first below 32 pixels, the coarse image itself; at
    least 16,384 patches of each, from places drawn with `rng`, equally many of each image. Each channel is
    centred and scaled by the mean and standard deviation that it has in the *reference's* patches, so that the
    distance is in those; the paper scales each set by its own and would not see lost contrast or brightness, and
    takes the mean absolute difference. Karras, Aila, Laine and Lehtinen, 2018 (arXiv:1710.10196), section 5.
    """
    if min(x.shape[2:]) < PATCH:
        raise UsageError(f"patches of {PATCH}x{PATCH} do not fit images of {tuple(x.shape[2:])}: give larger ones")
    if not (len(x) and len(reference)):
        raise UsageError("the distance of two sets of images needs at least 1 in each")
    found = {}
    for ours, theirs in zip(_pyramid(x), _pyramid(reference), strict=True):
        a, b = (_patches(level, rng) for level in (ours, theirs))
        centre, scale = b.mean((0, 2, 3), keepdim=True), b.std((0, 2, 3), keepdim=True).clamp(min=1e-12)
        level = f"{ours.shape[2]}x{ours.shape[3]}"
        found[level] = sliced_wasserstein((a - centre) / scale, (b - centre) / scale, rng)
    return found


def frechet_distance(a: Float[Tensor, "n d"], b: Float[Tensor, "m d"]) -> Float[Tensor, ""]:
    r"""Squared 2-Wasserstein distance of the normal distributions with the moments of two sets of vectors.

        |mean a - mean b|^2 + tr A + tr B - 2 tr (A B)^(1/2)        A, B the covariances, of divisor n - 1

    With A = R^T R and B = S^T S the last trace is the sum of the singular values of R S^T: no root of a matrix
    is taken, and vectors may be longer than they are many. Biased upwards where they are few: for n vectors of
    one normal distribution it is of the order of d / n times its variance. Dowson and Landau, 1982; of images'
    features Heusel et al., 2017 (arXiv:1706.08500). UsageError for fewer than 2 vectors.
    """
    _enough(2, "the Frechet distance", a, b)
    a, b = a.double(), b.double()
    r, s = _root(a), _root(b)
    shared = torch.linalg.svdvals(r @ s.T).sum()
    apart = (a.mean(0) - b.mean(0)).square().sum()
    return (apart + r.square().sum() + s.square().sum() - 2 * shared).clamp(min=0)


def kernel_distance(a: Float[Tensor, "n d"], b: Float[Tensor, "m d"]) -> Float[Tensor, ""]:
    r"""Squared maximum mean discrepancy of two sets of vectors, with the cubic kernel; unbiased.

        mean_{i != j} k(a_i, a_j) + mean_{i != j} k(b_i, b_j) - 2 mean k(a_i, b_j)

    with k(u, v) = (<u, v> / d + 1)^3. It sees the first three moments. Its mean is 0 for samples of one
    distribution, however few; it can be below 0. Binkowski, Sutherland, Arbel and Gretton, 2018
    (arXiv:1801.01401). UsageError for fewer than 2 vectors.
    """
    _enough(2, "the kernel distance", a, b)
    a, b = a.double(), b.double()
    within = []
    for v in (a, b):
        own = (v.square().mean(1) + 1).pow(3).sum()
        within.append((_kernel_sum(v, v) - own) / (len(v) * (len(v) - 1)))
    return within[0] + within[1] - 2 * _kernel_sum(a, b) / (len(a) * len(b))


def density_and_coverage(
    a: Float[Tensor, "n d"], b: Float[Tensor, "m d"], k: int = 5
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    r"""Density: how far vectors a lie where b is dense. Coverage: the share of b with one of a near.

        density  = 1 / (k n) sum_i sum_j [a_i in B_j]        coverage = 1/m sum_j [some a_i in B_j]

    B_j is the ball around b_j that reaches its k-th nearest neighbour in b, border included. For one
    distribution density is near 1, and coverage near 1 - 2^-k where n = m; a's that all crowd where b is dense
    have density above 1 and low coverage. Naeem, Oh, Uh, Choi and Yoo, 2020 (arXiv:2002.09797). UsageError for
    fewer than k + 1 vectors b.
    """
    _enough(1, "density", a)
    _enough(k + 1, f"density in balls of {k} neighbours", b)
    inside = covered = torch.zeros((), dtype=torch.long, device=b.device)
    for centres in b.split(ROWS):
        radius = torch.cdist(centres, b).topk(k + 1, largest=False).values[:, -1:]  # the nearest is itself
        within = torch.cdist(centres, a) <= radius
        inside, covered = inside + within.sum(), covered + within.any(1).sum()
    return inside / (k * len(a)), covered / len(b)


def _drawn(x: Images, count: int, rng: Generator) -> Others:
    """A random subset of `count` images, in random order."""
    return x[torch.randperm(len(x), generator=rng, device=rng.device)[:count].to(x.device)]


def _vectors(z: Code) -> Float[Tensor, "b d"]:
    """A code as one vector per image; where it is large, maps b c h w and tokens b n c averaged over positions."""
    maps = z if isinstance(z, tuple) else (z,)
    if sum(prod(m.shape[1:]) for m in maps) > LARGEST:
        maps = tuple(m.mean((2, 3)) if m.ndim == 4 else m.mean(1) if m.ndim == 3 else m for m in maps)
    return flat(maps)


def _pyramid(x: Images) -> Iterator[Images]:
    """The levels of a Laplacian pyramid, finest first; the last is what is left."""
    while min(x.shape[2:]) >= 2 * COARSEST:
        coarse = _blurred(x)[..., ::2, ::2]
        spread = torch.zeros_like(x)
        spread[..., ::2, ::2] = 4 * coarse
        yield x - _blurred(spread)
        x = coarse
    yield x


def _blurred(x: Images) -> Images:
    """Filter with the binomial 1 4 6 4 1 along both axes, mirrored at the border (Burt and Adelson, 1983)."""
    taps = x.new_tensor((1.0, 4.0, 6.0, 4.0, 1.0)) / 16
    kernel = torch.outer(taps, taps).expand(x.shape[1], 1, 5, 5)
    return F.conv2d(F.pad(x, (2, 2, 2, 2), mode="reflect"), kernel, groups=x.shape[1])


def _patches(level: Images, rng: Generator) -> Float[Tensor, "n c side side"]:
    """Patches at random positions, drawn separately for every image, the same number of each."""
    each = -(-PATCHES // len(level))
    images = torch.arange(len(level), device=level.device).repeat_interleave(each)
    rows, columns = (
        torch.randint(n - PATCH + 1, images.shape, generator=rng, device=rng.device).to(level.device)
        for n in level.shape[2:]
    )
    return level.unfold(2, PATCH, 1).unfold(3, PATCH, 1)[images, :, rows, columns]


def _root(x: Float[Tensor, "n d"]) -> Float[Tensor, "k d"]:
    """R with R^T R the covariance of the rows, of no more than d rows."""
    centred = (x - x.mean(0)) / (len(x) - 1) ** 0.5
    return centred if len(x) <= x.shape[1] else torch.linalg.qr(centred, mode="r").R


def _kernel_sum(a: Tensor, b: Tensor) -> Tensor:
    """The sum of k over all pairs."""
    return torch.stack([(part @ b.T / a.shape[1] + 1).pow(3).sum() for part in a.split(ROWS)]).sum()


def _enough(least: int, what: str, *sets: Tensor) -> None:
    if (count := min(map(len, sets))) < least:
        raise UsageError(f"{what} needs at least {least} images of each kind, not {count}: give more")
