"""What claims on denoising share: the mean image, and how much of the noise an answer has."""

from torch import Tensor

from copyfold.data import Photos
from copyfold.studies.lab import Lab
from copyfold.types import Images

FITTED = 512  # training images that filters are fitted on, and that the mean image is of


def mean_image(lab: Lab, photos: Photos) -> Tensor:
    """The mean of training images."""
    return lab.images(photos, "train", FITTED).mean(0)


def share(answer: Images, noise: Images) -> Tensor:
    """<answer, noise> / ||noise||^2 of every image."""
    return (answer * noise).flatten(1).sum(1) / noise.square().flatten(1).sum(1)
