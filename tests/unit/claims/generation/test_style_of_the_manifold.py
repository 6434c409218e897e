"""T19 on images whose style is known."""

import pytest
import torch
from torch import Generator

from copyfold.claims.generation.style_of_the_manifold import (
    StyleOfTheManifold,
    closeness,
    log_distances,
    pseudo_values,
    style_changes,
    style_distance,
    texture_distance,
)
from copyfold.corruptions import Blur
from copyfold.probes import quality
from copyfold.studies.base import Verdict
from copyfold.studies.statistics import over_seeds
from copyfold.studies.toolkit.samples import geometric_mean
from labs import outcome

AB = [("a", "b")]


def textured(scale, seed):
    return 0.5 + scale * torch.randn(32, 1, 16, 16, generator=Generator().manual_seed(seed))


def test_different_and_equal_styles_decide_the_verdict(monkeypatch):
    monkeypatch.setattr(quality, "PATCHES", 1024)
    kinds = ("walk", "samples", "denoised")
    made = {
        name: {kind: textured(scale, 3 * i + j) for j, kind in enumerate(kinds)}
        for i, (name, scale) in enumerate({"a": 0.1, "b": 0.4}.items())
    }
    assert all(ratio < 0.5 for ratio in closeness(made, AB, Generator().manual_seed(0)).values())
    alike = {
        name: {kind: textured(0.2, 10 * i + j) for j, kind in enumerate(kinds)} for i, name in enumerate("ab")
    }
    assert all(0.7 < r < 1.4 for r in closeness(alike, AB, Generator().manual_seed(0)).values())
    one = {kind: textured(0.2, j) for j, kind in enumerate(kinds)}
    assert closeness({"a": one, "b": one}, AB, Generator().manual_seed(0)) == pytest.approx({"a": 1, "b": 1})


def test_walks_far_from_all_samples_are_not_a_style(monkeypatch):
    monkeypatch.setattr(quality, "PATCHES", 1024)
    made_of_noise = textured(0.2, 0)
    made = {
        "a": {"walk": textured(0.3, 1), "samples": made_of_noise},
        "b": {"walk": textured(0.6, 2), "samples": made_of_noise},
    }
    ratios = closeness(made, AB, Generator().manual_seed(0))
    assert ratios["a"] < 0.5 < 2 < ratios["b"]
    assert geometric_mean(list(ratios.values())) == pytest.approx(1)


def changes(made):
    return pseudo_values(style_changes(log_distances(made, [tuple(made)[:2]], Generator().manual_seed(0)))).exp()


def test_the_change_of_style_is_that_beyond_the_seeds(monkeypatch):
    monkeypatch.setattr(quality, "PATCHES", 1024)
    different = {
        "smooth": [Blur(9, 2.0)(textured(1.0, seed)) for seed in (1, 2, 3)],
        "rough": [textured(0.03, seed) for seed in (4, 5, 6)],
    }
    assert all(ratio > 1.5 for ratio in changes(different))
    same = {
        name: [Blur(9, std)(textured(0.2, 10 * i + seed)) for seed, std in enumerate((0.3, 0.8, 2.0))]
        for i, name in enumerate(("a", "b"))
    }
    assert changes(same).log().mean().exp() == pytest.approx(1, abs=0.2)  # seeds differ, and architectures do not
    two = {"a": [textured(0.1, 1), textured(0.1, 2)], "b": [textured(0.2, 3), textured(0.2, 4)]}
    assert changes(two).isnan().all()


def test_samples_from_the_same_noise_are_in_neither_distance(monkeypatch):
    """Networks of one style whose samples of a seed are equal: by seed they would be nearer than seeds are."""
    monkeypatch.setattr(quality, "PATCHES", 1024)
    made = {name: [textured(0.2, seed) for seed in range(3)] for name in "abc"}
    torch.testing.assert_close(changes(made), torch.ones(3, dtype=torch.float64))


def test_blur_alone_is_no_style(monkeypatch):
    monkeypatch.setattr(quality, "PATCHES", 1024)
    x, y = textured(0.2, 0), textured(0.2, 1)
    rng = Generator().manual_seed(0)
    state = rng.get_state()

    def distance(of, a, b):
        return of(a, b, rng.set_state(state))

    blurred = Blur(7, 1.0)(y)
    alike = distance(style_distance, x, y)
    assert distance(texture_distance, x, blurred) > 3 * alike
    assert distance(style_distance, x, blurred) < 1.5 * alike
    assert distance(style_distance, x, blurred) == pytest.approx(distance(style_distance, blurred, x), rel=0.3)


def test_the_interval_of_pairs_covers_where_that_of_their_means_would_not():
    """Pairs share what is a seed's own: L[r, s] = a_r + a_s + noise, with mean 0, 5 seeds, 600 trials."""
    rng = Generator().manual_seed(0)
    covered = {"jackknife": 0, "means": 0}
    for _ in range(600):
        own = torch.randn(5, generator=rng, dtype=torch.float64)
        pairs = own[:, None] + own + 0.5 * torch.randn(5, 5, generator=rng, dtype=torch.float64).triu(1)
        pairs = pairs.triu(1) + pairs.triu(1).T
        values = {"jackknife": pseudo_values(pairs), "means": pairs.sum(1) / 4}
        torch.testing.assert_close(values["jackknife"].mean(), values["means"].mean())
        for name, value in values.items():
            found = over_seeds(value.tolist())
            covered[name] += found.low <= 0 <= found.high
    assert covered["jackknife"] > 0.92 * 600
    assert covered["means"] < 0.8 * 600


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
    shelf.seeds = range(3)
    _, holds, numbers = outcome(StyleOfTheManifold(), shelf)
    assert holds["within over between networks"] is True
    assert numbers["change of style over that between seeds"].value > 1
    assert numbers["change of style when denoising, half the width"].value > (
        numbers["change of style when denoising, hidden module"].value
    )
