"""Images that come one by one: lists of files, arrays or pictures, and data sets of torch."""

import hashlib
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard

import numpy as np
import torch

from copyfold.data.reading.arrays import Memory, as_array, numbered
from copyfold.data.reading.columns import IMAGE_COLUMNS, LABEL_COLUMNS, listed
from copyfold.data.reading.decoding import Header, header, upright
from copyfold.data.reading.depth import decoded
from copyfold.data.reading.folders import File, Folder
from copyfold.data.reading.labels import Labels, class_numbers
from copyfold.data.reading.sources import Listing, Source
from copyfold.data.reading.values import Values
from copyfold.errors import DataError, UsageError
from copyfold.files import absolute, regular

if TYPE_CHECKING:
    from PIL import Image

    from copyfold.data.reading.values import Given

IMAGE_KEYS = (*IMAGE_COLUMNS, "images", "pixel_values", "x")
LABEL_KEYS = (*LABEL_COLUMNS, "y")
FROZEN = (
    "read once, in its order: random transforms stay as they came out, and training resumes exactly where they "
    "come out the same"
)
LOADER = "shuffling, batches and collation of the DataLoader are not used"


class MapStyle(Protocol):
    """What has a length and gives its n-th item."""

    def __len__(self) -> int:
        """The number of items."""
        ...

    def __getitem__(self, index: int, /) -> Any:
        """An item."""
        ...


def from_list(given: Sequence[Any], layout: str | None, column: str | None) -> Source:
    """A list of image files, of arrays or tensors, of pictures, or of items as a torch Dataset has them."""
    if not given:
        raise DataError("the list is empty: give paths of images, arrays or pictures")
    if isinstance(given[0], str | os.PathLike):
        return Listed(_only_paths(given))
    return _read(given, "the list", layout, column, ())


def from_dataset(given: MapStyle, layout: str | None, column: str | None) -> Source:
    """A map-style torch Dataset, read from its first item to its last."""
    where = f"the {type(given).__name__}"
    return _read(given, where, layout, column, (f"{where} is {FROZEN}",))


def from_loader(given: "torch.utils.data.DataLoader[Any]", layout: str | None, column: str | None) -> Source:
    """The dataset of a DataLoader; of one with a SubsetRandomSampler that subset, in order."""
    dataset: Any = given.dataset
    where = f"the {type(dataset).__name__} of the DataLoader"
    if isinstance(given.sampler, torch.utils.data.SubsetRandomSampler):
        dataset = torch.utils.data.Subset(dataset, sorted(int(index) for index in given.sampler.indices))
    return _read(dataset, where, layout, column, (f"{where} is {FROZEN}; {LOADER}",))


class Listed(Folder):
    """Image files in the order given: no splits, no classes."""

    kind = "list of images"

    def __init__(self, paths: Sequence[Path]) -> None:
        root = Path(os.path.commonpath([path.parent for path in paths]))
        super().__init__(root, [_file(path, root) for path in paths])
        self.where = f"a list of {len(paths)} files in {root}"

    def describe(self) -> str:
        """In words: a recipe does not repeat the paths."""
        return f"{self.where}, a list in memory"

    def identity(self) -> Iterable[str]:
        """Path, size and modification time of every file, in order."""
        yield "list"
        yield from super().identity()

    def listing(self) -> Listing:
        """The files by name."""
        return Listing(self.names, {"": np.arange(len(self.names))}, notes=self._stacks())


class Pictures(Source):
    """Pillow's images, or encoded images, in memory."""

    kind = "pictures"
    in_memory = True

    def __init__(self, pictures: Sequence[Any], where: str, labels: Labels, column: str | None) -> None:
        self.where = f"{where} in memory"
        self.column = column
        self._pictures = [picture if isinstance(picture, bytes) else upright(picture) for picture in pictures]
        self._labels = labels

    def identity(self) -> Iterable[str]:
        """A hash of the pixels, or of the encoded images."""
        digest = hashlib.blake2b(digest_size=16)
        for picture in self._pictures:
            coded = isinstance(picture, bytes)
            digest.update(f"{len(picture)}".encode() if coded else f"{picture.mode}{picture.size}".encode())
            digest.update(picture if coded else picture.tobytes())
        return (str(len(self._pictures)), digest.hexdigest(), *_said(self._labels))

    def listing(self) -> Listing:
        """The pictures by number."""
        return _listing(len(self._pictures), self._labels)

    def header(self, index: int) -> Header:
        """Size and mode of one picture."""
        picture = self._pictures[index]
        return header(picture) if isinstance(picture, bytes) else Header(*picture.size, picture.mode)

    def read(self, index: int, near: int | None, deep: bool = False) -> "Given":
        """One picture."""
        picture = self._pictures[index]
        return decoded(picture, near, deep) if isinstance(picture, bytes) else picture


class Arrays(Source):
    """Arrays of several shapes in memory: those of one shape are an array of images each."""

    kind = "arrays"
    in_memory = True

    def __init__(
        self, arrays: Sequence[np.ndarray], where: str, layout: str | None, labels: Labels, column: str | None
    ) -> None:
        self.where = f"{where} in memory"
        self.layout, self.column = layout, column
        self._labels = labels
        groups: dict[tuple[Any, ...], list[int]] = {}
        for index, array in enumerate(arrays):
            groups.setdefault((array.shape, array.dtype.str), []).append(index)
        stacks = [np.stack([arrays[k] for k in rows]) for rows in groups.values()]
        self._parts = [Memory(stack, _layout(stack[0], layout), None, where) for stack in stacks]
        self._places = np.empty((len(arrays), 2), np.int64)
        for part, rows in enumerate(groups.values()):
            self._places[rows] = [(part, row) for row in range(len(rows))]

    def identity(self) -> Iterable[str]:
        """A hash of the arrays, and their order."""
        yield hashlib.blake2b(self._places.tobytes(), digest_size=16).hexdigest()
        for part in self._parts:
            yield from part.identity()
        yield from _said(self._labels)

    def listing(self) -> Listing:
        """The arrays by number; raises DataError where one cannot be an image."""
        for part in self._parts:
            part.listing()
        return _listing(len(self._places), self._labels)

    def check(self, chosen: np.ndarray, values: Values) -> None:
        """Raise DataError for values that cannot be pixels."""
        for part, rows in self._chosen(chosen):
            part.check(rows, values)

    def has_missing(self, chosen: np.ndarray) -> bool:
        """Whether a value is NaN."""
        return any(part.has_missing(rows) for part, rows in self._chosen(chosen))

    def _chosen(self, chosen: np.ndarray) -> "Iterator[tuple[Memory, np.ndarray]]":
        """Each array that some of the chosen are in, and their rows in it."""
        places = self._places[chosen]
        for number, part in enumerate(self._parts):
            if len(rows := places[places[:, 0] == number, 1]):
                yield part, rows

    def value_range(self) -> tuple[float, float]:
        """Smallest and largest value of all arrays."""
        spans = [part.value_range() for part in self._parts]
        return min(low for low, _ in spans), max(high for _, high in spans)

    def header(self, index: int) -> Header:
        """Size and mode of one array."""
        part, row = self._places[index].tolist()
        return self._parts[part].header(row)

    def read(self, index: int, near: int | None, deep: bool = False) -> np.ndarray:
        """The numbers of one array."""
        part, row = self._places[index].tolist()
        return self._parts[part].read(row, near)


def is_picture(thing: object) -> "TypeGuard[Image.Image]":
    """Whether it is Pillow's image; nothing is imported to know."""
    pillow = sys.modules.get("PIL.Image")
    return pillow is not None and isinstance(thing, pillow.Image)


def _read(given: MapStyle, where: str, layout: str | None, column: str | None, said: tuple[str, ...]) -> Source:
    images, labels = list[Any](), list[Any]()
    for index in range(len(given)):
        try:
            item = given[index]
        except Exception as error:  # whatever a person's own data set may raise
            text = next(iter(str(error).splitlines()), "")
            raise DataError(f"item {index} of {where} cannot be read: {type(error).__name__}: {text}") from error
        image, label = _parsed(item, index, where, column)
        images.append(image)
        labels.append(label)
    if not images:
        raise DataError(f"{where} is empty")
    kinds = [_kind(image) for image in images]
    if other := next((k for k, kind in enumerate(kinds) if kind != kinds[0]), None):
        raise UsageError(
            f"{where} holds {kinds[0]} (item 0) and {kinds[other]} (item {other}): give images of one kind"
        )
    found = _labels(given, labels, where)
    source = _made(images, kinds[0], where, layout, found, column)
    source.said = said
    return source


def _made(
    images: list[Any], kind: str, where: str, layout: str | None, labels: Labels, column: str | None
) -> Source:
    if kind == "paths":
        source: Source = Listed(_only_paths(images))
        return source
    if kind != "arrays":
        return Pictures(images, where, labels, column)
    wrong = next((k for k, image in enumerate(images) if image.ndim not in (2, 3)), None)
    if wrong is not None:
        shape = "x".join(map(str, images[wrong].shape)) or "a number"
        raise DataError(f"item {wrong} of {where} is {shape}: an image has two or three axes")
    if len({(image.shape, image.dtype) for image in images}) == 1:
        source = Memory(np.stack(images), _layout(images[0], layout), labels, where)
        source.column = column
        return source
    return Arrays(images, where, layout, labels, column)


def _parsed(item: Any, index: int, where: str, column: str | None) -> tuple[Any, Any]:
    """The image and the label, or None, of an item."""
    if isinstance(item, Mapping):
        return _of_mapping(item, index, where, column)
    if isinstance(item, tuple | list) and len(item) > 0:
        parts: list[Any] = [*item, None]
        return _image(parts[0], index, where), _label(parts[1])
    return _image(item, index, where), None


def _of_mapping(item: Mapping[Any, Any], index: int, where: str, column: str | None) -> tuple[Any, Any]:
    keys = [key for key in item if _could_be(item[key])]
    named = [key for key in IMAGE_KEYS if key in keys]
    if column is not None and column not in item:
        raise UsageError(f"item {index} of {where} has no {column!r}, but {listed([str(key) for key in item])}")
    if column is None and not named and len(keys) != 1:
        found = listed([str(key) for key in item])
        raise DataError(f"item {index} of {where} holds {found}: call its image 'image', or give column=")
    image = item[column or (named or keys)[0]]
    label = next((item[key] for key in LABEL_KEYS if key in item), None)
    return _image(image, index, where), _label(label)


def _could_be(value: Any) -> bool:
    return is_picture(value) or (isinstance(value, np.ndarray | torch.Tensor) and value.ndim in (2, 3))


def _image(thing: Any, index: int, where: str) -> Any:
    """An image as it is kept: tensors as arrays."""
    if isinstance(thing, torch.Tensor):
        return as_array(thing)
    if is_picture(thing) or isinstance(thing, np.ndarray | bytes | str | os.PathLike):
        return thing
    raise UsageError(
        f"item {index} of {where} is of type {type(thing).__name__}: expected a path, an array, a tensor or a "
        "Pillow image, alone, first in a tuple, or in a dict as 'image'"
    )


def _label(thing: Any) -> Any:
    """A label as Python has it; None for what is none, such as a second image."""
    if is_picture(thing) or isinstance(thing, Mapping):
        return None
    if isinstance(thing, np.ndarray | np.generic | torch.Tensor):
        if thing.ndim > 1:
            return None
        return thing.tolist()
    return thing


def _labels(given: Any, values: list[Any], where: str) -> Labels:
    if all(value is None for value in values):
        return Labels(None)
    found = class_numbers(values, len(values), where)
    names: Any = getattr(given, "classes", None)
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        return found
    if found.classes is None and found.numbers and max(found.numbers) < len(names):
        return Labels(found.numbers, list(names))
    return found


def _layout(image: np.ndarray, layout: str | None) -> str | None:
    """The layout of a stack of such images: of two axes they can only be grey."""
    return "NHW" if image.ndim == 2 and layout is None else layout


def _kind(image: Any) -> str:
    if isinstance(image, np.ndarray):
        return "arrays"
    if isinstance(image, str | os.PathLike):
        return "paths"
    return "encoded images" if isinstance(image, bytes) else "Pillow images"


def _only_paths(given: Sequence[Any]) -> list[Path]:
    wrong = next((k for k, item in enumerate(given) if not isinstance(item, str | os.PathLike)), None)
    if wrong is not None:
        other = type(given[wrong]).__name__
        raise UsageError(f"the list holds paths (item 0) and {other} (item {wrong}): give images of one kind")
    return [absolute(item) for item in given]


def _file(path: Path, root: Path) -> File:
    try:
        status = os.stat(path)
        if path.is_dir():
            raise DataError(f"{path} in the list is a folder: give image files, or one folder alone")
        regular(path)
    except OSError as error:
        raise DataError(f"{path} in the list cannot be opened: {error.strerror}") from None
    return path.relative_to(root).as_posix(), status.st_size, status.st_mtime_ns


def _listing(count: int, labels: Labels) -> Listing:
    notes = [labels.note] if labels.note else []
    return Listing(numbered(count), {"": np.arange(count)}, labels.numbers, labels.classes, notes)


def _said(labels: Labels) -> list[str]:
    return [] if labels.numbers is None else [f"labels|{labels.numbers}|{labels.classes}"]
