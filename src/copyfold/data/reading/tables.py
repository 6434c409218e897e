"""Datasets of the Hugging Face kind: a local folder of parquet files, or an id on the Hub."""

import tempfile
from abc import abstractmethod
from bisect import bisect_right
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from copyfold.data.reading import cache
from copyfold.data.reading.decoding import Header, Refused, decode, header
from copyfold.data.reading.folders import File
from copyfold.data.reading.sources import Listing, Source
from copyfold.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

PARQUET = frozenset({".parquet"})
IMAGE_COLUMNS = ("image", "img")
LABEL_COLUMNS = ("label", "labels", "fine_label")


class Table(Source):
    """Images in the rows of a dataset, which is loaded only when a row is wanted."""

    @abstractmethod
    def _load(self) -> Any:
        """All splits, by name."""

    def _trusted(self) -> list[Path]:
        """Folders of which a row may name a file instead of holding the image itself."""
        return []

    @cached_property
    def _splits(self) -> dict[str, Any]:
        with quiet():
            loaded = self._load()
            splits = dict(loaded) if isinstance(loaded, dict) else {"": loaded}
            # One look-up per split gives the Arrow table as it lies on the disk: nothing is read or decoded.
            return {name: (rows, rows.with_format("arrow")[:]) for name, rows in splits.items() if len(rows)}

    @cached_property
    def _columns(self) -> tuple[str, str | None]:
        if not self._splits:
            raise DataError(f"{self.where} holds no rows")
        rows, _ = next(iter(self._splits.values()))
        kinds = {name: type(feature).__name__ for name, feature in rows.features.items()}
        images = [name for name, kind in kinds.items() if kind == "Image"]
        images += [name for name in IMAGE_COLUMNS if name in kinds]
        if not images:
            raise DataError(f"{self.where} has no column of images among {', '.join(kinds)}")
        labels = [name for name in LABEL_COLUMNS if kinds.get(name) == "ClassLabel"]
        labels += [name for name, kind in kinds.items() if kind == "ClassLabel"]
        plain = {name: getattr(feature, "dtype", "") for name, feature in rows.features.items()}
        labels += [name for name in LABEL_COLUMNS if plain.get(name, "").startswith("int")]
        return images[0], labels[0] if labels else None

    @cached_property
    def _images(self) -> tuple[list[Any], list[int]]:
        """The pieces that the column of images lies in, and the number of the first image of each."""
        column, _ = self._columns
        pieces = [piece for _, table in self._splits.values() for piece in table.column(column).chunks]
        return pieces, np.cumsum([0, *map(len, pieces)])[:-1].tolist()

    def listing(self) -> Listing:
        """Rows are called split/number; labels come with their names where the dataset has them."""
        column = self._columns[1]
        splits, names, labels = {}, [], []
        for split, (_, table) in self._splits.items():
            rows = table.num_rows
            splits[split] = np.arange(len(names), len(names) + rows)
            names += [f"{split or 'row'}/{row:0{len(str(rows - 1))}d}" for row in range(rows)]
            if column is not None:
                labels += [-1 if label is None else label for label in table.column(column).to_pylist()]
        rows, _ = next(iter(self._splits.values()))
        classes = getattr(rows.features[column], "names", None) if column is not None else None
        return Listing(names, splits, labels if column is not None else None, classes and list(classes))

    def header(self, index: int) -> Header:
        """Size and mode of one row's image."""
        return header(self._coded(index))

    def read(self, index: int, near: int | None) -> "Image.Image":
        """One row's image, decoded."""
        return decode(self._coded(index), near)

    def _coded(self, index: int) -> bytes | Path:
        """The coded image in a row: its bytes, or a file that the library itself has downloaded."""
        pieces, starts = self._images
        place = bisect_right(starts, index) - 1
        value = pieces[place][index - starts[place]].as_py()
        content, path = (value.get("bytes"), value.get("path")) if isinstance(value, dict) else (value, None)
        if isinstance(content, bytes):
            return content
        if isinstance(path, str):
            real = Path(path).resolve()
            if any(real.is_relative_to(folder.resolve()) for folder in self._trusted()):
                return real
            raise Refused("names a file instead of holding an image")
        raise Refused("holds no image")


class Parquet(Table):
    """A local folder of parquet files, or one such file."""

    kind = "parquet dataset"

    def __init__(self, path: Path, files: list[File]) -> None:
        self.where = str(path)
        self.path = path
        self.files = files
        self._copies: tempfile.TemporaryDirectory[str] | None = None

    def identity(self) -> Iterable[str]:
        """Path, size and modification time of every parquet file."""
        yield str(self.path)
        yield from (f"{path}|{size}|{time}" for path, size, time in self.files)

    def close(self) -> None:
        """Remove the copy that `datasets` makes of every parquet file it opens."""
        if self._copies is not None:
            self._copies.cleanup()

    def _load(self) -> Any:
        import datasets

        with cache.space():
            self._copies = tempfile.TemporaryDirectory(
                prefix=cache.UNFINISHED, dir=cache.folder(), ignore_cleanup_errors=True
            )
            copies = self._copies.name
            try:
                if self.path.is_file():
                    return datasets.load_dataset("parquet", data_files=str(self.path), cache_dir=copies)
                return datasets.load_dataset(str(self.path), cache_dir=copies)
            except Exception as error:
                if cache.is_full(error):
                    raise
                raise DataError(f"{self.where} cannot be read as a dataset: {first_line(error)}") from None


class Hub(Table):
    """A dataset on the Hub, hf://owner/name[@revision]: all that uses the network.

    Its identity is its id: a dataset that changes under the same id is not noticed; name a revision.
    """

    kind = "Hub dataset"

    def __init__(self, address: str) -> None:
        self.where = address
        self.name, _, revision = address.removeprefix("hf://").partition("@")
        self.revision = revision or None
        if not self.name or self.name.count("/") > 1 or not all(self.name.split("/")):
            raise DataError(f"{address} is not a dataset on the Hub: write hf://owner/name")

    def identity(self) -> Iterable[str]:
        """The id and the revision asked for."""
        return self.name, self.revision or ""

    def _load(self) -> Any:
        import datasets

        try:
            return datasets.load_dataset(self.name, revision=self.revision)
        except Exception as error:
            raise DataError(
                f"the Hub dataset {self.name} cannot be loaded: {first_line(error)}; "
                "see that the name is right and the network is there"
            ) from None

    def _trusted(self) -> list[Path]:
        from datasets import config

        return [Path(config.HF_CACHE_HOME), Path(config.HF_DATASETS_CACHE)]


@contextmanager
def quiet() -> Generator[None]:
    """Keep `datasets` from drawing its own progress bars."""
    import datasets

    drawn = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if not drawn:
            datasets.enable_progress_bars()


def first_line(error: Exception) -> str:
    """What an error says first, or what it is called."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__
