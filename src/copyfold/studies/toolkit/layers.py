"""Networks measured layer by layer: untrained, trained, and with the channels between layers permuted."""

import copy
from typing import Any, TypeVar

import torch
from torch import Generator, Tensor, nn

from copyfold.data import Photos
from copyfold.models.base import Autoencoder
from copyfold.studies.lab import Lab, Make
from copyfold.studies.toolkit.networks import with_running_averages

M = TypeVar("M", bound=nn.Module)


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
