"""The variational autoencoder against exact results: linear-Gaussian models and probabilistic PCA."""

import math

import numpy as np
import pytest
import torch
from scipy.linalg import subspace_angles
from torch.distributions import Independent, MultivariateNormal, Normal

import copyfold as cf
from copyfold.objectives.penalties import divergence

D, K, STD = 6, 2, 0.4


def linear_vae(std: float = STD) -> tuple[cf.Variational, MultivariateNormal]:
    """p(x|z) = N(Bz + b, std^2) in closed form, its encoder set to the true posterior's mean and variance.

    The columns of B are orthogonal, so that the true posterior is diagonal:
    q(z|x) = N(M^-1 B^T (x - b), std^2 M^-1),  M = B^T B + std^2 I;  p(x) = N(b, B B^T + std^2 I).
    """
    model = cf.Variational(cf.Linear((1, 1, D), latent_dim=D), latent_dim=K).double().eval()
    columns = torch.linalg.qr(torch.randn(D, K).double())[0] * torch.tensor([1.5, 0.7]).double()
    mean = torch.rand(D).double()
    with torch.no_grad():
        for layer in (model.core.encoder[1], model.core.decoder[0]):
            layer.weight.copy_(torch.eye(D))
            layer.bias.zero_()
        inverse = torch.linalg.inv(columns.T @ columns + std**2 * torch.eye(K))
        back = inverse @ columns.T
        model.lift.weight.copy_(columns)
        model.lift.bias.copy_(mean)
        model.head.weight.copy_(torch.cat((back, torch.zeros(K, D))))
        model.head.bias.copy_(torch.cat((-back @ mean, (std**2 * inverse.diagonal()).log())))
    model.posterior = lambda x: _posterior(model, x)  # in float64, which the model itself rounds to float32
    return model, MultivariateNormal(mean, columns @ columns.T + std**2 * torch.eye(D))


def _posterior(model: cf.Variational, x: torch.Tensor) -> Normal:
    mean, log_variance = model.head(x.flatten(1)).chunk(2, dim=1)
    return Normal(mean, (log_variance / 2).exp())


def worsened(model: cf.Variational) -> cf.Variational:
    """The same generative model with an encoder that is off."""
    with torch.no_grad():
        model.head.bias += torch.tensor([0.3, -0.2, 0.5, -0.4])
    return model


def test_the_posterior_is_that_of_its_layers():
    model = cf.Variational(cf.MLP((1, 4, 4), hidden=(8,), latent_dim=5), latent_dim=3)
    x = torch.rand(4, 1, 4, 4)
    q = model.posterior(x)
    mean, log_variance = (model.core.encode(x) @ model.head.weight.T + model.head.bias).split(3, dim=1)
    torch.testing.assert_close(q.mean, mean)
    torch.testing.assert_close(q.variance, log_variance.exp())
    torch.testing.assert_close(model.encode(x), mean)
    assert q.mean.shape == (4, 3)
    draws = torch.stack([model.draw(x) for _ in range(1000)])
    assert ((draws.mean(0) - mean) / (q.stddev / 1000**0.5)).abs().max() < 4.5
    torch.testing.assert_close(draws.std(0), q.stddev, rtol=0.15, atol=0)
    model.draw(x).sum().backward()
    assert model.head.weight.grad.abs().min() > 0  # a draw carries gradients to mean and variance


def test_variational_refuses_a_code_of_several_maps():
    with pytest.raises(cf.UsageError, match='skips="none"'):
        cf.Variational(cf.UNet((3, 16, 16), width=4, depth=2, skips="concat"))
    with pytest.raises(cf.UsageError, match="expected an autoencoder"):
        cf.Variational((3, 16, 16))


@pytest.mark.parametrize("core", [cf.Conv((2, 8, 8), (3, 4)), cf.UNet((1, 16, 16), width=4, depth=2)])
def test_a_wrapped_model_is_loaded_exactly(core, tmp_path):
    model = cf.Variational(core, 3).eval()
    model.statistics = "running"
    model.save(tmp_path)
    again = cf.load(tmp_path)
    x = torch.rand(2, *core.shape)
    assert type(again.core) is type(core)
    assert again.core.statistics == "running"
    torch.testing.assert_close(again(x), model(x))


def test_a_config_that_wraps_no_model_is_refused(tmp_path):
    cf.Variational.tiny().save(tmp_path)
    config = (tmp_path / "config.json").read_text()
    for bad in ('"Gaussian"', '"os.system"', "7"):
        (tmp_path / "config.json").write_text(config.replace('"Conv"', bad))
        with pytest.raises(cf.UsageError, match=r"config\.json"):
            cf.load(tmp_path)


# ---------------------------------------------------------------- the evidence


def bounds(model: cf.Variational, x: torch.Tensor, draws: int = 64, steps: int = 0) -> dict[str, torch.Tensor]:
    return cf.Evidence(STD, draws, steps)(model, x, torch.Generator().manual_seed(0)).numbers


def test_with_the_true_posterior_the_bound_is_the_evidence():
    model, exact = linear_vae()
    x = exact.sample((5,))
    found = bounds(model, x.view(5, 1, 1, D))
    torch.testing.assert_close(found["importance"], exact.log_prob(x), rtol=1e-6, atol=1e-6)
    many = bounds(model, x.view(5, 1, 1, D), draws=2000)
    torch.testing.assert_close(many["elbo"], exact.log_prob(x), rtol=0, atol=0.15)
    torch.testing.assert_close(many["optimised"], many["elbo"])  # no steps: the encoder's own posterior


def test_with_another_posterior_the_bound_is_below_and_rises_with_the_draws():
    model, exact = linear_vae()
    x = exact.sample((200,))
    worsened(model)
    evidence = exact.log_prob(x).mean()
    found = [bounds(model, x.view(-1, 1, 1, D), draws)["importance"].mean() for draws in (1, 10, 100, 1000)]
    elbo = bounds(model, x.view(-1, 1, 1, D), 300)["elbo"].mean()
    assert elbo < found[1] < found[2] < found[3]
    assert found[2] < evidence + 0.02
    assert abs(found[3] - evidence) < 0.05 < evidence - elbo


def test_both_forms_of_the_elbo_agree():
    """E_q[log p(x, z) - log q(z|x)] by Monte Carlo against E_q[log p(x|z)] - KL, exact for a linear decoder."""
    model, exact = linear_vae()
    x = exact.sample((3,))
    q = worsened(model).posterior(x)
    b, w = model.lift.bias, model.lift.weight
    squares = (x - q.mean @ w.T - b).square().sum(1) + q.variance @ w.square().sum(0)
    second = -squares / (2 * STD**2) - D * math.log(STD * math.sqrt(2 * math.pi)) - divergence(q).sum(1)
    z = q.sample((200_000,))
    joint = Normal(z @ w.T + b, STD).log_prob(x).sum(2) + Normal(0.0, 1.0).log_prob(z).sum(2)
    first = joint - q.log_prob(z).sum(2)
    assert ((first.mean(0) - second) / (first.std(0) / 200_000**0.5)).abs().max() < 4.5


def test_the_training_loss_is_the_negative_elbo():
    model, exact = linear_vae()
    x = exact.sample((4,)).view(4, 1, 1, D)
    objective = cf.Classical(fidelity=cf.SquaredError(STD, constant=True), penalties=(cf.Divergence(),))
    losses = torch.stack([sum(objective(model, x).values()).detach() for _ in range(400)])
    elbo = bounds(model, x, 2000)["elbo"].mean()
    assert abs(losses.mean() + elbo) < 4.5 * losses.std() / 400**0.5 + 0.1


def test_inference_per_image_closes_the_amortisation_gap_of_a_bad_encoder():
    model, exact = linear_vae()
    x = exact.sample((20,)).view(-1, 1, 1, D)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    right = bounds(model, x, 200, 200)
    wrong = bounds(worsened(model), x, 200, 400)
    assert right["gap"].abs().mean() < 0.1
    assert wrong["gap"].mean() > 0.2
    assert (wrong["optimised"] - right["elbo"]).abs().mean() < 0.1 * wrong["gap"].mean() + 0.1
    assert torch.equal(model.state_dict()["lift.weight"], before["lift.weight"])
    assert all(p.grad is None for p in model.parameters())


def test_the_evidence_needs_a_posterior_and_a_likelihood():
    with pytest.raises(cf.UsageError, match="Variational"):
        cf.Evidence(0.1)(cf.MLP.tiny(), torch.rand(2, 1, 4, 4), torch.Generator())
    with pytest.raises(cf.UsageError, match="give std"):
        cf.Evidence()(cf.Variational.tiny(), torch.rand(2, 2, 8, 8), torch.Generator())
    for bad in ({"std": 0.0}, {"draws": 0}, {"steps": -1}):
        with pytest.raises(cf.UsageError):
            cf.Evidence(**bad)


def test_a_reparameterised_gradient_is_the_score_function_s_in_expectation():
    """d/dm, d/ds of E_q[f(z)], f = log p(x|z) of a decoder that is not linear, by both and by their errors."""
    torch.manual_seed(3)
    core = cf.MLP((1, 1, 3), hidden=(8,), latent_dim=4, activation="tanh")
    model = cf.Variational(core, latent_dim=2).double()
    x = torch.rand(1, 1, 1, 3).double()
    mean = torch.tensor([[0.3, -0.5]]).double().requires_grad_()
    std = torch.tensor([[0.8, 0.5]]).double().requires_grad_()
    count = 20_000

    def seen(z: torch.Tensor) -> torch.Tensor:
        return -(model.decode(z) - x).square().flatten(1).sum(1) / 2

    q = Normal(mean.expand(count, 2), std.expand(count, 2))
    z = q.rsample()
    z.retain_grad()
    seen(z).sum().backward()
    by_path = torch.cat((z.grad, z.grad * (z - mean) / std), 1).detach()
    z = z.detach()
    score = torch.cat(((z - mean) / std**2, (z - mean).square() / std**3 - 1 / std), 1).detach()
    by_score = (seen(z) - seen(z).mean()).detach()[:, None] * score
    error = (by_path.var(0) / count + by_score.var(0) / count).sqrt()
    assert ((by_path.mean(0) - by_score.mean(0)) / error).abs().max() < 4
    assert (by_path.mean(0).abs() / error).max() > 5  # the gradient itself is larger than the error
    assert (by_path.var(0) < by_score.var(0)).all()


# ---------------------------------------------------------------- probabilistic PCA


def test_the_optimum_of_a_linear_variational_autoencoder_is_probabilistic_pca():
    """Tipping and Bishop (1999): sigma^2 the mean of the discarded eigenvalues, the subspace the leading ones.

    The expectation over z is taken in closed form, ||B||^2 weighted by the variances, so that L-BFGS in float64
    finds the optimum; the parameters are the model's own, and the divergence is the objective's.
    """
    torch.manual_seed(1)
    scales = torch.tensor([3.0, 2.0, 1.2, 0.5, 0.45, 0.4, 0.35, 0.3]).double()
    x = torch.randn(400, 8).double() * scales @ torch.linalg.qr(torch.randn(8, 8).double())[0] + 1.0
    model = cf.Variational(cf.Linear((1, 1, 8), latent_dim=8), latent_dim=3).double()
    log_std = torch.zeros((), dtype=torch.float64, requires_grad=True)
    parameters = [*model.head.parameters(), *model.lift.parameters(), log_std]
    with torch.no_grad():
        for layer in (model.core.encoder[1], model.core.decoder[0]):
            layer.weight.copy_(torch.eye(8))
            layer.bias.zero_()

    def loss() -> torch.Tensor:
        q = _posterior(model, x)
        variance = (2 * log_std).exp()
        squares = (x - model.lift(q.mean)).square().sum(1) + q.variance @ model.lift.weight.square().sum(0)
        nats = squares / (2 * variance) + 4 * (2 * math.pi * variance).log()
        return (nats + divergence(q).sum(1)).mean()

    optimizer = torch.optim.LBFGS(parameters, max_iter=3000, line_search_fn="strong_wolfe", tolerance_change=1e-14)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value

    optimizer.step(closure)
    centred = x - x.mean(0)
    eigenvalues, vectors = torch.linalg.eigh(centred.T @ centred / len(x))
    noise = eigenvalues[:5].mean()
    axes, kept = vectors[:, 5:], eigenvalues[5:]
    covariance = axes @ torch.diag(kept - noise) @ axes.T + noise * torch.eye(8)
    evidence = MultivariateNormal(x.mean(0), covariance).log_prob(x).mean()
    torch.testing.assert_close((2 * log_std).exp().detach(), noise, rtol=1e-3, atol=0)
    torch.testing.assert_close(-loss().detach(), evidence, rtol=1e-5, atol=0)
    assert np.degrees(subspace_angles(model.lift.weight.detach().numpy(), axes.numpy()).max()) < 0.1
    ours = model.lift.weight.detach()
    torch.testing.assert_close(ours @ ours.T, axes @ torch.diag(kept - noise) @ axes.T, rtol=1e-3, atol=1e-3)
    assert Independent(Normal(model.lift.bias.detach(), 1.0), 1).log_prob(x.mean(0)) > -8 * 0.92
