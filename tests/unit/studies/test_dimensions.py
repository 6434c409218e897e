"""The geometry of the theory: free dimensions that are known, tails in closed form, a bound that must fail."""

from dataclasses import replace

import pytest
import torch
from torch import Generator, nn

from copyfold.claims.representation import tails_corrected as dimensions
from copyfold.claims.representation.tails_corrected import (
    FreedomGrows,
    TailsCorrected,
    beyond,
    chain,
    corrected,
    freedom,
    from_normal,
    over_corrected,
    points,
    product,
    undone,
)
from copyfold.studies.base import Verdict
from copyfold.studies.budget import BUDGETS
from copyfold.studies.lab import Lab


@pytest.fixture
def lab(tmp_path):
    return Lab(replace(BUDGETS["tiny"], seeds=3), {}, tmp_path)


def rng():
    return Generator().manual_seed(0)


def layer(weight, bias=0.0):
    made = nn.Linear(weight.shape[1], weight.shape[0]).double()
    made.weight.data, made.bias.data = weight.double(), torch.full((len(weight),), bias).double()
    return made


def test_a_chain_is_as_free_as_its_narrowest_layer():
    assert freedom(chain((20, 15, 9, 12), 0), False, rng())[:, 0].tolist() == [5, 11, 11]
    assert freedom([layer(torch.eye(6)), layer(torch.eye(6)[:2])], False, rng())[:, 0].tolist() == [0, 4]


def test_a_relu_that_is_off_frees_everything():
    assert (freedom([layer(torch.eye(6), -100.0)], True, rng()) == 6).all()
    assert (freedom([layer(torch.eye(6), 100.0)], True, rng()) == 0).all()


def test_a_chain_is_the_same_for_the_same_seed():
    first, again, other = (chain((4, 3), seed)[0].weight for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_essay_s_product_has_more_dimensions_than_there_are_or_none():
    assert product((20, 15, 9, 4)) == [5, 30, 150]
    assert product((20, 10, 10)) == [10, 0]


def test_square_layers_are_undone():
    numbers = undone([layer(2 * torch.eye(8)), layer(0.05 * torch.eye(8), 1.0)], rng())
    assert numbers["error of the exact inverse, square"].max() < 1e-12
    moved = numbers["moved by noise in the output, square"]
    assert 0.001 < moved.mean() < 0.1  # a hundredth, as the layers shrink by ten


def test_the_formula_of_the_essay_fails_where_freedom_grows(lab):
    study = FreedomGrows()
    numbers = study.measure(lab).numbers
    assert study.verdict(numbers) is Verdict.MIXED
    assert numbers["right formula off, narrowing"].value == 0
    assert numbers["free, narrowing, linear"].value == 256 - 64


def test_points_have_the_moments_of_sphere_ball_and_normal():
    drawn = points(5, rng())
    for of, variance in (("sphere", 1 / 5), ("ball", 1 / 7), ("normal", 1 / 5), ("cosine", 1 / 5)):
        assert drawn[of].square().mean().item() == pytest.approx(variance, rel=0.05)
    assert beyond(drawn["radius"], 0.8) == pytest.approx(1 - 0.8**5, abs=0.02)


def test_the_distance_from_normal_tells_a_coin_from_noise():
    noise = torch.randn(20_000, generator=rng())
    assert from_normal(noise) < 0.01
    assert from_normal(noise.sign()) == pytest.approx(0.341, abs=0.01)


def test_another_bound_in_place_of_the_corrected_one_fails(lab, monkeypatch):
    monkeypatch.setattr(dimensions, "DRAWS", 4000)
    study = TailsCorrected()
    right = study.measure(lab).numbers
    assert study.tail_over_corrected.holds(right["tail over corrected"])
    assert right["tail over corrected, coins"].value < 1 < right["distance from normal, coins"].value * 4
    monkeypatch.setattr(
        dimensions, "corrected", lambda n, eps: max(corrected(4 * n, eps) / 2, 1e-99)
    )  # the printed one
    wrong = study.measure(lab).numbers
    assert wrong["tail over corrected"].value > 1


def test_a_single_point_far_out_breaks_no_bound():
    tail = torch.zeros(dimensions.DRAWS)
    tail[0] = 0.9  # of 2.6e-18 points that the bound allows
    assert over_corrected(100, tail) < 1
    tail[: dimensions.DRAWS // 2] = 0.9  # and half of them do
    assert over_corrected(100, tail) > 1
