"""T28 on networks of known condition number; and its correlation."""

import pytest
import torch

from copyfold.claims.attention.conditioning_decides import ConditioningDecides, correlation, small_values
from copyfold.studies.base import Verdict
from known import Identity
from labs import judged


class Stretched(Identity):
    """It shrinks the right half of every image: the condition number of its Jacobian is a thousand."""

    def encode(self, x):
        weights = torch.ones_like(x[:1])
        weights[..., x.shape[3] // 2 :] = 1e-3
        return x * weights


def test_values_below_a_hundredth_of_the_largest_are_small():
    s = torch.tensor([[1.0, 0.1, 1e-3], [1.0, 1.0, 0.0], [2.0, 2.0, 2.0]], dtype=torch.float64)
    assert small_values(s).tolist() == pytest.approx([1 / 3, 1 / 3, 0])


def test_a_correlation_is_pearsons():
    rng = torch.Generator().manual_seed(0)
    xs = [torch.randn(2, 40, generator=rng, dtype=torch.float64) for _ in range(3)]
    ys = [x + 0.5 * torch.randn(x.shape, generator=rng, dtype=torch.float64) for x in xs]
    each = [
        torch.corrcoef(torch.stack((x.flatten(), y.flatten())))[0, 1].item() for x, y in zip(xs, ys, strict=True)
    ]
    found = correlation(xs, ys)
    assert found.seeds == pytest.approx(each)
    assert found.value == pytest.approx(sum(each) / 3)
    assert found.low < found.value < found.high
    assert correlation(xs, [-2 * x for x in xs]).value == pytest.approx(-1)
    few = correlation([x[:, :2] for x in xs], [-x[:, :2] for x in xs])
    assert -1 <= few.low <= few.high <= 1


def test_conditions_with_and_without_residual_are_distinguished(by_attention):
    numbers = ConditioningDecides().measure(by_attention({("dot", False): Stretched})).numbers
    assert numbers["log10 condition dot product"].value == pytest.approx(3)
    assert numbers["log10 condition without minus with residual"].value == pytest.approx(3)
    assert numbers["share of small singular values dot product"].value == 0.5
    whole, regular = (numbers[f"correlation{end}"] for end in ("", " without the singular linear one"))
    assert 0 < regular.value != whole.value
    verdict, numbers = judged(ConditioningDecides(), by_attention())
    assert numbers["log10 condition without minus with residual"].value == pytest.approx(0)
    assert verdict != Verdict.HOLDS
