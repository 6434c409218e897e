"""Numbers with intervals, from the variation over seeds and over images."""

import math
from collections.abc import Callable, Sequence

import torch
from scipy.special import stdtrit
from torch import Tensor

from copyfold.errors import UsageError
from copyfold.probes.stability import wilson
from copyfold.studies.base import Estimate

RESAMPLES = 4000


def estimate(statistic: Callable[..., Tensor], *samples: Sequence[Tensor]) -> Estimate:
    r"""A function of means over seeds and images, with the interval of a two-way bootstrap.

        statistic(mean x_1, mean x_2, ...)        x_i: a tensor of one number per image for every seed

    The images are the same for every seed and in every sample, so that differences are paired. Seeds and images
    are resampled with replacement, independently of each other, the same draw for every sample (the pigeonhole
    bootstrap, Owen, 2007, arXiv:0712.1111, whose intervals are rather too wide); the interval is from the 2.5 % to
    the 97.5 % quantile of 4,000 draws. With one seed it is over images alone. `statistic` takes tensors
    elementwise; where it is not finite for some draw, as a ratio to 0, the interval is unbounded, and decides
    nothing.

    UsageError where samples differ in their shape.
    """
    stacked = [torch.stack([torch.as_tensor(x).detach().double().cpu().flatten() for x in s]) for s in samples]
    if len({s.shape for s in stacked}) != 1 or not stacked[0].numel():
        raise UsageError(f"an estimate needs samples of one shape, not {[tuple(s.shape) for s in stacked]}")
    seeds, images = stacked[0].shape
    rng = torch.Generator().manual_seed(0)
    by_seed, by_image = (_counts(n, rng) for n in (seeds, images))
    drawn = statistic(*(((by_seed @ s) * by_image).sum(1) for s in stacked))
    low, high = -math.inf, math.inf
    if drawn.isfinite().all():
        low, high = drawn.quantile(drawn.new_tensor((0.025, 0.975))).tolist()
    each = statistic(*(s.mean(1) for s in stacked))
    value = statistic(*(s.mean() for s in stacked))
    return Estimate(value.item(), low, high, images, tuple(each.tolist()))


def mean(values: Sequence[Tensor]) -> Estimate:
    """The mean of one number per image."""
    return estimate(lambda x: x, values)


def ratio(a: Sequence[Tensor], b: Sequence[Tensor]) -> Estimate:
    """mean a / mean b, paired; of squared errors, for example."""
    return estimate(lambda x, y: x / y, a, b)


def difference(a: Sequence[Tensor], b: Sequence[Tensor]) -> Estimate:
    """mean a - mean b, paired."""
    return estimate(lambda x, y: x - y, a, b)


def fraction(successes: Sequence[Tensor]) -> Estimate:
    """A proportion of trials: on each side the wider of Wilson's interval and the bootstrap over seeds."""
    spread = mean(successes)
    count = sum(len(s) for s in successes)
    _, low, high = wilson(round(sum(float(s.sum()) for s in successes)), count)
    return Estimate(spread.value, min(low, spread.low), max(high, spread.high), count, spread.seeds)


def over_seeds(values: Sequence[float]) -> Estimate:
    """One number per seed: their mean, with Student's t interval; with one seed it is unbounded."""
    x = torch.tensor([float(v) for v in values], dtype=torch.float64)
    if not len(x):
        raise UsageError("there is no number to take the mean of")
    n = len(x)
    half = math.inf if n == 1 else float(stdtrit(n - 1, 0.975)) * x.std().item() / math.sqrt(n)
    return Estimate(x.mean().item(), x.mean().item() - half, x.mean().item() + half, n, tuple(x.tolist()))


def ratio_over_seeds(a: Sequence[float], b: Sequence[float]) -> Estimate:
    """The ratio of two numbers of every seed."""
    return over_seeds([x / y for x, y in zip(a, b, strict=True)])


def _counts(n: int, rng: torch.Generator) -> Tensor:
    """The share that each of n has in every resample: RESAMPLES x n."""
    drawn = torch.randint(n, (RESAMPLES, n), generator=rng)
    counts = torch.zeros(RESAMPLES, n, dtype=torch.float64)
    return counts.scatter_add_(1, drawn, torch.ones_like(drawn, dtype=torch.float64)) / n
