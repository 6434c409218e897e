"""What claims on denoising share: the error of copying, and the mean image."""

import torch
from torch import Tensor

from copyfold.data import Photos
from copyfold.measures import mse
from copyfold.models.base import Autoencoder
from copyfold.probes.base import still
from copyfold.studies.lab import Lab
from copyfold.types import Images

FITTED = 512  # training images that filters are fitted on, and that the mean image is of


def mean_image(lab: Lab, photos: Photos) -> Tensor:
    """The mean of training images."""
    return lab.images(photos, "train", FITTED).mean(0)


@torch.no_grad()
def copying_error(model: Autoencoder, x: Images) -> Tensor:
    """The squared error of copying, per image."""
    with still(model):
        return mse(model(x), x)
