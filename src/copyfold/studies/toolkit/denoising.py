"""What claims on denoising share: the mean image."""

from torch import Tensor

from copyfold.data import Photos
from copyfold.studies.lab import Lab

FITTED = 512  # training images that filters are fitted on, and that the mean image is of


def mean_image(lab: Lab, photos: Photos) -> Tensor:
    """The mean of training images."""
    return lab.images(photos, "train", FITTED).mean(0)
