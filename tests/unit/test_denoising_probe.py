"""The denoising probe for every corruption of the method; the frequency filter; the best baseline."""

import math

import pytest
import torch
from torch import Generator

import copyfold as cf
from copyfold.measures import mse
from copyfold.probes.baselines import Baseline, frequency_filter, tuned
from copyfold.probes.denoising import best_baseline, error_ratios

SHAPE = (1, 16, 16)
MODEL = ["corrupted", "restored", "reconstruction"]
LINEAR = ["mean image", "7x7 filter", "11x11 filter", "frequency filter"]
TOLD = ["PCA-Wiener", "non-local means", "wavelet"]
NOISE = [
    *(cf.Mix(keep) for keep in (0.9, 0.7, 0.5, 0.3, 0.1)),
    *(cf.Gaussian(std) for std in (0.05, 0.1, 0.2, 0.4, 1.0)),
]
OTHERS = [cf.Masking(0.25), cf.Masking(0.75), cf.Masking(0.5, rescale=True), cf.Blur(), cf.Blur(5, 1.0)]


def rng(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def waves(count: int, seed: int = 0) -> torch.Tensor:
    """Images of one slow wave each, as bright as photographs are."""
    a, b, phase = (torch.rand(count, 1, 1, 1, generator=rng(10 * seed + i)) * 3 for i in range(3))
    t = torch.linspace(0, 3, SHAPE[1])
    return 0.5 + 0.3 * torch.sin(a * t[:, None] + b * t + 2 * phase)


def read(corruption: cf.Corruption, reference: torch.Tensor | None = None, model=None) -> cf.Reading:
    probe = cf.Denoising(corruption, reference)
    return probe(model or cf.Linear(SHAPE, 4), waves(6, 1), rng())


# ---------------------------------------------------------------- every corruption


@pytest.mark.parametrize("corruption", NOISE + OTHERS, ids=str)
def test_every_corruption_has_its_baselines_and_the_best_is_better_than_nothing(corruption):
    reading = read(corruption, waves(24))
    expected = MODEL + LINEAR + (TOLD if corruption in NOISE else [])
    assert list(reading.numbers) == expected
    assert list(reading.images) == ["clean", *expected]
    assert all(v.shape == (6,) and v.isfinite().all() for v in reading.numbers.values())
    assert all(v.shape == (6, *SHAPE) for v in reading.images.values())
    name, errors = best_baseline(reading)
    assert errors.mean() < 0.6 * reading.numbers["corrupted"].mean()
    assert name in LINEAR + TOLD


def test_the_numbers_are_the_errors_of_the_images():
    reading = read(cf.Masking(), waves(24))
    for name, errors in reading.numbers.items():
        torch.testing.assert_close(errors, mse(reading.images[name], reading.images["clean"]))


def test_the_mean_image_is_that_of_the_reference_and_ignores_the_input():
    reference = waves(24)
    found = read(cf.Gaussian(0.2), reference)
    torch.testing.assert_close(found.images["mean image"][3], reference.mean(0))
    torch.testing.assert_close(found.numbers["mean image"], read(cf.Mix(), reference).numbers["mean image"])


def test_for_pure_noise_the_mean_image_is_optimal():
    """Mix with keep 0 leaves nothing to see: other baselines only add what they made of chance."""
    found = read(cf.Mix(0.0), waves(200))
    assert list(found.numbers) == MODEL + LINEAR
    name, errors = best_baseline(found)
    assert errors.mean() > 0.97 * found.numbers["mean image"].mean()
    assert found.numbers["corrupted"].mean() > 1.5 * errors.mean()
    assert name in LINEAR


# ---------------------------------------------------------------- the filter of frequencies


@pytest.mark.parametrize("size", [(16, 16), (9, 12), (1, 7), (2, 2)])
def test_without_noise_the_filter_of_frequencies_is_the_identity(size):
    x = torch.rand(20, 2, *size)
    torch.testing.assert_close(frequency_filter(3 * x - 1, x, 3 * x[:4] - 1), x[:4], rtol=0, atol=1e-5)


def test_a_blur_that_mirrors_is_a_factor_per_frequency():
    """So that it is undone almost exactly, as no filter of 11 x 11 pixels could."""
    found = read(cf.Blur(5, 1.0), waves(24)).numbers
    assert (found["frequency filter"] < 1e-6 * found["corrupted"]).all()
    assert best_baseline(read(cf.Blur(5, 1.0), waves(24)))[0] == "frequency filter"


@pytest.mark.parametrize("size", [(5, 4), (2, 3), (1, 6), (4, 1), (1, 1)])
def test_the_waves_are_cosines_with_a_crest_or_a_trough_at_both_ends(size):
    """Against their sums written out, undone by the inverses of their matrices."""
    clean = torch.rand(9, 2, *size, generator=rng(1), dtype=torch.float64)
    noisy = clean + 0.3 * torch.randn(clean.shape, generator=rng(2), dtype=torch.float64)

    def waves(n):
        weights = [1 if i in (0, n - 1) else 2 for i in range(n)]
        rows = [[weights[i] * math.cos(math.pi * k * i / max(n - 1, 1)) for i in range(n)] for k in range(n)]
        return torch.tensor(rows, dtype=torch.float64)

    columns, rows = map(waves, size)
    seen, wanted = columns @ noisy @ rows.T, columns @ clean @ rows.T
    y, t = seen - seen.mean(0), wanted - wanted.mean(0)
    restored = wanted.mean(0) + (y * t).sum((0, 1)) / y.square().sum((0, 1)) * y
    expected = columns.inverse() @ restored @ rows.inverse().T
    torch.testing.assert_close(frequency_filter(noisy, clean, noisy), expected, rtol=0, atol=1e-10)


def test_one_training_pair_is_reproduced_exactly():
    x = torch.rand(1, 1, 8, 8)
    torch.testing.assert_close(frequency_filter(x + 1, x, torch.rand(3, 1, 8, 8)), x.expand(3, -1, -1, -1))


def test_for_white_images_and_noise_the_filter_is_wiener_s_gain():
    """Of variance s^2 in noise of the same: everything is halved, about the mean; 4000 images of 25 numbers."""
    x = 0.5 + 0.2 * torch.randn(4000, 1, 5, 5, generator=rng(1))
    noisy = x + 0.2 * torch.randn(x.shape, generator=rng(2))
    restored = frequency_filter(noisy, x, noisy)
    assert mse(restored, x).mean().item() == pytest.approx(0.2**2 / 2, rel=0.02)
    torch.testing.assert_close(restored[0], 0.5 + (noisy[0] - 0.5) / 2, rtol=0, atol=0.06)


# ---------------------------------------------------------------- the best, and the model beside it


def made(**errors: list[float]) -> cf.Reading:
    return cf.Reading({name.replace("_", " "): torch.tensor(values) for name, values in errors.items()})


def test_the_best_baseline_has_the_least_mean_and_is_not_the_model():
    reading = made(restored=[0.0, 0.0], reconstruction=[0.0, 0.0], corrupted=[4.0, 2.0], wavelet=[1.0, 4.0])
    name, errors = best_baseline(reading)
    assert (name, errors.tolist()) == ("wavelet", [1.0, 4.0])
    assert best_baseline(made(restored=[0.0], corrupted=[1.0], wavelet=[1.5]))[0] == "corrupted"
    once = made(corrupted=[3.0, 3.0, 3.0], wavelet=[1.0, 1.0, 9.0])  # mostly better, and not on the mean
    assert best_baseline(once)[0] == "corrupted"


def test_ratios_are_per_image():
    reading = made(restored=[1.0, 3.0], reconstruction=[9.0, 9.0], corrupted=[4.0, 2.0], mean_image=[1.0, 4.0])
    ratios = {name: values.tolist() for name, values in error_ratios(reading).items()}
    assert ratios == {"corrupted": [0.25, 1.5], "best baseline": [1.0, 0.75]}


def test_without_corruption_doing_nothing_is_best():
    reading = read(cf.Clean(), waves(24))
    assert list(reading.numbers) == MODEL
    name, errors = best_baseline(reading)
    assert name == "corrupted"
    assert not errors.any()
    assert error_ratios(reading)["corrupted"].isinf().all()
    assert error_ratios(made(restored=[0.0], corrupted=[0.0]))["corrupted"] == 1


def test_a_perfect_model_of_few_dimensions_beats_every_baseline():
    """Waves in heavy noise, projected on the span of such waves (by PCA of many clean ones)."""
    many = waves(400, 2).flatten(1)
    model = cf.Linear(SHAPE, 12).eval()
    directions = torch.linalg.svd(many - many.mean(0), full_matrices=False).Vh[:12]
    project = lambda x: ((x.flatten(1) - many.mean(0)) @ directions.T @ directions + many.mean(0)).view_as(x)  # noqa: E731
    model.forward = project
    ratios = error_ratios(read(cf.Gaussian(0.4), waves(24), model))
    assert (ratios["corrupted"] < 0.15).all()
    assert ratios["best baseline"].median() < 1


class Shrunk(Baseline):
    """A user's denoiser: no dataclass, no name."""

    def __init__(self, share=0.5):
        self.share = share

    def __call__(self, x, std):
        mean = x.mean((2, 3), keepdim=True)
        return mean + self.share * (x - mean)


def test_a_user_denoiser_is_compared_where_the_noise_is_known():
    x, keep, mean, std = waves(6, 1), 0.5, 0.7, 0.2
    for corruption, told in ((cf.Gaussian(0.2), True), (cf.Mix(keep, mean, std), True), (cf.Masking(0.5), False)):
        for reference in (None, waves(24)):
            probe = cf.Denoising(corruption, reference, baselines=(Shrunk(0.25),))
            reading = probe(cf.Linear(SHAPE, 4), x, rng())
            assert ("Shrunk" in reading.numbers) == told
    noisy = cf.Mix(keep, mean, std)(x, rng())
    reading = cf.Denoising(cf.Mix(keep, mean, std), baselines=(Shrunk(0.25),))(cf.Linear(SHAPE, 4), x, rng())
    expected = Shrunk(0.25)((noisy - (1 - keep) * mean) / keep, std)
    torch.testing.assert_close(reading.images["Shrunk"], expected)
    assert "Shrunk" not in {type(made).__name__ for made in tuned(noisy, x, 0.2).values()}
