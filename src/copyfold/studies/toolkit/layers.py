"""Networks measured layer by layer: untrained, trained, and with the channels between layers permuted."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Generator, Tensor, nn

from copyfold.data import Photos
from copyfold.models.base import Autoencoder
from copyfold.probes.base import Reading
from copyfold.probes.inversion import Inversion
from copyfold.studies.base import Estimate
from copyfold.studies.lab import Lab, Make
from copyfold.studies.toolkit import charts
from copyfold.studies.toolkit.networks import with_running_averages
from copyfold.types import Images

NAMES = {"cnn": "CNN", "vit": "ViT", "unet": "U-Net", "mlp": "halving", "overcomplete": "overcomplete"}
M = TypeVar("M", bound=nn.Module)


def inversions(lab: Lab, models: Sequence[nn.Module], layer: str, x: Images) -> list[Reading]:
    """The layer's representation of each image, for the network of every seed."""
    descend = Inversion(layer, lab.budget.scaled(50), start="constant")
    return [descend(model, x, lab.rng(0, "inversion")) for model in models]


def noise_levels(readings: Sequence[Reading]) -> list[Tensor]:
    """The noise of each image's representation, for every seed."""
    return [r.numbers["noise"] for r in readings]


@torch.no_grad()
def reordered(model: M, rng: Generator) -> M:
    """A copy of a network whose layers, except the first, read their input channels in a permuted order."""
    other = copy.deepcopy(model)
    heard: list[tuple[Tensor, int]] = []
    for module in other.modules():
        match module:
            case nn.ConvTranspose2d():
                heard.append((module.weight, 0))
            case nn.Conv2d() | nn.Linear():
                heard.append((module.weight, 1))
            case nn.MultiheadAttention():
                heard.append((module.in_proj_weight, 1))
            case _:
                pass
    for weight, axis in heard[1:]:
        order = torch.randperm(weight.shape[axis], generator=rng).to(weight.device)
        weight.copy_(weight.index_select(axis, order))
    return other


def untrained_and_trained(lab: Lab, make: Make, photos: Photos, seed: int, **plan: Any) -> dict[str, Autoencoder]:
    """A network that learns to copy: untrained, with running averages of photographs, and trained."""
    trained = lab.trained(make, photos, seed, **plan)
    return {
        "untrained": with_running_averages(lab.untrained(make, photos, seed), lab.images(photos, "train")),
        "trained": trained,
    }


def by_block(lines: Mapping[str, Sequence[Estimate]]) -> Any:
    """A figure of noise against depth."""
    along = {name: (range(1, len(line) + 1), line) for name, line in lines.items()}
    return charts.curves(along, "block, from the input", "noise, std in units of the range")
