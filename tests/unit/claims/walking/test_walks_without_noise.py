"""T15 on maps with known iterates."""

from dataclasses import replace

from copyfold.claims.walking.walks_without_noise import WalksWithoutNoise
from copyfold.studies.base import Verdict
from labs import Known, outcome


def rolled(x):
    return x.roll(4, dims=3)


def test_an_image_that_is_copied_does_not_walk_and_one_that_is_moved_does(shelf):
    shelf.models = (Known(),)
    verdict, _, numbers = outcome(WalksWithoutNoise(), shelf)
    assert verdict is Verdict.DOES_NOT_HOLD
    assert numbers["walking fraction"].value == 0 == numbers["displacement over noisy walk"].value
    assert numbers["walking fraction, with noise"].value == 1
    assert numbers["at rest, batch statistics"].value == 1
    shelf.models = (Known(rolled),)
    verdict, held, numbers = outcome(WalksWithoutNoise(), shelf)
    assert set(held.values()) == {True}
    assert verdict is Verdict.UNDECIDED  # untrained, it walks as well
    assert numbers["walking fraction"].value == 1


def test_an_image_attracted_to_a_fixed_point_walks_and_then_rests(shelf):
    shelf.budget = replace(shelf.budget, steps=500)
    shelf.models = (Known(lambda x: 0.5 + 0.5 * (x - 0.5)),)
    _, _, numbers = outcome(WalksWithoutNoise(), shelf)
    assert numbers["walking fraction"].value == 1 == numbers["at rest, batch statistics"].value
