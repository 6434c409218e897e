"""Samplers against what their equations give for models that are known exactly."""

import torch
from torch import Generator

import copyfold as cf
from copyfold.corruptions import noise_like
from copyfold.samplers.base import perturbed


class Halving(cf.Linear):
    """D(E(x)) = x / 2 with the image itself, halved, as the code."""

    def encode(self, x):
        return x.flatten(1) / 2

    def logits(self, z):
        return z.view(-1, *self.shape)


def test_renoising_follows_its_equation():
    model, x = Halving((1, 3, 3)), torch.rand(2, 1, 3, 3)
    film = list(cf.Renoising(steps=4, mean=0.5, std=0.3)(model, x, Generator().manual_seed(3)))
    rng, a = Generator().manual_seed(3), x
    for n, frame in enumerate(film, 1):
        torch.testing.assert_close(frame, a / 2)
        a = n / 4 * frame + (1 - n / 4) * noise_like(x, 0.5, 0.3, rng)


def test_the_schedules():
    assert [cf.Ramp()(n, 4) for n in (1, 4)] == [(0.0, 0.25, 0.75), (0.0, 1.0, 0.0)]
    assert cf.Ramp(over=20)(60, 60) == (0.0, 3.0, -2.0)
    assert cf.Additive(0.1)(1, 9) == (1.0, 0.1, 0.0)
    x = torch.rand(2, 1, 3, 3)
    film = cf.Renoising(steps=3, schedule=cf.Additive(0.1))(Halving((1, 3, 3)), x, Generator())
    torch.testing.assert_close(list(film)[-1], x * 1.05**2 / 2)


def test_renoising_starts_from_noise_of_its_own_mean_and_std():
    noise = cf.Renoising(mean=0.6, std=0.1).noise(50, (3, 16, 16), Generator().manual_seed(0))
    assert noise.shape == (50, 3, 16, 16)
    assert abs(noise.mean() - 0.6) < 0.002
    assert abs(noise.std() - 0.1) < 0.002
    assert cf.Walk().noise(5, (3, 16, 16), Generator()) is None


def test_a_walk_without_noise_is_the_map_itself():
    x = torch.rand(2, 1, 3, 3)
    film = list(cf.Walk(steps=5, std=0.0)(Halving((1, 3, 3)), x, Generator()))
    for n, frame in enumerate(film, 1):
        torch.testing.assert_close(frame, x / 2**n)


def test_a_walk_s_noise_is_in_the_code_and_has_its_std():
    """With the halving map the stationary variance is std^2 / (1 - 1/4)."""
    model = Halving((1, 50, 50))
    *_, last = cf.Walk(steps=30, std=0.3)(model, torch.zeros(4, 1, 50, 50), Generator().manual_seed(1))
    assert abs(last.var() / (0.3**2 / 0.75) - 1) < 0.05


def test_every_map_of_a_tuple_code_is_disturbed():
    maps = (torch.zeros(2, 3, 8, 8), torch.zeros(2, 2, 40, 40))
    noisy = perturbed(maps, 0.5, Generator().manual_seed(0))
    assert [m.shape for m in noisy] == [m.shape for m in maps]
    assert all(abs(m.std() - 0.5) < 0.05 for m in noisy)
    assert perturbed(maps, 0.0, Generator()) is maps


def test_the_prior_of_a_linear_decoder_is_factor_analysis():
    """x ~ N(b, W W^T + std^2 I): mean and covariance of 20,000 images, within five standard errors of each."""
    model = cf.Variational(cf.Linear((1, 2, 2), latent_dim=4), latent_dim=2).eval()
    rng = torch.Generator().manual_seed(0)
    (frame,) = cf.Prior(std=0.3)(model, torch.zeros(20_000, 1, 2, 2), rng)
    x = frame.flatten(1).double()
    with torch.no_grad():
        rows = model.decode(torch.cat((torch.eye(2), torch.zeros(1, 2)))).flatten(1).double()
    b, w = rows[2], (rows[:2] - rows[2]).T
    covariance = w @ w.T + 0.09 * torch.eye(4)
    error = (covariance.diagonal() / 20_000).sqrt()
    assert ((x.mean(0) - b) / error).abs().max() < 5
    spread = ((covariance.square() + torch.outer(covariance.diagonal(), covariance.diagonal())) / 20_000).sqrt()
    assert ((x.T.cov() - covariance) / spread).abs().max() < 5
    (means,) = cf.Prior()(model, torch.zeros(500, 1, 2, 2), rng)
    assert torch.linalg.matrix_rank(means.flatten(1) - b.float(), tol=1e-3) == 2


def test_the_prior_fills_every_map_of_a_code():
    model = cf.UNet((1, 8, 8), width=4, depth=2, skips="concat").eval()
    (frame,) = cf.Prior()(model, cf.Prior().noise(3, (1, 8, 8), torch.Generator()), torch.Generator())
    assert frame.shape == (3, 1, 8, 8)
    assert frame.std() > 0
