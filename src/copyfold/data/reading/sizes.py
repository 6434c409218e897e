"""The size of images: how one is written, which one a set is read at, and what fitting images to it costs."""

import re
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, TypeAlias, cast

import numpy as np

from copyfold.errors import UsageError, image_numbers, option
from copyfold.types import Shape

Size: TypeAlias = int | tuple[int, int] | str
"""A side of square images in pixels; or height and width, as a pair or as in "128x431"."""

Sides: TypeAlias = tuple[int, int]
"""Height and width in pixels."""

Fit: TypeAlias = Literal["crop", "pad", "stretch"]
"""How an image of another shape is brought to a size."""

Suits: TypeAlias = Callable[[Shape], bool | Shape]
"""Says whether a model takes images of a shape: True or False, or the shape that it pads them to."""

LARGEST = 128
"""The longer side in pixels of the largest size that is taken without being asked for."""

STEP = 16
"""Sides of images of several shapes are multiples of this unless `suits` says what a model takes."""

SAID = 0.02
"""The share of the pixels from which a loss is mentioned: below it is what rounding a side costs."""

WRITTEN = re.compile(r"\s*(\d+)(?:\s*[x×]\s*(\d+))?\s*", re.IGNORECASE)


def sides(size: object, name: str = "size", channels: int | None = None) -> Sides:
    """Height and width of a size: of 64, (48, 64), "64" or "48x64"; UsageError for anything else.

    And for one of which an image would have too many numbers; `channels` are those it has at least.
    """
    found = size
    if isinstance(size, str) and (match := WRITTEN.fullmatch(size)):
        found = tuple(int(number) for number in match.groups() if number)
    pair = list(cast("Sequence[object]", found)) if isinstance(found, list | tuple) else [found]
    numbers = [int(n) for n in pair if isinstance(n, int | np.integer) and not isinstance(n, bool)]
    if len(numbers) != len(pair) or len(pair) not in (1, 2) or min(numbers) < 1:
        raise UsageError(
            f"{name}={size!r} is invalid: expected a number of pixels, or height x width as in 48x64, at least 1"
        )
    height, width = numbers[0], numbers[-1]
    image_numbers(height, width, channels or 1, option(name.removeprefix("--"), plain((height, width))))
    return height, width


def simple(size: Sides) -> int | Sides:
    """The side of a square, and the pair of a rectangle."""
    return size[0] if size[0] == size[1] else size


def plain(size: Sides) -> int | str:
    """A size as a recipe has it: 64, or 48x64."""
    return size[0] if size[0] == size[1] else written(size)


def written(size: Sides) -> str:
    """A size in a message: 48x64."""
    return f"{size[0]}x{size[1]}"


# ---------------------------------------------------------------- the size that a set is read at


class Aim(NamedTuple):
    """The size to read a set of images at, before a model is asked, and what it follows from."""

    size: Sides
    common: Sides | None
    """The shape that all images have; None where there are several."""
    median: int
    """The median short side in pixels."""

    @classmethod
    def of(cls, shapes: Sequence[Sides]) -> "Aim":
        """The one shape of all images, scaled to a longer side of 128 pixels where it is longer.

        Of several shapes it is a square of the median short side, at most 128; of no image at all a single pixel.
        """
        median = int(np.median([min(shape) for shape in shapes])) if shapes else 1
        if len(set(shapes)) == 1:
            return cls(scaled(shapes[0], min(LARGEST, max(shapes[0]))), shapes[0], median)
        side = min(median, LARGEST)
        return cls((side, side), None, median)

    def said(self, size: Sides) -> str:
        """How a size was chosen, in words."""
        if self.common is None:
            return f"size {written(size)}, for a median short side of {self.median} pixels"
        whose = "that of all images" if size == self.common else f"for images that all are {written(self.common)}"
        return f"size {written(size)}, {whose}"


def scaled(size: Sides, longer: int) -> Sides:
    """The size with its longer side of that many pixels and the aspect ratio that it has, up to rounding."""
    whole = max(size)
    height, width = (max(1, round(length * longer / whole)) for length in size)
    return height, width


def nearest(aim: Aim, channels: int, suits: Suits | None) -> Sides | None:
    """The size nearest to the one aimed at that a model takes; None where it takes none.

    The common shape of all images is taken where the model takes it, padded or not. Squares for images of several
    shapes are those that it takes without padding.
    """
    wanted, shared = aim.size, aim.common is not None

    def takes(size: Sides) -> bool | Shape:
        return suits((channels, *size)) if suits else shared or size[0] % STEP == 0

    if shared and takes(wanted):
        return wanted
    if wanted[0] != wanted[1]:
        for step in (2**k for k in range(1, 8)):
            size = max(step, round(wanted[0] / step) * step), max(step, round(wanted[1] / step) * step)
            if takes(size):
                return size
    for distance in range(max(*wanted, 1024)):
        for side in (min(wanted) - distance, min(wanted) + distance):
            if side >= 1 and takes((side, side)) in (True, (channels, side, side)):
                return side, side
    return None


# ---------------------------------------------------------------- what fitting costs


def box(size: Sides, target: Sides) -> Sides | tuple[float, float]:
    """Height and width of the largest part of an image that has the aspect ratio of the target."""
    (height, width), (high, wide) = size, target
    if width * high == height * wide:
        return height, width
    if width * high > height * wide:
        return height, height * wide / high
    return width * high / wide, width


def inside(size: Sides, target: Sides) -> Sides:
    """Height and width of a whole image scaled to fit into the target."""
    scale = min(target[0] / size[0], target[1] / size[1])
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def cost(size: Sides, target: Sides, fit: Fit) -> float:
    """What fitting one image costs: of a crop, the share of its pixels that is left out; of padding, the share of
    the result that is black; of stretching, the factor by which its aspect ratio changes, less 1.
    """
    if fit == "crop":
        kept = box(size, target)
        return 1 - kept[0] * kept[1] / (size[0] * size[1])
    if fit == "pad":
        kept = inside(size, target)
        return 1 - kept[0] * kept[1] / (target[0] * target[1])
    ratio = size[1] * target[0] / (size[0] * target[1])
    return max(ratio, 1 / ratio) - 1


def cost_said(share: float, fit: Fit) -> str:
    """What fitting images costs on average, in a sentence; "" where it is nothing to speak of."""
    if share < SAID:
        return ""
    said = _percent(share)  # notes are cached: `errors.worded` names the options for the reader of the day
    if fit == "crop":
        return f"the centre is taken: {said} of the pixels of the images are left out ({{fit=pad}} keeps all)"
    if fit == "pad":
        return f"padded with black: {said} of the pixels of the images ({{fit=crop}} adds none)"
    return f"the images are stretched: their aspect ratio changes by {said} ({{fit=crop}} or pad keeps it)"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share < 0.095 else f"{100 * share:.0f} %"
