"""The report's section on layers: what a layer does not tell apart, and what was only not found."""

import math
import re

import pytest
import torch
from torch import nn

import copyfold as cf
from copyfold.report.context import Context
from copyfold.report.sections import layers
from copyfold.report.sections.layers import Layers, called


class Rough(nn.Module):
    """An output that changes with every small step: no search gets anywhere, and yet it holds the image."""

    def forward(self, x):
        return x + 0.05 * torch.sin(3000 * x)


class Mean(nn.Module):
    """All that it keeps of an image is its mean brightness."""

    def forward(self, x):
        return x.mean((2, 3), keepdim=True).expand_as(x)


class Same(nn.Module):
    """All of an image, one number for one."""

    def forward(self, x):
        return 2 * x


class Through(cf.Autoencoder):
    """One of these, and back."""

    def __init__(self, shape, inside):
        super().__init__(shape)
        self.encoder, self.decoder = inside, nn.Tanh()

    def encode(self, x):
        return self.encoder(x)

    def decode(self, z):
        return self.decoder(z)


@pytest.fixture(scope="module")
def photos():
    return cf.Photos(cf.scenes(80, 16, channels=1), progress=False)


def content(photos, inside):
    return Layers()(Context.of(Through(photos.shape, inside), photos, None, 0))


def test_a_search_that_did_not_arrive_says_nothing_of_the_layer(photos):
    found = content(photos, Rough())
    assert found.numbers["encoder: arrived"] == 0
    assert found.numbers["encoder: layer over reference"] > layers.ARRIVED
    assert math.isnan(found.numbers["encoder: psnr"])
    words = " ".join(text.get_text() for text in found.figures[0].picture.texts)
    assert "not found: the search did not arrive" in re.sub(r"\s+", " ", words)
    assert "lost" not in found.text + found.figures[0].caption
    assert "did not arrive, the output still differs, and nothing follows" in found.figures[0].caption


@pytest.mark.parametrize(("inside", "low", "high"), [(Mean(), 0, 20), (Same(), 40, math.inf)])
def test_a_search_that_arrived_has_a_number(inside, low, high, photos):
    """Low of a layer that throws an image away, high of one that keeps it."""
    found = content(photos, inside)
    assert found.numbers["encoder: arrived"] == 1
    assert found.numbers["encoder: layer over reference"] <= layers.ARRIVED
    assert low < found.numbers["encoder: psnr"] <= high
    assert "dB" in called({"arrived": 1.0, "psnr": 12.3}, 4)


def test_a_row_says_how_many_searches_arrived():
    assert called({"arrived": 1.0, "psnr": 12.34}, 4) == "12.3 dB"
    assert called({"arrived": 1.0, "psnr": math.inf}, 4) == "the image itself"
    assert called({"arrived": 0.5, "psnr": 12.34}, 4) == "12.3 dB; of 4 searches 2 arrived"
    assert called({"arrived": 0.0, "psnr": math.nan}, 4) == "not found: the search did not arrive"


def test_a_layer_that_is_constant_is_reached(photos):
    """It sees nothing: every image is right."""

    class Nothing(nn.Module):
        def forward(self, x):
            return 0 * x

    found = content(photos, Nothing())
    assert found.numbers["encoder: arrived"] == 1
    assert found.numbers["encoder: layer over reference"] == 0
    assert found.numbers["encoder: psnr"] < 20


def test_the_text_says_what_the_output_itself_shows(photos):
    said = content(photos, Mean()).text
    assert re.search(r"copies of these images have \d+\.\d dB: so much of an image is in its output", said)
