"""The photos that a function is given beside a model: as they are, or read from any source at the model's size."""

from typing import cast

from copyfold.data.photos import Photos
from copyfold.data.reading.opening import Given
from copyfold.data.reading.sizes import simple
from copyfold.data.streaming import Stream
from copyfold.errors import UsageError
from copyfold.models.base import Autoencoder
from copyfold.types import Progress


def as_photos(
    given: Photos | Stream | Given,
    model: Autoencoder,
    *,
    seed: int = 0,
    whole: bool = False,
    progress: Progress | bool | None = None,
) -> Photos | Stream:
    """Photos as they are; any other source of images read at the model's own height, width and channels."""
    if hasattr(given, "batches"):
        return cast("Photos | Stream", given)
    channels, *size = model.shape
    return Photos(
        cast(Given, given), (size[0], size[1]), channels=channels, seed=seed, whole=whole, progress=progress
    )


def check_shape(model: Autoencoder, photos: Photos | Stream) -> None:
    """UsageError where images are not of the model's shape."""
    if tuple(photos.shape) != model.shape:
        raise UsageError(
            f"the model is for images of {model.shape} (channels, height, width), the photos are "
            f"{tuple(photos.shape)}: make them with Photos(..., size={simple(model.shape[1:])}, "
            f"channels={model.shape[0]})"
        )
