"""T10 on random and on other layers."""

from math import pi, sqrt

import torch
from torch import Generator, nn

import copyfold as cf
from copyfold.claims.representation import law_of_one_layer
from copyfold.claims.representation.law_of_one_layer import LawOfOneLayer, over_law
from copyfold.measures import distance
from copyfold.studies.toolkit.random_layers import represented


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


def test_a_random_layer_follows_the_law_and_a_smooth_one_does_not():
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


def test_layers_that_are_not_random_fail_the_law(lab, monkeypatch):
    monkeypatch.setattr(
        law_of_one_layer, "random_layer", lambda lab, photos, share, seed: smooth(int(share * 256), 16)
    )
    numbers = LawOfOneLayer().measure(lab).numbers
    assert LawOfOneLayer().length_off.holds(numbers["length off"]) is False
    assert LawOfOneLayer().noise_off.holds(numbers["noise off"]) is False
