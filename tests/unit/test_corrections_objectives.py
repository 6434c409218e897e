"""Wrong formulas in the notes on Murphy's section 20.3, and their corrections.

Rows 11-22 and 29 of the table of corrections (the others are in test_corrections_geometry.py). Every test says
what the text has, computes a number that refutes it, and holds the right formula against something that does
not come from it. Rows 12, 13, 15, 18 and 20 are right as they stand, and tested to be. L: a line of the notes.
All float64.
"""

import math

import numpy as np
import pytest
import torch
from scipy import integrate
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE, trustworthiness
from torch import Generator, Tensor
from torch.distributions import Bernoulli, ContinuousBernoulli, MultivariateNormal, Normal, kl_divergence
from torch.func import jacrev, vmap

import copyfold as cf
from copyfold.data.synthetic import GaussianMixture, ring
from copyfold.measures import sliced_wasserstein


@pytest.fixture(autouse=True)
def _double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def rng() -> Generator:
    return Generator().manual_seed(0)


class Decoded(cf.Linear):
    """D(z) is sigmoid(z), z whatever it is told to be."""

    def logits(self, z: Tensor) -> Tensor:
        return z.view(-1, *self.shape)


# ---------------------------------------------------------------- denoising and the score

HILLS = GaussianMixture(
    torch.tensor([[-1.0], [0.8]], dtype=torch.float64), 0.4, torch.tensor([0.3, 0.7], dtype=torch.float64)
)


def posterior_mean(noisy: float, noise: float) -> float:
    """E[x | x~] of HILLS, by integration."""

    def joint(x: float) -> float:
        density = sum(w * math.exp(-((x - m) ** 2) / 0.32) for w, m in ((0.3, -1.0), (0.7, 0.8)))
        return density * math.exp(-((x - noisy) ** 2) / (2 * noise**2))

    low, high = noisy - 10 * noise, noisy + 10 * noise
    first = integrate.quad(lambda x: x * joint(x), low, high, epsabs=0, epsrel=1e-11, limit=200)[0]
    return first / integrate.quad(joint, low, high, epsabs=0, epsrel=1e-11, limit=200)[0]


def test_row_11_the_field_is_the_variance_times_the_score():
    """L106: e(x) ~ grad log p(x). Right: r(x) - x = s^2 grad log p(x) + o(s^2), and exactly with p_s (Tweedie)."""
    x = torch.tensor([[-1.6], [-0.7], [0.1], [0.3], [1.5]])
    score, off = HILLS.score(x), []
    for noise in (0.2, 0.1, 0.05):
        best = torch.tensor([[posterior_mean(float(v), noise)] for v in x])
        torch.testing.assert_close(best, x + noise**2 * HILLS.score(x, noise), rtol=1e-9, atol=1e-9)
        slope = float(((best - x) * score).sum() / score.square().sum())
        assert slope < 0.05  # the text's would be 1
        assert slope / noise**2 == pytest.approx(1, abs=0.25)
        off.append(((best - x) / noise**2 - score).norm() / score.norm())
    assert off[0] > 2 * off[1] > 4 * off[2]  # what is left over, o(1), goes with s^2
    assert off[2] < 0.02
    assert (score - HILLS.log_prob(x)[:, None]).abs().max() > 1  # "which is the log probability": not


def test_row_11_tweedie_in_the_plane(rng):
    """L89-106: the same for points of the plane, where the noisy density is not that of the data."""
    density, noise = ring(5, std=0.15), 0.3
    axis = torch.linspace(-3, 3, 301)
    grid = torch.cartesian_prod(axis, axis)
    for noisy in torch.randn(5, 2, generator=rng):
        weights = (density.log_prob(grid) - (grid - noisy).square().sum(1) / (2 * noise**2)).softmax(0)
        step = weights @ grid - noisy
        torch.testing.assert_close(step, noise**2 * density.score(noisy[None], noise)[0], rtol=1e-7, atol=1e-9)
        assert (step - noise**2 * density.score(noisy[None])[0]).norm() > 0.2 * step.norm()  # with p for p_s


def test_row_11_the_training_residual_is_noise_and_not_the_field(rng):
    """L98-106: e = r(x~) - x is the score. Right: r(x) - x; the residual of training is of the noise's size."""
    noise = 0.05
    x = HILLS.sample(20000, rng)
    noisy = x + noise * torch.randn(x.shape, generator=rng)
    residual = noisy + noise**2 * HILLS.score(noisy, noise) - x
    field = noise**2 * HILLS.score(x, noise)
    score = HILLS.score(x)
    explained = [float(torch.corrcoef(torch.cat((e, score), 1).T)[0, 1] ** 2) for e in (residual, field)]
    assert explained[0] < 0.05  # of the residual's variance
    assert explained[1] > 0.99  # of the field's
    assert residual.std() / noise == pytest.approx(1, abs=0.05)


# ---------------------------------------------------------------- contraction and sparsity


def test_row_12_the_contractive_penalty_is_the_frobenius_norm(rng):
    """L118 is right: |J|_F^2 = sum_k |grad h_k|^2, E |J^T v|^2; closed for a sigmoid layer."""
    w, b, x = (torch.randn(*size, generator=rng) for size in ((4, 6), (4,), (5, 6)))
    h = torch.sigmoid(x @ w.T + b)
    closed = ((h * (1 - h)).square() @ w.square().sum(1)).mean()
    jacobian = vmap(jacrev(lambda x: torch.sigmoid(w @ x + b)))(x)  # batch, unit, pixel
    steps = 1e-6 * torch.eye(6)
    moved = torch.sigmoid((x[:, None] + steps) @ w.T + b) - torch.sigmoid((x[:, None] - steps) @ w.T + b)
    differences = (moved / 2e-6).transpose(1, 2)
    torch.testing.assert_close(jacobian, differences, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(closed, differences.square().sum((1, 2)).mean(), rtol=1e-6, atol=1e-8)
    signs = torch.cartesian_prod(
        *[torch.tensor([-1.0, 1.0])] * 4
    )  # every v of signs: their mean is the expectation
    torch.testing.assert_close(closed, torch.einsum("vk,bkj->vbj", signs, jacobian).square().sum(2).mean())
    normal = torch.einsum("vk,bkj->vbj", torch.randn(20000, 4, generator=rng), jacobian).square().sum(2).mean(1)
    assert abs(normal.mean() - closed) < 4 * normal.std() / math.sqrt(20000)
    assert (torch.linalg.matrix_norm(jacobian, 2).square().mean() / closed) < 0.9  # not the spectral norm


def test_row_13_a_contraction_is_of_the_spectral_norm(rng):
    """L123 is right: |J x| <= 1 for all unit x, so the spectral norm, which Frobenius bounds."""
    j = torch.randn(5, 8, generator=rng)
    j = 0.95 * j / torch.linalg.matrix_norm(j, 2)
    x = torch.nn.functional.normalize(torch.randn(500, 8, generator=rng))
    for _ in range(30):  # power iteration: towards the unit x that J lengthens most
        assert (x @ j.T).norm(dim=1).max() <= 0.95 + 1e-12
        x = torch.nn.functional.normalize(x @ j.T @ j)
    assert (x @ j.T).norm(dim=1).max() == pytest.approx(0.95)
    assert torch.linalg.matrix_norm(j) > 1.3  # a contraction all the same
    for _ in range(20):
        other = torch.randn(4, 4, generator=rng)
        assert torch.linalg.matrix_norm(other, 2) <= torch.linalg.matrix_norm(other)


def test_row_14_sparsity_is_of_the_mean_activation(rng):
    """L152: q_k counts the z = 1. Right: q_k = mean sigmoid activation, clamped; KL of two Bernoullis."""
    a, p = torch.randn(50, 7, generator=rng).requires_grad_(), 0.1

    def divergence(q: Tensor, least: float = 0.0) -> Tensor:
        q = q.clamp(least, 1 - least)
        return (p * torch.log(p / q) + (1 - p) * torch.log((1 - p) / (1 - q))).sum()

    z = torch.sigmoid(a)
    counted = (z == 1).double().mean(0)
    assert counted.max() == 0  # a sigmoid is never 1,
    assert divergence(counted).isinf()  # so that the text's penalty is infinite,
    assert not counted.requires_grad  # and nothing would learn from it
    oracle = kl_divergence(Bernoulli(torch.tensor(p)), Bernoulli(z.mean(0))).sum()
    torch.testing.assert_close(divergence(z.mean(0)), oracle)
    (slope,) = torch.autograd.grad(divergence(z.mean(0)), a)
    torch.testing.assert_close(slope, ((1 - p) / (1 - z.mean(0)) - p / z.mean(0)) * z * (1 - z) / 50)
    assert slope.norm() > 0.1
    assert divergence(torch.full((3,), p)) == 0
    ends = torch.tensor([0.0, 1.0])
    assert divergence(ends).isinf()
    assert divergence(ends, 1e-6) == pytest.approx(
        float(-math.log(1e-6) - 2 * Bernoulli(torch.tensor(p)).entropy()), rel=1e-5
    )


def test_row_15_the_l1_penalty_is_a_mean_over_the_batch(rng):
    """L136 is right, for one image: lambda |z|_1. Of a batch, the mean: the weight means the same for any size."""
    model, z = cf.Linear((1, 2, 2), 3), torch.randn(6, 3, generator=rng)
    x = torch.rand(6, 1, 2, 2, generator=rng)
    penalty = [cf.L1(0.5)(model, x[:n], z[:n]) for n in (1, 6)] + [
        cf.L1(0.5)(model, x.tile(2, 1, 1, 1), z.tile(2, 1))
    ]
    norms = 0.5 * np.abs(z.numpy()).sum(1)
    assert penalty[0] == pytest.approx(norms[0], rel=1e-6)
    assert penalty[1] == pytest.approx(norms.mean(), rel=1e-6)
    assert penalty[2] == pytest.approx(float(penalty[1]), rel=1e-6)


# ---------------------------------------------------------------- variational


def test_row_16_the_posterior_s_covariance_is_the_square(rng):
    """L190, L245: N(mu, diag(sigma)). Right: diag(sigma^2), which is what z = mu + sigma eps (L229) draws."""
    mu, sigma = torch.tensor([0.3, -1.0, 2.0]), torch.tensor([0.2, 1.5, 3.0])
    z = mu + sigma * torch.randn(40000, 3, generator=rng)
    right, text = (MultivariateNormal(mu, torch.diag(d)) for d in (sigma**2, sigma))
    torch.testing.assert_close(right.log_prob(z), Normal(mu, sigma).log_prob(z).sum(1))
    assert (z.var(0) / right.variance - 1).abs().max() < 4 * math.sqrt(2 / 40000)
    assert (z.var(0) / text.variance).max() > 2.9  # and .2 for the first
    lost = (right.log_prob(z) - text.log_prob(z)).mean()  # nats, by the wrong one
    assert lost == pytest.approx(float((sigma - 1 - sigma.log()).sum() / 2), abs=0.05)  # 0.90


def test_row_17_the_divergence_from_the_prior(rng):
    """L249-251: 2.1; a sigma without index; + mu^2. Right: -1/2 sum_k (1 + log s_k^2 - s_k^2 - m_k^2)."""
    mu, sigma = 2 * torch.randn(9, 5, generator=rng), torch.rand(9, 5, generator=rng) + 0.1
    q, prior = Normal(mu, sigma), Normal(torch.zeros(5), torch.ones(5))
    right = -0.5 * (1 + (sigma**2).log() - sigma**2 - mu**2).sum(1)
    torch.testing.assert_close(right, kl_divergence(q, prior).sum(1))
    torch.testing.assert_close(right, (-sigma.log() + (sigma**2 + mu**2) / 2 - 0.5).sum(1))  # the first line, 2·1
    z = q.sample((20000,))
    drawn = (q.log_prob(z) - prior.log_prob(z)).sum(2)
    assert ((drawn.mean(0) - right).abs() < 4 * drawn.std(0) / math.sqrt(20000)).all()

    second = -0.5 * ((sigma**2).log() - sigma**2 + mu**2 + 1).sum(1)
    torch.testing.assert_close(right - second, mu.square().sum(1))  # wrong by |mu|^2:
    assert second.min() < -5  # no divergence is negative
    first = (-sigma.log() + (sigma**2 + mu**2) / 2.1 - 0.5).sum(1)
    assert (right - first).min() > 0.05  # 1/42 of |sigma|^2 + |mu|^2 too low,
    assert (-torch.ones(1).log() + 1 / 2.1 - 0.5).item() == pytest.approx(
        -0.0238, abs=1e-4
    )  # and so for q = the prior, which is at 0
    unindexed = (-sigma.log() + (sigma.square().sum(1, keepdim=True) + mu**2) / 2 - 0.5).sum(1)
    assert (unindexed - right).min() > 0.5


class Factors:
    """Factor analysis, x = W z + b + s eps with z ~ N(0, I), in which everything is known in closed form."""

    def __init__(self, pixels: int, latents: int, std: float, rng: Generator) -> None:
        self.w, self.b = torch.randn(pixels, latents, generator=rng), torch.randn(pixels, generator=rng)
        self.std, self.prior = std, Normal(torch.zeros(latents), torch.ones(latents))
        self.evidence = MultivariateNormal(self.b, self.w @ self.w.T + std**2 * torch.eye(pixels))

    def posterior(self, x: Tensor) -> MultivariateNormal:
        """p(z | x), by Bayes."""
        precision = torch.eye(self.w.shape[1]) + self.w.T @ self.w / self.std**2
        mean = torch.linalg.solve(precision, self.w.T @ (x - self.b) / self.std**2)
        return MultivariateNormal(mean, precision_matrix=precision)

    def terms(self, x: Tensor, q: Normal, z: Tensor) -> Tensor:
        """The lower bound of drawn codes: log p(x | z) - KL(q || p)."""
        return Normal(z @ self.w.T + self.b, self.std).log_prob(x).sum(-1) - kl_divergence(q, self.prior).sum()


def test_row_18_the_lower_bound_and_its_gap(rng):
    """L205-218 is right: E_q log p(x|z) - KL(q || p) <= log p(x), and the gap is KL(q || posterior)."""
    model = Factors(6, 3, 0.7, rng)
    x = model.evidence.sample()
    exact = model.posterior(x)
    for _ in range(5):
        q = Normal(torch.randn(3, generator=rng), 0.2 + torch.rand(3, generator=rng))
        spread = (model.w.square() * q.variance).sum() / (2 * model.std**2)
        bound = model.terms(x, q, q.mean) - spread
        gap = kl_divergence(MultivariateNormal(q.mean, torch.diag(q.variance)), exact)
        assert bound < model.evidence.log_prob(x)
        torch.testing.assert_close(bound + gap, model.evidence.log_prob(x))
        drawn = model.terms(x, q, q.mean + q.stddev * torch.randn(40000, 3, generator=rng))
        assert abs(drawn.mean() - bound) < 4 * drawn.std() / math.sqrt(40000)
    z = exact.sample((10,))  # log p(x, z) - log q(z) at the posterior: log p(x) for every z, Jensen's equality
    joint = Normal(z @ model.w.T + model.b, model.std).log_prob(x).sum(1) + model.prior.log_prob(z).sum(1)
    torch.testing.assert_close(joint - exact.log_prob(z), model.evidence.log_prob(x).expand(10))


def test_row_18_mean_squared_error_with_summed_divergence_is_another_model(rng):
    """What the bound asks for: sums over pixels and latents. A mean over pixels means std sqrt(D / 2)."""
    pixels, std = 100, 0.1
    w = torch.ones(pixels)

    def best_variance(weight: float) -> float:
        """The v that minimises weight * E|x - w z|^2 + KL(N(m, v) || N(0, 1)), on a fine grid."""
        v = torch.logspace(-6, 0, 60001)
        return float(v[(weight * w.square().sum() * v + (v - 1 - v.log()) / 2).argmin()])

    posterior = 1 / float(1 + w.square().sum() / std**2)
    assert best_variance(1 / (2 * std**2)) == pytest.approx(posterior, rel=1e-3)  # summed: the posterior's, 1e-4
    wide = 1 / float(1 + w.square().sum() / (pixels / 2))  # the posterior's at std sqrt(D / 2)
    assert best_variance(1 / pixels) == pytest.approx(wide, rel=1e-3)
    assert wide / posterior > 3000  # what the mean does


def test_row_19_the_bound_rises_and_the_likelihood_falls():
    """L222: raising the ELBO at a fixed q raises log p. Right: log p = ELBO + gap."""
    x, q, prior = torch.tensor(2.0), Normal(0.0, 1.0), Normal(0.0, 1.0)

    def at(w: float) -> tuple[float, float, float]:
        """ELBO, log p and KL(q || posterior) for p(x|z) = N(w z, 1)."""
        elbo = Normal(0.0, 1.0).log_prob(x) - w**2 * q.variance / 2 - kl_divergence(q, prior)
        posterior = Normal(w * x / (1 + w**2), 1 / math.sqrt(1 + w**2))
        return float(elbo), float(Normal(0.0, math.sqrt(1 + w**2)).log_prob(x)), float(kl_divergence(q, posterior))

    (elbo, evidence, gap), (elbo_after, evidence_after, gap_after) = at(math.sqrt(3)), at(0.0)
    assert elbo_after - elbo == pytest.approx(1.5)  # a better bound
    assert evidence_after - evidence == pytest.approx(-0.807, abs=1e-3)  # and a worse model
    assert elbo + gap == pytest.approx(evidence, abs=1e-12)
    assert elbo_after + gap_after == pytest.approx(evidence_after, abs=1e-12)


def test_row_20_the_bernoulli_likelihood_is_one_of_binary_pixels(rng):
    """L182 is right for binary x: sum x log p + (1 - x) log(1 - p). For grey values it does not integrate to 1."""
    logits, x = 3 * torch.randn(5, 1, 3, 3, generator=rng), torch.randint(2, (5, 1, 3, 3), generator=rng).double()
    model = Decoded((1, 3, 3), 9, output="sigmoid")
    loss, _ = cf.Bernoulli()(model, logits, x)
    p = torch.sigmoid(logits)
    assert float(loss) == pytest.approx(-float(Bernoulli(p).log_prob(x).flatten(1).sum(1).mean()), rel=1e-6)
    assert float(loss) == pytest.approx(
        -float((p**x * (1 - p) ** (1 - x)).log().flatten(1).sum(1).mean()), rel=1e-6
    )

    for chance in (0.5, 0.1, 0.9):
        mass = integrate.quad(lambda v, c=chance: c**v * (1 - c) ** (1 - v), 0, 1)[0]
        constant = ContinuousBernoulli(torch.tensor(chance)).log_prob(torch.tensor(0.3)).exp()
        assert mass < 0.51  # of what a density has
        assert mass * constant == pytest.approx(chance**0.3 * (1 - chance) ** 0.7, rel=1e-4)

    far, wrong = torch.full((1, 1, 1, 1), 40.0), torch.zeros(1, 1, 1, 1)
    assert torch.log(1 - torch.sigmoid(far)).isinf().all()  # of probabilities: infinite
    sure = Decoded((1, 1, 1), 1, output="sigmoid")
    assert float(cf.Bernoulli()(sure, far, wrong)[0]) == pytest.approx(40)  # of logits: 40 nats


# ---------------------------------------------------------------- linear autoencoders and maps of codes


def linear(w: Tensor, back: Tensor, bias: Tensor, out: Tensor) -> cf.Linear:
    """The copyfold model with these weights."""
    model = cf.Linear((1, 1, w.shape[1]), len(w))
    for parameter, value in zip(model.parameters(), (w, bias, back, out), strict=True):
        parameter.data = value.clone()
    return model


def loss_of(model: cf.Linear, x: Tensor) -> Tensor:
    return 2 * cf.SquaredError()(model, model.encode(x[:, None, None]), x[:, None, None])[0]


def test_row_21_a_linear_autoencoder_is_pca_of_centred_data(rng):
    """L61: the optimum W projects on the first L eigenvectors of the covariance. Right: if centred."""
    size, rank, centre = 6, 2, torch.zeros(6)
    centre[-1] = 10.0  # along the direction that varies least
    x = centre + torch.randn(500, size, generator=rng) * torch.tensor([3.0, 2.0, 1.0, 0.5, 0.3, 0.1])
    mean = x.mean(0)
    values, vectors = torch.linalg.eigh((x - mean).T @ (x - mean) / len(x))
    values, u = values.flip(0), vectors.flip(1)[:, :rank].T
    pca = PCA(rank).fit(x.numpy())

    best = linear(u, u.T, -mean @ u.T, mean)
    torch.testing.assert_close(
        best(x[:, None, None]).flatten(1), torch.as_tensor(pca.inverse_transform(pca.transform(x)))
    )
    loss = loss_of(best, x)
    assert float(loss.detach()) == pytest.approx(float(values[rank:].sum()), rel=1e-5)  # sum of the others
    assert all(g.abs().max() < 1e-4 for g in torch.autograd.grad(loss, list(best.parameters())))
    mixing = torch.randn(rank, rank, generator=rng)
    other = linear(mixing @ u, u.T @ torch.linalg.inv(mixing), -mixing @ (u @ mean), mean)
    assert float(loss_of(other, x).detach()) == pytest.approx(
        float(loss.detach()), rel=1e-5
    )  # W1, W2 are not unique

    zero, none = torch.zeros(size), torch.zeros(rank)
    raw = torch.linalg.svd(x, full_matrices=False).Vh[:rank]  # the best without a bias (Eckart and Young)
    text, best_raw = (float(loss_of(linear(v, v.T, none, zero), x).detach()) for v in (u, raw))
    assert text / best_raw > 10  # the text's W is not it: 101 against 5
    assert torch.linalg.svdvals(u @ raw.T).min() < 0.05  # a direction of theirs is at a right angle to ours


def test_row_21_the_projection_is_unique_where_the_eigenvalues_differ(rng):
    """L61: the optimum is the projection. Right: one of many, if lambda_L = lambda_(L+1)."""
    axes = torch.linalg.qr(torch.randn(4, 4, generator=rng)).Q

    def losses(values: list[float]) -> list[float]:
        """Of the projections on axes 0 and 1, and on 0 and 2, for centred data of this spectrum."""
        root = axes @ torch.diag(torch.tensor(values).sqrt()) * 2
        x = torch.cat((root.T, -root.T))  # eight points of that covariance
        none, zero = torch.zeros(2), torch.zeros(4)
        both = (axes[:, [0, k]].T for k in (1, 2))
        return [float(loss_of(linear(w, w.T, none, zero), x).detach()) for w in both]

    equal, apart = losses([3.0, 1.0, 1.0, 0.5]), losses([3.0, 1.5, 1.0, 0.5])
    assert equal == pytest.approx([1.5, 1.5], rel=1e-5)
    assert apart == pytest.approx([1.5, 2.0], rel=1e-5)


def test_row_22_a_map_of_two_dimensions_is_not_one_of_thirty():
    """L75: t-SNE of the first 2 of 30 latent dimensions. Right: of all 30."""
    rng = np.random.default_rng(0)
    kind = np.arange(120) % 4
    z = rng.standard_normal((120, 30))
    z[:, 2:6] += 8 * np.eye(4)[kind]  # classes that dimensions 3 to 6 tell apart
    kept, purity = [], []
    for dimensions in (2, 30):
        tsne = TSNE(perplexity=10, init="pca", method="exact", max_iter=300, random_state=0)
        plane = tsne.fit_transform(z[:, :dimensions].astype(np.float32))
        apart = np.linalg.norm(plane[:, None] - plane, axis=2) + np.diag(np.full(120, np.inf))
        purity.append((kind[apart.argsort(1)[:, :5]] == kind[:, None]).mean())
        kept.append(trustworthiness(z, plane, n_neighbors=5))
    assert purity[0] < 0.4  # a quarter is chance
    assert purity[1] > 0.95
    assert kept[0] < 0.65  # neighbours on the map that are neighbours in the code; a half is chance
    assert kept[1] > 0.9


# ---------------------------------------------------------------- where the texts contradict each other


def test_row_29_whether_a_plain_autoencoder_can_make_samples(rng):
    """L271: a standard AE cannot create samples; the essay creates some. It depends on the codes."""
    mix = torch.randn(3, 8, generator=rng) * torch.tensor([[6.0], [3.0], [1.0]])
    x, held_out = (torch.randn(4000, 3, generator=rng) @ mix for _ in range(2))
    u = torch.linalg.svd(x, full_matrices=False).Vh[:3]
    model = linear(u, u.T, torch.zeros(3), torch.zeros(8))  # a deterministic autoencoder at its optimum
    with torch.no_grad():
        codes = model.encode(x[:, None, None])
        fitted = MultivariateNormal(codes.mean(0), torch.cov(codes.T)).sample((4000,))
        prior = torch.randn(4000, 3, generator=rng)
        made = [model.decode(z).flatten(1) for z in (fitted, prior)]
    far = [float(sliced_wasserstein(m, held_out, Generator().manual_seed(1))) for m in (*made, x)]
    assert far[0] < 2 * far[2]  # new samples, as near to the data as other data
    assert far[1] > 10 * far[2]  # and what the notes mean: decoding N(0, I)


def test_row_29_whether_a_larger_model_is_better(rng):
    """Essay L226: superior; its second part L203: not much better. No formula: the data decide."""
    x = torch.randn(500, 8, generator=rng) @ torch.randn(8, 32, generator=rng)
    lost = []
    for width in (4, 8, 16):
        u = torch.linalg.svd(x, full_matrices=False).Vh[:width]
        lost.append(float(loss_of(linear(u, u.T, torch.zeros(width), torch.zeros(32)), x).detach()))
    assert lost[0] > 10  # too small for data of 8 dimensions: twice the width is superior,
    assert max(lost[1:]) < 1e-6  # and twice again no better
