"""Wrong formulas in the essay "Autoencoders: Learning by Copying", and their corrections.

Rows 1-10 and 23-28 of the table of corrections (the others are in test_corrections_objectives.py). Every test
says what the text has, computes a number that refutes it, and holds the right formula against something that
does not come from it. Rows that are right (25) or no formula (28) say so. L: a line of the essay. All float64.
"""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import optimize, stats
from torch import Generator, Tensor
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

import copyfold as cf
from copyfold.measures import sharpness
from copyfold.models.attention import DotProduct, LinearElu, LinearSoftmax
from copyfold.models.blocks import BatchNorm
from known import Pixels


@pytest.fixture(autouse=True)
def _double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def rng() -> Generator:
    return Generator().manual_seed(0)


class Halving(Pixels):
    """D(E(x)) = factor x, with the image itself as the code."""

    factor = 0.5

    def logits(self, z: Tensor) -> Tensor:
        return self.factor * z.view(-1, *self.shape)


class Same(Halving):
    """D(E(x)) = x."""

    factor = 1.0


class Copying(cf.Linear):
    """D(z) is whatever it is told to be."""

    def logits(self, z: Tensor) -> Tensor:
        return z.view(-1, *self.shape)


def uniform_weights(m: int, n: int, rng: Generator) -> Tensor:
    """An m x n layer as torch initialises it: U(-1/sqrt n, 1/sqrt n)."""
    return (2 * torch.rand(m, n, generator=rng) - 1) / math.sqrt(n)


def null_space(a: Tensor) -> Tensor:
    """An orthonormal basis, as rows."""
    return torch.linalg.svd(a).Vh[torch.linalg.matrix_rank(a) :]


def on_sphere(count: int, n: int, rng: Generator) -> Tensor:
    """Points uniformly on the unit sphere of R^n."""
    return F.normalize(torch.randn(count, n, generator=rng))


def in_ball(count: int, n: int, rng: Generator) -> Tensor:
    """Points uniformly in the unit ball of R^n."""
    return on_sphere(count, n, rng) * torch.rand(count, 1, generator=rng) ** (1 / n)


def ball_tail(n: int, eps: float) -> float:
    """P(|x_i| > eps) in the unit ball, exactly: x_i^2 ~ Beta(1/2, (n + 1) / 2)."""
    return float(stats.beta.sf(eps**2, 0.5, (n + 1) / 2))


def sphere_tail(n: int, eps: float) -> float:
    """P(|x_i| > eps) on the unit sphere, exactly: x_i^2 ~ Beta(1/2, (n - 1) / 2)."""
    return float(stats.beta.sf(eps**2, 0.5, (n - 1) / 2))


def far_from_normal(x: Tensor) -> float:
    """Kolmogorov's distance of a sample, scaled to variance 1, from N(0, 1)."""
    return float(stats.kstest((x / x.square().mean().sqrt()).numpy(), "norm").statistic)


# ---------------------------------------------------------------- what the squared error assumes


def test_row_01_squared_error_is_one_gaussian_not_a_mixture():
    """L25: MSE is the cross-entropy with a Gaussian mixture of the outputs. Right: with one Gaussian per image."""
    a, outputs, std = torch.tensor([[-1.0], [1.0]]), torch.tensor([[-0.9], [0.8]]), 0.5
    mixture = [
        MixtureSameFamily(Categorical(torch.ones(2)), Independent(Normal(o, std), 1)).log_prob(a).mean()
        for o in (outputs, outputs.flip(0))
    ]
    errors = [(a - o).square().mean() for o in (outputs, outputs.flip(0))]
    torch.testing.assert_close(mixture[0], mixture[1])  # the mixture does not see whose output is whose
    assert errors[1] / errors[0] > 100  # the squared error does: 3.4 against 0.03

    fidelity, model = cf.SquaredError(std, constant=True), Copying((1, 1, 1))
    for o in (outputs, outputs.flip(0)):
        loss, _ = fidelity(model, o.float(), a.float()[..., None, None])
        expected = -Normal(o, std).log_prob(a).sum(1).mean()
        torch.testing.assert_close(loss.double(), expected, rtol=1e-6, atol=1e-6)


def test_row_01_blur_is_the_mean_of_what_the_code_does_not_keep(rng):
    """L33: blurry because of the mixture. Right: the optimum is E[a | code], blurred by the information lost."""
    sign, kept = torch.randint(2, (20000,), generator=rng) * 2.0 - 1, torch.randint(2, (20000,), generator=rng)
    a = sign + kept  # the code keeps `kept` and loses the sign
    for value in (0, 1):
        grid = torch.linspace(-2, 3, 501)
        best = grid[(a[kept == value] - grid[:, None]).square().mean(1).argmin()]
        assert abs(best - value) < 0.05  # the mean, where there is no data at all within 0.9
        assert (a[kept == value] - best).abs().min() > 0.9


def test_row_02_mixtures_are_dense_in_densities_not_in_functions():
    """L35: mixtures of Gaussians approximate any computable function. Right: any density, as w >= 0, sum w = 1."""
    x = np.linspace(0, 1, 801)

    def error(f: np.ndarray, count: int, signed: bool) -> tuple[float, float]:
        """The best L2 distance by `count` Gaussians, and the sum of the weights."""
        centres = np.linspace(0, 1, count)
        basis = stats.norm.pdf(x[:, None], centres, 1.0 / count)
        w = np.linalg.lstsq(basis, f, rcond=None)[0] if signed else optimize.nnls(basis, f)[0]
        return float(np.sqrt(np.mean((basis @ w - f) ** 2))), float(w.sum())

    sine, density = np.sin(2 * np.pi * x), stats.beta.pdf(x, 3, 4)
    for count in (10, 40):  # the distance of sin from the functions >= 0 is the norm of its negative half, 1/2
        assert error(sine, count, signed=False)[0] > 0.499
    assert error(sine, 40, signed=True)[0] < 1e-3  # what a network can do, and a mixture cannot
    errors = [error(density, count, signed=False) for count in (4, 10, 40)]
    assert errors[0][0] > errors[1][0] > errors[2][0]
    assert errors[2][0] < 2e-3
    assert abs(errors[2][1] - 1) < 0.01  # the weights of a density come out as weights


def test_row_03_a_gaussian_code_does_not_blur(rng):
    """L11: a code N(z; I) blurs as convolution does. Right: z ~ N(0, I) blurs nothing, lost information does."""
    across = torch.arange(64.0)

    def decode(z: Tensor) -> Tensor:
        """An edge whose place is a function of the code, which is N(0, 1) for edges uniformly in 16 .. 48."""
        place = 16 + 32 * Normal(0.0, 1.0).cdf(z)
        return torch.sigmoid((across - place[:, None]) * 4)[:, None, None].expand(-1, 1, 8, -1)

    u = torch.rand(400, generator=rng).clamp(1e-6, 1 - 1e-6)
    z = Normal(0.0, 1.0).icdf(u)
    x = torch.sigmoid((across - (16 + 32 * u)[:, None]) * 4)[:, None, None].expand(-1, 1, 8, -1)
    assert stats.kstest(z.numpy(), "norm").pvalue > 0.01  # the code is N(0, 1),
    torch.testing.assert_close(decode(z), x)  # and nothing is lost
    sharp = sharpness(x).mean()
    noisy = z + 0.5 * torch.randn(400, generator=rng)
    assert abs(sharpness(decode(noisy)).mean() / sharp - 1) < 0.1  # noise in the code moves the edge
    assert sharpness(cf.Blur(9, 2.0)(x)).mean() / sharp < 0.05  # a Gaussian on the pixels does blur
    posterior = z[:20, None] + 0.5 * torch.randn(20, 400, generator=rng)
    blurred = decode(posterior.flatten()).view(20, 400, 1, 8, 64).mean(1)
    assert sharpness(blurred).mean() / sharp < 0.05  # and so does the mean over what an overlapping code lost


# ---------------------------------------------------------------- volumes and tails


def test_row_04_the_volume_far_from_the_origin_is_nearly_all_of_it(rng):
    """L110: vol(|x| > eps) <= 2 exp(-n eps^2 / 4) v_n. Right: 1 - eps^n; the bound is of a half ball."""
    n, eps = 100, 0.5
    bound = 2 * math.exp(-n * eps**2 / 4)
    far = (in_ball(20000, n, rng).norm(dim=1) > eps).double().mean()
    assert bound < 0.004  # the essay's
    assert far > 0.999  # drawn
    assert abs(far - (1 - eps**n)) < 1e-9
    radius = in_ball(20000, 3, rng).norm(dim=1)
    for e in (0.3, 0.6, 0.9):  # the law of the radius, where it is not all but 1
        assert abs((radius > e).double().mean() - (1 - e**3)) < 4 * math.sqrt(0.25 / 20000)
    for n in (2, 10, 100, 1000):  # what the bound is of: farther than eps from the half ball x_1 <= 0
        for e in (0.05, 0.2, 0.5):
            assert ball_tail(n, e) / 2 <= 2 * math.exp(-n * e**2 / 4)


def test_row_04_a_coordinate_is_bounded_by_twice_the_exponent(rng):
    """L107: an element's chance is the volume of row 4. Right: P(|x_i| > eps) <= 2 exp(-n eps^2 / 2)."""
    for n in (2, 3, 10, 100, 1000):
        for eps in np.linspace(0.01, 0.99, 50):
            bound = 2 * math.exp(-n * eps**2 / 2)
            assert sphere_tail(n, eps) <= bound
            assert ball_tail(n, eps) <= bound
    n, eps, count = 20, 0.3, 40000  # the exact laws that the bound was held against, drawn
    for points, law in ((on_sphere, sphere_tail), (in_ball, ball_tail)):
        drawn = (points(count, n, rng)[:, 0].abs() > eps).double().mean()
        p = law(n, eps)
        assert abs(drawn - p) < 4 * math.sqrt(p * (1 - p) / count)
    assert (in_ball(2000, n, rng).norm(dim=1) > eps).double().mean() / ball_tail(n, eps) > 5  # no such volume


def test_row_05_the_normal_tail_is_erfc_and_hoeffding_is_of_a_mean(rng):
    """L116: P(|x - mu| > eps) = exp(-2 n eps^2) for a normal. Right: erfc(eps / (std sqrt 2)), row 4's at most."""
    n, eps, count = 100, 0.1, 40000
    essay, std = math.exp(-2 * n * eps**2), 1 / math.sqrt(n)
    right = math.erfc(eps / (std * math.sqrt(2)))
    drawn = (std * torch.randn(count, generator=rng)).abs().gt(eps).double().mean()
    assert essay == pytest.approx(0.1353, abs=1e-4)
    assert right == pytest.approx(0.3173, abs=1e-4)  # above even what would be a bound
    assert abs(drawn - right) < 4 * math.sqrt(0.25 / count)
    assert right == pytest.approx(2 * stats.norm.sf(eps / std), rel=1e-12)
    for e in np.linspace(0.001, 1, 100):
        normal, bound = math.erfc(e / (std * math.sqrt(2))), 2 * math.exp(-(e**2) / (2 * std**2))
        assert normal <= bound
        assert bound == pytest.approx(2 * math.exp(-n * e**2 / 2))  # row 4's
    for e in (0.05, 0.1, 0.2):  # where exp(-2 n eps^2) belongs: twice it bounds the mean of n values in [0, 1]
        below, above = math.ceil(n * (0.5 - e)) - 1, math.floor(n * (0.5 + e))
        mean = stats.binom.cdf(below, n, 0.5) + stats.binom.sf(above, n, 0.5)
        assert mean <= 2 * math.exp(-2 * n * e**2)


def test_row_05_normality_is_poincare_and_borel_s_not_a_tail_s(rng):
    """L105-116: equal tail bounds make x_i normal. Right: sqrt(n) x_i -> N(0, 1); variance 1/n and 1/(n + 2)."""
    signs = (torch.randint(2, (20000,), generator=rng) * 2.0 - 1) / 10  # +-1/sqrt(n), n = 100: within the bound,
    for e in np.linspace(0, 1, 100):
        assert (signs.abs() > e).double().mean() <= 2 * math.exp(-100 * e**2 / 2)
    assert far_from_normal(signs) > 0.33  # and as far from normal as a coin, Phi(1) - 1/2 = .341
    distances = [far_from_normal(on_sphere(20000, n, rng)[:, 0]) for n in (2, 5, 200)]
    assert distances[0] > distances[1] > distances[2]
    assert distances[2] < 1.63 / math.sqrt(20000)  # what 20,000 draws of a normal keep to in 99 of 100 cases
    for n in (3, 30):
        for points, variance in ((on_sphere, 1 / n), (in_ball, 1 / (n + 2))):
            drawn = points(40000, n, rng)[:, 0].square().mean()
            assert abs(drawn / variance - 1) < 4 * math.sqrt(2 / 40000)


# ---------------------------------------------------------------- linear maps that lose dimensions


@pytest.mark.parametrize("widths", [(20, 15, 9, 4), (20, 5, 12, 8)])
def test_row_06_freedom_of_a_chain_is_the_nullity_of_its_product(widths, rng):
    """L119: k layers leave (n_1 - m_1) ... (n_k - m_k) dimensions. Right: n_1 - min m_i; a sum if they shrink."""
    layers = [uniform_weights(m, n, rng) for n, m in pairwise(widths)]
    free = widths[0] - int(torch.linalg.matrix_rank(torch.linalg.multi_dot(layers[::-1])))
    lost = [n - m for n, m in pairwise(widths)]
    assert math.prod(lost) not in range(widths[0] + 1)  # 150 of 20 dimensions, and -420
    assert free == widths[0] - min(widths[1:])
    assert (free == sum(lost)) == (widths == (20, 15, 9, 4))  # 16 = 5 + 6 + 5, but 15 is not 15 - 7 + 4
    model = cf.MLP((1, 4, 5), hidden=widths[1:-1], latent_dim=widths[-1], activation="tanh").double()
    x = torch.rand(1, 1, 4, 5, generator=rng)
    jacobian = torch.autograd.functional.jacobian(model.encode, x).reshape(widths[-1], 20)
    assert 20 - int(torch.linalg.matrix_rank(jacobian)) == free  # and so at a point of a network


def test_row_07_the_free_dimension_is_n_minus_m(rng):
    """L123: m - n orthogonal dimensions, m < n. Right: n - m, and this is the n of row 5."""
    n, m = 40, 8
    null = null_space(uniform_weights(m, n, rng))
    assert len(null) == n - m == 32  # and not -32
    points = on_sphere(20000, n - m, rng) @ null  # uniformly among the inputs of norm 1 that the layer maps to 0
    along = (points @ null[0]).square().mean()
    assert abs(along * (n - m) - 1) < 4 * math.sqrt(2 / 20000)
    assert abs(along * n - 1) > 0.2  # n in place of n - m is a quarter off
    one = null_space(uniform_weights(n - 1, n, rng))  # with one free dimension, n = 40 makes nothing normal
    assert far_from_normal((on_sphere(20000, 1, rng) @ one)[:, 0]) > 0.33


def test_row_08_only_null_and_row_space_are_orthogonal(rng):
    """L121-123: null directions and independent layers are orthogonal. Right: null(A) to row(A), only."""
    n, m = 400, 100
    a = uniform_weights(m, n, rng)
    null = null_space(a)
    assert (F.normalize(a) @ null.T).abs().max() < 1e-12
    cosines = (F.normalize(a) @ F.normalize(uniform_weights(m, n, rng)).T).flatten()
    assert cosines.abs().max() > 0.15  # two independent layers
    assert abs(cosines.square().mean().sqrt() * math.sqrt(n) - 1) < 0.05
    free = on_sphere(200, n - m, rng) @ null  # directions in which the input may vary
    among = (free[:100] @ free[100:].T).flatten()
    assert among.abs().max() > 0.15
    assert abs(among.square().mean().sqrt() * math.sqrt(n - m) - 1) < 0.05


def descended(a: Tensor, target: Tensor, start: Tensor, power: int = 2) -> Tensor:
    """Plain gradient descent on the layer's output: sum |A (x - target)|^power, from `start`."""
    x, rate = start.clone(), 1 / torch.linalg.matrix_norm(a, 2).square()
    for _ in range(600):
        off = (x - target) @ a.T
        x = x - rate * (off if power == 2 else off.sign() * off.abs() ** (power - 1)) @ a
    return x


def test_row_09_descent_keeps_the_start_s_null_part(rng):
    """L101: noise because many inputs fit. Right: a_g = a_0 + A+ A (a - a_0), one point, decided by a_0 and a."""
    n, m = 200, 100
    a, image = uniform_weights(m, n, rng), torch.rand(1, n, generator=rng)
    null, pseudo = null_space(a), torch.linalg.pinv(a)
    grey = torch.full((1, n), 0.5)
    found = descended(a, image, grey)
    torch.testing.assert_close(found, grey + (image - grey) @ (pseudo @ a).T, rtol=0, atol=1e-8)
    for power in (2, 4):  # whatever the loss
        assert ((descended(a, image, grey, power) - grey) @ null.T).abs().max() < 1e-10

    fitting = found + torch.randn(50, n - m, generator=rng) @ null  # all as good, by the essay's reason
    assert ((fitting - image) @ a.T).abs().max() < 1e-6
    assert (fitting - found).norm(dim=1).min() > 7  # far from the one that descent finds
    residual = found - image
    torch.testing.assert_close(residual, (grey - image) @ null.T @ null)  # projected image, no noise in the start
    left = math.sqrt(1 - m / n)  # what a random projection leaves of a length
    assert abs(residual.norm() / (left * (grey - image).norm()) - 1) < 0.1
    noise = 0.3 * torch.randn(1, n, generator=rng)
    injected = descended(a, image, grey + noise) - found  # a noisy start adds its own
    torch.testing.assert_close(injected, noise @ null.T @ null)
    assert abs(injected.norm() / (left * noise.norm()) - 1) < 0.1


def test_row_10_a_perfect_representation_is_not_the_best_denoiser(rng):
    """L306: copying x~ perfectly infers the corruption. Right: it costs E|x~ - x|^2; E[x | x~] costs less."""
    size, count, std, keep, mean = 16, 40000, 0.4, 0.6, 0.7
    spectrum = torch.logspace(0, -3, size)
    axes = torch.linalg.qr(torch.randn(size, size, generator=rng)).Q
    covariance, centre = (axes * spectrum) @ axes.T, torch.rand(size, generator=rng)
    x = centre + torch.randn(count, size, generator=rng) * spectrum.sqrt() @ axes.T

    def cost(gain: float, corruption: cf.Gaussian | cf.Mix, offset: float, level: float) -> list[float]:
        """Of copying, of E[x | x~], and what the latter should cost, for x~ = gain x + offset + level noise."""
        noisy = corruption(x.view(-1, 1, 4, 4), rng).flatten(1)
        into = gain * covariance @ torch.linalg.inv(gain**2 * covariance + level**2 * torch.eye(size))
        best = centre + (noisy - gain * centre - offset) @ into.T
        wiener = (spectrum * level**2 / (gain**2 * spectrum + level**2)).sum()
        return [float((y - x).square().sum(1).mean()) for y in (noisy, best)] + [float(wiener)]

    copied, best, expected = cost(1.0, cf.Gaussian(std), 0.0, std)
    assert copied == pytest.approx(size * std**2, rel=0.01)
    assert best == pytest.approx(expected, rel=0.02)
    assert best < 0.3 * copied

    copied, best, expected = cost(keep, cf.Mix(keep, mean, std), (1 - keep) * mean, (1 - keep) * std)
    assert copied == pytest.approx(
        (1 - keep) ** 2 * float(spectrum.sum() + (centre - mean).square().sum() + size * std**2), rel=0.02
    )
    assert best == pytest.approx(expected, rel=0.02)
    assert best < 0.4 * copied


# ---------------------------------------------------------------- sampling


def test_row_23_the_schedule_s_numbers_and_indices(rng):
    """L208-212: "sigma and mu ... 7/10, 2/10"; D(E(a)). Right: mean 0.7, std 0.2; the reconstruction is of a_n."""
    noise = cf.Renoising().noise(100, (3, 16, 16), rng)
    assert abs(noise.mean() - 0.7) < 0.005
    assert abs(noise.std() - 0.2) < 0.005
    outside = [
        1 - Normal(m, s).cdf(torch.tensor(1.0)) + Normal(m, s).cdf(torch.tensor(0.0))
        for m, s in ((0.2, 0.7), (0.7, 0.2))
    ]
    drawn = ((noise < 0) | (noise > 1)).double().mean()
    assert outside[0] > 0.5  # taken at its word, half of it is no pixel value
    assert abs(outside[1] - drawn) < 0.005

    x, steps = torch.ones(1, 1, 2, 2), 5
    film = list(cf.Renoising(steps, mean=0.7, std=0.0)(Halving((1, 2, 2)), x, rng))
    right, essay, first = x, [x / 2], x / 2
    for n in range(1, steps):
        torch.testing.assert_close(film[n - 1], right / 2)
        right = n / steps * right / 2 + (1 - n / steps) * 0.7
        essay.append((n / steps * first + (1 - n / steps) * 0.7) / 2)
    torch.testing.assert_close(film[-1], right / 2)
    assert essay[-1].mean() / film[-1].mean() > 1.4  # the index left out: a_n would forget all but a_0


def test_row_24_noise_is_drawn_not_a_density_s_value(rng):
    """L171: h + N(h'; 0, eps), a density's value. Right: h + eps xi, xi ~ N(0, I), eps a standard deviation."""
    eps, x = 0.2, torch.rand(4, 1, 50, 50, generator=rng)
    (walked,) = cf.Walk(steps=1, std=eps)(Same((1, 50, 50)), x, rng)
    moved = (walked - x).flatten()
    essay = Normal(0.0, eps).log_prob(x).exp().flatten()  # the formula as it stands
    assert abs(essay.mean() - 0.5) < 0.02  # moves codes upwards, by Phi(5) - Phi(0) for such pixels,
    assert essay.mean() > 50 * moved.mean().abs()  # where noise leaves them in the mean
    assert abs(moved.mean()) < 4 * eps / 100
    assert abs(moved.std() / eps - 1) < 4 / math.sqrt(2 * 10000)
    assert abs(moved.std() / math.sqrt(eps) - 1) > 0.5  # a variance of eps would be another walk
    assert stats.kstest((moved / eps).numpy(), "norm").pvalue > 0.01


# ---------------------------------------------------------------- layers


def test_row_25_batch_norm_is_per_channel_with_the_biased_variance(rng):
    """L272 is right: (x - E x) / sqrt(Var x + eps) gamma + beta, over batch and positions; batch 1, positions."""
    x, layer = torch.randn(3, 2, 2, 2, generator=rng) * 3 + 1, BatchNorm(2).double()
    torch.nn.init.uniform_(layer.weight, generator=rng)
    torch.nn.init.uniform_(layer.bias, generator=rng)
    gamma, beta = (p[None, :, None, None] for p in (layer.weight, layer.bias))

    def formula(x: Tensor, axes: tuple[int, ...], correction: int) -> Tensor:
        variance, mean = torch.var_mean(x, axes, correction=correction, keepdim=True)
        return (x - mean) / (variance + 1e-5).sqrt() * gamma + beta

    torch.testing.assert_close(layer(x), formula(x, (0, 2, 3), 0))
    torch.testing.assert_close(layer(x[:1]), formula(x[:1], (2, 3), 0))
    for other in (formula(x, (0, 2, 3), 1), formula(x, (2, 3), 0), formula(x, (0, 1, 2, 3), 0)):
        assert (layer(x) - other).abs().max() > 0.01  # unbiased, per image, over the channels: other formulas


def far_pixels(model: cf.Autoencoder, rng: Generator) -> tuple[Tensor, Tensor]:
    """Gradients of the upper right output by the lower left input, and of both by the first kernel."""
    x = torch.rand(1, *model.shape, generator=rng).requires_grad_()
    y, kernel = model(x), next(p for p in model.parameters() if p.dim() == 4)
    near, far = y[0, 0, 0, -1], y[0, 0, -1, 0]
    (dependence,) = torch.autograd.grad(near, x, retain_graph=True)
    shared = [torch.autograd.grad(out, kernel, retain_graph=True)[0].norm() for out in (near, far)]
    return dependence[0, 0, -1, 0].abs(), torch.stack(shared)


def test_row_26_one_kernel_serves_far_pixels_which_do_not_depend_on_each_other(rng):
    """L254: no parameter influences two far pixels. Right: the kernel does; a dependence lacks."""
    dependence, shared = far_pixels(cf.Conv((1, 16, 16), channels=(4,), activation="tanh").double(), rng)
    assert shared.min() > 1e-3  # the same weights move both pixels
    assert dependence == 0
    deep = cf.Conv((1, 16, 16), channels=(4, 4, 4, 4), activation="tanh").double()
    for weight in deep.parameters():
        torch.nn.init.normal_(weight, std=0.3, generator=rng)
    assert far_pixels(deep, rng)[0] > 1e-6  # down to one position, there is dependence


def test_row_27_dot_product_attention_is_invertible_at_most_points(rng):
    """L329: dot-product attention is strictly non-invertible. Right: its Jacobian decides."""
    torch.manual_seed(0)
    layer = DotProduct(3).double()
    x = torch.randn(1, 3, 3, 3, generator=rng)

    def singular(x: Tensor) -> Tensor:
        return torch.linalg.svdvals(torch.autograd.functional.jacobian(layer, x).reshape(27, 27))

    values = singular(x)
    assert (values > 1e-9 * values[0]).sum() == 27  # full rank: an inverse near this point,
    with torch.no_grad():
        y = layer(x)
    close = x + 1e-4 * torch.randn(x.shape, generator=rng)
    for _ in range(4):  # which Newton's method finds
        jacobian = torch.autograd.functional.jacobian(layer, close).reshape(27, 27)
        close = close + torch.linalg.solve(jacobian, (y - layer(close).detach()).flatten()).view_as(x)
    torch.testing.assert_close(close, x, rtol=0, atol=1e-8)
    flat = singular(x.mean((2, 3), keepdim=True).expand_as(x))
    assert (flat > 1e-9 * flat[0]).sum() == 3  # but none near a picture of one colour


def test_row_27_linear_attention_is_two_formulas(rng):
    """L311: the linear attention is Katharopoulos's. Right: the code's has two softmaxes."""
    q, k, v = (torch.randn(1, 1, 4, 9, generator=rng) for _ in range(3))
    elu, softmax = (
        kind(4, heads=1, dim_head=4).double().mix(q, k, v)[0, 0] for kind in (LinearElu, LinearSoftmax)
    )
    a, b = F.elu(q[0, 0]) + 1, F.elu(k[0, 0]) + 1  # d x n
    weights = torch.einsum("di,dj->ij", a, b)
    torch.testing.assert_close(elu, v[0, 0] @ (weights / weights.sum(1, keepdim=True)).T)
    weights = torch.einsum("di,dj->ij", q[0, 0].softmax(0), k[0, 0].softmax(1))
    torch.testing.assert_close(weights.sum(1), torch.ones(9))
    torch.testing.assert_close(softmax, v[0, 0] @ weights.T / 2)
    assert (2 * softmax - elu).abs().max() > 0.05  # apart from the scale, too
    other = q.clone()
    other[0, 0, 0, 0] += 1  # another query at one position, in the same context C of 4 x 4 numbers
    for kind in (LinearElu, LinearSoftmax):
        layer = kind(4, heads=1, dim_head=4).double()
        changed = (layer.mix(other, k, v) - layer.mix(q, k, v))[0, 0].abs().amax(0)
        assert changed[0] > 1e-3
        assert changed[1:].max() < 1e-12


@pytest.mark.parametrize(("rank", "expected"), [(64, 0.75), (8, 0.0)])
def test_row_28_generalisation_is_a_hypothesis_that_can_fail(rank, expected, rng):
    """L13, L131: descent makes models, so autoencoders, generalise. No formula: data decide, shown both ways."""
    basis = torch.linalg.qr(torch.randn(64, 64, generator=rng)).Q[:rank]
    train, held_out = (torch.randn(count, rank, generator=rng) @ basis for count in (16, 2000))
    w = torch.zeros(64, 64)  # a linear autoencoder as wide as its input, which can copy everything
    rate = 0.9 / torch.linalg.matrix_norm(train, 2).square()
    for _ in range(500):
        w -= rate * train.T @ (train @ w - train)
    errors = [float((x - x @ w).square().sum() / x.square().sum()) for x in (train, held_out)]
    assert errors[0] < 1e-6
    assert errors[1] == pytest.approx(expected, abs=0.02)  # 1 - 16/64 where the data fill the space
