"""T12 on lossless networks."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from copyfold.claims.representation import noise_by_depth
from copyfold.claims.representation.noise_by_depth import NoiseByDepth, accuracy
from copyfold.studies.base import Verdict
from labs import Lossless, stages


def test_accuracy_is_the_fraction_of_right_answers(lab):
    photos = lab.labelled("fashion_mnist")

    class OneNetworkLab(nn.Module):
        def forward(self, x):
            return nn.functional.one_hot(torch.full((len(x),), 3), 10).float()

    assert accuracy(lab, OneNetworkLab(), photos) == pytest.approx((photos.held_out_labels == 3).mean())


def test_lossless_networks_have_no_noise_to_remove(lab, monkeypatch):
    def copies(*given):
        down = stages(["stem", "down1", "down2"])
        model = Lossless(
            blocks={str(i): nn.Identity() for i in range(6)}, encoder=down, decoder=stages(["up1", "up2"])
        )
        return [{"untrained": model, "trained": model, "reordered": model}]

    monkeypatch.setattr(noise_by_depth, "unets", copies)
    monkeypatch.setattr(noise_by_depth, "classifiers", copies)
    lab.budget = replace(lab.budget, steps=250)  # 5 steps of descent
    study = NoiseByDepth()
    numbers = study.measure(lab).numbers
    assert study.verdict(numbers) is not Verdict.HOLDS
    for name in ("first block cnn", "first block vit", "first block unet"):
        assert study.thresholds()[name].holds(numbers[name]) is False
    assert numbers["unsettled, deepest block unet, trained"].value < 1e-3
