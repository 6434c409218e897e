"""Labels of whatever kind as class numbers; an autoencoder needs none, so none is a reason to refuse images."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

SPARSE = 1000  # numbers from here on are counted anew where most below them are unused


@dataclass(frozen=True)
class Labels:
    """A class number for each image, -1 where it has none, and the names of the classes where they have names.

    `numbers` is None where labels cannot be used; `note` then says why.
    """

    numbers: list[int] | None
    classes: list[str] | None = None
    note: str = ""


def class_numbers(values: Any, count: int, where: str) -> Labels:
    """Labels as class numbers.

    Taken are integers, N or N x 1; floats that are whole; booleans; texts; one-hot rows. Everything else is left
    out with a note: labels of another number than images, fractions, several classes for an image.
    """
    array = _array(values)
    shape = "x".join(map(str, array.shape))
    if array.ndim > 1 and array.size == len(array):  # N x 1, as Keras and MedMNIST have them
        array = array.reshape(len(array))
    if array.shape[:1] != (count,) or not count:
        return without(where, f"they are {shape}, for {count} images")
    if array.ndim == 2 and array.dtype.kind in "iufb" and _one_hot(array):
        return Labels(array.argmax(1).tolist())
    if array.ndim != 1:
        return without(where, f"they are {shape}, and not one for each image")
    if array.dtype.kind == "b":
        return Labels(array.astype(int).tolist(), ["false", "true"])
    if array.dtype.kind in "iu":
        return _numbered(array.tolist())
    if array.dtype.kind == "f":
        missing = np.isnan(array)
        if not np.array_equal(array[~missing], np.rint(array[~missing])) or np.isinf(array).any():
            return without(where, "they are numbers with fractions")
        return _numbered(np.where(missing, -1, array).astype(np.int64).tolist())
    if array.dtype.kind in "USO":
        return _objects(array.tolist(), where)
    return without(where, f"they are {array.dtype}")


def _array(values: Any) -> np.ndarray:
    if isinstance(values, np.ndarray):
        return values
    if not isinstance(values, Sequence):
        return np.asarray(values)
    kinds = {type(value) for value in values}
    if kinds <= {int} or kinds <= {float, int} or kinds <= {bool} or kinds <= {str}:
        try:
            return np.array(values)
        except OverflowError:
            pass
    return _rows(list(values))


def _rows(values: list[Any]) -> np.ndarray:
    """Rows of equal length as an array of two axes, and everything else as objects."""
    if values and all(isinstance(value, list | tuple | np.ndarray) for value in values):
        try:
            found = np.array(values)
            if found.dtype.kind in "iufb":
                return found
        except ValueError:
            pass
    array = np.empty(len(values), object)
    array[:] = values
    return array


def _one_hot(array: np.ndarray) -> bool:
    return bool(np.isin(array, (0, 1)).all() and (array.sum(1) == 1).all())


def _numbered(numbers: list[int]) -> Labels:
    """Integers as they are; counted anew, with themselves as names, where they are no plain class numbers."""
    known = sorted(set(numbers) - {-1})
    if not known:
        return Labels(None)
    if known[0] < 0 or known[-1] > max(SPARSE, 10 * len(known)):
        return _named(numbers, known, -1)
    return Labels(numbers)


def _objects(values: list[Any], where: str) -> Labels:
    """Texts, in the order of the alphabet; numbers with some that are missing."""
    values = [value.decode("utf-8", "replace") if isinstance(value, bytes) else value for value in values]
    kinds = {type(value) for value in values} - {type(None)}
    if kinds == {bool}:
        return Labels([-1 if value is None else int(value) for value in values], ["false", "true"])
    if kinds == {int}:
        return _numbered([-1 if value is None else value for value in values])
    if kinds and kinds <= {float, int}:
        return class_numbers(np.array([np.nan if v is None else v for v in values], float), len(values), where)
    if kinds != {str}:
        said = ", ".join(sorted(kind.__name__ for kind in kinds)) or "all missing"
        return without(where, f"they are {said}")
    known = sorted(set(values) - {None, ""})
    if len(known) > max(20, len(values) // 2):
        return without(where, "they are texts, and nearly all different")
    return _named(values, known, None, "")


def _named(values: list[Any], known: list[Any], *missing: Any) -> Labels:
    number = {value: k for k, value in enumerate(known)} | dict.fromkeys(missing, -1)
    return Labels([number[value] for value in values], [str(value) for value in known])


def without(where: str, why: str) -> Labels:
    """No labels, and the note that says why."""
    return Labels(None, None, f"the labels in {where} are left out: {why}")
