"""The networks that several claims compare, each built in one way, so that claims share trained models.

And how those with batch statistics are used: with batches as large as in training.
"""

from functools import partial
from math import prod
from typing import Any

import torch
from torch import Generator, Tensor

from copyfold.models.base import Autoencoder
from copyfold.models.blocks import BatchNorm
from copyfold.models.dense import MLP, Linear
from copyfold.models.unet import UNet
from copyfold.probes.base import Probe, Reading, still
from copyfold.samplers.base import parts
from copyfold.studies.lab import Lab, Make
from copyfold.types import Float, Images, Shape, Statistics

BATCH = 16
"""Images that share their statistics, as in training: a few, so that their noise is an error of its own."""

LARGE = 64
"""Images that share their statistics where these are measured; beside it `BATCH`, as in the essay."""

WAYS: dict[str, tuple[Statistics, int]] = {
    "running statistics": ("running", LARGE),
    "batches of 64": ("batch", LARGE),
    "batches of 16": ("batch", BATCH),
}
"""How a network with batch norm is used: the statistics, and the images at a time."""

WIDE = 3e-4
"""The learning rate of layers of thousands of units; with 1e-3 they diverge at the start."""
DENSE = 0.005
"""That of a U-Net with the hidden module, whose large matrices do not settle with Muon's usual .02: with seed 0 it
left .141 of CIFAR-10 after 18,750 batches of 16, and with this rate .090 after 1,500 of 64."""


def overcomplete(lab: Lab) -> Make:
    """The essay's first network: five hidden layers, each of more units than the image has numbers."""

    return partial(wide, times=lab.budget.hidden)


def wide(shape: Shape, times: float) -> MLP:
    """Five hidden layers, each of so many times as many units as the image has numbers."""
    units = round(times * prod(shape))
    return MLP(shape, [units, units], units, activation="gelu", code_activation="gelu")


def unet(lab: Lab, large: bool = False, **changes: Any) -> Make:
    """The essay's U-Net without skips, for images of the budget's side, or of its larger one; with `changes`."""
    width, depth = (lab.budget.slim, lab.budget.depth + 1) if large else (lab.budget.width, lab.budget.depth)
    return partial(UNet, **{"width": width, "depth": depth, "skips": "self"} | changes)


def projection(shape: Shape, directions: Float[Tensor, "k d"], mean: Float[Tensor, "d"]) -> Linear:
    """The orthogonal projection onto these directions about a mean: PCA, where they are principal ones."""
    model = Linear(shape, len(directions))
    model.project(directions.float(), mean.float())
    return model.eval()


def parameters(make: Make, shape: Shape) -> int:
    """The number of weights of a network, counted without building it."""
    with torch.device("meta"):
        return sum(p.numel() for p in make(shape).parameters())


@torch.no_grad()
def restored(model: Autoencoder, x: Images, batch: int = BATCH, statistics: Statistics = "batch") -> Images:
    """The model's output for images, at most `batch` at a time."""
    with still(model, statistics):
        return torch.cat([model(part) for part in parts(x, batch)])


def probed(probe: Probe, model: Autoencoder, x: Images, rng: Generator, batch: int = BATCH) -> Reading:
    """The numbers of a probe with batch statistics, from batches as large as in training unless given."""
    readings = [probe(model, part, rng) for part in parts(x, batch)]
    return Reading({name: torch.cat([r.numbers[name] for r in readings]) for name in readings[0].numbers})


@torch.no_grad()
def with_running_averages(model: Autoencoder, x: Images) -> Autoencoder:
    """The model with the running averages of these images, which an untrained model lacks."""
    norms = [module for module in model.modules() if isinstance(module, BatchNorm)]
    former = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0  # the averages are those of this batch alone
    with model.using("batch"):
        model.train()(x)
    for norm, momentum in zip(norms, former, strict=True):
        norm.momentum = momentum
    return model.eval()
