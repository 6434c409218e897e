"""Sources that are too large to be decoded at once: what is in them, and encoded images read in a row."""

import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

from copyfold.data.reading import cache
from copyfold.data.reading.archives import Zip
from copyfold.data.reading.columns import encoded
from copyfold.data.reading.decoding import Refused
from copyfold.data.reading.folders import Folder
from copyfold.data.reading.opening import Given, recognise
from copyfold.data.reading.rowgroups import Group, Layout, chunks, laid_out, reason
from copyfold.data.reading.shuffling import Piece
from copyfold.data.reading.tables import Hub, Parquet, quiet
from copyfold.data.reading.tiff import Page
from copyfold.errors import DataError, UsageError
from copyfold.types import Progress

Coded = bytes | str | Page | Refused
"""An encoded image, the file of one or its page, or why there is none."""

FILES = 16  # in a piece of a folder: few, since nothing is gained by opening neighbours one after the other


class Shards(ABC):
    """A source in parts, each of which is read from its beginning to its end."""

    where: str
    """What messages call it."""

    notes: tuple[str, ...]
    """Sentences about what was chosen, and what is not read."""

    splits: dict[str, list[Piece]]
    """What is in it, by the names that the source itself uses."""

    opened: ClassVar[int | None]
    """Pieces that are opened to look at some of its images; None: as many as there are."""

    @abstractmethod
    def name(self, part: int, row: int) -> str:
        """What messages call an image."""

    @abstractmethod
    def open(self, part: int, pool: ThreadPoolExecutor) -> Callable[[int], Coded]:
        """A reader of the rows of a part, to be asked for them in rising order; it reads ahead in the pool."""


class Files(Shards):
    """Image files in a folder or in a .zip; a piece is 16 that follow each other."""

    opened = None

    def __init__(self, source: Folder | Zip) -> None:
        self.where = source.where
        self._base = source.root if isinstance(source, Folder) else source.where
        self._source = source
        listing = source.listing()
        self._names = listing.names
        self._parts = list(listing.splits.items())
        self.notes = (*listing.notes, *source.asides())
        self.splits = {name: self._pieces(part) for part, (name, _) in enumerate(self._parts)}

    def name(self, part: int, row: int) -> str:
        """The path of the file."""
        return os.path.join(self._base, self._names[self._index(part, row)])

    def open(self, part: int, pool: ThreadPoolExecutor) -> Callable[[int], Coded]:
        """Files are opened by whoever decodes them; those in a .zip are read here."""
        return lambda row: self._coded(self._index(part, row))

    def _coded(self, index: int) -> Coded:
        try:
            return self._source.coded(index)
        except Refused as error:
            return error

    def _index(self, part: int, row: int) -> int:
        return int(self._parts[part][1][row])

    def _pieces(self, part: int) -> list[Piece]:
        count = len(self._parts[part][1])
        return [Piece(part, range(k, min(k + FILES, count))) for k in range(0, count, FILES)]


class Tables(Shards):
    """Parquet files, here or on the Hub; a piece is a row group."""

    opened = 32

    def __init__(self, source: Parquet | Hub, progress: Progress | None) -> None:
        self.where = source.where
        layout = _of_hub(source, progress) if isinstance(source, Hub) else source.laid_out(progress)
        self._column = layout.columns.image
        self.notes = (*layout.columns.notes, *source.asides())
        self._groups: list[Group] = []
        self.splits = {split: list(self._pieces(groups)) for split, groups in layout.splits.items()}
        files = list(dict.fromkeys(group.file for group in self._groups))
        self.identity = files if isinstance(source, Hub) else list(source.identity())

    def name(self, part: int, row: int) -> str:
        """The file and the number of the row in it."""
        group = self._groups[part]
        return f"{group.file} row {group.first + row}"

    def open(self, part: int, pool: ThreadPoolExecutor) -> Callable[[int], Coded]:
        """Rows of a row group, which is read 32 at a time, one such chunk ahead."""
        return _RowGroup(_ahead(self._chunks(part), pool))

    def _chunks(self, part: int) -> Iterator[Any]:
        return chunks(self._groups[part], self._column)

    def _pieces(self, groups: list[Group]) -> Iterator[Piece]:
        for group in groups:
            self._groups.append(group)
            yield Piece(len(self._groups) - 1, range(group.rows))


def find(given: Given, column: str | None, progress: Progress | None) -> tuple[Shards, object, list[str]]:
    """The shards of a source, what stands for it in a recipe, and what changes when its images do."""
    if not isinstance(given, str | os.PathLike | list | tuple):
        raise UsageError(f"a stream reads files, and cannot read a {type(given).__name__}: use Photos")
    source = recognise(given, None, column)
    if isinstance(source, Folder | Zip):
        return Files(source), source.describe(), list(source.identity())
    if isinstance(source, Parquet | Hub):
        tables = Tables(source, progress)
        return tables, source.describe(), tables.identity
    raise UsageError(
        f"{source.where} cannot be streamed: give a folder of parquet files or of images, a .zip of images, or "
        "hf://owner/name; what fits on the disk is faster with Photos"
    )


class _RowGroup:
    """Rows in rising order out of chunks that follow each other."""

    def __init__(self, chunks: Iterator[Any]) -> None:
        self._chunks = chunks
        self._chunk: Any = ()
        self._first = 0

    def __call__(self, row: int) -> Coded:
        while row >= self._first + len(self._chunk):
            self._first += len(self._chunk)
            self._chunk = next(self._chunks)
        return encoded(self._chunk[row - self._first].as_py())


def _ahead(chunks: Iterator[Any], pool: ThreadPoolExecutor) -> Iterator[Any]:
    """The chunks, the next one always being read already."""
    waiting = pool.submit(next, chunks, None)
    while (chunk := waiting.result()) is not None:
        waiting = pool.submit(next, chunks, None)
        yield chunk


def _of_hub(source: Hub, progress: Progress | None) -> Layout:
    """The files of every split, as `datasets` finds them; nothing but a README is downloaded."""
    import datasets

    mine = cache.unfinished()
    with cache.space(), quiet(), tempfile.TemporaryDirectory(prefix=mine, dir=cache.folder()) as locks:
        try:
            builder = datasets.load_dataset_builder(source.name, revision=source.revision, cache_dir=locks)
        except Exception as error:
            raise DataError(f"{source.where} cannot be read as a dataset: {reason(error)}") from None
    found = builder.config.data_files or {}
    files = {str(split): [str(file) for file in names] for split, names in found.items()}
    other = next((file for names in files.values() for file in names if not file.endswith(".parquet")), "")
    if other or not files:
        raise DataError(
            f"{source.where} is not in parquet{other and f', but has {other}'}: for one on the Hub, try its "
            "conversion, @refs/convert/parquet"
        )
    return laid_out(files, source.where, source.column, progress)
