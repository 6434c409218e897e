"""T29 on perfect copies; images from a known normal distribution."""

import pytest
import torch

from copyfold.claims.attention.perfect_copy_does_nothing import PerfectCopyDoesNothing, gaussian_images, off
from copyfold.probes.baselines import PCAWiener
from copyfold.studies.base import Verdict
from labs import judged


def test_a_denoiser_that_copies_does_not_make_the_claim_hold(by_attention):
    verdict, numbers = judged(PerfectCopyDoesNothing(), by_attention())
    assert numbers["denoiser over copy"].value == numbers["copier over copy"].value == 1
    assert numbers["optimum over copy"].high < 1
    assert verdict != Verdict.HOLDS


def test_images_have_the_known_distribution_and_its_optimal_denoiser():
    law = PCAWiener.fit(torch.rand(300, 1, 4, 4), 0)
    rng = torch.Generator().manual_seed(0)
    x = gaussian_images(law, torch.empty(20_000, 1, 4, 4), rng)
    covariance = law.directions * law.variances @ law.directions.T
    assert x.flatten(1).mean(0).allclose(law.mean, atol=0.02)
    assert x.flatten(1).T.cov().allclose(covariance, atol=0.01)
    restored = law(x + 0.2 * torch.randn(x.shape, generator=rng), 0.2)
    least = (law.variances * 0.04 / (law.variances + 0.04)).mean().item()
    assert (restored - x).square().mean().item() == pytest.approx(least, rel=0.02)


def test_off_is_the_relative_error():
    assert off([torch.full((4,), 1.1)], [torch.ones(4)]).value == pytest.approx(0.1, abs=1e-6)
    assert off([torch.full((4,), 0.9)], [torch.ones(4)]).value == pytest.approx(0.1, abs=1e-6)
