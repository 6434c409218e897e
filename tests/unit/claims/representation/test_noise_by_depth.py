"""T12 on known layers."""

import pytest
import torch
from torch import nn

from copyfold.claims.representation import noise_by_depth
from copyfold.claims.representation.noise_by_depth import REORDERED, NoiseByDepth, accuracy, classifiers
from copyfold.probes.base import tap
from copyfold.studies.base import Verdict
from copyfold.studies.toolkit.representations import TRAINED, UNTRAINED
from labs import Function, Staged, random_part


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
    [("narrow", "same", Verdict.HOLDS), ("same", "narrow", Verdict.DOES_NOT_HOLD)],
)
def test_noise_that_stays_first_and_goes_deep_is_told_from_other_noise(
    represented, monkeypatch, first, deep, verdict
):
    maps = {"narrow": lambda x: x - random_part(64)(x), "same": lambda x: x}  # it loses 4 of 256 dimensions
    networks = {
        TRAINED: as_blocks(maps[first], maps[deep]),
        UNTRAINED: as_blocks(maps["same"], random_part(2)),
        REORDERED: as_blocks(maps["same"], random_part(2)),
    }
    monkeypatch.setattr(noise_by_depth, "classifiers", lambda *_: networks)
    monkeypatch.setattr(noise_by_depth, "accuracy", lambda *_: 0.9)
    known = Staged(maps[first])
    came, found = represented(NoiseByDepth(), {"": known}, Staged(after=random_part(2)), left=9.0, tight=True)
    of = {name: threshold.holds(found.numbers[name]) for name, threshold in NoiseByDepth().thresholds().items()}
    assert of["first block vit"] is of["first block mlp"] is (first == "narrow")
    assert came == verdict
    assert found.captions.keys() == found.figures.keys()
