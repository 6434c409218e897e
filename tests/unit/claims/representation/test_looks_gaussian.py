"""T9 on layers that keep the image, and on networks whose search has no answer."""

import torch
from torch import Generator, nn

from copyfold.claims.representation import looks_gaussian
from copyfold.claims.representation.looks_gaussian import LooksGaussian, narrowing
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
    assert numbers["image in the representation, layer, constant start"].value > 0.999
    assert study.verdict(numbers) is Verdict.DOES_NOT_HOLD


def test_the_network_narrows_and_what_its_code_represents_is_found(lab):
    photos = lab.photos("landscapes")
    assert narrowing(photos.shape).latent_dim * 16 == 256
    found = LooksGaussian().measure(lab)
    assert found.numbers["answers, network, constant start"].value == 1
    assert found.numbers["image in the error, network, constant start"].value > 0.8  # most of the image is lost
    assert found.numbers["normality of the network"].value < found.numbers["normality of photographs"].value


def test_a_search_without_an_answer_decides_nothing(lab, monkeypatch):
    monkeypatch.setattr(looks_gaussian, "ENOUGH", 0.0)
    numbers = LooksGaussian().measure(lab).numbers
    assert numbers["answers, network, constant start"].value == 0
    study = LooksGaussian()
    assert study.normality_of_the_network.holds(numbers["normality of the network"]) is None
    assert study.verdict(numbers) is not Verdict.HOLDS
