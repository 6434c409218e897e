"""The networks that several studies compare, each made in one way so that studies share their trainings."""

from functools import partial
from math import prod
from typing import Any

from copyfold.models.dense import MLP
from copyfold.models.unet import Affine, UNet
from copyfold.studies.lab import Lab, Make
from copyfold.types import Shape

WIDE = 3e-4
"""The learning rate of layers of thousands of units; 1e-3 throws them off at the start."""


def overcomplete(lab: Lab) -> Make:
    """The essay's first network: five hidden layers, each of more units than the image has numbers."""

    def make(shape: Shape) -> MLP:
        units = round(lab.budget.hidden * prod(shape))
        return MLP(shape, [units, units], units, activation="gelu", code_activation="gelu")

    return make


def unet(lab: Lab, large: bool = False, **changes: Any) -> Make:
    """The essay's U-Net without skips, for images of the budget's side, or of its larger one; with `changes`."""
    width, depth = (lab.budget.slim, lab.budget.depth + 1) if large else (lab.budget.width, lab.budget.depth)
    return partial(UNet, **{"width": width, "depth": depth, "skips": "self"} | changes)


def hidden(lab: Lab, large: bool = False) -> Make:
    """The same with the essay's hidden module 500-100-500, whose deepest map must be 4 pixels long or more."""
    side, depth = (lab.budget.large, lab.budget.depth + 1) if large else (lab.budget.side, lab.budget.depth)
    return unet(lab, large, depth=min(depth, (side // 4).bit_length() - 1), middle=Affine())
