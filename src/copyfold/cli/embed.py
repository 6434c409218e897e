"""Write the code of every image into a parquet table, which datasets, pandas and others can read.

The table has one row per image: path; split (train or held_out, for the run's own images); label (if the images
have labels); code (a list of numbers, all feature maps flattened); error (the mean squared error of the
reconstruction, per pixel). Images are scaled to the size of the model; for a run on crops they are cut into a grid
of crops, unscaled, and the path says which, as in photo.png[64x64+LEFT+TOP]. In a path, a byte that is no UTF-8 is
written as \\xe9, and a backslash as two.
"""

import shutil
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from copyfold.cli import _device, _parsing, _photos, _screen
from copyfold.data import Photos, Stream
from copyfold.data.crops import Crops
from copyfold.data.photos import Which
from copyfold.data.writing import write_parquet
from copyfold.errors import CopyfoldError, UsageError
from copyfold.files import absolute, real
from copyfold.measures import filled, mse
from copyfold.models.base import Autoencoder, flat
from copyfold.types import Progress, Statistics

SPARE = 2**27  # bytes of disk space left free


def command(arguments: Sequence[str]) -> int:
    """Encode every image, a batch at a time, and write each batch at once."""
    from copyfold import runs

    options = _parsing.parse(_parser(), arguments)
    _parsing.at_least(options, batch=1)
    device = _device.chosen(options.device)
    run, out = runs.open(options.run), Path(options.out)
    _check(out, options.data)
    own = _photos.is_own(run, options.data, options)
    photos = _photos.chosen(run, options.data, options, partial(_parsing.again, "embed", arguments))
    _check(out, photos.recipe()["data"])
    if isinstance(photos, Stream) and options.data is not None:
        own, photos = False, _photos.given(run, options.data, options)
    if isinstance(photos, Stream):
        raise UsageError("a run trained on a stream does not record the names of its images: give DATA to embed")
    model = run.model.to(device)
    model.statistics = options.statistics
    way = "scaled to %dx%d" if photos.crop is None else "cut into crops of %dx%d, unscaled"
    _screen.log.info(f"every image is {way}, the image size of the model", *model.shape[1:])
    _weigh(out, model, len(photos.names) + len(photos.held_out_names) * _are_apart(photos))
    columns = _columns(photos, own)
    with _screen.progress() as progress:
        write_parquet(out, columns, _rows(model, photos, list(columns), options.batch, progress))
    print(out)
    return 0


def _parser() -> _parsing.Parser:
    parser = _parsing.parser("embed", __doc__)
    parser.add_argument("run", help="The folder of a run, or hf://owner/name.")
    parser.add_argument("data", nargs="?", help="The images, given as for train; the run's own if omitted.")
    parser.add_argument("--out", default="codes.parquet", help="The table to write, a .parquet file.")
    parser.add_argument("--batch", type=int, default=64, help="How many images are encoded at once.")
    parser.add_argument(
        "--statistics",
        type=Statistics,
        default="running",
        help="The statistics that batch norm uses: running (a code depends on its image alone) or batch.",
    )
    _device.flag(parser)
    _photos.flags(parser)
    return parser


def _check(out: Path, source: str | None) -> None:
    """Refuse a file that is not .parquet, or lies where the data are and would be read or overwritten."""
    if out.suffix != ".parquet":
        raise UsageError(f"--out {out} is invalid: expected a .parquet file for the table of codes")
    if source and not source.startswith("hf://"):
        place = real(absolute(source))
        if real(out).is_relative_to(place):
            raise UsageError(f"--out {out} is inside the data and would be read as data: give another folder")


def _weigh(out: Path, model: Autoencoder, count: int) -> None:
    """Log the size of the table before its compression, and refuse one that may not fit on the disk."""
    numbers = model.summary().code_size
    needed = 4 * numbers * count
    _screen.log.info("%d codes of %d numbers: a table of at most %s", count, numbers, _size(needed))
    place = next(folder for folder in real(out).parents if folder.exists())
    free = shutil.disk_usage(place).free
    if needed + SPARE > free:
        raise CopyfoldError(
            f"{out} may need up to {_size(needed)}, and {place} has room for {_size(max(free - SPARE, 0))}: "
            "give another --out, or use fewer images with DATA and --limit"
        )


def _size(count: int) -> str:
    power = 3 if count >= 1e9 else 2 if count >= 1e6 else 1
    return f"{count / 1000**power:.1f} {('kB', 'MB', 'GB')[power - 1]}"


def _columns(photos: Photos, own: bool) -> dict[str, Any]:
    """The table's columns and their types."""
    columns: dict[str, Any] = {"path": "name"}
    if own:
        columns["split"] = "string"
    if photos.labels is not None:
        columns["label"] = photos.classes or "int64"
    return columns | {"code": ["float32"], "error": "float32"}


def _are_apart(photos: Photos) -> bool:
    """Whether images held out are others than those trained on; a single image, or its crops, is in both parts."""
    if isinstance(photos.train, Crops):
        return len(photos.train.images) > 1 or set(photos.held_out_names).isdisjoint(photos.names)
    return photos.held_out_names != photos.names


@torch.no_grad()
def _rows(
    model: Autoencoder, photos: Photos, columns: list[str], batch: int, progress: Progress
) -> Iterator[list[Any]]:
    """The columns of each batch of images, training images first."""
    parts: list[tuple[Which, Sequence[str], Any]] = [("train", photos.names, photos.labels)]
    if _are_apart(photos):
        parts.append(("held_out", photos.held_out_names, photos.held_out_labels))
    total, done = sum(len(names) for _, names, _ in parts), 0
    for split, names, labels in parts:
        for start in range(0, len(names), batch):
            x = photos.images(split, batch, start).to(next(model.parameters()))
            z = model.encode(filled(x))
            row = {
                "path": names[start : start + batch],
                "split": [split] * len(x),
                "label": None if labels is None else labels[start : start + batch],
                "code": flat(z).cpu().numpy(),
                "error": mse(model.decode(z), x).cpu().numpy(),
            }
            done += len(x)
            progress("embedding", done, total, {})
            yield [row[name] for name in columns]
