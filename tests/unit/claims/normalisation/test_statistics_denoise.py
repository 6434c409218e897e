"""Corrections of brightness and contrast with known effects."""

import pytest
import torch

from copyfold.claims.normalisation.statistics_denoise import StatisticsDenoise, brightened, taken
from copyfold.corruptions import Mix
from copyfold.studies.base import Verdict
from known import Identity


def test_a_correction_gives_every_channel_the_moments_of_others():
    x, reference = torch.rand(4, 3, 8, 8), 0.2 * torch.rand(9, 3, 8, 8) + 0.5
    y = brightened(x, reference)
    assert y.mean((2, 3)).allclose(reference.mean((0, 2, 3)).expand(4, 3), atol=1e-5)
    assert y.std((2, 3), correction=0).allclose(
        reference.std((2, 3), correction=0).mean(0).expand(4, 3), atol=1e-5
    )
    assert brightened(0.5 * x + 0.35, reference).allclose(y, atol=1e-4)
    assert brightened(torch.ones(1, 3, 8, 8), reference).isfinite().all()


def test_the_share_is_zero_where_nothing_was_removed():
    n, c, b = (torch.tensor(v) for v in (1.0, 0.4, 0.2))
    assert taken(n, c, b).item() == pytest.approx(0.75)
    assert taken(n, c, n).item() == 0


def test_statistics_cannot_explain_denoising_that_does_not_happen(always):
    found = StatisticsDenoise().measure(always(Identity)).numbers
    assert found["share by correction alone"].value == 0
    assert found["error over doing nothing exact correction"].value < 1
    assert StatisticsDenoise().verdict(found) != Verdict.HOLDS


def test_the_mix_is_inverted_with_its_own_parameters():
    x, still_air = torch.rand(2, 1, 8, 8), Mix(0.5, 0.7, 0.0)
    assert ((still_air(x) - 0.35) / 0.5).allclose(x, atol=1e-6)
