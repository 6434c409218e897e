"""Decoding untrusted image files, and the rules for converting any image to pixels.

The rules: EXIF orientation is obeyed, transparency is composited on white, palettes and CMYK become RGB,
16-bit values are divided by 65535 (Pillow's own conversion clips them to white), and of an animation the
first frame is taken.
"""

import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import IO, TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from PIL import Image, ImageFile

Fit = Literal["crop", "pad"]

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
MEGAPIXELS = 100
WIDE_GREY = frozenset({"I", "F", "I;16", "I;16L", "I;16B", "I;16N"})
GREY = WIDE_GREY | {"1", "L", "LA", "La"}
ORIENTATION = 0x0112


class Refused(Exception):
    """An image that cannot be read; the message is the reason, to stand behind a name."""


@dataclass(frozen=True)
class Header:
    """What is known of an image before it is decoded.

    Width and height in pixels, as it stands upright, and Pillow's name of its mode.
    """

    width: int
    height: int
    mode: str


def decode(file: str | os.PathLike[str] | IO[bytes] | bytes, near: int | None = None) -> "Image.Image":
    """Decode a file, or the bytes of one, completely and upright; raises Refused.

    With `near`, a side in pixels, a JPEG may come smaller by 2, 4 or 8, its sides still at least 2 * near:
    libjpeg then computes only the coarse frequencies, several times faster than decoding all of them.
    """
    with _opened(file) as image:
        if near is not None and image.format == "JPEG" and min(image.size) >= 4 * near:
            image.draft(None, (2 * near, 2 * near))
        image.load()
        return upright(image)


def header(file: str | os.PathLike[str] | IO[bytes] | bytes) -> Header:
    """Read the size and mode without decoding; raises Refused."""
    with _opened(file) as image:
        width, height = image.size
        # A PNG reads its pixels to look for EXIF behind them, and a TIFF's size is upright already.
        if image.format in ("JPEG", "MPO", "WEBP") or "exif" in image.info:
            try:
                turned = image.getexif().get(ORIENTATION, 1)
            except Exception:  # broken EXIF is no reason to lose a picture
                turned = 1
            if turned in (5, 6, 7, 8):
                width, height = height, width
        return Header(width, height, image.mode)


def upright(image: "Image.Image") -> "Image.Image":
    """Obey the EXIF orientation; an EXIF block that cannot be parsed is ignored."""
    from PIL import ImageOps

    try:
        if image.getexif().get(ORIENTATION, 1) == 1:
            return image
        return ImageOps.exif_transpose(image)
    except Exception:  # broken EXIF is no reason to lose a picture
        return image


def flatten(image: "Image.Image", channels: int | None) -> "Image.Image":
    """Bring any mode to L (1 channel) or RGB (3), transparency composited on white; raises Refused.

    With `channels` None it is L where the image is grey in every pixel, whatever its mode says.
    """
    if channels is None:
        if image.mode in GREY:
            return flatten(image, 1)
        from PIL import ImageChops

        image = flatten(image, 3)
        red, green, blue = image.split()
        apart = (ImageChops.difference(red, other).getbbox() for other in (green, blue))
        return image if any(apart) else red
    mode = "L" if channels == 1 else "RGB"
    if image.mode == mode and "transparency" not in image.info:
        return image
    if image.mode in WIDE_GREY:
        image = _eight_bits(image)
    elif image.has_transparency_data:
        from PIL import Image

        image = image.convert("LA") if image.mode == "La" else image
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    if image.mode == "LAB":
        raise Refused("is in the LAB colour space, which is not read here")
    return image.convert(mode)


def square(image: "Image.Image", side: int, fit: Fit) -> "Image.Image":
    """Fit an L or RGB image to a square of `side` pixels.

    "crop" scales the short side to `side` and takes the centre; "pad" scales the long side to `side` and puts
    the image in the middle of black. An image that has the size already is not touched.
    """
    width, height = image.size
    if (width, height) == (side, side):
        return image
    if fit == "crop":
        short = min(width, height)
        left, top = (width - short) // 2, (height - short) // 2
        return _scaled(image, (side, side), (left, top, left + short, top + short))
    from PIL import Image

    scale = side / max(width, height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    canvas = Image.new(image.mode, (side, side))
    scaled = _scaled(image, size, (0, 0, width, height))
    canvas.paste(scaled, ((side - size[0]) // 2, (side - size[1]) // 2))
    return canvas


def _scaled(image: "Image.Image", size: tuple[int, int], box: tuple[int, int, int, int]) -> "Image.Image":
    if size == (box[2] - box[0], box[3] - box[1]):
        return image.crop(box)
    from PIL import Image

    # Pillow widens the filter as it scales down, so that nothing aliases; bilinear overshoots nowhere, and is
    # what the field trains on (torchvision's Resize).
    # From a reducing_gap of 3 the result cannot be told from that without one, says Pillow; it is faster.
    return image.resize(size, Image.Resampling.BILINEAR, box=box, reducing_gap=3.0)


def _eight_bits(image: "Image.Image") -> "Image.Image":
    from PIL import Image

    values = np.asarray(image)
    low, high = values.min(), values.max()
    top = 1 if image.mode == "F" else 65535
    if not (low >= 0 and high <= top):  # so that NaN is refused too
        raise Refused(f"has values from {low:g} to {high:g}, outside 0 to {top}")
    return Image.fromarray(np.rint(values.astype(np.float64) * (255 / top)).astype(np.uint8))


@cache
def _readers() -> list[tuple[Callable[..., Any], Callable[[bytes], Any] | None]]:
    """Pillow's readers of the six formats, and what knows their first bytes.

    Importing a plugin is what registers its format, and keeps Pillow from importing its other forty.
    """
    from PIL import Image

    for name in ("Bmp", "Gif", "Jpeg", "Png", "Tiff", "WebP"):
        import_module(f"PIL.{name}ImagePlugin")
    return [Image.OPEN[name] for name in FORMATS]


class _opened:
    """A context in which an image file is open, and any failure becomes Refused."""

    def __init__(self, file: str | os.PathLike[str] | IO[bytes] | bytes) -> None:
        self.file = file
        self.mine: IO[bytes] | None = None

    def __enter__(self) -> "ImageFile.ImageFile":
        try:
            return self._identify()
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self.mine is not None:
            self.mine.close()
        if isinstance(error, Exception) and not isinstance(error, Refused):
            raise Refused(_reason(error)) from error

    def _identify(self) -> "ImageFile.ImageFile":
        """Do what Image.open does, but without its own check of the size.

        That check warns from 89 megapixels, and a warning cannot be caught safely in a thread. It also stops
        at the first format whose signature fits, which is all that is wanted here.
        """
        from PIL import UnidentifiedImageError

        file = self.file
        if isinstance(file, bytes):
            file = self.mine = io.BytesIO(file)
        elif isinstance(file, str | os.PathLike):
            file = self.mine = open(file, "rb")  # noqa: SIM115 - closed in __exit__
        file.seek(0)
        prefix = file.read(16)
        if not prefix:
            raise Refused("is empty")
        for factory, accept in _readers():
            if accept is not None and accept(prefix) is not True:
                continue
            file.seek(0)
            image = factory(file, "")
            width, height = image.size
            if width * height > MEGAPIXELS * 1_000_000:
                raise Refused(f"is {width}x{height}, more than {MEGAPIXELS} megapixels")
            return image
        raise UnidentifiedImageError


def _reason(error: Exception) -> str:
    from PIL import UnidentifiedImageError

    if isinstance(error, OSError) and error.errno is not None and error.strerror:
        return f"cannot be opened: {error.strerror}"
    if isinstance(error, UnidentifiedImageError | SyntaxError):
        return "is not an image in a format that is read here (" + ", ".join(FORMATS) + ")"
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return "is truncated" if "truncated" in text.lower() else f"cannot be decoded: {text}"
