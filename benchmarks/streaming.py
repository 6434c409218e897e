"""Images per second of a stream, beside the memory map of Photos and a bare loop of Pillow, alternated in one run.

    python benchmarks/streaming.py [--rounds 3] [--images 20000] [--side 96] [--size 64] [--batch 128]

Makes its own shards: JPEGs of side x side, which are brought to size x size. "first" is the time to the first
batch of an epoch, which fills the buffer; "resumed" that to the first one from the middle of it, in a stream that
has read nothing yet; "counting" what passing over 100,000 images takes of it. Memory is that of the process, after
a tenth of an epoch and at its end.
"""

import argparse
import io
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image
from pyarrow import parquet

from copyfold import Photos, Stream, scenes
from copyfold.data import Batches
from copyfold.data.reading import shuffling
from copyfold.data.reading.epochs import encoded
from copyfold.data.reading.shards import Coded, Shards

DIFFERENT = 200  # images that are repeated to make as many as are wanted


def write(folder: Path, options: argparse.Namespace) -> None:
    coded, each = [], options.images // options.shards
    for pixels in scenes(DIFFERENT, options.side):
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
        coded.append({"bytes": buffer.getvalue(), "path": None})
    for shard in range(options.shards):
        rows = [coded[(shard * each + k) % DIFFERENT] for k in range(each)]
        path = folder / f"{shard:04d}.parquet"
        parquet.write_table(pa.table({"image": rows}), path, row_group_size=options.group)


def bare(folder: Path, options: argparse.Namespace) -> Iterator[np.ndarray]:
    """A plain loop: rows in order, decoded and resized, stacked."""
    waiting = []
    for path in sorted(folder.glob("*.parquet")):
        for table in parquet.ParquetFile(path).iter_batches(128):
            for row in table.to_pylist():
                image = Image.open(io.BytesIO(row["image"]["bytes"])).convert("RGB")
                waiting.append(np.asarray(image.resize((options.size, options.size), Image.Resampling.BILINEAR)))
                if len(waiting) == options.batch:
                    yield np.stack(waiting)
                    waiting = []


def rate(batches: Iterable[object], options: argparse.Namespace) -> float:
    """Images per second of a pass, the first batch left out: it fills the buffer."""
    passing = iter(batches)
    next(passing)
    begin = time.perf_counter()
    count = sum(1 for _ in passing)
    return count * options.batch / (time.perf_counter() - begin)


def first(stream: Stream, options: argparse.Namespace, n: int) -> float:
    """Seconds to the n-th batch, where nothing has been read yet."""
    batches = stream.batches(options.batch)
    batches.n = n
    begin = time.perf_counter()
    next(iter(batches))
    return time.perf_counter() - begin


def counting(options: argparse.Namespace, images: int = 100_000) -> float:
    """Seconds to know what lies in the buffer after so many images, as a resume does."""
    pieces = [shuffling.Piece(k, range(options.group)) for k in range(2 * images // options.group)]
    begin = time.perf_counter()
    next(encoded(Nothing(), pieces, options.buffer, images, shuffling.generator(0)))
    return time.perf_counter() - begin


class Nothing(Shards):
    """Shards that take no time to read."""

    def name(self, part: int, row: int) -> str:
        return ""

    def open(self, part: int, pool: object) -> Callable[[int], Coded]:
        return lambda row: b""


def memory(stream: Stream, options: argparse.Namespace) -> tuple[float, float]:
    """Megabytes of the process after a tenth of an epoch and at its end."""
    batches = stream.batches(options.batch)
    passing = iter(batches)
    found = []
    for count in (len(batches) // 10, len(batches)):
        for _ in islice(passing, count):
            pass
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        found.append(pages * os.sysconf("SC_PAGE_SIZE") / 1e6)
    return found[0], found[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sizes = {"rounds": 3, "images": 20000, "side": 96, "size": 64, "shards": 16, "group": 250, "batch": 128}
    for name, default in {**sizes, "buffer": 4096}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["COPYFOLD_CACHE"] = scratch + "/cache"
        folder = Path(scratch) / "shards"
        folder.mkdir()
        write(folder, options)
        stream = Stream(folder, options.size, buffer=options.buffer)
        begin = time.perf_counter()
        photos = Photos(folder, options.size)
        decoding = time.perf_counter() - begin
        mapped = Batches(photos.train, options.batch)
        middle = len(stream.batches(options.batch)) // 2
        rows = []
        for _ in range(options.rounds):
            sources = (stream.batches(options.batch), mapped, bare(folder, options))
            rates = [rate(source, options) for source in sources]
            rows.append((*rates, first(stream, options, 0), first(stream, options, middle)))
            print("  ".join(f"{value:.3g}" for value in rows[-1]), flush=True)
        ours, map_, loop, fresh, resumed = (statistics.median(column) for column in zip(*rows, strict=True))
        tenth, end = memory(stream, options)
    print(f"stream             {ours:9.0f} images/s with {stream.workers} threads")
    print(f"bare Pillow loop   {loop:9.0f} images/s: the stream runs at {ours / loop:.2f} of it")
    print(f"Photos, mapped     {map_:9.0f} images/s: the stream runs at {ours / map_:.4f} of it,")
    print(f"                   which took {decoding:.1f} s to make, {len(photos) / decoding:.0f} images/s")
    print(f"first              {fresh:9.2f} s to batch 1, for a buffer of {options.buffer} images")
    print(f"resumed            {resumed:9.2f} s to batch {middle + 1}")
    print(f"counting           {counting(options):9.2f} s to pass over 100,000 images")
    print(f"memory             {tenth:9.0f} MB after a tenth of an epoch, {end:.0f} MB after all of it")


if __name__ == "__main__":
    main()
