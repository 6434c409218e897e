"""T13 on networks with known walks."""

from dataclasses import replace

import pytest
import torch
from torch import Generator

from copyfold.claims.walking import manifold_walk
from copyfold.claims.walking.manifold_walk import ManifoldWalk, random_codes
from copyfold.studies.base import Verdict
from copyfold.studies.toolkit import walks
from labs import Known, on_its_way, outcome


@pytest.fixture
def long(shelf):
    shelf.budget = replace(shelf.budget, steps=150)
    return shelf


@pytest.fixture
def judged(long, monkeypatch):
    """The outcome where every network is this map."""

    def measured(function):
        long.models = (Known(function),)
        on_its_way(monkeypatch, {0.009: function})
        return outcome(ManifoldWalk(), long)

    return measured


def test_random_codes_have_the_spread_of_codes_and_no_order():
    rng = Generator().manual_seed(0)
    x = 0.5 + torch.rand(64, 1, 1, 1, generator=rng) * torch.linspace(0, 1, 256).view(1, 1, 16, 16)
    drawn = random_codes(Known(), x, 4000, rng).flatten(1)
    torch.testing.assert_close(drawn.mean(0), x.flatten(1).mean(0), atol=0.02, rtol=0)
    torch.testing.assert_close(drawn.std(0), x.flatten(1).std(0), atol=0.02, rtol=0)
    assert torch.corrcoef(drawn[:, -2:].T)[0, 1].abs() < 0.1
    assert torch.corrcoef(x.flatten(1)[:, -2:].T)[0, 1] > 0.99


def test_a_walk_from_one_training_image_to_the_next_resembles_the_data(long, judged):
    """It knows its images with their noise, and passes on what it does not know."""
    long.budget = replace(long.budget, measured=64)  # as few images are far from many
    known = long.images(walks.sizes(long)[256], "train", 64)

    def following(z):
        distances = torch.cdist(z.flatten(1), known.flatten(1)) / 16  # RMS per pixel
        nearest = distances.argmin(1)
        known_ones = (distances.amin(1) < 0.25).view(-1, 1, 1, 1)
        return torch.where(known_ones, known[(nearest + 1) % len(known)], z)

    verdict, _, numbers = judged(following)
    assert verdict is Verdict.HOLDS
    assert numbers["nearest distance, walk"].value == 0
    assert numbers["walking, 1 % left, running statistics"].value == 1
    assert numbers["patch distance over codes of their covariance"].value < 1


def test_a_copy_leaves_the_data_as_its_noise_adds_up(long, judged):
    verdict, holds, numbers = judged(lambda x: x)
    assert verdict is Verdict.DOES_NOT_HOLD
    assert holds == {"patch distance over random codes": False, "walking": False}
    assert numbers["escaping"].value == 1 == numbers["escaping, 1 % left"].value
    assert numbers["patch distance, mean photograph"].value < numbers["patch distance, walk"].value
    ends = [
        numbers[f"nearest distance, {name}"].value for name in ("directed walk, halfway", "held-out photographs")
    ]
    assert ends[0] != pytest.approx(ends[1], rel=0.01)  # halfway is not yet the other photograph


def test_walks_that_all_decay_to_one_image_explore_nothing(long, judged):
    verdict, holds, numbers = judged(lambda z: torch.full_like(z, 0.5))
    assert verdict is Verdict.DOES_NOT_HOLD
    assert holds["walking"] is False
    assert numbers["variance of the ends over that of photographs"].value == 0


def test_a_network_that_holds_its_images_stays_near_and_does_not_walk(long, judged):
    known = long.images(walks.sizes(long)[256], "train", 64)
    verdict, holds, numbers = judged(lambda z: known[torch.cdist(z.flatten(1), known.flatten(1)).argmin(1)])
    assert verdict is Verdict.DOES_NOT_HOLD
    assert numbers["nearest distance, walk"].value == 0 == numbers["walking"].value
    assert holds["patch distance over random codes"] is True  # nearly all of those are nearest to the same few


def test_seeds_of_which_differently_many_walks_escape_are_measured_together(long, monkeypatch):
    """Of the first seed every fourth image grows without end, of the second none."""
    long.budget = replace(long.budget, measured=64)
    long.seeds = range(2)
    known = long.images(walks.sizes(long)[256], "train", 64)
    grows = (torch.arange(64) % 4 == 0).view(-1, 1, 1, 1)

    def held(z):
        return known[torch.cdist(z.flatten(1), known.flatten(1)).argmin(1)]

    networks = {0: Known(lambda z: torch.where(grows[: len(z)], 2 * z + 1, held(z))), 1: Known(held)}
    long.models = (Known(),)
    monkeypatch.setattr(manifold_walk.samples, "large_copier", lambda lab, seed: networks[seed])
    on_its_way(monkeypatch, {0.009: lambda x: x})
    found = ManifoldWalk().measure(long)
    assert found.numbers["escaping"].seeds == (0.25, 0)
    assert found.numbers["nearest distance, walk"].n == 64
    noise = found.numbers["nearest distance, noise in pixels"]
    assert max(noise.seeds) < 0.05  # as large as the displacement of those that stayed, which is none


def test_large_images_decide_and_small_ones_are_shown(long, monkeypatch):
    """The patches of larger images have levels for detail and texture, and the walks are those of one network."""
    long.budget = replace(long.budget, large=32)
    known = long.images(long.photos("landscapes", 32), "train", 64)
    rng = Generator().manual_seed(0)
    large = Known(lambda z: known[torch.randperm(len(known), generator=rng)[: len(z)]], (1, 32, 32))
    monkeypatch.setattr(long, "pick", lambda make, photos: large if photos.shape == (1, 32, 32) else Known())
    on_its_way(monkeypatch, {0.009: lambda x: x})
    finding = ManifoldWalk().measure(long)
    numbers = {name: e.value for name, e in finding.numbers.items()}
    assert numbers["walking"] > 0.9
    assert numbers["escaping, 1 % left"] == 1
    assert numbers["patch distance over mean photograph"] < 0.5
    assert set(finding.copying) == {"larger images", "256 images, 1 % left", "256 images, 0.1 % left"}
    assert next(finding.films["walk"]).shape[2:] == (32, 32)
    assert finding.captions.keys() == finding.figures.keys()
