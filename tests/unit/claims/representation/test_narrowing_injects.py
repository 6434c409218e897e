"""Lossless narrow layers."""

import pytest
from torch import nn

from copyfold.claims.representation import narrowing_injects
from copyfold.claims.representation.narrowing_injects import NarrowingInjects, halving
from copyfold.studies.base import Verdict
from labs import Lossless, stages


def test_the_halving_mlp_halves_its_width():
    assert [m.out_features for m in halving((1, 8, 8)).modules() if isinstance(m, nn.Linear)] == [
        32,
        16,
        8,
        16,
        32,
        64,
    ]


def test_lossless_networks_add_and_remove_nothing(lab, monkeypatch):
    def copies(lab, make, photos, seed, **plan):
        names = {"3": nn.Identity(), "6": nn.Identity(), "8": nn.Identity()}
        model = Lossless(encoder=names | stages(["stem", "down1", "down2"]))
        return {"untrained": model, "trained": model}

    monkeypatch.setattr(narrowing_injects, "untrained_and_trained", copies)
    study = NarrowingInjects()
    numbers = study.measure(lab).numbers
    assert {name: numbers[name].value for name in study.thresholds()} == pytest.approx(
        {"added mlp": 1, "added unet": 1, "left mlp": 1, "left unet": 1}
    )
    assert study.verdict(numbers) is not Verdict.HOLDS
