"""What images cost: decoding them once, loading them for each step, and that nothing is decoded twice.

    python benchmarks/data.py [DATA ...] [--size 64] [--count 2000] [--rounds 3] [--only first again share crops]

DATA is what `copyfold train` takes as a folder or a dataset of parquet files; by default three made here: a folder
of JPEG photographs of 640x480, a folder of PNG of 28x28 (taken at 28), and the same PNG in a parquet file.

first   seconds until the images are in the cache, beside bare loops over the same files on all cores that open,
        draft (JPEG), convert, crop and resize alike, in threads and in processes; they take turns, medians. The
        ratio is the median of the turns' ratios to the faster of the two. Then what the seconds went into, and
        what reading all headers first takes, which is done only where no size is given.
again   how many images Pillow decodes when the same photos are opened a second time, and in an epoch of training.
share   time in the source of batches, and in bringing them to [0, 1], of a training step in bf16 (UNet of width
        32, 64x64, batches of 16): medians of the steps of one loop.
crops   milliseconds of a batch of crops of `--size`, unscaled, of 100 photographs of 480x640, beside a batch of as
        many whole images of that size, both from caches in memory; the two take turns, medians of the batches.
"""

import argparse
import io
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeAlias
from unittest.mock import patch

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageFile

import copyfold as cf
from copyfold.data import Batches, scenes

Coded: TypeAlias = Path | bytes
PIECE = 16  # images handed to a worker at a time
PHASES = ("listing", "decoding", "storing")


def bare(images: list[Coded], size: int, mode: str, processes: bool) -> np.ndarray:
    """Decode on all cores, in a plain loop."""
    pieces = [(images[k : k + PIECE], size, mode) for k in range(0, len(images), PIECE)]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if processes:
        with get_context("fork").Pool(cores) as pool:
            return np.concatenate(pool.map(piece, pieces, chunksize=1))
    with ThreadPoolExecutor(cores) as pool:
        return np.concatenate(list(pool.map(piece, pieces)))


def piece(work: tuple[list[Coded], int, str]) -> np.ndarray:
    """Open, draft, convert, crop, resize."""
    images, size, mode = work
    decoded = []
    for coded in images:
        with Image.open(io.BytesIO(coded) if isinstance(coded, bytes) else coded) as image:
            if min(image.size) >= 4 * size:
                image.draft(None, (2 * size, 2 * size))
            image = image.convert(mode)
        short = min(image.size)
        left, top = (image.width - short) // 2, (image.height - short) // 2
        box = (left, top, left + short, top + short)
        if (size, size) != image.size:
            image = image.resize((size, size), Image.Resampling.BILINEAR, box=box, reducing_gap=3.0)
        decoded.append(np.asarray(image))
    return np.stack(decoded)


@contextmanager
def fresh() -> Iterator[None]:
    """A cache with nothing in it."""
    with tempfile.TemporaryDirectory() as folder, patch.dict(os.environ, COPYFOLD_CACHE=folder):
        yield


def first(name: str, source: Path, size: int, options: argparse.Namespace) -> None:
    """Print a line, and the parts of our time."""
    images = coded(source)
    with fresh():
        channels = cf.Photos(source, size=size).shape[0]  # and the files are in memory from here on
    mode = "L" if channels == 1 else "RGB"
    times: dict[str, list[float]] = {"ours": [], "threads": [], "processes": []}
    phases: list[list[float]] = []
    for turn in range(options.rounds):
        for kind in times if turn % 2 else reversed(times):
            begin = time.perf_counter()
            if kind == "ours":
                with fresh():
                    phases.append(opened(source, size))
            else:
                bare(images, size, mode, kind == "processes")
            times[kind].append(time.perf_counter() - begin)
    looking = statistics.median(headers(source) for _ in range(options.rounds))
    ours, *others = times.values()
    faster = min(others, key=statistics.median)
    ratio = statistics.median(mine / other for mine, other in zip(ours, faster, strict=True))
    spent = ", ".join(f"{what} {s:.2f}" for what, s in zip(PHASES, np.median(phases, axis=0), strict=True))
    seconds = " | ".join(f"{statistics.median(found):.2f}" for found in times.values())
    print(f"| {name} | {len(images)} | {seconds} | {ratio:.2f} | {spent} | {looking:.2f} |", flush=True)


def opened(source: Path, size: int) -> list[float]:
    """Seconds of each of PHASES of opening photos, by when `progress` was told of them."""
    marks: list[float] = []
    begin = time.perf_counter()
    cf.Photos(source, size=size, progress=lambda *_: marks.append(time.perf_counter()))
    return list(np.diff([begin, marks[0], marks[-1], time.perf_counter()]))


class Enough(Exception):
    """Nothing else is to be measured."""


def headers(source: Path) -> float:
    """Seconds in which the headers of all images are read, before any is decoded."""
    marks: list[float] = []

    def looked(what: str, *_: object) -> None:
        if what == "reading images":
            raise Enough
        marks.append(time.perf_counter())

    with fresh(), suppress(Enough):
        cf.Photos(source, progress=looked)
    return marks[-1] - marks[0]


def coded(source: Path) -> list[Coded]:
    """The files, or the bytes in the rows of parquet files."""
    tables = sorted(source.rglob("*.parquet")) if source.is_dir() else [source]
    if not tables:
        return sorted(path for path in source.rglob("*") if path.is_file())
    import pyarrow.parquet

    columns = [pyarrow.parquet.read_table(path).column("image") for path in tables]
    return [row["bytes"].as_py() for column in columns for chunk in column.chunks for row in chunk]


def again(name: str, source: Path, size: int, options: argparse.Namespace) -> None:
    """Print how often Pillow decodes."""
    calls: list[None] = []
    load: Callable[..., Any] = ImageFile.ImageFile.load

    def counted(image: Any) -> Any:
        if image.fp is not None and image.tile:  # a second load of one image does nothing
            calls.append(None)
        return load(image)

    counts, times = [], []
    with fresh(), patch.object(ImageFile.ImageFile, "load", counted), tempfile.TemporaryDirectory() as folder:
        photos = None
        for _ in range(2):
            begin = time.perf_counter()
            photos = cf.Photos(source, size=size)
            times.append(time.perf_counter() - begin)
            counts.append(len(calls))
        assert photos is not None
        model = cf.Conv(photos.shape, channels=(4,))
        cf.fit(model, cf.Classical(), photos, Path(folder) / "run", epochs=1, batch=64)
        counts.append(len(calls))
    everything = len(photos.train) + len(photos.held_out)
    second, epoch = counts[1] - counts[0], counts[2] - counts[1]
    print(
        f"| {name} | {everything} | {counts[0]} in {times[0]:.2f} s | {second} in {times[1]:.3f} s | {epoch} |",
        flush=True,
    )


def share(options: argparse.Namespace) -> None:
    """Print milliseconds and shares."""
    photos = cf.Photos(scenes(options.steps * options.batch // 2, 64), size=64)
    torch.manual_seed(0)
    model = cf.UNet(photos.shape, width=options.width).to(memory_format=torch.channels_last).train()  # type: ignore
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    source, times = Batches(photos.train, options.batch), []
    while len(times) < options.steps:
        for marks in epoch(source, model, optimizer):
            times.append(np.diff(marks))
    load, convert, step = 1000 * np.median(times[3 : options.steps], axis=0)
    print("| | ms a step | share of the step |\n|---|---:|---:|")
    print(f"| source of batches | {load:.3f} | {load / step:.2%} |")
    print(f"| bytes to [0, 1] | {convert:.3f} | {convert / step:.2%} |")
    print(f"| step, bf16 | {step:.1f} | |")


def crops(options: argparse.Namespace) -> None:
    """Print milliseconds of a batch, and their ratio."""
    rng, size = np.random.default_rng(0), options.size
    with fresh(), tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "large.npy", rng.integers(0, 256, (100, 480, 640, 3), dtype=np.uint8))
        large = cf.Photos(Path(folder) / "large.npy", crop=size)
        np.save(Path(folder) / "small.npy", large.train[:])
        small = cf.Photos(Path(folder) / "small.npy", size=size)
        sources = {"crops": large.batches(options.batch), "images": small.batches(options.batch)}
        times: dict[str, list[float]] = {name: [] for name in sources}
        for turn in range(options.rounds + 1):
            for name, source in sources.items():
                batches = iter(source)
                next(batches)  # which draws the epoch
                for _ in range(len(source) - 1):
                    begin = time.perf_counter()
                    next(batches)
                    if turn:  # the first reads everything from the disk
                        times[name].append(time.perf_counter() - begin)
    cropped, whole = (1000 * statistics.median(found) for found in times.values())
    print(f"| | ms a batch of {options.batch} of {size}x{size} |\n|---|---:|")
    print(f"| crops of photographs | {cropped:.3f} |")
    print(f"| whole images | {whole:.3f} |")
    print(f"| ratio | {cropped / whole:.2f} |")


def epoch(source: Batches, model: Any, optimizer: torch.optim.Optimizer) -> Iterator[list[float]]:
    """For every step: the times before and after loading, after conversion and after the step."""
    batches = iter(source)
    for _ in range(len(source)):
        marks = [time.perf_counter()]
        batch = next(batches)
        marks.append(time.perf_counter())
        x = batch.to(torch.float32, memory_format=torch.channels_last).div_(255)
        marks.append(time.perf_counter())
        with torch.autocast("cpu", torch.bfloat16):
            y = model(x)
        optimizer.zero_grad()
        F.mse_loss(y.float(), x).backward()
        optimizer.step()
        marks.append(time.perf_counter())
        yield marks


def made(folder: Path, count: int) -> dict[str, tuple[Path, int | None]]:
    """The sources, with the size to take them at; None: that of the options."""
    import pyarrow
    import pyarrow.parquet

    rng = np.random.default_rng(0)
    jpegs, pngs, table = folder / "jpeg", folder / "png", folder / "parquet"
    for place in (jpegs, pngs, table):
        place.mkdir()
    few = [Image.fromarray(pixels).resize((640, 480)) for pixels in scenes(16, 64)]
    grain = rng.integers(-12, 13, (480, 640, 3))
    for k in range(count):
        pixels = np.asarray(few[k % 16], dtype=np.int64) + np.roll(grain, 7 * k, axis=1)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(jpegs / f"{k:05d}.jpg", quality=90)
    rows = []
    for k, pixels in enumerate(scenes(5 * count, 28, channels=1)):
        file = io.BytesIO()
        Image.fromarray(pixels[..., 0]).save(file, "PNG")
        rows.append({"bytes": file.getvalue(), "path": None})
        (pngs / f"{k:05d}.png").write_bytes(file.getvalue())
    info = {"features": {"image": {"_type": "Image"}}}
    column = pyarrow.table({"image": rows}).replace_schema_metadata({"huggingface": json.dumps({"info": info})})
    pyarrow.parquet.write_table(column, table / "train-00000-of-00001.parquet")
    return {
        "JPEG 640x480 in a folder": (jpegs, None),
        "PNG 28x28 in a folder": (pngs, 28),
        "PNG 28x28 in parquet": (table, 28),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="*", type=Path, help="folders of images, or of parquet files")
    defaults = {"size": 64, "count": 2000, "rounds": 3, "steps": 60, "width": 32, "batch": 16}
    for name, default in defaults.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parts = ("first", "again", "share", "crops")
    parser.add_argument("--only", nargs="+", choices=parts, default=parts)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        given = {str(path): (path, None) for path in options.data}
        reading = {"first", "again"} & set(options.only)
        sources = given or (made(Path(folder), options.count) if reading else {})
        if "first" in options.only:
            columns = ("images", "ours, s", "threads, s", "processes, s", "ours / faster", "where ours goes, s")
            print("| | " + " | ".join((*columns, "headers, s")) + " |")
            print("|---|---:|---:|---:|---:|---:|---|---:|")
            for name, (source, size) in sources.items():
                first(name, source, size or options.size, options)
        if "again" in options.only:
            print("\n| | images | decoded at first | when opened again | in an epoch of training |")
            print("|---|---:|---:|---:|---:|")
            for name, (source, size) in sources.items():
                again(name, source, size or options.size, options)
    if "share" in options.only:
        print()
        share(options)
    if "crops" in options.only:
        print()
        crops(options)


if __name__ == "__main__":
    main()
