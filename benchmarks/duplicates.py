"""How well copies of images are found, beside imagehash; and how well neighbours by code have one label.

    python benchmarks/duplicates.py ROOT --imagehash ENV/bin/python [--run RUN ...] [--out results/duplicates]
    python benchmarks/duplicates.py ROOT --quick             few images of each set, in a minute, into OUT/quick
    python benchmarks/duplicates.py --pace [--count N]       seconds for 60,000 images whose codes cost nothing

ROOT holds the parquet folders cifar10 and landscapes. imagehash needs no environment of its own, but is no
dependency of copyfold: python -m venv ENV && ENV/bin/pip install imagehash==4.3.2.

copies       of every tenth image of a set four copies are made: encoded again as JPEG (quality 30 to 80), resized
             (to 40 to 80 % of the side), cropped (2 to 10 % of both sides), brightened (by 1.1 to 1.4), which are
             what copyfold's distance was made for. A pair is right where both are of one image. Precision, recall
             and F1 over all pairs of what is called near, at the default and at other distances; of imagehash's
             hashes at every number of bits, as pairs alone and, as ours are, closed: what is near to one image is
             near to each other. Equal files in the sets themselves count as right. With --run the neighbours of
             the run's codes are looked at too.
             On the copies of the first of every ten images ("choosing") our defaults were chosen, and the bits of
             every hash are; the numbers that count are those of the copies of the sixth of every ten, made anew.
neighbours   with --run, of a run trained on a set: the share of the 5 nearest images that have the label of an
             image, by its code averaged to grids of several sizes, and by the pixels in place of a code.

Every set and method is a file of JSON, which is not measured again; the table is duplicates.csv. A method that
fails is printed and stops no other; the exit status is then 1. Seconds are of the first distance, decoding and
start included, on as many threads as torch takes; imagehash has one. --pace has the worst case for crops: every
image is one of ten that are alike, so that all neighbours are compared with crops.
"""

import argparse
import csv
import io
import json
import math
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from math import comb
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

import copyfold as cf
from copyfold import runs
from copyfold.detection.codes import Vectors
from copyfold.detection.copies import NEAR, Duplicates
from copyfold.files import write_text
from copyfold.probes.nearest import neighbours

SETS = {"landscapes": 1325, "cifar10": 10_000}
EVERY = 10
Counted: TypeAlias = tuple[float, int, int, float]
HASHES = ("phash", "dhash", "average_hash", "whash")
BITS = range(21)
CLOSED = 3_000_000  # pairs above which they are not closed: nearly all are wrong by then
PARTS = {"choosing": (0, 0), "counting": (1, 5)}
"""The seed of copies, and of which of every ten images they are."""
DISTANCES = (NEAR, 0.2, 0.25, 0.35, 0.4)
WORKER = """
import json, sys
from pathlib import Path
import imagehash, numpy as np
from PIL import Image
names, kind = json.loads(sys.stdin.read())
found = []
for name in names:
    with Image.open(name) as image:
        found.append("".join(map(str, getattr(imagehash, kind)(image).hash.astype(int).flatten())))
print(json.dumps(found))
"""


def images(root: Path, name: str, count: int) -> list[Image.Image]:
    """The first images of a set."""
    table = pq.read_table(next((root / name).glob("train*.parquet")))
    column = next(known for known in table.column_names if known in ("img", "image"))
    return [Image.open(io.BytesIO(image["bytes"])) for image in table[column][:count].to_pylist()]


def with_copies(found: Sequence[Image.Image], folder: Path, part: str) -> list[tuple[str, int]]:
    """Write images and the copies of some of them: the names, each with the number of its image."""
    seed, which = PARTS[part]
    rng, written = np.random.default_rng(seed), []

    def write(image: Image.Image, number: int, kind: str, suffix: str = ".png", **options: Any) -> None:
        name = f"{number:05d}-{kind}{suffix}"
        image.save(folder / name, **options)
        written.append((name, number))

    for number, image in enumerate(found):
        write(image, number, "image")
        if number % EVERY != which:
            continue
        width, height = image.size
        share, cut = rng.uniform(0.4, 0.8), rng.uniform(0.02, 0.1)
        left, top = rng.uniform(0, cut, 2) * image.size
        brighter = float(rng.uniform(1.1, 1.4))
        write(image, number, "encoded", ".jpg", quality=int(rng.integers(30, 80)))
        write(image.resize((max(8, round(share * width)), max(8, round(share * height)))), number, "resized")
        corners = (round(left), round(top), round(left + (1 - cut) * width), round(top + (1 - cut) * height))
        write(image.crop(corners), number, "cropped")
        write(image.point(lambda value, b=brighter: min(255, int(b * value))), number, "brightened")
    return written


def compared(found: int, hits: int, right: int) -> dict[str, float]:
    """Precision, recall and F1 of `found` pairs, `hits` of which are among the `right` ones."""
    return {
        "precision": hits / max(1, found),
        "recall": hits / max(1, right),
        "f1": 2 * hits / max(1, found + right),
        "pairs": found,
    }


def same_files(folder: Path, written: list[tuple[str, int]]) -> dict[str, int]:
    """The image of every name, where images whose pixels are equal are one."""
    first: dict[bytes, int] = {}
    one: dict[int, int] = {}
    for name, number in written:
        if "-image" in name:
            with Image.open(folder / name) as image:
                one[number] = first.setdefault(bytes(str(image.size), "ascii") + image.tobytes(), number)
    return {name: one[number] for name, number in written}


def grouped(found: Duplicates) -> list[list[int]]:
    """Disjoint groups: near images with all that equal one of them, and equal images that are near to no other."""
    equal = {group[0]: group for group in found.exact}
    near = [[one for row in group for one in equal.pop(row, [row])] for group in found.near]
    return [*near, *equal.values()]


def pairs(groups: Iterable[Sequence[int]], numbers: Sequence[int]) -> tuple[int, int]:
    """How many pairs disjoint groups of rows have, and of how many the numbers are equal."""
    found = hits = 0
    for group in groups:
        found += comb(len(group), 2)
        hits += sum(comb(count, 2) for count in Counter(numbers[row] for row in group).values())
    return found, hits


def differences(bits: np.ndarray) -> Iterable[tuple[int, np.ndarray, np.ndarray]]:
    """Some rows at a time: where they start, in how many bits they differ from all rows, and which are later."""
    signs, rows = 2 * bits - 1, np.arange(len(bits))
    for start in range(0, len(bits), 256):
        some = slice(start, start + 256)
        differ = np.rint((bits.shape[1] - signs[some] @ signs.T) / 2).astype(np.int32)
        yield start, differ, rows > rows[some, None]


def apart(bits: np.ndarray, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many pairs of rows differ in 0, 1, 2, ... bits, and of how many of these the numbers are equal."""
    size = bits.shape[1] + 1
    every, same = np.zeros(size, np.int64), np.zeros(size, np.int64)
    for start, differ, later in differences(bits):
        equal = numbers[start : start + len(differ), None] == numbers
        every += np.bincount(differ[later], minlength=size)
        same += np.bincount(differ[later & equal], minlength=size)
    return every, same


def joined(bits: np.ndarray, numbers: np.ndarray) -> Iterable[tuple[int, int]]:
    """For 0, 1, 2, ... bits the pairs in groups of rows that so few bits connect, and the right ones among them.

    Up to the last of `BITS`, or where more than `CLOSED` pairs differ in so few.
    """
    size, near = len(bits), []
    for start, differ, later in differences(bits):
        rows, columns = np.nonzero((differ <= max(BITS)) & later)
        near.append(np.stack([rows + start, columns, differ[rows, columns]]))
    first, second, differ = np.concatenate(near, axis=1)
    for limit in BITS:
        chosen = differ <= limit
        if chosen.sum() > CLOSED:
            return
        edges = coo_matrix((chosen[chosen], (first[chosen], second[chosen])), (size, size))
        _, group = connected_components(edges, directed=False)
        order = np.argsort(group, kind="stable")
        yield pairs(np.split(order, np.flatnonzero(np.diff(group[order])) + 1), numbers.tolist())


def ours(folder: Path, truth: dict[str, int], run: str | None) -> dict[str, list[Counted]]:
    """The distance, the pairs found, those that are right, and the seconds, by copyfold."""
    model = None if run is None else runs.open(run).model
    found = []
    for near in DISTANCES:
        started = time.monotonic()
        said = cf.duplicates(folder, model, near=near, similar=0, progress=False)
        seconds = time.monotonic() - started if near == DISTANCES[0] else math.nan  # decoded images are remembered
        found.append((near, *pairs(grouped(said), [truth[name] for name in said.names]), seconds))
    return {"": sorted(found)}


def hashed(folder: Path, truth: dict[str, int], python: str, kind: str) -> dict[str, list[Counted]]:
    """The number of bits, the pairs found, those that are right, and the seconds, by a hash of imagehash."""
    started, names = time.monotonic(), sorted(truth)
    given = json.dumps([[str(folder / name) for name in names], kind])
    said = subprocess.run([python, "-I", "-c", WORKER], input=given, text=True, capture_output=True, check=False)
    if said.returncode:
        raise RuntimeError(f"imagehash.{kind} failed: {said.stderr}")
    bits = np.array([[int(bit) for bit in one] for one in json.loads(said.stdout)], np.float32)
    numbers = np.array([truth[name] for name in names])
    every, same = apart(bits, numbers)
    seconds = time.monotonic() - started
    alone = [(limit, int(every[: limit + 1].sum()), int(same[: limit + 1].sum()), seconds) for limit in BITS]
    closed = [(limit, *found, seconds) for limit, found in zip(BITS, joined(bits, numbers), strict=False)]
    return {"": alone, ", closed": closed}


def copies(options: argparse.Namespace, name: str, out: Path) -> Iterable[tuple[Path, Callable[[], Any]]]:
    """The files of one set that are missing, and what measures each; the copies are made where there are any."""
    methods: dict[str, Callable[..., dict[str, list[Counted]]]] = {"copyfold": partial(ours, run=None)}
    methods |= {f"copyfold, {Path(run).name}": partial(ours, run=run) for run in options.run}
    if options.imagehash:
        methods |= {f"imagehash.{k}": partial(hashed, python=options.imagehash, kind=k) for k in HASHES}
    paths = {method: out / f"copies-{name}-{method.replace(', ', '-')}.json" for method in methods}
    missing = [method for method in methods if not paths[method].is_file()]
    if not missing:
        return
    with tempfile.TemporaryDirectory() as temporary:
        every = images(options.root, name, 300 if options.quick else SETS[name])
        folders = {part: Path(temporary) / part for part in PARTS}
        truths = {}
        for part, folder in folders.items():
            folder.mkdir()
            truths[part] = same_files(folder, with_copies(every, folder, part))

        def measured(method: str) -> list[dict[str, Any]]:
            rows = []
            for part, folder in folders.items():
                right = sum(comb(count, 2) for count in Counter(truths[part].values()).values())
                for how, counted in methods[method](folder, truths[part]).items():
                    rows += [
                        {"set": name, "copies": part, "method": method + how, "limit": limit}
                        | compared(found, hits, right)
                        | ({"seconds": seconds} if math.isfinite(seconds) else {})
                        for limit, found, hits, seconds in counted
                    ]
            return rows

        for method in missing:
            yield paths[method], partial(measured, method)


def labels(run: str, limit: int | None) -> list[dict[str, Any]]:
    """The share of neighbours that have the same label, by every code."""
    opened = runs.open(run)
    channels, height, width = opened.model.shape
    photos = cf.Photos(
        opened.recipe["data"], (height, width), channels=channels, whole=True, limit=limit or 6000, progress=False
    )
    assert photos.labels is not None
    known = torch.from_numpy(photos.labels)
    rows = []

    def add(method: str, near: np.ndarray) -> None:
        share = (known[torch.from_numpy(near)] == known[:, None]).double().mean().item()
        rows.append({"set": Path(run).name, "method": method, "limit": 5, "precision": share})

    for grid in (1, 2, 4, 8):
        numbers = Vectors(grid=grid)(opened.model, photos.images(count=1)).shape[1]
        found = cf.similar(opened.model, photos, count=5, grid=grid, progress=False)
        add(f"neighbours by code, grid {grid}: {numbers} numbers", found.rows)
    add("neighbours by pixels", cf.similar(Pixels(opened.model.shape), photos, count=5, progress=False).rows)
    return rows


class Pixels(cf.Autoencoder):
    """The image itself as its code."""

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        return z.unflatten(1, self.shape)


class Known(cf.Autoencoder):
    """128 numbers of an image that cost nothing."""

    def __init__(self, shape: tuple[int, int, int] = (1, 64, 64)) -> None:
        super().__init__(shape)

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)[:, ::32]

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError


def alike(count: int, together: int = 10) -> np.ndarray:
    """Images N x 64 x 64 x 1, ten of which share what is coarse in them: neighbours at distances of some .6."""
    rng, found = np.random.default_rng(0), np.empty((count, 64, 64, 1), np.uint8)
    for start in range(0, count, together):
        base = rng.normal(0, 30, (1, 8, 8))
        coarse = 128 + base + rng.normal(0, 12, (min(together, count - start), 8, 8))
        found[start : start + together, ..., 0] = coarse.clip(0, 255).repeat(8, 1).repeat(8, 2)
    return found


def pace(count: int, numbers: int = 128) -> None:
    """Print the seconds that all of duplicates takes, and those of the nearest neighbours of all among them."""
    threads, pixels = torch.get_num_threads(), alike(count)
    started = time.monotonic()
    found = cf.duplicates(pixels, Known(), progress=False)
    rows = len(found.columns()["path"][1])
    print(f"{found!r}, {rows:,} rows: {time.monotonic() - started:.0f} s on {threads} threads", flush=True)
    places = torch.nn.functional.normalize(torch.randn(count, numbers, generator=torch.Generator().manual_seed(0)))
    started = time.monotonic()
    for start in range(0, count, 1024):
        neighbours(places[start : start + 1024], places, 9)
    print(f"neighbours alone, of {numbers} numbers each: {time.monotonic() - started:.0f} s")


def tell(out: Path) -> None:
    """Write the table of all that is measured, and print what counts: each method at the limit chosen for it."""
    found = [row for path in sorted(out.glob("*.json")) for row in json.loads(path.read_text())]
    chosen: dict[tuple[str, str], dict[str, Any]] = {}
    for row in found:
        key = row["set"], row["method"]
        if row.get("copies") == "choosing" and (key not in chosen or row["f1"] > chosen[key]["f1"]):
            chosen[key] = row
    limits = {key: NEAR if key[1].startswith("copyfold") else row["limit"] for key, row in chosen.items()}
    names = ("set", "copies", "method", "limit", "precision", "recall", "f1", "pairs", "seconds")
    table = io.StringIO()
    writer = csv.DictWriter(table, names)
    writer.writeheader()
    writer.writerows({k: f"{v:.4g}" if isinstance(v, float) else v for k, v in row.items()} for row in found)
    write_text(out / "duplicates.csv", table.getvalue())
    for row in found:
        if "copies" not in row or (
            row["copies"] == "counting" and row["limit"] == limits[row["set"], row["method"]]
        ):
            numbers = (f"{name} {row[name]:.3g}" for name in names[3:] if name in row)
            print("  ".join([row["set"], row["method"], *numbers]))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, nargs="?")
    parser.add_argument("--imagehash", help="The python of an environment with imagehash.")
    parser.add_argument("--run", nargs="*", default=[], help="Runs trained on a set with labels.")
    parser.add_argument("--quick", action="store_true", help="Few images.")
    parser.add_argument(
        "--pace", action="store_true", help="Measure the seconds of made images, and nothing else."
    )
    parser.add_argument("--count", type=int, default=60_000, help="How many images --pace makes.")
    parser.add_argument("--out", type=Path, default=Path("results/duplicates"))
    options = parser.parse_args()
    if options.pace:
        pace(options.count)
        return 0
    if options.root is None:
        parser.error("ROOT is missing: the folder that holds cifar10 and landscapes")
    if len({Path(run).name for run in options.run}) < len(options.run):
        parser.error("two of the runs have the same name, by which their results are kept: rename one")
    out = options.out / "quick" if options.quick else options.out
    out.mkdir(parents=True, exist_ok=True)
    failed = []

    def keep(path: Path, measure: Callable[[], Any]) -> None:
        try:
            write_text(path, json.dumps(measure(), indent=1) + "\n")
        except Exception:
            traceback.print_exc()
            failed.append(path.stem)

    for name in SETS:
        for path, measure in copies(options, name, out):
            keep(path, measure)
    for run in options.run:
        path = out / f"labels-{Path(run).name}.json"
        if not path.is_file():
            keep(path, partial(labels, run, 600 if options.quick else None))
    tell(out)
    if failed:
        print(f"failed, and tried again by the next call: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
