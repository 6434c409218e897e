"""Generalisation, of a map, a memory, and what lies between."""

import pytest
import torch

from copyfold.claims.walking import generalises_under_descent as study
from copyfold.claims.walking.generalises_under_descent import GeneralisesUnderDescent, remembered, wide
from copyfold.studies.base import Verdict
from labs import Known


def copy(lab):
    return Known(lambda z: 0.95 * z)


def memory(lab):
    everything = lab.images(lab.photos("landscapes"), "train", 10_000)
    return Known(lambda z: remembered(z, everything) + 0 * z)


def blank(lab):
    return Known(lambda z: 0 * z)


@pytest.mark.parametrize(
    ("fully", "net", "verdict"),
    [
        (copy, copy, Verdict.HOLDS),
        (memory, memory, Verdict.DOES_NOT_HOLD),
        (copy, memory, Verdict.DOES_NOT_HOLD),
        (copy, blank, Verdict.NOT_IN_REGIME),  # it has not learned its training images
    ],
)
def test_a_map_is_told_from_a_memory(shelf, monkeypatch, fully, net, verdict):
    nets = {"fully": fully(shelf), "net": net(shelf)}
    monkeypatch.setattr(study, "copier", lambda *_: nets["net"])
    monkeypatch.setattr(shelf, "trained", lambda *_, **__: nets["fully"])
    monkeypatch.setattr(shelf, "untrained", lambda *_: Known(lambda z: torch.full_like(z, 9.0)))
    found = GeneralisesUnderDescent().measure(shelf)
    assert GeneralisesUnderDescent().verdict(found.numbers, copying=found.copying) is verdict
    if fully is memory:
        assert found.numbers["error over memory fully connected"].value == pytest.approx(1)
        assert found.copying["fully connected"].left["training"].value < 1e-6
    assert found.captions.keys() == found.figures.keys()


def test_every_layer_is_wider_than_the_image():
    assert wide((1, 16, 16)).config["hidden"] == [333, 333]
    assert wide((1, 16, 16)).latent_dim == 333


def test_the_networks_are_trained(lab):
    found = GeneralisesUnderDescent().measure(lab)
    assert GeneralisesUnderDescent().verdict(found.numbers, copying=found.copying) is Verdict.NOT_IN_REGIME
    assert found.copying["fully connected"].steps > 0
