"""Every kind of interval covers the truth in at least 93 of 100 cases, however much seeds differ: by simulation.

Numbers have an effect of the image, which all seeds share, one of the seed, and noise of their own. Images and
seeds are drawn anew in every trial.
"""

import math

import pytest
import torch

from copyfold.studies import statistics

SPREADS = {"none": 0.0, "small": 0.05, "moderate": 0.15, "large": 0.4, "dominating": 1.0}  # of images: 1
IMAGES = 64
LEAST = 0.93


@pytest.fixture(autouse=True)
def fewer_resamples(monkeypatch):
    monkeypatch.setattr(statistics, "RESAMPLES", 200)
    statistics._draws.cache_clear()
    yield
    statistics._draws.cache_clear()


def drawn(rng, trials, seeds, spread, shared=1.0, own=1.0):
    """Effects: trials x seeds x images; and those of the images alone."""
    images = shared * torch.randn(trials, 1, IMAGES, generator=rng, dtype=torch.float64)
    shift = spread * torch.randn(trials, seeds, 1, generator=rng, dtype=torch.float64)
    noise = own * torch.randn(trials, seeds, IMAGES, generator=rng, dtype=torch.float64)
    return shift + images + noise, images


def resampled(x):
    return x @ statistics._draws(*x.shape[-2:])[1].T


def means(rng, trials, seeds, spread):
    x, _ = drawn(rng, trials, seeds, spread)
    return statistics.interval(x.mean(-1), resampled(x), IMAGES), 0.0


def ratios(rng, trials, seeds, spread):
    """Squared errors of two networks: the same images are hard for both."""
    x, images = drawn(rng, trials, seeds, spread, 0.7, 0.5)
    a = x.exp()
    b = (images + 0.5 * torch.randn(a.shape, generator=rng, dtype=torch.float64)).exp()
    each, of = a.mean(-1) / b.mean(-1), resampled(a) / resampled(b)
    return statistics.interval(each, of, IMAGES, "log"), 1.0


def medians(rng, trials, seeds, spread):
    """Of skewed numbers: the median is 1."""
    x = drawn(rng, trials, seeds, spread)[0].exp()
    equal = torch.full((1, IMAGES), 1 / IMAGES, dtype=torch.float64)
    each = statistics.medians(x, equal).squeeze(-1)
    parts = [statistics.medians(part, statistics._draws(seeds, IMAGES)[1][:100]) for part in x.split(50)]
    return statistics.interval(each, torch.cat(parts).repeat(1, 1, 2), IMAGES, "log"), 1.0


def correlations(rng, trials, seeds, spread):
    """Fisher's z of 0.5 in every seed, but for the spread; two kinds that differ in both numbers."""
    z = 0.5 + spread * torch.randn(trials, seeds, 1, generator=rng, dtype=torch.float64)
    r = z.tanh()
    x = torch.randn(trials, seeds, IMAGES, generator=rng, dtype=torch.float64)
    y = r * x + (1 - r * r).sqrt() * torch.randn(x.shape, generator=rng, dtype=torch.float64)
    moments = [(m.mean(-1), resampled(m)) for m in (x, y, x * y, x * x, y * y)]
    each, of = (
        (xy - a * b) / ((xx - a * a) * (yy - b * b)).sqrt()
        for a, b, xy, xx, yy in ([m[i] for m in moments] for i in (0, 1))
    )
    return statistics.interval(each, of, IMAGES, "fisher"), math.tanh(0.5)


def fractions(rng, trials, seeds, spread, shift=0.0):
    x = (drawn(rng, trials, seeds, spread)[0] + shift > 0).double()
    every = torch.special.ndtr((shift + spread * torch.randn(100_000, generator=rng)).double() / math.sqrt(2))
    return statistics.fractions(x), every.logit().mean().sigmoid().item()


def most(rng, trials, seeds, spread):
    return fractions(rng, trials, seeds, spread, 1.5)


def of_seeds(rng, trials, seeds, spread):
    """One number per seed."""
    x = 3 + max(spread, 1e-9) * torch.randn(trials, seeds, generator=rng, dtype=torch.float64)
    found = [statistics.over_seeds(values.tolist()) for values in x]
    ends = ([getattr(e, name) for e in found] for name in ("value", "low", "high"))
    return tuple(torch.tensor(end, dtype=torch.float64) for end in ends), 3.0


KINDS = {
    means: 2000,
    ratios: 2000,
    medians: 600,
    correlations: 2000,
    fractions: 2000,
    most: 2000,
    of_seeds: 2000,
}


@pytest.mark.parametrize("seeds", [3, 5, 8])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_intervals_cover_the_truth(kind, seeds):
    covered = {}
    for name, spread in SPREADS.items():
        rng = torch.Generator().manual_seed(seeds)
        (_, low, high), truth = kind(rng, KINDS[kind], seeds, spread)
        covered[name] = ((low <= truth + 1e-12) & (truth - 1e-12 <= high)).double().mean().item()
    assert min(covered.values()) >= LEAST, covered


def test_the_bootstrap_alone_is_too_narrow_where_seeds_dominate():
    """And Student's interval alone where they do not differ: hence the wider of both."""
    rng = torch.Generator().manual_seed(3)
    x, same = drawn(rng, 1000, 3, 1.0)[0], drawn(rng, 1000, 3, 0.0)[0].mean(-1)
    spread = (resampled(x) * statistics._draws(3, IMAGES)[0].T).sum(-2)
    low, high = spread.quantile(spread.new_tensor((0.025, 0.975)), dim=-1)
    half = statistics._half(same)
    assert ((low <= 0) & (high >= 0)).double().mean() < 0.85
    assert (same.mean(-1).abs() <= half).double().mean() < 0.9
