"""Files of tables, parquet and arrow, in groups of rows: what is in them, and reading their encoded images."""

import os
import struct
import tempfile
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache
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
UNPACKED, TIMES = 2**28, 100  # a column is not unpacked to more bytes than the larger of these, and so many times
# its own: of a row group where it is read, of a file where its images are kept in another
SHORT, WORD = 24, 8  # letters of a type in a message, bytes of a value's place in a list
LABELS, EACH = 2**26, 100  # bytes of labels that are read: so many, and so many for each row
MAPPED = 64  # arrow files of which the batches are known at a time
MAGIC, PADDED = b"ARROW1", 8  # how an arrow file begins and ends, and where the stream in it begins
DICTIONARY, BATCH = 2, 3  # numbers of arrow's kinds of messages
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


def labels(groups: list[Group], column: str) -> list[Any]:
    """A whole column of some groups, as Python has it; Refused where it is no column of labels, or too large."""
    from pyarrow import types

    found: list[Any] = []
    size, most = 0, LABELS + EACH * sum(group.rows for group in groups)
    for group in groups:
        for chunk in chunks(group, column):
            rows = _each(chunk)
            values = rows.flatten() if _is_list(rows.type) else rows
            if types.is_nested(values.type):
                raise Refused(f"they are {str(chunk.type)[:SHORT]}")
            size += values.nbytes + WORD * len(values)
            if size > most:
                raise Refused(f"they are more than {most:,} bytes")
            found += rows.to_pylist()
    return found


def _each(values: "pa.Array") -> "pa.Array":
    """Values each of which has bytes of its own, where several rows may refer to the same."""
    import pyarrow as pa
    from pyarrow import types

    if types.is_dictionary(values.type):
        return values.dictionary_decode()
    if types.is_string_view(values.type):
        return values.cast(pa.large_string())
    return values.cast(pa.large_binary()) if types.is_binary_view(values.type) else values


def _is_list(kind: "pa.DataType") -> bool:
    from pyarrow import types

    return types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)


class Spool:
    """Encoded images in any order: a group is read when one of its images is wanted first.

    They are kept in one temporary file, which has no name and goes with its process: groups may be larger than
    memory, and cannot be read from their middles.
    """

    def __init__(self, groups: list[Group], column: str) -> None:
        self._groups, self._column = groups, column
        self._places: dict[int, np.ndarray] = {}
        self._sizes: Counter[str] = Counter()  # bytes of the images of each file
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
        most = max(UNPACKED, TIMES * os.path.getsize(group.file))
        places = np.empty((group.rows, 2), np.int64)
        row = 0
        for chunk in chunks(group, self._column):
            for value in chunk:
                content = encoded(value.as_py())
                if isinstance(content, bytes):
                    self._sizes[group.file] += len(content)
                    if self._sizes[group.file] > most:
                        raise DataError(f"{group.file} would unpack to more than {most / 1e6:,.0f} MB of images")
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
            yield _Arrow(file) if file.endswith(".arrow") else _Parquet(file, stack)
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
        _believe(metadata.num_rows, self._size)
        return [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]

    def chunks(self, number: int, column: str) -> "Iterator[pa.Array]":
        """A column of a row group."""
        rows = self._at_once(number, column)
        for batch in self._file.iter_batches(rows, row_groups=[number], columns=[column], use_threads=False):
            yield batch.column(0)

    def _at_once(self, number: int, column: str) -> int:
        """The rows to read at once; ValueError where a column unpacks to far more than it has.

        A value that stands in many rows is in the file once, in a dictionary: rows are as large as that may be.
        """
        group = self._file.metadata.row_group(number)
        parts = [group.column(k) for k in range(group.num_columns)]
        parts = [part for part in parts if part.path_in_schema.partition(".")[0] == column.partition(".")[0]]
        packed = sum(part.total_compressed_size for part in parts)
        unpacked = sum(part.total_uncompressed_size for part in parts)
        if unpacked > max(UNPACKED, TIMES * packed):
            raise ValueError(f"its column {column} has {packed:,} bytes and would unpack to {unpacked:,}")
        dictionaries = sum(
            part.data_page_offset - part.dictionary_page_offset for part in parts if part.has_dictionary_page
        )
        return min(CHUNK, max(1, UNPACKED // max(1, unpacked - packed + dictionaries)))


class _Arrow:
    """An arrow file as `save_to_disk` writes it, memory-mapped."""

    def __init__(self, file: str) -> None:
        status = os.stat(file)
        self.schema, self._batches = _mapped(file, status.st_size, status.st_mtime_ns)

    def rows(self) -> list[int]:
        """Rows of each batch."""
        return [batch.num_rows for batch in self._batches]

    def chunks(self, number: int, column: str) -> "Iterator[pa.Array]":
        """A column of a batch."""
        batch = self._batches[number]
        values = batch.column(batch.schema.get_field_index(column))
        values.validate(full=True)  # arrow trusts a file's offsets, and would read beyond its end
        for start in range(0, len(values), CHUNK):
            yield values.slice(start, CHUNK)


@lru_cache(maxsize=MAPPED)
def _mapped(file: str, size: int, _time: int) -> "tuple[pa.Schema, list[pa.RecordBatch]]":
    """The columns and batches of an arrow file of a size and time of modification; nothing of it is in memory.

    A file in arrow's format of files has a stream in it, which is read: all batches must be gone through once,
    since what says in the footer where they are may lead elsewhere. ValueError where batches are compressed:
    arrow decompresses all columns of one at once, whatever that makes.
    """
    import pyarrow as pa

    content = pa.memory_map(file)
    whole = content.read(len(MAGIC)) == MAGIC
    if whole:
        content.seek(size - len(MAGIC))
        if content.read() != MAGIC:
            raise ValueError("it is cut short")
    content.seek(PADDED if whole else 0)
    for message in pa.ipc.MessageReader.open_stream(content):
        if _is_compressed(message.metadata.to_pybytes()):
            raise ValueError("it is compressed: save it without compression, or as parquet")
    content.seek(PADDED if whole else 0)
    stream, batches, rows = pa.ipc.open_stream(content), list[pa.RecordBatch](), 0
    for batch in stream:
        rows += batch.num_rows
        _believe(rows, size)
        batches.append(batch)
    return stream.schema, batches


def _is_compressed(message: bytes) -> bool:
    """Whether the metadata of a batch, or of a dictionary, say that its buffers are compressed.

    They are a table of flatbuffers; arrow has seen that its offsets lie inside.
    """

    def number(place: int, form: str = "<I") -> int:
        return struct.unpack_from(form, message, place)[0]

    def field(table: int, index: int) -> int:
        """Where a field of a table is; 0 where the table has none."""
        names = table - number(table, "<i")
        offset = number(names + 4 + 2 * index, "<H") if 4 + 2 * index < number(names, "<H") else 0
        return table + offset if offset else 0

    table = number(0)
    kind, body = field(table, 1), field(table, 2)
    if not kind or not body or message[kind] not in (DICTIONARY, BATCH):
        return False
    body += number(body)
    if message[kind] == DICTIONARY:
        body = field(body, 1)
        body += number(body)
    return bool(field(body, 3))


def _believe(rows: int, size: int) -> None:
    """ValueError where a file of so many bytes says that it has far more rows."""
    if rows > max(LEAST, size):
        raise ValueError(f"it states {rows:,} rows, in {size:,} bytes")


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
        for value in chunk:
            if (found := value.as_py()) is not None:
                return found
    return None
