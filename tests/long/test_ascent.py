"""The ascent with a trained network that is told the level, on a density whose true samples are known."""

import math
from copy import deepcopy
from statistics import median

import torch
from torch import Generator, Tensor, nn

import copyfold as cf
from copyfold.data.synthetic import ring
from copyfold.measures import sliced_wasserstein

STEPS, POINTS, SPREAD = 4000, 1024, 0.71  # SPREAD: the std of a coordinate of the ring


def rng(seed: int) -> Generator:
    return Generator().manual_seed(seed)


class Told(nn.Module):
    """A perceptron that denoises points of the plane, given their level; it knows the best linear denoiser."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 2))

    def forward(self, y: Tensor, std: Tensor) -> Tensor:
        """The denoised points, n x 2, for levels n x 1."""
        variance = SPREAD**2 + std**2
        out = self.layers(torch.cat((y / variance.sqrt(), std.log() / 4), 1))
        return SPREAD**2 * y / variance + std * SPREAD / variance.sqrt() * out


def trained() -> Told:
    """The average of the weights of a training on all levels from 0.01 to 1.2."""
    density, draws = ring(), rng(1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = Told()
    average = deepcopy(net)
    optimizer = torch.optim.Adam(net.parameters())
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = 3e-3 * (1 - step / STEPS)
        x = density.sample(POINTS, draws).float()
        std = torch.exp(math.log(0.01) + math.log(120) * torch.rand(POINTS, 1, generator=draws))
        error = net(x + std * torch.randn(x.shape, generator=draws), std) - x
        loss = (error.square().sum(1, keepdim=True) * (SPREAD**2 + std**2) / (std * SPREAD) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            for kept, new in zip(average.parameters(), net.parameters(), strict=True):
                kept.lerp_(new, 0.003)
    return average


def test_samples_of_a_trained_denoiser_are_at_most_half_as_far_again_as_true_ones():
    """Medians of nine draws of 1,000 points; sliced Wasserstein distances."""
    density, net, ascent = ring(), trained(), cf.Ascent(mean=0.0, clip=False)

    def denoise(y: Tensor, std: float) -> Tensor:
        return net(y.view(-1, 2), torch.full((len(y), 1), std)).view_as(y)

    found = []
    for draw in range(9):
        true, other = (density.sample(1000, rng(seed + draw)).float() for seed in (100, 200))
        *_, step = ascent.ascend(denoise, ascent.noise(1000, (1, 1, 2), rng(300 + draw)), rng(400 + draw))
        found.append([sliced_wasserstein(p, true, rng(9)).item() for p in (step.image.view(-1, 2), other)])
    made, real = map(median, zip(*found, strict=True))
    assert made < 1.5 * real
