"""Arrays of images: .npy and .npz files, arrays and tensors in memory, and the digits of scikit-learn."""

import hashlib
import os
import zlib
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cached_property
from importlib.metadata import version
from math import prod
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any
from zipfile import BadZipFile, ZipFile

import numpy as np
import torch

from copyfold.catalogue import nearest
from copyfold.data.reading.decoding import Header
from copyfold.data.reading.labels import Labels
from copyfold.data.reading.npz import Content, joined, picked
from copyfold.data.reading.sources import Listing, Source
from copyfold.data.reading.values import ROUNDING, Values, kind, outside
from copyfold.data.reading.values import option as ranged
from copyfold.errors import LARGEST, CopyfoldError, DataError, UsageError, option
from copyfold.files import reason, regular

CHANNELS = (1, 3, 4)
"""Sizes of an axis that is taken for that of the channels where no layout is given."""

UNPACKED, TIMES = 10**9, 100
"""An .npz is not unpacked to more bytes than the larger of these: so many, and so many times its own."""

BROKEN = (OSError, ValueError, EOFError, KeyError, BadZipFile, zlib.error, NotImplementedError, RuntimeError)
"""What NumPy and zipfile raise for files that are no arrays, or damaged."""

MAGIC = b"\x93NUMPY"
"""How an array of NumPy's begins."""

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
        raise DataError(
            f"{where} of shape {shape}, read as {layout}, has no pixels: give another {option('layout')}"
        )
    return arranged


def _guess(shape: tuple[int, ...], text: str, where: str) -> str:
    if len(shape) == 3 and shape[2] not in CHANNELS:
        return "NHW"
    if len(shape) == 3:
        raise DataError(
            f"{where} of shape {text} may be one image H·W·C or {shape[0]} narrow grey ones: "
            f"give {option('layout', 'NHW')}, or an array of four axes"
        )
    if len(shape) != 4:
        raise DataError(f"{where} has shape {text}: images are N·H·W, N·C·H·W or N·H·W·C")
    first, last = shape[1] in CHANNELS, shape[3] in CHANNELS
    if first == last:
        why = "may be N·C·H·W or N·H·W·C" if first else "has no axis of 1, 3 or 4 channels"
        raise DataError(
            f"{where} of shape {text} {why}: give {option('layout', 'NCHW')} or {option('layout', 'NHWC')}"
        )
    return "NCHW" if first else "NHWC"


class Array(Source):
    """Images in one array of numbers, see `values.Values`.

    A fourth channel is transparency, unless a range or 4 channels are asked for.
    """

    kind = "array"

    def __init__(
        self,
        where: str,
        layout: str | None,
        identity: Callable[[], Iterable[str]],
        load: Callable[[], Content],
        column: str | None = None,
    ) -> None:
        self.where = where
        self.layout = layout
        self.column = column
        self._identity = identity
        self._load = load

    @cached_property
    def _content(self) -> tuple[np.ndarray, Content]:
        content = self._load()
        if content.array.dtype.kind not in "buif":
            raise DataError(
                f"{self.where} holds {content.array.dtype}: images are numbers, such as uint8 or float32"
            )
        return arrange(content.array, self.layout, self.where), content

    @property
    def array(self) -> np.ndarray:
        """The images as N·H·W·C, a view of what was given."""
        return self._content[0]

    def identity(self) -> Iterable[str]:
        """Size and time of the file, or a hash of what is in memory."""
        return self._identity()

    def listing(self) -> Listing:
        """The images by number; raises DataError where the array cannot be one of images."""
        array, content = self._content
        labels = content.labels
        notes = [labels.note] if labels.note else []
        return Listing(numbered(len(array)), content.splits, labels.numbers, labels.classes, notes)

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
        raise DataError(f"{said}: give {ranged(low, high)}" if np.isfinite([low, high]).all() else said)

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

    def read(self, index: int, near: int | None, deep: bool = False) -> np.ndarray:
        """The numbers of one image."""
        return self.array[index]

    def _range(self, chosen: np.ndarray) -> tuple[float, float, bool]:
        """Smallest and largest value but for NaN, and whether there is NaN."""
        parts = [self.array[chosen[k : k + 1024]] for k in range(0, len(chosen), 1024)]
        spans = np.array([(np.fmin.reduce(part, None), np.fmax.reduce(part, None)) for part in parts], np.float64)
        missing = self.array.dtype.kind == "f" and any(np.isnan(part).any() for part in parts)
        return float(np.fmin.reduce(spans[:, 0])), float(np.fmax.reduce(spans[:, 1])), missing


class Memory(Array):
    """An array or tensor in memory, alone or with labels, numbered from 0 to the number of images."""

    in_memory = True

    def __init__(
        self,
        data: np.ndarray | torch.Tensor,
        layout: str | None,
        labels: Labels | None = None,
        where: str | None = None,
    ) -> None:
        if isinstance(data, torch.Tensor):
            data = as_array(data)
        named = where or f"the array {'x'.join(map(str, data.shape))} {data.dtype}"
        count = len(data) if data.ndim else 0
        labels = labels or Labels(None)
        content = Content(data, {"": np.arange(count)}, labels)
        super().__init__(f"{named} in memory", layout, lambda: hashed(self.array, labels), lambda: content)


class Digits(Array):
    """The 1,797 digits of scikit-learn: 8x8, values 0 to 16, enlarged."""

    kind = "digits of scikit-learn"
    side = 32

    def __init__(self) -> None:
        super().__init__("the digits of scikit-learn", None, _digits_version, _load_digits)

    def listing(self) -> Listing:
        """The digits with their labels, 0 to 9."""
        return replace(super().listing(), classes=[str(digit) for digit in range(10)])

    def describe(self) -> None:
        """The digits are what no data at all means."""


def array_file(path: Path, layout: str | None, column: str | None = None) -> Array:
    """Images in a .npy (memory-mapped) or .npz file; `column` is the array of an .npz."""
    status = os.stat(path)
    identity = (str(path), str(status.st_size), str(status.st_mtime_ns))
    named = identity if column is None else (*identity, f"column|{column}")
    return Array(str(path), layout, lambda: named, lambda: load_file(path, column), column)


def as_array(tensor: torch.Tensor) -> np.ndarray:
    """A tensor of any device, type and layout as NumPy has it; UsageError where it has no values."""
    try:
        tensor = tensor.detach().to_dense().cpu()
        return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
    except (RuntimeError, TypeError) as error:  # a meta tensor, or one of a type that NumPy does not have
        reason = next(iter(str(error).splitlines()), "")
        raise UsageError(f"a tensor {tensor.dtype} on {tensor.device} cannot be read: {reason}") from None


def numbered(count: int) -> list[str]:
    """Names for images that have none: their numbers, of equal length."""
    return [f"{index:0{len(str(count - 1))}d}" for index in range(count)]


def load_file(path: Path, column: str | None = None) -> Content:
    """The images of a .npy or .npz file as they lie there, with labels where there are any."""
    try:
        regular(path)
        _check_archive(path)
        _check_header(path)
        loaded = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            if column is not None:
                raise UsageError(f"column={column!r} is invalid: {path} is one array, and has no columns")
            return joined({"": loaded}, {}, str(path))
        with loaded:
            shapes = {name: _shape(loaded, name) for name in loaded.files}
            return picked(shapes, loaded.__getitem__, column, str(path))
    except CopyfoldError:
        raise
    except BROKEN as error:
        said = reason(error).partition("\n")[0] or type(error).__name__
        if "pickle" in said:  # NumPy's advice is to unpickle the file, which runs untrusted code
            said = "it is not NumPy's format, or holds objects and not numbers"
        raise DataError(f"{path} is not an array file that can be read: {said}") from None


def _check_archive(path: Path) -> None:
    """DataError where an .npz would unpack to far more than it has; BadZipFile where it is cut short."""
    with path.open("rb") as file:
        if not file.read(4).startswith(b"PK"):
            return
    with ZipFile(path) as archive:
        unpacked, packed = sum(member.file_size for member in archive.infolist()), path.stat().st_size
    if unpacked > max(UNPACKED, TIMES * packed):
        raise DataError(
            f"{path} has {packed / 1e6:,.0f} MB and would unpack to {unpacked / 1e9:,.1f} GB: if that is meant, "
            "save its arrays as .npy"
        )


def _check_header(path: Path) -> None:
    """ValueError where the header of a .npy is damaged, or says more than there is."""
    with path.open("rb") as file:
        if file.read(len(MAGIC)) == MAGIC:
            file.seek(0)
            _header(file, path.stat().st_size, "it")


def _shape(loaded: Any, name: str) -> tuple[int, ...]:
    """The shape of an array of an .npz; () where it is none."""
    member = loaded.zip.getinfo(name if name in loaded.zip.namelist() else f"{name}.npy")
    with loaded.zip.open(member) as file:
        if file.read(len(MAGIC)) != MAGIC:
            return ()
    with loaded.zip.open(member) as file:
        return _header(file, member.file_size, name)


def _header(file: IO[bytes], size: int, what: str) -> tuple[int, ...]:
    """The shape in the header of an array; ValueError where it is damaged, or of more than `size` bytes.

    NumPy has errors of its own for each kind of damage, and would take the memory.
    """
    form = np.lib.format
    first = form.read_magic(file) == (1, 0)
    try:
        shape, _, kind = (form.read_array_header_1_0 if first else form.read_array_header_2_0)(file)
    except (TokenError, SyntaxError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(f"{what} has a damaged header ({type(error).__name__})") from None
    if not all(type(side) is int and 0 <= side <= LARGEST for side in shape):
        raise ValueError(f"{what} has a header that says a shape of {str(shape)[:40]}")
    if prod(shape) * kind.itemsize > size:
        raise ValueError(f"{what} has fewer numbers than its header says")
    return shape


def hashed(array: np.ndarray, labels: Labels | None = None) -> Iterable[str]:
    """What identifies an array in memory: its shape, kind and content, and its labels."""
    digest = hashlib.blake2b(digest_size=16)
    for k in range(0, len(array) if array.ndim else 0, 1024):
        digest.update(np.ascontiguousarray(array[k : k + 1024]).data.cast("B"))
    yield from (str(array.shape), str(array.dtype), digest.hexdigest())
    if labels is not None and labels.numbers is not None:
        yield f"labels|{labels.numbers}|{labels.classes}"


def _digits_version() -> Iterable[str]:
    return "digits", version("scikit-learn")


def _load_digits() -> Content:
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    pixels = np.asarray(pixels, dtype=np.float32) / 16
    return joined({"": pixels.reshape(-1, 8, 8)}, {"": np.asarray(labels, dtype=np.int64)}, "the digits")
