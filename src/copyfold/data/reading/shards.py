"""Sources that are too large to be decoded at once: what is in them, and encoded images read in a row."""

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from typing import Any, ClassVar

from copyfold.data.reading import cache
from copyfold.data.reading.cache import UNFINISHED
from copyfold.data.reading.decoding import Refused
from copyfold.data.reading.folders import Folder
from copyfold.data.reading.opening import Given, recognise
from copyfold.data.reading.parallel import in_order
from copyfold.data.reading.shuffling import Piece
from copyfold.data.reading.tables import IMAGE_COLUMNS, Hub, Parquet, first_line, quiet
from copyfold.data.reading.tiff import Page
from copyfold.errors import DataError, UsageError
from copyfold.types import Progress

Coded = bytes | str | Page | Refused
"""An encoded image, the file of one or its page, or why there is none."""

FOOTERS = 4  # files whose footers are read at once
CHUNK = 32  # rows that are read at once
BUFFER = 2**20  # bytes of a file that are; without it, pyarrow holds a whole row group for each that is open
FILES = 16  # in a piece of a folder: few, since nothing is gained by opening neighbours one after the other


class Shards(ABC):
    """A source in parts, each of which is read from its beginning to its end."""

    where: str
    """What messages call it."""

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
    """A folder of image files; a piece is 16 that follow each other."""

    opened = None

    def __init__(self, folder: Folder) -> None:
        self.where = folder.where
        self._folder = folder
        self._parts = list(folder.listing().splits.items())
        self.splits = {name: self._pieces(part) for part, (name, _) in enumerate(self._parts)}

    def name(self, part: int, row: int) -> str:
        """The path of the file, and its page."""
        return str(self._folder.root / self._folder.names[self._parts[part][1][row]])

    def open(self, part: int, pool: ThreadPoolExecutor) -> Callable[[int], Coded]:
        """Files are opened by whoever decodes them."""
        return lambda row: self._folder.coded(int(self._parts[part][1][row]))

    def _pieces(self, part: int) -> list[Piece]:
        count = len(self._parts[part][1])
        return [Piece(part, range(k, min(k + FILES, count))) for k in range(0, count, FILES)]


class Tables(Shards):
    """Parquet files, here or on the Hub: `datasets` finds them and their splits. A piece is a row group."""

    opened = 32

    def __init__(self, source: Parquet | Hub, progress: Progress | None) -> None:
        self.where = source.where
        self._parts: list[tuple[str, int, int]] = []  # file, row group, its first row
        self._column = ""
        self.splits = {}
        found = _found(source)
        files = [file for names in found.values() for file in names]
        counts = self._counted(files, progress)
        for split, names in found.items():
            if pieces := [piece for file in names for piece in self._pieces(file, counts[file])]:
                self.splits[split] = pieces
        self.identity = files if isinstance(source, Hub) else list(source.identity())

    def name(self, part: int, row: int) -> str:
        """The file and the number of the row in it."""
        file, _, first = self._parts[part]
        return f"{file} row {first + row}"

    def open(self, part: int, pool: ThreadPoolExecutor) -> Callable[[int], Coded]:
        """Rows of a row group, which is read 32 at a time, one such chunk ahead."""
        file, group, _ = self._parts[part]
        return _RowGroup(_ahead(self._chunks(file, group), pool))

    def _chunks(self, file: str, group: int) -> Iterator[Any]:
        with _table(file) as table:
            columns = [self._column]
            for batch in table.iter_batches(CHUNK, row_groups=[group], columns=columns, use_threads=False):
                yield batch.column(0)

    def _counted(self, files: list[str], progress: Progress | None) -> dict[str, list[int]]:
        """The number of rows of every row group of every file, from the files' footers."""
        counts = {}
        for file, (names, found) in zip(files, in_order(_footer, files, FOOTERS), strict=True):
            self._column = self._column or _image_column(names, self.where)
            if self._column not in names:
                raise DataError(f"{file} has no column {self._column}, and others of {self.where} have one")
            counts[file] = found
            if progress is not None:
                progress("looking at shards", len(counts), len(files), {})
        return counts

    def _pieces(self, file: str, counts: list[int]) -> Iterator[Piece]:
        first = 0
        for group, count in enumerate(counts):
            if count:
                self._parts.append((file, group, first))
                yield Piece(len(self._parts) - 1, range(count))
            first += count


def find(given: Given, progress: Progress | None) -> tuple[Shards, object, list[str]]:
    """The shards of a source, what stands for it in a recipe, and what changes when its images do."""
    source = recognise(given, None)
    if isinstance(source, Folder):
        return Files(source), source.describe(), list(source.identity())
    if isinstance(source, Parquet | Hub):
        tables = Tables(source, progress)
        return tables, source.describe(), tables.identity
    raise UsageError(
        f"{source.where} cannot be streamed: give a folder of parquet files or of images, or hf://owner/name; "
        "what fits on the disk is faster with Photos"
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
        value = self._chunk[row - self._first].as_py()
        content, path = (value.get("bytes"), value.get("path")) if isinstance(value, dict) else (value, None)
        if isinstance(content, bytes):
            return content
        return Refused("names a file instead of holding an image" if path else "holds no image")


def _ahead(chunks: Iterator[Any], pool: ThreadPoolExecutor) -> Iterator[Any]:
    """The chunks, the next one always being read already."""
    waiting = pool.submit(next, chunks, None)
    while (chunk := waiting.result()) is not None:
        waiting = pool.submit(next, chunks, None)
        yield chunk


@contextmanager
def _table(file: str) -> Generator[Any]:
    """A context in which a parquet file is open, here or wherever fsspec finds it; failures name it."""
    import fsspec
    from pyarrow import parquet

    try:
        if "://" in file:
            system, path = fsspec.url_to_fs(file)
            source = system.open(path)
        else:
            source = nullcontext(file)
        with source as content, parquet.ParquetFile(content, buffer_size=BUFFER, pre_buffer=False) as table:
            yield table
    except Exception as error:
        raise DataError(f"the shard {file} cannot be read: {first_line(error)}") from None


def _footer(file: str) -> tuple[dict[str, str], list[int]]:
    """The kinds of the columns of a parquet file by name, and the rows of each of its row groups."""
    import datasets

    with _table(file) as table:
        features = datasets.Features.from_arrow_schema(table.schema_arrow)
        groups = range(table.metadata.num_row_groups)
        rows = [table.metadata.row_group(group).num_rows for group in groups]
    return {name: type(feature).__name__ for name, feature in features.items()}, rows


def _image_column(kinds: dict[str, str], where: str) -> str:
    columns = [name for name, kind in kinds.items() if kind == "Image"]
    columns += [name for name in IMAGE_COLUMNS if name in kinds]
    if not columns:
        raise DataError(f"{where} has no column of images among {', '.join(kinds)}")
    return columns[0]


def _found(source: Parquet | Hub) -> dict[str, list[str]]:
    """The files of every split, as `datasets` finds them; nothing but a README is downloaded."""
    import datasets

    if isinstance(source, Parquet) and source.path.is_file():
        return {"": [str(source.path)]}
    name, revision = (source.name, source.revision) if isinstance(source, Hub) else (str(source.path), None)
    with cache.space(), quiet(), tempfile.TemporaryDirectory(prefix=UNFINISHED, dir=cache.folder()) as locks:
        try:
            builder = datasets.load_dataset_builder(name, revision=revision, cache_dir=locks)
        except Exception as error:
            raise DataError(f"{source.where} cannot be read as a dataset: {first_line(error)}") from None
    found = builder.config.data_files or {}
    files = {str(split): [str(file) for file in names] for split, names in found.items()}
    other = next((file for names in files.values() for file in names if not file.endswith(".parquet")), "")
    if other or not files:
        raise DataError(
            f"{source.where} is not in parquet{other and f', but has {other}'}: for one on the Hub, try its "
            "conversion, @refs/convert/parquet"
        )
    return files
