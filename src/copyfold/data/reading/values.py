"""From the numbers of images to stored pixels: their range, their depth, and what is missing of them.

A stored pixel is uint8, or uint16 with bits=16: its value in [0, 1] is stored / 255, or stored / 65535. Of images
with missing pixels it is the value itself, float32, and NaN where it is missing.
"""

import math
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from copyfold.data.reading.decoding import WIDE_GREY, Refused, fitted, flatten
from copyfold.data.reading.sizes import Fit, Sides, cost, cost_said
from copyfold.errors import UsageError, is_number

if TYPE_CHECKING:
    from PIL import Image

Bits: TypeAlias = Literal[8, 16]
Range: TypeAlias = tuple[float, float]
Given: TypeAlias = "Image.Image | np.ndarray"
"""An image as a source gives it: coded pictures as Pillow's, or numbers H·W·C of any kind."""

ROUNDING = 1e-3
"""Floats outside [0, 1] by no more are clipped: above 1 half precision has steps of 2^-10, just below this, and a
level of 8 bits is four times as much."""

UNUSED = 1 / 4
"""Of the range, below which the brightest value is said: 14 bits in 16, the deepest of most cameras, are below."""

HOT = 1000
"""One value in so many of an image may be brighter than that: hot pixels of a sensor."""

GREY = np.array([0.299, 0.587, 0.114])
"""The luma of ITU-R BT.601, as Pillow has it."""

TOPS = {"u1": 255.0, "u2": 65535.0, "b1": 1.0, "f2": 1.0, "f4": 1.0, "f8": 1.0, "f16": 1.0}
"""The value that is 1, by the kind of number; other kinds need a range."""


class Outside(Refused):
    """An image with values that have no place in [0, 1] without a range."""


def number(value: float) -> str:
    """A number in as many digits as tell 1.0000001 from 1; a whole one as it is written in a range."""
    return f"{value:.0f}" if float(value).is_integer() and abs(value) < 1e15 else f"{value:.9g}"


def reaching(low: float, high: float) -> Range:
    """The range from the smallest value to the largest; that of a single value reaches to 0, or to 1."""
    return (low, high) if low < high else (min(low, 0), max(high, 0) or float(low == 0))


def option(low: float, high: float) -> str:
    """How the range of these values is given, in Python and on the command line."""
    low, high = reaching(low, high)
    return f"range=({number(low)}, {number(high)}) (--range {number(low)} {number(high)})"


def check(range: Range | None, bits: int) -> Range | None:
    """The range as two numbers; UsageError where it is none, or where there are no such bits."""
    if bits not in (8, 16):
        raise UsageError(f"bits={bits!r} is invalid: expected 8 or 16")
    if range is None:
        return None
    return ends(range)


def ends(range: Range) -> Range:
    """A range as two floats; UsageError where it is none."""
    found = tuple(range) if isinstance(range, list | tuple | np.ndarray) else ()
    if len(found) != 2 or not all(map(is_number, found)):
        raise UsageError(f"range={range!r} is invalid: expected (low, high), as in range=(0, 4095)")
    low, high = map(float, found)
    if not (np.isfinite([low, high]).all() and low < high):
        raise UsageError(f"range={range!r} is invalid: expected two numbers, the lower one first")
    return low, high


def kind(dtype: np.dtype) -> str:
    """The kind of a number and its bytes, in any byte order: "u2" for uint16."""
    return f"{dtype.kind}{dtype.itemsize}"


@dataclass
class Seen:
    """What is found in images as they are read, by several threads: the sentences that are said of it."""

    values: int = 0
    clipped: int = 0
    """Values outside the range that was given."""
    missing: int = 0
    low: float = np.inf
    """Of values of images that need a range: the smallest, and the largest."""
    high: float = -np.inf
    inner: Range = (np.inf, -np.inf)
    """Of values of other images, whose kind of number might have needed one."""
    stored: int = 0
    """The brightest of pixels that came in 8 bits, as they are stored."""
    brightest: dict[str, tuple[float, float, bool]] = field(default_factory=dict[str, tuple[float, float, bool]])
    """By the kind of number: the brightest, that without hot pixels, and whether no others are bright."""
    fittings: int = 0
    cost: int = 0
    """Of fitting these images to the size, see `sizes.cost`, in billionths: the same in any order."""
    fit: Fit = "crop"
    _lock: Lock = field(default_factory=Lock)

    def fitted(self, own: Sides, size: Sides, fit: Fit) -> None:
        """An image that is fitted to a size."""
        found = round(1e9 * cost(own, size, fit))
        with self._lock:
            self.fittings, self.cost, self.fit = self.fittings + 1, self.cost + found, fit

    def outside(self, low: float, high: float) -> None:
        """Values that have no place in [0, 1]."""
        with self._lock:
            self.low, self.high = min(self.low, low), max(self.high, high)

    def inside(self, low: float, high: float) -> None:
        """Values in [0, 1] of an image of floats."""
        with self._lock:
            self.inner = min(self.inner[0], low), max(self.inner[1], high)

    def count(self, values: int, clipped: int, missing: int) -> None:
        """Values of an image, and how many of them are clipped or missing."""
        with self._lock:
            self.values, self.clipped, self.missing = (
                self.values + values,
                self.clipped + clipped,
                self.missing + missing,
            )

    def look(self, numbers: np.ndarray) -> None:
        """How bright an image is, whose numbers have the usual range of their kind; none of them is NaN."""
        name = kind(numbers.dtype)
        top, before = TOPS.get(name), self.brightest.get(name, (0.0, 0.0, True))
        if top is None or not numbers.size or not before[2]:  # there is nothing to say of a set that is bright
            return
        bright = numbers >= top * UNUSED
        few = int(bright.sum()) * HOT <= numbers.size
        most = float(numbers.max())
        usual = float(numbers.max(where=~bright, initial=0)) if few else most
        with self._lock:
            before = self.brightest.get(name, (0.0, 0.0, True))
            self.brightest[name] = max(before[0], most), max(before[1], usual), before[2] and few

    def eight(self, pixels: np.ndarray) -> None:
        """How bright pixels are that came in 8 bits."""
        if not self.bright:
            with self._lock:
                self.stored = max(self.stored, int(pixels.max(initial=0)))

    @property
    def bright(self) -> bool:
        """Whether pixels that came in 8 bits are bright enough for nothing to be said."""
        return self.stored >= TOPS["u1"] * UNUSED

    @property
    def advice(self) -> str:
        """What to do about values that have no place in [0, 1]; "" where there are none."""
        return "" if (needed := self.needed) is None else f"give {option(*needed)}"

    @property
    def needed(self) -> Range | None:
        """The range of all floats or whole numbers where some need one; None where none does."""
        if self.low > self.high:
            return None
        return reaching(min(self.low, self.inner[0]), max(self.high, self.inner[1]))

    @property
    def deep(self) -> Range | None:
        """The range to give where whole numbers of more than 8 bits leave nearly all of theirs unused."""
        _, usual, few = self.brightest.get("u2", (0.0, 0.0, False))
        return (0, _filling(usual)) if few and usual > 0 else None

    def notes(self) -> tuple[str, ...]:
        """The sentences: what fitting costs, values clipped, pixels missing, a range that is mostly unused."""
        said = [lost] if (lost := cost_said(self.cost / 1e9 / max(1, self.fittings), self.fit)) else []
        if self.clipped:
            said.append(
                f"{_share(self.clipped / self.values)} of the values are outside the range and clipped to it"
            )
        if self.missing:
            said.append(f"{_share(self.missing / self.values)} of the pixel values are missing")
        found = self.brightest or {"u1": (self.stored, self.stored, not self.bright)}
        return (*said, *(sentence for name, seen in found.items() if (sentence := _dark(TOPS[name], *seen))))


def _share(share: float) -> str:
    return f"{100 * share:.2g} %" if share >= 1e-4 else "less than 0.01 %"


def _filling(usual: float) -> int:
    """The largest number of as many bits as this one has."""
    return 2 ** int(usual).bit_length() - 1


def _dark(top: float, most: float, usual: float, few: bool) -> str:
    """A sentence where nearly all of a range is unused; whole numbers are taken to fill their bits."""
    if not few or not usual > 0:
        return ""
    high = _filling(usual) if top > 1 else usual
    said = f"the brightest value is {usual:,.9g} of {top:,.0f}"
    if most > usual:
        said = f"but for {_share(1 / HOT)} of an image, {said}"
    return f"{said}: give {option(0, high)}, unless the images are meant to be so dark"


@dataclass(frozen=True)
class Values:
    """How the numbers of images become stored pixels.

        value = (number - low) / (high - low), clipped to [0, 1]        stored = round(255 value), or 65535 value

    Without a range uint8 is 0 to 255, uint16 0 to 65535, bool 0 or 1 and floats are in [0, 1], but for rounding of
    up to 1e-3, which is clipped; whatever else, and values outside, are Refused. Where pixels may be `missing`,
    stored is the value itself, float32.
    """

    range: Range | None = None
    bits: Bits = 8
    missing: bool = False

    @property
    def dtype(self) -> np.dtype:
        """That of stored pixels."""
        return np.dtype(np.float32 if self.missing else np.uint16 if self.bits == 16 else np.uint8)

    @property
    def deep(self) -> bool:
        """Whether images are to be read at their own depth, rather than as pictures of 8 bits."""
        return self != Values()

    @property
    def top(self) -> float:
        """The stored pixel that is 1."""
        return 1.0 if self.missing else 65535.0 if self.bits == 16 else 255.0

    def pixels(
        self,
        image: Given,
        channels: int | None,
        size: Sides | None,
        fit: Fit,
        seen: Seen,
        mask: np.ndarray | None = None,
    ) -> np.ndarray:
        """One image as stored pixels H·W·C of this size (None: of its own); raises Refused.

        With `channels` None of 1 channel if it is grey in every pixel. `mask`, H·W·1 or H·W·C, says what is
        observed.
        """
        own = image.shape[:2] if isinstance(image, np.ndarray) else (image.height, image.width)
        size = size or (own[0], own[1])
        seen.fitted((own[0], own[1]), size, fit)
        if isinstance(image, np.ndarray):
            stored = self(image, seen, mask)
        elif image.mode in WIDE_GREY:
            stored = self(np.asarray(image)[..., None], seen, mask)
        elif self == Values() and channels in (None, 1, 3):
            return _coded(image, channels, size, fit)
        else:
            stored = self(_bands(image, channels), seen, mask)
        if stored.dtype == np.uint8 and self._pictured(stored, channels):
            if stored.shape[:2] == size and channels in (None, stored.shape[2]) and stored.shape[2] != 4:
                return stored[..., :1] if channels is None and _is_grey(stored) else stored  # Pillow is not needed
            from PIL import Image

            plane = np.ascontiguousarray(stored[..., 0] if stored.shape[2] == 1 else stored)
            return _coded(Image.fromarray(plane), channels, size, fit)
        return _scaled(self._in_channels(stored, channels), size, fit)

    def look(self, image: Given, seen: Seen) -> None:
        """See an image's values without storing them; raises Refused."""
        if not isinstance(image, np.ndarray):
            if image.mode not in WIDE_GREY:
                image = image if image.mode in ("L", "RGB") else flatten(image, 3)
                if not seen.bright:
                    seen.eight(np.array(image.getextrema()))
                return
            image = np.asarray(image)[..., None]
        stored = self(image, seen)
        if stored.dtype == np.uint8 and self == Values():
            seen.eight(stored)

    def __call__(self, numbers: np.ndarray, seen: Seen, mask: np.ndarray | None = None) -> np.ndarray:
        """Numbers as stored pixels of the same shape; raises Refused."""
        if numbers.dtype.kind not in "buif":
            raise Refused(f"holds {numbers.dtype}, which are no numbers of pixels")
        if self == Values() and numbers.dtype == np.uint8:
            return numbers
        known = self._observed(numbers, mask) if self.missing else None
        usable = numbers if known is None else numbers[known]
        low, high = self._span(usable, seen)
        if self.range is None and numbers.dtype != np.uint8:
            seen.look(usable)
        clipped = 0 if self.range is None else int(((usable < low) | (usable > high)).sum())
        seen.count(numbers.size, clipped, numbers.size - usable.size)
        exact = np.float64 if self.missing or self.bits == 16 else np.result_type(numbers.dtype, np.float32)
        value = ((numbers.astype(exact) - low) * (self.top / (high - low))).clip(0, self.top)
        if known is not None:
            return np.where(known, value, np.nan).astype(np.float32)
        return np.rint(value).astype(self.dtype)

    def _observed(self, numbers: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
        """Which of the numbers are observed."""
        found = np.isnan(numbers) if numbers.dtype.kind == "f" else np.zeros((), bool)
        if mask is not None and mask.shape[:2] != numbers.shape[:2]:
            sizes = (f"{height}x{width}" for height, width in (mask.shape[:2], numbers.shape[:2]))
            raise Refused("has a mask of {}, and is {}: give masks of the images' size".format(*sizes))
        if mask is not None and mask.shape[2] not in (1, numbers.shape[2]):
            raise Refused(f"has {numbers.shape[2]} channels, and its mask {mask.shape[2]}: give 1, or as many")
        known = np.broadcast_to(~found if mask is None else mask & ~found, numbers.shape)
        if not known.any():
            raise Refused("has no pixel that is observed, only NaN or masked ones")
        return known

    def _span(self, numbers: np.ndarray, seen: Seen) -> Range:
        """The values that are 0 and 1; raises Outside where the numbers need a range and have none."""
        low = float(numbers.min()) if numbers.dtype.kind == "f" else 0.0
        if math.isnan(low):
            raise Refused(
                "holds NaN: say which pixels are observed by masks= (--masks PATH), or set them to a number"
            )
        if self.range is not None:
            return self.range
        name = kind(numbers.dtype)
        if name in ("u1", "u2", "b1"):
            return 0.0, TOPS[name]
        high = float(numbers.max())
        if name in TOPS and low >= -ROUNDING and high <= 1 + ROUNDING:
            seen.inside(low, high)
            return 0.0, 1.0
        low = float(numbers.min())
        if np.isfinite([low, high]).all():
            seen.outside(low, high)
        raise Outside(f"holds {numbers.dtype.name} {outside(numbers.dtype, low, high)}")

    def _pictured(self, stored: np.ndarray, channels: int | None) -> bool:
        """Whether they are what Pillow calls L, RGB or RGBA, and are to be so."""
        count = stored.shape[2]
        return channels in (None, 1, 3) and (count in (1, 3) or (count == 4 and self.range is None))

    def _in_channels(self, stored: np.ndarray, channels: int | None) -> np.ndarray:
        """Stored pixels in so many channels; None is as they are, but for transparency and grey."""
        if stored.shape[2] == 4 and channels != 4 and self.range is None:
            alpha = stored[..., 3:].astype(np.float64) / self.top
            stored = self._rounded(stored[..., :3] * alpha + self.top * (1 - alpha))
        count = stored.shape[2]
        if channels is None:
            return stored[..., :1] if count == 3 and _is_grey(stored) else stored
        if channels == count:
            return stored
        if (count, channels) == (1, 3):
            return stored.repeat(3, axis=2)
        if (count, channels) == (3, 1):
            return self._rounded((stored @ GREY)[..., None])
        raise Refused(f"has {count} channels, and {channels} are asked for")

    def _rounded(self, values: np.ndarray) -> np.ndarray:
        return (values if self.missing else np.rint(values)).astype(self.dtype)


def outside(dtype: np.dtype, low: float, high: float) -> str:
    """The values found, and where their kind would have its place."""
    place = "float images are in [0, 1]" if dtype.kind == "f" else "integers but uint8 and uint16 need a range"
    return f"values from {number(low)} to {number(high)}, and {place}"


def channels_of(counts: set[int]) -> int:
    """The channels of images that have so many each; Refused where they cannot be of one set."""
    if len(counts) > 1 and counts != {1, 3}:
        said = " and of ".join(map(str, sorted(counts)))
        most = max(counts)
        raise Refused(
            f"images of {said} channels are not of one set: give a part of them, as by channels={most} and "
            f"skip_bad=True (--channels {most} --skip-bad)"
        )
    return max(counts)


def _coded(image: "Image.Image", channels: int | None, size: Sides, fit: Fit) -> np.ndarray:
    """A picture of 8 bits, by Pillow."""
    return np.asarray(fitted(flatten(image, channels), size, fit)).reshape(*size, -1)


def _bands(image: "Image.Image", channels: int | None) -> np.ndarray:
    """A picture of 8 bits as numbers H·W·C: all its bands where these are asked for, else grey or in colour."""
    bands = len(image.getbands())
    if channels not in (None, 1, 3):
        if bands != channels:
            raise Refused(f"has {bands} channels, and {channels} are asked for")
        return np.asarray(image)
    image = flatten(image, channels)
    return np.asarray(image).reshape(image.height, image.width, -1)


def _is_grey(stored: np.ndarray) -> bool:
    first = stored[..., :1]
    other = stored != first
    return not (other & ~(np.isnan(stored) & np.isnan(first)) if stored.dtype.kind == "f" else other).any()


def _scaled(stored: np.ndarray, size: tuple[int, int], fit: Fit) -> np.ndarray:
    """Stored pixels of any number of channels in another size, every channel by itself.

    A pixel is observed where at least half of what it is made of is, and is the mean of that; padding is not.
    """
    if stored.shape[:2] == size:
        return stored
    if stored.dtype != np.float32:
        return np.stack([_plane(plane, size, fit) for plane in np.moveaxis(stored, 2, 0)], axis=2)
    seen = np.isfinite(stored)
    planes = []
    for plane, known in zip(np.moveaxis(stored, 2, 0), np.moveaxis(seen, 2, 0), strict=True):
        weight = _plane(known.astype(np.float32), size, fit)
        total = _plane(np.where(known, plane, np.float32(0)), size, fit)
        planes.append(np.where(weight >= 1 / 2, total / np.maximum(weight, 1e-6), np.float32(np.nan)))
    return np.stack(planes, axis=2).clip(0, 1).astype(np.float32)


def _plane(plane: np.ndarray, size: tuple[int, int], fit: Fit) -> np.ndarray:
    """One channel in another size; 16 bits are scaled as floats."""
    from PIL import Image

    wide = plane.dtype == np.uint16
    image = fitted(Image.fromarray(plane.astype(np.float32) if wide else np.ascontiguousarray(plane)), size, fit)
    return np.rint(np.asarray(image)).astype(np.uint16) if wide else np.asarray(image)
