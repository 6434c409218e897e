"""Numbers with intervals, from the variation over seeds and over images; p-values, and Holm's rule for many.

The interval of every estimate that has seeds is the wider, on each side, of two: the two-way bootstrap, which sees
images and seeds but is too narrow where seeds differ much, and Student's t over seeds, which sees only them. Their
union covers the truth in at least 93 of 100 cases, with 3 seeds or more, whether seeds vary or not;
tests/unit/studies/test_coverage_of_intervals.py simulates it for every kind.
"""

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import lru_cache
from typing import TypeVar

import torch
from scipy.special import ndtr, stdtr, stdtrit
from torch import Tensor

from copyfold.errors import UsageError
from copyfold.studies.base import Estimate, Scale

RESAMPLES = 4000
SURE = 1.959964  # standard deviations of a normal distribution on either side that hold 95 %
ROUNDING = 1e-6  # a standard deviation over the root mean square, below which a number of float32 does not vary
LEVEL = 0.05  # of a two-sided test, of all together where Holm's rule is used
K = TypeVar("K", bound=Hashable)
Function = Callable[[Tensor], Tensor]
SCALES: dict[Scale, tuple[Function, Function]] = {
    "linear": (lambda x: x, lambda x: x),
    "log": (torch.log, torch.exp),
    "fisher": (torch.atanh, torch.tanh),
}
"""On which seeds are averaged, and back: ratios by their logarithms, correlations by Fisher's z."""


def estimate(statistic: Callable[..., Tensor], *samples: Sequence[Tensor], scale: Scale = "linear") -> Estimate:
    r"""A function of means over images, averaged over seeds; its interval is the wider of bootstrap and Student.

        theta_s = g(statistic(mean_i x_1[s, i], mean_i x_2[s, i], ...)),   value = g^-1(mean_s theta_s)

    x: a tensor of one number per image for every seed; g: the `scale`. The images are the same for every seed and
    in every sample, so that differences are paired. Bootstrap: seeds and images are resampled with replacement,
    independently of each other, the same draw for every sample (the pigeonhole bootstrap, Owen, 2007,
    arXiv:0712.1111), from the 2.5 % to the 97.5 % quantile of 4,000 draws. Student: mean theta +- t sd / sqrt(S).
    With one seed it is over images alone, and says nothing of others. `statistic` takes tensors elementwise. Where
    g is not finite for every seed and draw, as the logarithm of 0, g is the identity; where the statistic itself
    is not, as a ratio to 0, the interval is unbounded, and decides nothing.

    UsageError where samples differ in their shape.
    """
    stacked = [_stacked(s) for s in samples]
    if len({s.shape for s in stacked}) != 1 or not stacked[0].numel():
        raise UsageError(f"an estimate needs samples of one shape, not {[tuple(s.shape) for s in stacked]}")
    seeds, images = stacked[0].shape
    drawn = statistic(*(s @ _draws(seeds, images)[1].T for s in stacked))
    return _found(statistic(*(s.mean(1) for s in stacked)), drawn, images, scale)


def mean(values: Sequence[Tensor]) -> Estimate:
    """The mean of one number per image."""
    return estimate(lambda x: x, values)


def ratio(a: Sequence[Tensor], b: Sequence[Tensor]) -> Estimate:
    """mean a / mean b, paired, of squared errors for example: the geometric mean over seeds."""
    return estimate(lambda x, y: x / y, a, b, scale="log")


def difference(a: Sequence[Tensor], b: Sequence[Tensor]) -> Estimate:
    """mean a - mean b, paired."""
    return estimate(lambda x, y: x - y, a, b)


def median(values: Sequence[Tensor]) -> Estimate:
    """The median over images of each seed, averaged over seeds.

    An image without an answer is NaN and left out; where a seed has none for half of its images or more, the
    interval is unbounded. Count the answers beside it.
    """
    return _of_medians(lambda x: x, values)


def ratio_of_medians(a: Sequence[Tensor], b: Sequence[Tensor]) -> Estimate:
    """median a / median b over images, the geometric mean over seeds; NaN as in `median`."""
    return _of_medians(lambda x, y: x / y, a, b, scale="log")


def fraction(successes: Sequence[Tensor]) -> Estimate:
    """A proportion of images: that of a typical seed, the mean over seeds of its logit.

        logit p_s = log((k_s + 1/2) / (n - k_s + 1/2))        k_s of n images

    On each side the widest of three: Student and bootstrap on this scale, and Wilson's for n images, not for n
    images times the seeds, as these see the same images. Where seeds differ in earnest, their mean proportion may
    depend on rare seeds that were not drawn, which no interval covers; the typical one is covered.
    """
    stacked = _stacked(successes)
    value, low, high = (end.item() for end in fractions(stacked))
    return Estimate(value, low, high, stacked.shape[1], tuple(stacked.mean(1).tolist()))


def fractions(successes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Proportions and their ends, of 0 and 1 for ... x seeds x images."""
    seeds, images = successes.shape[-2:]

    def logit(p: Tensor) -> Tensor:
        return ((p * images + 0.5) / ((1 - p) * images + 0.5)).log()

    def proportion(theta: Tensor) -> Tensor:
        return ((theta.sigmoid() * (images + 1) - 0.5) / images).clamp(0, 1)

    each, drawn = successes.mean(-1), successes @ _draws(seeds, images)[1].T
    value, low, high = (proportion(end) for end in interval(logit(each), logit(drawn), images))
    share = SURE**2 / images
    centre, half = value + share / 2, (share * (value * (1 - value) + share / 4)).sqrt()
    low, high = (
        torch.minimum(low, (centre - half) / (1 + share)),
        torch.maximum(high, (centre + half) / (1 + share)),
    )
    return value, torch.minimum(low, value), torch.maximum(high, value)


def over_seeds(values: Sequence[float], scale: Scale = "linear") -> Estimate:
    """One number per seed: their mean on a scale, with Student's t interval; with one seed it is unbounded."""
    x = torch.tensor([float(v) for v in values], dtype=torch.float64)
    if not len(x):
        raise UsageError("there is no number to take the mean of")
    forward, back = SCALES[scale]
    if not forward(x).isfinite().all():
        scale, (forward, back) = "linear", SCALES["linear"]
    centre, half = forward(x).mean(), _half(forward(x))
    low, high = (back(centre + side * half).item() for side in (-1, 1)) if len(x) > 1 else (-math.inf, math.inf)
    return Estimate(back(centre).item(), low, high, len(x), tuple(x.tolist()), scale)


def ratio_over_seeds(a: Sequence[float], b: Sequence[float]) -> Estimate:
    """The ratio of two numbers of every seed: the geometric mean, with Student's interval of its logarithm."""
    return over_seeds([x / y if y else math.nan for x, y in zip(a, b, strict=True)], "log")


def correlation_within(kinds: Mapping[str, tuple[Sequence[Tensor], Sequence[Tensor]]]) -> Estimate:
    r"""Pearson's correlation of x and y within kinds, of one number per image for every seed.

        r = sum_k C_k(x, y) / sqrt(sum_k C_k(x, x)  sum_k C_k(y, y))        C_k: the covariance within kind k

    Kinds that differ in both numbers are two heaps, which correlate whatever happens within either: r leaves the
    differences between kinds out. Averaged over seeds by Fisher's z. UsageError where there is no kind.
    """
    pairs = [(_stacked(x), _stacked(y)) for x, y in kinds.values()]
    if not pairs:
        raise UsageError("a correlation within kinds needs kinds")
    samples = [list(m) for x, y in pairs for m in (x, y, x * y, x * x, y * y)]

    def pearson(*moments: Tensor) -> Tensor:
        each = [moments[i : i + 5] for i in range(0, len(moments), 5)]
        means = [(x * x, y * y, x * y) for x, y, *_ in each]
        squares = [torch.stack([kind[i] for kind in each]) for i in (3, 4)]
        xx, yy = (square - torch.stack([m[i] for m in means]) for i, square in enumerate(squares))
        xy = torch.stack([kind[2] - m[2] for kind, m in zip(each, means, strict=True)])
        # What is left of rounding, where a number does not vary within a kind, correlates by chance
        x_varies, y_varies = (v > ROUNDING**2 * s.mean(0) for v, s in zip((xx, yy), squares, strict=True))
        xy = torch.where(x_varies & y_varies, xy, 0).sum(0)
        size = (xx.sum(0) * yy.sum(0)).clamp(min=0).sqrt().clamp(min=1e-300)  # below it there is nothing in xy
        return (xy / size).clamp(-1, 1)  # beyond 1 by rounding alone

    return estimate(pearson, *samples, scale="fisher")


def p_value(found: Estimate, at: float) -> float:
    """How probable a number at least as far from `at` would be, were that the truth: two-sided, the larger of two.

    From the distance in units of the interval's half on that side, as of a normal distribution; and from Student's
    t over the seeds. So it is below 0.05 only where the interval does not contain `at`. 1 where nothing is known.
    """
    forward = SCALES[found.scale][0]
    value, low, high, null = (forward(torch.tensor(x, dtype=torch.float64)).item() for x in (*_ends(found), at))
    if not math.isfinite(value) or not math.isfinite(null):  # as the logarithm of 0
        value, low, high, null = (*_ends(found), at)
    half = value - low if null < value else high - value
    if not math.isfinite(value) or not math.isfinite(half):
        return 1.0
    p = 2 * float(ndtr(-_over(abs(value - null), half) * SURE))
    if len(found.seeds) > 1:
        x = torch.tensor(found.seeds, dtype=torch.float64)
        x, null = (forward(x), null) if forward(x).isfinite().all() else (x, at)
        if not x.isfinite().all():
            return 1.0
        error = x.std().item() / math.sqrt(len(x))
        p = max(p, 2 * float(stdtr(len(x) - 1, -_over(abs(x.mean().item() - null), error))))
    return max(p, LEVEL) if found.low <= at <= found.high else p


def holm(ps: Mapping[K, float], level: float = LEVEL) -> set[K]:
    """The tests that reject when all are made at once: the i-th smallest p is at most level / (m - i + 1), and all
    before it.

    Holm, "A simple sequentially rejective multiple test procedure" (1979): the chance of a single false one among
    m is at most `level`, however they depend on each other.
    """
    rejected: set[K] = set()
    for i, (name, p) in enumerate(sorted(ps.items(), key=lambda item: item[1])):
        if p > level / (len(ps) - i):
            break
        rejected.add(name)
    return rejected


def _stacked(values: Sequence[Tensor]) -> Tensor:
    """One row of numbers for every seed, in float64; UsageError where rows differ in length."""
    rows = [torch.as_tensor(x).detach().double().cpu().flatten() for x in values]
    if len({len(row) for row in rows}) != 1:
        raise UsageError(f"an estimate needs samples of one shape, not {[tuple(row.shape) for row in rows]}")
    return torch.stack(rows)


@lru_cache(maxsize=4)  # of many images they are large
def _draws(seeds: int, images: int) -> tuple[Tensor, Tensor]:
    """The share that each seed and each image has in every resample: RESAMPLES x seeds, RESAMPLES x images."""
    rng = torch.Generator().manual_seed(0)
    return _counts(seeds, rng), _counts(images, rng)


def _counts(n: int, rng: torch.Generator) -> Tensor:
    """The share that each of n has in every resample: RESAMPLES x n."""
    drawn = torch.randint(n, (RESAMPLES, n), generator=rng)
    counts = torch.zeros(RESAMPLES, n, dtype=torch.float64)
    return counts.scatter_add_(1, drawn, torch.ones_like(drawn, dtype=torch.float64)) / n


def _found(each: Tensor, drawn: Tensor, images: int, scale: Scale) -> Estimate:
    """The estimate from a number of every seed, and those of every seed in every draw of images."""
    forward = SCALES[scale][0]
    if not (forward(each).isfinite().all() and forward(drawn).isfinite().all()):
        scale = "linear"
    value, low, high = (end.item() for end in interval(each, drawn, images, scale))
    return Estimate(value, low, high, images, tuple(each.tolist()), scale)


def interval(each: Tensor, drawn: Tensor, images: int, scale: Scale = "linear") -> tuple[Tensor, Tensor, Tensor]:
    """Values and ends from numbers of every seed, ... x seeds, and in every draw, ... x seeds x RESAMPLES."""
    forward, back = SCALES[scale]
    theta, by_seed = forward(each), _draws(each.shape[-1], images)[0]
    spread = (forward(drawn) * by_seed.T).sum(-2)
    centre, half = theta.mean(-1), _half(theta)
    low, high = spread.nan_to_num(0.0).quantile(spread.new_tensor((0.025, 0.975)), dim=-1)
    low, high = torch.minimum(low, centre - half), torch.maximum(high, centre + half)
    known = spread.isfinite().all(-1) & theta.isfinite().all(-1)
    low, high = (torch.where(known, back(end), sign * math.inf) for end, sign in ((low, -1), (high, 1)))
    return back(centre), low, high


def _half(theta: Tensor) -> Tensor:
    """Half of Student's interval over seeds, along the last axis; 0 for one seed."""
    n = theta.shape[-1]
    if n == 1:
        return theta.new_zeros(theta.shape[:-1])
    return theta.std(-1) * (float(stdtrit(n - 1, 0.975)) / math.sqrt(n))


def _of_medians(statistic: Callable[..., Tensor], *samples: Sequence[Tensor], scale: Scale = "linear") -> Estimate:
    """A function of medians over images."""
    stacked = [_stacked(s) for s in samples]
    seeds, images = stacked[0].shape
    equal = torch.full((1, images), 1 / images, dtype=torch.float64)
    each, drawn = (
        statistic(*(medians(s, weights) for s in stacked)) for weights in (equal, _draws(seeds, images)[1])
    )
    return _found(each.squeeze(-1), drawn, images, scale)


def medians(x: Tensor, weights: Tensor) -> Tensor:
    """Weighted medians of the last axis, ... x images, for each row of weights: ... x rows.

    NaN is left out; where half of an x or more is NaN, so is its median.
    """
    missing = x.isnan()
    ordered, order = x.masked_fill(missing, math.inf).sort(-1)
    shares = weights[:, order].movedim(0, -2) * ~missing.gather(-1, order).unsqueeze(-2)  # ... x rows x images
    below = shares.cumsum(-1)
    half, slack = below[..., -1:] / 2, 1e-9
    lower, upper = (below >= half - slack).int().argmax(-1), (below > half + slack).int().argmax(-1)
    found = (ordered.gather(-1, lower) + ordered.gather(-1, upper)) / 2
    return torch.where((missing.double().mean(-1) < 0.5).unsqueeze(-1), found, math.nan)


def _ends(found: Estimate) -> tuple[float, float, float]:
    return found.value, found.low, found.high


def _over(a: float, b: float) -> float:
    """a / b for numbers of at least 0; 0 / 0 is 0, and infinite otherwise where b is 0."""
    return a / b if b > 0 else math.inf if a > 0 else 0.0
