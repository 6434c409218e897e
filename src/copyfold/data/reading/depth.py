"""Images as numbers at the depth of their files: 16-bit colour, floats and many channels, where Pillow has 8 bits.

Pillow opens 16-bit colour as 8 bits, the high byte of every number. The low bytes come from the same file, read
again as if its bytes were in the other order. TIFF files that Pillow does not open (floats in colour, 5 channels,
planes of 16 bits) are read by tifffile, where they are not compressed or by deflate; other compressions of those
kinds are refused.
"""

import io
import logging
import os
import sys
import zlib
from dataclasses import dataclass, field
from math import prod
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from copyfold.data.reading.decoding import (
    ORIENTATION,
    WIDE_GREY,
    Header,
    Refused,
    load,
    opened,
    picture,
    upright,
)
from copyfold.data.reading.tiff import Page
from copyfold.data.reading.tiff import opened as page_opened
from copyfold.errors import MEGAPIXELS
from copyfold.files import binary

if TYPE_CHECKING:
    from PIL import Image, ImageFile
    from tifffile import TiffPage

Readable = str | os.PathLike[str] | IO[bytes] | bytes | Page

VALUES = 4 * MEGAPIXELS * 1_000_000
"""Numbers in one image at most: 100 megapixels of colour with transparency."""

NONE, DEFLATE = 1, (8, 32946)  # the compressions of TIFF that are read without Pillow
SPACE, WHITE_IS_ZERO, RGB = 262, 0, 2  # the tag of a TIFF's colour space, and two of these
PREMULTIPLIED, TRANSPARENCY = 1, 2  # what an extra channel of a TIFF is
BITS, PLANAR, FORMAT, SIGNED = 258, 284, 339, 2  # tags of TIFF, and a kind of numbers
RANGES = ((340, 341), (280, 281))  # the tags in which a TIFF says its smallest and largest value
SWAPPED = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
TURNS: dict[int, Any] = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, 1),
}
"""What the EXIF orientations ask to be done to stored pixels H·W·C."""

logging.getLogger("tifffile").addHandler(logging.NullHandler())  # what is wrong with a file is said by its error


@dataclass(frozen=True)
class Numbers:
    """An image upright as numbers H·W·C: bool, uint8, uint16, or any integers or floats of a TIFF."""

    array: np.ndarray
    alpha: bool = False
    """Whether the last channel is transparency: 0 is clear."""
    kind: str = ""
    """Pillow's name of the file's mode, as P for a palette; "" of TIFF files that Pillow does not open."""
    format: str = ""
    """Pillow's name of the file's format."""
    colour: bool = False
    """Whether the first three channels are red, green and blue."""
    range: tuple[float, float] | None = None
    """The smallest and the largest value, where a TIFF says them."""
    image: "Image.Image | None" = field(default=None, repr=False)
    """Pillow's image of 8 bits, with what the file says beside its pixels."""
    info: dict[str, Any] = field(default_factory=dict[str, Any])
    """The same of TIFF files that Pillow does not open: icc_profile, dpi, compression."""
    inverted: bool = False
    """Whether 0 is white in a TIFF; the numbers are as they are stored."""

    def opaque(self) -> np.ndarray:
        """The numbers without transparency, composited on white as everywhere: H·W·C of the colours alone."""
        if not self.alpha:
            return self.array
        top = 1 if self.array.dtype.kind == "f" else np.iinfo(self.array.dtype).max
        colours, alpha = self.array[..., :-1].astype(np.float64), self.array[..., -1:] / top
        mixed = colours * alpha + top * (1 - alpha)
        return (mixed if self.array.dtype.kind == "f" else np.rint(mixed)).astype(self.array.dtype)


def numbers(file: Readable) -> Numbers:
    """Decode a file of any of the six formats completely, upright, at its own depth; raises Refused.

    uint8 of files of 8 bits, palettes and 2 or 4 bits; bool of 1 bit; uint16 of 16-bit PNG and TIFF, in grey and
    colour, with transparency or not; int16, int32, uint32, float16, float32 and float64 of TIFF, and any number of
    channels, in one plane or in several. CMYK and YCbCr become RGB, palettes RGB or RGB with transparency. Safe to
    call from many threads.
    """
    try:
        with opened(file) as image:
            stored = wide(image)
            kind, format = image.mode, image.format or ""
            tags = getattr(image, "tag_v2", {})
            bits, form, span = _first(tags.get(BITS)), _first(tags.get(FORMAT)), _range(tags)
    except Refused as refused:
        if refused.tiff:
            return _tiff(file)
        raise
    # Pillow reads planes by rules of its own, and divides by the transparency: high and low bytes would not fit.
    if stored and (tags.get(PLANAR) == 2 or stored.startswith("RGBa")):
        return _tiff(file)
    if stored:
        return _sixteen(file, kind, format, stored)
    with opened(file) as image:
        load(image)
        found = upright(image)
        array, alpha = _pixels(found)
    if kind == "I":
        array = array.astype(np.int16) if (bits, form) == (16, SIGNED) else array
        array = array.view(np.uint32) if bits == 32 and form != SIGNED else array
    elif kind == "F" and bits in (16, 64):
        array = array.astype(f"f{bits // 8}")
    light = kind in WIDE_GREY and tags.get(SPACE) == WHITE_IS_ZERO  # Pillow turns 8 bits over, and not these
    return Numbers(array, alpha, kind, format, array.shape[2] - alpha == 3, span, found, inverted=light)


def decoded(file: Readable, near: int | None, deep: bool) -> "Image.Image | np.ndarray":
    """An image to be read at 8 bits as a picture, and as its numbers if `deep`, or if it is no picture for Pillow.

    Transparency is composited on white in the numbers. `near` is as in `decoding.decode`; raises Refused.
    """
    if not deep:
        try:
            return picture(file, near)
        except Refused as refused:
            if not refused.tiff:
                raise
    return numbers(file).opaque()


def tiff_header(file: Readable) -> Header:
    """Size and kind of a TIFF that Pillow does not open; raises Refused."""
    with _directory(file) as page:
        height, width, channels = _shape(page)
        turned = page.tags.valueof(ORIENTATION, 1) in (5, 6, 7, 8)
        name = f"{channels} x {page.dtype}"
        return Header(height, width, name) if turned else Header(width, height, name)


def wide(image: "ImageFile.ImageFile") -> str:
    """How the file stores colours of 16 bits, in Pillow's words, as RGB;16B; "" where it does not."""
    args = image.tile[0].args if image.tile else ""
    raw = args if isinstance(args, str) else args[0] if args else ""
    return raw if isinstance(raw, str) and ";16" in raw and image.mode not in WIDE_GREY else ""


def _sixteen(file: Readable, kind: str, format: str, raw: str) -> Numbers:
    """Colours of 16 bits, or grey of 16 bits with transparency."""
    high = _loaded(file, None)
    if raw.startswith("LA"):  # Pillow has no such mode: the four bytes of a pixel, as if they were four channels
        pairs = np.asarray(_loaded(file, "RGBA"))
        array = pairs.view(">u2").astype(np.uint16).reshape(*pairs.shape[:2], 2)
        return Numbers(array, True, kind, format, False, None, high)
    low = _loaded(file, raw[:-1] + SWAPPED[raw[-1]])
    array = np.asarray(high).astype(np.uint16)
    array <<= 8
    array |= np.asarray(low)
    if kind == "CMYK":
        ink, black = 65535 - array[..., :3].astype(np.uint32), 65535 - array[..., 3:].astype(np.uint32)
        return Numbers(((ink * black + 32767) // 65535).astype(np.uint16), False, kind, format, True, None, high)
    clear = high.info.get("transparency")
    if kind == "RGB" and isinstance(clear, tuple):  # one colour is clear
        seen = (array != np.array(clear, np.uint16)).any(axis=2, keepdims=True)
        return Numbers(
            np.concatenate([array, seen * np.uint16(65535)], axis=2), True, kind, format, True, None, high
        )
    return Numbers(array, kind == "RGBA", kind, format, True, None, high)


def _loaded(file: Readable, raw: str | None) -> "Image.Image":
    """The image upright, its bytes read as `raw` says in the place of its own."""
    with opened(file) as image:
        if raw is not None:
            image.tile = [
                tile._replace(args=raw if not isinstance(tile.args, tuple) else (raw, *tile.args[1:]))
                for tile in image.tile
            ]
        load(image)
        return upright(image)


def _pixels(image: "Image.Image") -> tuple[np.ndarray, bool]:
    """The numbers of an image as Pillow has it, and whether the last channel is transparency."""
    if image.mode == "LAB":
        raise Refused("is in the LAB colour space, which is not read here")
    if image.mode in WIDE_GREY:
        array = np.asarray(image)
        array = array.astype(array.dtype.newbyteorder("="))[..., None]
        clear = image.info.get("transparency")
        if array.dtype == np.uint16 and isinstance(clear, int):
            return np.concatenate([array, (array != clear) * np.uint16(65535)], axis=2), True
        return array, False
    grey = image.mode in ("1", "L", "LA", "La")
    alpha = image.has_transparency_data
    if image.mode == "1" and not alpha:
        return np.asarray(image)[..., None], False
    mode = {(True, True): "LA", (True, False): "L", (False, True): "RGBA", (False, False): "RGB"}[grey, alpha]
    if image.mode == "La":
        image = image.convert("LA")
    elif grey and alpha and image.mode != "LA":  # Pillow has no way from grey with a clear value to LA
        image = image.convert("RGBA").convert("LA")
    array = np.asarray(image.convert(mode))
    return array.reshape(image.height, image.width, -1), alpha


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, tuple) and value else value


def _range(tags: Any) -> tuple[float, float] | None:
    """The smallest and largest value that the tags of a TIFF say for all channels."""
    for pair in RANGES:
        low, high = (tags.get(tag) for tag in pair)
        if low is None or high is None:
            continue
        lows, highs = ((value if isinstance(value, tuple) else (value,)) for value in (low, high))
        if len({*lows}) == len({*highs}) == 1 and lows[0] < highs[0]:
            return float(lows[0]), float(highs[0])
    return None


# ---------------------------------------------------------------- TIFF files that Pillow does not open


class _directory:
    """A context in which tifffile has the first directory of a file open; any failure becomes Refused."""

    def __init__(self, file: Readable) -> None:
        self.file = file
        self.mine: Any = None

    def __enter__(self) -> "TiffPage":
        file = self.file
        if isinstance(file, Page):
            self.mine = page_opened(file)
        elif isinstance(file, bytes):
            self.mine = io.BytesIO(file)
        elif isinstance(file, str | os.PathLike):
            self.mine = binary(file)
        try:
            from tifffile import TiffFile

            handle: Any = self.mine or file
            handle.seek(0)
            page: Any = TiffFile(handle).pages.first
            self._check(page)
            return page
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self.mine is not None:
            self.mine.close()
        if isinstance(error, Exception) and not isinstance(error, Refused):
            text = next(iter(str(error).splitlines()), "") or type(error).__name__
            raise Refused(f"is a TIFF that cannot be decoded: {text}") from error

    def _check(self, page: "TiffPage") -> None:
        """Refuse what is too large or of a kind that is not read, before anything is decoded."""
        height, width, channels = _shape(page)
        if width * height > MEGAPIXELS * 1_000_000:
            raise Refused(f"is {width}x{height}, more than {MEGAPIXELS} megapixels")
        if width * height * channels > VALUES:
            raise Refused(f"is {width}x{height} of {channels} channels, more than {VALUES:,} numbers")
        if not width * height * channels or prod(page.chunked) != len(page.dataoffsets):
            raise Refused("is a TIFF of which pieces are missing")  # tifffile would make them up, one by one
        what = f"is a TIFF of {channels} channels of {page.dtype}"
        if page.dtype is None or page.dtype.kind not in "buif" or page.dtype.itemsize > 8:
            raise Refused(f"{what}, which is not read here")
        if page.compression not in (NONE, *DEFLATE):
            name = getattr(page.compression, "name", page.compression)
            raise Refused(f"{what}, compressed by {name}: save it uncompressed or by deflate")


def _shape(page: "TiffPage") -> tuple[int, int, int]:
    """Height, width and channels of a directory, as they are stored."""
    if page.imagedepth > 1:
        raise Refused(f"is a TIFF of {page.imagedepth} slices in one directory, which is not read here")
    return page.imagelength, page.imagewidth, page.samplesperpixel


def _tiff(file: Readable) -> Numbers:
    with _directory(file) as page:
        if page.compression in DEFLATE:
            _weigh(page)
        height, width, channels = _shape(page)
        array = page.asarray(squeeze=False, maxworkers=1)
        if page.planarconfig == 2:
            array = np.moveaxis(array, 0, -1)
        if array.size != height * width * channels:
            raise Refused("is truncated")
        array = array.reshape(height, width, channels)
        array = array.astype(array.dtype.newbyteorder("="), copy=False)
        extra = tuple(int(value) for value in page.extrasamples)
        alpha = channels > 1 and extra[-1:] in ((PREMULTIPLIED,), (TRANSPARENCY,))
        if alpha and extra[-1] == PREMULTIPLIED:
            array = _divided(array)
        colour = int(page.photometric) == RGB and channels - alpha == 3
        turn = TURNS.get(page.tags.valueof(ORIENTATION, 1))
        array = np.ascontiguousarray(turn(array) if turn else array)
        tags = {tag.code: tag.value for tag in page.tags if tag.code in {t for pair in RANGES for t in pair}}
        light = int(page.photometric) == WHITE_IS_ZERO
        return Numbers(array, alpha, "", "TIFF", colour, _range(tags), None, _info(page), light)


def _weigh(page: "TiffPage") -> None:
    """Refuse a directory of which a piece decompresses to more than the piece of the image that it is.

    tifffile would decompress all of it: a megabyte can be a gigabyte of zeros.
    """
    assert page.dtype is not None
    most = min(prod(page.chunks), prod(page.shaped)) * page.dtype.itemsize
    most = max(most, prod(page.chunks) * page.dtype.itemsize if page.is_tiled else 0)  # a tile may be the larger
    if most > VALUES * 8:
        raise Refused(f"has pieces of {most:,} bytes")
    handle = page.parent.filehandle
    for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False):
        handle.seek(offset)
        inflate = zlib.decompressobj()
        inflate.decompress(handle.read(count), most + 1)
        if inflate.unconsumed_tail:
            raise Refused(f"holds more than the {most:,} bytes that a piece of it has")


def _divided(array: np.ndarray) -> np.ndarray:
    """Colours that were multiplied by their transparency, divided by it again."""
    top = 1 if array.dtype.kind == "f" else np.iinfo(array.dtype).max
    colours, alpha = array[..., :-1].astype(np.float64), array[..., -1:].astype(np.float64)
    plain = np.minimum(colours * (top / np.maximum(alpha, top / 2**32)), top)
    return np.concatenate([plain.astype(array.dtype), array[..., -1:]], axis=2)


def _info(page: "TiffPage") -> dict[str, Any]:
    """The colour profile, the resolution in dots per inch, and whether it is compressed, in Pillow's words."""
    info: dict[str, Any] = {"compression": "raw" if page.compression == NONE else "tiff_adobe_deflate"}
    if profile := page.tags.valueof(34675):
        info["icc_profile"] = bytes(profile)
    across, down, unit = (page.tags.valueof(tag) for tag in (282, 283, 296))
    if across and down and unit in (2, 3) and across[1] and down[1]:
        scale = 1 if unit == 2 else 2.54
        info["dpi"] = across[0] / across[1] * scale, down[0] / down[1] * scale
    return info
