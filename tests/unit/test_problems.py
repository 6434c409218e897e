"""Problems against matrices and other libraries, and solve against the posterior of a known density."""

import dataclasses

import numpy as np
import pytest
import scipy.fft
import scipy.ndimage
import tifffile
import torch
from PIL import Image
from torch import Generator

import copyfold as cf
from copyfold import inverse
from copyfold.data import scenes
from copyfold.inverse import solve_file
from copyfold.restoration import restore

HOLE = torch.ones(8, 12).index_fill_(1, torch.tensor([4, 5, 6]), 0)
CHANNELS = torch.rand(3, 8, 12, generator=Generator().manual_seed(8)) > 0.3
PROBLEMS = [
    cf.Inpaint(HOLE),
    cf.Missing(0.7),
    cf.Missing(0.2, seed=5),
    cf.Enlarge(2),
    cf.Enlarge(4),
    cf.Deblur(1.0),
    cf.Deblur(0.6, threshold=0.01),
    cf.Deblur(0.3, threshold=1e-6),
]


def images(*shape, seed=0):
    return torch.rand(*shape, generator=Generator().manual_seed(seed), dtype=torch.float64)


def matrix(function, *shape):
    """A linear function of images of this shape, as a matrix."""
    unit = torch.eye(torch.Size(shape).numel(), dtype=torch.float64).view(-1, *shape)
    return function(unit).flatten(1).T


def rms(a):
    return a.square().mean().sqrt().item()


# ---------------------------------------------------------------- measurements


@pytest.mark.parametrize("problem", PROBLEMS, ids=str)
def test_invert_is_the_pseudo_inverse_of_measure(problem):
    a = matrix(problem.measure, 1, 8, 12)
    m = problem.measure(images(1, 1, 8, 12))
    back = matrix(problem.invert, 1, *m.shape[2:])
    torch.testing.assert_close(back, torch.linalg.pinv(a, rtol=1e-10), rtol=0, atol=1e-9)


@pytest.mark.parametrize("problem", PROBLEMS, ids=str)
def test_the_projection_is_that_of_the_paper(problem):
    """(I - M M^T) f + M (m - M^T y), with M the singular vectors of the measurement that are not lost."""
    _, values, vectors = torch.linalg.svd(matrix(problem.measure, 1, 8, 12))
    basis = vectors[: len(values)][values > 1e-9].T
    x, f, y = (images(1, 96, seed=seed)[0] for seed in range(3))
    expected = f - basis @ (basis.T @ f) + basis @ (basis.T @ x - basis.T @ y)
    x, f, y = (v.view(1, 1, 8, 12) for v in (x, f, y))
    found = problem.project(f, y, problem.measure(x))
    torch.testing.assert_close(found.flatten(), expected, rtol=0, atol=1e-9)


def test_enlarging_measures_the_means_of_blocks():
    x = images(2, 3, 8, 12)
    blocks = x.numpy().reshape(2, 3, 2, 4, 3, 4).mean((3, 5))
    np.testing.assert_allclose(cf.Enlarge(4).measure(x), blocks)
    with pytest.raises(cf.UsageError, match=r"images of 9x12 are invalid for Enlarge.*that 4 divides"):
        cf.Enlarge(4).measure(images(1, 1, 9, 12))


def test_deblurring_measures_a_gaussian_blur_mirrored_at_the_border():
    """As scipy's, whose window is sampled and ends somewhere."""
    x = images(1, 1, 40, 33)
    blurred = scipy.ndimage.gaussian_filter(x[0, 0].numpy(), 2.0, mode="reflect", truncate=8)
    found = cf.Deblur(2.0, threshold=1e-9).measure(x)[0, 0]
    np.testing.assert_allclose(found, blurred, atol=1e-4)


def test_deblurring_keeps_the_frequencies_whose_gain_is_above_the_threshold():
    problem = cf.Deblur(2.0, threshold=0.25)
    x = images(1, 1, 20, 30)
    before, after = (scipy.fft.dctn(a[0, 0].numpy(), norm="ortho") for a in (x, problem.measure(x)))
    k, i = np.arange(20)[:, None] / 20, np.arange(30) / 30
    gain = np.exp(-2 * np.pi**2 * (k**2 + i**2))
    assert 0.01 < (gain > 0.25).mean() < 0.1
    np.testing.assert_allclose(after, np.where(gain >= 0.25, gain, 0) * before, atol=1e-12)


def test_frequencies_below_the_threshold_of_a_blurred_photograph_are_not_looked_at():
    problem = cf.Deblur(2.0)
    x = images(1, 1, 32, 32)
    whole = cf.Deblur(2.0, threshold=1e-12).measure(x)  # a photograph has all frequencies
    torch.testing.assert_close(problem.invert(whole), problem.invert(problem.measure(x)))
    rounded = (problem.measure(x) * 255).round() / 255
    off = problem.invert(rounded) - problem.invert(problem.measure(x))
    assert off.abs().max() < 0.01  # an error of .0011, at most ten times as large


def test_masks_say_what_is_known():
    x = images(2, 3, 8, 12)
    assert torch.equal(cf.Inpaint(HOLE).measure(x), x * HOLE)
    assert torch.equal(cf.Inpaint(HOLE[None] * 255).measure(x), x * HOLE)
    assert torch.equal(cf.Inpaint(CHANNELS).measure(x), x * CHANNELS)
    missing = torch.where(HOLE > 0, x, torch.nan)
    assert torch.equal(cf.Inpaint(HOLE).invert(missing), x * HOLE)
    assert cf.Inpaint(HOLE).project(x, x, missing).isfinite().all()
    with pytest.raises(cf.UsageError, match="needs a mask"):
        cf.Inpaint().measure(x)
    for mask in (HOLE[:4], HOLE[None, None], HOLE[0]):
        with pytest.raises(cf.UsageError, match="does not fit images of 8x12"):
            cf.Inpaint(mask).measure(x)


def test_pixels_are_missing_at_their_rate_in_the_same_places_of_all_images():
    x = images(2, 3, 100, 100) + 1
    missing = cf.Missing(0.8, seed=3).measure(x) == 0
    assert missing.double().mean().item() == pytest.approx(0.8, abs=0.015)
    assert torch.equal(missing, missing[:1, :1].expand_as(missing))
    assert not torch.equal(missing, cf.Missing(0.8, seed=4).measure(x) == 0)
    assert torch.equal(cf.Missing(0.0).measure(x), x)


@pytest.mark.parametrize(
    "bad",
    [
        lambda: cf.Enlarge(1),
        lambda: cf.Enlarge(2.5),
        lambda: cf.Missing(1.0),
        lambda: cf.Missing(-0.1),
        lambda: cf.Missing(float("nan")),
        lambda: cf.Missing(0.5, seed=-1),
        lambda: cf.Deblur(0.0),
        lambda: cf.Deblur(float("inf")),
        lambda: cf.Deblur(1.0, threshold=0.0),
        lambda: cf.Deblur(1.0, threshold=1.1),
    ],
)
def test_invalid_arguments_are_refused(bad):
    with pytest.raises(cf.UsageError, match="is invalid: expected"):
        bad()


# ---------------------------------------------------------------- solve: the posterior of a Gaussian density

SIDE, PRIOR = 4, 0.2
FEW = cf.Ascent(from_std=0.3, steps=4, clip=False)


def covariance():
    """Of pixels whose correlation falls to 1 / e over ten pixels along an axis, as smooth as a photograph."""
    place = torch.arange(SIDE, dtype=torch.float64)
    along = torch.exp(-(place[:, None] - place).abs() / 10)
    return PRIOR**2 * torch.kron(along, along)


def denoise(y, std):
    """E[x | y] for x ~ N(1/2, C) and noise of that std."""
    c = covariance()
    gain = torch.linalg.solve(c + std**2 * torch.eye(len(c), dtype=c.dtype), c)
    return 0.5 + ((y - 0.5).flatten(1) @ gain).view(y.shape)


def posterior(problem, m):
    """Mean and standard deviations of x given A x = m, in closed form."""
    c, a = covariance(), matrix(problem.measure, 1, SIDE, SIDE)
    gain = c @ a.T @ torch.linalg.pinv(a @ c @ a.T, rtol=1e-10)
    mean = 0.5 + gain @ (m.flatten() - 0.5 * a.sum(1))
    return mean, (c - gain @ a @ c).diagonal().clamp(min=0).sqrt()


def errors(problem, **given):
    """Root mean square errors of the mean and of the standard deviations of samples, in units of the prior's."""
    draw = Generator().manual_seed(4)
    x = torch.linalg.cholesky(covariance()) @ torch.randn(SIDE**2, generator=draw, dtype=torch.float64)
    m = problem.measure(0.5 + x.view(1, 1, SIDE, SIDE))
    ascent = cf.Ascent(from_std=0.3, to_std=0.01, clip=False, **given)
    found = cf.solve(denoise, problem, m.expand(2000, -1, -1, -1), ascent=ascent, progress=False)[0].flatten(1)
    mean, std = posterior(problem, m)
    return rms(found.mean(0) - mean) / PRIOR, rms(found.std(0) - std) / PRIOR


HIDDEN = torch.ones(SIDE, SIDE).index_put_((torch.tensor([[1], [2]]), torch.tensor([1, 2])), torch.zeros(()))
KNOWN = [cf.Inpaint(HIDDEN), cf.Missing(0.5), cf.Enlarge(2), cf.Deblur(1.0)]


@pytest.mark.parametrize("problem", KNOWN, ids=str)
def test_samples_have_the_mean_and_the_spread_of_the_posterior(problem):
    """Within 5 % of the prior's standard deviation, and nearer as h0 falls."""
    found = [errors(problem, beta=0.05, h0=h0) for h0 in (0.1, 0.03, 0.01)]
    mean, std = found[-1]
    assert mean < 0.05
    assert std < 0.05
    falling = [std for _, std in found]
    assert falling[0] > falling[1] > falling[2]


def test_smaller_steps_are_nearer():
    """`h_max` keeps h small where the level passes the standard deviations of the density."""
    mean, std = errors(cf.Enlarge(2), beta=0.05, h0=0.01, h_max=0.1)
    assert mean < 0.02
    assert std < 0.015


# ---------------------------------------------------------------- solve: what it does with models and images


def net(shape=(1, 16, 16)):
    torch.manual_seed(0)
    return cf.UNet(shape, width=4, depth=2, norm="none").eval()


@pytest.mark.parametrize("problem", PROBLEMS, ids=str)
def test_every_sample_has_the_measurement(problem):
    m = problem.measure(images(2, 3, 8, 12)).float()
    found = cf.solve(net(), problem, m, samples=2, ascent=FEW)
    assert found.shape == (2, 2, 3, 8, 12)
    assert found.dtype == torch.float32
    for sample in found:
        torch.testing.assert_close(problem.measure(sample), m, rtol=0, atol=1e-5)


def test_samples_are_functions_of_the_seed():
    problem = cf.Missing(0.5)
    m = problem.measure(images(1, 1, 16, 16)).float()
    model, before = net(), torch.get_rng_state()
    first, again, other = (cf.solve(model, problem, m, samples=2, ascent=FEW, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(before, torch.get_rng_state())
    assert not torch.equal(*first)
    assert torch.equal(first[:1], cf.solve(model, problem, m, ascent=FEW, seed=1))
    assert not first.requires_grad


def test_the_ascent_starts_from_what_is_measured_and_else_from_the_mean():
    seen = []

    def watching(y, std):
        seen.append((y, std))
        return y

    problem = cf.Inpaint(HOLE)
    m = problem.measure(images(64, 1, 8, 12))
    ascent = dataclasses.replace(FEW, mean=0.4)
    cf.solve(watching, problem, m, ascent=ascent)
    assert [std for _, std in seen] == [std for std, _ in ascent.plan()]
    noise = seen[0][0] - torch.where(HOLE > 0, m, 0.4)
    assert noise.mean().item() == pytest.approx(0, abs=0.02)
    assert noise.std().item() == pytest.approx(0.3, rel=0.05)


def test_a_grey_model_solves_every_channel_and_a_model_of_one_size_only_that():
    m = cf.Missing(0.3).measure(images(1, 3, 13, 10)).float()
    assert cf.solve(net(), cf.Missing(0.3), m, ascent=FEW).shape == (1, 1, 3, 13, 10)
    dense = cf.MLP((1, 8, 12), hidden=(8,), latent_dim=4).eval()
    small = m[:, :, :8].repeat(1, 1, 1, 2)[..., :12]
    assert cf.solve(dense, cf.Missing(0.3), small, ascent=FEW).shape == (1, 1, 3, 8, 12)
    with pytest.raises(cf.UsageError, match="only takes images of 8x12, not of 13x10: use a convolutional"):
        cf.solve(dense, cf.Missing(0.3), m, ascent=FEW)
    with pytest.raises(cf.UsageError, match="samples=0"):
        cf.solve(net(), cf.Missing(0.3), m, samples=0)


def test_statistics_are_those_asked_for_and_restored():
    model = cf.UNet((1, 8, 12), width=4, depth=1).eval()
    model.statistics = "batch"
    m = cf.Missing(0.3).measure(images(2, 1, 8, 12)).float()
    alone = cf.solve(model, cf.Missing(0.3), m, ascent=dataclasses.replace(FEW, steps=1), statistics="running")
    together = cf.solve(model, cf.Missing(0.3), m, ascent=dataclasses.replace(FEW, steps=1), statistics="batch")
    assert (alone - together).abs().max() > 1e-3
    assert model.statistics == "batch"


def test_progress_is_told_of_every_step_and_its_noise():
    told = []
    m = cf.Missing(0.3).measure(images(1, 1, 8, 12)).float()
    cf.solve(net(), cf.Missing(0.3), m, samples=2, ascent=FEW, progress=lambda *said: told.append(said))
    assert [said[:3] for said in told] == [("restoring", done, 8) for done in range(1, 9)]
    assert [said[3]["noise"] for said in told] == 2 * [std for std, _ in FEW.plan()]


# ---------------------------------------------------------------- files


def picture(width=20, height=16):
    return Image.fromarray(scenes(1, 64)[0]).resize((width, height))


def test_known_pixels_of_a_file_come_back_as_they_were(tmp_path):
    mask = torch.rand(16, 20, generator=Generator().manual_seed(0)) > 0.5
    before = np.asarray(picture())
    picture().save(tmp_path / "photo.png")
    solve_file(net((3, 16, 16)), cf.Inpaint(mask), tmp_path / "photo.png", tmp_path / "out.png", ascent=FEW)
    after = np.asarray(Image.open(tmp_path / "out.png"))
    assert after.shape == before.shape
    assert np.array_equal(after[mask], before[mask])
    assert not np.array_equal(after, before)


def test_a_file_is_enlarged_with_its_transparency(tmp_path):
    photo = picture().convert("RGBA")
    photo.putalpha(Image.fromarray(np.arange(320, dtype=np.uint16).reshape(16, 20).astype(np.uint8)))
    photo.save(tmp_path / "photo.png", dpi=(72, 72))
    solve_file(net(), cf.Enlarge(2), tmp_path / "photo.png", tmp_path / "out.png", samples=2, ascent=FEW)
    with Image.open(tmp_path / "out.png") as image:
        assert image.size == (40, 32)
        assert image.mode == "RGBA"
        assert image.info["dpi"] == pytest.approx((72, 72), abs=0.1)
        alpha = np.asarray(image)[..., 3]
    assert np.array_equal(alpha, np.asarray(photo)[..., 3].repeat(2, 0).repeat(2, 1))


def test_every_page_of_a_tiff_is_restored_at_its_depth(tmp_path):
    pages = (np.random.default_rng(0).random((3, 16, 20)) * 60000).astype(np.uint16)
    tifffile.imwrite(tmp_path / "stack.tif", pages, photometric="minisblack")
    solve_file(net(), cf.Enlarge(2), tmp_path / "stack.tif", tmp_path / "out.tif", ascent=FEW)
    found = tifffile.imread(tmp_path / "out.tif")
    assert found.shape == (3, 32, 40)
    assert found.dtype == np.uint16


def test_a_file_is_the_mean_of_the_samples_clipped(tmp_path, monkeypatch):
    picture().save(tmp_path / "photo.png")
    made = torch.stack([torch.full((1, 3, 16, 20), value) for value in (0.2, 0.6)])
    made[..., 0] = 3
    monkeypatch.setattr(inverse, "solve", lambda *given, **more: made)
    solve_file(net(), cf.Missing(0.5), tmp_path / "photo.png", tmp_path / "out.png", samples=2)
    found = np.asarray(Image.open(tmp_path / "out.png"))
    assert (found[:, 0] == 255).all()
    assert (found[:, 1:] == 102).all()


def test_an_enlarged_image_is_a_photograph_at_most():
    """Nothing is allocated before: the last of these would have 10 million times 10 million pixels."""
    m = torch.zeros(1, 1, 1, 1).expand(1, 3, 1000, 1000)
    for side, factor in ((1000, 11), (100, 101), (1000, 9999)):
        became = f"of {side}x{side}, which become {side * factor}x{side * factor}: expected at most 100 mega"
        with pytest.raises(cf.UsageError, match=became):
            cf.Enlarge(factor).invert(m[..., :side, :side])
    with pytest.raises(cf.UsageError, match=r"Enlarge\(factor=10001\) is invalid"):
        cf.Enlarge(10001)


def test_a_mask_of_another_size_names_the_file(tmp_path):
    picture().save(tmp_path / "photo.png")
    with pytest.raises(cf.DataError, match=r"photo.png cannot be restored: a mask of 8x12 does not fit"):
        solve_file(net(), cf.Inpaint(HOLE), tmp_path / "photo.png", tmp_path / "out.png")
    assert not (tmp_path / "out.png").exists()


def test_restoring_is_still_clipped_and_applied_not():
    x = images(1, 1, 16, 16).float() * 6 - 3
    model = net()
    model.forward = lambda y: y
    assert torch.equal(cf.restoration.applied(model, x), x)
    assert torch.equal(restore(model, x), x.clamp(0, 1))
