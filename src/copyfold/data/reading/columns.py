"""Which column of a table holds the images, and which their labels: one rule for parquet, arrow and the Hub."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from copyfold.catalogue import nearest
from copyfold.data.reading.decoding import Refused, header
from copyfold.errors import DataError, UsageError

if TYPE_CHECKING:
    import pyarrow as pa

IMAGE_COLUMNS = ("image", "img")
LABEL_COLUMNS = ("label", "labels", "fine_label", "target", "class", "category")
NAMED = 8
SHORT = 24  # letters of a type


class NoImages(DataError):
    """A table without a column of images."""


@dataclass(frozen=True)
class Columns:
    """The columns that are read. `classes` are the names of the label's numbers, where the table has them."""

    image: str
    label: str | None
    classes: list[str] | None
    notes: tuple[str, ...] = ()


def chosen(schema: "pa.Schema", wanted: str | None, first: Callable[[str], Any], where: str) -> Columns:
    """Choose the column called image, else img, else the only one of images, else the first, which is said.

    Images are in columns that the metadata of `datasets` call so, of raw bytes, or of bytes with a path. Of those
    that are not declared, `first`, the first value of a column, must look like an image.

    Raises DataError where there is none, UsageError where the one that is `wanted` does not exist.
    """
    features = declared(schema)
    images = _images(schema, features, first)
    if wanted is not None and wanted not in schema.names:
        raise UsageError(f"{where} has no column {wanted!r}: {nearest(wanted, schema.names)}")
    if wanted is not None and wanted not in [*images, *_possible(schema)]:
        raise DataError(
            f"the column {wanted} of {where} holds {schema.field(wanted).type}, and not the bytes of image files"
        )
    if wanted is None and not images:
        raise NoImages(
            f"{where} has no column of images among {listed(_typed(schema))}: expected one with the bytes of an "
            "image file in each row, such as PNG or JPEG"
        )
    image = wanted or next((name for name in IMAGE_COLUMNS if name in images), images[0])
    others = [name for name in images if name != image]
    label, classes = _label(schema, features)
    plural = "columns" if len(others) > 1 else "column"
    notes = (
        (f"the column {image} is read, and not the {plural} {listed(others)} (column=, --column)",)
        if others
        else ()
    )
    return Columns(image, label, classes, () if wanted else notes)


def declared(schema: "pa.Schema") -> dict[str, dict[str, Any]]:
    """What `datasets` has written into a schema about its columns, by name; nothing where it is unreadable."""
    try:
        found = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
        return {name: kind for name, kind in found.items() if isinstance(kind, dict)}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def encoded(value: Any) -> bytes | Refused:
    """The image in a value of such a column, or why there is none."""
    content, path = (value.get("bytes"), value.get("path")) if isinstance(value, dict) else (value, None)
    if isinstance(content, bytes):
        return content
    return Refused("names a file instead of holding an image" if path else "holds no image")


def listed(names: Sequence[str]) -> str:
    """Names in a row, the first of them where they are many."""
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _typed(schema: "pa.Schema") -> list[str]:
    """Names with what the columns hold, in short."""
    kinds = [(field.name, str(field.type)) for field in schema]
    return [f"{name} ({kind if len(kind) < SHORT else kind[:SHORT] + '...'})" for name, kind in kinds]


def _images(schema: "pa.Schema", features: dict[str, dict[str, Any]], first: Callable[[str], Any]) -> list[str]:
    possible = _possible(schema)
    sure = [name for name in possible if features.get(name, {}).get("_type") == "Image" or name in IMAGE_COLUMNS]
    return sure or [name for name in possible if _looks(first(name))]


def _possible(schema: "pa.Schema") -> list[str]:
    """Columns of a type that encoded images can have."""
    from pyarrow import types

    def coded(kind: "pa.DataType") -> bool:
        if types.is_struct(kind):
            place = kind.get_field_index("bytes")
            return place >= 0 and coded(kind.field(place).type)
        return types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind)

    return [field.name for field in schema if coded(field.type)]


def _looks(value: Any) -> bool:
    content = encoded(value)
    if isinstance(content, Refused):
        return False
    try:
        header(content)
    except Refused:
        return False
    return True


def _label(schema: "pa.Schema", features: dict[str, dict[str, Any]]) -> tuple[str | None, list[str] | None]:
    kinds = {name: features[name] for name in schema.names if features.get(name, {}).get("_type") == "ClassLabel"}
    names = [name for name in LABEL_COLUMNS if name in kinds]
    names += kinds
    names += [name for name in LABEL_COLUMNS if name in schema.names]
    if not names:
        return None, None
    classes = kinds.get(names[0], {}).get("names")
    texts = isinstance(classes, list) and all(isinstance(name, str) for name in classes)
    return names[0], list(classes) if classes and texts else None
