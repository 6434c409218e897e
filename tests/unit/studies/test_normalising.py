"""Studies of batch norm on networks of which all is known; and the measures that they take."""

import pytest
import torch

from copyfold.claims.normalisation.no_norm_no_noise import (
    BatchOfOne,
    NoNormNoNoise,
    NormNotNeededToSee,
    scaled_blur,
    statistics_gap,
)
from copyfold.claims.normalisation.statistics_denoise import EvalModeBreaks, StatisticsDenoise, brightened, taken
from copyfold.corruptions import Blur, Mix
from copyfold.studies.base import Verdict
from copyfold.studies.budget import BUDGETS
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit.networks import restored
from known import Blind, Identity


class Centred(Identity):
    """It takes the mean of the batch away."""

    def encode(self, x):
        return x - x.mean(0, keepdim=True)


class ByStatistics(Identity):
    """With the statistics of the batch it copies, with running ones it is blind."""

    def encode(self, x):
        return x if self.statistics == "batch" else torch.full_like(x, 9.0)


class Ready(Lab):
    """A laboratory in which every training ends in the same network."""

    network = Identity

    def trained(self, make, photos, seed, **plan):
        return self.network(photos.shape).to(self.device)

    def course(self, make, photos, seed, steps, *given, **plan):
        return [self.trained(make, photos, seed) for _ in steps]


@pytest.fixture
def ready(tmp_path):
    def made(network):
        lab = Ready(BUDGETS["tiny"], cache=tmp_path)
        lab.network = network
        return lab

    return made


def test_the_gap_is_of_mean_and_std_alone():
    x = torch.rand(4, 3, 8, 8)
    assert statistics_gap(x, x.flip(2)).allclose(torch.zeros(4), atol=1e-6)
    assert statistics_gap(x + 0.1, x).allclose(torch.full((4,), 0.1), atol=1e-6)
    centred = x - x.mean((2, 3), keepdim=True)
    spread = centred.square().mean((1, 2, 3)).sqrt()
    assert statistics_gap(3 * centred, centred).allclose(2 * spread, atol=1e-6)


def test_a_correction_gives_every_channel_the_moments_of_others():
    x, reference = torch.rand(4, 3, 8, 8), 0.2 * torch.rand(9, 3, 8, 8) + 0.5
    y = brightened(x, reference)
    assert y.mean((2, 3)).allclose(reference.mean((0, 2, 3)).expand(4, 3), atol=1e-5)
    assert y.std((2, 3), correction=0).allclose(
        reference.std((2, 3), correction=0).mean(0).expand(4, 3), atol=1e-5
    )
    assert brightened(0.5 * x + 0.35, reference).allclose(y, atol=1e-4)
    assert brightened(torch.ones(1, 3, 8, 8), reference).isfinite().all()


def test_the_share_of_nothing_is_none():
    n, c, b = (torch.tensor(v) for v in (1.0, 0.4, 0.2))
    assert taken(n, c, b).item() == pytest.approx(0.75)
    assert taken(n, c, n).item() == 0


def test_the_blur_is_that_of_the_essay_at_its_size():
    assert scaled_blur(256) == Blur(19, 8.0)
    assert scaled_blur(32) == Blur(3, 1.0)
    assert scaled_blur(8).kernel == 3


def test_images_share_statistics_with_their_batch_only():
    x = torch.rand(6, 1, 8, 8)
    assert restored(Centred((1, 8, 8)), x, batch=1).allclose(torch.zeros_like(x))
    pairs = restored(Centred((1, 8, 8)), x, batch=2)
    assert pairs[:2].allclose(x[:2] - x[:2].mean(0))


def test_a_copy_leaves_noise_and_blur_in(ready):
    study, numbers = NoNormNoNoise(), NoNormNoNoise().measure(ready(Identity)).numbers
    assert numbers["noise without norm over clean"].value == numbers["noise mixed over clean"].value
    assert numbers["gap without norm"].value == pytest.approx(numbers["gap mixed"].value)
    assert numbers["noise passed without norm"].value == pytest.approx(1, abs=1e-4)
    assert numbers["deblurring error over doing nothing without norm"].value == 1
    assert (
        study.thresholds()["noise without norm over clean"].holds(numbers["noise without norm over clean"])
        is False
    )
    assert study.verdict(numbers) == Verdict.MIXED


def test_doing_nothing_is_not_denoising_as_well(ready):
    numbers = BatchOfOne().measure(ready(Identity)).numbers
    assert numbers["rho one over sixteen mix"].value == 1
    assert numbers["rho mix batches of 1"].value == 1
    assert BatchOfOne().verdict(numbers) != Verdict.HOLDS


def test_statistics_of_one_are_not_those_of_sixteen(ready):
    numbers = BatchOfOne().measure(ready(Centred)).numbers
    alone, usual = (numbers[f"copying error, {way}"].value for way in ("16, used by 1", "batches of 16"))
    assert alone > usual


def test_who_sees_nothing_has_no_accurate_representation(ready):
    numbers = NormNotNeededToSee().measure(ready(Blind)).numbers
    assert numbers["representation error without norm over batch norm"].value == pytest.approx(1, abs=0.05)
    assert numbers["representation error without norm"].value == pytest.approx(
        numbers["error of the start"].value, rel=0.05
    )
    assert NormNotNeededToSee().verdict(numbers) == Verdict.MIXED
    clear = NormNotNeededToSee().measure(ready(Identity)).numbers
    assert clear["representation error without norm"].value < numbers["representation error without norm"].value


def test_eval_mode_breaks_only_what_it_changes(ready):
    assert EvalModeBreaks().verdict(EvalModeBreaks().measure(ready(Identity)).numbers) == Verdict.FAILS
    assert EvalModeBreaks().verdict(EvalModeBreaks().measure(ready(ByStatistics)).numbers) == Verdict.HOLDS


def test_statistics_do_not_explain_what_is_not_there(ready):
    found = StatisticsDenoise().measure(ready(Identity)).numbers
    assert found["share by correction alone"].value == 0
    assert found["error over doing nothing exact correction"].value < 1
    assert StatisticsDenoise().verdict(found) != Verdict.HOLDS


def test_the_mix_that_is_undone_is_the_one_that_was_done():
    x, still_air = torch.rand(2, 1, 8, 8), Mix(0.5, 0.7, 0.0)
    assert ((still_air(x) - 0.35) / 0.5).allclose(x, atol=1e-6)
