"""T19 on images whose style is known."""

import math

import pytest
import torch
from torch import Generator

from copyfold.claims.generation.style_of_the_manifold import StyleOfTheManifold, closeness, style_changes
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


def test_the_change_of_style_is_that_beyond_the_seeds(monkeypatch):
    monkeypatch.setattr(quality, "PATCHES", 1024)
    rng = Generator().manual_seed(0)
    different = {"a": [textured(0.1, 1), textured(0.12, 2)], "b": [textured(0.4, 3), textured(0.38, 4)]}
    assert all(ratio > 3 for ratio in style_changes(different, rng))
    same = {"a": [textured(0.1, 1), textured(0.4, 2)], "b": [textured(0.11, 3), textured(0.41, 4)]}
    assert all(ratio < 0.5 for ratio in style_changes(same, rng))  # seeds differ, and architectures do not
    assert all(
        math.isnan(ratio) for ratio in style_changes({"a": [textured(0.1, 1)], "b": [textured(0.2, 2)]}, rng)
    )


def test_networks_with_similar_images_have_no_style_of_their_own(shelf):
    shelf.models = (shelf.painter(0.1),)
    verdict, _, numbers = outcome(StyleOfTheManifold(), shelf)
    assert verdict is not Verdict.HOLDS
    assert numbers["within over between networks"].value == pytest.approx(1, abs=0.2)


def test_networks_with_a_texture_each_have_a_style(shelf, monkeypatch):
    """Each adds noise of its own strength, which its seeds share."""

    def pick(make, photos):
        kind = "hidden" if make.keywords.get("middle") else str(make.keywords["width"])
        return painters[kind]

    painters = {"hidden": shelf.painter(0.1), "4": shelf.painter(0.35), "2": shelf.painter(0.8)}
    monkeypatch.setattr(shelf, "pick", pick)
    _, holds, numbers = outcome(StyleOfTheManifold(), shelf)
    assert holds["within over between networks"] is True
    assert numbers["change of style over that between seeds"].value > 1
    assert numbers["change of style when denoising, half the width"].value > (
        numbers["change of style when denoising, hidden module"].value
    )
