"""Distances between sets of images: formulas against scipy and scikit-learn, and degraded images."""

import numpy as np
import pytest
import torch
from scipy import linalg, ndimage
from sklearn.metrics.pairwise import polynomial_kernel
from sklearn.neighbors import NearestNeighbors

import copyfold as cf
from copyfold.errors import UsageError
from copyfold.probes import quality
from copyfold.probes.quality import (
    Quality,
    density_and_coverage,
    frechet_distance,
    kernel_distance,
    patch_wasserstein,
)
from copyfold.training.classifying import fit_classifier


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def vectors(n, d, seed, scale=1.0, shift=0.0):
    """Correlated normal vectors."""
    mixing = torch.randn(d, d, generator=seeded(seed + 100), dtype=torch.float64)
    return shift + scale * torch.randn(n, d, generator=seeded(seed), dtype=torch.float64) @ mixing


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(quality, "PATCHES", 2048)


# ---------------------------------------------------------------- formulas


@pytest.mark.parametrize(("n", "m", "d"), [(200, 150, 12), (30, 200, 40), (20, 25, 60)])
def test_the_frechet_distance_is_that_of_the_moments(n, m, d):
    """Also where the covariances are singular; eigenvalues there, as scipy's root is not accurate then."""
    a, b = vectors(n, d, 1), vectors(m, d, 2, scale=1.5, shift=0.3)
    means = ((a.mean(0) - b.mean(0)) ** 2).sum().item()
    first, second = (np.cov(v.numpy(), rowvar=False) for v in (a, b))
    if min(n, m) > d:
        shared = np.trace(linalg.sqrtm(first @ second)).real
    else:
        shared = np.sqrt(np.linalg.eigvals(first @ second).real.clip(0)).sum()
    expected = means + np.trace(first) + np.trace(second) - 2 * shared
    assert frechet_distance(a, b).item() == pytest.approx(expected, rel=1e-5)


def test_the_frechet_distance_of_a_shift_is_its_square():
    a = vectors(50, 8, 1)
    assert frechet_distance(a, a).item() == pytest.approx(0, abs=1e-9)
    assert frechet_distance(a, a + 0.5).item() == pytest.approx(8 * 0.25, rel=1e-9)
    assert frechet_distance(a, 3 * a).item() == pytest.approx(
        (4 * (a.var(0).sum() + a.mean(0).square().sum())).item()
    )


def test_the_kernel_distance_is_scikit_learn_s_kernel(monkeypatch):
    monkeypatch.setattr(quality, "ROWS", 32)  # in pieces
    a, b = vectors(70, 5, 1, 0.5), vectors(41, 5, 2, 0.4, shift=0.2)
    within = []
    for v in (a, b):
        k = polynomial_kernel(v.numpy(), degree=3, coef0=1)
        within.append((k.sum() - np.trace(k)) / (len(v) * (len(v) - 1)))
    expected = sum(within) - 2 * polynomial_kernel(a.numpy(), b.numpy(), degree=3, coef0=1).mean()
    assert kernel_distance(a, b).item() == pytest.approx(expected, rel=1e-9)


def test_the_kernel_distance_is_unbiased():
    """Of 400 pairs of samples of 6 vectors the mean is 0 within 4 standard errors; the Frechet one's is not."""
    draws = torch.randn(400, 2, 6, 3, generator=seeded(3), dtype=torch.float64)
    kernel, frechet = (
        torch.stack([distance(a, b) for a, b in draws]) for distance in (kernel_distance, frechet_distance)
    )
    error = kernel.std() / 20
    assert kernel.mean().abs() < 4 * error
    assert (kernel < 0).any()
    assert frechet.mean() > 4 * frechet.std() / 20


def test_density_and_coverage_are_counted_in_balls(monkeypatch):
    monkeypatch.setattr(quality, "ROWS", 16)
    a, b, k = vectors(60, 4, 1, 0.8), vectors(50, 4, 1, 1.0), 3
    radii = NearestNeighbors(n_neighbors=k + 1).fit(b.numpy()).kneighbors(b.numpy())[0][:, -1]
    inside = np.linalg.norm(a.numpy()[None] - b.numpy()[:, None], axis=2) <= radii[:, None]
    density, coverage = density_and_coverage(a, b, k)
    assert density.item() == pytest.approx(inside.sum() / (k * len(a)))
    assert coverage.item() == pytest.approx(inside.any(1).mean())


def test_density_and_coverage_of_one_distribution_and_of_its_middle():
    a, b = torch.randn(2, 500, 8, generator=seeded(4))
    density, coverage = density_and_coverage(a, b, 5)
    assert density.item() == pytest.approx(1, abs=0.15)
    assert coverage.item() == pytest.approx(1 - 2**-5, abs=0.03)
    crowded, narrow = density_and_coverage(0.3 * a, b, 5)
    assert crowded > 2 * density
    assert narrow < coverage / 2
    assert [v.item() for v in density_and_coverage(a + 100, b, 5)] == [0, 0]


@pytest.mark.parametrize("size", [(64, 64), (33, 40)])
def test_the_pyramid_is_what_halving_leaves_out(size):
    x = torch.rand(1, 1, *size, generator=seeded(1), dtype=torch.float64)
    taps = np.array([1, 4, 6, 4, 1]) / 16

    def blurred(y):
        return ndimage.correlate1d(ndimage.correlate1d(y, taps, 0, mode="mirror"), taps, 1, mode="mirror")

    expected, y = [], x[0, 0].numpy()
    while min(y.shape) >= 32:
        coarse, spread = blurred(y)[::2, ::2], np.zeros_like(y)
        spread[::2, ::2] = 4 * coarse
        expected.append(y - blurred(spread))
        y = coarse
    for level, wanted in zip(quality._pyramid(x), [*expected, y], strict=True):
        np.testing.assert_allclose(level[0, 0].numpy(), wanted, atol=1e-12)


@pytest.mark.usefixtures("few")
def test_brightness_is_in_the_coarsest_level_alone():
    """A shift of c moves the patches there by c / std in every pixel, which is its sliced distance."""
    x = torch.randn(40, 1, 32, 32, generator=seeded(1))
    same, shifted = (patch_wasserstein(y, x, seeded(2)) for y in (x, x + 1.0))
    assert list(same) == ["32x32", "16x16"]
    assert shifted["32x32"].item() == pytest.approx(same["32x32"].item(), abs=1e-3)
    std = list(quality._pyramid(x))[-1].std().item()
    assert same["16x16"] < 0.1
    assert shifted["16x16"].item() == pytest.approx(1 / std, rel=0.1)  # borders count less often


@pytest.mark.usefixtures("few")
def test_lost_contrast_is_seen_in_the_reference_s_units():
    """Half of it is half a standard deviation away, at every level."""
    x = torch.randn(40, 1, 32, 32, generator=seeded(1))
    assert [v.item() for v in patch_wasserstein(x / 2, x, seeded(2)).values()] == pytest.approx([0.5] * 2, rel=0.1)


# ---------------------------------------------------------------- what is seen


@pytest.fixture(scope="module")
def digits():
    """Real images, their classes, and a classifier that knows them."""
    photos = cf.Photos(size=16)
    mixed = torch.randperm(len(photos), generator=seeded(7))  # writer after writer otherwise
    x, y = photos.images()[mixed], torch.from_numpy(photos.labels)[mixed]
    torch.manual_seed(0)
    classifier = cf.CNN(photos.shape, 10, widths=(8, 16))
    fit_classifier(classifier, x, y, epochs=3, lr=5e-3)
    return x, y, classifier


def judged(digits, change):
    """Measure 150 digits after a change of (images, labels), in the classifier's features."""
    x, y, classifier = digits
    probe = Quality(x[:500], x[500:650], extractor=classifier, layer="blocks")
    return probe(cf.Linear(x.shape[1:]), change(x[650:], y[650:])[:150], seeded(5)).numbers


DISTANCES = ("sliced Wasserstein", "Frechet distance, CNN blocks", "kernel distance, CNN blocks")


def grows(values):
    return values == sorted(values) and values[-1] > 2 * abs(values[0])


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(
    ("make", "strengths"),
    [
        (lambda x, y, s: cf.Blur(std=s)(x), (0.7, 1.5)),
        (lambda x, y, s: cf.Gaussian(s)(x, seeded(6)), (0.1, 0.3)),
        (lambda x, y, s: x[y < s], (5, 1)),
    ],
    ids=["blur", "noise", "modes"],
)
def test_distances_grow_with_degradation(digits, make, strengths):
    read = [judged(digits, lambda x, y: x)]
    read += [judged(digits, lambda x, y, s=s: make(x, y, s)) for s in strengths]
    for name in DISTANCES:
        assert grows([numbers[name].item() for numbers in read]), name
    coverage = [numbers["coverage, CNN blocks"].item() for numbers in read]
    assert coverage == sorted(coverage, reverse=True)


@pytest.mark.usefixtures("few")
def test_sharpness_falls_with_blur_and_rises_with_noise_and_does_not_see_modes(digits):
    def sharp(change):
        return judged(digits, change)["sharpness"].item()

    assert sharp(lambda x, y: x) == pytest.approx(1, abs=0.05)
    assert sharp(lambda x, y: x[y < 5]) == pytest.approx(1, abs=0.1)
    assert sharp(lambda x, y: cf.Blur(std=1.0)(x)) < 0.5
    assert sharp(lambda x, y: cf.Gaussian(0.2)(x, seeded(6))) > 1.5


# ---------------------------------------------------------------- the probe


@pytest.mark.usefixtures("few")
def test_every_number_is_given_for_real_images_too(digits):
    x = digits[0]
    model = cf.Linear(x.shape[1:], latent_dim=16)
    numbers = Quality(x[:400])(model, x[400:600], seeded(1)).numbers
    names = list(numbers)
    assert names[1::2] == [f"{name}, real" for name in names[::2]]
    assert {"sliced Wasserstein", "sliced Wasserstein, 16x16", "sharpness"} < set(names)
    assert {f"{m}, encoder" for m in ("Frechet distance", "kernel distance", "density", "coverage")} < set(names)
    assert all(value.shape == () for value in numbers.values())
    for name in names[::2]:  # real images beside real ones
        assert numbers[name].item() == pytest.approx(numbers[f"{name}, real"].item(), rel=0.5, abs=0.1), name


@pytest.mark.usefixtures("few")
def test_the_distances_do_not_depend_on_the_scale_of_a_code(digits):
    x = digits[0]
    model = cf.Linear(x.shape[1:], latent_dim=16)
    probe = Quality(x[:100], x[100:200], extractor=model)
    before = probe(cf.Linear(x.shape[1:]), x[200:300] * 0.5, seeded(1)).numbers
    with torch.no_grad():
        for parameter in model.encoder.parameters():
            parameter.mul_(1000)
    after = probe(cf.Linear(x.shape[1:]), x[200:300] * 0.5, seeded(1)).numbers
    assert "Frechet distance, Linear" in after
    for name, value in after.items():
        assert value.item() == pytest.approx(before[name].item(), rel=1e-3, abs=1e-6), name


@pytest.mark.usefixtures("few")
def test_copies_of_the_mean_are_at_frechet_distance_1(digits):
    x = digits[0]
    model = cf.Linear(x.shape[1:], latent_dim=16)
    mean = x[:300].mean(0, keepdim=True).expand(50, -1, -1, -1)
    numbers = Quality(x[:300], x[300:400])(model, mean, seeded(1)).numbers
    assert numbers["Frechet distance, encoder"].item() == pytest.approx(1, rel=0.01)
    assert numbers["coverage, encoder"] < 0.2


@pytest.mark.usefixtures("few")
def test_the_reading_depends_on_the_generator_and_changes_nothing(digits):
    x = digits[0]
    torch.manual_seed(3)
    model = cf.UNet(x.shape[1:], width=4, depth=2, skips="concat").eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    read = [Quality(x[:60])(model, x[60:100], seeded(seed)).numbers for seed in (1, 1, 2)]
    assert all(torch.equal(value, read[1][name]) for name, value in read[0].items())
    assert not torch.equal(read[0]["sliced Wasserstein"], read[2]["sliced Wasserstein"])
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.statistics == "batch"
    assert not model._forward_hooks


def test_large_maps_are_averaged_over_positions_and_small_ones_are_not():
    small, large = torch.rand(3, 8, 4, 4), torch.rand(3, 8, 16, 16)
    assert torch.equal(quality._vectors(small), small.flatten(1))
    both = quality._vectors((small, large, torch.rand(3, 5)))
    assert both.shape == (3, 8 + 8 + 5)
    torch.testing.assert_close(both[:, 8:16], large.mean((2, 3)))
    assert quality._vectors(torch.rand(3, 50, 64)).shape == (3, 64)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(
    ("probe", "words"),
    [
        (lambda x: Quality(), "give Quality(reference=real images)"),
        (lambda x: Quality(x[:, :, :8]), "cannot be compared with real ones of (1, 8, 16)"),
        (lambda x: Quality(x[:5], x[5:11]), "density in balls of 5 neighbours needs at least 6 images"),
        (lambda x: Quality(x[:9], x[9:10]), "the Frechet distance needs at least 2 images of each kind, not 1"),
        (lambda x: Quality(x[:1]), "at least 1 in each"),
        (lambda x: Quality(x[:9], x[9:19], cf.CNN(x.shape[1:], 10), "block"), "no layer 'block': did you mean"),
    ],
)
def test_images_that_cannot_be_compared_are_refused(digits, probe, words):
    x = digits[0]
    with pytest.raises(UsageError) as caught:
        probe(x)(cf.Linear(x.shape[1:]), x[-20:], seeded())
    assert words in str(caught.value)


def test_invalid_fields_are_refused():
    with pytest.raises(UsageError, match="neighbours=0"):
        Quality(neighbours=0)
    with pytest.raises(UsageError, match="patches of 7x7 do not fit"):
        patch_wasserstein(torch.rand(4, 1, 6, 6), torch.rand(4, 1, 6, 6), seeded())
