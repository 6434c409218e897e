"""Intervals against closed forms and simulation."""

import math

import pytest
import torch
from scipy import stats

from copyfold.errors import UsageError
from copyfold.probes.stability import wilson
from copyfold.studies import statistics
from copyfold.studies.base import Estimate


def drawn(seeds: int, images: int, seed: int = 0, spread: float = 0.0) -> list[torch.Tensor]:
    """Numbers with an effect of the image, one of the seed, and noise."""
    rng = torch.Generator().manual_seed(seed)
    base = torch.randn(images, generator=rng)
    shift = spread * torch.randn(seeds, generator=rng)
    return [base + s for s in shift]


def test_values_are_plain_means():
    a, b = drawn(3, 50), [x.abs() + 1 for x in drawn(3, 50, 1)]
    c = [x.abs() + i for i, x in enumerate(drawn(3, 50, 2), 1)]
    assert statistics.mean(a).value == pytest.approx(torch.stack(a).mean().item())
    assert statistics.mean(a).seeds == pytest.approx([x.mean().item() for x in a])
    each = torch.stack(b).mean(1) / torch.stack(c).mean(1)
    assert statistics.ratio(b, c).value == pytest.approx(each.log().mean().exp().item())
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
    means = torch.tensor(wide.seeds)
    half = stats.t.ppf(0.975, 2) * means.std().item() / math.sqrt(3)
    assert (wide.low, wide.high) == pytest.approx((wide.value - half, wide.value + half), rel=1e-5)


def test_the_interval_of_a_fraction_is_never_narrower_than_wilson_s():
    none = statistics.fraction([torch.zeros(8), torch.zeros(8)])
    assert none.value == none.low == 0
    assert none.high == pytest.approx(wilson(0, 8)[2], abs=1e-6)  # of 8 images, however many seeds see them
    every = statistics.fraction([torch.ones(8), torch.ones(8)])
    assert every.value == every.high == 1
    assert every.low == pytest.approx(wilson(8, 8)[1], abs=1e-6)
    split = statistics.fraction([torch.ones(100), torch.zeros(100)])
    assert (split.value, split.low, split.high, split.n) == (pytest.approx(0.5), 0, 1, 100)
    some = statistics.fraction([torch.arange(64) < 32] * 3)
    assert (some.low, some.high) == pytest.approx(wilson(32, 64)[1:], abs=0.01)


def test_one_number_per_seed_gives_students_interval():
    values = [1.0, 2.0, 4.0]
    found = statistics.over_seeds(values)
    x = torch.tensor(values, dtype=torch.float64)
    low, high = stats.t.interval(0.95, 2, x.mean().item(), x.std().item() / math.sqrt(3))
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-3)
    one = statistics.over_seeds([1.0])
    assert (one.low, one.high) == (-math.inf, math.inf)


def test_bad_samples_are_refused():
    with pytest.raises(UsageError, match="one shape"):
        statistics.difference([torch.zeros(3)], [torch.zeros(4)])
    with pytest.raises(UsageError, match="no number"):
        statistics.over_seeds([])


def test_a_ratio_to_zero_is_undecided():
    found = statistics.ratio([torch.ones(5)], [torch.zeros(5)])
    assert (found.low, found.high) == (-math.inf, math.inf)


def test_a_ratio_over_seeds_is_a_geometric_mean():
    found = statistics.ratio_over_seeds([1.0, 2.0, 8.0], [2.0, 2.0, 2.0])
    logs = torch.tensor([0.5, 1.0, 4.0], dtype=torch.float64).log()
    half = stats.t.ppf(0.975, 2) * logs.std().item() / math.sqrt(3)
    centre = logs.mean().item()
    assert found.value == pytest.approx(math.exp(centre))
    assert (found.low, found.high) == pytest.approx((math.exp(centre - half), math.exp(centre + half)))
    assert found.low > 0
    assert statistics.ratio_over_seeds([0.0, 1.0], [1.0, 1.0]).value == 0.5  # 0 has no logarithm


def test_medians_leave_out_images_without_an_answer():
    x = torch.tensor([5.0, math.nan, 1.0, 3.0, math.nan, 9.0, 2.0])
    found = statistics.median([x, x + 1])
    assert found.seeds == (3.0, 4.0)
    assert found.value == 3.5
    assert found.low < 3.5 < found.high
    many = statistics.median([x, torch.tensor([1.0] * 3 + [math.nan] * 4)])
    assert (many.low, many.high) == (-math.inf, math.inf)
    assert math.isnan(many.value)
    assert statistics.ratio_of_medians([2 * x, 2 * x], [x, x]).value == pytest.approx(2)


def test_weighted_medians_are_those_of_repeated_numbers():
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(3, 9, generator=rng, dtype=torch.float64)
    counts = torch.randint(0, 4, (5, 9), generator=rng)
    found = statistics.medians(x, counts.double() / counts.sum(1, keepdim=True))
    for i, row in enumerate(x):
        for j, of in enumerate(counts):
            assert found[i, j].item() == pytest.approx(row.repeat_interleave(of).quantile(0.5).item())


def test_a_correlation_within_kinds_does_not_see_heaps():
    rng = torch.Generator().manual_seed(0)
    x, y = (torch.randn(3, 400, generator=rng) for _ in range(2))
    heaps = {"low": (list(x), list(y)), "high": (list(x + 100), list(y + 100))}
    assert abs(statistics.correlation_within(heaps).value) < 0.1
    tied = {"low": (list(x), list(x + y)), "high": (list(x + 100), list(x + y - 100))}
    found = statistics.correlation_within(tied)
    assert found.low < math.sqrt(0.5) < found.high
    assert found.high - found.low < 0.3
    alone = statistics.correlation_within({"one": (list(x), list(x + y))})
    pearson = [torch.corrcoef(torch.stack((a, a + b)))[0, 1].item() for a, b in zip(x, y, strict=True)]
    assert alone.seeds == pytest.approx(pearson, abs=1e-5)
    small = statistics.correlation_within({"one": (list(x * 1e-9), list((x + y) * 1e-9))})
    assert small.seeds == pytest.approx(pearson, abs=1e-5)
    same = statistics.correlation_within({"one": (list(x), list(torch.ones_like(y)))})
    assert same.seeds == (0.0, 0.0, 0.0)  # what does not vary goes along with nothing
    rounded = [torch.tensor([1.0, 1.0, 1.0 + 1e-7]), torch.tensor([2.0, 2.0, 2.0 - 1e-7])]  # but for rounding
    apart = [torch.tensor([0.0, 0.0, 1e-7]), torch.tensor([0.0, 0.0, -1e-7])]
    heaps = {"one": ([rounded[0]], [rounded[1]]), "other": ([apart[0]], [apart[1]])}
    assert statistics.correlation_within(heaps).value == 0
    with pytest.raises(UsageError, match="needs kinds"):
        statistics.correlation_within({})


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_a_p_value_is_below_its_level_where_the_interval_excludes(scale):
    found = statistics.over_seeds([1.0, 1.5, 2.0], scale)
    for end, inside in ((found.low, 1.001), (found.high, 0.999)):
        assert statistics.p_value(found, end) == pytest.approx(0.05, rel=1e-3)
        assert statistics.p_value(found, end * inside) > 0.05 > statistics.p_value(found, end / inside)


def test_a_p_value_is_the_larger_of_two():
    seeds, images = (1.0, 1.0001, 0.9999), Estimate(1.0, 0.9, 1.1, 99)
    assert statistics.p_value(images, 1.2) == pytest.approx(2 * stats.norm.sf(2 * 1.96), rel=1e-3)
    assert statistics.p_value(Estimate(1.0, 0.9, 1.1, 99, seeds), 1.2) == statistics.p_value(images, 1.2)
    few = statistics.over_seeds([0.9, 1.0, 1.1])
    assert statistics.p_value(few, 1.4) == pytest.approx(stats.ttest_1samp([0.9, 1.0, 1.1], 1.4).pvalue)
    assert statistics.p_value(Estimate(1.0, -math.inf, math.inf, 1, (1.0,)), 9.0) == 1
    assert statistics.p_value(Estimate(math.nan, math.nan, math.nan, 1), 9.0) == 1
    assert statistics.p_value(Estimate(1.0, 1.0, 1.0, 3, (1.0, 1.0)), 2.0) == 0
    assert statistics.p_value(Estimate(0.5, 0.4, 0.6, 9, (), "log"), 0.0) < 0.05  # 0 has no logarithm


def test_holm_rejects_step_by_step():
    ps = {"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}
    assert statistics.holm(ps) == {"a", "d"}  # 0.005 <= 0.0125, 0.01 <= 0.0167, 0.03 > 0.025
    assert statistics.holm({"a": 0.05}) == {"a"}
    assert statistics.holm({}) == set()
