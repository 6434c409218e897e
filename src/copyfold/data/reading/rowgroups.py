"""Files of tables, parquet and arrow, in groups of rows: what is in them, and reading their encoded images."""

import os
import tempfile
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from copyfold.data.reading import cache
from copyfold.data.reading.columns import Columns, chosen, encoded
from copyfold.data.reading.decoding import Refused
from copyfold.data.reading.parallel import in_order
from copyfold.errors import DataError
from copyfold.types import Progress

if TYPE_CHECKING:
    import pyarrow as pa

FOOTERS = 4  # files whose footers are read at once
CHUNK = 32  # rows that are read at once
BUFFER = 2**20  # bytes of a file that are; without it, pyarrow holds a whole row group for each that is open
LEAST = 10_000  # rows that are believed of any file; of more, each needs a byte of it
NONE, NAMES_FILE = -1, -2  # lengths of images that are none


@dataclass(frozen=True)
class Group:
    """Rows of a file that are read together: a row group of parquet, a batch of arrow."""

    file: str
    number: int
    first: int
    """Its first row in the file."""
    rows: int


@dataclass(frozen=True)
class Layout:
    """The groups of every split that has rows, and the columns that are read."""

    splits: dict[str, list[Group]]
    columns: Columns


def laid_out(
    files: dict[str, list[str]], where: str, column: str | None, progress: Progress | None = None
) -> Layout:
    """Read the footers of all files of a set, by split; no image is read, but one where no column is declared.

    Raises DataError where a file cannot be read, where there are no rows, or no column of images in all files.
    """
    names = list(dict.fromkeys(file for of_split in files.values() for file in of_split))
    found: dict[str, tuple[pa.Schema, list[Group]]] = {}
    for name, footer in zip(names, in_order(_footer, names, FOOTERS), strict=True):
        found[name] = footer
        if progress is not None:
            progress("looking at shards", len(found), len(names), {})
    splits = {split: [group for file in of_split for group in found[file][1]] for split, of_split in files.items()}
    splits = {split: groups for split, groups in splits.items() if groups}
    if not splits:
        raise DataError(f"{where} holds no rows")
    first = next(iter(splits.values()))[0]
    whole = found[first.file][0]
    if twice := [name for name, count in Counter(whole.names).items() if count > 1]:
        raise DataError(f"{first.file} has several columns called {twice[0]}: rename all but one")
    full = {name: schema for name, (schema, groups) in found.items() if groups}
    shared = [name for name in whole.names if all(name in schema.names for schema in full.values())]
    try:
        # Where a set has columns that some of its files lack, those that all have are chosen from.
        columns = chosen(_only(whole, shared), column, lambda name: _value(first, name), where)
    except DataError:
        wanted = chosen(whole, column, lambda name: _value(first, name), where).image
        lacking = next(name for name, schema in full.items() if wanted not in schema.names)
        raise DataError(f"{lacking} has no column {wanted}, and others of {where} have one") from None
    return Layout(splits, columns)


def chunks(group: Group, column: str) -> "Iterator[pa.Array]":
    """A column of a group, 32 rows at a time."""
    with opened(group.file) as table:
        yield from table.chunks(group.number, column)


def column_values(groups: list[Group], column: str) -> list[Any]:
    """A whole column of some groups, as Python has it."""
    return [value for group in groups for chunk in chunks(group, column) for value in chunk.to_pylist()]


class Spool:
    """Encoded images in any order: a group is read when one of its images is wanted first.

    They are kept in one temporary file, which has no name and goes with its process: groups may be larger than
    memory, and cannot be read from their middles.
    """

    def __init__(self, groups: list[Group], column: str) -> None:
        self._groups, self._column = groups, column
        self._places: dict[int, np.ndarray] = {}
        self._lock = Lock()
        self._file: IO[bytes] | None = None

    def __call__(self, number: int, row: int) -> bytes:
        """The encoded image in a row of a group; raises Refused where it holds none."""
        with self._lock, cache.space():
            if number not in self._places:
                self._places[number] = self._spooled(self._groups[number])
            start, length = self._places[number][row].tolist()
            if length < 0:
                raise Refused(str(encoded({"path": length == NAMES_FILE})))
            assert self._file is not None
            self._file.seek(start)
            return self._file.read(length)

    def close(self) -> None:
        """Remove the file."""
        with self._lock:
            if self._file is not None:
                self._file.close()
            self._file, self._places = None, {}

    def _spooled(self, group: Group) -> np.ndarray:
        """Copy the images of a group to the end of the file; their places and lengths."""
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix=cache.unfinished(), dir=cache.folder())  # noqa: SIM115
        at = self._file.seek(0, 2)
        places = np.empty((group.rows, 2), np.int64)
        row = 0
        for chunk in chunks(group, self._column):
            for value in chunk:
                content = encoded(value.as_py())
                if isinstance(content, bytes):
                    self._file.write(content)
                    places[row] = at, len(content)
                    at += len(content)
                else:
                    places[row] = 0, NAMES_FILE if "names" in str(content) else NONE
                row += 1
        return places


@contextmanager
def opened(file: str) -> "Generator[_Parquet | _Arrow]":
    """A context in which a file of a table is open, here or wherever fsspec finds it; failures name it."""
    try:
        with ExitStack() as stack:
            yield _Arrow(file, stack) if file.endswith(".arrow") else _Parquet(file, stack)
    except (DataError, Refused):
        raise
    except Exception as error:
        raise DataError(f"the shard {file} cannot be read: {reason(error)}") from None


class _Parquet:
    """A parquet file, here or at an address."""

    def __init__(self, file: str, stack: ExitStack) -> None:
        from pyarrow import parquet

        content: Any = file
        if "://" in file:
            import fsspec

            system, path = fsspec.url_to_fs(file)
            content = stack.enter_context(system.open(path))
            self._size = int(system.size(path) or 0)
        else:
            self._size = os.path.getsize(file)
        self._file = stack.enter_context(parquet.ParquetFile(content, buffer_size=BUFFER, pre_buffer=False))
        self.schema: pa.Schema = self._file.schema_arrow

    def rows(self) -> list[int]:
        """Rows of each row group."""
        metadata = self._file.metadata
        if metadata.num_rows > max(LEAST, self._size):
            raise ValueError(f"it states {metadata.num_rows:,} rows, in {self._size:,} bytes")
        return [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]

    def chunks(self, number: int, column: str) -> "Iterator[pa.Array]":
        """A column of a row group."""
        for batch in self._file.iter_batches(CHUNK, row_groups=[number], columns=[column], use_threads=False):
            yield batch.column(0)


class _Arrow:
    """An arrow file as `save_to_disk` writes it, memory-mapped."""

    def __init__(self, file: str, stack: ExitStack) -> None:
        import pyarrow as pa

        content = stack.enter_context(pa.memory_map(file))
        self._whole = content.read(6) == b"ARROW1"
        content.seek(0)
        self._file = pa.ipc.open_file(content) if self._whole else pa.ipc.open_stream(content)
        self.schema: pa.Schema = self._file.schema

    def _batches(self) -> "Iterator[pa.RecordBatch]":
        if self._whole:
            return (self._file.get_batch(k) for k in range(self._file.num_record_batches))
        return iter(self._file)

    def rows(self) -> list[int]:
        """Rows of each batch."""
        return [batch.num_rows for batch in self._batches()]

    def chunks(self, number: int, column: str) -> "Iterator[pa.Array]":
        """A column of a batch."""
        batch = next(batch for k, batch in enumerate(self._batches()) if k == number)
        values = batch.column(batch.schema.get_field_index(column))
        values.validate(full=True)  # arrow trusts a file's offsets, and would read beyond its end
        for start in range(0, len(values), CHUNK):
            yield values.slice(start, CHUNK)


def reason(error: BaseException) -> str:
    """What an error says first, or what it is called; of one that only wraps another, what that says."""
    while type(error).__name__.startswith("DatasetGeneration") and (inner := error.__cause__ or error.__context__):
        error = inner
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "") or type(error).__name__


def _footer(file: str) -> "tuple[pa.Schema, list[Group]]":
    """The columns of a file, and its groups that have rows."""
    with opened(file) as table:
        groups, first = [], 0
        for number, rows in enumerate(table.rows()):
            if rows:
                groups.append(Group(file, number, first, rows))
            first += rows
        return table.schema, groups


def _only(schema: "pa.Schema", names: list[str]) -> "pa.Schema":
    import pyarrow as pa

    return pa.schema([schema.field(name) for name in names], metadata=schema.metadata)


def _value(group: Group, column: str) -> Any:
    """The first value of a column of a group that is there."""
    for chunk in chunks(group, column):
        for value in chunk.to_pylist():
            if value is not None:
                return value
    return None
