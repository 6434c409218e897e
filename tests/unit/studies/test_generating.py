"""Samples of networks whose samples are known, and the verdicts that must follow."""

from dataclasses import replace

import pytest
import torch
from torch import Generator, nn

import copyfold as cf
from copyfold.claims.generation.global_order import GlobalOrder, StyleOfTheManifold, closeness, corner_dependence
from copyfold.claims.generation.more_compute_better_samples import (
    IteratingBeatsOnePass,
    MoreComputeBetterSamples,
    growing,
    petaflops,
)
from copyfold.models.base import Chain
from copyfold.probes import quality
from copyfold.studies.base import Verdict
from copyfold.studies.budget import BUDGETS
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit import networks
from copyfold.studies.toolkit.samples import geometric_mean


class Known(Chain):
    """The map x -> f(x) that is given, beside a convolution that counts for nothing; its code is the image."""

    multiple = 1

    def __init__(self, function=lambda x: x, shape=(1, 16, 16)):
        super().__init__(shape, "linear")
        self.function, self.encoder, self.decoder = function, nn.Identity(), nn.Conv2d(1, 1, 1)

    def logits(self, z):
        return self.function(z) + 0 * self.decoder(z)

    @classmethod
    def tiny(cls):
        return cls()


class Shelf(Lab):
    """A laboratory whose models are on the shelf: `pick(make)`, and `models` for a course."""

    models: tuple = ()

    def trained(self, make, photos, seed, **plan):
        return make(photos.shape) if make.func is cf.MLP else self.pick(make)

    def course(self, make, photos, seed, steps, **plan):
        return list(self.models)

    def pick(self, make):
        return self.models[0]

    def painter(self, noise):
        """A model that gives training images with so much noise, whatever it sees."""
        photos = self.photos("landscapes")
        bank = self.images(photos, "train", 64)
        bank = bank + noise * torch.randn(bank.shape, generator=Generator().manual_seed(1))

        def paint(z):
            small = bank[: len(z)] + 1e-6 * z.mean()  # so that every pixel depends on every other, a little
            return small if z.shape == small.shape else nn.functional.interpolate(small, z.shape[2:])

        return Known(paint)


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    monkeypatch.setattr(quality, "PATCHES", 1024)
    return Shelf(replace(BUDGETS["tiny"], seeds=2), {}, tmp_path)


def outcome(study, lab):
    """The verdict, the thresholds' outcomes, and the numbers, as if two seeds were enough to be sure of them."""
    numbers = {name: replace(e, low=e.value, high=e.value) for name, e in study.measure(lab).numbers.items()}
    holds = {name: threshold.holds(numbers[name]) for name, threshold in study.thresholds().items()}
    return study.verdict(numbers), holds, numbers


def test_one_pass_is_all_where_every_pass_gives_the_same(shelf):
    shelf.models = (shelf.painter(0.0),)
    _, holds, numbers = outcome(IteratingBeatsOnePass(), shelf)
    assert holds["patch distance over linear model"] is True
    assert numbers["patch distance over one pass"].value == pytest.approx(1, rel=1e-4)
    assert numbers["patch distance, one pass"].value < 2 * numbers["patch distance, real"].value


def test_a_copy_makes_nothing_of_noise(shelf):
    shelf.models = (Known(),)
    verdict, holds, numbers = outcome(IteratingBeatsOnePass(), shelf)
    assert verdict is not Verdict.HOLDS
    assert holds["patch distance over linear model"] is False
    assert numbers["patch distance, blurred photographs"].value < numbers["patch distance, 30 steps"].value


def test_the_growing_film_is_the_scripts():
    sampler = growing(30, 128)
    assert (sampler.schedule, sampler.grow) == (cf.Ramp(40), ((20, 256),))


@pytest.mark.parametrize(("better", "verdict"), [(True, Verdict.HOLDS), (False, Verdict.FAILS)])
def test_compute_that_pays_and_compute_that_does_not(shelf, monkeypatch, better, verdict):
    levels = [0.6, 0.3, 0.0] if better else [0.0, 0.3, 0.6]
    shelf.models = tuple(map(shelf.painter, levels))
    slim, usual = shelf.budget.slim, shelf.budget.depth + 1

    def pick(make):
        size = make.keywords["width"] / slim * 2 ** (make.keywords["depth"] - usual)
        return shelf.models[{0.5: 0, 1: 1, 2: 2}[size]]

    monkeypatch.setattr(shelf, "pick", pick)
    found, _, numbers = outcome(MoreComputeBetterSamples(), shelf)
    assert found is verdict
    assert numbers["patch distance, plain"].seeds[0] == numbers["patch distance, 8 batches"].seeds[0]


def test_petaflops_of_a_linear_network():
    """Forward 2 x 64 x 4 each way, three times that a step, 16 images, 1,000 steps."""
    model = cf.Linear((1, 8, 8), latent_dim=4)
    assert petaflops(model, 1000) == pytest.approx(3 * 2 * 2 * 64 * 4 * 16 * 1000 / 1e15)


def textured(scale, seed):
    return 0.5 + scale * torch.randn(32, 1, 16, 16, generator=Generator().manual_seed(seed))


def test_styles_that_differ_and_styles_that_do_not(monkeypatch):
    monkeypatch.setattr(quality, "PATCHES", 1024)
    kinds = ("walk", "samples", "denoised")
    made = {
        name: {kind: textured(scale, 3 * i + j) for j, kind in enumerate(kinds)}
        for i, (name, scale) in enumerate({"a": 0.1, "b": 0.4}.items())
    }
    assert all(ratio < 0.5 for ratio in closeness(made, Generator().manual_seed(0)).values())
    alike = {
        name: {kind: textured(0.2, 10 * i + j) for j, kind in enumerate(kinds)} for i, name in enumerate("ab")
    }
    assert all(0.7 < r < 1.4 for r in closeness(alike, Generator().manual_seed(0)).values())
    one = {kind: textured(0.2, j) for j, kind in enumerate(kinds)}
    assert closeness({"a": one, "b": one}, Generator().manual_seed(0)) == pytest.approx({"a": 1, "b": 1})


def test_walks_that_are_farther_from_all_samples_are_no_style(monkeypatch):
    monkeypatch.setattr(quality, "PATCHES", 1024)
    made_of_noise = textured(0.2, 0)
    made = {
        "a": {"walk": textured(0.3, 1), "samples": made_of_noise},
        "b": {"walk": textured(0.6, 2), "samples": made_of_noise},
    }
    ratios = closeness(made, Generator().manual_seed(0))
    assert ratios["a"] < 0.5 < 2 < ratios["b"]
    assert geometric_mean(list(ratios.values())) == pytest.approx(1)


def test_networks_that_paint_alike_have_no_style_of_their_own(shelf):
    shelf.models = (shelf.painter(0.1),)
    verdict, _, numbers = outcome(StyleOfTheManifold(), shelf)
    assert verdict is not Verdict.HOLDS
    assert numbers["within over between networks"].value == pytest.approx(1, abs=0.2)


def test_the_dependence_of_far_corners_is_known():
    x, rng = torch.rand(4, 1, 16, 16, generator=Generator().manual_seed(0)), Generator().manual_seed(0)
    assert not corner_dependence(Known(), x, rng).any()
    mirror = Known(lambda x: x + 0.5 * x.flip(2, 3))
    torch.testing.assert_close(corner_dependence(mirror, x, rng), torch.full((4,), 0.5))
    average = Known(lambda x: x.mean((2, 3), keepdim=True).expand_as(x))
    torch.testing.assert_close(corner_dependence(average, x, rng), torch.ones(4))
    assert not corner_dependence(cf.Conv((1, 16, 16), [4]), x, rng).any()
    assert corner_dependence(cf.Conv((1, 16, 16), [4] * 4), x, rng).all()


@pytest.mark.parametrize(("plain", "others", "verdict"), [(9.0, 0.0, Verdict.HOLDS), (0.0, 9.0, Verdict.FAILS)])
def test_order_that_is_gained_and_order_that_is_lost(shelf, monkeypatch, plain, others, verdict):
    models = {"plain": shelf.painter(plain), "other": shelf.painter(others)}

    def pick(make):
        usual = make.func is cf.UNet and make.keywords["depth"] == shelf.budget.depth + 1
        return models["plain" if usual and "middle" not in make.keywords else "other"]

    monkeypatch.setattr(shelf, "pick", pick)
    found, _, numbers = outcome(GlobalOrder(), shelf)
    assert found is verdict
    assert (
        numbers["order error, real"].value
        < numbers["order error, plain" if plain else "order error, deeper"].value
    )


def test_the_hidden_module_fits_every_budget(tmp_path):
    for name, budget in BUDGETS.items():
        make = networks.hidden(Lab(budget, {}, tmp_path / name), large=True)
        with torch.device("meta"):
            assert make((3, budget.large, budget.large)).encoder["squeeze"].code.out_features == 100
