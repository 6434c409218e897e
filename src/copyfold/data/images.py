"""Single image files: the only way in which untrusted image files are opened."""

import os
from typing import IO, TYPE_CHECKING

import numpy as np

from copyfold.data.reading.decoding import Refused, decode, flatten, upright
from copyfold.errors import DataError

if TYPE_CHECKING:
    from PIL import Image


def open_image(file: str | os.PathLike[str] | IO[bytes]) -> "Image.Image":
    """Decode one image file completely and turn it upright; safe to call from many threads.

    Reads PNG, JPEG, WebP, BMP, TIFF and GIF (the first frame) of at most 100 megapixels. Raises DataError in
    one line that names the file and the reason: not an image, too large, truncated.
    """
    try:
        return decode(file)
    except Refused as error:
        name = file if isinstance(file, str | os.PathLike) else getattr(file, "name", None)
        raise DataError(f"{name or 'the image'} {error}") from None


def to_pixels(image: "Image.Image", channels: int) -> np.ndarray:
    """Turn any Pillow image into uint8 pixels, H·W·C with 1 or 3 channels.

    EXIF orientation is obeyed, transparency is composited on white, palettes and CMYK become RGB, and 16-bit
    values are divided by 65535. Raises DataError where values have no place in 0..255 (32-bit integers above
    65535, LAB colours).
    """
    try:
        pixels = np.array(flatten(upright(image), channels))
    except Refused as error:
        raise DataError(f"the image {error}") from None
    return pixels.reshape(*pixels.shape[:2], channels)
