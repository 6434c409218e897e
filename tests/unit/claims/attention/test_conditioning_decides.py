"""T28 on networks of known condition number."""

import math

import pytest
import torch

from copyfold.claims.attention import conditioning_decides
from copyfold.claims.attention.conditioning_decides import (
    KNOWN_CORRELATION,
    STRETCHED,
    ConditioningDecides,
    by_image,
    stretched,
)
from copyfold.studies.base import Verdict
from copyfold.studies.toolkit.denoising import mean_image
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
        if name != KNOWN_CORRELATION:  # of six images
            assert threshold.holds(numbers[name])
    assert math.isinf(numbers["correlation within kinds"].high)  # no answer
    assert found.captions.keys() == found.figures.keys()


def test_a_dot_product_that_has_learned_half_of_copying_is_judged(represented, monkeypatch):
    """As far as it comes, .40 to .46; one that has learned nothing is not."""
    verdicts = {}
    for kept in (0.4, 0.0):
        monkeypatch.setattr(
            conditioning_decides,
            "alone",
            lambda lab, seed, kind, residual, kept=kept: Staged(
                (lambda x: x) if residual else halfway(lab, kept), SMALL
            ),
        )
        verdicts[kept] = represented(ConditioningDecides(), {}, steps=8)[0]
    assert verdicts[0.4] not in (Verdict.NOT_IN_REGIME, Verdict.HOLDS)
    assert verdicts[0.0] is Verdict.NOT_IN_REGIME


def halfway(lab, kept):
    """So much of the way from the mean image to the image: the square of the rest is left."""
    mean = mean_image(lab, lab.photos("cifar10", 8))
    return lambda x: mean + kept * (x - mean)


def test_a_residual_without_effect_refutes(judged):
    came, found = judged(lambda x: x, lambda x: x)
    assert came == Verdict.DOES_NOT_HOLD
    assert found.numbers["log10 condition without minus with residual"].value == pytest.approx(0)


def test_a_gain_of_the_image_is_between_a_half_and_a_two_hundredth():
    x = torch.tensor([0.0, 0.2, 0.45, 0.7, 1.0]).view(-1, 1, 1, 1).expand(-1, 1, 8, 8)
    torch.testing.assert_close(by_image(x).flatten(), torch.tensor([0.5, 0.5, 0.05, 0.005, 0.005]))
