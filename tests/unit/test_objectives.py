"""Fidelities and penalties against torch.distributions and autograd, and the one equation against its parts."""

import math

import pytest
import torch
from torch.distributions import Bernoulli, Laplace, Normal, kl_divergence

import copyfold as cf
from copyfold.objectives.penalties import divergence


class Fixed(cf.Linear):
    """A model whose reconstruction is given, so that only the likelihood is tested."""

    def __init__(self, logits: torch.Tensor, output: str = "linear") -> None:
        super().__init__((1, 4, 4), latent_dim=2, output=output)
        self.given = logits

    def logits(self, z: torch.Tensor) -> torch.Tensor:
        return self.given + 0 * z.sum()


def pictures(count: int = 5) -> torch.Tensor:
    return torch.rand(count, 1, 4, 4)


@pytest.mark.parametrize("std", [1.0, 0.1, 3.0])
def test_the_squared_error_is_a_normal_likelihood_up_to_its_constant(std):
    x, mean = pictures(), pictures()
    model = Fixed(mean)
    loss, image = cf.SquaredError(std)(model, model.encode(x), x)
    expected = -Normal(mean, std).log_prob(x).flatten(1).sum(1).mean()
    constant = 16 * torch.log(torch.tensor(std * (2 * torch.pi) ** 0.5))
    torch.testing.assert_close(loss + constant, expected)
    torch.testing.assert_close(cf.SquaredError(std, constant=True)(model, model.encode(x), x)[0], expected)
    assert torch.equal(image, mean)


@pytest.mark.parametrize("scale", [1.0, 0.2])
def test_the_absolute_error_is_a_laplace_likelihood(scale):
    x, mean = pictures(), pictures()
    model = Fixed(mean)
    expected = -Laplace(mean, scale).log_prob(x).flatten(1).sum(1).mean()
    loss, _ = cf.AbsoluteError(scale, constant=True)(model, model.encode(x), x)
    torch.testing.assert_close(loss, expected)
    without, _ = cf.AbsoluteError(scale)(model, model.encode(x), x)
    torch.testing.assert_close(loss - without, torch.tensor(16 * math.log(2 * scale)))


def test_hard_pixels_are_those_with_an_error_and_all_of_them_make_the_squared_error():
    x, mean = pictures(), pictures()
    model = Fixed(mean)
    z = model.encode(x)
    errors = (x - mean).square()
    hard, _ = cf.HardPixels(0.1)(model, z, x)
    torch.testing.assert_close(hard, errors[errors > 0.1].mean() * 16 / 2)
    torch.testing.assert_close(cf.HardPixels(0.0)(model, z, x)[0], cf.SquaredError()(model, z, x)[0])
    assert cf.HardPixels(2.0)(model, z, x)[0] == 0


@pytest.mark.parametrize(("error", "alpha"), [(0.5, 4), (0.1, 128), (1.5, 1)])
def test_error_and_angle_doubles_its_weight_until_the_error_counts(error, alpha):
    x = pictures()
    model = Fixed(x + error)
    loss, _ = cf.ErrorAndAngle()(model, model.encode(x), x)
    cosine = (x * (x + error)).sum() / x.norm() / (x + error).norm()
    torch.testing.assert_close(loss, (alpha * error**2 - cosine) * 16)


def test_bernoulli_is_the_cross_entropy_and_equals_torch_s_on_binary_images():
    logits = 3 * torch.randn(5, 1, 4, 4)
    model = Fixed(logits, output="sigmoid")
    x = (pictures() > 0.5).float()
    loss, image = cf.Bernoulli()(model, model.encode(x), x)
    torch.testing.assert_close(loss, -Bernoulli(logits=logits).log_prob(x).flatten(1).sum(1).mean())
    torch.testing.assert_close(image, logits.sigmoid())
    grey = pictures()
    p = logits.double().sigmoid()
    expected = -(grey * p.log() + (1 - grey) * (1 - p).log()).flatten(1).sum(1).mean()
    torch.testing.assert_close(cf.Bernoulli()(model, model.encode(grey), grey)[0].double(), expected)


def test_bernoulli_refuses_an_unbounded_output():
    with pytest.raises(cf.UsageError, match="sigmoid"):
        cf.Bernoulli().check(cf.Linear.tiny())


@pytest.mark.parametrize(
    "fidelity",
    [cf.SquaredError(0.5, constant=True), cf.AbsoluteError(0.2, constant=True), cf.Bernoulli()],
    ids=lambda fidelity: type(fidelity).__name__,
)
def test_the_loss_is_the_sum_over_pixels(fidelity):
    model, x = Fixed(torch.randn(5, 1, 4, 4), "sigmoid"), pictures()
    loss, image = fidelity(model, model.encode(x), x)
    pixels, same = fidelity.pixels(model, model.encode(x), x)
    assert image.equal(same)
    torch.testing.assert_close(pixels.flatten(1).sum(1).mean(), loss)


def test_the_loss_does_not_depend_on_the_size_of_the_batch():
    model, x = cf.Linear((1, 4, 4), 3), pictures()
    once, twice = (sum(cf.Classical()(model, batch).values()) for batch in (x, torch.cat((x, x))))
    torch.testing.assert_close(once, twice)


def test_l1_is_the_mean_over_images_of_the_sum_over_the_code():
    z = torch.randn(5, 7)
    penalty = cf.L1(weight=0.3)(cf.Linear.tiny(), pictures(), z)
    torch.testing.assert_close(penalty, 0.3 * z.abs().sum(1).mean())
    maps = (torch.randn(5, 2, 3, 3), torch.randn(5, 4))
    expected = maps[0].abs().flatten(1).sum(1).mean() + maps[1].abs().sum(1).mean()
    torch.testing.assert_close(cf.L1()(cf.Linear.tiny(), pictures(), maps), expected)


def test_diagnostics_are_against_the_clean_image_and_no_part_of_the_loss():
    model, x = Fixed(torch.full((5, 1, 4, 4), 0.5)), pictures()
    watch = {}
    terms = cf.Classical(cf.Gaussian(10.0), penalties=(cf.L1(),))(model, x, watch)
    assert set(terms) == {"fidelity", "L1"}
    errors = (x - 0.5).square().flatten(1).mean(1)
    torch.testing.assert_close(watch["mse"], errors.mean())
    torch.testing.assert_close(watch["psnr"], (-10 * errors.log10()).mean())


def test_the_target_of_the_loss_is_the_clean_image():
    """A denoiser is told what it should have seen, and not what it saw."""
    model, x = Fixed(torch.full((5, 1, 4, 4), 0.5)), pictures()
    loss = cf.Classical(cf.Gaussian(10.0))(model, x)["fidelity"]
    torch.testing.assert_close(loss, (x - 0.5).square().sum() / 2 / len(x))


def test_values_below_0_and_above_1_are_counted():
    image = torch.full((5, 1, 4, 4), 0.5)
    image[:, :, 0], image[:, :, 1, 0] = -0.1, 1.1
    watch = {}
    cf.Classical()(Fixed(image), pictures(), watch)
    assert watch["outside"] == 5 / 16


def test_the_encoder_sees_the_corrupted_image_and_runs_once():
    model, seen = cf.Linear((1, 4, 4), 3), []
    model.encoder.register_forward_hook(lambda module, args, out: seen.append(args[0]))
    cf.Classical(cf.Masking(1.0), penalties=(cf.L1(),))(model, pictures())
    assert len(seen) == 1
    assert seen[0].abs().sum() == 0


def test_invalid_settings_are_refused():
    for make in (
        lambda: cf.SquaredError(0.0),
        lambda: cf.L1(-1.0),
        lambda: cf.Classical(penalties=(cf.L1(), cf.L1())),
    ):
        with pytest.raises(cf.UsageError):
            make()


# ---------------------------------------------------------------- sparsity


def test_kl_sparsity_equals_torch_s_divergence_of_the_mean_activation():
    z = torch.rand(50, 7, dtype=torch.float64)
    ours = cf.KLSparsity(weight=0.3, target=0.2)(cf.Linear.tiny(), pictures(50), z)
    theirs = kl_divergence(Bernoulli(torch.tensor(0.2).double()), Bernoulli(z.mean(0))).sum()
    torch.testing.assert_close(ours, 0.3 * theirs, rtol=1e-6, atol=0)


def test_kl_sparsity_is_0_at_its_target_and_has_a_gradient_elsewhere():
    z = torch.full((4, 3), 0.1, requires_grad=True)
    at_target = cf.KLSparsity(target=0.1)(cf.Linear.tiny(), pictures(4), z)
    assert abs(at_target.item()) < 1e-6
    (gradient,) = torch.autograd.grad(cf.KLSparsity(target=0.3)(cf.Linear.tiny(), pictures(4), z), z)
    expected = (-0.3 / 0.1 + 0.7 / 0.9) / 4  # d KL / d q, and each of 4 images has a quarter of q
    torch.testing.assert_close(gradient, torch.full((4, 3), expected))


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_kl_sparsity_is_finite_where_a_unit_is_dead_or_always_on(value):
    z = torch.full((4, 3), value, requires_grad=True)
    penalty = cf.KLSparsity()(cf.Linear.tiny(), pictures(4), z)
    assert penalty.isfinite()
    assert penalty > 0


def test_kl_sparsity_requires_logistic_units():
    for value in (-0.1, 1.1):
        with pytest.raises(cf.UsageError, match=r"within \[0, 1\]"):
            cf.KLSparsity()(cf.Linear.tiny(), pictures(), torch.full((5, 2), value))
    with pytest.raises(cf.UsageError, match="code_activation"):
        cf.KLSparsity().check(cf.MLP((1, 4, 4)))
    cf.KLSparsity().check(cf.MLP((1, 4, 4), code_activation="sigmoid"))


# ---------------------------------------------------------------- contraction


def encoders() -> list[cf.Autoencoder]:
    return [
        cf.MLP((1, 4, 4), hidden=(), latent_dim=5, code_activation="sigmoid"),
        cf.MLP((1, 4, 4), hidden=(8,), latent_dim=5, norm="layer", activation="tanh"),
        cf.Conv((1, 8, 8), channels=(3, 4), activation="gelu"),
        cf.UNet((1, 8, 8), width=4, depth=1, norm="group", skips="concat"),
        cf.Variational(cf.MLP((1, 4, 4), hidden=(8,), latent_dim=5), latent_dim=3),
    ]


def paid(model, x: torch.Tensor, penalty: cf.Contraction) -> torch.Tensor:
    x = x.clone().requires_grad_()
    q = model.posterior(x)
    return penalty(model, x, model.encode(x) if q is None else q.rsample(), q)


@pytest.mark.parametrize("index", range(5))
def test_exact_contraction_is_the_jacobian_s_squared_norm(index):
    model = encoders()[index].double()
    x = torch.rand(3, *model.shape, dtype=torch.float64)

    def code(image):
        z = model.encode(image[None])
        return torch.cat([m.flatten() for m in (z if isinstance(z, tuple) else (z,))])

    expected = torch.stack([torch.func.jacrev(code)(image).square().sum() for image in x]).mean()
    torch.testing.assert_close(paid(model, x, cf.Contraction(0.7, "exact")), 0.7 * expected, rtol=1e-6, atol=0)


def test_the_closed_form_is_the_exact_one_with_its_gradient():
    model = encoders()[0].double()
    x = torch.rand(4, 1, 4, 4, dtype=torch.float64)
    gradients = []
    for estimator in ("exact", "closed"):
        model.zero_grad()
        paid(model, x, cf.Contraction(estimator=estimator)).backward()
        gradients.append([p.grad.clone() for p in model.encoder.parameters()])
    torch.testing.assert_close(gradients[0], gradients[1])
    torch.testing.assert_close(
        paid(model, x, cf.Contraction(estimator="closed")), paid(model, x, cf.Contraction(estimator="exact"))
    )
    with pytest.raises(cf.UsageError, match="one logistic layer"):
        cf.Contraction(estimator="closed").check(encoders()[1])


@pytest.mark.parametrize("index", range(5))
def test_the_estimate_is_unbiased(index):
    """The mean of 400 draws is within four standard errors of the exact value, which are a few percent of it."""
    model = encoders()[index].double()
    x = torch.rand(2, *model.shape, dtype=torch.float64)
    exact = paid(model, x, cf.Contraction(estimator="exact"))
    draws = torch.stack([paid(model, x, cf.Contraction()).detach() for _ in range(400)])
    error = draws.std() / 20
    assert abs(draws.mean() - exact) < 4 * error
    assert error < 0.1 * exact


def test_the_estimate_s_gradient_is_unbiased():
    model = encoders()[1].double()
    x = torch.rand(2, 1, 4, 4, dtype=torch.float64)
    weight = model.encoder[1].weight

    def gradient(estimator):
        (g,) = torch.autograd.grad(paid(model, x, cf.Contraction(estimator=estimator)), weight)
        return g.flatten()

    exact = gradient("exact")
    draws = torch.stack([gradient("hutchinson") for _ in range(600)])
    errors = (draws.mean(0) - exact) / (draws.std(0) / 600**0.5)
    assert errors.abs().max() < 5  # of 128 numbers, in standard errors
    assert draws.std(0).max() > 0


def test_batch_statistics_are_refused_by_contraction_and_running_ones_are_not():
    model = cf.UNet((1, 16, 16), width=4, depth=2)
    with pytest.raises(cf.UsageError, match="statistics running"):
        cf.Classical(penalties=(cf.Contraction(),)).check(model)
    model.statistics = "running"
    cf.Classical(penalties=(cf.Contraction(),)).check(model)


def test_contraction_works_under_no_grad():
    """As on held-out images: the number is the same, and nothing is left to differentiate the fidelity by."""
    model, x = encoders()[0], pictures()
    objective = cf.Classical(penalties=(cf.Contraction(estimator="closed"),))
    with torch.no_grad():
        terms = objective(model, x)
    assert not terms["fidelity"].requires_grad
    torch.testing.assert_close(terms["Contraction"], objective(model, x)["Contraction"])


@pytest.mark.parametrize("index", range(4))
def test_the_spectral_norm_is_that_of_the_singular_value_decomposition(index):
    model = encoders()[index].eval()
    x = torch.rand(2, *model.shape)
    found = cf.SpectralNorm(iterations=120)(model, x, torch.Generator().manual_seed(0)).numbers
    for i, image in enumerate(x):
        whole = torch.func.jacrev(lambda x: model(x[None]).flatten())(image).reshape(image.numel(), -1)
        torch.testing.assert_close(found["autoencoder"][i], torch.linalg.matrix_norm(whole, 2), rtol=3e-3, atol=0)
        exact = paid(model, x[i : i + 1], cf.Contraction(estimator="exact"))
        assert found["encoder"][i].square() <= exact * (1 + 1e-5)  # the Frobenius norm is no smaller


# ---------------------------------------------------------------- divergence


def test_the_divergence_is_torch_s_and_monte_carlo_s():
    q = Normal(torch.randn(6, 4).double(), torch.rand(6, 4).double() + 0.1)
    ours = divergence(q)
    torch.testing.assert_close(ours, kl_divergence(q, Normal(0.0, 1.0)))
    z = q.sample((100_000,))
    draws = q.log_prob(z) - Normal(0.0, 1.0).log_prob(z)
    assert ((draws.mean(0) - ours) / (draws.std(0) / 100_000**0.5)).abs().max() < 4.5
    penalty = cf.Divergence(beta=2.0)(cf.Variational.tiny(), pictures(6), q.mean, q)
    torch.testing.assert_close(penalty, 2 * ours.sum(1).mean())


def test_free_bits_are_per_dimension_of_the_batch_s_mean_and_warm_up_is_a_line():
    q = Normal(torch.tensor([[0.0, 2.0], [0.1, 0.0]]), torch.ones(2, 2))
    kl = divergence(q).mean(0)
    penalty = cf.Divergence(free_bits=0.5)(cf.Variational.tiny(), pictures(2), q.mean, q)
    torch.testing.assert_close(penalty, 0.5 + kl[1])  # of which one image pays nothing
    assert [cf.Divergence(warm_up=4).share(step) for step in (0, 1, 3, 100)] == [0.25, 0.5, 1.0, 1.0]
    model = cf.Variational.tiny()
    x = torch.rand(4, *model.shape)
    objective = cf.Classical(penalties=(cf.Divergence(warm_up=4),))
    whole = cf.Divergence()(model, x, model.encode(x), model.posterior(x))
    for step, share in ((0, 0.25), (1, 0.5), (None, 1.0)):
        torch.testing.assert_close(objective(model, x, step=step)["Divergence"], share * whole)


def test_divergence_without_a_posterior_says_what_to_wrap():
    with pytest.raises(cf.UsageError, match=r"wrap it, Variational.*--core MLP"):
        cf.Classical(penalties=(cf.Divergence(),)).check(cf.MLP.tiny())
    with pytest.raises(cf.UsageError, match="wrap it"):
        cf.Classical(penalties=(cf.Divergence(),))(cf.MLP.tiny(), pictures())


def test_a_denoising_contractive_variational_autoencoder_is_one_objective_and_encodes_once():
    model, seen = cf.Variational(cf.MLP((1, 4, 4), output="sigmoid"), 3), []
    model.head.register_forward_hook(lambda *_: seen.append(1))
    penalties = (cf.Divergence(), cf.Contraction(), cf.L1())
    terms = cf.Classical(cf.Gaussian((0.1, 0.5)), cf.Bernoulli(), penalties)(model, pictures())
    assert set(terms) == {"fidelity", "Divergence", "Contraction", "L1"}
    assert len(seen) == 1


def test_invalid_penalties_are_refused():
    for make in (
        lambda: cf.KLSparsity(target=1.0),
        lambda: cf.Contraction(-1.0),
        lambda: cf.Divergence(warm_up=-1),
        lambda: cf.Divergence(free_bits=-0.1),
        lambda: cf.AbsoluteError(0.0),
        lambda: cf.HardPixels(-1.0),
    ):
        with pytest.raises(cf.UsageError):
            make()
