"""All images of photos, those to train on and those held out, a few at a time."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from torch import Tensor

from copyfold.data import Photos, Stream
from copyfold.data.reading.sizes import simple
from copyfold.data.sampling import as_images
from copyfold.detection.base import PART
from copyfold.errors import UsageError
from copyfold.models.base import Autoencoder
from copyfold.types import Images


def check_shape(model: Autoencoder, photos: Photos | Stream) -> None:
    """UsageError where images are not of the model's shape."""
    if photos.shape != model.shape:
        raise UsageError(
            f"the model is for images of {model.shape}, the photos are {photos.shape}: make them with "
            f"Photos(..., size={simple(model.shape[1:])}, channels={model.shape[0]})"
        )


def parts(photos: Photos) -> list[Any]:
    """The stored pixels of all images, training images first; a single image, held out too, is there once."""
    once = photos.whole or photos.names == photos.held_out_names
    return [photos.train] if once else [photos.train, photos.held_out]


def named(photos: Photos) -> list[str]:
    """The names of all images, in the same order."""
    return [*photos.names, *(photos.held_out_names if len(parts(photos)) > 1 else ())]


def stored(photos: Photos, row: int) -> np.ndarray:
    """The stored pixels of one of all images, h x w x c."""
    first = len(photos.train)
    return np.asarray(photos.train[row] if row < first else photos.held_out[row - first])


def one(photos: Photos, row: int) -> Images:
    """One of all images, 1 x c x h x w."""
    return as_images(stored(photos, row)[None])


def batches(pixels: Any, like: Tensor) -> Iterator[Images]:
    """Images of stored pixels, a few at a time, where another tensor is."""
    for start in range(0, len(pixels), PART):
        yield as_images(pixels[start : start + PART]).to(like)
