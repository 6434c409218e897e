"""T15 on maps with known iterates."""

from dataclasses import replace

import pytest

from copyfold.claims.walking.walks_without_noise import WalksWithoutNoise
from copyfold.studies.base import Verdict
from labs import Known, on_its_way, outcome


@pytest.fixture
def long(shelf):
    shelf.budget = replace(shelf.budget, steps=150)
    shelf.models = (Known(),)
    return shelf


def measured(lab, monkeypatch, function):
    on_its_way(monkeypatch, {0.009: function})
    return outcome(WalksWithoutNoise(), lab)


def test_images_that_are_copied_do_not_walk(long, monkeypatch):
    verdict, _, numbers = measured(long, monkeypatch, lambda x: x)
    assert verdict is Verdict.DOES_NOT_HOLD
    assert numbers["resting, 256 images, training, batches of 64"].value == 1
    assert numbers["displacement over that with noise, running statistics"].value == 0


def test_images_that_are_moved_walk(long, monkeypatch):
    verdict, _, numbers = measured(long, monkeypatch, lambda x: x.roll(3, dims=3).clamp(0, 1))
    assert verdict is Verdict.HOLDS
    assert numbers["variance of the ends over that of photographs, batches of 64"].value > 0.5
    assert numbers["walked and came to rest, 256 images, running statistics"].value == 0
    assert numbers["walking, PCA"].value == 0


def test_images_that_all_go_to_one_are_a_decay(long, monkeypatch):
    verdict, held, numbers = measured(long, monkeypatch, lambda x: 0.5 + 0.5 * (x - 0.5))
    assert set(held.values()) == {True}
    assert verdict is Verdict.UNDECIDED
    assert numbers["variance of the ends over that of photographs, running statistics"].value < 1e-6
    assert numbers["walked and came to rest, 32 images, running statistics"].value == 1


def test_images_that_cycle_or_escape_do_not_walk(long, monkeypatch):
    for function, fate in ((lambda x: x.roll(8, dims=3), "cycling"), (lambda x: 1.2 * x, "escaping")):
        long.cache = long.cache / fate
        verdict, _, numbers = measured(long, monkeypatch, function)
        assert verdict is Verdict.DOES_NOT_HOLD
        assert numbers[f"{fate}, 256 images, training, running statistics"].value == 1
        assert numbers[f"{fate}, 32 images, held out, batches of 16"].value == 1
