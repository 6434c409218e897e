"""T16 where training stops and where it starts the movement of images."""

import pytest

from copyfold.claims.walking.training_ends_the_walk import TrainingEndsTheWalk
from copyfold.studies.base import Verdict
from labs import Known, outcome


def rolled(x):
    return x.roll(4, dims=3)


def test_training_that_ends_or_starts_the_walk_decides_the_verdict(shelf):
    shelf.models = (Known(rolled), Known(lambda x: 0.5 * x), Known())
    verdict, _, numbers = outcome(TrainingEndsTheWalk(), shelf)
    assert verdict is Verdict.HOLDS
    assert numbers["fraction late minus early"].value == -1
    tops = [e.value for name, e in numbers.items() if "singular" in name]
    assert tops == pytest.approx([1, 0.5, 1], rel=1e-4)
    shelf.models = shelf.models[::-1]
    assert outcome(TrainingEndsTheWalk(), shelf)[0] is Verdict.DOES_NOT_HOLD
