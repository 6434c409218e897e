"""The studies of depth: networks out of step, and what must be said of networks that lose nothing."""

from collections import OrderedDict
from dataclasses import replace

import pytest
import torch
from torch import Generator, nn

import copyfold as cf
from copyfold.claims.representation import noise_by_depth as depth
from copyfold.claims.representation.noise_by_depth import (
    NarrowingInjects,
    NoiseByDepth,
    accuracy,
    halving,
    reordered,
)
from copyfold.studies.base import Verdict
from copyfold.studies.budget import BUDGETS
from copyfold.studies.lab import Lab


@pytest.fixture
def lab(tmp_path):
    return Lab(BUDGETS["tiny"], {}, tmp_path)


class Clear(nn.Module):
    """Passes the image through layers of these names, and changes nothing."""

    def __init__(self, **parts):
        super().__init__()
        for name, inside in parts.items():
            setattr(self, name, nn.Sequential(OrderedDict(inside)))

    def forward(self, x):
        for part in self.children():
            x = part(x)
        return x.flatten(1)


def blocks(count):
    return {str(i): nn.Identity() for i in range(count)}


def stages(names):
    return {name: nn.Sequential(OrderedDict(pool=nn.Identity())) for name in names}


def test_reordered_layers_keep_their_singular_values_and_lose_their_order():
    model = cf.MLP((1, 4, 4), hidden=[12], latent_dim=6)
    other = reordered(model, Generator().manual_seed(0))
    pairs = zip(model.parameters(), other.parameters(), strict=True)
    matrices = [(a, b) for a, b in pairs if a.dim() > 1]
    for a, b in matrices:
        torch.testing.assert_close(torch.linalg.svdvals(a), torch.linalg.svdvals(b))
    assert [torch.equal(a, b) for a, b in matrices] == [True, False, False, False]
    x = torch.rand(2, 1, 4, 4)
    assert not torch.allclose(model(x), other(x))


@pytest.mark.parametrize(
    "model",
    [
        cf.CNN((1, 8, 8), 3, (4, 8)),
        cf.ViT((1, 8, 8), 3, 4, 8, 2, 2, 16),
        cf.UNet((1, 8, 8), width=4, depth=1, skips="self"),
    ],
)
def test_every_architecture_of_the_study_can_be_reordered(model):
    before = [p.clone() for p in model.parameters()]
    other = reordered(model, Generator().manual_seed(0))
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    changed = [
        name
        for (name, a), b in zip(model.named_parameters(), other.parameters(), strict=True)
        if not torch.equal(a, b)
    ]
    wide = [name for name, p in model.named_parameters() if p.dim() > 1 and "positions" not in name]
    assert changed == wide[1:]


def test_the_halving_perceptron_halves():
    assert [m.out_features for m in halving((1, 8, 8)).modules() if isinstance(m, nn.Linear)] == [
        32,
        16,
        8,
        16,
        32,
        64,
    ]


def test_accuracy_counts_those_that_are_right(lab):
    photos = lab.labelled("fashion_mnist")

    class Always(nn.Module):
        def forward(self, x):
            return nn.functional.one_hot(torch.full((len(x),), 3), 10).float()

    assert accuracy(lab, Always(), photos) == pytest.approx((photos.held_out_labels == 3).mean())


def test_networks_that_lose_nothing_have_no_noise_and_none_is_removed(lab, monkeypatch):
    def copies(*given):
        down = stages(["stem", "down1", "down2"])
        model = Clear(blocks=blocks(6), encoder=down, decoder=stages(["up1", "up2"]))
        return [{"untrained": model, "trained": model, "reordered": model}]

    monkeypatch.setattr(depth, "unets", copies)
    monkeypatch.setattr(depth, "classifiers", copies)
    lab.budget = replace(lab.budget, steps=250)  # 5 steps of descent
    study = NoiseByDepth()
    numbers = study.measure(lab).numbers
    assert study.verdict(numbers) is not Verdict.HOLDS
    for name in ("first block cnn", "first block vit", "first block unet"):
        assert study.thresholds()[name].holds(numbers[name]) is False
    assert numbers["unsettled, deepest block unet, trained"].value < 1e-3


def test_networks_that_lose_nothing_have_nothing_added_or_removed(lab, monkeypatch):
    def copies(lab, make, photos, seed, **plan):
        names = {"3": nn.Identity(), "6": nn.Identity(), "8": nn.Identity()}
        model = Clear(encoder=names | stages(["stem", "down1", "down2"]))
        return {"untrained": model, "trained": model}

    monkeypatch.setattr(depth, "copiers", copies)
    study = NarrowingInjects()
    numbers = study.measure(lab).numbers
    assert {name: numbers[name].value for name in study.thresholds()} == pytest.approx(
        {"added mlp": 1, "added unet": 1, "left mlp": 1, "left unet": 1}
    )
    assert study.verdict(numbers) is not Verdict.HOLDS
