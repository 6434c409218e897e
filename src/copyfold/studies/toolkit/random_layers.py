"""One random layer: where descent on its output ends, in closed form."""

from functools import partial
from math import prod

import torch
from torch import Tensor, nn

from copyfold.data import Photos
from copyfold.models.dense import Linear
from copyfold.studies.lab import Lab
from copyfold.types import Images


def represented(weight: Tensor, x: Images, start: Images) -> Images:
    """Where descent from `start` on a linear layer's output ends: a_0 + A^+ A (a - a_0), for A of full rank."""
    a = weight.detach().double()
    away = (x - start).flatten(1).double()
    kept = torch.linalg.solve(a @ a.T, a @ away.T)
    return (start.flatten(1).double() + kept.T @ a).view_as(x).to(x)


def random_layer(lab: Lab, photos: Photos, share: float, seed: int) -> nn.Linear:
    """An untrained layer whose number of outputs is this share of an image's values."""
    make = partial(Linear, latent_dim=max(1, round(share * prod(photos.shape))))
    return lab.untrained(make, photos, seed).encoder[1]
