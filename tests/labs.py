"""Labs whose training is replaced by known networks, for the tests of claims."""

from dataclasses import replace
from math import prod

import torch
from torch import Generator, nn

import copyfold as cf
from copyfold.measures import mse
from copyfold.models.adoption import adopt
from copyfold.models.base import Autoencoder, Chain
from copyfold.studies.lab import Lab, Training
from copyfold.studies.toolkit import copiers, rivals, walks
from copyfold.studies.toolkit.denoising import mean_image
from copyfold.studies.toolkit.training import Look
from known import Identity

SHAPE = (1, 16, 16)  # of the images at the tiny budget


class Centred(Identity):
    """It subtracts the mean of the batch."""

    def encode(self, x):
        return x - x.mean(0, keepdim=True)


class Known(Chain):
    """A given map x -> f(x), and a convolution without effect; its code is the image."""

    multiple = 1

    def __init__(self, function=lambda x: x, shape=SHAPE):
        super().__init__(shape, "linear")
        self.function, self.encoder, self.decoder = function, nn.Identity(), nn.Conv2d(1, 1, 1)

    def logits(self, z):
        return self.function(z) + 0 * self.decoder(z)

    @classmethod
    def tiny(cls):
        return cls()


class Copy(Autoencoder):
    """It returns the image times a factor."""

    def __init__(self, shape=(1, 4, 4), gain=1.0):
        super().__init__(shape, "linear")
        self.gain = gain

    def encode(self, x):
        return self.gain * x

    def logits(self, z):
        return z

    @classmethod
    def tiny(cls):
        return cls()


class Logistic(Copy):
    """Its code is the pixels, clamped to [0, 1]."""

    def encode(self, x):
        return x.flatten(1).clamp(0, 1)

    def logits(self, z):
        return z.view(-1, *self.shape)


class Function(nn.Module):
    """A function of images without parameters."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def fixed(function):
    """A function of images as an autoencoder."""
    return adopt(Function(function), SHAPE, encode="forward", decode=lambda z: z)


def blocks(x):
    """The projection onto images that are constant over blocks of 2 x 2 pixels."""
    return nn.functional.interpolate(nn.functional.avg_pool2d(x, 2), scale_factor=2)


def in_a_plane(count, rank=6, shape=(1, 8, 8)):
    """Images on an affine subspace of this dimension, with variances 1, 1/2, 1/3 ..."""
    directions = torch.linalg.qr(torch.randn(prod(shape), rank)).Q
    spread = torch.randn(count, rank) / torch.arange(1, rank + 1).sqrt()
    return (0.5 + spread @ directions.T).view(count, *shape)


class Staged(Autoencoder):
    """A function of images, then nothing more, in layers called as those of the networks that are represented."""

    def __init__(self, function=lambda x: x, shape=SHAPE, after=lambda x: x):
        super().__init__(shape, "linear")
        parts = ("down1", "down2", "3", "6", "8", "conv", "attention")
        self.encoder = nn.ModuleDict({name: nn.Identity() for name in parts} | {"down1": Function(function)})
        self.encoder["down2"], self.encoder["6"], self.encoder["attention"] = (Function(after) for _ in range(3))
        self.decoder = nn.ModuleDict({"up1": nn.Identity(), "conv": nn.Identity()})

    def encode(self, x):
        for part in self.encoder.values():
            x = part(x)
        return x

    def logits(self, z):
        for part in self.decoder.values():
            z = part(z)
        return z

    @classmethod
    def tiny(cls):
        return cls()


def random_part(share=4, shape=SHAPE):
    """The orthogonal projection onto a random subspace, which keeps one in so many dimensions."""
    size = prod(shape)
    rows = torch.randn(size, size // share, generator=Generator().manual_seed(0))
    basis = torch.linalg.qr(rows).Q
    return lambda x: ((x.flatten(1) @ basis.to(x)) @ basis.to(x).T).view_as(x)


COPY, BLUR = fixed(lambda x: x), fixed(cf.Blur(5, 1.0))
GREY = fixed(lambda x: torch.full_like(x, 0.5) + 0 * x)


class Curve:
    """Known networks along the curve of copying and denoising, in place of trained ones.

    `nets` has the looks of a network by its name, (left, network) from the worst copy to the best; "" of others.
    """

    def __init__(self, lab, monkeypatch):
        self.lab, self.photos, self.nets = lab, copiers.photographs(lab), {"": [(0.001, COPY)]}
        self.x = lab.images(self.photos)
        monkeypatch.setattr(copiers, "on_the_way", self.looks)

    def looks(self, lab, make, photos, seed, steps, **plan):
        asked = make(photos.shape).config
        of = copiers.configurations(lab).items()
        name = next(name for name, one in of if one.make(photos.shape).config == asked)
        return [Look(i, *given) for i, given in enumerate(self.nets.get(name, self.nets[""]))]

    def projection(self, left):
        """PCA that leaves as much."""
        error = left * mse(mean_image(self.lab, self.photos).expand_as(self.x), self.x).mean().item()
        return rivals.pca_that_leaves(self.lab, self.photos, error)[0]

    def knowing(self, after=lambda x: x):
        """The held-out image that correlates best with the input, whatever its brightness; then `after`."""

        def unit(y):
            rows = y.flatten(1) - y.flatten(1).mean(1, keepdim=True)
            return rows / rows.norm(dim=1, keepdim=True)

        return fixed(lambda y: after(self.x[(unit(y) @ unit(self.x).T).argmax(1)]) + 0 * y)

    def dulled(self, share):
        """This share of the way to the mean image: it leaves the square of it, and passes the rest of noise."""
        mean = mean_image(self.lab, self.photos)
        return fixed(lambda y: (1 - share) * y + share * mean)

    def judged(self, study, **nets):
        """The verdict, with regime, and the finding, where networks of these names have these looks."""
        self.nets |= nets
        found = study.measure(self.lab)
        return study.verdict(found.numbers, copying=found.copying), found


class AttentionLab(Lab):
    """A lab in which a training gives the network prepared for its kind of attention."""

    def __init__(self, *given, networks, **named):
        super().__init__(*given, **named)
        self.networks = networks

    def trained(self, make, photos, seed, **plan):
        with torch.device("meta"):
            asked = make(photos.shape)
        kind = (getattr(asked, "kind", None), getattr(asked, "residual", None))
        network = next((n for of, n in self.networks.items() if of in (kind, kind[0])), Identity)
        return network(photos.shape).to(self.device)

    def untrained(self, make, photos, seed):
        return self.trained(make, photos, seed)


class PreparedLab(Lab):
    """A lab with prepared models: `pick(make, photos)`, and `models` for a course."""

    models: tuple = ()

    def trained(self, make, photos, seed, **plan):
        model = make(photos.shape) if make.func is cf.MLP else self.pick(make, photos)
        self.trainings[model] = Training(8, 1.0, 1e9)  # seconds: so that nothing is trained for longer
        return model

    def course(self, make, photos, seed, steps, **plan):
        return list(self.models)

    def untrained(self, make, photos, seed):
        return self.pick(make, photos)

    def pick(self, make, photos):
        return self.models[0]

    def painter(self, noise):
        """A model that returns training images with this much noise, whatever its input."""
        photos = self.photos("landscapes")
        bank = self.images(photos, "train", 64)
        bank = bank + noise * torch.randn(bank.shape, generator=Generator().manual_seed(1))

        def paint(z):
            small = bank[: len(z)] + 1e-6 * z.mean()  # so that every pixel depends slightly on every other
            return small if z.shape == small.shape else nn.functional.interpolate(small, z.shape[2:])

        return Known(paint)


def on_its_way(monkeypatch, maps):
    """Every network that memorises is, when so much is left, one of these maps."""
    looks = [Look(step, left, Known(function)) for step, (left, function) in enumerate(maps.items(), 1)]
    monkeypatch.setattr(walks, "on_the_way", lambda *_, **__: looks)


def judged(study, lab):
    """The verdict, and the numbers that it follows from."""
    numbers = study.measure(lab).numbers
    return study.verdict(numbers), numbers


def outcome(study, lab):
    """The verdict, the outcome of each threshold, and the numbers, with intervals of no width."""
    numbers = {name: replace(e, low=e.value, high=e.value) for name, e in study.measure(lab).numbers.items()}
    holds = {name: threshold.holds(numbers[name]) for name, threshold in study.thresholds().items()}
    return study.verdict(numbers), holds, numbers
