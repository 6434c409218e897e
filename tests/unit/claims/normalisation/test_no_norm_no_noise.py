"""T21 on a copy; and its measures."""

import pytest
import torch

from copyfold.claims.normalisation.no_norm_no_noise import NoNormNoNoise, scaled_blur, statistics_gap
from copyfold.corruptions import Blur
from copyfold.studies.base import Verdict
from known import Identity


def test_the_gap_depends_on_mean_and_std_alone():
    x = torch.rand(4, 3, 8, 8)
    assert statistics_gap(x, x.flip(2)).allclose(torch.zeros(4), atol=1e-6)
    assert statistics_gap(x + 0.1, x).allclose(torch.full((4,), 0.1), atol=1e-6)
    centred = x - x.mean((2, 3), keepdim=True)
    spread = centred.square().mean((1, 2, 3)).sqrt()
    assert statistics_gap(3 * centred, centred).allclose(2 * spread, atol=1e-6)


def test_the_blur_is_that_of_the_essay_at_its_size():
    assert scaled_blur(256) == Blur(19, 8.0)
    assert scaled_blur(32) == Blur(3, 1.0)
    assert scaled_blur(8).kernel == 3


def test_a_copy_leaves_noise_and_blur_in(always):
    study, numbers = NoNormNoNoise(), NoNormNoNoise().measure(always(Identity)).numbers
    assert numbers["noise without norm over clean"].value == numbers["noise mixed over clean"].value
    assert numbers["gap without norm"].value == pytest.approx(numbers["gap mixed"].value)
    assert numbers["noise passed without norm"].value == pytest.approx(1, abs=1e-4)
    assert numbers["deblurring error over doing nothing without norm"].value == 1
    assert (
        study.thresholds()["noise without norm over clean"].holds(numbers["noise without norm over clean"])
        is False
    )
    assert study.verdict(numbers) == Verdict.DOES_NOT_HOLD
