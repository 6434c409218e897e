"""Training against a critic: one step by hand, weight 0, a critic who can and one who cannot tell."""

from math import log

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import copyfold as cf
from copyfold.errors import UsageError
from copyfold.training.adversarial import fit_adversarial

SHAPE = (1, 8, 8)


def players():
    torch.manual_seed(0)
    return cf.MLP(SHAPE, [16], 4), nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.Tanh(), nn.Linear(8, 1))


def weights(network):
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def by_hand(model, critic, x, weight, lr):
    """One step of both, with gradients asked for by name, so that none can leak."""
    ours, theirs = torch.optim.Adam(model.parameters(), lr), torch.optim.Adam(critic.parameters(), lr)
    copies = model(x)
    fooled = F.softplus(-critic(copies)).mean()
    wanted = list(model.parameters())
    for p, g in zip(wanted, torch.autograd.grad((copies - x).abs().mean() + weight * fooled, wanted), strict=True):
        p.grad = g
    ours.step()
    told = F.softplus(-critic(x)).mean() / 2 + F.softplus(critic(copies.detach())).mean() / 2
    wanted = list(critic.parameters())
    for p, g in zip(wanted, torch.autograd.grad(told, wanted), strict=True):
        p.grad = g
    theirs.step()
    return {"copy": (copies - x).abs().mean().item(), "fooling": fooled.item(), "critic": told.item()}


def test_a_step_is_that_of_the_docstring_and_no_gradient_leaks():
    x, (model, critic), (other, rival) = torch.rand(6, *SHAPE), players(), players()
    found = fit_adversarial(model, critic, x, epochs=1, weight=0.5, batch=6, lr=1e-2)
    assert found[0] == pytest.approx(by_hand(other, rival, x, weight=0.5, lr=1e-2), rel=1e-5)
    torch.testing.assert_close(weights(model), weights(other))
    torch.testing.assert_close(weights(critic), weights(rival))


def test_without_weight_the_critic_changes_nothing_in_the_model():
    x = torch.rand(12, *SHAPE)
    (model, critic), (other, _) = players(), players()
    fit_adversarial(model, critic, x, epochs=2, weight=0, batch=6)
    fit_adversarial(other, nn.Sequential(nn.Flatten(), nn.Linear(64, 1)), x, epochs=2, weight=0, batch=6)
    assert torch.equal(weights(model), weights(other))
    assert not torch.equal(weights(critic), weights(players()[1]))
    assert not model.training
    assert not critic.training


class Fixed(cf.MLP):
    """It returns its input times a gain, whatever it learns."""

    def __init__(self, gain):
        super().__init__(SHAPE, [4], 2)
        self.gain = gain

    def draw(self, x):
        return self.gain * x

    def decode(self, z):
        return z + 0 * sum(p.sum() for p in self.parameters())


def test_a_critic_learns_to_tell_poor_copies_and_knows_nothing_of_perfect_ones():
    x, (_, critic), (_, rival) = 0.5 + torch.rand(32, *SHAPE) / 2, players(), players()
    blind = fit_adversarial(Fixed(1.0), critic, x, epochs=40, lr=1e-2)
    assert blind[-1]["copy"] == 0
    assert blind[-1]["critic"] >= log(2) - 1e-4
    poor = Fixed(0.3)
    seen = fit_adversarial(poor, rival, x, epochs=40, lr=1e-2)
    assert seen[-1]["critic"] < 0.5 * log(2)
    assert seen[-1]["fooling"] > log(2)
    assert rival(x).mean() > 0 > rival(poor.decode(poor.draw(x))).mean()


def test_a_critic_of_the_catalogue_and_a_variational_model_are_taken():
    x = torch.rand(8, *SHAPE)
    model = cf.Variational(cf.MLP(SHAPE, [8], 4), 2)
    critic = nn.Sequential(cf.CNN(SHAPE, 4, widths=(4, 8)), nn.Linear(4, 1))
    losses = fit_adversarial(model, critic, x, epochs=2, batch=4)
    assert len(losses) == 2
    assert all(value > 0 for value in losses[-1].values())


def test_what_does_not_fit_is_refused():
    x, (model, critic) = torch.rand(4, *SHAPE), players()
    for given in ((model, critic, x[..., :7]), (model, nn.Flatten(), x), (model, critic, x[:0])):
        with pytest.raises(UsageError):
            fit_adversarial(*given, epochs=1)
    for named in ({"lr": 0}, {"weight": -1}, {"weight": float("nan")}, {"batch": 0}):
        with pytest.raises(UsageError):
            fit_adversarial(model, critic, x, **{"epochs": 1} | named)
