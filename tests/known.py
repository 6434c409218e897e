"""Autoencoders of which all is known, for several test files."""

import torch

import copyfold as cf
from copyfold.models.base import Chain


class Identity(Chain):
    """A perfect copy; it has no weights."""

    def __init__(self, shape):
        super().__init__(shape, "linear")
        self.encoder = self.decoder = torch.nn.Identity()

    @classmethod
    def tiny(cls):
        return cls((1, 8, 8))


class Blind(Identity):
    """It says the same of every image."""

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
