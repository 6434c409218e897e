"""Autoencoders with known results, and a user's classes, for several test files."""

from dataclasses import dataclass

import torch
from torch import nn

import copyfold as cf
from copyfold.models.base import Chain, flat


class Strided(cf.Autoencoder):
    """A user's class: no dataclass, tiny(), statistics or encoder; torch's batch norm, and an unsaved buffer."""

    def __init__(self, shape=(1, 8, 8), width=3, scale=2.0):
        super().__init__(shape)
        self.width, self.scale = width, scale
        self.inward = nn.Sequential(nn.Conv2d(shape[0], width, 2, 2), nn.BatchNorm2d(width))
        self.outward = nn.ConvTranspose2d(width, shape[0], 2, 2)
        self.register_buffer("gain", torch.full((1,), float(scale)), persistent=False)

    def encode(self, x):
        return self.gain * self.inward(x)

    def decode(self, z):
        return self.outward(z / self.gain)


class Quartic(cf.Fidelity):
    """The fourth power of the error."""

    def __call__(self, model, z, x):
        image = model.decode(z).float()
        return (x - image).abs().pow(4).sum() / len(x), image


@dataclass(frozen=True)
class Squared(cf.Penalty):
    """The squared code."""

    weight: float = 1.0

    def __call__(self, model, x, z, q=None):
        return self.weight * flat(z).square().sum() / len(x)


class Pooled(cf.Middle):
    """A bottleneck of one linear layer each way."""

    def __init__(self, latent_dim=4):
        self.latent_dim = latent_dim

    def squeeze(self, channels, height, width):
        return nn.Sequential(nn.Flatten(), nn.Linear(channels * height * width, self.latent_dim))

    def expand(self, channels, height, width):
        return nn.Sequential(
            nn.Linear(self.latent_dim, channels * height * width), nn.Unflatten(1, (channels, height, width))
        )


class Identity(Chain):
    """A perfect copy without weights."""

    def __init__(self, shape):
        super().__init__(shape, "linear")
        self.encoder = self.decoder = torch.nn.Identity()

    @classmethod
    def tiny(cls):
        return cls((1, 8, 8))


class Constant(Identity):
    """It returns the same image for every input."""

    def encode(self, x):
        return torch.full_like(x, 0.3) + 0 * x


class Pixels(cf.Linear):
    """A model whose code is the image itself."""

    def encode(self, x):
        return x.flatten(1)

    def logits(self, z):
        return z.view(-1, *self.shape)


class Halves(Pixels):
    """One whose code is a tuple of two maps: the upper and the lower half of the image, the lower one tenfold."""

    def encode(self, x):
        top, bottom = x.chunk(2, dim=2)
        return top, 10 * bottom

    def logits(self, z):
        return torch.cat((z[0], z[1] / 10), dim=2)
