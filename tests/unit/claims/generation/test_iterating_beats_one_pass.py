"""T17 on networks whose samples are known."""

import pytest

import copyfold as cf
from copyfold.claims.generation.iterating_beats_one_pass import IteratingBeatsOnePass, growing
from copyfold.studies.base import Verdict
from labs import Known, outcome


def test_iterating_gains_nothing_where_every_pass_gives_the_same(shelf):
    shelf.models = (shelf.painter(0.0),)
    _, holds, numbers = outcome(IteratingBeatsOnePass(), shelf)
    assert holds["patch distance over linear model"] is True
    assert numbers["patch distance over one pass"].value == pytest.approx(1, rel=1e-4)
    assert numbers["patch distance, one pass"].value < 2 * numbers["patch distance, real"].value


def test_a_copy_generates_nothing_from_noise(shelf):
    shelf.models = (Known(),)
    verdict, holds, numbers = outcome(IteratingBeatsOnePass(), shelf)
    assert verdict is not Verdict.HOLDS
    assert holds["patch distance over linear model"] is False
    assert numbers["patch distance, blurred photographs"].value < numbers["patch distance, 30 steps"].value


def test_the_growing_film_equals_that_of_the_script():
    sampler = growing(30, 128)
    assert (sampler.schedule, sampler.grow) == (cf.Ramp(40), ((20, 256),))
