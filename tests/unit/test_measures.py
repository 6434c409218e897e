"""Measures against independent oracles: skimage, scipy and closed forms."""

import math

import numpy as np
import pytest
import torch
from scipy import optimize, stats
from skimage import metrics
from torch.nn import functional as F

from copyfold import measures
from copyfold.errors import UsageError


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def unchecked(function):
    """The function as users call it: the tests' own check of types would speak before it does."""
    return getattr(function, "__wrapped__", function)


def pair(*shape, dtype=torch.float64):
    a = torch.rand(*shape, generator=seeded(1), dtype=dtype)
    return a, (a + 0.1 * torch.randn(*shape, generator=seeded(2), dtype=dtype)).clamp(0, 1)


def smooth(size=96, channels=3):
    """A clean picture without fine detail: slow waves, a slope and one edge."""
    u = torch.linspace(0, 1, size, dtype=torch.float64)
    y, x = u[:, None], u[None, :]
    plane = 0.4 + 0.15 * torch.sin(5 * x + 3 * y) + 0.1 * y + 0.2 * (x + y > 1)
    return plane.expand(1, channels, size, size)


@pytest.mark.parametrize("channels", [1, 3])
def test_mse_and_psnr_equal_skimage_s(channels):
    a, b = pair(4, channels, 32, 24)
    for i, (one, other) in enumerate(zip(a.numpy(), b.numpy(), strict=True)):
        assert math.isclose(measures.mse(a, b)[i], metrics.mean_squared_error(one, other))
        assert math.isclose(measures.psnr(a, b)[i], metrics.peak_signal_noise_ratio(one, other, data_range=1))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(32, 24), (11, 13), (10, 30), (6, 6)])
def test_ssim_is_the_paper_s_window_by_window(channels, size):
    """Its equations 14 to 17 and figure 5's window, in images that it does not fit mirrored."""
    a, b = pair(4, channels, *size)
    weights = torch.exp(-(torch.arange(-5, 6, dtype=torch.float64) ** 2) / (2 * 1.5**2))
    window = torch.outer(weights, weights) / weights.sum() ** 2
    flat = [x.reshape(-1, 1, *size) for x in (a, b)]
    x, y = flat if min(size) > 10 else (F.pad(x, (5, 5, 5, 5), mode="reflect") for x in flat)
    mean_x, mean_y, xx, yy, xy = (F.conv2d(z, window[None, None]) for z in (x, y, x * x, y * y, x * y))
    luminance = (2 * mean_x * mean_y + 0.01**2) / (mean_x**2 + mean_y**2 + 0.01**2)
    contrast = (2 * (xy - mean_x * mean_y) + 0.03**2) / (xx - mean_x**2 + yy - mean_y**2 + 0.03**2)
    expected = (luminance * contrast).reshape(4, -1).mean(1)
    torch.testing.assert_close(measures.ssim(a, b), expected, rtol=1e-9, atol=0)
    torch.testing.assert_close(measures.ssim(a.float(), b.float()), expected.float(), rtol=1e-4, atol=0)


def test_measures_give_one_number_per_image():
    a, b = pair(5, 3, 16, 16, dtype=torch.float32)
    for measure in (measures.mse, measures.distance, measures.psnr, measures.ssim):
        assert measure(a, b).shape == (5,)
        torch.testing.assert_close(measure(a[:1], b[:1]), measure(a, b)[:1])
    for measure in (measures.sharpness, measures.noise_level):
        assert measure(a).shape == (5,)


def test_equal_images_have_the_best_values():
    a, _ = pair(2, 1, 16, 16)
    assert measures.mse(a, a).tolist() == [0, 0]
    assert measures.psnr(a, a).tolist() == [math.inf, math.inf]
    torch.testing.assert_close(measures.ssim(a, a), torch.ones(2, dtype=torch.float64))


def test_the_mean_of_psnrs_is_not_the_psnr_of_the_pool():
    a = torch.zeros(2, 1, 12, 12)
    b = torch.stack([a[0] + 0.1, a[1] + 0.01])
    torch.testing.assert_close(measures.psnr(a, b), torch.tensor([20.0, 40.0]))


def test_distance_is_the_norm_of_the_difference():
    a, b = pair(3, 2, 5, 4)
    d = (a - b).numpy().reshape(3, -1)
    np.testing.assert_allclose(measures.distance(a, b), np.linalg.norm(d, axis=1))
    np.testing.assert_allclose(measures.distance(a, b, norm="l1"), np.abs(d).sum(1))
    np.testing.assert_allclose(measures.distance(a[:, :, 0, 0], b[:, :, 0, 0]), np.linalg.norm(d[:, ::20], axis=1))
    with pytest.raises(UsageError, match="l1 or l2"):
        unchecked(measures.distance)(a, b, norm="l3")


def test_distance_has_a_gradient_even_where_it_is_zero():
    a = torch.zeros(2, 3, requires_grad=True)
    measures.distance(a, torch.zeros(2, 3)).sum().backward()
    assert torch.equal(a.grad, torch.zeros(2, 3))


def test_half_precision_is_computed_in_single():
    a, b = pair(2, 1, 16, 16, dtype=torch.float32)
    a, b = a.bfloat16(), b.bfloat16()
    for measure in (measures.mse, measures.distance, measures.psnr, measures.ssim):
        assert measure(a, b).dtype == torch.float32
        torch.testing.assert_close(measure(a, b), measure(a.float(), b.float()))


def test_ssim_falls_with_noise():
    a = smooth()
    eta = torch.randn(a.shape, generator=seeded(3), dtype=a.dtype)
    values = [measures.ssim(a, a + s * eta).item() for s in (0.02, 0.05, 0.2)]
    assert 1 > values[0] > values[1] > values[2]


@pytest.mark.parametrize("size", [6, 8, 10, 11])
def test_ssim_of_images_that_its_window_hardly_fits(size):
    a, b = pair(2, 1, size, size)
    assert ((measures.ssim(a, b) > 0.5) & (measures.ssim(a, b) < 1)).all()
    with pytest.raises(UsageError, match="6 x 6"):
        measures.ssim(a[..., :5], b[..., :5])


def test_sharpness_of_a_wave_is_its_eigenvalue():
    """A wave of wave number k is an eigenvector of the Laplacian, with eigenvalue 2 cos k - 2."""
    k = 2 * math.pi / 8
    x = torch.sin(k * torch.arange(66, dtype=torch.float64)).expand(1, 1, 66, 66)  # 64 columns have neighbours
    torch.testing.assert_close(measures.sharpness(x), torch.tensor([(2 * math.cos(k) - 2) ** 2 / 2]).double())


def test_sharpness_of_noise_falls_with_blur():
    eta = 0.1 * torch.randn(1, 3, 128, 128, generator=seeded(4), dtype=torch.float64)
    assert math.isclose(measures.sharpness(eta).item(), 20 * 0.01, rel_tol=0.05)
    blurred = torch.nn.functional.avg_pool2d(eta, 3, stride=1)
    assert measures.sharpness(blurred) < 0.2 * measures.sharpness(eta)
    slope = torch.linspace(0, 1, 8).expand(1, 1, 8, 8)
    torch.testing.assert_close(measures.sharpness(slope), torch.zeros(1))


@pytest.mark.parametrize("std", [0.01, 0.05, 0.2])
@pytest.mark.parametrize("channels", [1, 3])
def test_noise_level_finds_known_noise_on_a_smooth_image(std, channels):
    x = smooth(channels=channels)
    noisy = x + std * torch.randn(x.shape, generator=seeded(5), dtype=x.dtype)
    assert math.isclose(measures.noise_level(noisy).item(), std, rel_tol=0.08)


def test_noise_level_of_a_clean_image_is_nearly_zero():
    assert measures.noise_level(smooth()).item() < 1e-4


def test_sliced_wasserstein_of_gaussians_equals_its_formula():
    """W2 of N(0, I) and N(v, s^2 I): squared, (1 - s)^2 + |v|^2 / d, sliced."""
    d = 6
    a = torch.randn(8_000, d, generator=seeded(6), dtype=torch.float64)
    b = 2 * torch.randn(6_000, d, generator=seeded(7), dtype=torch.float64) + 1
    assert math.isclose(measures.sliced_wasserstein(a, b, seeded(8), 200).item(), math.sqrt(2), rel_tol=0.05)


def test_sliced_wasserstein_of_a_shifted_set_is_known():
    a = torch.randn(50, 2, generator=seeded(6), dtype=torch.float64)
    moved = measures.sliced_wasserstein(a, a + torch.tensor([3.0, 4.0]), seeded(8), 20_000)
    assert math.isclose(moved.item(), 5 / math.sqrt(2), rel_tol=0.02)
    assert measures.sliced_wasserstein(a, a[torch.randperm(50, generator=seeded(1))], seeded(8)) < 1e-12


@pytest.mark.parametrize(("n", "m"), [(7, 7), (4, 6), (5, 3), (1, 4), (8, 4)])
def test_in_one_dimension_it_is_optimal_transport(n, m):
    """Against the linear programme of transport, which knows nothing of sorting."""
    a = torch.randn(n, 1, generator=seeded(n), dtype=torch.float64)
    b = torch.randn(m, 1, generator=seeded(m + 20), dtype=torch.float64) + 0.5
    cost = (a - b.T).square().numpy().ravel()
    leaves = np.kron(np.eye(n), np.ones(m))
    arrives = np.kron(np.ones(n), np.eye(m))
    plan = optimize.linprog(
        cost, A_eq=np.vstack([leaves, arrives]), b_eq=np.r_[np.full(n, 1 / n), np.full(m, 1 / m)]
    )
    assert math.isclose(measures.sliced_wasserstein(a, b).item(), math.sqrt(plan.fun), rel_tol=1e-6)


def test_in_one_dimension_it_bounds_scipys_wasserstein_1():
    """W1 <= W2, with equality for a shift."""
    a = torch.randn(40, 1, generator=seeded(1), dtype=torch.float64)
    b = torch.randn(30, 1, generator=seeded(2), dtype=torch.float64)
    first = stats.wasserstein_distance(a[:, 0].numpy(), b[:, 0].numpy())
    assert measures.sliced_wasserstein(a, b).item() >= first
    assert math.isclose(measures.sliced_wasserstein(a, a + 0.3).item(), 0.3)


def test_sliced_wasserstein_draws_from_its_generator_and_takes_images():
    a, b = pair(6, 3, 4, 4, dtype=torch.float32)
    value = measures.sliced_wasserstein(a, b, seeded(3))
    assert value.shape == ()
    assert value == measures.sliced_wasserstein(a.flatten(1), b.flatten(1), seeded(3))
    assert value != measures.sliced_wasserstein(a, b, seeded(4))


@pytest.mark.parametrize(
    "call",
    [
        lambda: measures.mse(torch.zeros(2, 1, 4, 4), torch.zeros(1, 1, 4, 4)),
        lambda: measures.psnr(torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.zeros(2, 1, 4, 4)),
        lambda: measures.sharpness(torch.zeros(1, 1, 2, 9)),
        lambda: unchecked(measures.noise_level)(torch.zeros(3, 9, 9)),
        lambda: measures.sliced_wasserstein(torch.zeros(2, 3), torch.zeros(2, 4)),
        lambda: measures.sliced_wasserstein(torch.zeros(0, 3), torch.zeros(2, 3)),
        lambda: measures.sliced_wasserstein(torch.zeros(2, 3), torch.zeros(2, 3), projections=0),
    ],
)
def test_invalid_images_are_refused(call):
    with pytest.raises(UsageError) as refusal:
        call()
    assert "\n" not in str(refusal.value)


def test_spread_is_between_images_and_within_them():
    x = torch.rand(6, 3, 5, 4, dtype=torch.float64, generator=seeded())
    rows = x.flatten(1).numpy()
    between, within = measures.spread(x)
    assert between.item() == pytest.approx(np.sqrt(np.mean(np.square(rows - rows.mean(0)))))
    assert within.item() == pytest.approx(np.sqrt(np.mean(np.square(rows - rows.mean(1, keepdims=True)))))
    same = x[:1].expand(6, -1, -1, -1)
    assert measures.spread(same)[0] == 0
    assert measures.spread(same)[1] > 0.2
    flat = x[:, :1, :1, :1].expand(-1, 3, 5, 4)
    assert measures.spread(flat)[0] > 0.1
    assert measures.spread(flat)[1] == 0
    noise = 0.2 * torch.randn(64, 3, 32, 32, generator=seeded())
    assert [value.item() for value in measures.spread(noise)] == pytest.approx(
        [0.2 * (63 / 64) ** 0.5, 0.2], rel=0.01
    )
