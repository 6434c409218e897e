"""Classical denoisers against closed forms, least squares and scikit-image; their tuning; the probe's rows."""

import pytest
import torch
from skimage.restoration import denoise_nl_means, denoise_wavelet
from torch import Generator

import copyfold as cf
from copyfold.measures import mse
from copyfold.probes import baselines
from copyfold.probes.baselines import NonLocalMeans, PCAWiener, Wavelet, best, linear_filter, tuned
from copyfold.probes.denoising import noise_of


def rng(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def smooth(count: int, channels: int = 1, size: int = 32) -> torch.Tensor:
    """Images of one slow wave each, every channel a little different."""
    angle, phase = (torch.rand(count, channels, 1, 1, generator=rng(s)) * 3 for s in (1, 2))
    t = torch.linspace(0, 3, size)
    return 0.5 + 0.4 * torch.sin(angle * t[:, None] + t + phase)


def gaussian(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Draws of 4 x 4 images from a Gaussian, and the eigenvalues of its covariance."""
    variances = 0.5 ** torch.arange(16)
    basis = torch.linalg.qr(torch.randn(16, 16, generator=rng(99)))[0]
    x = torch.randn(count, 16, generator=rng(seed)) * variances.sqrt()
    return (0.5 + x @ basis.T).reshape(-1, 1, 4, 4), variances


# ---------------------------------------------------------------- the linear filter


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [7, 11])
def test_without_noise_the_best_filter_is_the_identity(channels, side):
    x = torch.rand(16, channels, 16, 16)
    torch.testing.assert_close(linear_filter(x, x, x[:3], side), x[:3], rtol=0, atol=1e-5)


def test_the_filter_is_the_least_squares_one():
    """Its residuals are orthogonal to every neighbour, written out by hand with edges replicated, and to 1."""
    clean = smooth(4, size=12)
    noisy = clean + 0.3 * torch.randn(clean.shape, generator=rng())
    residual = (clean - linear_filter(noisy, clean, noisy, 3)).double()
    padded = noisy[:, 0][:, [0, *range(12), 11]][:, :, [0, *range(12), 11]].double()
    for row in range(3):
        for column in range(3):
            assert abs((residual[:, 0] * padded[:, row : row + 12, column : column + 12]).mean()) < 1e-7
    assert abs(residual.mean()) < 1e-7


def test_constants_are_removed_and_images_smaller_than_the_filter_are_accepted():
    x = torch.rand(40, 1, 8, 8)
    torch.testing.assert_close(linear_filter(x / 2 + 3, x, x[:2] / 2 + 3, 11), x[:2], rtol=0, atol=1e-4)


def test_a_filter_without_a_centre_is_refused():
    x = torch.rand(2, 1, 8, 8)
    with pytest.raises(cf.UsageError, match="odd"):
        linear_filter(x, x, x, 4)


# ---------------------------------------------------------------- principal components


def test_pca_wiener_reaches_the_bound_of_gaussian_images():
    std = 0.3
    clean, variances = gaussian(20_000, 1)
    x, _ = gaussian(20_000, 2)
    restored = PCAWiener.fit(clean, 0)(cf.Gaussian(std)(x, rng(3)), std)
    bound = (variances * std**2 / (variances + std**2)).sum() / 16
    assert mse(restored, x).mean().item() == pytest.approx(bound.item(), rel=0.02)


def test_components_are_those_of_the_sample_whether_it_is_large_or_small():
    for count in (10, 100):
        clean, _ = gaussian(count, 1)
        rows = clean.flatten(1).double()
        found = PCAWiener.fit(clean, 0)
        covariance = found.directions @ found.variances.diag() @ found.directions.T
        torch.testing.assert_close(covariance.double(), rows.T.cov(correction=0), rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(found.mean.double(), rows.mean(0), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("side", [3, 8, 12, 0])
@pytest.mark.parametrize("shape", [(1, 17, 20), (3, 20, 18)])
def test_patches_are_returned_to_their_places(side, shape):
    """Almost no noise: nothing is shrunk, and every pixel comes back."""
    x = torch.rand(60, *shape, generator=rng())
    kept = PCAWiener.fit(x, side)
    torch.testing.assert_close(kept(x, 1e-6), x, rtol=0, atol=2e-4)
    assert kept(x, 1e-6).shape == x.shape


def test_strong_noise_leaves_the_mean():
    x = torch.rand(60, 1, 16, 16)
    torch.testing.assert_close(PCAWiener.fit(x, 0)(x, 1e6), x.mean(0).expand_as(x))


@pytest.mark.parametrize("shape", [(3, 16, 16), (1, 8, 8), (1, 20, 20)])
def test_components_of_whole_images_are_for_images_of_that_size(shape):
    fitted = PCAWiener.fit(torch.rand(4, 1, 16, 16), 0)
    x = torch.rand(2, *shape)
    if shape[1] == 20:
        assert fitted(x, 0.1).shape == x.shape  # larger ones are patches again
        return
    with pytest.raises(cf.UsageError, match="fit them"):
        fitted(x, 0.1)


# ---------------------------------------------------------------- scikit-image's


def test_one_shift_equals_bayes_shrink_of_scikit_image():
    x = cf.Gaussian(0.2)(smooth(3, size=33), rng())
    ours = Wavelet("db2", shifts=1, levels=3)(x, 0.2)
    for image, restored in zip(x.double().numpy(), ours, strict=True):
        theirs = denoise_wavelet(
            image[0], sigma=0.2, wavelet="db2", method="BayesShrink", mode="soft", wavelet_levels=3
        )
        torch.testing.assert_close(restored[0], torch.from_numpy(theirs).float(), rtol=0, atol=1e-5)


def test_more_shifts_denoise_better():
    clean = smooth(6)
    noisy = cf.Gaussian(0.2)(clean, rng())
    errors = [mse(Wavelet("db1", shifts=s)(noisy, 0.2), clean).mean() for s in (1, 2, 4, 8)]
    assert errors == sorted(errors, reverse=True)
    assert errors[3] < 0.6 * errors[0]


def test_non_local_means_equals_scikit_image_s_on_grey_images():
    x = cf.Gaussian(0.2)(smooth(2), rng())
    theirs = denoise_nl_means(x[1, 0].double().numpy(), 7, 3, h=0.1, sigma=0.2)
    ours = NonLocalMeans(h=0.5, patch=7, distance=3)(x, 0.2)[1, 0]
    torch.testing.assert_close(ours, torch.from_numpy(theirs).float(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("denoiser", [Wavelet(), NonLocalMeans()], ids=["wavelet", "non-local means"])
@pytest.mark.parametrize("channels", [1, 3])
def test_noise_is_removed_from_smooth_images(denoiser, channels):
    clean = smooth(8, channels)
    noisy = cf.Gaussian(0.2)(clean, rng())
    restored = denoiser(noisy, 0.2)
    assert (restored.shape, restored.dtype) == (noisy.shape, noisy.dtype)
    assert (mse(restored, clean) < 0.25 * mse(noisy, clean)).all()


@pytest.mark.parametrize("size", [1, 5, 8, 16])
def test_small_images_are_restored_too(size):
    x = torch.rand(2, 3, size, size + 1)
    for denoiser in (Wavelet(), Wavelet("sym4"), NonLocalMeans()):
        assert denoiser(x, 0.2).shape == x.shape
        assert denoiser(x, 0.2).isfinite().all()


# ---------------------------------------------------------------- tuning


def test_tuning_takes_the_better_setting():
    clean = smooth(6)
    noisy = cf.Gaussian(0.2)(clean, rng())
    settings = [Wavelet(factor=f) for f in (0.01, 1.0)]
    assert best(settings, noisy, clean, 0.2) is settings[1]
    assert best(settings[::-1], noisy, clean, 0.2) is settings[1]
    assert best(settings, clean, clean, 0.2) is settings[0]


@pytest.mark.parametrize(
    ("count", "size", "expected"), [(3, 4, 1), (40, 4, 10), (400, 64, 16), (400, 63, 16), (9, 2000, 1)]
)
def test_settings_are_compared_on_a_quarter_of_the_images_and_not_too_many_pixels(count, size, expected):
    shown = baselines._shown(torch.zeros(1, 1, 1, 1).expand(count, 1, size, size))
    assert len(shown) == expected
    assert shown[0] == 0
    assert expected == 1 or shown[-1] == count - 1


def test_components_are_fitted_and_chosen_on_different_images():
    """Of white noise a few whole images have no more than themselves; patches are nearly as good as the mean."""
    clean = torch.rand(24, 1, 12, 12)
    noisy = cf.Gaussian(0.3)(clean, rng())
    chosen = tuned(noisy, clean, 0.3)["PCA-Wiener"]
    assert isinstance(chosen, PCAWiener)
    assert chosen.patch == (8, 8)
    whole = PCAWiener.fit(clean, 0)
    assert mse(whole(noisy, 0.3), clean).mean() < mse(chosen(noisy, 0.3), clean).mean()  # in-sample it would win


def test_components_are_fitted_once_for_any_number_of_stds(monkeypatch):
    clean, fitted, fit = smooth(24), [], PCAWiener.fit.__func__
    monkeypatch.setattr(
        PCAWiener, "fit", classmethod(lambda cls, x, side: fitted.append(side) or fit(cls, x, side))
    )
    found = [PCAWiener.tuned(cf.Gaussian(std)(clean, rng()), clean, std) for std in (0.1, 0.2, 0.4)]
    assert len(fitted) == 3 + len({one.patch for one in found})  # to choose, and of all images
    count = len(fitted)
    PCAWiener.tuned(cf.Gaussian(0.2)(clean, rng()), clean, 0.2)
    assert len(fitted) == count
    clean.mul_(0.5)  # other images now
    again = PCAWiener.tuned(cf.Gaussian(0.1)(clean, rng()), clean, 0.1)
    assert len(fitted) > count
    torch.testing.assert_close(again.mean, found[0].mean / 2)


def test_tuning_beats_unsuitable_default_settings():
    clean = smooth(24)
    noisy = cf.Gaussian(0.4)(clean, rng())
    found = tuned(noisy[::2], clean[::2], 0.4)
    assert list(found) == ["PCA-Wiener", "non-local means", "wavelet"]
    for name, usual in (("non-local means", NonLocalMeans()), ("wavelet", Wavelet())):
        errors = [mse(d(noisy[1::2], 0.4), clean[1::2]).mean() for d in (found[name], usual)]
        assert errors[0] < errors[1]


# ---------------------------------------------------------------- the probe

ALWAYS = ["corrupted", "restored", "reconstruction"]
FILTERS = ["mean image", "7x7 filter", "11x11 filter", "frequency filter"]
TOLD = ["PCA-Wiener", "non-local means", "wavelet"]


def numbers(corruption: cf.Corruption, shape: tuple[int, int, int], references: int | None) -> dict:
    reference = None if references is None else torch.rand(references, *shape)
    x = torch.rand(3, *shape)
    return cf.Denoising(corruption, reference)(cf.Linear(shape, 4), x, rng()).numbers


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 16, 12)])
@pytest.mark.parametrize("corruption", [cf.Gaussian(0.2), cf.Mix()], ids=str)
def test_known_noise_has_every_baseline(corruption, shape):
    found = numbers(corruption, shape, 12)
    assert list(found) == ALWAYS + FILTERS + TOLD
    assert all(v.shape == (3,) and v.isfinite().all() for v in found.values())
    assert list(numbers(corruption, shape, None)) == [*ALWAYS, "non-local means"]


def test_one_reference_image_is_enough():
    assert list(numbers(cf.Gaussian(0.2), (1, 8, 8), 1)) == ALWAYS + FILTERS + TOLD


@pytest.mark.parametrize(
    "corruption", [cf.Gaussian((0.1, 0.4)), cf.Mix((0.2, 0.8)), cf.Mix(std=0.0), cf.Masking()], ids=str
)
def test_unknown_noise_has_the_linear_filters_only(corruption):
    assert noise_of(corruption) is None
    assert list(numbers(corruption, (1, 8, 8), 12)) == ALWAYS + FILTERS
    assert list(numbers(corruption, (1, 8, 8), None)) == ALWAYS


def test_nothing_is_compared_where_nothing_is_corrupted():
    assert list(numbers(cf.Clean(), (1, 8, 8), 12)) == ALWAYS


@pytest.mark.parametrize(("keep", "std"), [(0.5, 0.2), (0.8, 0.05)])
def test_a_mix_is_gaussian_noise_after_correcting_brightness(keep, std):
    """The same draw of the noise: what the baselines make of it is the same."""
    x, reference, model = smooth(4, size=16), smooth(12, size=16), cf.Linear((1, 16, 16), 4)
    mix, plain = cf.Mix(keep=keep, mean=0.7, std=0.2), cf.Gaussian(std)
    assert noise_of(mix) == pytest.approx((keep, 0.7, std))
    one, other = (cf.Denoising(c, reference)(model, x, rng()) for c in (mix, plain))
    for name in FILTERS + TOLD:
        torch.testing.assert_close(one.numbers[name], other.numbers[name], rtol=1e-3, atol=1e-6)
