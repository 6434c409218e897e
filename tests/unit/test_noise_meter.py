"""The noise meter on known noise, against scipy and closed forms."""

import math

import pytest
import torch
from scipy import stats

from copyfold import measures
from copyfold.errors import UsageError

WHITE = math.exp(-0.5772156649015329)


def noise(kind, count=16, channels=1, size=64):
    rng = torch.Generator().manual_seed(3)
    shape, like = (count, channels, size, size), {"generator": rng, "dtype": torch.float64}
    match kind:
        case "normal":
            return torch.randn(shape, **like)
        case "uniform":
            return math.sqrt(12) * (torch.rand(shape, **like) - 0.5)
        case "laplace":
            return (torch.rand(shape, **like).log() - torch.rand(shape, **like).log()) / math.sqrt(2)


def waves(size=64):
    u = torch.linspace(0, 1, size, dtype=torch.float64)
    return (torch.sin(3 * u[:, None]) + torch.cos(5 * u)).expand(2, 1, size, size)


@pytest.mark.parametrize("channels", [1, 3])
def test_kurtosis_and_normality_equal_scipys(channels):
    for kind in ("normal", "uniform", "laplace"):
        x = 0.3 + 0.2 * noise(kind, 3, channels, 16)
        for i, row in enumerate(x.flatten(1).numpy()):
            expected = stats.kstest(row, "norm", args=(row.mean(), row.std())).statistic
            assert math.isclose(measures.normality(x)[i], expected, rel_tol=1e-9)
            assert math.isclose(measures.kurtosis(x)[i], stats.kurtosis(row), rel_tol=1e-9)


@pytest.mark.parametrize(("kind", "expected"), [("normal", 0.0), ("uniform", -1.2), ("laplace", 3.0)])
def test_kurtosis_of_known_noise(kind, expected):
    """Means over 16 images of 4096 values, within four standard errors."""
    found = measures.kurtosis(noise(kind))
    assert abs(found.mean() - expected) < 4 * found.std() / 4
    assert found.std() < 0.8


def test_only_normal_noise_looks_normal():
    limit = 0.9 / math.sqrt(64 * 64)
    assert (measures.normality(noise("normal")) < limit).float().mean() > 0.75
    assert (measures.normality(noise("uniform")) > 3 * limit).all()
    assert (measures.normality(noise("laplace")) > 3 * limit).all()
    # The largest gap between U(-sqrt 3, sqrt 3) and N(0, 1), at the crossing of their densities
    t = math.sqrt(2 * math.log(math.sqrt(12) / math.sqrt(2 * math.pi)))
    gap = stats.norm.cdf(t) - (0.5 + t / math.sqrt(12))
    assert math.isclose(measures.normality(noise("uniform")).mean(), gap, rel_tol=0.1)


@pytest.mark.parametrize("kind", ["normal", "uniform", "laplace"])
@pytest.mark.parametrize("channels", [1, 3])
def test_white_noise_has_a_flat_spectrum_whatever_its_distribution(kind, channels):
    found = measures.flatness(noise(kind, channels=channels))
    assert abs(found.mean() - WHITE) < 0.005
    assert found.std() < 0.02


def test_flatness_falls_with_smoothing_and_is_nearly_zero_for_waves():
    x = noise("normal")
    blurred = torch.nn.functional.avg_pool2d(x, 3, stride=1)
    assert (measures.flatness(blurred) < 0.7 * WHITE).all()
    assert (measures.flatness(waves()) < 1e-3).all()


def test_flatness_of_one_wave_and_of_one_point():
    """One frequency only: nothing in the others. One bright pixel: the same power in all."""
    u = torch.arange(16, dtype=torch.float64)
    wave = torch.sin(2 * math.pi * u / 8).expand(1, 1, 16, 16)
    assert measures.flatness(wave).item() < 1e-12
    point = torch.zeros(1, 1, 16, 16, dtype=torch.float64)
    point[0, 0, 3, 5] = 1
    assert math.isclose(measures.flatness(point).item(), 1, rel_tol=1e-9)


@pytest.mark.parametrize("std", [0.02, 0.1, 0.5])
def test_the_level_of_white_noise_alone_is_its_std(std):
    assert math.isclose(measures.noise_level(std * noise("normal")).mean(), std, rel_tol=0.02)


@pytest.mark.parametrize("measure", [measures.kurtosis, measures.normality, measures.flatness])
def test_a_number_for_each_image_that_brightness_and_contrast_do_not_change(measure):
    x = torch.cat((noise("normal", 2, 3), noise("uniform", 2, 3)))
    found = measure(x)
    assert found.shape == (4,)
    torch.testing.assert_close(measure(x[2:]), found[2:])
    torch.testing.assert_close(measure(0.01 * x + 0.7), found)
    torch.testing.assert_close(measure(x.float()), found.float(), rtol=1e-3, atol=1e-3)
    assert measure(x.bfloat16()).dtype == torch.float32
    assert measure(torch.full((1, 1, 4, 4), 0.5)).isnan()


@pytest.mark.parametrize("measure", [measures.kurtosis, measures.normality, measures.flatness])
def test_inputs_that_are_no_images_are_refused(measure):
    measure = getattr(measure, "__wrapped__", measure)
    with pytest.raises(UsageError, match="images b, c, h, w, not 3 x 9"):
        measure(torch.zeros(3, 9))
    with pytest.raises(UsageError, match="divide them by 255"):
        measure(torch.zeros(1, 1, 4, 4, dtype=torch.uint8))
