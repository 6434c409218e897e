"""T19 on images whose style is known."""

import pytest
import torch
from torch import Generator

from copyfold.claims.generation.style_of_the_manifold import StyleOfTheManifold, closeness
from copyfold.probes import quality
from copyfold.studies.base import Verdict
from copyfold.studies.toolkit.samples import geometric_mean
from labs import outcome


def textured(scale, seed):
    return 0.5 + scale * torch.randn(32, 1, 16, 16, generator=Generator().manual_seed(seed))


def test_different_and_equal_styles_decide_the_verdict(monkeypatch):
    monkeypatch.setattr(quality, "PATCHES", 1024)
    kinds = ("walk", "samples", "denoised")
    made = {
        name: {kind: textured(scale, 3 * i + j) for j, kind in enumerate(kinds)}
        for i, (name, scale) in enumerate({"a": 0.1, "b": 0.4}.items())
    }
    assert all(ratio < 0.5 for ratio in closeness(made, Generator().manual_seed(0)).values())
    alike = {
        name: {kind: textured(0.2, 10 * i + j) for j, kind in enumerate(kinds)} for i, name in enumerate("ab")
    }
    assert all(0.7 < r < 1.4 for r in closeness(alike, Generator().manual_seed(0)).values())
    one = {kind: textured(0.2, j) for j, kind in enumerate(kinds)}
    assert closeness({"a": one, "b": one}, Generator().manual_seed(0)) == pytest.approx({"a": 1, "b": 1})


def test_walks_far_from_all_samples_are_not_a_style(monkeypatch):
    monkeypatch.setattr(quality, "PATCHES", 1024)
    made_of_noise = textured(0.2, 0)
    made = {
        "a": {"walk": textured(0.3, 1), "samples": made_of_noise},
        "b": {"walk": textured(0.6, 2), "samples": made_of_noise},
    }
    ratios = closeness(made, Generator().manual_seed(0))
    assert ratios["a"] < 0.5 < 2 < ratios["b"]
    assert geometric_mean(list(ratios.values())) == pytest.approx(1)


def test_networks_with_similar_images_have_no_style_of_their_own(shelf):
    shelf.models = (shelf.painter(0.1),)
    verdict, _, numbers = outcome(StyleOfTheManifold(), shelf)
    assert verdict is not Verdict.HOLDS
    assert numbers["within over between networks"].value == pytest.approx(1, abs=0.2)
