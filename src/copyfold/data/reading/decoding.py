"""Decoding untrusted image files, and the rules for converting any image to pixels.

The rules: EXIF orientation is obeyed, transparency is composited on white, palettes and CMYK become RGB,
16-bit values are divided by 65535 (Pillow's own conversion clips them to white), and of an animation the
first frame is taken. A `tiff.Page` is one page of a TIFF file. `depth.numbers` is the same without the loss of
depth.
"""

import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from copyfold.data.reading import tiff
from copyfold.data.reading.sizes import Fit, Sides, box, inside
from copyfold.errors import MEGAPIXELS
from copyfold.files import binary

if TYPE_CHECKING:
    from PIL import Image, ImageFile

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
ANIMATED = ("PNG", "WEBP", "GIF")
WIDE_GREY = frozenset({"I", "F", "I;16", "I;16L", "I;16B", "I;16N"})
GREY = WIDE_GREY | {"1", "L", "LA", "La"}
ORIENTATION = 0x0112
SCAN, SCANS = b"\xff\xda", 100
"""The marker of a scan of a JPEG, and how many a progressive one may have: usual are about ten."""

Readable = str | os.PathLike[str] | IO[bytes] | bytes | tiff.Page
"""What can be decoded: a file, the bytes of one, or a page of a TIFF file."""


class Refused(Exception):
    """An image that cannot be read; the message is the reason, to stand behind a name."""

    tiff = False
    """Whether it is a TIFF of a kind that Pillow does not open, and `depth` may."""


@dataclass(frozen=True)
class Header:
    """What is known of an image before it is decoded.

    Width and height in pixels, as it stands upright, Pillow's name of its mode, and whether it has more frames
    than the first, which is taken.
    """

    width: int
    height: int
    mode: str
    animated: bool = False
    deep: bool = False
    """Whether it has colours of 16 bits, of which a picture has the upper 8."""


def decode(file: Readable, near: int | None = None) -> "Image.Image":
    """Decode a file, or the bytes of one, completely and upright; raises Refused.

    With `near`, a side in pixels, a JPEG may come smaller by 2, 4 or 8, its sides still at least 2 * near:
    libjpeg then computes only the coarse frequencies, several times faster than decoding all of them.
    """
    try:
        return picture(file, near)
    except Refused as refused:
        if refused.tiff:
            return _from_numbers(file)
        raise


def picture(file: Readable, near: int | None = None) -> "Image.Image":
    """The same of what Pillow opens alone; Refused says of TIFF files of other kinds that they are some."""
    with opened(file) as image:
        if near is not None and image.format == "JPEG" and min(image.size) >= 4 * near:
            image.draft(None, (2 * near, 2 * near))
        load(image)
        return upright(image)


def load(image: "ImageFile.ImageFile") -> None:
    """Decode an opened image; Refused where it is a progressive JPEG of more than `SCANS` scans.

    A scan of a few bytes goes through the whole image once more.
    """
    if image.format in ("JPEG", "MPO") and "progressive" in image.info and image.fp is not None:
        place = image.fp.tell()
        image.fp.seek(0)
        scans = image.fp.read().count(SCAN)
        image.fp.seek(place)
        if scans > SCANS:
            raise Refused(f"is a JPEG of {scans:,} scans, more than {SCANS}")
    image.load()


def header(file: Readable) -> Header:
    """Read the size and mode without decoding; raises Refused."""
    try:
        return _header(file)
    except Refused as refused:
        if refused.tiff:
            from copyfold.data.reading.depth import tiff_header

            return tiff_header(file)
        raise


def _header(file: Readable) -> Header:
    from copyfold.data.reading.depth import wide

    with opened(file) as image:
        width, height = image.size
        # A PNG reads its pixels to look for EXIF behind them, and a TIFF's size is upright already.
        if image.format in ("JPEG", "MPO", "WEBP") or "exif" in image.info:
            try:
                turned = image.getexif().get(ORIENTATION, 1)
            except Exception:  # broken EXIF is no reason to lose a picture
                turned = 1
            if turned in (5, 6, 7, 8):
                width, height = height, width
        animated = image.format in ANIMATED and getattr(image, "is_animated", False)
        return Header(width, height, image.mode, animated, bool(wide(image)))


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


def fitted(image: "Image.Image", size: Sides, fit: Fit) -> "Image.Image":
    """Bring an L or RGB image to a height and width in pixels.

    "crop" scales it to cover them and takes the centre; "pad" scales it to fit into them and puts it in the middle
    of black; "stretch" scales both sides apart. An image that has the size already is not touched.
    """
    width, height = image.size
    if (height, width) == size:
        return image
    if fit == "stretch":
        return _scaled(image, size, (0, 0, width, height))
    if fit == "crop":
        high, wide = box((height, width), size)
        left, top = (width - wide) // 2, (height - high) // 2
        return _scaled(image, size, (left, top, left + wide, top + high))
    from PIL import Image

    high, wide = inside((height, width), size)
    canvas = Image.new(image.mode, (size[1], size[0]))
    canvas.paste(
        _scaled(image, (high, wide), (0, 0, width, height)), ((size[1] - wide) // 2, (size[0] - high) // 2)
    )
    return canvas


def _scaled(image: "Image.Image", size: Sides, box: tuple[float, float, float, float]) -> "Image.Image":
    """The part of an image in a box of left, top, right, bottom, at a height and width."""
    if size == (box[3] - box[1], box[2] - box[0]):
        left, top, right, bottom = map(int, box)
        return image.crop((left, top, right, bottom))
    from PIL import Image

    # Pillow widens the filter as it scales down, so that nothing aliases; bilinear overshoots nowhere, and is
    # what the field trains on (torchvision's Resize).
    # From a reducing_gap of 3 the result cannot be told from that without one, says Pillow; it is faster.
    return image.resize((size[1], size[0]), Image.Resampling.BILINEAR, box=box, reducing_gap=3.0)


def _eight_bits(image: "Image.Image") -> "Image.Image":
    from PIL import Image

    return Image.fromarray(_bytes(np.asarray(image)))


def _bytes(values: np.ndarray) -> np.ndarray:
    """Values in 8 bits: floats from 0 to 1, bytes as they are, other integers from 0 to 65535."""
    if values.dtype == np.uint8:
        return values
    low, high = values.min(), values.max()
    top = 1 if values.dtype.kind == "f" else 65535
    if not (low >= 0 and high <= top):  # so that NaN is refused too
        raise Refused(f"has values from {low:g} to {high:g}, outside 0 to {top}")
    return np.rint(values.astype(np.float64) * (255 / top)).astype(np.uint8)


def _from_numbers(file: Readable) -> "Image.Image":
    """A TIFF that Pillow does not open, in 8 bits where it is grey or in colour."""
    from PIL import Image

    from copyfold.data.reading.depth import numbers

    found = numbers(file)
    array = _bytes(found.array.astype(np.uint8) * 255 if found.array.dtype == bool else found.array)
    if array.shape[2] - found.alpha not in (1, 3):
        raise Refused(f"has {array.shape[2]} channels, which are not grey or red, green and blue")
    return Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)


@cache
def _readers() -> list[tuple[Callable[..., Any], Callable[[bytes], Any] | None]]:
    """Pillow's readers of the six formats, and what knows their first bytes.

    Importing a plugin is what registers its format, and keeps Pillow from importing its other forty.
    """
    from PIL import Image

    for name in ("Bmp", "Gif", "Jpeg", "Png", "Tiff", "WebP"):
        import_module(f"PIL.{name}ImagePlugin")
    from copyfold.data.reading.png import Png

    return [(Png if name == "PNG" else Image.OPEN[name][0], Image.OPEN[name][1]) for name in FORMATS]


class opened:
    """A context in which an image file is open, and any failure becomes Refused."""

    def __init__(self, file: Readable) -> None:
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
            file = self.mine = binary(file)
        elif isinstance(file, tiff.Page):
            file = self.mine = tiff.opened(file)
        file.seek(0)
        prefix = file.read(16)
        if prefix.startswith(b"MM\0+"):  # which Pillow takes for a broken TIFF
            raise _odd("big-endian BigTIFF")
        if not prefix:
            raise Refused("is empty")
        for factory, accept in _readers():
            if accept is not None and accept(prefix) is not True:
                continue
            file.seek(0)
            try:
                image = factory(file, "")
            except (SyntaxError, KeyError) as error:
                if prefix[:2] in (b"II", b"MM"):
                    raise _odd(error) from error
                raise
            if image.format == "TIFF" and _apart(image):
                raise _odd("planes of 16 bits")
            width, height = image.size
            if width * height > MEGAPIXELS * 1_000_000:
                raise Refused(f"is {width}x{height}, more than {MEGAPIXELS} megapixels")
            return image
        raise UnidentifiedImageError


def _apart(image: Any) -> bool:
    """Whether the colours of a TIFF are planes of 16 bits, of which Pillow reads every other byte as a pixel."""
    planar = image.tag_v2.get(284) == 2 and len(image.getbands()) > 1
    return planar and not image.use_load_libtiff and max(image.tag_v2.get(258) or (8,)) > 8


def _odd(why: object) -> Refused:
    """The reason of a TIFF that Pillow does not open, or not rightly."""
    refused = Refused(f"is a TIFF of a kind that Pillow does not read: {why}")
    refused.tiff = True
    return refused


def _reason(error: Exception) -> str:
    from PIL import UnidentifiedImageError

    if isinstance(error, OSError) and error.errno is not None and error.strerror:
        return f"cannot be opened: {error.strerror}"
    if isinstance(error, UnidentifiedImageError | SyntaxError):
        return "is not an image in a format that is read here (" + ", ".join(FORMATS) + ")"
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return "is truncated" if "truncated" in text.lower() else f"cannot be decoded: {text}"
