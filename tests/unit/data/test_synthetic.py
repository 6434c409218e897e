"""Synthetic data: reproducible pictures, and densities that agree with torch.distributions."""

import numpy as np
import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from copyfold.data import GaussianMixture, ring, scenes
from copyfold.errors import UsageError


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [1, 8, 32])
def test_scenes_have_the_shape_asked_for(size: int, channels: int) -> None:
    painted = scenes(3, size, channels)
    assert painted.shape == (3, size, size, channels)
    assert painted.dtype == np.uint8


def test_scenes_are_deterministic_and_a_longer_series_begins_with_the_shorter() -> None:
    np.testing.assert_array_equal(scenes(4), scenes(6)[:4])
    assert not np.array_equal(scenes(4), scenes(4, seed=1))


def test_scenes_have_structure() -> None:
    painted = scenes(64).astype(float)
    assert painted.reshape(64, -1).std(0).mean() > 10  # they differ from each other
    neighbours = np.abs(np.diff(painted, axis=2)).mean()
    distant = np.abs(painted - painted[:, :, np.random.default_rng(0).permutation(32)]).mean()
    assert neighbours < distant / 2  # and are smooth
    assert (painted[:, :3].mean((1, 2))[:, 2] > painted[:, -3:].mean((1, 2))[:, 2]).mean() > 0.9  # sky above


@pytest.mark.parametrize("arguments", [(0,), (1, 0), (1, 8, 4)])
def test_invalid_scene_settings_are_refused(arguments: tuple[int, ...]) -> None:
    with pytest.raises(UsageError):
        scenes(*arguments)


@pytest.fixture
def uneven() -> GaussianMixture:
    means = torch.tensor([[0.0, 1.0], [2.0, -1.0], [-1.5, 0.3]], dtype=torch.float64)
    return GaussianMixture(means, 0.4, torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64))


def reference(mixture: GaussianMixture, noise: float) -> MixtureSameFamily:
    spread = (mixture.std**2 + noise**2) ** 0.5
    weights = torch.ones(len(mixture.means)) if mixture.weights is None else mixture.weights
    points = Independent(Normal(mixture.means, torch.full_like(mixture.means, spread)), 1)
    return MixtureSameFamily(Categorical(weights.double()), points)


@pytest.mark.parametrize("noise", [0.0, 0.3, 2.0])
def test_density_and_score_agree_with_torch(uneven: GaussianMixture, noise: float) -> None:
    x = torch.randn(50, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    for mixture in (uneven, ring()):
        expected = reference(mixture, noise).log_prob(x)
        torch.testing.assert_close(mixture.log_prob(x, noise), expected, rtol=1e-12, atol=1e-12)
        (gradient,) = torch.autograd.grad(expected.sum(), x)
        torch.testing.assert_close(mixture.score(x.detach(), noise), gradient, rtol=1e-10, atol=1e-10)


def test_samples_have_the_moments_of_the_density(uneven: GaussianMixture) -> None:
    drawn = uneven.sample(40_000, torch.Generator().manual_seed(0))
    expected = reference(uneven, 0)
    torch.testing.assert_close(drawn.mean(0), expected.mean, atol=0.03, rtol=0)
    torch.testing.assert_close(drawn.var(0), expected.variance, atol=0.05, rtol=0)
    again = uneven.sample(40_000, torch.Generator().manual_seed(0))
    assert torch.equal(drawn, again)
