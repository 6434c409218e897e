"""Walks of networks whose way is known, and the verdicts that must follow."""

from dataclasses import replace

import pytest
import torch
from torch import Generator

from copyfold.claims.walking.manifold_walk import ManifoldWalk, MoreDataMoreCoherent, random_codes, walked
from copyfold.claims.walking.walks_without_noise import TrainingEndsTheWalk, WalksWithoutNoise
from copyfold.models.base import Chain
from copyfold.probes import quality
from copyfold.studies.base import Verdict
from copyfold.studies.budget import BUDGETS
from copyfold.studies.lab import Lab


class Known(Chain):
    """The map x -> f(x) that is given; its code is the image."""

    def __init__(self, function=lambda x: x, shape=(1, 16, 16)):
        super().__init__(shape, "linear")
        self.function = function
        self.encoder = self.decoder = torch.nn.Identity()

    def logits(self, z):
        return self.function(z)

    @classmethod
    def tiny(cls):
        return cls()


class Shelf(Lab):
    """A laboratory whose models are on the shelf: `pick(make, photos)`, and `models` for a course."""

    models: tuple = ()

    def trained(self, make, photos, seed, **plan):
        return self.pick(make, photos)

    def course(self, make, photos, seed, steps, **plan):
        return list(self.models)

    def untrained(self, make, photos, seed):
        return self.pick(make, photos)

    def pick(self, make, photos):
        return self.models[0]


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    monkeypatch.setattr(quality, "PATCHES", 1024)
    return Shelf(replace(BUDGETS["tiny"], seeds=2), {}, tmp_path)


def rolled(x):
    return x.roll(4, dims=3)


def outcome(study, lab):
    """The verdict, the thresholds' outcomes, and the numbers, as if two seeds were enough to be sure of them."""
    numbers = {name: replace(e, low=e.value, high=e.value) for name, e in study.measure(lab).numbers.items()}
    holds = {name: threshold.holds(numbers[name]) for name, threshold in study.thresholds().items()}
    return study.verdict(numbers), holds, numbers


def test_who_walked():
    data = torch.stack([torch.full((1, 4, 4), v) for v in (0.0, 0.4, 0.8)])
    first = data.clone()
    last = torch.stack([torch.full((1, 4, 4), v) for v in (0.15, 0.55, 0.4)])
    torch.testing.assert_close(walked(first, last, data), torch.tensor([0.0, 0.0, 1.0]))
    torch.testing.assert_close(walked(first[:1], first[:1] - 0.3, data), torch.ones(1))  # far, though alone


def test_random_codes_have_the_spread_of_codes_and_no_order():
    rng = Generator().manual_seed(0)
    x = 0.5 + torch.rand(64, 1, 1, 1, generator=rng) * torch.linspace(0, 1, 256).view(1, 1, 16, 16)
    drawn = random_codes(Known(), x, 4000, rng).flatten(1)
    torch.testing.assert_close(drawn.mean(0), x.flatten(1).mean(0), atol=0.02, rtol=0)
    torch.testing.assert_close(drawn.std(0), x.flatten(1).std(0), atol=0.02, rtol=0)
    assert torch.corrcoef(drawn[:, -2:].T)[0, 1].abs() < 0.1
    assert torch.corrcoef(x.flatten(1)[:, -2:].T)[0, 1] > 0.99


def test_a_copy_does_not_stay_near_the_data(shelf):
    """Its walk is noise added to noise, as far from photographs as random codes are."""
    shelf.models = (Known(),)
    verdict, holds, numbers = outcome(ManifoldWalk(), shelf)
    assert verdict is not Verdict.HOLDS
    assert holds["nearest distance over held out"] is False
    assert holds["walked"] is True
    assert numbers["displacement at the end"].value == pytest.approx(0.2, rel=0.05)  # one step from the first
    assert numbers["nearest distance, mean photograph"].value < numbers["nearest distance, walk"].value
    ends = [
        numbers[f"nearest distance, {name}"].value for name in ("directed walk, halfway", "held-out photographs")
    ]
    assert ends[0] != pytest.approx(ends[1], rel=0.01)  # halfway is not yet the other photograph
    assert numbers["variance of the ends over that of photographs"].value > 1


def test_walks_that_all_decay_to_one_image_explore_nothing(shelf):
    shelf.models = (Known(lambda z: torch.full_like(z, 0.5)),)
    numbers = outcome(ManifoldWalk(), shelf)[2]
    assert numbers["variance of the ends over that of photographs"].value == 0


def test_a_memory_stays_near_and_is_no_better_than_its_random_codes(shelf):
    known = shelf.images(shelf.photos("landscapes"), "train")
    shelf.models = (Known(lambda z: known[torch.cdist(z.flatten(1), known.flatten(1)).argmin(1)]),)
    _, holds, numbers = outcome(ManifoldWalk(), shelf)
    assert numbers["nearest distance over held out"].value == 0
    assert holds["patch distance over random codes"] is False


def test_an_image_that_is_copied_does_not_walk_and_one_that_is_moved_does(shelf):
    shelf.models = (Known(),)
    verdict, _, numbers = outcome(WalksWithoutNoise(), shelf)
    assert verdict is Verdict.FAILS
    assert numbers["walking fraction"].value == 0 == numbers["displacement over noisy walk"].value
    assert numbers["walking fraction, with noise"].value == 1
    assert numbers["at rest, batch statistics"].value == 1
    shelf.models = (Known(rolled),)
    verdict, _, numbers = outcome(WalksWithoutNoise(), shelf)
    assert verdict is Verdict.HOLDS
    assert numbers["walking fraction"].value == 1


def test_what_is_drawn_to_one_image_walks_and_then_rests(shelf):
    shelf.budget = replace(shelf.budget, steps=500)
    shelf.models = (Known(lambda x: 0.5 + 0.5 * (x - 0.5)),)
    _, _, numbers = outcome(WalksWithoutNoise(), shelf)
    assert numbers["walking fraction"].value == 1 == numbers["at rest, batch statistics"].value


def test_training_that_ends_the_walk_and_training_that_starts_it(shelf):
    shelf.models = (Known(rolled), Known(lambda x: 0.5 * x), Known())
    verdict, _, numbers = outcome(TrainingEndsTheWalk(), shelf)
    assert verdict is Verdict.HOLDS
    assert numbers["fraction late minus early"].value == -1
    tops = [e.value for name, e in numbers.items() if "singular" in name]
    assert tops == pytest.approx([1, 0.5, 1], rel=1e-4)
    shelf.models = shelf.models[::-1]
    assert outcome(TrainingEndsTheWalk(), shelf)[0] is Verdict.FAILS


@pytest.mark.parametrize(("many", "verdict"), [(True, Verdict.HOLDS), (False, Verdict.FAILS)])
def test_more_data_and_more_coherence(shelf, monkeypatch, many, verdict):
    shelf.budget = replace(shelf.budget, measured=128)
    noise = torch.rand(16, 1, 16, 16, generator=Generator().manual_seed(0))
    poor, copy = Known(lambda x: noise[torch.randperm(16)][: len(x)]), Known()
    monkeypatch.setattr(shelf, "pick", lambda make, photos: copy if (len(photos) > 32) == many else poor)
    found, _, numbers = outcome(MoreDataMoreCoherent(), shelf)
    assert found is verdict
    assert numbers["coarse patch distance, landscapes, real"].value < 0.5
    assert numbers[f"displacement, landscapes, {'all' if many else 256}"].value == pytest.approx(0.2, rel=0.05)
