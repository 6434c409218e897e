"""T15 on maps with known iterates."""

from dataclasses import replace

import pytest
import torch

from copyfold.claims.walking.walks_without_noise import WalksWithoutNoise
from copyfold.errors import Diverged
from copyfold.studies.base import PARTLY, Verdict
from copyfold.studies.toolkit import samples
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


def test_the_page_says_what_became_of_images_that_do_not_walk(long, monkeypatch):
    on_its_way(monkeypatch, {0.009: lambda x: 1.2 * x})
    finding = WalksWithoutNoise().measure(long)
    assert "(0% are resting, 0% are cycling, 100% are escaping) with running statistics" in finding.came_out
    for verdict in (PARTLY, Verdict.DOES_NOT_HOLD):
        assert "escape" in WalksWithoutNoise.means[verdict]  # it may be why, and is no rest


def test_larger_images_are_shown_and_decide_nothing(long, monkeypatch):
    on_its_way(monkeypatch, {0.009: lambda x: x})
    long.models = (Known(lambda x: x.roll(1, 3)),)
    finding = WalksWithoutNoise().measure(long)
    assert finding.numbers["walking running statistics"].value == 0
    assert finding.captions.keys() == finding.figures.keys() == {"ends", "larger"}
    first, *_, end = finding.films["larger-without-noise"]
    x = long.images(long.photos("landscapes", long.budget.large), "train", 16)[:8]
    torch.testing.assert_close(first, x.roll(1, 3), atol=1 / 255, rtol=0)
    torch.testing.assert_close(end, x.roll(samples.essay_steps(long, 300), 3), atol=1 / 255, rtol=0)
    assert "larger images, which are shown only" in finding.copying

    def diverging(lab, seed):
        raise Diverged("the loss became NaN")

    monkeypatch.setattr(samples, "large_copier", diverging)
    long.cache = long.cache / "again"
    again = WalksWithoutNoise().measure(long)
    assert again.figures.keys() == {"ends"}
    assert again.numbers.keys() == finding.numbers.keys()
