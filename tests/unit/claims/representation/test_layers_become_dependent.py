"""Layers of known dependence."""

import copy
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Generator

from copyfold.claims.representation import layers_become_dependent
from copyfold.claims.representation.layers_become_dependent import (
    LayersBecomeDependent,
    alignment,
    cosines,
    waves,
    weights,
)
from copyfold.studies.base import Verdict


def normal(*shape):
    return torch.randn(*shape, generator=Generator().manual_seed(0))


def test_the_angles_of_known_spaces():
    axes = torch.eye(6)
    torch.testing.assert_close(cosines(axes[:, :2], axes[:2]), torch.ones(2).double())
    torch.testing.assert_close(cosines(axes[:, :2], axes[3:5]), torch.zeros(2).double())
    slanted = torch.stack((axes[0] * 0.6 + axes[3] * 0.8, axes[4]))
    torch.testing.assert_close(cosines(axes[:, :2], slanted), torch.tensor([0.6, 0.0]).double())


def test_random_spaces_overlap_by_their_share_of_the_dimensions():
    overlap = cosines(normal(400, 100), torch.flip(normal(100, 400), (0, 1))).square().mean().item()
    assert overlap == pytest.approx(1 / 4, abs=0.02)


def test_the_alignment_of_known_layers():
    assert alignment(torch.eye(5), torch.eye(5)) == pytest.approx(1)
    says, hears = torch.outer(torch.eye(5)[0], normal(3)), torch.outer(normal(4), torch.eye(5)[0])
    assert alignment(says, hears) == pytest.approx(5)
    assert alignment(says, torch.outer(normal(4), torch.eye(5)[1])) == pytest.approx(0)
    assert alignment(normal(300, 200), torch.flip(normal(250, 300), (0, 1))) == pytest.approx(1, abs=0.05)


def test_the_wide_layers_are_wider_than_both_neighbours():
    assert [tuple(w.shape) for w in weights(waves((1, 16, 16)))] == [
        (8, 256), (32, 8), (8, 32), (32, 8), (8, 32), (256, 8),
    ]  # fmt: skip


@pytest.mark.parametrize(("tied", "verdict"), [(False, Verdict.DOES_NOT_HOLD), (True, Verdict.HOLDS)])
def test_unchanged_layers_stay_independent_and_tied_layers_do_not(three_seeds, monkeypatch, tied, verdict):
    def copies(lab, make, photos, seed, **plan):
        first = three_seeds.untrained(make, photos, seed)
        trained = copy.deepcopy(first)
        if tied:  # every layer undoes, as far as it can, what the one before it did
            layers = weights(trained)
            for before, after in pairwise(layers):
                rows, columns = min(len(after), before.shape[1]), min(after.shape[1], len(before))
                after[:rows, :columns] = before.T[:rows, :columns]
        return {"untrained": first, "trained": trained}

    monkeypatch.setattr(layers_become_dependent, "untrained_and_trained", copies)
    study = LayersBecomeDependent()
    found = study.measure(three_seeds)
    narrow = {name: replace(e, low=e.value, high=e.value) for name, e in found.numbers.items()}
    assert study.verdict(narrow) is verdict
    assert study.verdict(narrow, copying=found.copying) is Verdict.NOT_IN_REGIME  # nothing was trained
    assert found.numbers["overlap over untrained, reordered"].value == pytest.approx(1, abs=0.3)
    assert found.numbers["alignment over untrained, reordered"].value == pytest.approx(1, abs=0.1)


def test_a_change_of_each_layer_by_itself_is_no_dependence(three_seeds, monkeypatch):
    """All units say and hear one thing: layers are aligned, and after a permutation as well."""

    def copies(lab, make, photos, seed, **plan):
        first = three_seeds.untrained(make, photos, seed)
        trained = copy.deepcopy(first)
        for w in weights(trained):
            w += 1
        return {"untrained": first, "trained": trained}

    monkeypatch.setattr(layers_become_dependent, "untrained_and_trained", copies)
    study = LayersBecomeDependent()
    numbers = study.measure(three_seeds).numbers
    assert all(threshold.holds(numbers[name]) for name, threshold in study.thresholds().items())
    assert study.verdict(numbers) is Verdict.UNDECIDED
