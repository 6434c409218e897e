"""What claims on denoising share: the error of copying, the mean image, readings to keep."""

import torch
from torch import Tensor

from copyfold.data import Photos
from copyfold.measures import mse
from copyfold.models.base import Autoencoder
from copyfold.probes.base import Reading, still
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit.charts import SHOWN
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


def trimmed(reading: Reading) -> Reading:
    """A reading with only as many images as are shown: those of every network and seed would fill the memory."""
    return Reading(reading.numbers, {name: images[:SHOWN].clone() for name, images in reading.images.items()})
