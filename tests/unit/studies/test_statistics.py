"""Intervals against closed forms and simulation."""

import math

import pytest
import torch
from scipy import stats

from copyfold.errors import UsageError
from copyfold.studies import statistics


def drawn(seeds: int, images: int, seed: int = 0, spread: float = 0.0) -> list[torch.Tensor]:
    """Numbers with an effect of the image, one of the seed, and noise."""
    rng = torch.Generator().manual_seed(seed)
    base = torch.randn(images, generator=rng)
    shift = spread * torch.randn(seeds, generator=rng)
    return [base + s for s in shift]


def test_values_are_plain_means():
    a, b = drawn(3, 50), [x.abs() + 1 for x in drawn(3, 50, 1)]
    assert statistics.mean(a).value == pytest.approx(torch.stack(a).mean().item())
    assert statistics.mean(a).seeds == pytest.approx([x.mean().item() for x in a])
    expected = torch.stack(a).mean() / torch.stack(b).mean()
    assert statistics.ratio(a, b).value == pytest.approx(expected.item())
    assert statistics.difference(a, b).value == pytest.approx(
        (torch.stack(a).mean() - torch.stack(b).mean()).item()
    )
    assert statistics.mean(a).n == 50


def test_with_one_seed_the_interval_is_that_of_a_mean():
    x = drawn(1, 400)
    found = statistics.mean(x)
    half = 1.96 * x[0].std().item() / 20
    assert found.high - found.low == pytest.approx(2 * half, rel=0.06)


def test_pairing_removes_variance_shared_between_images():
    a = drawn(3, 100)
    b = [x + 0.01 for x in a]
    found = statistics.difference(a, b)
    assert found.low == pytest.approx(-0.01)
    assert found.high == pytest.approx(-0.01)


def test_seeds_that_differ_widen_the_interval():
    narrow, wide = (statistics.mean(drawn(3, 200, spread=s)) for s in (0.0, 5.0))
    assert wide.high - wide.low > 5 * (narrow.high - narrow.low)
    assert wide.low == pytest.approx(min(wide.seeds), abs=0.3)  # three draws of the same seed: 1 in 27


def test_intervals_cover_the_truth_at_their_nominal_rate():
    hits = 0
    for trial in range(100):
        found = statistics.mean(drawn(1, 60, seed=trial))
        hits += found.low <= 0 <= found.high
    assert 88 <= hits <= 99


def test_the_interval_of_a_fraction_is_never_narrower_than_wilson_s():
    none = statistics.fraction([torch.zeros(8), torch.zeros(8)])
    assert none.value == none.low == 0
    assert none.high == pytest.approx(0.194, abs=0.001)  # Wilson's of 0 of 16
    split = statistics.fraction([torch.ones(100), torch.zeros(100)])
    assert (split.low, split.high, split.n) == (0, 1, 200)


def test_one_number_per_seed_gives_students_interval():
    values = [1.0, 2.0, 4.0]
    found = statistics.over_seeds(values)
    x = torch.tensor(values, dtype=torch.float64)
    low, high = stats.t.interval(0.95, 2, x.mean().item(), x.std().item() / math.sqrt(3))
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-3)
    assert statistics.over_seeds([1.0]).high == math.inf


def test_bad_samples_are_refused():
    with pytest.raises(UsageError, match="one shape"):
        statistics.difference([torch.zeros(3)], [torch.zeros(4)])
    with pytest.raises(UsageError, match="no number"):
        statistics.over_seeds([])


def test_a_ratio_to_zero_is_undecided():
    found = statistics.ratio([torch.ones(5)], [torch.zeros(5)])
    assert (found.low, found.high) == (-math.inf, math.inf)
