"""T9 on layers that keep the image."""

import torch
from torch import Generator, nn

from copyfold.claims.representation import looks_gaussian
from copyfold.claims.representation.looks_gaussian import LooksGaussian
from copyfold.studies.base import Verdict


def test_layers_that_keep_the_image_fail_to_look_gaussian(lab, monkeypatch):
    def whole(*given):
        layer = nn.Linear(256, 256)
        layer.weight.data = torch.eye(256) + 0.01 * torch.randn(256, 256, generator=Generator().manual_seed(0))
        return layer

    monkeypatch.setattr(looks_gaussian, "random_layer", whole)
    study = LooksGaussian()
    numbers = study.measure(lab).numbers
    assert study.normality_of_the_representation.holds(numbers["normality of the representation"]) is False
    assert study.flatness_of_the_representation.holds(numbers["flatness of the representation"]) is False
    assert numbers["image in the representation, constant start"].value > 0.999
    assert study.verdict(numbers) is Verdict.DOES_NOT_HOLD
