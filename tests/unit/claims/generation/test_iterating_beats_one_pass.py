"""T17 on networks whose samples are known."""

import pytest
import torch

import copyfold as cf
from copyfold.claims.generation.iterating_beats_one_pass import IteratingBeatsOnePass, growing
from copyfold.errors import Diverged
from copyfold.measures import sharpness
from copyfold.studies.base import Verdict
from copyfold.studies.toolkit import samples
from labs import Known, outcome


def test_iterating_gains_nothing_where_every_pass_gives_the_same(shelf):
    shelf.models = (shelf.painter(0.0),)
    _, holds, numbers = outcome(IteratingBeatsOnePass(), shelf)
    assert holds["patch distance over linear model"] is True
    assert numbers["patch distance over one pass"].value == pytest.approx(1, rel=1e-4)
    assert (
        numbers["patch distance, one pass, larger images"].value
        < 2 * numbers["patch distance, real, larger images"].value
    )


def test_a_network_that_restores_what_is_brighter_than_noise_holds(shelf):
    """Noise alone gives grey, and what has begun to be an image becomes one."""
    painter = shelf.painter(0.0)

    def improving(z):
        fresh = (z - 0.7).mean((1, 2, 3), keepdim=True).abs() < 0.05  # pure noise
        return torch.where(fresh, torch.full_like(z, 0.2), painter.function(z))

    shelf.models = (Known(improving),)
    verdict, _, numbers = outcome(IteratingBeatsOnePass(), shelf)
    assert verdict is Verdict.HOLDS
    assert numbers["patch distance over one pass"].value < 0.5
    assert numbers["patch distance over mean photograph"].value < 1


def test_a_copy_generates_nothing_from_noise(shelf):
    shelf.models = (Known(),)
    verdict, holds, numbers = outcome(IteratingBeatsOnePass(), shelf)
    assert verdict is not Verdict.HOLDS
    assert holds["patch distance over linear model"] is False
    assert numbers["patch distance over as sharp as 30 steps"].value > 1


def test_a_seed_whose_ascent_diverges_counts_in_all_else(shelf, monkeypatch):
    ascended, name = samples.ascended, "patch distance, Ascent, smaller images"

    def diverging(lab, model, count, seed):
        if seed in broken:
            raise Diverged("too far")
        return ascended(lab, model, count, seed)

    monkeypatch.setattr(samples, "ascended", diverging)
    shelf.models = (shelf.painter(0.1),)
    for broken, seeds in (({0}, 1), ({0, 1}, 0)):
        found = IteratingBeatsOnePass().measure(shelf)
        assert len(found.numbers["patch distance over one pass"].seeds) == 2
        assert len(found.numbers[name].seeds if name in found.numbers else ()) == seeds
        assert found.notes == (f"Ascent diverged in {len(broken)} of 2 seeds: its numbers are of the others",)


def test_ascent_is_of_two_seeds_and_films_of_the_first(shelf, monkeypatch):
    seen = []
    monkeypatch.setattr(samples, "denoiser", lambda lab, photos, seed: seen.append(seed) or shelf.models[0])
    shelf.models, shelf.seeds = (shelf.painter(0.1),), range(3)
    found = IteratingBeatsOnePass().measure(shelf)
    assert seen == [0, 1]
    assert len(found.numbers["patch distance, Ascent, smaller images"].seeds) == 2
    assert len(found.numbers["patch distance over one pass"].seeds) == 3
    assert not found.notes


def test_photographs_are_blurred_to_the_samples_as_they_are_shown(shelf, monkeypatch):
    """Samples of great contrast are sharper before they are clipped than after."""
    painter, asked = shelf.painter(0.0), []
    shelf.models = (Known(lambda z: 0.5 + 5 * (painter.function(z) - 0.5)),)
    blurred_to = samples.blurred_to
    monkeypatch.setattr(samples, "blurred_to", lambda x, like: (asked.append(like), blurred_to(x, like))[1])
    IteratingBeatsOnePass().measure(shelf)
    assert asked
    assert all(like.min() >= 0 and like.max() <= 1 for like in asked)
    raw = 0.5 + 5 * (painter.function(torch.zeros_like(asked[0])) - 0.5)
    assert sharpness(asked[0]).mean() < 0.9 * sharpness(raw).mean()


def test_the_growing_film_equals_that_of_the_script():
    sampler = growing(30, 128)
    assert (sampler.schedule, sampler.grow) == (cf.Ramp(40), ((20, 256),))
