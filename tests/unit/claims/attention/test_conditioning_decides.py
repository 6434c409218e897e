"""T28 on networks of known condition number."""

import pytest
import torch

from copyfold.claims.attention import conditioning_decides
from copyfold.claims.attention.conditioning_decides import STRETCHED, ConditioningDecides, stretched
from copyfold.studies.base import Verdict
from labs import Staged

SMALL = (1, 8, 8)


@pytest.fixture
def judged(represented, monkeypatch):
    def judge(without, with_residual):
        monkeypatch.setattr(
            conditioning_decides,
            "alone",
            lambda lab, seed, kind, residual: Staged(with_residual if residual else without, SMALL),
        )
        return represented(ConditioningDecides(), {}, left=9.0)

    return judge


def test_two_heaps_do_not_show_a_reason(judged):
    shrunk = stretched(SMALL, torch.Generator().manual_seed(1))
    came, found = judged(shrunk, lambda x: x)
    numbers = found.numbers
    assert numbers["log10 condition dot product"].value == pytest.approx(-torch.tensor(STRETCHED).log10().item())
    assert numbers["error without over with residual"].low > 2
    assert numbers["correlation over all points"].value > 0.7
    assert abs(numbers["correlation within kinds"].value) < 0.5  # within either heap nothing varies
    assert came != Verdict.HOLDS
    for name, (threshold, _) in ConditioningDecides.controls.items():
        assert threshold.holds(numbers[name])
    assert found.captions.keys() == found.figures.keys()


def test_a_residual_without_effect_refutes(judged):
    came, found = judged(lambda x: x, lambda x: x)
    assert came == Verdict.DOES_NOT_HOLD
    assert found.numbers["log10 condition without minus with residual"].value == pytest.approx(0)
