"""T12 on known layers."""

import pytest
import torch
from torch import nn

from copyfold.claims.representation import noise_by_depth
from copyfold.claims.representation.noise_by_depth import REORDERED, NoiseByDepth, accuracy, classifiers
from copyfold.probes.base import tap
from copyfold.studies.base import Verdict
from copyfold.studies.toolkit import search
from copyfold.studies.toolkit.represented import TRAINED, UNTRAINED
from labs import Function, Staged, random_part


@pytest.fixture(autouse=True)
def nothing_from_afar(monkeypatch):
    """What decides is measured near the image; images found from afar are only shown."""
    monkeypatch.setattr(search, "MOST", 2)


def test_accuracy_is_the_fraction_of_right_answers(lab):
    photos = lab.labelled("fashion_mnist")

    class Three(nn.Module):
        def forward(self, x):
            return nn.functional.one_hot(torch.full((len(x),), 3), 10).float()

    assert accuracy(lab, Three(), photos) == pytest.approx((photos.held_out_labels == 3).mean())


def test_the_transformers_first_block_narrows(lab):
    photos = lab.labelled("fashion_mnist")
    x, states = lab.images(photos, count=2), classifiers(lab, photos, 0)
    assert tap(states[TRAINED], "blocks.0", x).shape[1] == x[0].numel() / 2
    assert not torch.equal(states[TRAINED](x), states[REORDERED](x))


def as_blocks(first, then):
    """Six blocks, the first of which and the last of which are these maps."""
    parts = [Function(first), *(nn.Identity() for _ in range(4)), Function(then)]
    model = nn.Module()
    model.blocks = nn.Sequential(*parts)
    model.forward = lambda x: model.blocks(x).flatten(1)
    return model


@pytest.mark.parametrize(
    ("first", "deep", "verdict"),
    [
        (("half", "half"), ("same", "quarter"), Verdict.HOLDS),
        (("half", "half"), ("quarter", "same"), Verdict.DOES_NOT_HOLD),  # training adds noise
        (("most", "quarter"), ("same", "quarter"), Verdict.DOES_NOT_HOLD),  # and cleans the first block
        (("same", "same"), ("same", "quarter"), Verdict.UNDECIDED),  # the first block is not noisy
    ],
)
def test_noise_that_stays_first_and_goes_deep_is_told_from_other_noise(
    represented, monkeypatch, first, deep, verdict
):
    """Of the maps each is (trained, untrained)."""
    maps = {"same": lambda x: x, "most": most, "half": random_part(2), "quarter": random_part()}
    states = [as_blocks(maps[first[i]], maps[deep[i]]) for i in (0, 1)]
    networks = {TRAINED: states[0], UNTRAINED: states[1], REORDERED: states[1]}
    monkeypatch.setattr(noise_by_depth, "classifiers", lambda *_: networks)
    monkeypatch.setattr(noise_by_depth, "accuracy", lambda *_: 0.9)
    came, found = represented(NoiseByDepth(), {"": Staged()}, Staged(after=random_part(2)), tight=True)
    assert came == verdict
    kept = first[0] == first[1]
    assert (found.numbers["first block over untrained"].value == pytest.approx(1, abs=0.05)) is kept
    assert found.captions.keys() == found.figures.keys()


def most(x):
    """It sees nine tenths of all directions."""
    return x - random_part(10)(x)
