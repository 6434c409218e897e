"""Photograph files: taken apart into numbers in [0, 1], and put together again in the same format and depth."""

import logging
import os
import struct
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from copyfold.data.reading import tiff
from copyfold.data.reading.decoding import Refused, opened
from copyfold.data.reading.depth import Numbers, numbers
from copyfold.errors import CopyfoldError, DataError
from copyfold.files import binary
from copyfold.types import Progress

if TYPE_CHECKING:
    from PIL import Image

log = logging.getLogger("copyfold")

GPS = 0x8825  # the EXIF tag under which cameras write where a photograph was taken
ROUNDING = 1e-3  # floats outside [0, 1] by no more are clipped
LARGE = 2**32 - 2**27  # bytes of pixels above which a TIFF needs offsets of 64 bits
ROWS = 256  # of a photograph that are computed with or encoded at once: copies of all of it would be large

APART = "this model is greyscale: it sees a colour photograph as luminance and two differences of colours"
PALETTE = "palettes come back as full colour"
COLOURS = "GIFs come back with 256 colours chosen again"
INK = "CMYK goes through RGB and comes back without black ink (K = 0)"
FRAMES = "of an animation only the first frame comes back"
NARROW = "2 or 4 bits come back as 8"
FOURTH = "a fourth channel of RGB that is not transparency is left out"
EXTRA = "thumbnails and masks in TIFFs are left out"


@dataclass(frozen=True)
class Photograph:
    """An image file, or a page of one, taken apart."""

    values: np.ndarray
    """What a model works on: height x width x channels, float32 in [0, 1]."""
    found: Numbers
    """The numbers of the file, and what it says beside them."""
    low: float
    """The number that is 0."""
    high: float
    """The number that is 1."""
    beside: bool = False
    """Whether the last channel of the file is transparency, and not one of the values."""

    @classmethod
    def read(
        cls,
        file: Path | tiff.Page,
        name: str,
        range: tuple[float, float] | None = None,
        channels: int | None = None,
    ) -> "Photograph":
        """Decode a file or a page, which messages call `name`.

        8 bits are 0 to 255, or the `range` where it is one of 8 bits: not below 0, up to more than 1 and at most
        255. Other numbers have the `range` where one is given, else 0 to 65535, or floats 0 to 1; where they leave
        it, the range that a TIFF itself says (SMinSampleValue, SMaxSampleValue). Transparency is among the values
        only where there are as many `channels` with it as the model has. DataError where it cannot be read, where
        numbers have no place in [0, 1], and where some are NaN or infinite.
        """
        try:
            found = numbers(file)
            beside = found.alpha and found.array.shape[2] != channels
            array = found.array[..., : found.array.shape[2] - beside]
            low, high = _span(array, found.range, range)
        except Refused as error:
            raise DataError(f"{name} {error}") from None
        values = np.empty(array.shape, np.float32)
        for rows in _strips(array):
            values[rows] = ((array[rows].astype(np.float64) - low) / (high - low)).clip(0, 1)
        return cls(values, found, low, high, beside)

    def resized(self, height: int, width: int) -> "Photograph":
        """The same in another size, every pixel that of the nearest place."""
        before = self.values.shape[:2]
        if before == (height, width):
            return self
        rows, columns = (np.arange(now) * side // now for now, side in zip((height, width), before, strict=True))
        array = self.found.array[rows][:, columns]
        return replace(self, values=self.values[rows][:, columns], found=replace(self.found, array=array))

    def assemble(self, values: np.ndarray) -> np.ndarray:
        """Values in [0, 1], of the shape of `values`, as numbers of the file's kind, with its transparency.

        1 bit is black below 1/2. Numbers outside the range come back as they were.
        """
        before = self.found.array
        if before.dtype == bool:
            return values >= 1 / 2
        made, count = before.copy(), before.shape[2] - self.beside
        for rows in _strips(made):
            colours = before[rows, :, :count]
            scaled = values[rows].astype(np.float64) * (self.high - self.low) + self.low
            outside = (colours < self.low) | (colours > self.high)
            scaled[outside] = colours[outside]
            made[rows, :, :count] = np.rint(scaled) if before.dtype.kind in "iu" else scaled
        return made


def _strips(array: np.ndarray) -> Iterator[slice]:
    """The rows of an image, some at a time."""
    return (slice(start, start + ROWS) for start in range(0, len(array), ROWS))


def parts(path: Path) -> dict[str, Path | tiff.Page]:
    """The images of a file by name: the pages of a TIFF of several as stack.tif#0003, else the file itself."""
    offsets = tiff.pages(path)
    if len(offsets) < 2:
        return {str(path): path}
    return {tiff.named(str(path), k): tiff.Page(str(path), offset) for k, offset in enumerate(offsets)}


def save(path: Path, source: Path, images: Iterable[tuple[Photograph, np.ndarray]], count: int) -> None:
    """Write images, the numbers of each beside the photograph that they were, in the format of their source.

    `count` images make the pages of a TIFF, of any other format there is one. Colour profile and resolution are
    kept, and EXIF data without the location in JPEG, PNG and WebP.
    """
    first, array = next(iterator := iter(images))
    settings = _settings(first.found, source)
    if first.found.format == "TIFF":
        _save_tiff(path, iterator, first, array, count)
    elif array.dtype == np.uint16:
        with path.open("wb") as file:
            _write_png(file, array, settings)
    else:
        from PIL import Image

        image = Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)
        _encode(image.convert("CMYK") if first.found.kind == "CMYK" else image, path, source, settings)


def _encode(image: "Image.Image", path: Path, source: Path, settings: dict[str, Any]) -> None:
    """Have Pillow write an image; without its EXIF data where that cannot be written again."""
    try:
        image.save(path, **settings)
    except OSError:
        raise
    except Exception as error:  # EXIF data that has become too long for a JPEG, among others
        if settings.pop("exif", None) is None:
            raise CopyfoldError(f"{source} cannot be encoded again as {settings['format']}: {error}") from error
        log.info("the EXIF data of %s is left out, it cannot be written again: %s", source, error)
        _encode(image, path, source, settings)


def differences(files: Sequence[Path], progress: Progress | None = None, channels: int = 3) -> list[str]:
    """Sentences on what of these files will not come back as it was, as far as their headers say.

    `channels` are those of the model that denoises them.
    """
    found: Counter[str] = Counter()
    for done, path in enumerate(files, 1):
        found.update(_differences(path, channels))
        if progress is not None:
            progress("looking at images", done, len(files), {})
    return [f"{said} ({count:,} of {len(files):,} images)" for said, count in found.items()]


def _differences(path: Path, channels: int) -> Iterator[str]:
    try:
        with opened(path) as image:
            raw = image.tile[0].args if image.tile else ""
            raw = raw if isinstance(raw, str) else str(raw[0]) if raw else ""
            if channels == 1 and (len(image.getbands()) > 2 or image.mode in ("P", "PA")):
                yield APART
            if image.format == "GIF":
                yield COLOURS
            elif image.mode in ("P", "PA"):
                yield PALETTE
            if image.mode == "CMYK":
                yield INK
            if raw.startswith(("L;2", "L;4")):
                yield NARROW
            if image.format != "TIFF" and getattr(image, "is_animated", False):
                yield FRAMES
            if image.format == "TIFF" and tiff.others(path):
                yield EXTRA
            if raw.startswith("RGBX") and getattr(image, "tag_v2", {}).get(262) == 2:
                yield FOURTH
    except Refused:  # it will be named when it is read
        return


def _span(
    array: np.ndarray, own: tuple[float, float] | None, range: tuple[float, float] | None
) -> tuple[float, float]:
    """The numbers that are 0 and 1, where a file says its `own`; raises Refused where there are others."""
    if array.dtype.itemsize == 1 and array.dtype.kind in "bu":
        if range is not None and array.dtype.kind == "u" and range[0] >= 0 and 1 < range[1] <= 255:
            return range
        return 0.0, 255.0 if array.dtype.kind == "u" else 1.0
    real = array.dtype.kind == "f"
    if real and not np.isfinite(array).all():
        raise Refused("has values that are NaN or infinite")
    if range is not None:
        return range
    low, high, top = float(array.min()), float(array.max()), 1.0 if real else 65535.0
    slack = ROUNDING if real else 0
    if low >= -slack and high <= top + slack:
        return 0.0, top
    if own is not None:
        return own
    raise Refused(
        f"has values from {low:.9g} to {high:.9g}, outside 0 to {top:g}: use a model trained with --range, or "
        "save it with 8 or 16 bits"
    )


# ---------------------------------------------------------------- what stands beside the pixels


def _settings(found: Numbers, source: Path) -> dict[str, Any]:
    """How to save it again: its format, colour profile, resolution and EXIF without the location."""
    format = "JPEG" if found.format == "MPO" else found.format
    settings: dict[str, Any] = {"format": format, **_beside(found)}
    if format in ("JPEG", "WEBP"):
        settings["quality"] = 95
    if format == "WEBP" and _lossless(source):
        settings |= {"lossless": True, "exact": True}
    if format in ("JPEG", "PNG", "WEBP") and found.image is not None and (exif := _exif(found.image)):
        settings["exif"] = exif
    return settings


def _beside(found: Numbers) -> dict[str, Any]:
    """Colour profile and resolution, where the file has them."""
    info = found.info if found.image is None else found.image.info
    return {name: info[name] for name in ("icc_profile", "dpi") if info.get(name)}


def _exif(image: "Image.Image") -> bytes:
    """The EXIF data without the location; b"" where there is none, or where it cannot be written again."""
    if "exif" not in image.info:
        return b""
    try:
        exif = image.getexif()
        exif.pop(GPS, None)
        return exif.tobytes()
    except Exception as error:  # odd EXIF is no reason to lose a picture
        log.info("the EXIF data of an image is left out, it cannot be written again: %s", error)
        return b""


def _lossless(path: Path) -> bool:
    """Whether a WebP file, or its first frame, is compressed without loss."""
    with binary(path) as file:
        file.seek(12)
        while len(head := file.read(8)) == 8:
            name, length = head[:4], int.from_bytes(head[4:], "little")
            if name in (b"VP8L", b"VP8 "):
                return name == b"VP8L"
            file.seek(16 if name == b"ANMF" else length + length % 2, os.SEEK_CUR)  # a frame holds pieces itself
    return False


# ---------------------------------------------------------------- files that Pillow does not write


def _save_tiff(
    path: Path,
    rest: Iterator[tuple[Photograph, np.ndarray]],
    first: Photograph,
    array: np.ndarray,
    count: int,
) -> None:
    """Pages of any depth and number of channels; compressed, by deflate, where they were."""
    from tifffile import TiffWriter

    with TiffWriter(path, bigtiff=array.nbytes * count > LARGE) as file:
        _write_page(file, first.found, array)
        del first, array
        for photo, page in rest:
            _write_page(file, photo.found, page)


def _write_page(file: Any, found: Numbers, array: np.ndarray) -> None:
    beside = _beside(found)
    packed = (found.info if found.image is None else found.image.info).get("compression", "raw") != "raw"
    channels = array.shape[2] - found.alpha
    space, usual = ("rgb", 3) if found.colour else ("miniswhite" if found.inverted else "minisblack", 1)
    if found.kind == "CMYK":
        top = np.iinfo(array.dtype).max
        array = np.concatenate([top - array, np.zeros_like(array[..., :1])], axis=2)
        space, usual, channels = "separated", 4, 4
    extra = ["unspecified"] * (channels - usual) + ["unassalpha"] * found.alpha
    across, down = beside.get("dpi", (1, 1))
    file.write(
        array[..., 0] if array.shape[2] == 1 else array,
        photometric=space,
        planarconfig=None if array.shape[2] == 1 else "contig",
        extrasamples=extra or None,
        compression="zlib" if packed else None,
        iccprofile=beside.get("icc_profile"),
        resolution=(float(across), float(down)),
        resolutionunit="INCH" if "dpi" in beside else "NONE",
        metadata=None,  # tifffile's own description
        software=False,
    )


def _write_png(file: IO[bytes], array: np.ndarray, settings: dict[str, Any]) -> None:
    """Numbers of 16 bits, H·W·C of 1 to 4 channels, as a PNG: Pillow writes only grey ones."""
    height, width, channels = array.shape
    colours = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    file.write(b"\x89PNG\r\n\x1a\n")
    _write_chunk(file, b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colours, 0, 0, 0))
    if profile := settings.get("icc_profile"):
        _write_chunk(file, b"iCCP", b"ICC Profile\0\0" + zlib.compress(profile))
    if dpi := settings.get("dpi"):
        _write_chunk(file, b"pHYs", struct.pack(">IIB", *(round(float(one) / 0.0254) for one in dpi), 1))
    if exif := settings.get("exif"):
        _write_chunk(file, b"eXIf", exif.removeprefix(b"Exif\0\0"))
    deflate = zlib.compressobj()
    above = np.zeros((1, width * channels * 2), np.uint8)
    for start in range(0, height, ROWS):
        rows = np.ascontiguousarray(array[start : start + ROWS].astype(">u2")).view(np.uint8)
        rows = rows.reshape(-1, above.shape[1])
        _write_chunk(file, b"IDAT", deflate.compress(_filtered(rows, above, 2 * channels)))
        above = rows[-1:]
    _write_chunk(file, b"IDAT", deflate.flush())
    _write_chunk(file, b"IEND", b"")


def _filtered(rows: np.ndarray, above: np.ndarray, step: int) -> bytes:
    """Rows of bytes less what Paeth's predictor of PNG says of each, with the number of that filter before."""
    up = np.concatenate([above, rows[:-1]]).astype(np.int16)
    left, corner = (np.pad(a[:, :-step], ((0, 0), (step, 0))).astype(np.int16) for a in (rows, up))
    from_left, from_up, from_corner = np.abs(up - corner), np.abs(left - corner), np.abs(left + up - 2 * corner)
    guess = np.where(
        (from_left <= from_up) & (from_left <= from_corner), left, np.where(from_up <= from_corner, up, corner)
    )
    differences = (rows - guess).astype(np.uint8)
    return np.pad(differences, ((0, 0), (1, 0)), constant_values=4).tobytes()


def _write_chunk(file: IO[bytes], name: bytes, data: bytes) -> None:
    file.write(struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)))
