"""T31 on the optimal denoiser of a known density, and on a copy."""

import pytest
import torch
from torch import Tensor

from copyfold.claims.notes import follows_the_score
from copyfold.claims.notes.follows_the_score import FollowsTheScore, cosine, moved, places, slope
from copyfold.data.synthetic import ring
from copyfold.models.dense import MLP
from copyfold.studies.base import Verdict
from copyfold.studies.lab import Lab


def test_fields_of_the_same_direction_agree() -> None:
    score = torch.randn(300, 2)
    turned = torch.stack((-score[:, 1], score[:, 0]), 1)
    assert cosine([3 * score], score).value == pytest.approx(1)
    assert slope([3 * score], score).value == pytest.approx(3)
    assert cosine([turned, turned], score).value == pytest.approx(0, abs=1e-6)
    assert slope([score + turned], score).value == pytest.approx(1)


def test_the_best_denoiser_follows_the_score(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    density, std = ring(8, 1.0, 0.15), [0.4, 0.2, 0.1]

    def posterior_mean(model: float, points: Tensor) -> Tensor:
        """Of each Gaussian apart, weighted by how likely the point comes from it: Tweedie's formula not used.

        0 for the untrained one.
        """
        if not model:
            return 0 * points
        variance = density.std**2 + model**2
        distance = (points[:, None] - density.means).square().sum(2)
        weight = (-distance / (2 * variance)).softmax(1)
        return (density.std**2 * points + model**2 * weight @ density.means) / variance

    monkeypatch.setattr(
        follows_the_score, "denoiser", lambda lab, density, std, seed, share=1.0: std if share else 0.0
    )
    monkeypatch.setattr(follows_the_score, "moved", posterior_mean)
    found = FollowsTheScore().measure(lab).numbers
    assert FollowsTheScore().verdict(found) is Verdict.HOLDS
    for s in std:
        assert found[f"slope, std {s}"].value == pytest.approx(1)
        assert found[f"error over the least possible, std {s}"].value == pytest.approx(1)
        assert abs(found[f"cosine of the residual of training, std {s}"].value) < 0.05
    assert found["cosine, untrained"].value < 0.5
    assert found["cosine, a tenth of the training"].value == pytest.approx(1)
    near = [found[f"slope by sigma^2 times it, best possible, std {s}"].value for s in std]
    assert near == sorted(near)


def test_a_copy_does_not_follow_the_score(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follows_the_score, "denoiser", lambda lab, density, std, seed, share=1.0: None)
    monkeypatch.setattr(follows_the_score, "moved", lambda model, points: points + 1e-9)
    found = FollowsTheScore().measure(lab).numbers
    assert FollowsTheScore().verdict(found) is Verdict.DOES_NOT_HOLD


def test_shrinking_that_meets_the_threshold_is_no_evidence(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the density is one wide Gaussian, the untrained and the linear denoiser follow the score too."""
    wide = ring(8, 0.01, 1.0)
    monkeypatch.setattr(follows_the_score, "ring", lambda **_: wide)
    monkeypatch.setattr(follows_the_score, "denoiser", lambda lab, density, std, seed, share=1.0: std)
    monkeypatch.setattr(follows_the_score, "moved", lambda std, x: x / (1 + std**2))
    found = FollowsTheScore().measure(lab).numbers
    assert all(threshold.holds(found[name]) for name, threshold in FollowsTheScore().thresholds().items())
    assert FollowsTheScore().verdict(found) is Verdict.UNDECIDED


def test_a_longer_training_is_nearer_to_the_score(lab: Lab) -> None:
    density = ring(8, 1.0, 0.15)
    points = places(density, 0.4)
    score = 0.4**2 * density.score(points, 0.4)
    near = [
        cosine([moved(follows_the_score.denoiser(lab, density, 0.4, 0, share), points) - points], score).value
        for share in (0.0, 1.0)
    ]
    assert near[0] < near[1] > 0.5


def test_points_become_images_and_points_again() -> None:
    model = MLP((1, 1, 2), hidden=[3], latent_dim=3)
    points = places(ring(), 0.1)
    torch.testing.assert_close(moved(model, points).float(), model(points.float().view(-1, 1, 1, 2)).view(-1, 2))
