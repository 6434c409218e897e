"""Arrays of images: .npy and .npz files, arrays and tensors in memory, and the digits of scikit-learn."""

import hashlib
import os
from collections.abc import Callable, Iterable
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from copyfold.catalogue import nearest
from copyfold.data.reading.decoding import Header
from copyfold.data.reading.sources import Listing, Source
from copyfold.data.reading.values import ROUNDING, Values, kind, option, outside
from copyfold.errors import DataError, UsageError

CHANNELS = (1, 3, 4)
"""Sizes of an axis that is taken for that of the channels where no layout is given."""

USUAL = ("u1", "u2", "b1")
"""Kinds of numbers whose range is known."""

LAYOUTS: dict[str, tuple[int, Callable[[np.ndarray], np.ndarray]]] = {
    "NHW": (3, lambda a: a[..., None]),
    "NHWC": (4, lambda a: a),
    "NCHW": (4, lambda a: a.transpose(0, 2, 3, 1)),
    # The essay reads church_outdoor_train_lmdb_color_64.npy by permute(0, 3, 1 + 1, 1) and a rot90 by three
    # quarters; together they are a mirror image of N·H·W·C.
    "lsun": (4, lambda a: a[:, :, ::-1]),
}
"""The number of axes of each layout, and the view of it as N·H·W·C."""


def arrange(array: np.ndarray, layout: str | None, where: str) -> np.ndarray:
    """View an array of images as N·H·W·C; a DataError asks for the layout where the shape leaves it open."""
    shape = "x".join(map(str, array.shape))
    if layout is not None and layout not in LAYOUTS:
        raise UsageError(f"no layout is called {layout!r}: {nearest(layout, LAYOUTS)}")
    if layout is None:
        layout = _guess(array.shape, shape, where)
    axes, view = LAYOUTS[layout]
    if array.ndim != axes:
        raise DataError(f"{where} has shape {shape}, and layout {layout} needs {axes} axes")
    arranged = view(array)
    if 0 in arranged.shape:
        raise DataError(f"{where} of shape {shape}, read as {layout}, has no pixels: give another --layout")
    return arranged


def _guess(shape: tuple[int, ...], text: str, where: str) -> str:
    if len(shape) == 3 and shape[2] not in CHANNELS:
        return "NHW"
    if len(shape) == 3:
        raise DataError(
            f"{where} of shape {text} may be one image H·W·C or {shape[0]} narrow grey ones: "
            "give --layout NHW, or an array of four axes"
        )
    if len(shape) != 4:
        raise DataError(f"{where} has shape {text}: images are N·H·W, N·C·H·W or N·H·W·C")
    first, last = shape[1] in CHANNELS, shape[3] in CHANNELS
    if first == last:
        why = "may be N·C·H·W or N·H·W·C" if first else "has no axis of 1, 3 or 4 channels"
        raise DataError(f"{where} of shape {text} {why}: give --layout NCHW or NHWC")
    return "NCHW" if first else "NHWC"


class Array(Source):
    """Images in one array of numbers, see `values.Values`.

    A fourth channel is transparency, unless a range or 4 channels are asked for.
    """

    kind = "array"

    def __init__(
        self, where: str, layout: str | None, identity: Callable[[], Iterable[str]], load: Callable[[], Any]
    ) -> None:
        self.where = where
        self.layout = layout
        self._identity = identity
        self._load = load

    @cached_property
    def _content(self) -> tuple[np.ndarray, np.ndarray | None]:
        array, labels = self._load()
        if array.dtype.kind not in "buif":
            raise DataError(f"{self.where} holds {array.dtype}: images are numbers, such as uint8 or float32")
        arranged = arrange(array, self.layout, self.where)
        if labels is not None and (labels.shape != arranged.shape[:1] or labels.dtype.kind not in "iu"):
            raise DataError(f"the labels in {self.where} are not one integer for each image")
        return arranged, labels

    @property
    def array(self) -> np.ndarray:
        """The images as N·H·W·C, a view of what was given."""
        return self._content[0]

    def identity(self) -> Iterable[str]:
        """Size and time of the file, or a hash of what is in memory."""
        return self._identity()

    def listing(self) -> Listing:
        """The images by number; raises DataError where the array cannot be one of images."""
        array, labels = self._content
        names = [f"{index:0{len(str(len(array) - 1))}d}" for index in range(len(array))]
        return Listing(names, {"": np.arange(len(array))}, None if labels is None else labels.tolist())

    def check(self, chosen: np.ndarray, values: Values) -> None:
        """Raise DataError, with the range that was found and the option to give, where values need a range."""
        if values.range is not None or kind(self.array.dtype) in USUAL:
            return
        low, high, _ = self._range(chosen)
        if np.isnan(low):
            raise DataError(f"{self.where} holds NaN alone: float images are in [0, 1], and NaN where pixels miss")
        if self.array.dtype.kind == "f" and low >= -ROUNDING and high <= 1 + ROUNDING:
            return
        said = f"{self.where} holds {self.array.dtype} {outside(self.array.dtype, low, high)}"
        raise DataError(f"{said}: give {option(low, high)}" if np.isfinite([low, high]).all() else said)

    def has_missing(self, chosen: np.ndarray) -> bool:
        """Whether a value is NaN."""
        return self.array.dtype.kind == "f" and self._range(chosen)[2]

    def value_range(self) -> tuple[float, float]:
        """Smallest and largest value of the whole array."""
        return self._range(np.arange(len(self.array)))[:2]

    def header(self, index: int) -> Header:
        """Size and mode of one image."""
        _, height, width, channels = self.array.shape
        return Header(width, height, {1: "L", 3: "RGB", 4: "RGBA"}.get(channels, f"{channels} channels"))

    def read(self, index: int, near: int | None) -> np.ndarray:
        """The numbers of one image."""
        return self.array[index]

    def _range(self, chosen: np.ndarray) -> tuple[float, float, bool]:
        """Smallest and largest value but for NaN, and whether there is NaN."""
        parts = [self.array[chosen[k : k + 1024]] for k in range(0, len(chosen), 1024)]
        spans = np.array([(np.fmin.reduce(part, None), np.fmax.reduce(part, None)) for part in parts], np.float64)
        missing = self.array.dtype.kind == "f" and any(np.isnan(part).any() for part in parts)
        return float(np.fmin.reduce(spans[:, 0])), float(np.fmax.reduce(spans[:, 1])), missing


class Memory(Array):
    """An array or tensor in memory."""

    in_memory = True

    def __init__(self, data: np.ndarray | torch.Tensor, layout: str | None) -> None:
        if isinstance(data, torch.Tensor):
            data = data.detach().cpu()
            data = (data.float() if data.dtype == torch.bfloat16 else data).numpy()
        where = f"the array {'x'.join(map(str, data.shape))} {data.dtype} in memory"
        super().__init__(where, layout, lambda: hashed(self.array), lambda: (data, None))


class Digits(Array):
    """The 1,797 digits of scikit-learn: 8x8, values 0 to 16, enlarged."""

    kind = "digits of scikit-learn"
    side = 32

    def __init__(self) -> None:
        super().__init__("the digits of scikit-learn", None, _digits_version, _load_digits)

    def listing(self) -> Listing:
        """The digits with their labels, 0 to 9."""
        listing = super().listing()
        return Listing(listing.names, listing.splits, listing.labels, [str(digit) for digit in range(10)])

    def describe(self) -> None:
        """The digits are what no data at all means."""


def array_file(path: Path, layout: str | None) -> Array:
    """Images in a .npy (memory-mapped) or .npz file."""
    status = os.stat(path)
    identity = (str(path), str(status.st_size), str(status.st_mtime_ns))
    return Array(str(path), layout, lambda: identity, lambda: load_file(path))


def load_file(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """The images of a .npy or .npz file as they lie there, and labels where there are any."""
    try:
        loaded = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded, None
        with loaded:
            return _pick(dict(loaded), str(path))
    except (OSError, ValueError, EOFError, KeyError) as error:
        if isinstance(error, DataError):
            raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if "pickle" in reason:  # NumPy's advice is to unpickle the file, which runs untrusted code
            reason = "it is not NumPy's format, or holds objects and not numbers"
        raise DataError(f"{path} is not an array file that can be read: {reason}") from None


def _pick(arrays: dict[str, np.ndarray], where: str) -> tuple[np.ndarray, np.ndarray | None]:
    labels = next((arrays[name] for name in ("labels", "y") if name in arrays), None)
    named = next((arrays[name] for name in ("images", "x") if name in arrays), None)
    if named is not None:
        return named, labels
    pictures = [array for array in arrays.values() if array.ndim in (3, 4)]
    if len(pictures) != 1:
        raise DataError(
            f"{where} holds the arrays {', '.join(sorted(arrays)) or '(none)'}: call the images 'images'"
        )
    return pictures[0], labels


def hashed(array: np.ndarray) -> Iterable[str]:
    """What identifies an array in memory: its shape, kind and content."""
    digest = hashlib.blake2b(digest_size=16)
    for k in range(0, len(array) if array.ndim else 0, 1024):
        digest.update(np.ascontiguousarray(array[k : k + 1024]).data.cast("B"))
    return str(array.shape), str(array.dtype), digest.hexdigest()


def _digits_version() -> Iterable[str]:
    return "digits", version("scikit-learn")


def _load_digits() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    pixels = np.asarray(pixels, dtype=np.float32) / 16
    return pixels.reshape(-1, 8, 8), np.asarray(labels, dtype=np.int64)
