"""Corruptions: moments against closed forms, blur against scipy."""

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy import ndimage

from copyfold import catalogue
from copyfold.corruptions import Blur, Clean, Corruption, Gaussian, Masking, Mix, Patches, noise_like
from copyfold.errors import UsageError

ALL = [Clean(), Mix(), Mix(keep=0.0), Gaussian(), Masking(), Masking(0.3, rescale=True), Blur(), Patches()]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def photos(*shape, dtype=torch.float32, seed=9):
    return torch.rand(*shape, generator=seeded(seed), dtype=dtype)


def assert_moments(sample, mean, std):
    """The mean and the standard deviation within 5 standard errors (normal samples)."""
    n = sample.numel()
    assert abs(sample.double().mean().item() - mean) <= 5 * std / n**0.5
    assert abs(sample.double().std().item() - std) <= 5 * std / (2 * n) ** 0.5


@pytest.mark.parametrize("corruption", ALL, ids=repr)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_shape_dtype_and_device_are_kept(corruption, dtype):
    x = photos(2, 3, 16, 12, dtype=torch.float32).to(dtype)
    out = corruption(x, seeded())
    assert (out.shape, out.dtype, out.device) == (x.shape, x.dtype, x.device)


@pytest.mark.parametrize("corruption", [c for c in ALL if not isinstance(c, Blur)], ids=repr)
def test_memory_format_is_kept_and_does_not_change_values(corruption):
    x = photos(2, 3, 8, 8)
    out = corruption(x.contiguous(memory_format=torch.channels_last), seeded())
    assert out.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(out, corruption(x, seeded()))


@pytest.mark.parametrize("corruption", ALL, ids=repr)
def test_the_generator_decides_the_draw(corruption):
    x, rng = photos(2, 1, 8, 8), seeded(3)
    first, second = corruption(x, rng), corruption(x, rng)
    assert torch.equal(first, corruption(x, seeded(3)))
    assert torch.equal(first, second) == isinstance(corruption, Clean | Blur)


def test_without_a_generator_the_global_one_is_drawn_from():
    x = photos(1, 1, 8, 8)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        first = Gaussian()(x)
        second = Gaussian()(x)
        torch.manual_seed(5)
        assert torch.equal(first, Gaussian()(x))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("corruption", ALL, ids=repr)
def test_the_given_images_are_not_changed(corruption):
    x = photos(2, 1, 8, 8)
    before = x.clone()
    corruption(x, seeded())
    assert torch.equal(x, before)


@pytest.mark.parametrize("corruption", [c for c in ALL if c != Mix(keep=0.0)], ids=repr)
def test_gradients_flow_to_the_images(corruption):
    x = photos(1, 2, 5, 4, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: corruption(x, seeded()), x)


def test_clean_is_the_same_tensor():
    x = photos(1, 1, 4, 4)
    assert Clean()(x) is x


def test_noise_has_the_mean_and_the_standard_deviation_asked_for():
    x = torch.zeros(8, 3, 64, 64)
    assert_moments(noise_like(x, 0.7, 0.2, seeded(1)), 0.7, 0.2)
    assert_moments(Gaussian(0.3)(x + 0.5, seeded(2)) - 0.5, 0.0, 0.3)


def test_noise_on_another_device_than_the_generator():
    assert noise_like(torch.zeros(1, 1, 4, 4, device="meta"), 0.0, 1.0, seeded()).device.type == "meta"


def test_noise_refuses_integer_images():
    with pytest.raises(UsageError, match=r"uint8.*divide"):
        noise_like(torch.zeros(1, 1, 4, 4, dtype=torch.uint8))


def test_mix_is_a_convex_mix_and_zero_keeps_nothing():
    x = photos(8, 3, 64, 64)
    assert_moments(Mix(keep=0.25)(x, seeded(1)) - 0.25 * x, 0.75 * 0.7, 0.75 * 0.2)
    assert_moments(Mix(keep=0.0)(x, seeded(1)), 0.7, 0.2)
    assert torch.equal(Mix(keep=0.0)(x, seeded(1)), Mix(keep=0.0)(1 - x, seeded(1)))
    assert torch.equal(Mix(keep=1.0)(x, seeded(1)), x)


def test_nothing_is_clipped():
    x = Gaussian(std=0.5)(photos(1, 3, 16, 16), seeded())
    assert x.min() < 0
    assert x.max() > 1


def test_masking_drops_single_values_at_its_rate():
    x = torch.ones(8, 3, 64, 64)
    out = Masking(0.3)(x, seeded(1))
    dropped = (out == 0).double()
    assert set(out.unique().tolist()) == {0.0, 1.0}
    assert abs(dropped.mean().item() - 0.3) < 5 * (0.3 * 0.7 / x.numel()) ** 0.5
    # channels independently: both of a pair of channels dropped with probability rate^2
    both = (dropped[:, 0] * dropped[:, 1]).mean().item()
    assert abs(both - 0.09) < 5 * (0.09 * 0.91 / (8 * 64 * 64)) ** 0.5
    assert Masking(0.0)(x, seeded()).min() == 1
    assert Masking(1.0)(x, seeded()).max() == 0


def test_masking_rescaled_keeps_the_mean():
    out = Masking(0.25, rescale=True)(torch.ones(8, 3, 64, 64), seeded(1))
    assert abs(out.mean().item() - 1) < 5 * (0.25 / 0.75 / out.numel()) ** 0.5


@pytest.mark.parametrize(
    ("corruption", "expected"),
    [
        (Gaussian(0.2), lambda x: x.numel() * 0.2**2),
        (Mix(0.5, 0.7, 0.2), lambda x: 0.5**2 * ((x - 0.7).square().sum() + x.numel() * 0.2**2)),
        (Mix(0.0, 0.5, 0.1), lambda x: (x - 0.5).square().sum() + x.numel() * 0.1**2),
        (Masking(0.3), lambda x: 0.3 * x.square().sum()),
        (Masking(0.3, rescale=True), lambda x: 0.3 / 0.7 * x.square().sum()),
    ],
    ids=lambda given: type(given).__name__,
)
def test_the_loss_of_the_identity_equals_its_formula(corruption, expected):
    """E ||x~ - x||^2, the error of a model that copies its corrupted input (method, 6B row 10)."""
    x = photos(3, 16, 16, dtype=torch.float64)
    draws = corruption(x.expand(2000, 3, 16, 16), seeded(4))
    errors = (draws - x).square().sum((1, 2, 3))
    assert abs(errors.mean() - expected(x)) < 5 * errors.std() / len(errors) ** 0.5


@pytest.mark.parametrize(("kernel", "std"), [(19, 8.0), (5, 1.0), (1, 2.0), (7, 1e-3)])
@pytest.mark.parametrize("size", [(32, 32), (16, 16), (8, 5), (1, 3), (2, 1)], ids=str)
def test_blur_is_scipys_convolution(kernel, std, size):
    x = photos(2, 3, *size, dtype=torch.float64)
    u = np.arange(kernel) - kernel // 2
    g = np.exp(-((u / std) ** 2) / 2)
    g /= g.sum()
    expected = x.numpy()
    for axis in (2, 3):
        expected = ndimage.convolve1d(expected, g, axis=axis, mode="mirror")
    np.testing.assert_allclose(Blur(kernel, std)(x), expected, rtol=1e-12, atol=1e-14)


def test_blur_is_scipys_gaussian_filter():
    x = photos(1, 1, 24, 24, dtype=torch.float64)
    expected = ndimage.gaussian_filter(x[0, 0].numpy(), 2.0, mode="mirror", radius=6)
    np.testing.assert_allclose(Blur(13, 2.0)(x)[0, 0], expected, rtol=1e-12)


def test_blur_pads_as_torch_reflects_where_torch_can():
    x = photos(1, 1, 16, 16, dtype=torch.float64)
    g = Blur().window()
    padded = torch.nn.functional.pad(x, (9, 9, 9, 9), mode="reflect")
    expected = torch.nn.functional.conv2d(padded, torch.outer(g, g)[None, None])
    torch.testing.assert_close(Blur()(x), expected)


def test_blur_keeps_a_constant_image():
    x = torch.full((1, 3, 16, 16), 0.37, dtype=torch.float64)
    torch.testing.assert_close(Blur()(x), x)


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: Mix(keep=1.5), "keep"),
        (lambda: Mix(keep=-0.1), "keep"),
        (lambda: Mix(keep=float("nan")), "keep"),
        (lambda: Mix(mean=float("inf")), "mean"),
        (lambda: Mix(std=-1.0), "std"),
        (lambda: Gaussian(std=-0.1), "std"),
        (lambda: Gaussian(std=float("nan")), "std"),
        (lambda: Masking(rate=1.1), "rate"),
        (lambda: Masking(rate=1.0, rescale=True), "rescale"),
        (lambda: Blur(kernel=4), "kernel"),
        (lambda: Blur(kernel=0), "kernel"),
        (lambda: Blur(std=0.0), "std"),
    ],
)
def test_invalid_settings_are_refused(make, what):
    with pytest.raises(UsageError, match=what) as refusal:
        make()
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("corruption", ALL, ids=repr)
def test_a_corruption_is_rebuilt_from_its_description(corruption):
    assert catalogue.build(Corruption, catalogue.describe(corruption)) == corruption


def test_importing_corruptions_imports_only_torch():
    heavy = "('skimage', 'matplotlib', 'av', 'PIL', 'sklearn', 'scipy', 'lightning_fabric')"
    code = f"import sys, copyfold.corruptions; sys.exit(str([m for m in {heavy} if m in sys.modules] or ''))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""


# ---------------------------------------------------------------- a level drawn per image


def test_a_pair_of_levels_draws_one_per_image():
    x = torch.full((400, 1, 16, 16), 0.5)
    rng = torch.Generator().manual_seed(0)
    stds = (Gaussian((0.1, 0.5))(x, rng) - x).flatten(1).std(1).log()  # uniform from log 0.1 to log 0.5
    assert abs(stds.mean() - (math.log(0.1) + math.log(0.5)) / 2) < 0.08
    assert abs(stds.std() - math.log(5) / 12**0.5) < 0.05
    assert 0.08 < stds.min().exp() < 0.12
    assert 0.45 < stds.max().exp() < 0.57
    rates = (Masking((0.2, 0.6))(x, rng) == 0).float().flatten(1).mean(1)
    assert abs(rates.mean() - 0.4) < 0.02
    assert rates.std() > 0.09
    keeps = Mix((0.0, 1.0), mean=1.0, std=0.0)(x, rng).flatten(1).mean(1)  # 1 - keep / 2
    assert abs(keeps.mean() - 0.75) < 0.02
    assert keeps.min() < 0.53
    assert keeps.max() > 0.97


def test_a_pair_of_equal_levels_is_that_level():
    x = torch.rand(3, 1, 8, 8)
    for cls, level in ((Gaussian, 0.2), (Mix, 0.4), (Masking, 0.5)):
        pair = cls((level, level))
        assert pair(x, torch.Generator().manual_seed(1)).shape == x.shape
    noise = Gaussian((0.2, 0.2))(x, torch.Generator().manual_seed(1)) - x
    assert abs(noise.std() - 0.2) < 0.03


def test_rescaled_masking_keeps_the_mean_at_every_rate():
    x = torch.ones(200, 1, 32, 32)
    kept = Masking((0.1, 0.8), rescale=True)(x, torch.Generator().manual_seed(0))
    assert abs(kept.mean() - 1) < 0.01


@pytest.mark.parametrize(
    "make",
    [
        lambda: Gaussian((0.5, 0.1)),
        lambda: Gaussian((-0.1, 0.1)),
        lambda: Gaussian((0.0, 0.1)),
        lambda: Masking((0.5, 1.0), rescale=True),
        lambda: Mix((0.5, 1.5)),
    ],
)
def test_invalid_pairs_of_levels_are_refused(make):
    with pytest.raises(UsageError):
        make()


# ---------------------------------------------------------------- Patches


def changed(x, corruption, seed=0):
    """Which pixels of which images are changed."""
    return (corruption(x, seeded(seed)) != x).any(1)


def test_patches_leave_their_share_of_images_as_they_are():
    x = photos(600, 1, 12, 12)
    clean = (~changed(x, Patches(clean=0.3)).flatten(1).any(1)).double().mean().item()
    # a defect beside the image, or of its own colour, is none: there are somewhat more clean images than that
    assert abs(clean - 0.3) <= 5 * (0.3 * 0.7 / 600) ** 0.5 + 0.03
    assert changed(x, Patches(clean=0.0, size=(0.2, 0.25), strength=1.0)).flatten(1).any(1).double().mean() > 0.95


def test_patches_grow_with_their_size_and_number():
    x = photos(400, 1, 32, 32)
    shares = [
        changed(x, Patches(count, size, 1.0, 0.0)).double().mean().item()
        for count, size in ((1, 0.05), (1, 0.2), (3, 0.2))
    ]
    assert shares[0] < shares[1] < shares[2]
    # a box or blob of half-length .2 covers at most .4 x .4 of the image, a line less
    assert shares[1] < 0.16


def test_a_patch_of_another_image_comes_from_another_image():
    """Images of one value each: what a piece, a colour or a texture can be is told apart by its value."""
    x = torch.linspace(0, 1, 11)[:, None, None, None].expand(11, 1, 24, 24).contiguous()
    pure = Patches(1, 0.25, 1.0, 0.0)
    out = torch.cat([pure(x, seeded(k)) for k in range(20)])
    centre = [o[o != v] for o, v in zip(out.flatten(1), x.flatten(1)[:, 0].repeat(20), strict=True)]
    values = torch.tensor([c.mode().values.item() for c in centre if len(c) > 20])
    pieces = (values[:, None] - x[:, 0, 0, 0]).abs().min(1).values < 1e-6
    assert 0.3 < pieces.double().mean() < 0.7  # half are pieces, the others colours and textures


def test_strength_is_the_share_of_the_content():
    x = torch.zeros(200, 1, 24, 24)
    x[100:] = 1
    faint = Patches(1, 0.2, 0.25, 0.0)(x, seeded()) - x
    assert faint.abs().max() <= 0.25 + 1e-6
    assert faint.abs().max() > 0.2


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"count": 0}, "count=0"),
        ({"size": (0.0, 0.1)}, "between 0.001 and 1"),
        ({"strength": (0.5, 0.2)}, "the lower number first"),
        ({"clean": 1.5}, "at least 0 and at most 1"),
    ],
)
def test_patches_that_cannot_be_are_refused(given, said):
    with pytest.raises(UsageError, match=said):
        Patches(**given)
