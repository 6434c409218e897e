"""The arrays of an .npz: which are images, which are labels, and of which split, by their names."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from copyfold.catalogue import nearest
from copyfold.data.reading.columns import listed
from copyfold.data.reading.labels import Labels, class_numbers
from copyfold.data.reading.splits import ROLE
from copyfold.errors import DataError, UsageError, option

IMAGES = ("images", "image", "imgs", "img", "x", "data")
LABELS = ("labels", "label", "y", "targets", "target", "classes")


@dataclass(frozen=True)
class Content:
    """Images of one array, in splits, with labels where they have any that can be used."""

    array: np.ndarray
    splits: dict[str, np.ndarray]
    labels: Labels = field(default_factory=lambda: Labels(None))


def picked(
    shapes: Mapping[str, tuple[int, ...]], get: Callable[[str], np.ndarray], wanted: str | None, where: str
) -> Content:
    """Pick the images and labels of an .npz by the names and shapes of its arrays; `get` loads one.

    Names are a word for images or labels, with a split or without: images and labels, x and y, x_train and y_test
    (Keras), train_images and val_labels (MedMNIST). A single array of three or four axes needs no name.
    """
    if wanted is not None and wanted not in shapes:
        raise UsageError(f"{where} has no array {wanted!r}: {nearest(wanted, list(shapes))}")
    images = {"": wanted} if wanted is not None else _named(shapes, IMAGES, lambda shape: len(shape) in (3, 4))
    if not images:
        pictures = [name for name, shape in shapes.items() if len(shape) in (3, 4)]
        images = {"": pictures[0]} if len(pictures) == 1 else _named(shapes, IMAGES, lambda _: True)
        if not images:  # those that are called so are read, and refused by their shapes
            raise DataError(
                f"{where} holds the arrays {listed(sorted(shapes)) or '(none)'}: call the images 'images', or say "
                f"which they are with {option('column')}"
            )
    if "" in images and len(images) > 1:  # images beside x_train: the splits are the whole
        images = {split: name for split, name in images.items() if split}
    names = _named(dict.fromkeys(shapes, ()), LABELS, lambda _: True)
    try:
        labels = {split: get(name) for split, name in names.items() if split in images}
    except ValueError:  # objects, which are not unpickled
        labels = {}
    return joined({split: get(name) for split, name in images.items()}, labels, where)


def joined(parts: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray], where: str) -> Content:
    """Splits of one shape as one array; labels where all of them have some that can be used."""
    first = next(iter(parts.values()))
    for split, array in parts.items():
        if array.shape[1:] != first.shape[1:] or array.dtype != first.dtype:
            here, there = (f"{'x'.join(map(str, a.shape))} {a.dtype}" for a in (first, array))
            raise DataError(f"the images of {where} differ: {here}, but {there} in {split}: give one of them")
    counts = [len(array) if array.ndim else 0 for array in parts.values()]
    ends = np.cumsum(counts).tolist()
    splits = {split: np.arange(end - count, end) for split, end, count in zip(parts, ends, counts, strict=True)}
    array = first if len(parts) == 1 else np.concatenate(list(parts.values()))

    def without(why: str) -> Content:
        return Content(array, splits, Labels(None, None, f"the labels in {where} are left out: {why}"))

    if not labels:
        return Content(array, splits)
    if labels.keys() != parts.keys():
        return without(f"{', '.join(sorted(parts.keys() - labels.keys()))} has none")
    given = [labels[split] for split in parts]
    if [one.shape[:1] for one in given] != [(count,) for count in counts]:
        said = ", ".join("x".join(map(str, one.shape)) for one in given)
        return without(f"they are {said}, for {' and '.join(map(str, counts))} images")
    try:
        values = np.concatenate(given) if len(given) > 1 else given[0]
    except ValueError:
        return without("those of the splits differ in shape")
    return Content(array, splits, class_numbers(values, len(array), where))


def _named(
    shapes: Mapping[str, tuple[int, ...]], words: tuple[str, ...], fits: Callable[[tuple[int, ...]], bool]
) -> dict[str, str]:
    """Arrays that are named by one of these words, alone or with a split; the first word counts."""
    found: dict[str, str] = {}
    for word in words:
        for name, shape in shapes.items():
            said = [part for part in re.split("[^a-z]+", name.lower()) if part]
            splits = [part for part in said if part in ROLE]
            if word in said and len(said) == 1 + len(splits) and len(splits) <= 1 and fits(shape):
                found.setdefault(splits[0] if splits else "", name)
    return found
