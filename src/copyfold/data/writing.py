"""Tables written to a parquet file, which `datasets`, pandas and the like read."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from copyfold.files import escaped, written

GROUP = 2**25  # bytes that are in memory before they are written, together as a row group


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
