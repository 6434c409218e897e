"""Images in the rows of tables: local parquet and arrow files, read by pyarrow, and data sets on the Hub."""

from bisect import bisect_right
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from copyfold.data.reading.columns import Columns, chosen, encoded
from copyfold.data.reading.decoding import Header, Refused, header
from copyfold.data.reading.depth import decoded
from copyfold.data.reading.folders import File
from copyfold.data.reading.labels import class_numbers, without
from copyfold.data.reading.rowgroups import Layout, Spool, labels, laid_out, reason
from copyfold.data.reading.sources import Listing, Source
from copyfold.data.reading.splits import TRAIN, of_files
from copyfold.data.reading.unread import Unread
from copyfold.errors import DataError
from copyfold.files import binary, real, recipe_from
from copyfold.types import Progress

if TYPE_CHECKING:
    from copyfold.data.reading.values import Given

PARQUET = frozenset({".parquet"})
ARROW = frozenset({".arrow"})
CACHED = ("cache-", "tmp", "indices")
"""How arrow files begin in which `datasets` keeps what it computed: they are no part of the set."""

FRONT = 2**16  # bytes of a README that may be its configuration


class Parquet(Source):
    """A local folder of parquet files, or of arrow files as `save_to_disk` writes them, or one such file.

    Splits follow from the names of folders and files, see `splits.of_files`, and from nothing that a file says: a
    README.md is not obeyed, and a row cannot name another file. Nothing is asked of the network.
    """

    kind = "parquet dataset"

    def __init__(
        self, path: Path, files: list[File], column: str | None = None, unread: Unread | None = None
    ) -> None:
        self.where = str(path)
        self.path = path
        self.files = files
        self.column = column
        self.unread = Unread() if unread is None else unread
        self._spool: Spool | None = None

    def identity(self) -> Iterable[str]:
        """Path, size and modification time of every file."""
        yield str(self.path)
        yield from (f"{path}|{size}|{time}" for path, size, time in self.files)
        if self.column is not None:
            yield f"column|{self.column}"

    def laid_out(self, progress: Progress | None = None) -> Layout:
        """What is in the files, by their footers."""
        if "_layout" not in vars(self):
            self._layout = laid_out(self._splits[0], self.where, self.column, progress)
        return self._layout

    def asides(self) -> tuple[str, ...]:
        """Also the files that are in no split, where others are."""
        beside = len(self._splits[1])
        said = f"{beside} {'file is' if beside == 1 else 'files are'} not used: the names of others say splits"
        return (*super().asides(), *[said] * bool(beside))

    def listing(self) -> Listing:
        """Rows are called split/number; labels come with their names where the table has them."""
        layout = self.laid_out()
        splits, names = {}, list[str]()
        for split, groups in layout.splits.items():
            rows = sum(group.rows for group in groups)
            splits[split] = np.arange(len(names), len(names) + rows)
            names += [f"{split}/{row:0{len(str(rows - 1))}d}" for row in range(rows)]
        groups = [group for of_split in layout.splits.values() for group in of_split]
        return _listing(names, splits, layout.columns, lambda column: labels(groups, column), self.where)

    def header(self, index: int) -> Header:
        """Size and mode of one row's image."""
        return header(self.coded(index))

    def read(self, index: int, near: int | None, deep: bool = False) -> "Given":
        """One row's image, decoded."""
        return decoded(self.coded(index), near, deep)

    def coded(self, index: int) -> bytes:
        """The encoded image in a row."""
        groups, starts = self._places
        group = bisect_right(starts, index) - 1
        return groups(group, index - starts[group])

    def close(self) -> None:
        """Remove the temporary file of encoded images."""
        if self._spool is not None:
            self._spool.close()

    @cached_property
    def _splits(self) -> tuple[dict[str, list[str]], list[str]]:
        """The files of every split, and those of none."""
        if self.path.is_file():
            return {TRAIN: [str(self.path)]}, []
        paths = [file[0] for file in self.files]
        _check_configurations(self.path, paths)
        splits, beside = of_files(paths, (self.path / "dataset_dict.json").is_file())
        return {split: [str(self.path / path) for path in found] for split, found in splits.items()}, beside

    @cached_property
    def _places(self) -> tuple[Spool, list[int]]:
        """The images of all groups, and the number of the first of each."""
        layout = self.laid_out()
        groups = [group for of_split in layout.splits.values() for group in of_split]
        self._spool = Spool(groups, layout.columns.image)
        return self._spool, np.cumsum([0, *(group.rows for group in groups)])[:-1].tolist()


class Saved(Parquet):
    """A folder that `save_to_disk` of `datasets` has written."""

    kind = "saved dataset"


def arrow_files(files: list[File]) -> list[File]:
    """Those of a saved set, without what `datasets` has computed from it and left there."""
    return [file for file in files if not file[0].rpartition("/")[2].startswith(CACHED)]


class Hub(Source):
    """A dataset on the Hub, hf://owner/name[@revision]: all that uses the network.

    Its identity is its id: a dataset that changes under the same id is not noticed; name a revision.
    """

    kind = "Hub dataset"

    def __init__(self, address: str, column: str | None = None) -> None:
        self.where = address
        self.name, _, revision = address.removeprefix("hf://").partition("@")
        self.revision = revision or None
        self.column = column
        if not self.name or self.name.count("/") > 1 or not all(self.name.split("/")):
            raise DataError(f"{address} is not a dataset on the Hub: write hf://owner/name")

    def identity(self) -> Iterable[str]:
        """The id and the revision asked for."""
        yield from (self.name, self.revision or "")
        if self.column is not None:
            yield f"column|{self.column}"

    def listing(self) -> Listing:
        """Rows are called split/number; labels come with their names where the dataset has them."""
        columns = self._columns
        splits, names = {}, list[str]()
        for split, table in self._tables.items():
            rows = table.num_rows
            splits[split] = np.arange(len(names), len(names) + rows)
            names += [f"{split or 'row'}/{row:0{len(str(rows - 1))}d}" for row in range(rows)]

        def values(column: str) -> list[Any]:
            return [value for table in self._tables.values() for value in table.column(column).to_pylist()]

        return _listing(names, splits, columns, values, self.where)

    def header(self, index: int) -> Header:
        """Size and mode of one row's image."""
        return header(self._coded(index))

    def read(self, index: int, near: int | None, deep: bool = False) -> "Given":
        """One row's image, decoded."""
        return decoded(self._coded(index), near, deep)

    @cached_property
    def _splits(self) -> dict[str, Any]:
        """All splits that have rows, as `datasets` has them."""
        with quiet():
            loaded = self._load()
            splits = dict(loaded) if isinstance(loaded, dict) else {"": loaded}
            return {name: rows for name, rows in splits.items() if len(rows)}

    @cached_property
    def _tables(self) -> dict[str, Any]:
        """Their Arrow tables as they lie on the disk: nothing is read or decoded."""
        with quiet():
            return {name: rows.with_format("arrow")[:] for name, rows in self._splits.items()}

    @cached_property
    def _columns(self) -> Columns:
        if not self._tables:
            raise DataError(f"{self.where} holds no rows")
        table = next(iter(self._tables.values()))

        def first(name: str) -> Any:
            values = (value.as_py() for value in table.column(name))
            return next((value for value in values if value is not None), None)

        schema = next(iter(self._splits.values())).features.arrow_schema
        return chosen(schema, self.column, first, self.where)

    @cached_property
    def _images(self) -> tuple[list[Any], list[int]]:
        """The pieces that the column of images lies in, and the number of the first image of each."""
        pieces = [piece for table in self._tables.values() for piece in table.column(self._columns.image).chunks]
        return pieces, np.cumsum([0, *map(len, pieces)])[:-1].tolist()

    def _load(self) -> Any:
        import datasets

        try:
            return datasets.load_dataset(self.name, revision=self.revision)
        except Exception as error:
            raise DataError(
                f"the Hub dataset {self.name} cannot be loaded: {reason(error)}; "
                "see that the name is right and the network is there"
            ) from None

    def _coded(self, index: int) -> bytes | Path:
        """The encoded image in a row: its bytes, or a file that the library itself has downloaded."""
        pieces, starts = self._images
        place = bisect_right(starts, index) - 1
        value = pieces[place][index - starts[place]].as_py()
        content = encoded(value)
        if isinstance(content, bytes):
            return content
        path = value.get("path") if isinstance(value, dict) else None
        if isinstance(path, str):
            from datasets import config

            place = real(path)
            trusted = (Path(config.HF_CACHE_HOME), Path(config.HF_DATASETS_CACHE))
            if any(place.is_relative_to(real(folder)) for folder in trusted):
                return place
        raise content


@contextmanager
def quiet() -> Generator[None]:
    """Keep `datasets` from drawing progress bars and from logging what is raised as an error anyway."""
    import datasets
    from datasets.utils import logging

    drawn, level = datasets.are_progress_bars_disabled(), logging.get_verbosity()
    datasets.disable_progress_bars()
    logging.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if not drawn:
            datasets.enable_progress_bars()


def _listing(
    names: list[str],
    splits: dict[str, np.ndarray],
    columns: Columns,
    values: Callable[[str], list[Any]],
    where: str,
) -> Listing:
    """The rows of a table, with labels where `values` of their column can be used."""
    notes = list(columns.notes)
    if columns.label is None:
        return Listing(names, splits, notes=notes)
    said = f"the column {columns.label} of {where}"
    try:
        found = class_numbers(values(columns.label), len(names), said)
    except Refused as error:
        found = without(said, str(error))
    if found.note:
        notes.append(found.note)
    classes = columns.classes or found.classes
    if found.numbers and classes and max(found.numbers) >= len(classes):  # more numbers than names
        classes = None
    return Listing(names, splits, found.numbers, classes, notes)


def _check_configurations(root: Path, paths: list[str]) -> None:
    """DataError where a README divides a folder into several data sets, which are not one."""
    configurations = _configurations(root / "README.md")
    if len(configurations) < 2:
        return
    folders = sorted({path.split("/")[0] for path in paths if "/" in path})
    named = [str(root / folder) for folder in folders]
    many = f": {', '.join(folders)}" if len(folders) > 1 else f", {', '.join(configurations)}"
    advice = f"give one of them, as in {named[0]}" if len(folders) > 1 else "give the files of one"
    raise DataError(f"{root} holds {len(configurations)} data sets, as its README.md says{many}: {advice}")


def _configurations(readme: Path) -> list[str]:
    """The names of the configurations in the front matter of a README; none where it is unreadable."""
    import yaml

    try:
        with binary(readme) as file:
            text = file.read(FRONT).decode("utf-8", "replace")
        if not text.startswith("---") or "configs" not in text:
            return []
        front = recipe_from(text.split("---")[1])
        return [str(config.get("config_name")) for config in front["configs"] if isinstance(config, dict)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, yaml.YAMLError):
        return []
