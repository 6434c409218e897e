"""All images of photos, those to train on and those held out, a few at a time."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from torch import Tensor

from copyfold.data import Photos, Stream
from copyfold.data.beside import as_photos, check_shape
from copyfold.data.reading.opening import Given
from copyfold.data.sampling import as_images
from copyfold.detection.base import PART
from copyfold.errors import UsageError
from copyfold.models.base import Autoencoder
from copyfold.types import Images, Progress


def searched(model: Autoencoder, given: Photos | Stream | Given, progress: Progress | bool | None) -> Photos:
    """Photos of which every image is looked at, read from any source; UsageError where they do not fit."""
    photos = as_photos(given, model, whole=True, progress=progress)
    if isinstance(photos, Stream):
        raise UsageError("a Stream has no image that could be asked for again: give Photos(...)")
    check_shape(model, photos)
    return photos


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
