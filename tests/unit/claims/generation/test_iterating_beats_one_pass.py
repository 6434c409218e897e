"""T17 on networks whose samples are known."""

import pytest
import torch

import copyfold as cf
from copyfold.claims.generation.iterating_beats_one_pass import IteratingBeatsOnePass, growing
from copyfold.studies.base import Verdict
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


def test_the_growing_film_equals_that_of_the_script():
    sampler = growing(30, 128)
    assert (sampler.schedule, sampler.grow) == (cf.Ramp(40), ((20, 256),))
