"""The theory of random layers: where descent ends, and what its study says of layers that are not random."""

from math import pi, sqrt

import pytest
import torch
from torch import Generator, nn

import copyfold as cf
from copyfold.claims.representation import looks_gaussian as noninvertible
from copyfold.claims.representation.looks_gaussian import (
    LawOfOneLayer,
    LooksGaussian,
    over_law,
    represented,
    settled,
)
from copyfold.measures import distance
from copyfold.models.blocks import BatchNorm
from copyfold.studies.base import Verdict
from copyfold.studies.budget import BUDGETS
from copyfold.studies.lab import Lab


@pytest.fixture
def lab(tmp_path):
    return Lab(BUDGETS["tiny"], {}, tmp_path)


def images(count=8, side=16, channels=1):
    return torch.rand(count, channels, side, side, generator=Generator().manual_seed(1))


def smooth(m, side):
    """A layer that sees the m smoothest cosines of an image."""
    k = torch.arange(side)
    waves = torch.cos(pi * (k + 0.5) * k[:, None] / side)
    both = torch.einsum("ai,bj->abij", waves, waves).flatten(2).flatten(0, 1)
    order = (k[:, None] + k).flatten().argsort()
    layer = nn.Linear(side * side, m)
    layer.weight.data = nn.functional.normalize(both[order[:m]])
    return layer


def test_descent_ends_where_the_layer_agrees_and_the_rest_is_the_start():
    layer, x = nn.Linear(256, 100), images()
    start = torch.full_like(x, 0.7)
    found = represented(layer.weight, x, start)
    torch.testing.assert_close(layer(found.flatten(1)), layer(x.flatten(1)), rtol=0, atol=1e-5)
    null = torch.linalg.svd(layer.weight.detach()).Vh[100:]
    torch.testing.assert_close(found.flatten(1) @ null.T, start.flatten(1) @ null.T, rtol=0, atol=1e-4)


def test_a_layer_that_loses_nothing_finds_the_image():
    x = images()
    torch.testing.assert_close(represented(torch.eye(256), x, torch.zeros_like(x)), x)


def test_a_random_layer_obeys_the_law_and_a_smooth_one_does_not():
    x = cf.Blur(9, 3.0)(images(side=32))
    start = torch.full_like(x, 0.7)
    ruled = over_law(represented(nn.Linear(1024, 256).weight, x, start), x, start, 1 / 4)
    assert all((ratio - 1).abs().max() < 0.15 for ratio in ruled.values())
    seen = over_law(represented(smooth(256, 32).weight, x, start), x, start, 1 / 4)
    assert seen["length"].max() < 0.5


def test_the_law_is_of_noise_and_length():
    x, xi = images(), torch.randn(8, 1, 16, 16, generator=Generator().manual_seed(2))
    start = torch.zeros_like(x)
    rms = x.flatten(1).square().mean(1).sqrt().view(-1, 1, 1, 1)
    by_law = 0.3 * x + sqrt(0.21) * rms * xi
    ratios = over_law(by_law, x, start, 0.3)
    torch.testing.assert_close(ratios["noise"], xi.flatten(1).square().mean(1).sqrt())
    torch.testing.assert_close(ratios["length"], distance(by_law, x) / (sqrt(0.7) * distance(x, start)))


def test_a_settled_model_has_the_averages_of_the_images():
    model, x = cf.UNet((1, 16, 16), width=4, depth=2), images(16)
    with torch.no_grad():
        by_batch = model.eval()(x)
        with settled(model, x).using("running"):
            assert not model.training
            torch.testing.assert_close(model(x), by_batch, rtol=0.05, atol=0.02)
    assert {m.momentum for m in model.modules() if isinstance(m, BatchNorm)} == {0.1}


def test_layers_that_are_not_random_fail_the_law(lab, monkeypatch):
    monkeypatch.setattr(
        noninvertible, "random_layer", lambda lab, photos, share, seed: smooth(int(share * 256), 16)
    )
    numbers = LawOfOneLayer().measure(lab).numbers
    assert LawOfOneLayer().length_off.holds(numbers["length off"]) is False
    assert LawOfOneLayer().noise_off.holds(numbers["noise off"]) is False


def test_layers_that_keep_the_image_fail_to_look_gaussian(lab, monkeypatch):
    def whole(*given):
        layer = nn.Linear(256, 256)
        layer.weight.data = torch.eye(256) + 0.01 * torch.randn(256, 256, generator=Generator().manual_seed(0))
        return layer

    monkeypatch.setattr(noninvertible, "random_layer", whole)
    study = LooksGaussian()
    numbers = study.measure(lab).numbers
    assert study.normality_of_the_representation.holds(numbers["normality of the representation"]) is False
    assert study.flatness_of_the_representation.holds(numbers["flatness of the representation"]) is False
    assert numbers["image in the representation, constant start"].value > 0.999
    assert study.verdict(numbers) in (Verdict.FAILS, Verdict.MIXED)
