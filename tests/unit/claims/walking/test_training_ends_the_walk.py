"""T16 where training stops and where it starts the movement of images."""

from dataclasses import replace

import pytest

from copyfold.claims.walking.training_ends_the_walk import TrainingEndsTheWalk
from copyfold.studies.base import Verdict
from labs import Known, on_its_way, outcome


def moved(x):
    return x.roll(3, dims=3)


def kept(x):
    return x


def blown(x):
    return 0.5 + 1.5 * (x - 0.5)


@pytest.mark.parametrize(
    ("early", "late", "verdict", "change"),
    [
        (moved, kept, Verdict.HOLDS, -1),
        (kept, moved, Verdict.DOES_NOT_HOLD, 1),
        (moved, moved, Verdict.DOES_NOT_HOLD, 0),
        (moved, blown, Verdict.UNDECIDED, -1),  # fewer walk, but none rests
    ],
)
def test_training_that_ends_or_starts_the_walk_decides_the_verdict(
    shelf, monkeypatch, early, late, verdict, change
):
    shelf.budget = replace(shelf.budget, steps=150)
    shelf.models = (Known(),)
    on_its_way(monkeypatch, {0.08: early, 0.0008: late})
    found, _, numbers = outcome(TrainingEndsTheWalk(), shelf)
    assert found is verdict
    assert {numbers[f"walking late minus early {n} images"].value for n in (32, 256)} == {change}
    assert numbers["walking, 32 images, identity"].value == 0 == numbers["walking, 32 images, untrained"].value


def test_the_page_says_what_the_maps_do(shelf, monkeypatch):
    shelf.budget = replace(shelf.budget, steps=150)
    shelf.models = (Known(),)
    on_its_way(monkeypatch, {0.08: lambda x: x.roll(4, dims=3), 0.02: blown, 0.0008: lambda x: 0.5 * x})
    finding = TrainingEndsTheWalk().measure(shelf)
    numbers = {name: e.value for name, e in finding.numbers.items()}
    assert numbers["cycling, 256 images, 10 % left"] == 1 == numbers["escaping, 256 images, 3 % left"]
    assert (
        numbers["walking, 32 images, 0.1 % left"] == 1 == numbers["walked and came to rest, 32 images, 0.1 % left"]
    )
    assert numbers["walking, 32 images, 1 % left, held out, running statistics"] == 1
    tops = [numbers[f"largest singular value, 32 images, {left} % left"] for left in ("10", "3", "0.1")]
    assert tops == pytest.approx([1, 1.5, 0.5], rel=1e-3)
    assert "0% walk at 10 % left and 100% at 0.1 % left" in finding.came_out
    assert not finding.notes
    assert finding.captions.keys() == finding.figures.keys()
