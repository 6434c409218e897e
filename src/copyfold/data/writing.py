"""Tables written to a file, .parquet or .csv, which `datasets`, pandas and the like read."""

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from copyfold.errors import UsageError
from copyfold.files import check_file, escaped, written

GROUP = 2**25  # bytes that are in memory before they are written, together as a row group
ROWS = 4096  # rows of a table that are written together


def check_table(path: str | Path) -> None:
    """UsageError where a path is none of a table that can be written."""
    if Path(path).suffix not in (".csv", ".parquet"):
        raise UsageError(f"{path} is invalid for a table: expected a .csv or .parquet file")
    check_file(path)


def write_table(path: str | Path, columns: Mapping[str, tuple[Any, Any]]) -> Path:
    """Write columns, each a kind and a sequence of values, to a .csv or .parquet file, and return its path.

    Kinds are those of `write_parquet`. In a .csv file a class has its name, truth is true or false, and numbers
    are in full.
    """
    check_table(path)
    path = Path(path)
    kinds = {name: kind for name, (kind, _) in columns.items()}
    values = [found for _, found in columns.values()]
    starts = range(0, len(values[0]), ROWS)
    batches = ([found[start : start + ROWS] for found in values] for start in starts)
    if path.suffix == ".parquet":
        write_parquet(path, kinds, batches)
        return path
    with written(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(kinds)
        for batch in batches:
            cells = [
                [_cell(kind, value) for value in found] for kind, found in zip(kinds.values(), batch, strict=True)
            ]
            writer.writerows(zip(*cells, strict=True))
    return path


def _cell(kind: Any, value: Any) -> Any:
    """A value as a .csv file has it."""
    if isinstance(kind, tuple):
        return kind[int(value)] if value >= 0 else ""
    if kind == "name":
        return escaped(str(value))
    return str(bool(value)).lower() if kind == "bool" else value


def write_parquet(path: str | Path, columns: Mapping[str, Any], batches: Iterable[Sequence[Any]]) -> int:
    """Write rows to a parquet file, a batch at a time, and return how many they were.

    `columns` are their kinds by name: a type such as "string" or "float32"; "name" for names of files, which need
    not be UTF-8 and are written as `files.escaped` has them; [type] for a list of numbers in every row; a tuple of
    names for class numbers, -1 where there is none. A batch is a sequence of columns in that
    order, each a list or array of n values; of lists an array n x d. Memory does not grow with the rows. The
    file is whole or it is not there, see `files.written`.
    """
    import pyarrow as pa
    from pyarrow import parquet

    classes = {
        name: {"names": [escaped(one) for one in kind], "_type": "ClassLabel"}
        for name, kind in columns.items()
        if isinstance(kind, tuple)
    }
    known = {"huggingface": json.dumps({"info": {"features": classes}})}  # where `datasets` looks for names
    schema = pa.schema([(name, _kind(kind)) for name, kind in columns.items()], metadata=known)
    rows = 0
    with (
        written(path) as temporary,
        temporary.open("wb") as file,  # Arrow opens no path that is no UTF-8
        parquet.ParquetWriter(file, schema, use_dictionary=False) as writer,
    ):
        waiting = []
        for batch in batches:
            kinds = zip(batch, schema, columns.values(), strict=True)
            arrays = [_column(_texts(values, kind), field.type) for values, field, kind in kinds]
            waiting.append(pa.table(arrays, schema=schema))
            rows += len(waiting[-1])
            if sum(table.nbytes for table in waiting) >= GROUP:
                writer.write_table(pa.concat_tables(waiting))
                waiting = []
        if waiting:
            writer.write_table(pa.concat_tables(waiting))
    return rows


def _kind(kind: Any) -> Any:
    """The kind of a column in the words of Arrow."""
    import pyarrow as pa

    if isinstance(kind, tuple):
        return pa.int64()
    if kind == "name":
        return pa.string()
    return pa.list_(pa.type_for_alias(kind[0])) if isinstance(kind, list) else pa.type_for_alias(kind)


def _texts(values: Any, kind: Any) -> Any:
    """Names of files as text; other values as they are."""
    return [escaped(value) for value in values] if kind == "name" else values


def _column(values: Any, kind: Any) -> Any:
    """Values as an Arrow array; the rows of an n x d array as lists, without a copy of their numbers."""
    import pyarrow as pa

    if isinstance(values, np.ndarray) and values.ndim == 2:
        ends = np.arange(len(values) + 1, dtype=np.int32) * values.shape[1]
        return pa.ListArray.from_arrays(ends, pa.array(values.reshape(-1)), type=kind)
    return pa.array(values, type=kind)
