"""Tails in closed form, and a bound that must fail."""

import pytest
import torch
from torch import Generator

from copyfold.claims.representation import tails_corrected
from copyfold.claims.representation.tails_corrected import (
    TailsCorrected,
    beyond,
    corrected,
    from_normal,
    over_corrected,
    points,
)


def rng():
    return Generator().manual_seed(0)


def test_points_have_the_moments_of_sphere_ball_and_normal():
    drawn = points(5, rng())
    for of, variance in (("sphere", 1 / 5), ("ball", 1 / 7), ("normal", 1 / 5), ("cosine", 1 / 5)):
        assert drawn[of].square().mean().item() == pytest.approx(variance, rel=0.05)
    assert beyond(drawn["radius"], 0.8) == pytest.approx(1 - 0.8**5, abs=0.02)


def test_the_distance_from_normal_is_larger_for_a_coin_than_for_noise():
    noise = torch.randn(20_000, generator=rng())
    assert from_normal(noise) < 0.01
    assert from_normal(noise.sign()) == pytest.approx(0.341, abs=0.01)


def test_another_bound_in_place_of_the_corrected_one_fails(three_seeds, monkeypatch):
    monkeypatch.setattr(tails_corrected, "DRAWS", 4000)
    study = TailsCorrected()
    right = study.measure(three_seeds).numbers
    assert study.tail_over_corrected.holds(right["tail over corrected"])
    assert right["tail over corrected, coins"].value < 1 < right["distance from normal, coins"].value * 4
    monkeypatch.setattr(
        tails_corrected, "corrected", lambda n, eps: max(corrected(4 * n, eps) / 2, 1e-99)
    )  # the printed one
    wrong = study.measure(three_seeds).numbers
    assert wrong["tail over corrected"].value > 1


def test_a_single_outlier_violates_no_bound():
    tail = torch.zeros(tails_corrected.DRAWS)
    tail[0] = 0.9  # of 2.6e-18 points that the bound allows
    assert over_corrected(100, tail) < 1
    tail[: tails_corrected.DRAWS // 2] = 0.9  # and half of them do
    assert over_corrected(100, tail) > 1
